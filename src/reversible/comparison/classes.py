"""What kind of difference is it? Two values of one cell, and every class of damage that makes the second of the first.

Several may: 1.49 against 1.50 is a rounding and also one unit more. `explanations` lists all, the most specific first;
`consensus` chooses per cell the one that explains most cells of its column, as one fault seldom comes alone.
"""

import math
import re
import struct
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, Context, Decimal, InvalidOperation
from enum import StrEnum
from functools import lru_cache


class Kind(StrEnum):
    """The classes, in the words that stay the same in JSON, whatever the language of a report."""

    ROUNDING = "rounding"
    TRUNCATION = "truncation"
    TRIMMING = "trimming"
    NORMALISATION = "unicode normalisation"
    NULL_FOR_EMPTY = "null for empty"
    EMPTY_FOR_NULL = "empty for null"
    NULL_FOR_NAN = "null for nan"
    EXCEPTION_LOST = "exception lost"
    NULL_FOR_VALUE = "null for value"
    VALUE_FOR_NULL = "value for null"
    CASE = "case"
    HOURS = "hours shift"
    DAY = "day off by one"
    SUB_SECOND = "sub-second cut"
    UNIT = "off by a unit"
    ULP = "ulp"
    FLOAT = "float detour"
    ORDER = "reordered array"
    MOJIBAKE = "mojibake"
    ZERO = "sign of zero"
    ZEROS = "trailing zeros"
    OVERFLOW = "overflow"
    INVERTED = "inverted"
    SWAPPED = "swapped columns"
    DUPLICATE = "duplicate row"
    MISSING = "missing row"
    EXTRA = "extra row"
    TYPE = "another type"
    OTHER = "other"


ROWS = frozenset({Kind.DUPLICATE, Kind.MISSING, Kind.EXTRA})


@dataclass(frozen=True)
class Exceptional:
    """A value that its typed column cannot hold, in the source's own text: "infinity", "NaN", "0044-03-15 BC"."""

    text: str


Plain = None | bool | int | float | Decimal | str | bytes | Exceptional


@dataclass(frozen=True)
class Explanation:
    """A class and its size: "+1 h", "1", "2 digits", "float32"; "" where it has none."""

    kind: Kind
    detail: str = ""


_HOUR = 3_600_000_000  # microseconds
_DAY = 24 * _HOUR
_MOST_ULP = 4096
_EXACT = Context(prec=80)
_OTHER = (Explanation(Kind.OTHER),)


def explanations(left: Plain, right: Plain, family: str) -> tuple[Explanation, ...]:
    """Every class that turns `left` (the source) into `right` (the copy), the most specific first; OTHER where none.

    Args:
        left: The value at the source: an int for dates (days), times and timestamps (microseconds).
        right: The value in the copy, in the same form.
        family: The column's logical type, as in docs/fingerprint.md.
    """
    return tuple(dict.fromkeys(_explanations(left, right, family))) or _OTHER


def consensus(cells: Sequence[tuple[Explanation, ...]]) -> list[Explanation]:
    """For each cell of one column, the explanation of its own that explains most cells of the column."""
    votes = Counter(one for cell in cells for one in cell)
    kinds = Counter(kind for cell in cells for kind in {one.kind for one in cell})
    return [max(cell, key=lambda one: (kinds[one.kind], votes[one])) for cell in cells]  # max keeps the first of equals


def swapped(left: Sequence[Plain], right: Sequence[Plain]) -> list[tuple[int, int]]:
    """Pairs of positions whose two values changed places: `left[a] == right[b]` and the reverse."""
    found: list[tuple[int, int]] = []
    taken: set[int] = set()
    for a in range(len(left)):
        for b in range(a + 1, len(left)):
            if not {a, b} & taken and same(left[a], right[b]) and same(left[b], right[a]):
                found.append((a, b))
                taken |= {a, b}
    return found


def same(one: Plain, other: Plain) -> bool:
    """Whether two values of one type are one; unlike `==`, 1 is not True and NaN is NaN."""
    if isinstance(one, float) and isinstance(other, float):
        return struct.pack("<d", one) == struct.pack("<d", other) or (one != one and other != other)
    return type(one) is type(other) and one == other


