"""What do the server's own bytes say? The witness's decoder: COPY ... (FORMAT binary), no CSV, no text parser.

It shares nothing with the export's path: other protocol bytes, other code, numpy on big-endian words. Values that
the export sets aside as exceptions come as one more text field per column, since only the server can write them.
Format: https://www.postgresql.org/docs/18/sql-copy.html, "Binary Format"; per type the `*_send` functions.
"""

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from reversible.fingerprint import Cells
from reversible_exporters.postgres_copy import Rows
from reversible_exporters.postgres_types import Column, form

Bytes = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int64]

_SIGNATURE = b"PGCOPY\n\xff\r\n\0"
_HEADER = len(_SIGNATURE) + 8  # flags and length of the extension, both 0
_TRAILER = b"\xff\xff"
_EPOCH_DAYS = 10_957  # from 1970-01-01 to 2000-01-01, PostgreSQL's epoch
_EPOCH_US = _EPOCH_DAYS * 86_400_000_000
_FIRST_DAY, _LAST_DAY = -719_162, 2_932_896  # 0001-01-01 and 9999-12-31, in days from 1970-01-01
_NUMERIC_NAN, _NUMERIC_PINF, _NUMERIC_NINF, _NUMERIC_NEG = 0xC000, 0xD000, 0xF000, 0x4000
_FAST_DIGITS = 18  # decimal digits that an int64 holds
_LONG = 256  # bytes of a field, on average over a block


def select_list(columns: Sequence[Column]) -> str:
    """The fields of the second reading: each column, then one array with the text of each exception of the row.

    One field, because a select list ends at 1,664: a table may have 1,600 columns. NULL in a row without exceptions.
    """
    fields = [form(column.quoted) if column.stored.binary == "form" else column.quoted for column in columns]
    odd = [(column.stored.exceptional.format(c=column.quoted), column.quoted) for column in with_exceptions(columns)]
    if odd:
        texts = ", ".join(f"CASE WHEN {one} THEN pg_catalog.format('%s', {quoted}) END" for one, quoted in odd)
        fields.append(f"CASE WHEN {' OR '.join(one for one, _ in odd)} THEN ARRAY[{texts}]::pg_catalog.text[] END")
    return ", ".join(fields) or "NULL::boolean"


def with_exceptions(columns: Sequence[Column]) -> list[Column]:
    return [column for column in columns if column.stored.exceptional]


def batches(chunks: Iterable[Rows], columns: Sequence[Column]) -> Iterator[tuple[dict[str, Cells], int]]:
    """Decode COPY's binary messages, one row each, into cells by column name and the number of rows.

    Raises:
        ValueError: the bytes are not what the catalogs announce.
    """
    for data, starts, ends in _tuples(chunks):
        yield _decode(data, starts, ends, columns), len(starts)


def _tuples(chunks: Iterable[Rows]) -> Iterator[tuple[Bytes, Places, Places]]:
    """The data, and where each row begins and ends in it: without the header before the first one, and the trailer."""
    first, ended = True, False
    for chunk in chunks:
        if ended:
            raise ValueError("COPY went on after its trailer")
        starts, ends = chunk.starts.copy(), np.append(chunk.starts[1:], chunk.size)
        if first:
            if chunk.data[: min(ends[0], len(_SIGNATURE))].tobytes() != _SIGNATURE:
                raise ValueError("COPY's binary signature is missing")
            starts[0] += _HEADER
            first = False
        if ends[-1] - starts[-1] == len(_TRAILER) and chunk.data[starts[-1] : ends[-1]].tobytes() == _TRAILER:
            ended = True
            starts, ends = starts[:-1], ends[:-1]
        if len(starts):
            yield chunk.data, starts, ends
    if not ended:
        raise ValueError("COPY ended without its trailer")


def _decode(data: Bytes, starts: Places, ends: Places, columns: Sequence[Column]) -> dict[str, Cells]:
    extra = with_exceptions(columns)
    expected = len(columns) + bool(extra) or 1
    if (_integers(data, starts, 2) != expected).any():
        raise ValueError(f"a row does not have {expected} fields")
    place = starts + 2
    if not columns:  # select_list's NULL
        _, _, place = _field(data, place, ends)
    values: dict[str, pa.Array] = {}
    for column in columns:
        at, length, place = _field(data, place, ends)
        values[column.name] = _DECODERS[column.stored.binary](data, at, length, column.stored.settings)
    exceptions: dict[str, dict[int, str]] = {}
    if extra:
        at, length, place = _field(data, place, ends)
        for row in np.flatnonzero(length >= 0):
            texts = _texts(data[int(at[row]) : int(at[row] + length[row])].tobytes(), len(extra))
            for column, text in zip(extra, texts, strict=True):
                if text is not None:
                    exceptions.setdefault(column.name, {})[int(row)] = text
    if (place != ends).any():
        raise ValueError("a row does not end with its last field")
    return {name: _cells(one, exceptions.get(name, {})) for name, one in values.items()}


