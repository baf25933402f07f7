"""How far is each answer off, in units of what float32 itself leaves open?

Both are held against one float64 reference: what the endpoint answered, and what the file answers here. The reference
is the one that was stored when the model left; where there is none, the file itself in float64, by a second engine.
docs/equivalence.md is the definition.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reversible.equivalence import decisions, groups, ladder, localisation, ratio, reference, runtime
from reversible.equivalence.floor import noise_floor
from reversible.equivalence.ladder import Rung, Seen, Standing
from reversible.equivalence.ratio import Ratios
from reversible.equivalence.reference import Reference
from reversible.errors import BundleError, EvaluatorError
from reversible.golden import floor_name, inputs_sha256
from reversible_verifiers import readings
from reversible_verifiers.golden_answers import Golden, Numbers

RECHECKED = 4  # rows of a stored reference whose floor is measured again here: those with the widest
FLOOR_ROOM = 30.0  # between a stored floor and one of fewer evaluations: legitimate ones are up to 11 apart
_BUDGET = 1 << 32  # bytes of weights read by the second engine for one reference: 47 inputs of a MiniLM
_MOST = 1024  # inputs, where no reference is stored


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What the file answered to `rows` of the golden set: (rows, outputs), None when it refused.

    `whole` is the output that decides, where the answers are but one number of it.
    """

    rows: NDArray[np.int64]
    answers: Numbers | None
    whole: Numbers | None = None


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The rung, and what it rests on.

    Attributes:
        standing: The rung.
        source: Of the reference: "original", "port", or "none" where equal bits need none, or "refused".
        rows: Of how many inputs R is known.
        coverage: The share of the distinct inputs of which it is.
        place: The first operator that diverges, or why none is named; "" where nothing is off.
        worst: The rows that are furthest off.
        near: Whether each input of the golden set is as near to the reference as float32 allows (R at most 10); of
            those that were not judged, False.
        judged: Whether R of it is known.
    """

    standing: Standing
    source: str
    rows: int
    coverage: float
    place: str
    worst: tuple[int, ...]
    near: NDArray[np.bool_]
    judged: NDArray[np.bool_]


def measure(
    folder: Path, golden: Golden, reruns: Sequence[Answers], *, rule: str, agrees: NDArray[np.bool_]
) -> Measured:
    """The rung of a model.

    Args:
        folder: Of the model in the bundle.
        golden: Its golden set.
        reruns: What the file answered; the first one covers every input, in order.
        rule: How a decision follows from an answer.
        agrees: Whether each input got the endpoint's decision, by name.
    """
    if golden.names_alone:
        return _by_names(folder, golden, reruns, agrees)
    path = folder / "model.onnx"
    first = golden.first_of_equals
    digest = inputs_sha256(golden.asked.columns)
    identical = all(one.answers is not None and _same_bits(one.answers, golden.outputs[one.rows]) for one in reruns)
    refused = any(one.answers is None for one in reruns)
    floor = folder / "golden" / floor_name(golden.number)
    stored = None if golden.exact else reference.read(floor, inputs_sha256=digest, count=golden.count)
    found, why = stored, ""
    if stored is None and not (refused or identical or golden.exact):
        found, why = _own(path, golden)
    ratios, digits = None, None
    if refused:
        ratios = Ratios(np.full(golden.count, np.inf))
    elif golden.exact and not identical:  # whole numbers are the same, or they are not
        ratios = Ratios(_whole(golden, reruns))
    elif found is not None:
        ratios = _ratios(found, golden, reruns)
        room = _room(path, golden, found) if stored is not None else 1.0
        if room > FLOOR_ROOM and ratios.within():
            ratios, why = None, f"the stored noise floor is {room:.3g} times what is measured here"
        elif room > FLOOR_ROOM:
            ratios = Ratios(ratios.values * room)  # it fails even so; a laxer threshold must not profit from the floor
        digits = golden.recording.significant(golden.outputs)
    elif identical:
        ratios = Ratios(np.zeros(golden.count))
    scale = float(np.median(found.floor)) if found is not None else np.inf
    decide = golden.said is not None or decisions.decides(golden.outputs, rule)
    everywhere = _everywhere(golden.count, found, ratios)
    near = everywhere <= ratio.LARGEST  # of NaN: not judged, so not near
    seen = Seen(
        output=golden.source.output,
        population=f"the golden set of {golden.count} inputs",
        inputs_sha256=digest,
        n=int(first.sum()),
        identical=identical,
        distinct=len(np.unique(golden.outputs, axis=0)),
        ratios=ratios,
        flips=int((~(agrees if decide else near) & first).sum()),
        unexplained=_unexplained(golden, reruns[0], rule, agrees),
        decides=decide,
        deterministic=golden.spread <= ratio.LARGEST * max(scale, 0.0) * np.sqrt(golden.outputs.shape[1]),
        digits=digits,
        why=why,
    )
    standing = ladder.stand(seen)
    off = standing.rung in (Rung.FAILED, Rung.DECISION)
    return Measured(
        standing=standing,
        source=found.source if found is not None else "refused" if refused else "none",
        rows=ratios.decided if ratios is not None else 0,
        coverage=_coverage(first, found, ratios),
        place=_place(
            folder,
            golden,
            refused=refused,
            misnamed=seen.unexplained > 0,
            away=lambda: _otherwise(path, golden, found, ratios),
        )
        if off
        else "",
        worst=_worst(found, ratios) if off else (),
        near=near,
        judged=~np.isnan(everywhere),
    )


def _by_names(folder: Path, golden: Golden, reruns: Sequence[Answers], agrees: NDArray[np.bool_]) -> Measured:
    """The rung where the endpoint says what it decided and no numbers: D at best."""
    first = golden.first_of_equals
    refused = any(one.answers is None for one in reruns)
    seen = Seen(
        output=golden.name,
        population=f"the golden set of {golden.count} inputs",
        inputs_sha256=inputs_sha256(golden.asked.columns),
        n=int(first.sum()),
        identical=False,
        distinct=len(set(golden.said or ())),
        ratios=None,
        flips=int((~agrees & first).sum()),
        names_alone=True,
        why=ladder.NAMES_ALONE,
    )
    standing = ladder.stand(seen)
    off = standing.rung is Rung.FAILED
    place = _place(folder, golden, refused=refused, misnamed=False, away=str) if off else ""
    return Measured(
        standing=standing, source="none", rows=0, coverage=0.0, place=place,
        worst=tuple(np.flatnonzero(~agrees)[:5].tolist()) if off else (), near=agrees, judged=np.ones_like(agrees),
    )  # fmt: skip


def _own(path: Path, golden: Golden) -> tuple[Reference | None, str]:
    """The file itself, in float64; or why that cannot be had."""
    most = groups.affordable(path, _BUDGET, least=ladder.FEWEST, most=_MOST)
    rows = groups.spread(np.flatnonzero(golden.first_of_equals), most)
    try:
        return groups.of_port(path, golden.asked.groups(rows), source=golden.source), ""
    except EvaluatorError as error:
        return None, f"the second engine cannot compute this model: {error.message}"


def _whole(golden: Golden, reruns: Sequence[Answers]) -> NDArray[np.float64]:
    """0 for an input whose whole numbers are the recorded ones in every pass, infinity for any other."""
    values = np.zeros(golden.count)
    for one in reruns:
        expected = golden.outputs[one.rows]
        if one.answers is None or one.answers.shape != expected.shape:
            values[one.rows] = np.inf
        else:
            values[one.rows[(one.answers != expected).any(axis=1)]] = np.inf
    return values


def _room(path: Path, golden: Golden, stored: Reference) -> float:
    """How many times wider than measured here a stored floor is: one that is far too wide would forgive everything.

    Looked at on the inputs with the widest floors, in units of their answers: there an excuse would be.
    """
    wide = stored.floor / np.maximum(_size(stored.answers), np.finfo(np.float64).tiny)
    some = reference.only(stored, np.sort(np.argsort(-wide, kind="stable")[:RECHECKED]))
    asked = golden.asked.groups(some.rows)
    try:
        here = groups.of_port(path, asked, source=golden.source, runs=1, settings=(runtime.USUAL,))
        floor, size = here.floor, _size(here.answers)
    except EvaluatorError:  # without a second engine: what the runtime's own settings differ by
        floor, size = _apart(path, golden, some.rows)
    room = (some.floor / np.maximum(_size(some.answers), np.finfo(np.float64).tiny)) * size / floor
    return float(np.nan_to_num(room, nan=1.0, posinf=np.finfo(np.float64).max).max())


def _apart(path: Path, golden: Golden, rows: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[Any]]:
    floor, size = np.ones(len(rows)), np.ones(len(rows))
    sessions = [(one, runtime.session(path, one)) for one in runtime.LEGITIMATE]
    place = [one.name for one in runtime.outputs(sessions[0][1])].index(golden.source.output)
    for part, feeds in golden.asked.groups(rows):
        asked = (runtime.ask(opened, feeds, batch=one.batch, output=place) for one, opened in sessions)
        found = [golden.source.of(one) for one in asked]
        at = np.searchsorted(rows, part)
        floor[at], size[at] = noise_floor(found[0].astype(np.float64), found[1:]), _size(found[0])
    return floor, size


def _size(answers: NDArray[Any]) -> NDArray[np.float64]:
    """The root mean square of each row's answers; NaN for one that is not finite."""
    flat = answers.reshape(len(answers), -1).astype(np.float64)
    return np.asarray(np.sqrt(np.mean(flat * flat, axis=1)))


