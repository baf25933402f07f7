"""A model that answers with a number, and no class: does it give the endpoint's number?

Where the plan declares which numbers are as good ("within:0.5", "relative:0.01"), that decides. Where it declares
nothing, the same number is the one that float32 cannot tell from it: at most 10 times the noise floor of that input
(docs/equivalence.md, section 5).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reversible import scoring
from reversible.assets import Asset
from reversible.equivalence import decisions
from reversible.equivalence.ladder import ALL_THE_SAME, NO_REFERENCE, TOO_FEW_JUDGED, Rung
from reversible.findings import Finding
from reversible_verifiers.error_ratio import Answers, Measured
from reversible_verifiers.golden_answers import Golden, Numbers
from reversible_verifiers.rungs import INFINITE

AGREEMENT, CHANGE = "model.agreement_lb95", "model.metric_delta_points"


def agreement(
    asset: Asset,
    golden: Golden,
    measured: Measured,
    files: tuple[str, ...],
    *,
    rule: str,
    agrees: NDArray[np.bool_],
    places: tuple[str, ...],
) -> Finding:
    """The lower bound of the share of inputs that get the endpoint's number.

    Args:
        asset: The model.
        golden: Its golden set.
        measured: R of its inputs.
        files: That show it.
        rule: See `reversible.equivalence.decisions`.
        agrees: Whether each input is within the declared tolerance, where there is one.
        places: The inputs that are not.
    """
    first = golden.first_of_equals
    n = int(first.sum())
    if decisions.decides(golden.outputs, rule):
        agreeing = int((agrees & first).sum())
        return Finding(
            AGREEMENT, asset.id, scoring.lower_bound(agreeing, n), unit="ratio",
            seen="{agreeing} of {n} inputs get the endpoint's number, by the plan's rule {rule}",
            facts={"agreeing": agreeing, "n": n, "rule": rule}, places=places, files=files,
        )  # fmt: skip
    standing = measured.standing
    judged, near = measured.judged & first, measured.near & first
    off = int((judged & ~near).sum())
    error = ""
    if standing.rung is Rung.UNDETERMINED:
        error = standing.reason or NO_REFERENCE
    elif not off and not judged.any():
        error = NO_REFERENCE
    elif not off and judged.sum() < n:
        error = TOO_FEW_JUDGED
    if error:
        return Finding(AGREEMENT, asset.id, None, unit="ratio", error=error, files=files)
    rows = [row for row in measured.worst if off] or np.flatnonzero(judged & ~near)[:5].tolist()
    agreeing = int(near.sum())
    return Finding(
        AGREEMENT, asset.id, scoring.lower_bound(agreeing, int(judged.sum())), unit="ratio",
        seen="{agreeing} of {n} inputs get the endpoint's number, to within 10 times what float32 leaves open",
        facts={"agreeing": agreeing, "n": int(judged.sum())},
        places=tuple(f"input {row} ({golden.origins[row]})" for row in rows) if off else (),
        files=files, coverage=float(judged.sum() / n),
    )  # fmt: skip


def change(asset: Asset, golden: Golden, reruns: Sequence[Answers], files: tuple[str, ...]) -> Finding:
    """How far any measure of error against true values may move, in points of the answers' standard deviation.

    For true values t, |RMSE(here, t) - RMSE(there, t)| <= RMS(here - there), and so for the mean absolute error: both
    are distances (the triangle inequality), so no true value needs to be known.
    """
    wide = golden.outputs.astype(np.float64)
    deviation = np.sqrt(np.mean((wide - wide.mean(axis=0)) ** 2, axis=0))
    if not (np.isfinite(deviation).all() and (deviation > 0).all()):
        return Finding(CHANGE, asset.id, None, unit="percentage_points", error=ALL_THE_SAME, files=files)
    moved = max(float((_rms(one, golden.outputs) / deviation).max()) for one in reruns)
    percent = 100 * moved if np.isfinite(moved) else INFINITE
    return Finding(
        CHANGE, asset.id, percent, unit="percentage_points",
        seen="the answers move by {percent} % of their standard deviation (root mean square): no mean error against "
        "true values, whatever they are, moves by more",
        facts={"percent": percent}, files=files,
    )  # fmt: skip


def _rms(rerun: Answers, recorded: Numbers) -> NDArray[Any]:
    """Per output, over the inputs of the pass; infinity where it refused or a number has none to be held against."""
    expected = recorded[rerun.rows].astype(np.float64)
    if rerun.answers is None or rerun.answers.shape != expected.shape:
        return np.full(expected.shape[1], np.inf)
    here = rerun.answers.astype(np.float64)
    with np.errstate(invalid="ignore"):
        off = np.where((here == expected) | (np.isnan(here) & np.isnan(expected)), 0.0, here - expected)
    return np.asarray(np.sqrt(np.mean(np.where(np.isfinite(off), off, np.inf) ** 2, axis=0)))