def _texts(value: bytes, count: int) -> list[str | None]:
    """array_send of a text[]: dimensions, flags, type; length and lower bound; then length and bytes of each."""
    if struct.unpack_from(">i8xi", value) != (1, count):
        raise ValueError("the exceptions of a row are not one array")
    found: list[str | None] = []
    place = 20
    for _ in range(count):
        (length,) = struct.unpack_from(">i", value, place)
        place += 4
        found.append(None if length < 0 else value[place : place + length].decode())
        place += max(0, length)
    return found


def _cells(values: pa.Array, exceptions: Mapping[int, str]) -> Cells:
    if exceptions:
        mask = np.zeros(len(values), np.bool_)
        mask[list(exceptions)] = True
        values = pa.compute.if_else(pa.array(mask), pa.scalar(None, values.type), values)
    return Cells(values, exceptions)


def _field(data: Bytes, place: Places, ends: Places) -> tuple[Places, Places, Places]:
    """Where the field begins, how long it is (-1: NULL), and where the next one begins."""
    length = _integers(data, place, 4)
    begin = place + 4
    later = begin + np.maximum(length, 0)
    if ((length < -1) | (later > ends)).any():
        raise ValueError("a field does not end inside its row")
    return begin, length, later


def _integers(data: Bytes, at: Places, width: int) -> npt.NDArray[np.int64]:
    """Big-endian signed integers of `width` bytes."""
    return _at_any_byte(data, f">i{width}")[at].astype(np.int64)


def _at_any_byte(data: Bytes, dtype: str) -> npt.NDArray[Any]:
    """The data as values that begin at every byte: one gather reads them wherever the rows left them."""
    width = np.dtype(dtype).itemsize
    return np.ndarray((len(data) - width + 1,), dtype, data, strides=(1,))


def _fixed(data: Bytes, at: Places, length: Places, width: int, dtype: str) -> npt.NDArray[Any]:
    if not ((length == width) | (length == -1)).all():
        raise ValueError(f"a field of {width} bytes has another length")
    found: npt.NDArray[Any] = _at_any_byte(data, dtype)[np.where(length < 0, 0, at)]
    return found


def _number(width: int, dtype: str, native: Any, arrow: pa.DataType) -> Callable[..., pa.Array]:
    def decode(data: Bytes, at: Places, length: Places, _: Mapping[str, int]) -> pa.Array:
        return pa.array(_fixed(data, at, length, width, dtype).astype(native), arrow, mask=length < 0)

    return decode


def _boolean(data: Bytes, at: Places, length: Places, _: Mapping[str, int]) -> pa.Array:
    return pa.array(_fixed(data, at, length, 1, "u1") != 0, pa.bool_(), mask=length < 0)


def _date(data: Bytes, at: Places, length: Places, _: Mapping[str, int]) -> pa.Array:
    days = _fixed(data, at, length, 4, ">i4").astype(np.int64) + _EPOCH_DAYS
    odd = (days < _FIRST_DAY) | (days > _LAST_DAY)  # infinity is the largest and the smallest int32
    return pa.array(np.where(odd, 0, days).astype(np.int32), pa.int32(), mask=(length < 0) | odd).cast(pa.date32())


def _time(data: Bytes, at: Places, length: Places, _: Mapping[str, int]) -> pa.Array:
    micros = _fixed(data, at, length, 8, ">i8").astype(np.int64)
    odd = micros >= 86_400_000_000  # 24:00:00
    return pa.array(np.where(odd, 0, micros), pa.int64(), mask=(length < 0) | odd).cast(pa.time64("us"))


def _timestamp(data: Bytes, at: Places, length: Places, _: Mapping[str, int]) -> pa.Array:
    micros = _fixed(data, at, length, 8, ">i8").astype(np.int64)
    low, high = _FIRST_DAY * 86_400_000_000 - _EPOCH_US, (_LAST_DAY + 1) * 86_400_000_000 - _EPOCH_US
    odd = (micros < low) | (micros >= high)  # infinity is the largest and the smallest int64
    moved = np.where(odd, 0, micros) + _EPOCH_US
    return pa.array(moved, pa.int64(), mask=(length < 0) | odd).cast(pa.timestamp("us"))


def _timestamptz(data: Bytes, at: Places, length: Places, settings: Mapping[str, int]) -> pa.Array:
    return _timestamp(data, at, length, settings).cast(pa.timestamp("us", "UTC"))


