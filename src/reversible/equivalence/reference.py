"""What would the answers be without rounding, and how far may rounding move them?

A reference is computed once. White box: from the original, in its own framework, in float64. Black box, when only the
source's recorded answers are at hand: from the port itself, in float64, by an engine that is not the runtime; what is
judged is then what the source recorded. `golden/floor.parquet` keeps it in the bundle.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from reversible.equivalence import runtime
from reversible.equivalence.floor import APART, RUNS, Doubles, Mask, Roundings, noise_floor
from reversible.errors import BundleError
from reversible.evaluator import Evaluator

FORMAT = "reversible-floor/1"
PORT, ORIGINAL = "port", "original"
BATCH = 64  # rows in memory at a time
_SEED = 20261126
_LIMIT = 1 << 26  # bytes of the file's own description

Answer = Callable[[Mapping[str, NDArray[Any]]], NDArray[Any]]
Group = tuple[NDArray[np.int64], runtime.Feeds, Mask | None]  # places in the golden set, feeds, what counts


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Float64 answers and noise floors.

    Attributes:
        rows: Which inputs, by their place in the golden set, shape (n,), rising.
        answers: Float64, shape (n, outputs), in the outputs' unit.
        floor: Shape (n,), same unit.
        source: "original" or "port".
        about: How it was made: engine, runs, seed, settings, digest of the inputs.
    """

    rows: NDArray[np.int64]
    answers: Doubles
    floor: Doubles
    source: str
    about: Mapping[str, Any]

    @property
    def count(self) -> int:
        return len(self.rows)


def of_port(
    path: Path,
    feeds: runtime.Feeds,
    *,
    rows: NDArray[np.int64] | None = None,
    batch: int = BATCH,
    output: int = 0,
    runs: int = RUNS,
    seed: int = _SEED,
    settings: Sequence[runtime.Setting] = runtime.LEGITIMATE,
    mask: Mask | None = None,
) -> Reference:
    """The black box: the port in float64, and the floor that its own legitimate evaluations show.

    Args:
        path: The ONNX file.
        feeds: Each input, rows first.
        rows: Their places in the golden set; None: 0, 1, 2, ...
        batch: Rows in memory at a time; that of the file where it declares one.
        output: Which output, by its place.
        runs: Of Monte-Carlo arithmetic.
        seed: Of its draws.
        settings: The legitimate evaluations; none for a floor of Monte-Carlo arithmetic and the last bit alone.
        mask: True where a position counts, shape (rows, ...).

    Raises:
        EvaluatorError: the engine does not cover an operator, or an input has another type.
        BundleError: the runtime refuses the file or an input.
    """
    count = len(next(iter(feeds.values())))
    whole = (np.arange(count, dtype=np.int64) if rows is None else rows, feeds, mask)
    return of_groups(path, [whole], batch=batch, output=output, runs=runs, seed=seed, settings=settings)


def of_groups(
    path: Path,
    groups: Iterable[Group],
    *,
    batch: int = BATCH,
    output: int = 0,
    runs: int = RUNS,
    seed: int = _SEED,
    settings: Sequence[runtime.Setting] = runtime.LEGITIMATE,
    post: Callable[[NDArray[Any]], NDArray[Any]] = np.asarray,
) -> Reference:
    """The same of inputs that cannot be one array: their places, feeds and mask, group by group.

    Args:
        path: The ONNX file.
        groups: Inputs of one size each; no place twice.
        batch, output, runs, seed, settings: As in `of_port`.
        post: What is done to every answer (rows, ...) before it is one: a softmax.

    Raises:
        EvaluatorError: the engine does not cover an operator, or an input has another type.
        BundleError: the runtime refuses the file or an input, or groups have answers of different sizes.
    """
    evaluator = Evaluator(path)
    name = evaluator.outputs[output].name
    fixed = [one.shape[0] for one in evaluator.inputs if one.shape and isinstance(one.shape[0], int)]
    if fixed:  # traced for one batch size: no other is legitimate
        batch, settings = fixed[0], [replace(one, batch=None) for one in settings]
    sessions = [(one, runtime.session(path, one)) for one in settings]
    noises = [Roundings(seed + run) for run in range(runs)]
    places: list[NDArray[np.int64]] = []
    answers: list[Doubles] = []
    floors: list[Doubles] = []
    for rows, feeds, mask in groups:
        for first in range(0, len(rows), batch):
            part = {one: array[first : first + batch] for one, array in feeds.items()}
            exact = _table(post(evaluator.run(part)[name]))
            asked = (runtime.ask(opened, part, batch=one.batch, output=output) for one, opened in sessions)
            evaluations = (_table(post(one)) for one in asked)
            perturbed = (_table(post(evaluator.run(part, perturb=noise)[name])) for noise in noises)
            counts = None if mask is None else mask[first : first + batch]
            answers.append(exact)
            floors.append(noise_floor(exact, evaluations, perturbed, mask=counts, room=APART))
        places.append(rows)
    if len({one.shape[1] for one in answers}) > 1:
        raise BundleError(f"{name}: its answers have a size of their own for each size of input")
    order = np.argsort(np.concatenate(places), kind="stable")
    about = {
        "engine": "reversible.evaluator",
        "runs": runs,
        "seed": seed,
        "evaluations": [_words(one) for one in settings],
    }
    return Reference(
        rows=np.concatenate(places)[order],
        answers=np.concatenate(answers)[order],
        floor=np.concatenate(floors)[order],
        source=PORT,
        about=about,
    )


