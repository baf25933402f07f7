"""What was asked of a live endpoint and what did it answer, as tables?

A golden set lies in a model's `golden/` folder: the raw bytes of every exchange, and beside them the same values as
columns of `inputs.parquet` and `outputs.parquet`. `manifest.json` says which column holds which value, of which type
and shape. docs/bundle-format.md is the definition.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reversible.equivalence import ladder
from reversible.errors import BundleError
from reversible.wire import Field

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT, OLD_FORMAT = "reversible-golden/2", "reversible-golden/1"
INPUT, OUTPUT = "input", "output"  # the column of an only value; of several, "input:NAME"
DRAWN = "drawn"  # the origin of inputs that were made, where the plan names no file
LAID_OUT = 64  # inputs of different sizes that are also written as tensors, each alone, in ONNX's own layout
_SIZES = ".shape"  # the column of the sizes, where they differ from row to row
_RESERVED = frozenset({"index", "label", "origin"})


@dataclass(frozen=True, kw_only=True)
class Column:
    """One value of every row.

    Attributes:
        field: Its name, type and shape, rows first.
        values: Numbers (rows, ...); where sizes differ, and of texts and bytes, objects (rows,).
        column: Its name in the file.
    """

    field: Field
    values: NDArray[Any]
    column: str

    @classmethod
    def of(cls, name: str, values: NDArray[Any], *, column: str) -> "Column":
        """From rows: numbers (rows, ...), or objects (rows,): texts or None, bytes, or arrays of different sizes."""
        first = (
            next((one for one in values.reshape(-1)[:] if one is not None), None) if values.dtype == object else None
        )
        if values.dtype != np.object_:
            return cls(field=Field(name, values.dtype.type, (None, *values.shape[1:])), values=values, column=column)
        if not isinstance(first, np.ndarray):
            kind: Any = np.bytes_ if isinstance(first, bytes) else np.object_
            return cls(field=Field(name, kind, (None,)), values=values, column=column)
        sizes = [one.shape for one in values]
        if len(set(sizes)) == 1:
            return cls.of(name, np.stack(list(values)), column=column)
        ranks = {len(one) for one in sizes}
        if len(ranks) > 1:
            raise BundleError(f"{name}: its rows have {' and '.join(map(str, sorted(ranks)))} dimensions")
        shape = tuple(dims[0] if len(set(dims)) == 1 else None for dims in zip(*sizes, strict=True))
        return cls(field=Field(name, first.dtype.type, (None, *shape)), values=values, column=column)

    @property
    def is_ragged(self) -> bool:
        return self.values.dtype == np.object_ and not (self.field.is_text or self.field.is_bytes)

    def size(self, row: int) -> tuple[int, ...]:
        """The shape of one row's value."""
        return tuple(self.values[row].shape) if self.is_ragged else tuple(self.values.shape[1:])

    def take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """The values of some rows, rows first.

        Raises:
            BundleError: they have different sizes: they never were one batch.
        """
        if not self.is_ragged:
            return self.values[rows]
        chosen = [self.values[row] for row in rows.tolist()]
        if len({one.shape for one in chosen}) > 1:
            raise BundleError(f"{self.field.name}: inputs {rows[0]} to {rows[-1]} have different sizes")
        return np.stack(chosen)

    def content(self, row: int) -> bytes:
        """One row's value as bytes, numbers little-endian."""
        value = self.values[row]
        if value is None:
            return b""
        if isinstance(value, bytes):
            return value
        if isinstance(value, str):
            return value.encode("utf-8", "surrogatepass")
        plain = np.ascontiguousarray(value)
        return plain.astype(plain.dtype.newbyteorder("<")).tobytes()

    def to_json(self) -> dict[str, Any]:
        return {**self.field.to_json(), "column": self.column}

    def arrow(self) -> dict[str, "pa.Array"]:
        """The column, or two, with which the values are written."""
        import pyarrow as pa

        if self.field.is_text or self.field.is_bytes:
            return {self.column: pa.array(self.values.tolist(), pa.string() if self.field.is_text else pa.binary())}
        kind = pa.from_numpy_dtype(np.dtype(self.field.dtype))
        if self.is_ragged:
            rows = [one.reshape(-1) for one in self.values]
            sizes = [list(one.shape) for one in self.values]
            return {
                self.column: pa.array(rows, pa.list_(kind)),
                self.column + _SIZES: pa.array(sizes, pa.list_(pa.int64())),
            }
        if self.values.ndim == 1:
            return {self.column: pa.array(self.values, kind)}
        flat = np.ascontiguousarray(self.values).reshape(-1)
        width = int(np.prod(self.values.shape[1:]))
        return {self.column: pa.FixedSizeListArray.from_arrays(pa.array(flat, kind), width)}


