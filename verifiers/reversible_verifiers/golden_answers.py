"""What did the endpoint answer, by its own raw bytes?

The tables of a golden set were written by an exporter, which may be wrong. So the recorded requests and responses are
read once more here, by other code, and every number must be the same.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reversible.assets import Asset
from reversible.equivalence.ratio import Recording
from reversible.errors import BundleError

if TYPE_CHECKING:
    from reversible.bundle.reader import Bundle

Floats = NDArray[np.float32]
_TEXTS = 20_000  # numbers whose texts are read: how finely they were written shows in far fewer


@dataclass(frozen=True, kw_only=True)
class Golden:
    """The golden set of one model.

    `inputs` (rows, width) and `outputs` (rows, outputs) float32; `labels` the true class, -1 where not known;
    `first_of_equals` marks one of each group of equal inputs; `witness_rows` and `witness_outputs` are what the
    endpoint answered a second time; `labels_at_source` the names of the classes as found there, None where none;
    `spread` and `decisions_changed` what repeating the same question changed; `recording` how finely the answers were
    written down.
    """

    inputs: Floats
    outputs: Floats
    labels: NDArray[np.int64]
    origins: tuple[str, ...]
    batch_size: int
    spread: float
    decisions_changed: int
    witness_rows: NDArray[np.int64]
    witness_outputs: Floats
    labels_at_source: tuple[str, ...] | None
    recording: Recording

    @property
    def count(self) -> int:
        return len(self.inputs)

    @property
    def first_of_equals(self) -> NDArray[np.bool_]:
        """Asking one input twice proves nothing more: only the first of equal rows counts."""
        seen: set[bytes] = set()
        first = np.zeros(self.count, dtype=bool)
        for index, row in enumerate(self.inputs):
            key = row.tobytes()
            first[index] = key not in seen
            seen.add(key)
        return first


def read(asset: Asset, bundle: "Bundle") -> Golden | None:
    """The golden set; None when none was recorded.

    Raises:
        BundleError: it is incomplete, or its tables are not what the raw bytes say.
    """
    folder = bundle.folder(asset) / "golden"
    if not (folder / "manifest.json").exists():
        return None
    manifest = bundle.document(asset, "golden/manifest.json")
    inputs, outputs = _column(folder / "inputs.parquet", "input"), _column(folder / "outputs.parquet", "output")
    if len(inputs) != len(outputs):
        raise BundleError(f"{asset.id}: {len(inputs)} golden inputs, {len(outputs)} answers")
    recording = _hold_against_bytes(asset, folder / "requests.parquet", inputs, outputs)
    _hold_against_onnx_layout(asset, folder.parent / "test_data_set_0", inputs, outputs)
    table = _read(folder / "inputs.parquet")
    witness = bundle.witness(asset)
    rows, answers = _witnessed(asset, witness.tables.get("answers"), inputs)
    labels = witness.facts.get("labels")
    return Golden(
        inputs=inputs,
        outputs=outputs,
        labels=np.array([-1 if one is None else one for one in table["label"].to_pylist()], dtype=np.int64),
        origins=tuple(str(one) for one in table["origin"].to_pylist()),
        batch_size=int(manifest["batch_size"]),
        spread=float(manifest["determinism"]["max_abs_spread"]),
        decisions_changed=int(manifest["determinism"]["decisions_changed"]),
        witness_rows=rows,
        witness_outputs=answers,
        labels_at_source=tuple(str(one) for one in labels) if isinstance(labels, list) else None,
        recording=recording,
    )


def _read(path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise BundleError(f"{path.name} of the golden set cannot be read: {str(error).splitlines()[0]}") from error


def _column(path: Path, name: str) -> Floats:
    table = _read(path)
    if name not in table.column_names or table["index"].to_pylist() != list(range(table.num_rows)):
        raise BundleError(f"{path.name} of the golden set has no column {name}, or its rows are out of order")
    values = np.array(table[name].to_pylist(), dtype=np.float32)
    if values.ndim != 2 or not len(values):
        raise BundleError(f"{path.name} of the golden set holds no table of numbers, but the shape {values.shape}")
    return values


def _hold_against_bytes(asset: Asset, path: Path, inputs: Floats, outputs: Floats) -> Recording:
    """The exchanges must cover every row once, in order, and hold the same numbers; how finely those were written."""
    following = 0
    texts: list[str] = []
    for exchange in _read(path).to_pylist():
        first, count = exchange["first"], exchange["count"]
        where = f"{asset.id}: the recorded exchange for inputs {first} to {first + count - 1}"
        if first != following or exchange["status"] != 200:
            raise BundleError(f"{where} is out of order, or was not answered with status 200")
        try:
            asked = np.array(json.loads(exchange["request"])["instances"], dtype=np.float32)  # null becomes NaN
            answered = np.array(json.loads(exchange["response"])["predictions"], dtype=np.float32)
        except (ValueError, KeyError, TypeError) as error:
            raise BundleError(f"{where} cannot be read: {error}") from error
        end = first + count
        if not _same(asked, inputs[first:end]) or not _same(answered.reshape(len(answered), -1), outputs[first:end]):
            raise BundleError(f"{where} says other numbers than the tables beside it")
        if len(texts) < _TEXTS:
            texts += _numbers(json.loads(exchange["response"], parse_float=str, parse_int=str)["predictions"])
        following = end
    if following != len(inputs):
        raise BundleError(f"{asset.id}: the recorded exchanges end at input {following} of {len(inputs)}")
    return Recording.of(texts)


def _numbers(nested: Any) -> list[str]:
    """The texts of all numbers in lists of lists."""
    if isinstance(nested, list):
        return [text for one in nested for text in _numbers(one)]
    return [nested] if isinstance(nested, str) else []


def _hold_against_onnx_layout(asset: Asset, folder: Path, inputs: Floats, outputs: Floats) -> None:
    """Whoever replays `test_data_set_0` with another runtime must be asking the same."""
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # it ships no types

    for name, table in (("input_0", inputs), ("output_0", outputs)):
        path = folder / f"{name}.pb"
        try:
            array = onnx.numpy_helper.to_array(onnx.TensorProto.FromString(path.read_bytes()))
        except (OSError, DecodeError, ValueError) as error:
            raise BundleError(f"{asset.id}: test_data_set_0/{name}.pb cannot be read: {error}") from error
        if not _same(array.reshape(len(array), -1), table):
            raise BundleError(f"{asset.id}: test_data_set_0/{name}.pb says other numbers than the golden set")


def _same(left: NDArray[Any], right: Floats) -> bool:
    return left.shape == right.shape and bool(np.array_equal(left, right, equal_nan=True))


def _witnessed(asset: Asset, table: Any, inputs: Floats) -> tuple[NDArray[np.int64], Floats]:
    """Rows and answers of the second asking; the inputs must be the same ones.

    Raises:
        BundleError: there was none, or it is about other inputs.
    """
    if table is None or not table.num_rows:
        raise BundleError(f"{asset.id}: its witness holds no answers of the endpoint")
    rows = np.array(table["index"].to_pylist(), dtype=np.int64)
    if rows.min() < 0 or rows.max() >= len(inputs) or len(set(rows.tolist())) != len(rows):
        raise BundleError(f"{asset.id}: its witness answers inputs that the golden set does not have")
    for row, digest in zip(rows.tolist(), table["input_sha256"].to_pylist(), strict=True):
        if hashlib.sha256(inputs[row].astype("<f4").tobytes()).hexdigest() != digest:
            raise BundleError(f"{asset.id}: input {row} of the golden set is not the one that the witness asked")
    try:
        return rows, np.array(table["output"].to_pylist(), dtype=np.float32)
    except ValueError as error:
        raise BundleError(f"{asset.id}: the answers of its witness have different lengths") from error