def _explanations(left: Plain, right: Plain, family: str) -> Iterator[Explanation]:
    if right is None or left is None:
        yield from _nulls(left, right)
    elif isinstance(left, Exceptional) or isinstance(right, Exceptional):
        yield from _exceptional(left, right)
    elif type(left) is not type(right):
        yield Explanation(Kind.TYPE)
    else:
        rules = _RULES.get(family.partition(":")[0])
        if rules is not None:
            yield from rules(left, right, family)


def _nulls(left: Plain, right: Plain) -> Iterator[Explanation]:
    if right is None:
        if left in ("", b"") and not isinstance(left, bool):
            yield Explanation(Kind.NULL_FOR_EMPTY)
        elif isinstance(left, float) and math.isnan(left):
            yield Explanation(Kind.NULL_FOR_NAN)
        elif isinstance(left, Exceptional):
            yield Explanation(Kind.NULL_FOR_NAN if left.text.lower() == "nan" else Kind.EXCEPTION_LOST, left.text)
        elif isinstance(left, float) and math.isinf(left):
            yield Explanation(Kind.EXCEPTION_LOST, str(left))
        else:
            yield Explanation(Kind.NULL_FOR_VALUE)
    elif isinstance(right, str | bytes) and not right:
        yield Explanation(Kind.EMPTY_FOR_NULL)
    else:
        yield Explanation(Kind.VALUE_FOR_NULL)


def _exceptional(left: Plain, right: Plain) -> Iterator[Explanation]:
    if isinstance(left, Exceptional) and isinstance(right, Exceptional):
        yield from _text(left.text, right.text, "text")
    elif isinstance(left, Exceptional):
        yield Explanation(Kind.EXCEPTION_LOST, left.text)
    else:
        yield Explanation(Kind.TYPE)


# --- numbers ----------------------------------------------------------------------------------------------------


def _int(left: int, right: int, family: str) -> Iterator[Explanation]:
    for bits in (8, 16, 32):
        if not -(1 << bits - 1) <= left < 1 << bits - 1:
            if right == ((left + (1 << bits - 1)) % (1 << bits)) - (1 << bits - 1) or right == left % (1 << bits):
                yield Explanation(Kind.OVERFLOW, f"{bits} bits")
            elif right in ((1 << bits - 1) - 1, -(1 << bits - 1)):
                yield Explanation(Kind.OVERFLOW, f"cut at {bits} bits")
    if right == left % (1 << 64) or right == -left:
        yield Explanation(Kind.OVERFLOW, "sign")
    for name, convert in (("float64", float), ("float32", float32)):
        if _whole(convert, left) == right:
            yield Explanation(Kind.FLOAT, name)
    if abs(left - right) == 1:
        yield Explanation(Kind.UNIT, f"{right - left:+d}")


def _whole(convert: Callable[[float], float], value: int) -> int | None:
    try:
        return int(convert(float(value)))
    except (OverflowError, ValueError):
        return None


def _decimal(left: Decimal, right: Decimal, family: str) -> Iterator[Explanation]:
    if left == right:  # numbers kept as text
        yield Explanation(Kind.ZEROS)
        return
    digits = _digits(left)
    if right == 0 and left.copy_abs() >= 1 and digits <= 0:
        return
    for places in range(digits - 1, -1, -1):
        step = Decimal(1).scaleb(-places)
        if right == left.quantize(step, ROUND_HALF_UP, _EXACT) or right == left.quantize(step, ROUND_HALF_EVEN, _EXACT):
            yield Explanation(Kind.ROUNDING, _counted(places, "digit"))
            break
        if right == left.quantize(step, ROUND_DOWN, _EXACT):
            yield Explanation(Kind.TRUNCATION, _counted(places, "digit"))
            break
    scale = max(digits, _digits(right), int(family.partition(":")[2] or 0))
    step = Decimal(1).scaleb(-scale)
    for name, convert in (("float64", float), ("float32", float32)):
        through = convert(float(left))
        if math.isfinite(through):
            if right in (Decimal(through).quantize(step, context=_EXACT), Decimal(repr(through))):
                yield Explanation(Kind.FLOAT, name)
            for kept in (15, 6):
                if name == "float64" and right == Decimal(f"{through:.{kept}g}"):
                    yield Explanation(Kind.ROUNDING, f"{kept} significant digits")
    units = (right - left) / step
    if abs(units) == 1:
        yield Explanation(Kind.UNIT, f"{right - left:+f}")
    if right == -left:
        yield Explanation(Kind.INVERTED, "sign")


