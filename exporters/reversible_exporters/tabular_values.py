"""Does the declared type hold this value exactly, and if not, why?

A value that it does not hold is never bent: it stays beside the column, in the file's own words, with the reason.
Equal in value is held: 1.50 in a float64. Written otherwise is not the same as another value, and is counted apart.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

from reversible_exporters.tabular_schema import ColumnType


class Written(str):
    """A value of a file that has text only: CSV."""

    __slots__ = ()


class Number(str):
    """A JSON number, as it is spelled."""

    __slots__ = ()


@dataclass(frozen=True)
class Nanoseconds:
    """A moment or time of day that microseconds cannot express, since 1970-01-01 or midnight."""

    count: int


@dataclass(frozen=True)
class Fault:
    """A value that its file itself does not give: an Excel error, a formula never computed, a field too many."""

    source: str
    why: str


@dataclass(frozen=True)
class Held:
    """What becomes of one value: the typed value, or why there is none; `respelled` when it is written otherwise."""

    value: Any = None
    why: str = ""
    respelled: bool = False


_INTEGER = re.compile(r"-?(?:0|[1-9]\d{0,40})")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d{1,9})?")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_TIME = re.compile(r"\d\d:\d\d:\d\d(?:\.\d{1,6})?")
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?)(Z|[+-]\d\d:?\d\d)?")
_BITS = {"int16": 15, "int32": 31, "int64": 63}
_FAR = 1 << 64  # beyond any declared integer: int(Decimal("1e999999999")) would not end
_MIXED = "another type than declared"


def hold(value: Any, column: ColumnType) -> Held:
    """Put one value of the file into the declared type, or say why not."""
    if value is None:
        return Held()
    if isinstance(value, Fault):
        return Held(why=value.why)
    kind = "int" if column.type in _BITS else "decimal" if column.digits else column.type
    return _HOLDERS[kind](value, column)


def spelled(value: Any) -> str:
    """A value in its file's own words, for the sidecar: text as it is, anything else as JSON or ISO 8601."""
    if isinstance(value, Fault):
        return value.source
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bytes):
        return f"0x{value.hex()}"
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Nanoseconds):
        return f"{value.count} ns"
    return json.dumps(_plain(value), ensure_ascii=False, allow_nan=True)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return str(value) if isinstance(value, Decimal | UUID) else spelled(value)


# --- one holder per type ----------------------------------------------------------------------------------------


