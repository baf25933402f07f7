"""Which bytes stand for a row, whatever engine, encoding and batch it came in? See docs/fingerprint-strong.md."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from reversible.fingerprint import Cells, Column

Bytes = npt.NDArray[np.uint8]

ROW = b"\x00"  # the domain of a row, see docs/fingerprint-strong.md section 3
_ABSENT, _PRESENT, _EXCEPTION = 0, 1, 2
_HEAD = 5  # bytes before a cell's value: its state, and the value's length
_NULL_CELL = bytes(_HEAD)
_NAN = 0x7FF8000000000000
_MOST = (1 << 32) - 1  # bytes of one value: what four bytes of length can say


def in_name_order(columns: Iterable[Column]) -> tuple[Column, ...]:
    """The columns in the order of their names' UTF-8 bytes, which is the order of the code points."""
    return tuple(sorted(columns, key=lambda column: column.name))


def records(columns: Sequence[Column], batch: Mapping[str, Cells], rows: int) -> tuple[memoryview, list[int]]:
    """Domain byte and canonical bytes of each row, one after the other, and the rows + 1 places where they begin.

    Raises:
        ValueError: a column is not as long as the batch, or a value is not of its family.
    """
    pieces: list[pa.Array] = []
    fixed = [np.full((rows, 1), ROW[0], np.uint8)]  # neighbours of constant width become one piece
    for column in in_name_order(columns):
        for part in _cells(column, batch[column.name], rows):
            if isinstance(part, np.ndarray):
                fixed.append(part)
            else:
                pieces += [_as_binary(np.hstack(fixed)), part]
                fixed = [np.zeros((rows, 0), np.uint8)]
    pieces.append(_as_binary(np.hstack(fixed)))
    joined = _joined(pieces)
    return _content(joined), _offsets(joined).tolist()


def record(columns: Sequence[Column], batch: Mapping[str, Cells], row: int = 0) -> bytes:
    """The canonical bytes of one row, without the domain byte."""
    data, at = records(columns, batch, len(next(iter(batch.values())).values) if batch else row + 1)
    return bytes(data[at[row] + len(ROW) : at[row + 1]])


# --- a column's cells -------------------------------------------------------------------------------------------


def _cells(column: Column, cells: Cells, rows: int) -> list[Any]:
    """The cells as pieces side by side: matrices of bytes, shape (rows, width), and binary arrays without NULL."""
    values = cells.values.combine_chunks() if isinstance(cells.values, pa.ChunkedArray) else cells.values
    if len(values) != rows:
        raise ValueError(f"column {column.name} has {len(values)} values in a batch of {rows} rows")
    pieces = _of_values(values, column.family)
    if cells.exceptions:
        whole = _joined([_as_binary(one) if isinstance(one, np.ndarray) else one for one in pieces])
        mask = np.zeros(rows, np.bool_)
        mask[list(cells.exceptions)] = True
        texts = [_exception(cells.exceptions[row]) for row in sorted(cells.exceptions)]
        pieces = [pc.replace_with_mask(whole, pa.array(mask), pa.array(texts, pa.large_binary()))]
    return pieces


def _exception(text: str) -> bytes:
    return bytes([_EXCEPTION]) + len(text.encode()).to_bytes(4, "big") + text.encode()


def _of_values(values: pa.Array, family: str) -> list[Any]:
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if family in ("text", "binary"):
        return _variable(values)
    payload, whole = _fixed(values, family)
    head = np.zeros((len(values), _HEAD), np.uint8)
    head[:, 0], head[:, 4] = _PRESENT, payload.shape[1]
    matrix = np.hstack([head, payload])
    if whole is None and not values.null_count:
        return [matrix]
    cells = _as_binary(matrix)
    if whole is not None:  # some values need the wide form
        head[:, 4] = whole.shape[1]
        wide = ~_fits(whole, payload.shape[1])
        cells = pc.if_else(pa.array(wide), _as_binary(np.hstack([head, whole])), cells)
    return [pc.if_else(values.is_null(), pa.scalar(_NULL_CELL, pa.large_binary()), cells)]


def _variable(values: pa.Array) -> list[Any]:
    """Text and bytes: the heads are a matrix, the contents a binary array."""
    contents = values.cast(pa.large_binary())
    if contents.null_count:
        contents = contents.fill_null(b"")
    sizes = np.diff(_offsets(contents))
    if len(sizes) and sizes.max() > _MOST:
        raise ValueError(f"a value has {sizes.max()} bytes, at most {_MOST} can be told")
    head = np.empty((len(values), _HEAD), np.uint8)
    head[:, 0] = ~np.asarray(values.is_null().to_numpy(zero_copy_only=False), np.bool_)
    head[:, 1:] = sizes.astype(">u4").view(np.uint8).reshape(-1, 4)
    return [head, contents]


# --- values of constant width -----------------------------------------------------------------------------------


