"""Which plain values do the zoo's JSON documents stand for? Python's own types only: see "format" in zoo.json.

int and the rest of the numbers are exact: an integer; a decimal is `Decimal`; a float its 64 bits as an integer; a date
days; a time, timestamp or duration nanoseconds; an interval (months, days, nanoseconds); text `str`; binary `bytes`;
a list `list`; a map a list of pairs; a struct `dict`; NULL `None`.
"""

import re
import struct
from decimal import Decimal
from typing import Any

_NS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_PLAIN = {
    "bool": "bool", "string": "text", "large_string": "text", "string_view": "text", "binary": "binary",
    "large_binary": "binary", "month_day_nano_interval": "interval", "null": "null", "halffloat": "float",
    "float": "float", "double": "float",
}  # fmt: skip


def values(kind: str, cells: list[Any]) -> list[Any]:
    """The values of a column whose type Arrow writes as `kind`."""
    return [value(kind, cell) for cell in cells]


def value(kind: str, cell: Any) -> Any:
    if cell is None:
        return None
    name, inside = _apart(kind)
    if name == "dictionary":
        return value(re.match(r"values=(.*), indices=", inside)[1], cell)  # type: ignore[index]
    if name == "run_end_encoded":
        return value(inside.partition("values: ")[2], cell)
    if re.fullmatch(r"u?int\d+", name):
        return int(cell)
    if name.startswith("decimal"):
        return Decimal(cell)
    if name in ("halffloat", "float", "double"):
        return _bits(cell)
    if name == "date32[day]":
        return int(cell)
    if name == "date64[ms]":
        return int(cell) // 86_400_000
    moment = re.match(r"(?:time32|time64|timestamp|duration)\[(\w+)", kind)
    if moment:
        return int(cell) * _NS[moment[1]]
    if name in ("binary", "large_binary", "fixed_size_binary"):
        return bytes.fromhex(cell)
    if name.endswith(("list", "list_view")):
        return [value(_type(inside), one) for one in cell]
    if name == "map":
        key, held = _split(inside)[:2]
        return [(value(_type(key), one), value(_type(held), other)) for one, other in cell]
    if name == "struct":
        fields = dict(part.split(": ", 1) for part in _split(inside))
        return {field: value(_type(of), cell[field]) for field, of in fields.items()}
    return tuple(cell) if isinstance(cell, list) else cell


def family(kind: str) -> str:
    """The logical type of a column whose type Arrow writes as `kind`: docs/fingerprint.md, section 2."""
    name, inside = _apart(kind)
    if name == "dictionary":
        return family(re.match(r"values=(.*), indices=", inside)[1])  # type: ignore[index]
    if name == "run_end_encoded":
        return family(inside.partition("values: ")[2])
    if re.fullmatch(r"u?int\d+", name):
        return "int"
    if name.startswith("decimal"):
        return f"decimal:{inside.split(', ')[1]}"
    if name.startswith("timestamp"):
        return "timestamptz" if "tz=" in kind else "timestamp"
    if name.endswith(("list", "list_view")):
        return f"list<{family(_type(inside))}>"
    if name == "map":
        key, held = _split(inside)[:2]
        return f"map<{family(_type(key))},{family(_type(held))}>"
    if name == "struct":
        fields = sorted(part.split(": ", 1) for part in _split(inside))
        return "struct<" + ",".join(f'"{one}":{family(_type(of))}' for one, of in fields) + ">"
    for start in ("date", "time", "duration", "fixed_size_binary"):
        if name.startswith(start):
            return {"fixed_size_binary": "binary"}.get(start, start)
    return _PLAIN[name]


def _apart(kind: str) -> tuple[str, str]:
    """`list<item: int64>` -> list, "item: int64"; `decimal128(5, 2)` -> decimal128, "5, 2"."""
    found = re.fullmatch(r"(\w+)(?:<(.*)>(?:\[\d+\])?|\((.*)\)|(\[.*\]))?", kind)
    assert found, kind
    if found[4]:
        return (kind, "") if kind.startswith("date") else (found[1], found[4])
    return found[1], found[2] or found[3] or ""


def _split(inside: str) -> list[str]:
    """At the commas outside of any brackets."""
    parts, depth = [""], 0
    for sign in inside:
        depth += {"<": 1, "(": 1, "[": 1, ">": -1, ")": -1, "]": -1}.get(sign, 0)
        if sign == "," and not depth:
            parts.append("")
        else:
            parts[-1] += sign
    return [part.strip() for part in parts]


def _type(field: str) -> str:
    """`item: int64 not null` -> int64; a map's bare type stays."""
    name, found, kind = field.partition(": ")
    return (kind if found and re.fullmatch(r"\w+", name) else field).removesuffix(" not null")


def _bits(cell: str) -> int:
    """The 64 bits of a float of 64, 32 or 16 bits; widening keeps the value, and a NaN a NaN."""
    raw = bytes.fromhex(cell)
    number = struct.unpack({8: ">d", 4: ">f", 2: ">e"}[len(raw)], raw)[0]
    return int.from_bytes(raw if len(raw) == 8 else struct.pack(">d", number), "big")
