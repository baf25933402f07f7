"""Which bytes stand for a value of constant width, and how do they become rows fast? See docs/fingerprint-strong.md."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from reversible.fingerprint.families import Family

_NAN = np.uint64(0x7FF8000000000000)  # the one NaN: quiet, positive, no payload
_MS_PER_DAY = 86_400_000
_US_PER = {"s": 1_000_000, "ms": 1_000, "us": 1}
_ALIKE = {"int": ("is_integer", "is_decimal"), "decimal": ("is_integer", "is_decimal"), "float": ("is_floating",),
          "bool": ("is_boolean",), "date": ("is_date",), "time": ("is_time",), "timestamp": ("is_timestamp",),
          "timestamptz": ("is_timestamp",), "duration": ("is_duration",), "interval": ("is_interval",)}  # fmt: skip

Numbers = npt.NDArray[Any]


@dataclass(frozen=True)
class Block:
    """The same number of bytes of every row: a pattern, and columns of numbers written over it.

    Attributes:
        pattern: The bytes of a row.
        columns: Where in the pattern, and shape (rows,), big-endian.
    """

    pattern: bytes
    columns: tuple[tuple[int, Numbers], ...] = ()


def values_of(values: pa.Array, family: Family) -> tuple[Block, tuple[Block, npt.NDArray[np.bool_]] | None]:
    """The values' bytes, anything where NULL; and, where one does not fit, the wide form and which rows need it.

    Raises:
        ValueError: the values are of another family, or not exactly in it.
    """
    kind = values.type
    if not any(getattr(pa.types, check)(kind) for check in _ALIKE[family.kind]):
        raise ValueError(f"{kind} is not of the family {family.text}")
    if family.kind in ("int", "decimal"):
        return _integers(values, family.scale)
    if family.kind == "bool":
        return _block(_filled(values.cast(pa.uint8())).astype("u1")), None
    if family.kind == "float":
        floats = _raw(values, f"<f{kind.bit_width // 8}").astype("<f8")
        return _block(np.where(np.isnan(floats), _NAN, floats.view("<u8"))), None
    if family.kind == "date":
        days, rest = (
            (_raw(values, "<i4"), None)
            if pa.types.is_date32(kind)
            else np.divmod(_filled(values.cast(pa.int64())), _MS_PER_DAY)
        )
        if rest is not None and rest.any():
            raise ValueError("a date64 is not a whole day")
        return _block(days.astype("<i8")), None
    if family.kind == "interval":
        parts = _raw(values, "<i4", 4).reshape(-1, 4)
        return _block(parts[:, 0], parts[:, 1], _raw(values, "<i8", 2).reshape(-1, 2)[:, 1]), None
    if family.kind in ("timestamp", "timestamptz") and (kind.tz is None) != (family.kind == "timestamp"):
        raise ValueError(f"{kind} is not of the family {family.text}")
    return _moments(values), None


def _moments(values: pa.Array) -> Block:
    """Whole microseconds, rounded down, then the nanoseconds left over, 0 to 999."""
    ticks = _filled(values.cast(pa.int32() if values.type.bit_width == 32 else pa.int64())).astype("<i8")
    if values.type.unit == "ns":
        whole, rest = np.divmod(ticks, 1000)
        return _block(whole, rest.astype("<u2"))
    factor = _US_PER[values.type.unit]
    if len(ticks) and max(abs(int(ticks.min())), abs(int(ticks.max()))) * factor >= 1 << 63:
        raise ValueError(f"a {values.type} lies beyond what 64 bits of microseconds can say")
    return _block(ticks * factor, np.zeros(len(ticks), "<u2"))


def _integers(values: pa.Array, scale: int) -> tuple[Block, tuple[Block, npt.NDArray[np.bool_]] | None]:
    """Two's complement at `scale` digits after the point: 8 bytes without digits there, 16 with; 32 where too few."""
    kind = values.type
    if pa.types.is_integer(kind) and not scale and (kind.bit_width < 64 or pa.types.is_signed_integer(kind)):
        letter = "i" if pa.types.is_signed_integer(kind) else "u"
        return _block(_raw(values, f"<{letter}{kind.bit_width // 8}").astype("<i8")), None
    if pa.types.is_integer(kind):
        values = values.cast(pa.decimal128(20, 0))
    if values.type.scale == scale != 0 and values.type.bit_width == 128:
        low, high = _raw(values, "<u8", 2).reshape(-1, 2).T
        return _block(high, low), None
    words = _raw(values.cast(pa.decimal256(76, scale)), "<u8", 4).reshape(-1, 4)  # refuses what does not fit exactly
    if values.null_count:
        words = np.where(np.asarray(values.is_null())[:, None], np.uint64(0), words)
    held = 1 if scale == 0 else 2
    sign = (words[:, held - 1].view("<i8") >> 63).view("<u8")
    wide = (words[:, held:] != sign[:, None]).any(axis=1)
    narrow = _block(*(words[:, n] for n in reversed(range(held))))
    return narrow, (_block(*words.T[::-1]), wide) if wide.any() else None


# --- numbers to rows --------------------------------------------------------------------------------------------


def _block(*numbers: Numbers) -> Block:
    """The numbers side by side, each big-endian in its own width."""
    columns, width = [], 0
    for one in numbers:
        columns.append((width, one.astype(one.dtype.newbyteorder(">"))))
        width += one.dtype.itemsize
    return Block(bytes(width), tuple(columns))


def stacked(blocks: Sequence[Block], rows: int) -> pa.Array:
    """The blocks side by side: a large binary array, one value a row."""
    pattern = b"".join(block.pattern for block in blocks)
    width = len(pattern)
    matrix = np.empty((rows, width), np.uint8)
    matrix[:] = np.frombuffer(pattern, np.uint8)
    start = 0
    for block in blocks:
        for at, numbers in block.columns:
            if rows:
                np.ndarray((rows,), numbers.dtype, matrix, start + at, (width,))[:] = numbers
        start += len(block.pattern)
    places = np.arange(rows + 1, dtype=np.int64) * width
    return pa.Array.from_buffers(pa.large_binary(), rows, [None, pa.py_buffer(places), pa.py_buffer(matrix)])


def joined(arrays: Sequence[pa.Array]) -> pa.Array:
    """Large binary arrays side by side."""
    return arrays[0] if len(arrays) == 1 else pc.binary_join_element_wise(*arrays, pa.scalar(b"", pa.large_binary()))


def offsets(values: pa.Array) -> npt.NDArray[np.int64]:
    """The rows + 1 places where the values of a large binary array begin."""
    if not len(values):
        return np.zeros(1, np.int64)
    return np.frombuffer(values.buffers()[1], np.int64)[values.offset : values.offset + len(values) + 1]


def _raw(values: pa.Array, dtype: str, per_value: int = 1) -> Numbers:
    """The array's own memory, shape (values * per_value,); anything may stand where a value is NULL."""
    buffer, count = values.buffers()[1], len(values) * per_value
    if buffer is None or not count:
        return np.zeros(count, dtype)
    return np.frombuffer(buffer, dtype, count, values.offset * per_value * np.dtype(dtype).itemsize)


def _filled(values: pa.Array) -> Numbers:
    """The values with 0 in the place of a NULL."""
    array: Numbers = (values.fill_null(0) if values.null_count else values).to_numpy(zero_copy_only=False)
    return array
