"""Which text would bring an Arrow value back to PostgreSQL, read as kindly as its type allows?"""

import base64
import json
import re
import uuid
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pyarrow as pa

_PLAIN = re.compile(r"[^\s,(){}\"\\]+")  # a field of a composite that needs no quotes


_SHAPES = {
    "line": "{}",
    "lseg": "[]",
    "box": ("", ""),
    "polygon": "()",
    "path": "()",
    "vector": "[]",
    "vector(3)": "[]",
    "halfvec": "[]",
}  # of points or numbers


_INTEGERS = frozenset({"smallint", "integer", "bigint", "oid"})
_MOMENTS = ("date", "t.days", "timestamp")  # and what begins like these
_ISO = re.compile(r'"?(-?\d{4,})-(\d\d)-(\d\d)[T ](\d\d)(:\d\d:\d\d(?:\.\d+)?)(?:Z| \+0000 (?:\+0000|UTC))"?')
_RANGE = ["lower", "upper", "bounds", "empty"]


_BITS = {"bit": 1, "bit(8)": 8, "bit(100)": 100}


def texts(column: pa.ChunkedArray, ddl: str) -> list[str | None]:
    """A text per value, None for NULL.

    Args:
        column: What the peer wrote.
        ddl: The PostgreSQL type that it came from: bytes mean hex for a bytea and text for anything else.
    """
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        return texts(pa.chunked_array([chunk.storage for chunk in column.chunks], kind.storage_type), ddl)
    if pa.types.is_dictionary(kind):
        return texts(column.cast(kind.value_type), ddl)
    if _is_moment(kind):
        return [_moment(one) for chunk in column.chunks for one in chunk]
    if ddl == "money" and pa.types.is_integer(kind):  # cents
        return [None if one is None else str(Decimal(one).scaleb(-2)) for one in column.to_pylist()]
    if ddl in _INTEGERS and pa.types.is_floating(kind):
        return [None if one is None else f"{one:.0f}" for one in column.to_pylist()]
    if pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        return list(column.cast(pa.string()).to_pylist()) if not pa.types.is_float16(kind) else _all(column, ddl)
    return _all(column, ddl)


def _all(column: pa.ChunkedArray, ddl: str) -> list[str | None]:
    found = [_python(one) for chunk in column.chunks for one in chunk]
    return [None if one is None else _text(one, ddl) for one in found]


def _python(scalar: Any) -> Any:
    """As Python, but years as Arrow counts them (Python ends at 9999), and text that may be no UTF-8."""
    kind = scalar.type
    if not scalar.is_valid:
        return None
    if pa.types.is_struct(kind):
        return {field.name: _python(scalar[n]) for n, field in enumerate(kind)}
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return [_python(one) for one in scalar.values]
    if _is_moment(kind):
        return _moment(scalar)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return scalar.as_buffer().to_pybytes().decode(errors="replace")
    return scalar.as_py()


def _is_moment(kind: pa.DataType) -> bool:
    return bool(pa.types.is_temporal(kind) and not (pa.types.is_duration(kind) or pa.types.is_interval(kind)))


