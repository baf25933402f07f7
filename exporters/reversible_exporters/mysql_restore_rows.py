"""How is a row of Parquet written so that MySQL stores the very value that it held?"""

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
        return lambda value: f"_utf8mb4 x'{value.encode().hex()}'"
    if kind == "binary":
        return lambda value: f"x'{value.hex()}'"
    if kind == "float":
        return _float
    if kind in ("int", "decimal"):
        return lambda value: format(value, "f") if kind == "decimal" else str(value)
    return lambda value: f"'{value}'"


def _float(value: float) -> str:
    if value == 0 and str(value).startswith("-"):
        return "(-1e0 * 0e0)"  # the literal -0e0 is 0
    text = repr(value)
    return text if "e" in text else f"{text}e0"


def _exception(text: str, column: Mapping[str, Any]) -> str:
    if column["family"] != "text":
        return f"'{text}'"
    if text.startswith("0x"):
        return f"_{column['charset']} {text}"
    return text if text != "0" else _ERROR_VALUE
