"""What did the endpoint answer, by its own raw bytes?

The tables of a golden set were written by an exporter, which may be wrong. So the recorded requests and responses are
read once more here, and every value must be the same. What was asked becomes tensors here too, by the rules that
travel in `processing/`: a model is judged from the raw input on.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reversible import golden, wire
from reversible.assets import Asset
from reversible.equivalence import decisions, groups, masks, runtime
from reversible.equivalence.ratio import Recording
from reversible.errors import BundleError
from reversible.golden import Column
from reversible.processing.answers import Source, label_of, said, sources
from reversible.processing.asked import Asked
from reversible.processing.raw import Processing
from reversible.wire import Field

if TYPE_CHECKING:
    from reversible.bundle.reader import Bundle

Numbers = NDArray[Any]
_TEXTS = 20_000  # numbers whose texts are read: how finely they were written shows in far fewer
_BINARY = Recording(digits=17, decimals=400)  # an answer of float64 as it is


@dataclass(frozen=True, kw_only=True)
class Golden:
    """The golden set of one model, and one of the numbers that its endpoint answered with.

    Attributes:
        asked: What was asked, and what the graph is given for it.
        name: The number's name at the endpoint.
        source: The graph's output that it is held against.
        number: Its place among the numbers that were recorded.
        outputs: Recorded, (rows, outputs): float32 or float64; whole where the graph's are.
        labels: The true class of each input, -1 where not known.
        said: The labels that the endpoint itself answered with; None where it gives none.
        witness_rows, witness_outputs, witness_said: What it answered a second time.
        labels_at_source: The names of the classes as found there; None where there are none.
        spread: How far answers to the same question lie apart; `decisions_changed` of how many the decision did.
        recording: How finely the answers were written down.
        counts: Which of the numbers mean something, their shape; what is answered for filling is 0. None: all.
        moved: What `processing/` makes of an input otherwise than when the model left; "" where nothing.
    """

    asked: Asked
    name: str
    source: Source
    number: int
    outputs: Numbers
    labels: NDArray[np.int64]
    origins: tuple[str, ...]
    batch_size: int
    spread: float
    decisions_changed: int
    witness_rows: NDArray[np.int64]
    witness_outputs: Numbers
    labels_at_source: tuple[str, ...] | None
    recording: Recording
    said: tuple[str, ...] | None = None
    witness_said: tuple[str, ...] | None = None
    counts: NDArray[np.bool_] | None = None
    moved: str = ""

    def counting(self, answers: Numbers, rows: NDArray[np.int64]) -> Numbers:
        """Answers to some rows, with 0 where they mean nothing."""
        if self.counts is None or answers.shape != self.counts[rows].shape:
            return answers
        return np.where(self.counts[rows], answers, np.zeros(1, answers.dtype))

    @property
    def count(self) -> int:
        return self.asked.count

    def classifies(self, rule: str) -> bool:
        """Whether the answers make classes: by the rule, or because the endpoint names one."""
        return self.said is not None or decisions.classifies(self.outputs, rule)

    @property
    def names_alone(self) -> bool:
        """Whether the endpoint says what was decided, and no number."""
        return not self.outputs.shape[1]

    @property
    def made(self) -> bool:
        """Whether nobody gave inputs, and they were made of what the model takes."""
        return golden.DRAWN in self.origins

    @property
    def exact(self) -> bool:
        """Whether the numbers are whole: then they are the same, or they are not."""
        return self.outputs.dtype.kind in "iub"

    @property
    def first_of_equals(self) -> NDArray[np.bool_]:
        """Asking one input twice proves nothing more: only the first of equal rows counts."""
        return self.asked.first_of_equals


def is_recorded(asset: Asset, bundle: "Bundle") -> bool:
    """Whether there is a golden set."""
    return (bundle.folder(asset) / "golden/manifest.json").exists()


def read(asset: Asset, bundle: "Bundle", session: Any) -> tuple[Golden, ...]:
    """The golden set, once for each number that the endpoint answered with; the first one makes the decisions.

    Args:
        asset: The model.
        bundle: Where it lies.
        session: The model, open in the runtime.

    Raises:
        BundleError: it is incomplete, or its tables are not what the raw bytes say.
    """
    takes, gives = runtime.fields(session.get_inputs()), runtime.outputs(session)
    folder = bundle.folder(asset) / "golden"
    manifest = bundle.document(asset, "golden/manifest.json")
    inputs, outputs = golden.read(folder, manifest, "inputs"), golden.read(folder, manifest, "outputs")
    if len(inputs[0].values) != len(outputs[0].values):
        raise BundleError(f"{asset.id}: {len(inputs[0].values)} golden inputs, {len(outputs[0].values)} answers")
    texts = _hold_against_bytes(asset, folder / "requests.parquet", inputs, outputs)
    asked = Asked(inputs, Processing(folder.parent / "processing", takes, [one.field for one in inputs]))
    first = partial(runtime.first_answers, session, partial(asked.feeds, np.array([0])))
    found = sources(gives, outputs, folder.parent / "processing", first)
    numbers = [one for one in outputs if one.field.name in found]
    label = label_of(gives, outputs)
    places = [one.name for one in gives]
    laid_out = [(one, places.index(found[one.field.name].output)) for one in numbers if found[one.field.name].plain]
    moved = _hold_against_onnx_layout(asset, folder.parent, asked, laid_out, takes)
    table = _read(folder / "inputs.parquet")
    witness = bundle.witness(asset)
    rows, again = _witnessed(asset, witness.tables.get("answers"), inputs, outputs)
    labels = witness.facts.get("labels")
    names = [str(one) for one in labels] if isinstance(labels, list) else []
    told = None if label is None else said(label, names)
    told_again = None if label is None else said(again[label.field.name], names)
    spreads = manifest["determinism"].get("spread", {})
    kinds = {one.name: np.dtype(one.dtype) for one in gives}
    judged = []
    for number, one in enumerate(numbers or outputs[:1]):
        name = one.field.name
        if numbers:
            source, text = found[name], texts[name]
            expected = _as_computed(one.values, kinds[source.output], asset, name)
            again_said = _flat(again[name].values.astype(expected.dtype))
        else:  # a label, and no number: what decides is the output with a number per class
            source, text = Source(_deciding(gives)), []
            expected, again_said = np.zeros((len(one.values), 0), np.float32), np.zeros((len(rows), 0), np.float32)
        counts = _counts(asked, one)
        if counts is not None:
            expected = np.where(counts, expected, np.zeros(1, expected.dtype))
            again_said = np.where(counts[rows], again_said, np.zeros(1, expected.dtype))
        judged.append(
            Golden(
                asked=asked,
                name=name,
                source=source,
                number=number,
                outputs=expected,
                labels=np.array([-1 if one is None else one for one in table["label"].to_pylist()], dtype=np.int64),
                origins=tuple(str(one) for one in table["origin"].to_pylist()),
                batch_size=int(manifest["batch_size"]),
                spread=float(spreads.get(name, manifest["determinism"]["max_abs_spread"])),
                decisions_changed=int(manifest["determinism"]["decisions_changed"]),
                witness_rows=rows,
                witness_outputs=again_said,
                labels_at_source=tuple(str(one) for one in labels) if isinstance(labels, list) else None,
                recording=Recording.of(text) if text else _BINARY,
                said=None if number else told,
                witness_said=None if number else told_again,
                counts=counts,
                moved=moved,
            )
        )
    return tuple(judged)


def _as_computed(values: NDArray[Any], kind: np.dtype[Any], asset: Asset, name: str) -> Numbers:
    """The recorded numbers in the type in which the graph computes them, or in the narrower one of the record."""
    if values.dtype == np.object_:
        raise BundleError(f"{asset.id}: {name} has a size of its own for each length of input, which is not judged")
    flat = _flat(values)
    if kind.kind in "iub":
        whole = flat.astype(kind)
        return whole if np.array_equal(whole, flat) else flat.astype(np.float64)
    narrow = kind == np.float64 and flat.dtype != np.float32
    return flat.astype(np.float64 if narrow else np.float32)


def _deciding(gives: Sequence[Field]) -> str:
    """The output with a number for each class."""
    tables = [one.name for one in gives if not one.is_text and np.dtype(one.dtype).kind == "f"]
    if not tables:
        raise BundleError("the endpoint answers with names, and no output of model.onnx has numbers to decide by")
    return tables[0]


def _counts(asked: Asked, number: Column) -> NDArray[np.bool_] | None:
    """Of an answer per token, what is answered for filling means nothing."""
    if len(number.field.shape) < 3 or not asked.uniform:
        return None
    found = masks.counting(asked.feeds(np.arange(asked.count)), number.field.shape)
    return None if found is None else _flat(found)


def _flat(values: NDArray[Any]) -> NDArray[Any]:
    return values.reshape(len(values), -1)


def _read(path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise BundleError(f"{path.name} of the golden set cannot be read: {str(error).splitlines()[0]}") from error


def _hold_against_bytes(
    asset: Asset, path: Path, inputs: Sequence[Column], outputs: Sequence[Column]
) -> dict[str, list[str]]:
    """The exchanges must cover every row once, in order, and hold the same values; the numbers as they were written."""
    following = 0
    fields = [one.field for one in inputs]
    texts: dict[str, list[str]] = {one.field.name: [] for one in outputs}
    for exchange in _read(path).to_pylist():
        first, count = exchange["first"], exchange["count"]
        where = f"{asset.id}: the recorded exchange for inputs {first} to {first + count - 1}"
        if first != following or exchange["status"] != 200:
            raise BundleError(f"{where} is out of order, or was not answered with status 200")
        rows = np.arange(first, first + count)
        try:
            wanted = wire.decode(exchange["request"], exchange["request_type"], fields)
            answered = wire.decode_answers(exchange["response"], exchange["response_type"], count)
        except (wire.RequestError, wire.UnknownTypeError, wire.AnswerError) as error:
            raise BundleError(f"{where} cannot be read: {error}") from error
        if set(answered) != {one.field.name for one in outputs} or following + count > len(inputs[0].values):
            raise BundleError(f"{where} says other things than the tables beside it")
        if not all(_same(wanted[one.field.name], one.take(rows)) for one in inputs) or not all(
            _same(answered[one.field.name], one.take(rows)) for one in outputs
        ):
            raise BundleError(f"{where} says other numbers than the tables beside it")
        for name, read in texts.items():
            if len(read) < _TEXTS:
                read += wire.written(exchange["response"], exchange["response_type"], name)
        following += count
    if following != len(inputs[0].values):
        raise BundleError(f"{asset.id}: the recorded exchanges end at input {following} of {len(inputs[0].values)}")
    return texts


def _same(found: NDArray[Any], table: NDArray[Any]) -> bool:
    """Whether the bytes say what the table says, in the table's type; an answer without a width has one of 1."""
    if found.shape != table.shape and found.size == table.size and len(found) == len(table):
        found = found.reshape(table.shape)
    if found.shape != table.shape:
        return False
    if found.dtype == np.object_ or table.dtype == np.object_:
        return found.dtype == table.dtype and bool(np.all(found == table))
    with np.errstate(over="ignore", invalid="ignore"):
        return np.array_equal(found.astype(table.dtype), table, equal_nan=table.dtype.kind == "f")