def columns(names: Sequence[str], prefix: str) -> dict[str, str]:
    """Name -> column: `input`, or `input:NAME` where there are several."""
    return {name: prefix if len(names) == 1 else f"{prefix}:{name}" for name in names}


def declared(manifest: Mapping[str, Any], side: str) -> list[tuple[Field, str]]:
    """The fields of "inputs" or "outputs", each with its column, as the manifest says.

    A set of the format 1 holds one table of float32 on each side.

    Raises:
        BundleError: it is of another format, or damaged.
    """
    column = INPUT if side == "inputs" else OUTPUT
    if manifest.get("format") == OLD_FORMAT:
        return [(Field(column, np.float32, (None, None)), column)]
    if manifest.get("format") != FORMAT:
        raise BundleError(f"the golden set is of the format {manifest.get('format')!r}, which is not known here")
    try:
        found = [(Field.from_json(one), str(one["column"])) for one in manifest["signature"][side]]
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"the golden set's manifest does not say what its {side} are: {error!r}") from error
    if not found or len({name for _, name in found}) != len(found) or _RESERVED & {name for _, name in found}:
        raise BundleError(f"the golden set's manifest does not say which columns its {side} are")
    return found


def read(folder: Path, manifest: Mapping[str, Any], side: str) -> tuple[Column, ...]:
    """The values of "inputs" or "outputs", as `folder` (the model's `golden/`) holds them.

    Raises:
        BundleError: they cannot be read, are out of order, or are not what the manifest says.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / f"{side}.parquet"
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise BundleError(f"{path.name} of the golden set cannot be read: {str(error).splitlines()[0]}") from error
    names = table.column_names
    if "index" not in names or table["index"].to_pylist() != list(range(table.num_rows)) or not table.num_rows:
        raise BundleError(f"{path.name} of the golden set holds no rows, or they are out of order")
    return tuple(from_arrow(table, field, column) for field, column in declared(manifest, side))


def from_arrow(table: "pa.Table", field: Field, column: str) -> Column:
    """Read what `Column.arrow` wrote.

    Raises:
        BundleError: the column is not there, or holds something else.
    """
    if column not in table.column_names:
        raise BundleError(f"the golden set has no column {column}")
    try:
        if field.is_text or field.is_bytes:
            return Column(field=field, values=_objects(table[column].to_pylist()), column=column)
        if column + _SIZES in table.column_names:
            sizes = [tuple(one) for one in table[column + _SIZES].to_pylist()]
            rows = [np.array(one, field.dtype) for one in table[column].to_pylist()]
            shaped = [row.reshape(size) for row, size in zip(rows, sizes, strict=True)]
            return Column(field=field, values=_objects(shaped), column=column)
        values = _numbers(table[column], field)
    except (ValueError, TypeError) as error:
        raise BundleError(f"the golden set's column {column} holds no {np.dtype(field.dtype).name}: {error}") from error
    if values.ndim != len(field.shape):
        values = values.reshape(len(values), *(-1 if dim is None else dim for dim in field.shape[1:]))
    return Column(field=field, values=values, column=column)


def floor_name(number: int) -> str:
    """The file of the noise floor of the recorded number at that place: see `equivalence.reference`."""
    return "floor.parquet" if number == 0 else f"floor-{number}.parquet"


def inputs_sha256(columns_: Sequence[Column]) -> str:
    """The digest of all inputs, by which a noise floor knows what it was computed for."""
    return ladder.inputs_sha256(
        {one.column: _objects(v.tolist() for v in one.values) if one.is_ragged else one.values for one in columns_}
    )


def row_sha256(columns_: Sequence[Column], row: int) -> str:
    """The digest of one input: of its value's bytes; of several values, each behind its name and length."""
    digest = hashlib.sha256()
    for one in columns_:
        content = one.content(row)
        if len(columns_) > 1:
            digest.update(f"{one.field.name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def _numbers(chunked: Any, field: Field) -> NDArray[Any]:
    import pyarrow as pa

    array = chunked.combine_chunks() if hasattr(chunked, "combine_chunks") else chunked
    if isinstance(array, pa.ChunkedArray):  # an empty one
        array = pa.concat_arrays(array.chunks) if array.chunks else pa.array([], array.type)
    if pa.types.is_fixed_size_list(array.type) and not array.null_count and not array.flatten().null_count:
        flat = array.flatten().to_numpy(zero_copy_only=False)
        return np.asarray(flat, dtype=field.dtype).reshape(len(array), array.type.list_size)
    return np.array(array.to_pylist(), dtype=field.dtype)


def _objects(rows: Iterable[Any]) -> NDArray[Any]:
    listed = list(rows)
    found = np.empty(len(listed), dtype=np.object_)
    for place, row in enumerate(listed):
        found[place] = row
    return found