def _ratios(found: Reference, golden: Golden, reruns: Sequence[Answers]) -> Ratios:
    """The larger R of what the endpoint recorded and of every re-run."""
    recorded = golden.outputs[found.rows]
    counts = None if golden.counts is None else golden.counts[found.rows]
    quantum = golden.recording.quantum(recorded)
    joined = ratio.error_ratio(recorded, found.answers, found.floor, quantum=quantum, mask=counts)
    values = joined.values.copy()
    for rerun in reruns:
        own, place = np.flatnonzero(np.isin(found.rows, rerun.rows)), np.flatnonzero(np.isin(rerun.rows, found.rows))
        if rerun.answers is not None:
            here = None if counts is None else counts[own]
            judged = ratio.error_ratio(rerun.answers[place], found.answers[own], found.floor[own], mask=here)
            values[own] = np.maximum(values[own], judged.values)
    return Ratios(values)


def _unexplained(golden: Golden, rerun: Answers, rule: str, agrees: NDArray[np.bool_]) -> int:
    """Decisions that differ although the numbers are too close for it: other labels, or another order of them."""
    answers = rerun.answers
    if answers is None or answers.shape != golden.outputs.shape or not golden.classifies(rule):
        return 0
    exact = golden.outputs.astype(np.float64)
    with np.errstate(invalid="ignore"):
        off = np.abs(answers.astype(np.float64) - exact).max(axis=1)
    table = exact if rerun.whole is None else rerun.whole.astype(np.float64)
    return int((~agrees & (decisions.margins(table, rule) > 2 * off)).sum())