def _hold_against_onnx_layout(
    asset: Asset,
    folder: Path,
    asked: Asked,
    outputs: Sequence[tuple[Column, int]],
    takes: Sequence[Field],
) -> str:
    """Whoever replays `test_data_set_0` with another runtime must be asking the same.

    Returns:
        The first input that `processing/` makes another tensor of than when the model left, in words; "" where none.
    """
    moved = ""
    for number, (rows, feeds) in enumerate(_sets(asked)):
        where = f"test_data_set_{number}"
        for place, one in enumerate(takes):
            kept = _tensor(asset, folder / where, f"input_{place}")
            if _alike(kept, feeds[one.name]):
                continue
            if not asked.processed(one.name):
                raise BundleError(f"{asset.id}: {where}/input_{place}.pb says other numbers than the golden set")
            moved = moved or _moved(asked, rows, kept, feeds[one.name], one.name)
        for column, place in outputs:
            kept = _tensor(asset, folder / where, f"output_{place}")
            if not _alike(kept, column.take(rows)):
                raise BundleError(f"{asset.id}: {where}/output_{place}.pb says other numbers than the golden set")
    return moved


def _sets(asked: Asked) -> Iterator[tuple[NDArray[np.int64], dict[str, NDArray[Any]]]]:
    """As the exporter wrote them: all inputs at once, or some of them alone where they differ in size."""
    everything = np.arange(asked.count)
    if asked.uniform:
        yield everything, asked.feeds(everything)
        return
    for row in groups.spread(everything, golden.LAID_OUT):
        yield np.array([row]), asked.feeds(np.array([row]))


