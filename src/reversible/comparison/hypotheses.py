"""What did a cell hold at the source, when the source is gone and only the hash of its cell is left?

Each kind of damage is undone on the copy's value in all ways that come into question, each guess is hashed with the
challenge, and one whose hash is the source's is the source's value: another value would hit with a chance of 2**-64
per guess, and there are at most `MOST` guesses per cell.
"""

import itertools
import math
import struct
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal

import numpy as np

from reversible.comparison.classes import Exceptional, Plain, array_items
from reversible.comparison.hashing import cell_hashes
from reversible.comparison.tables import cells_of
from reversible.fingerprint import Column

MOST = 2_000_000
FEW = 5_000  # guesses that take milliseconds
_HOUR = 3_600_000_000  # microseconds
_DAY = 24 * _HOUR
_SECOND = 1_000_000
_EXCEPTIONS = ("infinity", "-infinity", "NaN", "Infinity", "-Infinity", "24:00:00")
_LETTERS = "".join(chr(code) for code in (*range(32, 127), *range(0xA0, 0x180), 0x2019, 0x20AC))


def source_value(
    challenge: str, column: Column, copy: Plain, wanted: int, others: Mapping[Column, Plain], *, most: int = MOST
) -> tuple[bool, Plain]:
    """Whether a guess hits, and the source's value then.

    Args:
        challenge: The witness's challenge.
        column: The cell's column.
        copy: What the copy holds there.
        wanted: Lane 0 of the source's cell hash.
        others: The copy's other values in the same row, by column: one may have come from here.
        most: Guesses of one kind from which that kind is left out.
    """
    for guesses in _stages(column.family, copy, others):
        listed = list(itertools.islice(guesses, most + 1))
        if not listed or len(listed) > most:
            continue
        hashes = cell_hashes(challenge, column, cells_of(listed, column.family))
        hits = np.flatnonzero(hashes == np.uint64(wanted))
        if len(hits):
            return True, listed[int(hits[0])]
    return False, None


def _stages(family: str, copy: Plain, others: Mapping[Column, Plain]) -> Iterator[Iterable[Plain]]:
    """Guesses in the order of their number: a few, then many."""
    yield _of_any(family, others)
    kind = family.partition(":")[0]
    if isinstance(copy, Exceptional) or copy is None:
        return
    if kind in ("text", "binary"):
        yield dict.fromkeys(_texts(copy) if isinstance(copy, str) else _bytes(copy))  # type: ignore[arg-type]
        if isinstance(copy, str):
            yield (copy + "".join(two) for two in itertools.product(_LETTERS[:95], repeat=2))
            yield (copy[:n] + one + copy[n + 1 :] for n in range(min(len(copy), 400)) for one in _LETTERS)
    elif kind in _NEAR:
        yield from _NEAR[kind](copy, family)


def _of_any(family: str, others: Mapping[Column, Plain]) -> Iterator[Plain]:
    yield None
    kind = family.partition(":")[0]
    usual: dict[str, list[Plain]] = {
        "text": ["", " ", "null", "NULL"], "binary": [b""], "bool": [True, False],
        "float": [0.0, -0.0, math.nan, math.inf, -math.inf], "int": [0, 1, -1], "decimal": [Decimal(0)],
    }  # fmt: skip
    yield from usual.get(kind, [])
    if kind not in ("text", "binary", "bool", "int", "float") and "<" not in family:
        yield from map(Exceptional, _EXCEPTIONS)
    yield from (value for column, value in others.items() if column.family == family)


def _ints(copy: int, family: str) -> Iterator[Iterable[int]]:
    near = [copy + n for n in range(-2048, 2049)]
    wraps = [copy + (n << bits) for bits in (8, 16, 32) for n in range(-256, 257)]
    yield (one for one in [*near, *wraps, -copy] if -(1 << 63) <= one < 1 << 63)