def _digits(value: Decimal) -> int:
    """Digits after the point that are not trailing zeros."""
    exponent = value.normalize(_EXACT).as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _float(left: float, right: float, family: str) -> Iterator[Explanation]:
    if left == right == 0:
        yield Explanation(Kind.ZERO)
        return
    if not (math.isfinite(left) and math.isfinite(right)):
        if right == 0 or math.isfinite(right):
            yield Explanation(Kind.EXCEPTION_LOST, str(left))
        return
    if float32(left) == right:
        yield Explanation(Kind.FLOAT, "float32")
    apart = ulps(left, right)
    if abs(apart) <= _MOST_ULP:
        yield Explanation(Kind.ULP, str(abs(apart)))
    for digits in range(17, 2, -1):
        if float(f"{left:.{digits}g}") == right:
            yield Explanation(Kind.ROUNDING, f"{digits} significant digits")
            break
    for places in range(12, -1, -1):
        if round(left, places) == right:
            yield Explanation(Kind.ROUNDING, _counted(places, "digit"))
            break
    if math.trunc(left) == right:
        yield Explanation(Kind.TRUNCATION, "0 digits")


def ulps(left: float, right: float) -> int:
    """How many float64 values lie from `left` to `right`: 1 for neighbours, negative when `right` is smaller."""
    ordered: list[int] = []
    for value in (left, right):
        bits: int = struct.unpack("<q", struct.pack("<d", value))[0]
        ordered.append(bits if bits >= 0 else -(bits & 0x7FFF_FFFF_FFFF_FFFF))
    return ordered[1] - ordered[0]


def float32(value: float) -> float:
    """The value after a detour through float32; infinity when it does not fit."""
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:
        return math.copysign(math.inf, value)


def _bool(left: bool, right: bool, family: str) -> Iterator[Explanation]:
    yield Explanation(Kind.INVERTED)


# --- time -------------------------------------------------------------------------------------------------------


def _date(left: int, right: int, family: str) -> Iterator[Explanation]:
    if abs(right - left) == 1:
        yield Explanation(Kind.DAY, f"{right - left:+d} d")


