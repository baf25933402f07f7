"""Which logical type does a column have, whatever stores it?

A family is text: "int", "bool", "float", "decimal:S" (S digits after the point), "date", "time", "timestamp" (no
zone), "timestamptz" (an instant), "duration", "interval", "text", "binary", "null", and nested: `list<int>`,
`map<text,int>`, `struct<"name":text,"price":decimal:2>` (names as JSON strings, sorted).
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import pyarrow as pa

_PLAIN = {
    "int": pa.int64(), "bool": pa.bool_(), "float": pa.float64(), "date": pa.date32(), "time": pa.time64("us"),
    "timestamp": pa.timestamp("us"), "timestamptz": pa.timestamp("us", "UTC"), "duration": pa.duration("us"),
    "interval": pa.month_day_nano_interval(), "text": pa.string(), "binary": pa.binary(), "null": pa.null(),
}  # fmt: skip
_DECIMAL = re.compile(r"decimal:(0|-?[1-9][0-9]{0,2})")
_WORD = re.compile(r"[a-z]+")
_DEPTH = 64  # nested types deeper than this are refused: nobody has them, and a forged plan must not exhaust the stack
_CHECKS = {
    "bool": (pa.types.is_boolean,),
    "int": (pa.types.is_integer,),
    "float": (pa.types.is_floating,),
    "date": (pa.types.is_date,),
    "time": (pa.types.is_time,),
    "duration": (pa.types.is_duration,),
    "interval": (pa.types.is_interval,),
    "text": (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view),
    "binary": (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary, pa.types.is_binary_view),
    "null": (pa.types.is_null,),
}


@dataclass(frozen=True)
class Family:
    """A family taken apart: `kind` is its first word, `scale` a decimal's, `fields` the parts of a nested one.

    Fields have names in a struct; a list has the one field "item", a map "key" and "value".
    """

    kind: str
    text: str
    scale: int = 0
    fields: tuple[tuple[str, "Family"], ...] = ()

    @property
    def seeded(self) -> str:
        """Its name in a seed. Integers and decimals without digits after the point are one; what is inside a nested
        family has seeds of its own."""
        if self.kind == "decimal":
            return self.text if self.scale else "int"
        return self.kind


@lru_cache(maxsize=4096)
def parse(text: str) -> Family:
    """Take a family apart.

    Raises:
        ValueError: there is no such family, or it is not in its one canonical form.
    """
    found, rest = _parse(text, 0)
    if rest or found.text != text:
        raise ValueError(f"no such family: {text[:200]!r}")
    return found


@lru_cache(maxsize=1024)
def family(arrow_type: pa.DataType) -> str:
    """The family of an Arrow type as it stands in a file.

    Raises:
        ValueError: it has none (a union), or a struct has two fields of one name.
    """
    types = pa.types
    if isinstance(arrow_type, pa.BaseExtensionType):
        return family(arrow_type.storage_type)
    if types.is_dictionary(arrow_type) or types.is_run_end_encoded(arrow_type):
        return family(arrow_type.value_type)
    if types.is_decimal(arrow_type):
        return f"decimal:{arrow_type.scale}"
    if types.is_timestamp(arrow_type):
        return "timestamp" if arrow_type.tz is None else "timestamptz"
    if types.is_map(arrow_type):
        return f"map<{family(arrow_type.key_type)},{family(arrow_type.item_type)}>"
    if is_list(arrow_type):
        return f"list<{family(arrow_type.value_type)}>"
    if types.is_struct(arrow_type):
        return _struct(
            (arrow_type.field(n).name, family(arrow_type.field(n).type)) for n in range(arrow_type.num_fields)
        )
    for name, belongs in _CHECKS.items():
        if any(check(arrow_type) for check in belongs):
            return name
    raise ValueError(f"{arrow_type} has no family")


def is_list(arrow_type: pa.DataType) -> bool:
    """Any list but a map: large, fixed-size and view lists too."""
    types = pa.types
    return bool(
        types.is_list(arrow_type) or types.is_large_list(arrow_type) or types.is_fixed_size_list(arrow_type)
        or types.is_list_view(arrow_type) or types.is_large_list_view(arrow_type)
    )  # fmt: skip


def arrow_type(text: str) -> pa.DataType:
    """One Arrow type of the family: for a column of NULLs, and to cast to."""
    one = parse(text)
    if one.kind == "decimal":
        return pa.decimal128(38, one.scale)
    if one.kind == "list":
        return pa.list_(arrow_type(one.fields[0][1].text))
    if one.kind == "map":
        return pa.map_(*(arrow_type(part.text) for _, part in one.fields))
    if one.kind == "struct":
        return pa.struct([(name, arrow_type(part.text)) for name, part in one.fields])
    return _PLAIN[one.kind]


def _struct(fields: Iterable[tuple[str, str]]) -> str:
    listed = sorted(fields)  # by name; names are unique, so families never decide
    if len({name for name, _ in listed}) != len(listed):
        raise ValueError("a struct has two fields of one name")
    return f"struct<{','.join(f'{json.dumps(name, ensure_ascii=False)}:{kind}' for name, kind in listed)}>"


def _parse(text: str, depth: int) -> tuple[Family, str]:
    """The family at the start of the text, and what follows it."""
    if depth > _DEPTH:
        raise ValueError("a family is nested too deeply")
    decimal = _DECIMAL.match(text)
    if decimal:
        return Family("decimal", decimal[0], int(decimal[1])), text[decimal.end() :]
    word = _WORD.match(text)
    kind = word[0] if word else ""
    if kind in _PLAIN:
        return Family(kind, kind), text[len(kind) :]
    if kind not in ("list", "map", "struct") or not text.startswith(f"{kind}<"):
        raise ValueError(f"no such family: {text[:200]!r}")
    rest = text[len(kind) + 1 :]
    fields: list[tuple[str, Family]] = []
    while not rest.startswith(">"):
        if fields:
            rest = _after(rest, ",")
        name = {"list": "item", "map": "value" if fields else "key"}.get(kind, "")
        if kind == "struct":
            if not rest.startswith('"'):
                raise ValueError(f"no such family: a field's name expected before {rest[:100]!r}")
            name, end = json.JSONDecoder().raw_decode(rest)
            rest = _after(rest[end:], ":")
        part, rest = _parse(rest, depth + 1)
        fields.append((name, part))
    if kind != "struct" and len(fields) != {"list": 1, "map": 2}[kind]:
        raise ValueError(f"no such family: {text[:200]!r}")
    inside = ",".join(part.text for _, part in fields)
    canonical = _struct((name, part.text) for name, part in fields) if kind == "struct" else f"{kind}<{inside}>"
    return Family(kind, canonical, fields=tuple(fields)), rest[1:]


def _after(text: str, sign: str) -> str:
    if not text.startswith(sign):
        raise ValueError(f"no such family: {sign!r} expected before {text[:100]!r}")
    return text[1:]