def _moved(asked: Asked, rows: NDArray[np.int64], kept: Any, made: NDArray[Any], name: str) -> str:
    row = int(rows[0])
    if kept.shape == made.shape:
        off = (kept != made) & ~((kept != kept) & (made != made))
        row = int(rows[np.flatnonzero(off.reshape(len(off), -1).any(axis=1))[0]])
    return f"{asked.words(name)}: input {row} becomes another {name} than when the model left"


def _tensor(asset: Asset, folder: Path, name: str) -> NDArray[Any]:
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # it ships no types

    try:
        found = onnx.numpy_helper.to_array(onnx.TensorProto.FromString((folder / f"{name}.pb").read_bytes()))
    except (OSError, DecodeError, ValueError) as error:
        raise BundleError(f"{asset.id}: {folder.name}/{name}.pb cannot be read: {error}") from error
    return np.asarray(found)


def _alike(kept: NDArray[Any], expected: NDArray[Any]) -> bool:
    if kept.dtype.kind in "OUS" or expected.dtype.kind in "OUS":
        return kept.size == expected.size and [str(one) for one in kept.reshape(-1)] == [
            one.decode() if isinstance(one, bytes) else str(one) for one in expected.reshape(-1)
        ]
    if kept.size != expected.size or len(kept) != len(expected):
        return False
    return np.array_equal(_flat(kept).astype(expected.dtype), _flat(expected), equal_nan=expected.dtype.kind == "f")


def _witnessed(
    asset: Asset, table: Any, inputs: Sequence[Column], outputs: Sequence[Column]
) -> tuple[NDArray[np.int64], Mapping[str, Column]]:
    """Rows and answers of the second asking; the inputs must be the same ones.

    Raises:
        BundleError: there was none, or it is about other inputs.
    """
    if table is None or not table.num_rows:
        raise BundleError(f"{asset.id}: its witness holds no answers of the endpoint")
    rows = np.array(table["index"].to_pylist(), dtype=np.int64)
    if rows.min() < 0 or rows.max() >= len(inputs[0].values) or len(set(rows.tolist())) != len(rows):
        raise BundleError(f"{asset.id}: its witness answers inputs that the golden set does not have")
    for row, digest in zip(rows.tolist(), table["input_sha256"].to_pylist(), strict=True):
        if golden.row_sha256(inputs, row) != digest:
            raise BundleError(f"{asset.id}: input {row} of the golden set is not the one that the witness asked")
    try:
        return rows, {one.field.name: golden.from_arrow(table, one.field, one.column) for one in outputs}
    except BundleError as error:
        raise BundleError(f"{asset.id}: the answers of its witness are others: {error.message}") from error