def _moment(left: int, right: int, family: str) -> Iterator[Explanation]:
    apart = right - left
    for unit, name in ((1_000, "ms"), (1_000_000, "s"), (60_000_000, "min")):
        cut = {left // unit * unit, -(-left // unit) * unit, (left + unit // 2) // unit * unit}
        if left % unit and right in cut and right % unit == 0:
            yield Explanation(Kind.SUB_SECOND, name)
            break
    if abs(apart) == 1:
        yield Explanation(Kind.UNIT, f"{apart:+d} us")
    if family == "time":  # around the clock
        apart = (apart + _DAY // 2) % _DAY - _DAY // 2
    if abs(apart) == _DAY:
        yield Explanation(Kind.DAY, f"{apart // _DAY:+d} d")
    if apart and apart % (_HOUR // 4) == 0 and abs(apart) <= 28 * _HOUR:
        hours, rest = divmod(abs(apart), _HOUR)
        minutes = f":{rest // 60_000_000:02d}" if rest else ""
        yield Explanation(Kind.HOURS, f"{'+' if apart > 0 else '-'}{hours}{minutes} h")
    whole = apart + (left % 1_000_000 - right % 1_000_000)
    if left % 1_000_000 and right % 1_000 == 0 and whole and whole % _HOUR == 0 and abs(whole) <= 14 * _HOUR:
        yield Explanation(Kind.HOURS, f"{whole // _HOUR:+d} h, and cut below a second")


# --- text and bytes ---------------------------------------------------------------------------------------------


def _text(left: str, right: str, family: str) -> Iterator[Explanation]:
    if left.strip() == right.strip() or left.strip(" \0") == right.strip(" \0"):
        yield Explanation(Kind.TRIMMING, _counted(len(right) - len(left), "character", signed=True))
    elif left.casefold() == right.casefold():
        yield Explanation(Kind.CASE)
    if left.strip() != right.strip() and unicodedata.normalize("NFC", left) == unicodedata.normalize("NFC", right):
        form = next((form for form in ("NFC", "NFD") if unicodedata.normalize(form, left) == right), "")
        yield Explanation(Kind.NORMALISATION, form)
    if right in mojibake(left) or left in mojibake(right):
        yield Explanation(Kind.MOJIBAKE)
    if len(right) < len(left) and left.startswith(right) and right:
        yield Explanation(Kind.TRUNCATION, _counted(len(right) - len(left), "character", signed=True))
    if right != left and left.replace("\r\n", "\n") == right.replace("\r\n", "\n"):
        yield Explanation(Kind.TRIMMING, "line ends")
    if sorted(array_items(left) or ()) == sorted(array_items(right) or ()) and array_items(left):
        yield Explanation(Kind.ORDER)
    numbers = _number(left), _number(right)
    if numbers[0] is not None and numbers[1] is not None:
        yield from _decimal(numbers[0], numbers[1], "decimal")


_BROKEN = re.compile("[^\x00-\x7f]")


@lru_cache(maxsize=4096)
def mojibake(text: str) -> frozenset[str]:
    """What a wrong decoder makes of a text: UTF-8 bytes read as latin-1, cp1252 or cp437, or letters replaced."""
    if text.isascii():
        return frozenset()
    found = {_BROKEN.sub("?", text), _BROKEN.sub("\ufffd", text), _BROKEN.sub("", text)}
    encoded = text.encode("utf-8", "surrogatepass")
    for wrong in ("latin-1", "cp1252", "cp437"):
        found.add(encoded.decode(wrong, "replace"))
        found.add(text.encode(wrong, "ignore").decode("utf-8", "replace"))
    return frozenset(found - {text})


def array_items(text: str) -> list[str] | None:
    """The items of a flat array's text, "{a,b}" or "[a, b]"; None when it is not one."""
    if len(text) < 5 or (text[0], text[-1]) not in (("{", "}"), ("[", "]")):
        return None
    items = [item.strip() for item in _ITEMS.findall(text[1:-1])]
    return items if len(items) > 1 else None


_ITEMS = re.compile(r'(?:"(?:[^"\\]|\\.)*"|\{[^{}]*\}|\[[^\[\]]*\]|[^,])+')
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d{1,3})?")


def _number(text: str) -> Decimal | None:
    try:
        return Decimal(text) if len(text) < 80 and _NUMBER.fullmatch(text) else None
    except InvalidOperation:
        return None


def _binary(left: bytes, right: bytes, family: str) -> Iterator[Explanation]:
    if left.rstrip(b" \0") == right.rstrip(b" \0"):
        yield Explanation(Kind.TRIMMING, _counted(len(right) - len(left), "byte", signed=True))
    elif right and len(right) < len(left) and left.startswith(right):
        yield Explanation(Kind.TRUNCATION, _counted(len(right) - len(left), "byte", signed=True))


def _counted(count: int, what: str, *, signed: bool = False) -> str:
    return f"{count:{'+' if signed else ''}d} {what}{'' if abs(count) == 1 else 's'}"


_RULES: dict[str, Callable[..., Iterator[Explanation]]] = {
    "int": _int, "decimal": _decimal, "float": _float, "bool": _bool, "date": _date, "time": _moment,
    "timestamp": _moment, "timestamptz": _moment, "text": _text, "binary": _binary,
}  # fmt: skip