def _place(folder: Path, golden: Golden, *, refused: bool, misnamed: bool, away: Callable[[], str]) -> str:
    """The first thing that is other than when the model left: what is made of the raw input, or an operator.

    `away` looks for what was other before then.
    """
    if golden.moved:
        return golden.moved
    if misnamed:
        return "the numbers agree: the classes have other names here, or another order"
    if refused:
        return "the file refuses inputs: no operator is looked for"
    path = folder / "golden/trace.json"
    if not path.exists():
        return away() or "no trace was kept when the model left: no operator can be named"
    try:
        document = json.loads(path.read_bytes())
    except ValueError as error:
        raise BundleError(f"golden/trace.json is not JSON: {error}") from error
    rows, kept = localisation.read(document, golden.count)
    model = folder / "model.onnx"
    try:
        found = localisation.against_trace(model, golden.asked.feeds(np.array(rows)), kept)
    except EvaluatorError as error:
        return f"no operator can be named: {error.message}"
    if found is None:
        return away() or "the file computes what it computed when it left: the difference was there before"
    return f"first off at {found.place} ({found.error:.3g})"


def _otherwise(path: Path, golden: Golden, found: Reference | None, ratios: Ratios | None) -> str:
    """How the endpoint read its raw input, where it was another way."""
    if found is None or ratios is None or len(ratios.values) != found.count:
        return ""
    off = np.flatnonzero(ratios.values > ratio.LARGEST)
    return readings.explain(path, golden, found.rows[off], found.floor[off])


def _everywhere(count: int, found: Reference | None, ratios: Ratios | None) -> NDArray[np.float64]:
    """R of every input of the golden set, shape (count,); NaN where it is not known."""
    values = np.full(count, np.nan)
    if ratios is not None:
        values[np.arange(count) if found is None or len(ratios.values) == count else found.rows] = ratios.values
    return values


def _coverage(first: NDArray[np.bool_], found: Reference | None, ratios: Ratios | None) -> float:
    if ratios is None:
        return 0.0
    rows = found.rows if found is not None else np.arange(len(first))
    return float(first[rows[~np.isnan(ratios.values)]].sum() / first.sum())


def _worst(found: Reference | None, ratios: Ratios | None) -> tuple[int, ...]:
    if ratios is None:
        return ()
    return tuple(int(found.rows[row]) if found is not None else row for row in ratios.worst(5))


def _same_bits(left: Numbers, right: Numbers) -> bool:
    return left.shape == right.shape and np.ascontiguousarray(left).tobytes() == np.ascontiguousarray(right).tobytes()