def _decimals(copy: Decimal, family: str) -> Iterator[Iterable[Decimal]]:
    """Up to five digits after the last one that was kept, and the point in another place."""
    scale = int(family[8:])
    whole = int(copy.scaleb(scale))
    yield _scaled([whole + n for n in range(-200, 201)] + [-whole, whole * 10, whole * 100, whole // 10], scale)
    yield _scaled(range(whole - 100_000, whole + 100_001), scale)


def _scaled(wholes: Iterable[int], scale: int) -> Iterator[Decimal]:
    return (Decimal(one).scaleb(-scale) for one in wholes if abs(one) < 10**38)


_FEW_ULPS = 64  # a text of 15 digits loses up to five


def _floats(copy: float, family: str) -> Iterator[Iterable[float]]:
    if not math.isfinite(copy):
        return
    bits = struct.unpack("<q", struct.pack("<d", copy))[0]
    yield [-copy, *(float(f"{copy:.{digits}g}") for digits in range(1, 17)), *_ulps(bits, _FEW_ULPS)]
    yield _ulps(bits, 50_000)


def _ulps(bits: int, most: int) -> list[float]:
    """The floats that lie up to `most` units in the last place away."""
    near = np.arange(max(bits - most, -(1 << 63)), min(bits + most + 1, (1 << 63) - 1), dtype=np.int64)
    floats: list[float] = near.view(np.float64).tolist()
    return floats


def _dates(copy: int, family: str) -> Iterator[Iterable[int]]:
    yield range(copy - 1000, copy + 1001)


def _moments(copy: int, family: str) -> Iterator[Iterable[int]]:
    shifts = [copy + n * _HOUR // 4 for n in range(-4 * 28, 4 * 28 + 1)]
    yield [*shifts, *range(copy - 1000, copy + 1001), *(copy + n * 1000 for n in range(-1000, 1001))]
    if copy % _SECOND == 0:  # the fraction of the second is gone
        yield range(copy, copy + _SECOND)
        yield range(copy - _SECOND // 2, copy)
    elif copy % 1000 == 0:
        yield (one + n for one in shifts for n in range(-500, 1000))
    for hours in (-2, -1, 1, 2) if copy % _SECOND == 0 else ():  # a zone of Europe, and the fraction gone as well
        yield range(copy + hours * _HOUR, copy + hours * _HOUR + _SECOND)


_NEAR: dict[str, Callable[..., Iterator[Iterable[Plain]]]] = {
    "int": _ints, "decimal": _decimals, "float": _floats, "date": _dates, "time": _moments, "timestamp": _moments,
    "timestamptz": _moments,
}  # fmt: skip


def _texts(copy: str) -> Iterator[str]:
    yield from (copy + " " * n for n in range(1, 33))
    yield from (" " * n + copy for n in range(1, 9))
    yield from (copy.strip(), copy.rstrip(), copy.lstrip(), copy + "\n", copy + "\r\n", copy + "\0", copy + "\t")
    yield from (copy.replace("\n", "\r\n"), copy.replace("\r\n", "\n"))
    yield from (unicodedata.normalize(form, copy) for form in ("NFC", "NFD", "NFKC", "NFKD"))
    yield from (copy.lower(), copy.upper(), copy.title(), copy.capitalize(), copy.swapcase())
    for wrong in ("latin-1", "cp1252", "cp437"):
        yield copy.encode(wrong, "ignore").decode("utf-8", "ignore")
        yield copy.encode("utf-8", "surrogatepass").decode(wrong, "ignore")
    yield from (copy + one for one in _LETTERS)
    yield from (one + copy for one in _LETTERS)
    yield from (copy[:-n] for n in range(1, 4))
    yield from (copy + zeros for zeros in ("0", "00", "000", ".0", ".00"))
    for sign in ("?", "\ufffd"):
        if copy.count(sign) == 1:
            yield from (copy.replace(sign, one) for one in _LETTERS[95:])
    items = array_items(copy)
    if items is not None:
        orders: Iterable[Sequence[str]] = (
            itertools.permutations(items) if len(items) <= 7 else (items[::-1], sorted(items))
        )
        for order in orders:
            yield from (f"{copy[0]}{comma.join(order)}{copy[-1]}" for comma in (",", ", "))
    yield from _numbers(copy)


def _numbers(copy: str) -> Iterator[str]:
    """A number kept as text: up to three digits after the last one, and units of the last place."""
    try:
        value = Decimal(copy)
        places = -int(value.as_tuple().exponent)
    except (ArithmeticError, ValueError):
        return
    if not value.is_finite() or len(copy) > 40 or not 0 <= places <= 30:
        return
    for more in range(4):
        scale = places + more
        whole = int(value.scaleb(scale))
        yield from (f"{Decimal(one).scaleb(-scale):f}" for one in range(whole - 10**more * 2, whole + 10**more * 2 + 1))


def _bytes(copy: bytes) -> Iterator[bytes]:
    yield from (copy + bytes([n]) for n in range(256))
    yield from (copy.rstrip(b" "), copy.rstrip(b"\0"), copy[:-1])
    yield from (copy + b"\0" * n for n in range(2, 9))
