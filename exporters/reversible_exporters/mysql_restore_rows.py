"""How is a row of Parquet written so that MySQL stores the very value that it held?"""

import base64
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from reversible_exporters.mysql_session import quote

_SIZE = 1 << 20  # characters of one INSERT: far below the smallest max_allowed_packet in use
_BATCH_ROWS = 1 << 13
_LENIENT = "ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO"
STRICT = f"{_LENIENT},STRICT_ALL_TABLES"


def inserts(part: Path, document: Mapping[str, Any], table: str) -> Iterator[tuple[list[str], int]]:
    """Statements, and how many rows they put back. An ENUM's error value is refused in strict mode: it is set aside."""
    columns = [column for column in document["columns"] if not column["generated"]]
    odd = _exceptions(part)
    names = ", ".join(quote(column["name"]) for column in columns)
    head = f"INSERT INTO {table} ({names}) VALUES\n"
    start = 0
    with pq.ParquetFile(part) as file:
        for batch in file.iter_batches(_BATCH_ROWS):
            literals = [_literals(batch.column(column["name"]), column, odd, start) for column in columns]
            pending: list[str] = []
            size = 0
            for row in zip(*literals, strict=True):
                pending.append(f"({', '.join(row)})")
                size += len(pending[-1])
                if size > _SIZE:
                    yield _whole(head, pending), len(pending)
                    pending, size = [], 0
            if pending:
                yield _whole(head, pending), len(pending)
            start += batch.num_rows


def _whole(head: str, rows: Sequence[str]) -> list[str]:
    plain = [row for row in rows if _ERROR_VALUE not in row]
    strange = [row.replace(_ERROR_VALUE, "0") for row in rows if _ERROR_VALUE in row]
    found = [head + ",\n".join(plain)] if plain else []
    if strange:
        found += [f"SET sql_mode = '{_LENIENT}'", head + ",\n".join(strange), f"SET sql_mode = '{STRICT}'"]
    return found


_ERROR_VALUE = "\x00error value\x00"  # no literal below holds a NUL


def _exceptions(part: Path) -> dict[tuple[int, str], str]:
    path = part.with_name(part.name.replace(".parquet", ".exceptions.parquet"))
    if not path.exists():
        return {}
    return {(one["row"], one["column"]): one["text"] for one in pq.read_table(path).to_pylist()}


def _literals(values: pa.Array, column: Mapping[str, Any], odd: Mapping[tuple[int, str], str], start: int) -> list[str]:
    write = _writer(column["family"])
    found = ["NULL" if value is None else write(value) for value in _plain(values)]
    for row in range(len(found)):
        text = odd.get((start + row, column["name"]))
        if text is not None:
            found[row] = _exception(text, column)
    return found


def _plain(values: pa.Array) -> list[Any]:
    """Python values that lose nothing: moments as their text."""
    if pa.types.is_timestamp(values.type):
        values = values.cast(pa.int64()).cast(pa.timestamp("us"))
    if pa.types.is_temporal(values.type):
        values = values.cast(pa.string())
    return list(values.to_pylist())


def _writer(family: str) -> Callable[[Any], str]:
    kind = family.partition(":")[0]
    if kind == "text":
        return _text
    if kind == "binary":
        return lambda value: f"x'{value.hex()}'"
    if kind == "float":
        return _float
    if kind in ("int", "decimal"):
        return lambda value: format(value, "f") if kind == "decimal" else str(value)
    return lambda value: f"'{value}'"


def _text(value: str) -> str:
    return f"_utf8mb4 x'{value.encode().hex()}'"


def _float(value: float) -> str:
    if value == 0 and str(value).startswith("-"):
        return "(-1e0 * 0e0)"  # the literal -0e0 is 0
    text = repr(value)
    return text if "e" in text else f"{text}e0"


def _exception(text: str, column: Mapping[str, Any]) -> str:
    if column["family"] != "text":
        return f"'{text}'"
    if column["source_type"] == "json":
        return _typed_json(text)
    if column["source_type"] == "json":
        return _typed_json(text)
    if text.startswith("0x"):
        return f"_{column['charset']} {text}"
    return text if text != "0" else _ERROR_VALUE


def _typed_json(text: str) -> str:
    """MySQL's JSON with the types that its text does not tell: `text` is what `mysql_types` asks for."""
    plain, _, told = text.partition("\n")
    found = f"CAST({_text(plain)} AS JSON)"
    typed = [(place, _typed(kind, own)) for place, kind, own in json.loads(told)]
    changes = ", ".join(f"{_text(place)}, {value}" for place, value in typed)
    return f"JSON_SET({found}, {changes})"


_BYTES = {249: "TINYBLOB", 250: "MEDIUMBLOB", 251: "LONGBLOB", 252: "BLOB"}  # enum_field_types


def _typed(kind: str, own: str) -> str:
    """A value inside JSON: JSON_TABLE gives it the type of a column, which literals and CAST do not all have."""
    raw = _text(own)
    if kind == "DECIMAL":
        digits = own.lstrip("-")
        whole, _, part = digits.partition(".")
        sort = f"DECIMAL({len(whole) + len(part)}, {len(part)})"
    elif own.startswith("base64:type"):
        number, _, coded = own.removeprefix("base64:type").partition(":")
        content = base64.b64decode(coded)
        raw = f"x'{content.hex()}'"
        if kind == "BIT":
            sort, raw = f"BIT({8 * len(content)})", str(int.from_bytes(content, "big"))
        else:
            fixed = "BINARY" if number == "254" else "VARBINARY"
            sort = _BYTES.get(int(number), f"{fixed}({max(1, len(content))})")
    else:
        sort = kind if kind == "DATE" else f"{kind}(6)"  # TIME, DATETIME, TIMESTAMP
    table = f"JSON_TABLE(JSON_ARRAY({raw}), '$[0]' COLUMNS (v {sort} PATH '$'))"
    return f"(SELECT JSON_EXTRACT(JSON_ARRAY(v), '$[0]') FROM {table} one)"  # noqa: S608 - digits and x'' literals