def _moment(scalar: Any) -> str | None:
    """A date, time or timestamp from its number: Arrow's own text ends at the year 32,767 and at 23:59:59."""
    if not scalar.is_valid:
        return None
    kind = scalar.type
    number = int(scalar.cast(pa.int32() if kind.bit_width == 32 else pa.int64()).as_py())
    if pa.types.is_date32(kind):
        return _date(number)
    if pa.types.is_date64(kind):
        return _date(number // 86_400_000)
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[kind.unit]
    seconds, rest = divmod(number, per_second)
    if pa.types.is_time(kind):
        return _clock(seconds, rest, per_second)
    days, seconds = divmod(seconds, 86_400)
    said = _date(days)
    zone = "+00" if kind.tz is not None else ""
    return (
        f"{said.removesuffix(' BC')} {_clock(seconds, rest, per_second)}{zone}{' BC' if said.endswith(' BC') else ''}"
    )


def _clock(seconds: int, rest: int, per_second: int) -> str:
    micros = rest * 1_000_000 / per_second
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{micros:06.0f}"


def _date(days: int) -> str:
    """The proleptic Gregorian date of a day counted from 1970-01-01, any year; PostgreSQL has no year 0.

    Source:
        Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days.
    """
    days += 719_468
    era, day = divmod(days, 146_097)
    year = (day - day // 1460 + day // 36_524 - day // 146_096) // 365
    day -= 365 * year + year // 4 - year // 100
    shifted = (5 * day + 2) // 153
    month = shifted + 3 if shifted < 10 else shifted - 9
    year += era * 400 + (month <= 2)
    text = f"{year if year > 0 else 1 - year:04d}-{month:02d}-{day - (153 * shifted + 2) // 5 + 1:02d}"
    return text if year > 0 else f"{text} BC"


def _text(value: Any, ddl: str) -> str:
    if isinstance(value, bool):
        return str(int(value)) if ddl == "bit" else "true" if value else "false"
    if isinstance(value, bytes):
        if ddl in ("bytea", "t.raw", "bytea[]"):
            return "\\x" + value.hex()
        if ddl in _BITS and len(value) == (_BITS[ddl] + 7) // 8 and not set(value) <= set(b"01"):
            return "".join(f"{one:08b}" for one in value)[: _BITS[ddl]]
        return str(uuid.UUID(bytes=value)) if ddl == "uuid" and len(value) == 16 else value.decode(errors="replace")
    if isinstance(value, pa.MonthDayNano):
        return f"{value.months} mons {value.days} days {value.nanoseconds / 1000:.0f} microseconds"
    if hasattr(value, "total_seconds"):
        return f"{value.days} days {value.seconds} seconds {value.microseconds} microseconds"
    if isinstance(value, list) and ddl in ("int2vector", "oidvector"):
        return " ".join(map(str, value))
    if ddl == "circle" and isinstance(value, list | dict):
        first, *rest = value.values() if isinstance(value, dict) else value
        centre = _text(first, "") if len(rest) == 1 else f"({first},{rest[0]})"
        return f"<{centre},{rest[-1]}>"
    if isinstance(value, list) and ddl == "sparsevec":  # written out
        return "{" + ",".join(f"{n}:{one}" for n, one in enumerate(value, 1) if one) + "}/" + str(len(value))
    if isinstance(value, list) and ddl in _SHAPES:
        first, last = _SHAPES[ddl]
        return first + ",".join(_text(one, "") for one in value) + last
    if isinstance(value, list) and "multirange" in ddl:
        return "{" + ",".join(_text(one, "") for one in value) + "}"
    if isinstance(value, list):
        return "{" + ",".join("NULL" if one is None else _element(one, ddl) for one in value) + "}"
    if isinstance(value, dict) and ddl == "hstore":  # a struct has the keys of all rows: a NULL says "not here"
        return ",".join(f"{_quoted(key)}=>{_quoted(_text(one, ''))}" for key, one in value.items() if one is not None)
    if isinstance(value, dict) and list(value) == _RANGE:
        ends = ("" if value[end] is None else _quoted(_text(value[end], "")) for end in ("lower", "upper"))
        return "empty" if value["empty"] else value["bounds"][0] + ",".join(ends) + value["bounds"][1]
    if isinstance(value, dict):
        return "(" + ",".join("" if one is None else _field(_text(one, "")) for one in value.values()) + ")"
    if isinstance(value, str) and (ddl.endswith("]") or ddl == "t.list") and value.startswith("["):
        return _of_json(value, ddl)
    if isinstance(value, str) and ddl.startswith((*_MOMENTS, "time")):
        return _of_iso(value, ddl)
    return str(value)


def _of_json(said: str, ddl: str) -> str:
    """An array that is written as JSON; other text as it is, `[0:1]={1,2}` for one."""
    try:
        found = json.loads(said, parse_float=Decimal)
    except ValueError:
        return said
    if ddl in ("json[]", "jsonb[]"):
        return _text(list(_slices(said)), "")
    return _text(_decoded(found) if ddl == "bytea[]" else found, ddl)


def _decoded(value: Any) -> Any:
    if isinstance(value, list):
        return [_decoded(one) for one in value]
    return None if value is None else base64.b64decode(value)


def _slices(said: str) -> Iterator[str | None]:
    """The elements of a JSON array as they are written, NULL for null: reading and writing would change numbers."""
    position = 1
    while found := re.compile(r"[\s,]*(?=[^\s,\]])").match(said, position):
        _, position = json.JSONDecoder().raw_decode(said, found.end())
        yield None if said[found.end() : position] == "null" else said[found.end() : position]


def _of_iso(said: str, ddl: str) -> str:
    """A moment as RFC 3339 or Go write it: years from 0 down are BC, a time of the day lies on the year 0's first."""
    found = _ISO.fullmatch(said)
    if found is None:
        return said
    year, month, day, hour, rest = found.groups()
    if not ddl.startswith(_MOMENTS):
        return f"{(int(day) - 1) * 24 + int(hour):02d}{rest}"  # 24:00 lies on its second day
    number = int(year)
    return f"{number if number > 0 else 1 - number:04d}-{month}-{day} {hour}{rest}+00{'' if number > 0 else ' BC'}"


def _field(said: str) -> str:
    return said if _PLAIN.fullmatch(said) else _quoted(said)


def _element(value: Any, ddl: str) -> str:
    return _text(value, ddl) if isinstance(value, list) else _quoted(_text(value, ddl))


def _quoted(said: str) -> str:
    return '"' + said.replace("\\", "\\\\").replace('"', '\\"') + '"'
