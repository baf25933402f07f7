"""How far is each answer off, in units of what float32 itself leaves open?

Both are held against one float64 reference: what the endpoint answered, and what the file answers here. The reference
is the one that was stored when the model left; where there is none, the file itself in float64, by a second engine.
docs/equivalence.md is the definition.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reversible.equivalence import decisions, ladder, localisation, ratio, reference, runtime
from reversible.equivalence.floor import noise_floor
from reversible.equivalence.ladder import Rung, Seen, Standing
from reversible.equivalence.ratio import Ratios
from reversible.equivalence.reference import Reference
from reversible.errors import BundleError, EvaluatorError
from reversible_verifiers.golden_answers import Floats, Golden

RECHECKED = 4  # rows of a stored reference whose floor is measured again here: those with the widest
FLOOR_ROOM = 30.0  # between a stored floor and one of fewer evaluations: legitimate ones are up to 11 apart
_BUDGET = 1 << 32  # bytes of weights read by the second engine for one reference: 47 inputs of a MiniLM
_MOST = 1024  # inputs, where no reference is stored


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What the file answered to `rows` of the golden set: (rows, outputs), None when it refused."""

    rows: NDArray[np.int64]
    answers: Floats | None


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
    path = folder / "model.onnx"
    asked, answered = _names(path)
    first = golden.first_of_equals
    digest = ladder.inputs_sha256({"input": golden.inputs})
    identical = all(one.answers is not None and _same_bits(one.answers, golden.outputs[one.rows]) for one in reruns)
    refused = any(one.answers is None for one in reruns)
    stored = reference.read(folder / "golden/floor.parquet", inputs_sha256=digest, count=golden.count)
    found, why = stored, ""
    if stored is None and not refused and not identical:
        found, why = _own(path, asked, golden)
    ratios, digits = None, None
    if refused:
        ratios = Ratios(np.full(golden.count, np.inf))
    elif found is not None:
        ratios = _ratios(found, golden, reruns)
        room = _room(path, asked, golden, found) if stored is not None else 1.0
        if room > FLOOR_ROOM and ratios.within():
            ratios, why = None, f"the stored noise floor is {room:.3g} times what is measured here"
        elif room > FLOOR_ROOM:
            ratios = Ratios(ratios.values * room)  # it fails even so; a laxer threshold must not profit from the floor
        digits = golden.recording.significant(golden.outputs)
    elif identical:
        ratios = Ratios(np.zeros(golden.count))
    scale = float(np.median(found.floor)) if found is not None else np.inf
    decide = decisions.decides(golden.outputs, rule)
    everywhere = _everywhere(golden.count, found, ratios)
    near = everywhere <= ratio.LARGEST  # of NaN: not judged, so not near
    seen = Seen(
        output=answered,
        population=f"the golden set of {golden.count} inputs",
        inputs_sha256=digest,
        n=int(first.sum()),
        identical=identical,
        distinct=len(np.unique(golden.outputs, axis=0)),
        ratios=ratios,
        flips=int((~(agrees if decide else near) & first).sum()),
        unexplained=_unexplained(golden, reruns[0].answers, rule, agrees),
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
        place=_place(folder, asked, golden, refused=refused) if off else "",
        worst=_worst(found, ratios) if off else (),
        near=near,
        judged=~np.isnan(everywhere),
    )


def _own(path: Path, asked: str, golden: Golden) -> tuple[Reference | None, str]:
    """The file itself, in float64; or why that cannot be had."""
    rows = _spread(np.flatnonzero(golden.first_of_equals), _affordable(path))
    try:
        return reference.of_port(path, {asked: golden.inputs[rows]}, rows=rows), ""
    except EvaluatorError as error:
        return None, f"the second engine cannot compute this model: {error.message}"


