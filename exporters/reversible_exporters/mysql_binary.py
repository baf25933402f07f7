"""How does the witness decode the rows of the binary protocol, by other code than the export's?

A row is one byte 00, a bitmap of its NULLs (from its third bit), then its values: little-endian integers and floats,
dates and times by their parts, all else as length and bytes. Decimals come as digits and are summed up here, digit by
digit, without Arrow.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from reversible.fingerprint import Cells
from reversible_exporters.mysql_types import Column

_Ints = npt.NDArray[np.int64]
_BITMAP_OFFSET = 2
_DAY_US = 86_400_000_000
_NARROW_DIGITS = 18  # that any int64 holds
_WIDTHS = {"tinyint": 1, "smallint": 2, "mediumint": 4, "int": 4, "bigint": 8, "year": 2, "float": 4, "double": 8}


def select_list(columns: Sequence[Column]) -> str:
    """What the witness asks for: each column, and after it what stands for the values that it does not tell."""
    asked = [
        column.sql(template) for column in columns for template in (column.stored.again, column.stored.odd) if template
    ]
    return ", ".join(asked)


def batches(answer: Iterable[list[bytes]], columns: Sequence[Column]) -> Iterator[tuple[dict[str, Cells], int]]:
    """The cells of `SELECT select_list(columns)`, a block at a time, with the number of rows.

    Raises:
        ValueError: a row is not what the catalog announces.
    """
    fields = sum(1 + bool(column.stored.odd) for column in columns)
    for rows in answer:
        reader = _Reader(rows, fields)
        cells = {column.name: _cells(reader, column) for column in columns}
        reader.finish()
        yield cells, len(rows)


class _Reader:
    """Where each row of a block stands, field by field."""

    def __init__(self, rows: Sequence[bytes], fields: int) -> None:
        sizes = np.fromiter((len(row) for row in rows), np.int64, len(rows))
        self.count = len(rows)
        self.data = np.frombuffer(b"".join([*rows, bytes(16)]), np.uint8)
        self._ends = np.cumsum(sizes)
        self._begin = self._ends - sizes
        if self.data[self._begin].any():
            raise ValueError("a row of the binary protocol does not begin with 00")
        self._at = self._begin + 1 + (fields + 7 + _BITMAP_OFFSET) // 8
        self._field = 0

    def present(self) -> npt.NDArray[np.bool_]:
        """Whether each row has a value in the next field."""
        bit = self._field + _BITMAP_OFFSET
        self._field += 1
        there: npt.NDArray[np.bool_] = (self.data[self._begin + 1 + bit // 8] >> (bit % 8) & 1) == 0
        return there

    def fixed(self, there: npt.NDArray[np.bool_], width: int) -> npt.NDArray[np.uint8]:
        """`width` bytes of each row that has a value, shape (values, width)."""
        at = self._at[there]
        self._at = self._at + there * width
        found: npt.NDArray[np.uint8] = self.data[at[:, None] + np.arange(width)]
        return found

    def counted(self, there: npt.NDArray[np.bool_]) -> tuple[_Ints, _Ints]:
        """First byte and length of each value that tells its own length."""
        at = self._at[there]
        size = self.data[at].astype(np.int64)
        extra = np.zeros(len(at), np.int64)
        for row in np.flatnonzero(size > 250):
            width = {252: 2, 253: 3, 254: 8}[int(size[row])]
            extra[row] = width
            size[row] = int.from_bytes(self.data[at[row] + 1 : at[row] + 1 + width].tobytes(), "little")
        self._at = self._at.copy()
        self._at[there] = at + 1 + extra + size
        return at + 1 + extra, size

    def finish(self) -> None:
        """Raises: ValueError: a row is longer or shorter than its fields."""
        if (self._at != self._ends).any():
            raise ValueError("a row of the binary protocol is not as long as its fields")


def _cells(reader: _Reader, column: Column) -> Cells:
    stored = column.stored
    there = reader.present()
    odd: dict[int, str] = {}
    if stored.binary == "int":
        values = _integers(reader, there, column)
    elif stored.binary in ("float", "double"):
        kind = "<f4" if stored.binary == "float" else "<f8"
        values = _spread(reader.fixed(there, _WIDTHS[stored.binary]).view(kind).ravel(), there, stored.arrow)
    elif stored.binary == "bit":
        values = _bits(reader, there, stored.arrow)
    elif stored.binary == "decimal":
        values = _decimals(reader, there, stored.arrow)
    elif stored.binary == "moment":
        values, odd = _moments(reader, there, column)
    elif stored.binary == "time":
        values, odd = _times(reader, there, column)
    else:
        values, odd = _stretches(reader, there, as_text=stored.binary == "text")
    if stored.odd:
        odd |= _told(reader, as_bytes=stored.odd_is_bytes)
        keep = np.ones(reader.count, np.bool_)
        keep[list(odd)] = False
        values = values.take(pa.array(np.arange(reader.count), mask=~keep)) if odd else values
    return Cells(values, odd)


def _spread(values: npt.NDArray[np.generic], there: npt.NDArray[np.bool_], kind: pa.DataType) -> pa.Array:
    full = np.zeros(len(there), values.dtype)
    full[there] = values
    return pa.array(full, mask=~there).cast(kind)


def _integers(reader: _Reader, there: npt.NDArray[np.bool_], column: Column) -> pa.Array:
    width = _WIDTHS[column.base]
    sign = "u" if column.unsigned or column.base == "year" else "i"
    values = reader.fixed(there, width).view(f"<{sign}{width}").ravel()
    if column.base == "bigint" and column.unsigned:
        return _wide([int(value) for value in values], there, column.stored.arrow)
    return _spread(values.astype(np.int64), there, pa.int64())


def _bits(reader: _Reader, there: npt.NDArray[np.bool_], kind: pa.DataType) -> pa.Array:
    starts, sizes = reader.counted(there)
    texts = [reader.data[at : at + size].tobytes() for at, size in zip(starts, sizes, strict=True)]
    return _wide([int.from_bytes(text, "big") for text in texts], there, kind)


def _wide(values: Sequence[int], there: npt.NDArray[np.bool_], kind: pa.DataType) -> pa.Array:
    """Unscaled integers, one per row that has a value, as `kind`: a decimal128 or int64."""
    if not pa.types.is_decimal(kind):
        return _spread(np.array(values, np.int64), there, kind)
    words = np.zeros((len(there), 2), np.uint64)
    low = (1 << 64) - 1
    words[there] = np.array([[value & low, value >> 64 & low] for value in values], np.uint64).reshape(-1, 2)
    return _decimal_array(words, there, kind)


def _decimals(reader: _Reader, there: npt.NDArray[np.bool_], kind: pa.DataType) -> pa.Array:
    starts, sizes = reader.counted(there)
    if kind.precision > _NARROW_DIGITS:
        texts = [reader.data[at : at + size].tobytes() for at, size in zip(starts, sizes, strict=True)]
        return _wide([_unscaled(text, kind.scale) for text in texts], there, kind)
    total = np.zeros(len(starts), np.int64)
    negative = reader.data[starts] == ord("-")
    digits = sizes - negative
    for place in range(int(digits.max(initial=0))):  # from the last digit to the first
        inside = place < digits
        byte = reader.data[np.where(inside, starts + sizes - 1 - place, starts)].astype(np.int64)
        if kind.scale and place == kind.scale:
            if (byte[inside] != ord(".")).any():
                raise ValueError("a decimal has another scale than its column")
            continue
        digit = byte - ord("0")
        if (inside & ((digit < 0) | (digit > 9))).any():
            raise ValueError("a decimal holds a sign that is not a digit")
        total += np.where(inside, digit * 10 ** (place - (1 if kind.scale and place > kind.scale else 0)), 0)
    total = np.where(negative, -total, total)
    words = np.zeros((len(there), 2), np.uint64)
    words[there, 0] = total.view(np.uint64)
    words[there, 1] = np.where(total < 0, np.uint64(2**64 - 1), np.uint64(0))
    return _decimal_array(words, there, kind)


def _unscaled(text: bytes, scale: int) -> int:
    whole, _, part = text.partition(b".")
    if len(part) != scale:
        raise ValueError("a decimal has another scale than its column")
    return int(whole + part)


def _decimal_array(words: npt.NDArray[np.uint64], there: npt.NDArray[np.bool_], kind: pa.DataType) -> pa.Array:
    valid = pa.array(there).buffers()[1]
    return pa.Array.from_buffers(kind, len(there), [valid, pa.py_buffer(np.ascontiguousarray(words))])


def _parts(reader: _Reader, there: npt.NDArray[np.bool_], layout: Sequence[int]) -> list[_Ints]:
    """The numbers of a date or a time, those that were left out as 0. `layout`: the width of each in bytes."""
    starts, sizes = reader.counted(there)
    found: list[_Ints] = []
    offset = 0
    for width in layout:
        inside = sizes >= offset + width
        value = np.zeros(len(starts), np.int64)
        for n in range(width):
            value |= np.where(
                inside, reader.data[np.where(inside, starts + offset + n, 0)].astype(np.int64) << 8 * n, 0
            )
        found.append(value)
        offset += width
    return found


def _moments(reader: _Reader, there: npt.NDArray[np.bool_], column: Column) -> tuple[pa.Array, dict[int, str]]:
    year, month, day, hour, minute, second, micro = _parts(reader, there, (2, 1, 1, 1, 1, 1, 4))
    months = (year - 1970) * 12 + np.clip(month, 1, 12) - 1
    first = months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    next_first = (months + 1).astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    real = (year >= 1) & (month >= 1) & (month <= 12) & (day >= 1) & (first + day - 1 < next_first)
    days = first + day - 1
    rows = np.flatnonzero(there)
    odd = {}
    for n in np.flatnonzero(~real):
        text = f"{year[n]:04}-{month[n]:02}-{day[n]:02}"
        if column.base != "date":
            text += f" {hour[n]:02}:{minute[n]:02}:{second[n]:02}{_fraction(int(micro[n]), column.fraction)}"
        odd[int(rows[n])] = text
    plain = there.copy()
    plain[rows[~real]] = False
    if column.base == "date":
        return _spread(days[real].astype(np.int32), plain, pa.int32()).cast(pa.date32()), odd
    clock = ((hour * 60 + minute) * 60 + second) * 1_000_000 + micro
    return _spread((days * _DAY_US + clock)[real], plain, pa.int64()).cast(column.stored.arrow), odd


def _times(reader: _Reader, there: npt.NDArray[np.bool_], column: Column) -> tuple[pa.Array, dict[int, str]]:
    negative, days, hour, minute, second, micro = _parts(reader, there, (1, 4, 1, 1, 1, 4))
    clock = ((hour * 60 + minute) * 60 + second) * 1_000_000 + micro
    real = (negative == 0) & (days == 0) & (hour < 24)
    rows = np.flatnonzero(there)
    odd = {
        int(rows[n]): f"{'-' if negative[n] else ''}{days[n] * 24 + hour[n]:02}:{minute[n]:02}:{second[n]:02}"
        f"{_fraction(int(micro[n]), column.fraction)}"
        for n in np.flatnonzero(~real)
    }
    plain = there.copy()
    plain[rows[~real]] = False
    return _spread(clock[real], plain, pa.int64()).cast(pa.time64("us")), odd


def _fraction(micro: int, digits: int) -> str:
    return f".{micro:06}"[: digits + 1] if digits else ""


def _stretches(reader: _Reader, there: npt.NDArray[np.bool_], *, as_text: bool) -> tuple[pa.Array, dict[int, str]]:
    starts, sizes = reader.counted(there)
    full = np.zeros(reader.count, np.int64)
    full[there] = sizes
    total = int(sizes.sum())
    if total >= 1 << 31:
        raise ValueError("one value of two gigabytes or more")
    shift = starts - (np.cumsum(sizes) - sizes)
    content = reader.data[np.repeat(shift, sizes) + np.arange(total)] if total else np.zeros(0, np.uint8)
    offsets = np.concatenate([[0], np.cumsum(full)]).astype(np.int32)
    valid = pa.array(there).buffers()[1]
    raw = pa.Array.from_buffers(
        pa.binary(), reader.count, [valid, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(content))]
    )
    if not as_text:
        return raw, {}
    try:
        content.tobytes().decode()
        return raw.cast(pa.string()), {}
    except (UnicodeDecodeError, pa.ArrowInvalid):
        return _not_text(raw)


def _not_text(raw: pa.Array) -> tuple[pa.Array, dict[int, str]]:
    odd: dict[int, str] = {}
    texts: list[str | None] = []
    for row, value in enumerate(raw.to_pylist()):
        text = None if value is None else value.decode(errors="surrogateescape")
        if text is not None and any("\udc80" <= one <= "\udcff" for one in text):
            odd[row], text = f"0x{value.hex().upper()}", None
        texts.append(text)
    return pa.array(texts, pa.string()), odd


def _told(reader: _Reader, *, as_bytes: bool) -> dict[int, str]:
    there = reader.present()
    starts, sizes = reader.counted(there)
    texts = [reader.data[at : at + size].tobytes() for at, size in zip(starts, sizes, strict=True)]
    return {
        int(row): f"0x{text.hex().upper()}" if as_bytes else text.decode()
        for row, text in zip(np.flatnonzero(there), texts, strict=True)
    }
