"""Does the port decide as the original does, and how close to a decision must one go to see it decide otherwise?

A rule says what an answer is for: "argmax" and "threshold:0.5" make a class of it; "within:0.5" (in the outputs' unit)
and "relative:0.01" (of the recorded number) say which numbers are as good as the recorded one; "value" says that it is
a number and nothing is decided of it, as does argmax where there is one output.

Three answers of growing reach: the rate of flips on a sample, with an exact bound; the inputs whose decision cannot
flip, because their margin is wider than the error allows; and a search along lines between inputs of different
classes, which probes where decisions are closest. Only the first is a rate: searched inputs are no sample.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reversible.equivalence.floor import Doubles
from reversible.errors import BundleError

STEPS = 22  # each halves the distance: float32 inputs of one scale end as neighbours
PAIRS = 91  # 91 * 22 = 2,002 probes
_SEED = 20261126
_NUMBER = r"\d+(\.\d+)?(e-?\d+)?"
RULES = rf"^(argmax|value|threshold:-?{_NUMBER}|(within|relative):{_NUMBER})$"  # what a plan may say

Answer = Callable[[NDArray[Any]], NDArray[Any]]  # inputs (rows, ...) -> answers (rows, outputs)


def decide(answers: NDArray[Any], rule: str) -> NDArray[np.int64]:
    """The decision of each row: the largest output, or whether the last one reaches a threshold.

    Args:
        answers: Shape (rows, outputs).
        rule: "argmax", or "threshold:0.5".

    Raises:
        BundleError: another rule.
    """
    if rule == "argmax":
        return np.asarray(np.argmax(answers, axis=1), dtype=np.int64)
    return np.asarray(answers[:, -1] >= np.float32(_threshold(rule)), dtype=np.int64)


def decides(answers: NDArray[Any], rule: str) -> bool:
    """Whether the rule tells answers (rows, outputs) apart at all: the largest of one output is always that one."""
    return rule != "value" and (rule != "argmax" or answers.shape[1] > 1)


def classifies(answers: NDArray[Any], rule: str) -> bool:
    """Whether the rule makes classes of answers (rows, outputs)."""
    return decides(answers, rule) and _tolerance(rule) is None


def alike(here: NDArray[Any], there: NDArray[Any], rule: str) -> NDArray[np.bool_]:
    """Whether each answer is as good as the recorded one: the same class, or every number within the tolerance.

    Args:
        here: Shape (rows, outputs).
        there: What was recorded, same shape.
        rule: Any; where nothing is decided, nothing is told apart.

    Returns:
        Shape (rows,). A number that is not finite is like itself alone.
    """
    tolerance = _tolerance(rule)
    if tolerance is None:
        return decide(here, rule) == decide(there, rule) if decides(there, rule) else np.ones(len(there), np.bool_)
    kind, limit = tolerance
    left, right = np.asarray(here, dtype=np.float64), np.asarray(there, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        near = np.abs(left - right) <= limit * (np.abs(right) if kind == "relative" else 1.0)
    same = (left == right) | (np.isnan(left) & np.isnan(right))
    return np.asarray((same | (near & np.isfinite(left) & np.isfinite(right))).all(axis=1))


def margins(answers: NDArray[Any], rule: str) -> Doubles:
    """How far each decision is from another: first minus second output, or the distance from the threshold.

    Args:
        answers: Shape (rows, outputs), float64.
        rule: As in `decide`.

    Returns:
        Shape (rows,), in the outputs' unit; infinity where there is but one output to choose from.
    """
    wide = np.asarray(answers, dtype=np.float64)
    if rule != "argmax":
        return np.abs(wide[:, -1] - float(np.float32(_threshold(rule))))
    if wide.shape[1] < 2:
        return np.full(len(wide), np.inf)
    top = np.partition(wide, -2, axis=1)[:, -2:]
    return np.asarray(top[:, 1] - top[:, 0], dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """How many of `n` decisions no error of the size seen can flip.

    Attributes:
        certified: Decisions whose margin is wider than the error can bridge on that input.
        n: Decisions looked at.
        smallest_margin: The smallest margin of the reference, in the outputs' unit.
        largest_error: The largest error of one output, same unit.
    """

    certified: int
    n: int
    smallest_margin: float
    largest_error: float


def certificate(observed: NDArray[Any], reference: NDArray[Any], rule: str) -> Certificate:
    """Hold each margin against the error of that input.

    An argmax can flip only where its margin is at most twice the largest error of an output, a threshold only where
    it is at most that error.

    Args:
        observed: The port's answers, shape (rows, outputs).
        reference: The same in float64.
        rule: As in `decide`.
    """
    with np.errstate(invalid="ignore"):
        off = np.abs(np.asarray(observed, dtype=np.float64) - reference)
    error = np.nan_to_num(off, nan=np.inf).max(axis=1)
    margin = margins(reference, rule)
    reach = error * (2 if rule == "argmax" else 1)
    return Certificate(
        certified=int((margin > reach).sum()),
        n=len(margin),
        smallest_margin=float(margin.min()),
        largest_error=float(error.max()),
    )


@dataclass(frozen=True, kw_only=True)
class Boundary:
    """What a search for close decisions found.

    Attributes:
        probes: Inputs asked of both.
        flips: How many of them the port decides otherwise. No rate: the probes were searched for.
        widest_flipped: The widest margin of the reference among the flipped, 0 when none: rounding flips only
            margins of its own size, a defect wider ones.
        narrowest: The smallest margin that was reached: the search came so close.
    """

    probes: int
    flips: int
    widest_flipped: float
    narrowest: float


def boundary_search(
    original: Answer,
    port: Answer,
    inputs: NDArray[Any],
    rule: str,
    *,
    pairs: int = PAIRS,
    steps: int = STEPS,
    seed: int = _SEED,
) -> Boundary | None:
    """Bisect between inputs that the original puts in different classes, and ask both at every step.

    Args:
        original: Answers in float64, or as exactly as there is.
        port: The port's answers, in float32.
        inputs: Shape (rows, ...), float: points between two of them must be meaningful inputs.
        rule: As in `decide`.
        pairs: How many lines.
        steps: How many halvings of each.
        seed: Of the choice of pairs.

    Returns:
        None when fewer than two classes occur.
    """
    classes = decide(original(inputs), rule)
    draw = np.random.default_rng(seed)
    chosen = _pairs(classes, pairs, draw)
    if not chosen:
        return None
    near, far = inputs[[a for a, _ in chosen]].copy(), inputs[[b for _, b in chosen]].copy()
    home = classes[[a for a, _ in chosen]]
    flips, widest, narrowest = 0, 0.0, np.inf
    for _ in range(steps):
        middle = (near + (far - near) / 2).astype(inputs.dtype)
        reference = np.asarray(original(middle), dtype=np.float64)
        decision, margin = decide(reference, rule), margins(reference, rule)
        flipped = decide(port(middle), rule) != decision
        flips += int(flipped.sum())
        widest = max(widest, float(margin[flipped].max(initial=0.0)))
        narrowest = min(narrowest, float(margin.min()))
        same = decision == home
        near[same], far[~same] = middle[same], middle[~same]
    return Boundary(probes=steps * len(chosen), flips=flips, widest_flipped=widest, narrowest=narrowest)


def _pairs(classes: NDArray[np.int64], count: int, draw: np.random.Generator) -> list[tuple[int, int]]:
    """Pairs of rows of different classes: every pair of classes in turn, so that rare classes have their lines."""
    rows = {int(one): np.flatnonzero(classes == one) for one in np.unique(classes)}
    kinds = [(a, b) for a in rows for b in rows if a < b]
    if not kinds:
        return []
    return [
        (int(draw.choice(rows[a])), int(draw.choice(rows[b])))
        for a, b in (kinds[number % len(kinds)] for number in range(count))
    ]


def _tolerance(rule: str) -> tuple[str, float] | None:
    """The kind of a tolerance and its number; None for any other rule."""
    kind, _, limit = rule.partition(":")
    if kind not in ("within", "relative"):
        return None
    try:
        return kind, float(limit)
    except ValueError as error:
        raise BundleError(f"the decision rule {rule!r} has no number") from error


def _threshold(rule: str) -> float:
    name, _, limit = rule.partition(":")
    if name == "threshold":
        try:
            return float(limit)
        except ValueError as error:
            raise BundleError(f"the decision rule {rule!r} has no number") from error
    raise BundleError(f"the decision rule {rule!r} is not known")