def _room(path: Path, asked: str, golden: Golden, stored: Reference) -> float:
    """How many times wider than measured here a stored floor is: one that is far too wide would forgive everything.

    Looked at on the inputs with the widest floors, in units of their answers: there an excuse would be.
    """
    wide = stored.floor / np.maximum(_size(stored.answers), np.finfo(np.float64).tiny)
    some = reference.only(stored, np.sort(np.argsort(-wide, kind="stable")[:RECHECKED]))
    feeds = {asked: golden.inputs[some.rows]}
    try:
        here = reference.of_port(path, feeds, runs=1, settings=(runtime.USUAL,))
        floor, size = here.floor, _size(here.answers)
    except EvaluatorError:  # without a second engine: what the runtime's own settings differ by
        settings = [runtime.ask(runtime.session(path, one), feeds, batch=one.batch) for one in runtime.LEGITIMATE]
        floor, size = noise_floor(settings[0].astype(np.float64), settings[1:]), _size(settings[0])
    room = (some.floor / np.maximum(_size(some.answers), np.finfo(np.float64).tiny)) * size / floor
    return float(np.nan_to_num(room, nan=1.0, posinf=np.finfo(np.float64).max).max())


def _size(answers: NDArray[Any]) -> NDArray[np.float64]:
    """The root mean square of each row's answers; NaN for one that is not finite."""
    flat = answers.reshape(len(answers), -1).astype(np.float64)
    return np.asarray(np.sqrt(np.mean(flat * flat, axis=1)))


def _ratios(found: Reference, golden: Golden, reruns: Sequence[Answers]) -> Ratios:
    """The larger R of what the endpoint recorded and of every re-run."""
    recorded = golden.outputs[found.rows]
    joined = ratio.error_ratio(recorded, found.answers, found.floor, quantum=golden.recording.quantum(recorded))
    values = joined.values.copy()
    for rerun in reruns:
        own, place = np.flatnonzero(np.isin(found.rows, rerun.rows)), np.flatnonzero(np.isin(rerun.rows, found.rows))
        if rerun.answers is not None:
            judged = ratio.error_ratio(rerun.answers[place], found.answers[own], found.floor[own])
            values[own] = np.maximum(values[own], judged.values)
    return Ratios(values)


def _unexplained(golden: Golden, answers: Floats | None, rule: str, agrees: NDArray[np.bool_]) -> int:
    """Decisions that differ although the numbers are too close for it: other labels, or another order of them."""
    if answers is None or answers.shape != golden.outputs.shape or not decisions.classifies(golden.outputs, rule):
        return 0
    exact = golden.outputs.astype(np.float64)
    with np.errstate(invalid="ignore"):
        off = np.abs(answers.astype(np.float64) - exact).max(axis=1)
    return int((~agrees & (decisions.margins(exact, rule) > 2 * off)).sum())


def _place(folder: Path, asked: str, golden: Golden, *, refused: bool) -> str:
    """The first operator that computes something else than when the model left."""
    if refused:
        return "the file refuses inputs: no operator is looked for"
    path = folder / "golden/trace.json"
    if not path.exists():
        return "no trace was kept when the model left: no operator can be named"
    try:
        document = json.loads(path.read_bytes())
    except ValueError as error:
        raise BundleError(f"golden/trace.json is not JSON: {error}") from error
    rows, kept = localisation.read(document, golden.count)
    model = folder / "model.onnx"
    try:
        found = localisation.against_trace(model, {asked: golden.inputs[rows]}, kept)
    except EvaluatorError as error:
        return f"no operator can be named: {error.message}"
    if found is None:
        return "the file computes what it computed when it left: the difference was there before"
    return f"first off at {found.place} ({found.error:.3g})"


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


def _same_bits(left: Floats, right: Floats) -> bool:
    return left.shape == right.shape and np.ascontiguousarray(left).tobytes() == np.ascontiguousarray(right).tobytes()


def _spread(rows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Some of the rows, evenly."""
    if len(rows) <= count:
        return rows
    return rows[np.unique(np.linspace(0, len(rows) - 1, count).astype(np.int64))]


def _affordable(path: Path) -> int:
    files = (path, path.with_name(f"{path.name}.data"))
    return int(min(_MOST, max(ladder.FEWEST, _BUDGET // sum(one.stat().st_size for one in files if one.exists()))))


def _names(path: Path) -> tuple[str, str]:
    """The file's one input, and the output that the golden set holds."""
    import onnx

    graph = onnx.load(str(path), load_external_data=False).graph
    given = {tensor.name for tensor in graph.initializer}
    inputs = [value.name for value in graph.input if value.name not in given]
    if len(inputs) != 1:
        raise BundleError(f"{path.name} takes {len(inputs)} inputs; the golden set has one")
    return inputs[0], graph.output[0].name
