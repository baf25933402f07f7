"""docs/fingerprint-strong.md and docs/fingerprint.md once more, slow and plain, written from the pages alone.

No numpy, no pyarrow, nothing of ours: Python's integers, hashlib, and the xxhash package for XXH3. It takes the plain
values of `values.py`, row by row. Section numbers are the pages'.
"""

import hashlib
import json
from collections import Counter
from decimal import Context, Decimal
from functools import lru_cache
from typing import Any

import xxhash

Column = tuple[str, str]  # name, family
Row = dict[str, Any]


class Odd(str):
    """An exception: the source's text, where the typed column cannot hold the value."""


# --- families -------------------------------------------------------------------------------------------------------


def inside(family: str) -> list[tuple[str, str]]:
    """The parts of a nested family: field names and families."""
    kind, _, rest = family.partition("<")
    names = {"list": ["item"], "map": ["key", "value"], "struct": []}[kind]
    parts, rest = [], rest[:-1]
    while rest:
        if kind == "struct":
            name, end = json.JSONDecoder().raw_decode(rest)
            rest = rest[end + 1 :]
        else:
            name = names[len(parts)]
        end = _end(rest)
        parts.append((name, rest[:end]))
        rest = rest[end + 1 :]
    return parts


def _end(text: str) -> int:
    """Where the first family in a list of them ends."""
    depth, quoted, at = 0, False, 0
    while at < len(text):
        sign = text[at]
        if sign == "\\" and quoted:
            at += 1
        elif sign == '"':
            quoted = not quoted
        elif not quoted:
            depth += {"<": 1, ">": -1}.get(sign, 0)
            if sign == "," and not depth:
                return at
        at += 1
    return at


def unscaled(value: Any, scale: int) -> int:
    """The integer at `scale` digits after the point, whatever the number of digits."""
    moved = Decimal(value).scaleb(scale, Context(prec=200))
    assert moved == moved.to_integral_value(), f"{value} has more than {scale} digits after the point"
    return int(moved)


# --- docs/fingerprint-strong.md -------------------------------------------------------------------------------------


def strong_root(columns: list[Column], rows: list[Row]) -> str:
    """Section 3."""
    ordered = sorted(columns, key=lambda column: column[0].encode())
    digests = Counter(sha(b"\0", record(ordered, row)) for row in rows)
    entries = {digest: digest + digests[digest].to_bytes(8, "big") for digest in sorted(digests)}
    top = _tree(entries, 0, 16)
    said = b"".join(_sized(text.encode()) for column in ordered for text in column)
    return sha(b"\3", len(ordered).to_bytes(4, "big"), said, len(rows).to_bytes(8, "big"), top).hex()


def _tree(entries: dict[bytes, bytes], place: int, levels: int) -> bytes:
    """The hash above the 2^levels ranges from `place` on, which hold these entries."""
    if not levels:
        return sha(b"\2", *entries.values())
    half = place + (1 << levels - 1)
    if not entries:
        below = _tree({}, place, levels - 1)
        return sha(b"\1", below, below)
    left, right = {}, {}
    for digest, entry in entries.items():
        side = left if int.from_bytes(digest[:2], "big") < half else right
        side[digest] = entry
    return sha(b"\1", _tree(left, place, levels - 1), _tree(right, half, levels - 1))


def record(ordered: list[Column], row: Row) -> bytes:
    """Section 2."""
    return b"".join(strong_cell(family, row[name]) for name, family in ordered)


def strong_cell(family: str, value: Any) -> bytes:
    if isinstance(value, Odd):
        return b"\2" + _sized(value.encode())
    return b"\0" + bytes(4) if value is None else b"\1" + _sized(strong_bytes(family, value))