def of_original(
    exact: Answer,
    evaluations: Mapping[str, Answer],
    feeds: runtime.Feeds,
    *,
    port: Path | None,
    engine: str,
    rows: NDArray[np.int64] | None = None,
    batch: int = BATCH,
    output: int = 0,
    runs: int = RUNS,
    seed: int = _SEED,
    mask: Mask | None = None,
) -> Reference:
    """The white box: the original in float64. Called in the converter's own process, where the original is.

    Args:
        exact: The original in float64: feeds -> answers (rows, ...).
        evaluations: The original in float32 under legitimate settings, by what is special about each: "as it is",
            "one row at a time", "other kernels".
        feeds: Each input, rows first, as the original takes them.
        port: The ONNX file, for Monte-Carlo arithmetic in float64; None, or a file with an operator that the engine
            does not cover: the floor is that of the evaluations and of the last bit, and `about` says so.
        engine: The framework and its version.
        rows, batch, output, runs, seed, mask: As in `of_port`.

    Raises:
        BundleError: an evaluation answers in another shape than the original in float64.
    """
    from reversible.errors import EvaluatorError

    count = len(next(iter(feeds.values())))
    answers: list[Doubles] = []
    floors: list[Doubles] = []
    for first in range(0, count, batch):
        part = {one: array[first : first + batch] for one, array in feeds.items()}
        counts = None if mask is None else mask[first : first + batch]
        answers.append(_table(exact(part)))
        found = [_table(one(part)) for one in evaluations.values()]
        if any(one.shape != answers[-1].shape for one in found):
            raise BundleError(
                f"the original answers {[one.shape for one in found]} in float32, {answers[-1].shape} in float64"
            )
        floors.append(noise_floor(answers[-1], found, mask=counts))
    floor = np.concatenate(floors)
    uncovered = "no port was given" if port is None else ""
    if port is not None:
        try:
            noise = of_port(port, feeds, batch=batch, output=output, runs=runs, seed=seed, settings=(), mask=mask)
            floor = np.maximum(floor, noise.floor)
        except EvaluatorError as error:
            uncovered = error.message
    about = {
        "engine": engine, "runs": 0 if uncovered else runs, "seed": seed, "evaluations": list(evaluations),
        "without_monte_carlo": uncovered,
    }  # fmt: skip
    return Reference(
        rows=np.arange(count, dtype=np.int64) if rows is None else rows,
        answers=np.concatenate(answers),
        floor=floor,
        source=ORIGINAL,
        about=about,
    )


def write(reference: Reference, stream: IO[bytes], *, inputs_sha256: str) -> None:
    """As `golden/floor.parquet`: columns `index`, `y64` and `floor`, how it was made in the schema's metadata."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    flat = pa.array(reference.answers.reshape(-1), pa.float64())
    table = pa.table(
        {
            "index": pa.array(reference.rows, pa.int64()),
            "y64": pa.FixedSizeListArray.from_arrays(flat, max(reference.answers.shape[1], 1)),
            "floor": pa.array(reference.floor, pa.float64()),
        }
    )
    about = {"format": FORMAT, "source": reference.source, **reference.about, "inputs_sha256": inputs_sha256}
    described = table.replace_schema_metadata({"reversible": json.dumps(about, sort_keys=True)})
    pq.write_table(described, stream, compression="zstd")


def read(path: Path, *, inputs_sha256: str, count: int) -> Reference | None:
    """The stored reference; None when there is none.

    Args:
        path: `golden/floor.parquet`.
        inputs_sha256: The digest of the golden set's inputs (`ladder.inputs_sha256`).
        count: How many they are.

    Raises:
        BundleError: it is damaged, of another format, or about other inputs.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.exists():
        return None
    try:
        table = pq.read_table(path)
        text = (table.schema.metadata or {}).get(b"reversible", b"")
        about = json.loads(text if len(text) < _LIMIT else b"")
        rows = np.array(table["index"].to_pylist(), dtype=np.int64)
        floor = np.array(table["floor"].to_pylist(), dtype=np.float64)
        answers = np.array(table["y64"].to_pylist(), dtype=np.float64)
    except (pa.ArrowException, OSError, KeyError, ValueError, TypeError) as error:
        raise BundleError(f"{path.name} of the golden set cannot be read: {runtime.first_line(error)}") from error
    if not isinstance(about, dict) or about.get("format") != FORMAT or about.get("source") not in (PORT, ORIGINAL):
        raise BundleError(f"{path.name} of the golden set is not of the format {FORMAT}")
    if about.get("inputs_sha256") != inputs_sha256:
        raise BundleError(f"{path.name} of the golden set was computed for other inputs")
    if not len(rows) or answers.ndim != 2 or np.any(np.diff(rows) <= 0) or rows[0] < 0 or rows[-1] >= count:
        raise BundleError(f"{path.name} of the golden set holds no rising rows of its inputs")
    if not np.all(floor > 0):  # NaN too
        raise BundleError(f"{path.name} of the golden set holds a noise floor that is not above 0")
    return Reference(rows=rows, answers=answers, floor=floor, source=str(about["source"]), about=about)


def only(reference: Reference, kept: NDArray[np.int64]) -> Reference:
    """The reference of some of its rows, by their place in it."""
    return replace(reference, rows=reference.rows[kept], answers=reference.answers[kept], floor=reference.floor[kept])


def _table(answers: NDArray[Any]) -> Doubles:
    return np.asarray(answers, dtype=np.float64).reshape(len(answers), -1)


def _words(setting: runtime.Setting) -> str:
    rows = "all rows at once" if setting.batch is None else f"{setting.batch} row at a time"
    kernels = "optimised" if setting.optimised else "not optimised"
    return f"onnxruntime, {rows}, {kernels}, {setting.threads} threads"