def _int(value: Any, column: ColumnType) -> Held:
    if isinstance(value, Written | Number):
        if not _INTEGER.fullmatch(value) or value == "-0":
            return Held(why=_why_no_integer(value))
        number = int(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        number = value
    elif isinstance(value, float | Decimal) and math.isfinite(value) and -_FAR < value < _FAR and value == int(value):
        if math.copysign(1, value) < 0 and value == 0:
            return Held(why="negative zero")
        number = int(value)
    else:
        return Held(why=_MIXED if not isinstance(value, float | Decimal) else "not a whole number, or beyond any")
    if not -(1 << _BITS[column.type]) <= number < 1 << _BITS[column.type]:
        return Held(why=f"beyond {column.type}")
    return Held(number)


def _why_no_integer(text: str) -> str:
    if text != text.strip():
        return "spaces around it"
    if re.fullmatch(r"-?0\d+", text):
        return "leading zeros"
    if re.fullmatch(r"[+-]?\d+", text):
        return "a sign that an integer does not keep" if len(text) < 42 else "beyond any integer type"
    return "not a whole number" if _NUMBER.fullmatch(text) else "not a number"


def _exact(value: Any) -> Decimal | str:
    """The number's exact value; else why there is none."""
    if isinstance(value, Written | Number):
        if value != value.strip():
            return "spaces around it"
        if re.match(r"-?0\d", value):
            return "leading zeros"
        if not _NUMBER.fullmatch(value):
            return "not a number"
        try:
            return Decimal(value)
        except InvalidOperation:
            return "beyond any number type"
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return _MIXED
    return Decimal(value) if isinstance(value, int) or math.isfinite(value) else "not a finite number"


def _float(value: Any, _: ColumnType) -> Held:
    if isinstance(value, float):
        return Held(value)
    exact = _exact(value)
    if isinstance(exact, str):
        return Held(why=exact)
    try:
        near = float(exact)
    except OverflowError:
        return Held(why="beyond float64")
    if math.isinf(near):
        return Held(why="beyond float64")
    # The shortest decimal that names this double (David Gay's algorithm, Python's repr) is what the file meant by it.
    if Decimal(repr(near)) != exact:
        return Held(why="more digits than float64 keeps" if near else "too small for float64")
    return Held(near, respelled=isinstance(value, str) and repr(near) != value)


def _decimal(value: Any, column: ColumnType) -> Held:
    exact = _exact(value)
    if isinstance(exact, str):
        return Held(why=exact)
    precision, scale = column.digits or (0, 0)
    if exact.is_zero() and exact.is_signed():
        return Held(why="negative zero")
    sign, digits, exponent = exact.as_tuple()
    if not isinstance(exponent, int) or (exact.adjusted() >= precision - scale and not exact.is_zero()):
        return Held(why=f"beyond {column.type}")
    if exponent < -scale and any(digits[exponent + scale :]):
        return Held(why=f"more than {scale} digits after the point")
    unscaled = int("".join(map(str, digits)) or "0")
    if not unscaled:  # 0e999999999
        exponent = 0
    shift = exponent + scale
    unscaled = unscaled * 10**shift if shift >= 0 else unscaled // 10**-shift
    kept = Decimal((sign, tuple(map(int, str(unscaled))), -scale))
    return Held(kept, respelled=isinstance(value, str) and format(kept, "f") != value)


def _bool(value: Any, column: ColumnType) -> Held:
    if isinstance(value, bool):
        return Held(value)
    if isinstance(value, Written) and value in (column.true, column.false):
        return Held(value == column.true)
    return Held(why="neither of the two words" if isinstance(value, Written) else _MIXED)


def _date(value: Any, column: ColumnType) -> Held:
    if isinstance(value, datetime):
        if value.time() != time():
            return Held(why="a date with a time of day")
        return Held(value.date()) if value.tzinfo is None else Held(why="a date with a time zone")
    if isinstance(value, date):
        return Held(value)
    if not isinstance(value, str) or isinstance(value, Number):
        return Held(why=_MIXED)
    if column.format is None:
        return _parsed(lambda: date.fromisoformat(value), _DATE.fullmatch(value) is not None, "not a date YYYY-MM-DD")
    return _by_format(value, column.format, lambda moment: moment.date())


def _time(value: Any, column: ColumnType) -> Held:
    if isinstance(value, time):
        return Held(value) if value.tzinfo is None else Held(why="a time with a zone")
    if isinstance(value, Nanoseconds):
        return Held(why="finer than a microsecond")
    if not isinstance(value, str) or isinstance(value, Number):
        return Held(why=_MIXED)
    if column.format is None:
        return _parsed(lambda: time.fromisoformat(value), _TIME.fullmatch(value) is not None, "not a time HH:MM:SS")
    return _by_format(value, column.format, lambda moment: moment.time())


def _moment(value: Any, column: ColumnType) -> Held:
    zoned = column.type == "timestamptz"
    if isinstance(value, datetime):
        if (value.tzinfo is not None) != zoned:
            return Held(why="without a time zone" if zoned else "with a time zone")
        return _in_utc(value) if zoned else Held(value)
    if isinstance(value, Nanoseconds):
        return Held(why="finer than a microsecond")
    if not isinstance(value, str) or isinstance(value, Number):
        return Held(why=_MIXED)
    if column.format is not None:
        return _by_format(value, column.format, lambda moment: moment, zoned=zoned)
    found = _MOMENT.fullmatch(value)
    if found is None:
        return Held(why="not a moment YYYY-MM-DDTHH:MM:SS")
    if (found[3] is not None) != zoned:
        return Held(why="without a time zone" if zoned else "with a time zone")
    digits = found[2].partition(".")[2]
    if digits[6:].strip("0"):
        return Held(why="finer than a microsecond")
    clock = found[2][: len(found[2]) - len(digits[6:])]
    held = _parsed(lambda: datetime.fromisoformat(f"{found[1]}T{clock}{found[3] or ''}"), True, "no such moment")
    if held.why or not zoned:
        return held
    return replace(_in_utc(held.value), respelled=found[3] not in ("Z", "+00:00"))


def _in_utc(moment: datetime) -> Held:
    return _parsed(lambda: moment.astimezone(UTC), True, "")


def _parsed(parse: Callable[[], Any], shaped: bool, why: str) -> Held:
    if not shaped:
        return Held(why=why)
    try:
        return Held(parse())
    except (ValueError, OverflowError):
        return Held(why="no such date or time")


def _by_format(text: str, pattern: str, part: Callable[[datetime], Any], *, zoned: bool = False) -> Held:
    """Parse by strptime, and take it only when strftime writes the very text again: 1/2/24 is not 01/02/2024."""
    try:
        moment = datetime.strptime(text, pattern)  # noqa: DTZ007 - the zone is the file's, or there is none
        again = moment.strftime(pattern)
    except (ValueError, OverflowError):
        return Held(why=f"not written as {pattern}")
    if again != text:
        return Held(why=f"not written as {pattern}")
    if (moment.tzinfo is not None) != zoned:
        return Held(why="without a time zone" if zoned else "with a time zone")
    held = _in_utc(moment) if zoned else Held(moment)
    return held if held.why else Held(part(held.value))


def _text(value: Any, _: ColumnType) -> Held:
    if isinstance(value, UUID):
        return Held(str(value))
    if not isinstance(value, str) or isinstance(value, Number):
        return Held(why=_MIXED)
    try:
        value.encode()
    except UnicodeEncodeError:
        return Held(why="half of a surrogate pair")
    return Held(str(value))


def _binary(value: Any, _: ColumnType) -> Held:
    return Held(value) if isinstance(value, bytes) else Held(why=_MIXED)


_HOLDERS: Mapping[str, Callable[[Any, ColumnType], Held]] = {
    "int": _int, "float64": _float, "decimal": _decimal, "bool": _bool, "date": _date, "time": _time,
    "timestamp": _moment, "timestamptz": _moment, "text": _text, "binary": _binary,
}  # fmt: skip
EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - timestamps without a zone count from a moment without one


def from_nanoseconds(count: int | None, *, zoned: bool = False) -> datetime | Nanoseconds | None:
    """A moment counted in nanoseconds since 1970-01-01."""
    if count is None:
        return None
    if count % 1000:
        return Nanoseconds(count)
    moment = EPOCH + timedelta(microseconds=count // 1000)
    return moment.replace(tzinfo=UTC) if zoned else moment