def strong_bytes(family: str, value: Any) -> bytes:
    """Section 1."""
    if family in ("int", "decimal:0"):
        return _complement(int(value), 8)
    if family.startswith("decimal:"):
        return _complement(unscaled(value, int(family[8:])), 16)
    if family == "bool":
        return b"\1" if value else b"\0"
    if family == "float":
        return canonical_nan(value).to_bytes(8, "big")
    if family == "date":
        return int(value).to_bytes(8, "big", signed=True)
    if family in ("time", "duration", "timestamp", "timestamptz"):
        micros, left = divmod(value, 1000)
        return int(micros).to_bytes(8, "big", signed=True) + int(left).to_bytes(2, "big")
    if family == "interval":
        months, days, nanos = map(int, value)
        return b"".join(one.to_bytes(size, "big", signed=True) for one, size in ((months, 4), (days, 4), (nanos, 8)))
    if family == "text":
        return str(value).encode()
    if family == "binary":
        return bytes(value)
    parts = inside(family)
    if family.startswith("list<"):
        return b"".join(strong_cell(parts[0][1], one) for one in value)
    if family.startswith("map<"):
        return b"".join(strong_cell(parts[0][1], key) + strong_cell(parts[1][1], held) for key, held in value)
    return b"".join(strong_cell(part, value[name]) for name, part in parts)


def canonical_nan(bits: int) -> int:
    nan = bits >> 52 & 0x7FF == 0x7FF and bits & (1 << 52) - 1
    return 0x7FF8000000000000 if nan else bits


