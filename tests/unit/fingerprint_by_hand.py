"""What does docs/fingerprint.md say, in plain Python? No numpy, no Arrow, one value at a time.

Values are as tests/golden/fingerprint-vectors.json writes them: whole numbers and decimals as text, floats as 16 hex
digits of their bits, times and timestamps in ISO 8601 with up to nine digits, durations in nanoseconds, binary as hex,
maps as pairs, {"exception": text} for a value that its column cannot hold.
"""

import hashlib
import json
import struct
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import xxhash

WORD = (1 << 64) - 1
VERSION = "reversible-fingerprint/1"


def mix(x: int) -> int:
    x = (x + 0x9E3779B97F4A7C15) & WORD
    x = ((x ^ x >> 30) * 0xBF58476D1CE4E5B9) & WORD
    x = ((x ^ x >> 27) * 0x94D049BB133111EB) & WORD
    return x ^ x >> 31


def secret(*parts: str) -> int:
    data = VERSION.encode()
    for part in parts:
        data += struct.pack(">Q", len(part.encode())) + part.encode()
    return int.from_bytes(hashlib.sha256(data).digest()[:8], "big")


def total(challenge: str, columns: list[tuple[str, str]], rows: list[list[Any]]) -> str:
    """The digest of a table: 32 hex digits."""
    sums = [sum(row_hash(challenge, columns, row, lane) for row in rows) & WORD for lane in (0, 1)]
    return "".join(f"{one:016x}" for one in sums)


def row_hash(challenge: str, columns: list[tuple[str, str]], row: list[Any], lane: int) -> int:
    cells = [cell(challenge, name, family, value, lane) for (name, family), value in zip(columns, row, strict=True)]
    return mix(sum(cells) & WORD)


def cell(challenge: str, name: str, family: str, value: Any, lane: int) -> int:
    kind, low, high = words(challenge, family, value)
    found = mix((low + secret(challenge, name, kind, str(lane))) & WORD)
    return mix(found ^ high) if high else found


def words(challenge: str, family: str, value: Any) -> tuple[str, int, int]:
    """The kind, the low and the high word of a value."""
    kind = family.partition("<")[0]
    if value is None:
        return "null", 0, 0
    if isinstance(value, dict) and set(value) == {"exception"} and kind != "struct":
        return ("exception", *hashed(challenge, value["exception"].encode()))
    if kind in ("list", "map", "struct"):
        low, high = (nested(challenge, family, value, lane) for lane in (0, 1))
        return kind, low, high
    if kind == "int" or kind.startswith("decimal:"):
        scale = int(kind.partition(":")[2] or 0)
        return number(challenge, "int" if scale == 0 else kind, unscaled(value, scale))
    if kind == "float":
        bits = int(value, 16)
        nan = bits >> 52 & 0x7FF == 0x7FF and bits & ((1 << 52) - 1)
        return kind, 0x7FF8000000000000 if nan else bits, 0
    if kind == "bool":
        return kind, int(value), 0
    if kind == "date":
        return kind, (date.fromisoformat(value) - date(1970, 1, 1)).days & WORD, 0
    if kind in ("time", "timestamp", "timestamptz", "duration"):
        whole, rest = divmod(nanoseconds(kind, value), 1000)
        return kind, whole & WORD, rest
    if kind == "interval":
        low = int(value["nanoseconds"]) & WORD
        return kind, low, (value["months"] & 0xFFFFFFFF) << 32 | value["days"] & 0xFFFFFFFF
    return (kind, *hashed(challenge, value.encode() if kind == "text" else bytes.fromhex(value)))


def unscaled(value: str, scale: int) -> int:
    sign, digits, exponent = Decimal(value).as_tuple()
    shift = int(exponent) + scale
    whole = int("".join(map(str, digits)))
    whole = whole * 10**shift if shift >= 0 else whole // 10**-shift  # a vector's value has no more digits than fit
    return -whole if sign else whole


def number(challenge: str, kind: str, whole: int) -> tuple[str, int, int]:
    if not -(1 << 127) <= whole < 1 << 127:
        size = 1
        while not -(1 << (8 * size - 1)) <= whole < 1 << (8 * size - 1):
            size += 1
        return ("wide", *hashed(challenge, whole.to_bytes(size, "big", signed=True)))
    low = whole & WORD
    signed = low - (1 << 64) if low >> 63 else low
    return kind, low, (whole - signed) // (1 << 64) & WORD


def nanoseconds(kind: str, value: str) -> int:
    if kind == "duration":
        return int(value)
    text, _, fraction = value.removesuffix("Z").partition(".")
    if kind == "time":
        since = datetime.fromisoformat(f"1970-01-01T{text}") - datetime(1970, 1, 1)  # noqa: DTZ001 - a time has no zone
    else:
        since = datetime.fromisoformat(text) - datetime(1970, 1, 1)  # noqa: DTZ001 - naive, or UTC on both sides
    return since // timedelta(seconds=1) * 10**9 + int(fraction.ljust(9, "0"))


def hashed(challenge: str, data: bytes) -> tuple[int, int]:
    found = xxhash.xxh3_128_intdigest(data, seed=secret(challenge, "bytes"))
    return found & WORD, found >> 64


def nested(challenge: str, family: str, value: Any, lane: int) -> int:
    fields = parts(family)
    if family.startswith("struct"):
        return mix(sum(cell(challenge, f"field {name}", kind, value[name], lane) for name, kind in fields) & WORD)
    items = 0
    for place, item in enumerate(value):
        entry = item if family.startswith("map") else [item]
        inside = sum(cell(challenge, name, kind, one, lane) for (name, kind), one in zip(fields, entry, strict=True))
        items += mix(inside & WORD ^ mix(place))
    return mix(items & WORD)


def parts(family: str) -> list[tuple[str, str]]:
    """The fields of a nested family: ("item", ...), ("key", ...), ("value", ...) or the struct's own."""
    kind, _, rest = family.partition("<")
    rest = rest[:-1]
    found: list[tuple[str, str]] = []
    while rest:
        name = "item" if kind == "list" else ("value" if found else "key")
        if kind == "struct":
            name, end = json.JSONDecoder().raw_decode(rest)
            rest = rest[end + 1 :]
        end, depth, quoted = 0, 0, False
        while end < len(rest) and (rest[end] != "," or depth or quoted):
            end += rest[end] == "\\"  # the next sign is a part of a name
            quoted ^= rest[end] == '"' and rest[end - 1] != "\\"
            depth += 0 if quoted else (rest[end] == "<") - (rest[end] == ">")
            end += 1
        found.append((name, rest[:end]))
        rest = rest[end + 1 :]
    return found