def _bytes(data: Bytes, at: Places, length: Places, arrow: pa.DataType) -> pa.Array:
    """Gather fields of any length: short ones by an index per byte, 16 bytes of memory for each; long ones singly."""
    sizes = np.maximum(length, 0)
    offsets = np.concatenate((np.zeros(1, np.int64), np.cumsum(sizes)))
    total = int(offsets[-1])
    if total > _LONG * len(at):
        content = np.empty(total, np.uint8)
        for place, start, end in zip(at.tolist(), offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
            content[start:end] = data[place : place + end - start]
    else:
        content = data[np.repeat(at - offsets[:-1], sizes) + np.arange(total)]
    valid = pa.array(length >= 0).buffers()[1]
    return pa.Array.from_buffers(arrow, len(at), [valid, pa.py_buffer(offsets), pa.py_buffer(content)])


def _text(data: Bytes, at: Places, length: Places, _: Mapping[str, int]) -> pa.Array:
    values = _bytes(data, at, length, pa.large_string())
    values.validate(full=True)  # ArrowInvalid, a ValueError, when it is not UTF-8
    return values


def _binary(data: Bytes, at: Places, length: Places, _: Mapping[str, int]) -> pa.Array:
    return _bytes(data, at, length, pa.large_binary())


def _uuid(data: Bytes, at: Places, length: Places, _: Mapping[str, int]) -> pa.Array:
    raw = _fixed(data, at, length, 16, "V16").view(np.uint8).reshape(-1, 16)
    digits = np.frombuffer(b"0123456789abcdef", np.uint8)
    text = np.full((len(raw), 36), ord("-"), np.uint8)
    nibbles = np.stack((raw >> 4, raw & 15), axis=2).reshape(-1, 32)
    text[:, [n for n in range(36) if n not in (8, 13, 18, 23)]] = digits[nibbles]
    offsets = pa.py_buffer(np.arange(len(raw) + 1, dtype=np.int32) * 36)
    valid = pa.array(length >= 0).buffers()[1]
    return pa.Array.from_buffers(pa.string(), len(raw), [valid, offsets, pa.py_buffer(text)])


def _numeric(data: Bytes, at: Places, length: Places, settings: Mapping[str, int]) -> pa.Array:
    """numeric_send: int16 number of digits, weight, sign, scale; then the digits to the base 10,000.

    The value is sum(digit[i] * 10000 ** (weight - i)); times 10 ** scale it is the decimal's unscaled integer.
    """
    null = length < 0
    safe = np.where(null, 0, at)
    digits, weight, sign = (_integers(data, safe + 2 * field, 2) for field in range(3))
    sign &= 0xFFFF
    odd = np.isin(sign, (_NUMERIC_NAN, _NUMERIC_PINF, _NUMERIC_NINF))
    null = null | odd
    digits = np.where(null, 0, digits)
    scale, precision = settings["scale"], settings["precision"]
    wide = precision > _FAST_DIGITS
    total: npt.NDArray[Any] = np.zeros(len(at), object if wide else np.int64)
    for n in range(int(digits.max(initial=0))):
        rows = np.flatnonzero(digits > n)
        digit = _integers(data, at[rows] + 8 + 2 * n, 2)
        power = 4 * (weight[rows] - n) + scale
        if wide:
            terms = np.empty(len(rows), object)  # numpy would make floats of a list of ints around 2**63
            terms[:] = [_shifted(int(one), int(by)) for one, by in zip(digit, power, strict=True)]
            total[rows] += terms
        else:
            total[rows] += np.where(
                power >= 0, digit * _POWERS[np.clip(power, 0, 18)], digit // _POWERS[np.clip(-power, 0, 18)]
            )
    total = np.where(sign == _NUMERIC_NEG, -total, total)
    return _decimals(total, null, precision, scale)


def _shifted(digit: int, power: int) -> int:
    return int(digit * 10**power if power >= 0 else digit // 10**-power)  # beyond the scale all digits are 0


def _decimals(total: npt.NDArray[Any], null: npt.NDArray[np.bool_], precision: int, scale: int) -> pa.Array:
    pairs = np.empty((len(total), 2), "<i8")
    if total.dtype == object:
        pairs = np.frombuffer(
            b"".join(int(one).to_bytes(16, "little", signed=True) for one in total), "<i8"
        ).reshape(-1, 2)  # fmt: skip
    else:
        pairs[:, 0], pairs[:, 1] = total, total >> 63
    valid = pa.array(~null).buffers()[1]
    arrow = pa.decimal128(precision, scale)
    return pa.Array.from_buffers(arrow, len(total), [valid, pa.py_buffer(np.ascontiguousarray(pairs))])


_POWERS = np.array([10**n for n in range(19)], np.int64)

_DECODERS: Mapping[str, Callable[..., pa.Array]] = {
    "bool": _boolean,
    "int2": _number(2, ">i2", np.int16, pa.int16()),
    "int4": _number(4, ">i4", np.int32, pa.int32()),
    "int8": _number(8, ">i8", np.int64, pa.int64()),
    "oid": _number(4, ">u4", np.int64, pa.int64()),
    "float4": _number(4, ">f4", np.float32, pa.float32()),
    "float8": _number(8, ">f8", np.float64, pa.float64()),
    "date": _date,
    "time": _time,
    "timestamp": _timestamp,
    "timestamptz": _timestamptz,
    "numeric": _numeric,
    "text": _text,
    "form": _text,
    "uuid": _uuid,
    "bytea": _binary,
}