def sha(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def _sized(content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + content


def _complement(number: int, size: int) -> bytes:
    fits = -(1 << 8 * size - 1) <= number < 1 << 8 * size - 1
    return number.to_bytes(size if fits else 32, "big", signed=True)


# --- docs/fingerprint.md --------------------------------------------------------------------------------------------

Words = tuple[str, int, int]  # kind, low, high


class Additive:
    """The sums, grids and sketch of a table: sections 1 to 5.

    `totals` and `column_sums` hold two lanes; `fine` maps a bucket to rows and sum, `coarse` a coarse bucket and a
    column to a sum; `sketch` is a list of cells, each a list of words, table after table.
    """

    def __init__(
        self, challenge: str, columns: list[Column], rows: list[Row], *, key: list[str], buckets: int, sketch: int
    ) -> None:
        self.challenge = challenge
        self.totals = [0, 0]
        self.column_sums = {name: [0, 0] for name, _ in columns}
        self.fine: dict[int, tuple[int, int]] = {}
        self.coarse: dict[tuple[int, str], int] = {}
        words = 2 + len(columns) + 2 * len(key)
        self.sketch = [[0] * (words + -(-(words - 1) // 7)) for _ in range(sketch)]
        families = dict(columns)
        for row in rows:
            found = {name: self.words(family, row[name]) for name, family in columns}
            cells = {name: [self.cell(name, found[name], lane) for lane in (0, 1)] for name, _ in columns}
            lanes = [mix(sum(cell[lane] for cell in cells.values())) for lane in (0, 1)]
            for lane in (0, 1):
                self.totals[lane] = word(self.totals[lane] + lanes[lane])
                for name in families:
                    self.column_sums[name][lane] = word(self.column_sums[name][lane] + cells[name][lane])
            self._place(cells, lanes[0], key, buckets)
            image = [1, lanes[0], *(cells[name][0] for name, _ in columns)]
            image += [one for name in key for one in found[name][1:]]
            self._sketch(image, lanes[0])

    def _place(self, cells: dict[str, list[int]], row: int, key: list[str], buckets: int) -> None:
        """Section 4."""
        bits = buckets.bit_length() - 1
        by = word(sum(cells[name][0] for name in key)) if key else row
        bucket = mix(by) >> 64 - bits if bits else 0
        count, total = self.fine.get(bucket, (0, 0))
        self.fine[bucket] = (count + 1, word(total + row))
        for name, cell in cells.items():
            place = (bucket >> max(0, bits - 12), name)
            self.coarse[place] = word(self.coarse.get(place, 0) + cell[0])

    def _sketch(self, image: list[int], row: int) -> None:
        """Section 5."""
        tops = [one >> 56 for one in image[1:]]
        for start in range(0, len(tops), 7):
            image = [*image, sum(top << 8 * n for n, top in enumerate(tops[start : start + 7]))]
        size = len(self.sketch) // 3
        for table in range(3 if size else 0):
            at = table * size + ((row >> 21 * table & (1 << 21) - 1) * size >> 21)
            self.sketch[at] = [word(one + other) for one, other in zip(self.sketch[at], image, strict=True)]

    def words(self, family: str, value: Any) -> Words:
        """Section 2."""
        if value is None or family == "null":
            return "null", 0, 0
        if isinstance(value, Odd):
            return "exception", *self._hash(value.encode())
        kind = family.partition("<")[0]
        if family == "int" or kind.startswith("decimal:"):
            scale = 0 if family == "int" else int(family[8:])
            return self._integer("int" if scale == 0 else family, unscaled(value, scale))
        if family == "bool":
            return kind, int(value), 0
        if family == "float":
            return kind, canonical_nan(value), 0
        if family == "date":
            return kind, word(value), 0
        if family in ("time", "timestamp", "timestamptz", "duration"):
            micros, left = divmod(value, 1000)
            return (kind, word(micros), left) if -(1 << 63) <= micros < 1 << 63 else self._wide(micros)
        if family == "interval":
            months, days, nanos = map(int, value)
            return kind, word(nanos), (months & 0xFFFFFFFF) << 32 | days & 0xFFFFFFFF
        if family in ("text", "binary"):
            return kind, *self._hash(value.encode() if family == "text" else value)
        return kind, *(self._inside(kind, inside(family), value, lane) for lane in (0, 1))

    def _integer(self, kind: str, number: int) -> Words:
        if not -(1 << 127) <= number < 1 << 127:
            return self._wide(number)
        low = word(number)
        signed = low - (1 << 64) if low >> 63 else low
        return kind, low, word((number - signed) >> 64)

    def _wide(self, number: int) -> Words:
        size = 1
        while not -(1 << 8 * size - 1) <= number < 1 << 8 * size - 1:
            size += 1
        return "wide", *self._hash(number.to_bytes(size, "big", signed=True))

    def _hash(self, content: bytes) -> tuple[int, int]:
        digest = xxhash.xxh3_128_intdigest(content, seed=secret(self.challenge, "bytes"))
        return word(digest), digest >> 64

    def _inside(self, kind: str, parts: list[Column], value: Any, lane: int) -> int:
        """Section 3: what a nested value comes to in one lane."""
        if kind == "struct":
            return mix(sum(self.cell(f"field {name}", self.words(part, value[name]), lane) for name, part in parts))
        total = 0
        for n, item in enumerate(value):
            held = item if kind == "map" else (item,)
            entry = sum(
                self.cell(name, self.words(part, one), lane) for (name, part), one in zip(parts, held, strict=True)
            )
            total += mix(word(entry) ^ mix(n))
        return mix(total)

    def cell(self, name: str, found: Words, lane: int) -> int:
        """Section 3."""
        kind, low, high = found
        one = mix(low + secret(self.challenge, name, kind, str(lane)))
        return mix(one ^ high) if high else one


def mix(number: int) -> int:
    """Section 3: splitmix64."""
    number = word(number + 0x9E3779B97F4A7C15)
    number = word((number ^ number >> 30) * 0xBF58476D1CE4E5B9)
    number = word((number ^ number >> 27) * 0x94D049BB133111EB)
    return number ^ number >> 31


@lru_cache(maxsize=4096)
def secret(*parts: str) -> int:
    texts = [part.encode() for part in parts]
    return int.from_bytes(
        sha(b"reversible-fingerprint/1", *(len(one).to_bytes(8, "big") + one for one in texts))[:8], "big"
    )  # fmt: skip


def word(number: int) -> int:
    return number & (1 << 64) - 1