def _fixed(values: pa.Array, family: str) -> tuple[Bytes, Bytes | None]:
    """Shape (rows, width): the values' bytes, anything where NULL; and their wide form when one does not fit."""
    if family == "bool":
        return _numpy(values.cast(pa.uint8()), "u1").reshape(-1, 1), None
    if family == "float":
        bits = _numpy(values.cast(pa.float64()), "<f8")
        return _big_endian(np.where(np.isnan(bits), np.uint64(_NAN), bits.view("<u8")), 8), None
    if family == "date":
        return _big_endian(_numpy(values.cast(pa.date32()).cast(pa.int32()), "<i4"), 8), None
    if family == "time":
        return _big_endian(_numpy(values.cast(pa.time64("ns")).cast(pa.int64()), "<i8"), 8), None
    if family in ("timestamp", "timestamptz"):
        return _instants(values, family), None
    if family.startswith("decimal:"):
        return _integers(_unscaled(values, int(family[8:])), 16)
    if family == "int":
        if pa.types.is_signed_integer(values.type):
            return _big_endian(_numpy(values.cast(pa.int64()), "<i8"), 8), None
        if pa.types.is_unsigned_integer(values.type) and values.type.bit_width < 64:
            return _big_endian(_numpy(values.cast(pa.int64()), "<i8"), 8), None
        return _integers(_unscaled(values, 0), 8)
    raise ValueError(f"no such family: {family}")


def _instants(values: pa.Array, family: str) -> Bytes:
    """Whole microseconds since 1970, 8 bytes, then nanoseconds from 0 to 999, 2 bytes."""
    if not pa.types.is_timestamp(values.type):
        raise ValueError(f"{values.type} is not a {family}")
    nanoseconds = np.zeros(len(values), np.int64)
    if values.type.unit == "ns":
        micros, nanoseconds = np.divmod(_numpy(values.cast(pa.int64()), "<i8"), 1000)
    else:
        micros = _numpy(values.cast(pa.timestamp("us", values.type.tz)).cast(pa.int64()), "<i8")
    return np.hstack([_big_endian(micros, 8), _big_endian(nanoseconds, 8)[:, 6:]])


def _unscaled(values: pa.Array, scale: int) -> Bytes:
    """Shape (rows, 32): the integer at `scale` digits after the point, two's complement, big-endian."""
    if pa.types.is_integer(values.type):
        values = values.cast(pa.decimal128(20, 0))
    if pa.types.is_null(values.type):
        return np.zeros((len(values), 32), np.uint8)
    if not pa.types.is_decimal(values.type):
        raise ValueError(f"{values.type} is neither an integer nor a decimal")
    if values.type.scale != scale or values.type.bit_width != 256:
        values = values.cast(pa.decimal256(76, scale))  # ArrowInvalid when a value does not fit exactly
    if not len(values):
        return np.zeros((0, 32), np.uint8)
    raw = np.frombuffer(values.buffers()[1], np.uint8)
    return raw[32 * values.offset : 32 * (values.offset + len(values))].reshape(-1, 32)[:, ::-1]


def _integers(wide: Bytes, width: int) -> tuple[Bytes, Bytes | None]:
    fits = _fits(wide, width).all()
    return wide[:, 32 - width :], None if fits else wide


def _fits(wide: Bytes, width: int) -> npt.NDArray[np.bool_]:
    """Shape (rows,): whether the sign alone fills the bytes before the last `width`."""
    sign = np.where(wide[:, 32 - width] & 0x80, np.uint8(0xFF), np.uint8(0))
    found: npt.NDArray[np.bool_] = (wide[:, : 32 - width] == sign[:, None]).all(axis=1)
    return found


def _big_endian(values: npt.NDArray[Any], width: int) -> Bytes:
    kind = "i" if values.dtype.kind == "i" else "u"
    return np.ascontiguousarray(values, f">{kind}{width}").view(np.uint8).reshape(-1, width)


def _numpy(values: pa.Array, dtype: str) -> npt.NDArray[Any]:
    """The values with 0 in the place of a NULL."""
    filled = values.fill_null(0) if values.null_count else values
    array: npt.NDArray[Any] = filled.to_numpy(zero_copy_only=False)
    return np.ascontiguousarray(array, dtype=dtype)


# --- Arrow's binary arrays --------------------------------------------------------------------------------------


def _as_binary(matrix: Bytes) -> pa.Array:
    """One value per row of the matrix."""
    rows, width = matrix.shape
    offsets = np.arange(rows + 1, dtype=np.int64) * width
    data = pa.py_buffer(np.ascontiguousarray(matrix))
    return pa.Array.from_buffers(pa.large_binary(), rows, [None, pa.py_buffer(offsets), data])


def _joined(pieces: Sequence[pa.Array]) -> pa.Array:
    if len(pieces) == 1:
        return pieces[0]
    return pc.binary_join_element_wise(*pieces, pa.scalar(b"", pa.large_binary()))


def _offsets(values: pa.Array) -> npt.NDArray[np.int64]:
    """The rows + 1 offsets of a large binary array."""
    if not len(values):
        return np.zeros(1, np.int64)
    return np.frombuffer(values.buffers()[1], np.int64)[values.offset : values.offset + len(values) + 1]


def _content(values: pa.Array) -> memoryview:
    return memoryview(values.buffers()[2] or b"")
