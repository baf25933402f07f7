"""What do a Parquet, ORC, Avro or Excel file say, cell by cell? Two readers of each where two exist.

Parquet: Arrow and DuckDB. Avro: fastavro and Apache's avro. Excel: openpyxl and calamine. ORC: Arrow alone, since
every other reader that installs is the same C++ library.
"""

import math
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq

from reversible.errors import MissingSDKError, SourceError
from reversible_exporters.tabular_schema import Declared
from reversible_exporters.tabular_text import Row, Rows
from reversible_exporters.tabular_values import EPOCH, Fault, Nanoseconds, from_nanoseconds

_BATCH = 1 << 14
_EXTRA = "files"


# --- Arrow's files ----------------------------------------------------------------------------------------------


def parquet_by_arrow(path: Path, _: Declared) -> tuple[list[str], Rows]:
    """Parquet by Arrow."""
    file = pq.ParquetFile(path)
    return _of_batches(file.schema_arrow, file.iter_batches(_BATCH))


def parquet_by_duckdb(path: Path, _: Declared) -> tuple[list[str], Rows]:
    """Parquet by DuckDB, which shares no code with Arrow's reader; nothing may be fetched."""
    import glob

    import duckdb

    connection = duckdb.connect(
        config={"autoinstall_known_extensions": "false", "autoload_known_extensions": "false", "threads": "1"}
    )
    connection.execute("SET TimeZone = 'UTC'")
    found = connection.sql("SELECT * FROM read_parquet($1)", params=[glob.escape(str(path))])
    reader = found.to_arrow_reader(_BATCH)

    def batches() -> Iterator[pa.RecordBatch]:
        yield from reader
        connection.close()

    return _of_batches(reader.schema, batches())


def orc_by_arrow(path: Path, _: Declared) -> tuple[list[str], Rows]:
    """ORC by Arrow, stripe by stripe. It hands `char(n)` over with its padding, and `timestamp` without a zone."""
    from pyarrow import orc

    file = orc.ORCFile(path)
    return _of_batches(file.schema, (file.read_stripe(n) for n in range(file.nstripes)))


def _of_batches(schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> tuple[list[str], Rows]:
    def rows() -> Rows:
        for batch in batches:
            columns = [cells(values) for values in batch.columns]
            yield from (list(row) for row in zip(*columns, strict=True))

    return list(schema.names), rows()


def cells(values: pa.Array) -> list[Any]:
    """An Arrow array's values as Python's, without one that Python's types would round."""
    kind = values.type
    if pa.types.is_dictionary(kind):
        return cells(values.dictionary_decode())
    if pa.types.is_timestamp(kind):
        counts = values.cast(pa.int64()).to_pylist()
        scale = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}[kind.unit]
        return [_moment(None if one is None else one * scale, kind.tz is not None) for one in counts]
    if pa.types.is_time64(kind) and kind.unit == "ns":
        counts = values.cast(pa.int64()).to_pylist()
        return [_clock(one) for one in counts]
    if pa.types.is_nested(kind) or pa.types.is_duration(kind) or pa.types.is_interval(kind):
        return [None if one is None else Fault(str(one), "a type that no declared one holds") for one in _plain(values)]
    if pa.types.is_float16(kind) or pa.types.is_float32(kind):
        return [None if one is None else float(one) for one in values.to_pylist()]
    return [value if isinstance(value, _SIMPLE) else _strange(value) for value in values.to_pylist()]


_SIMPLE = (bool, int, float, str, bytes, Decimal, date, datetime, time, UUID, type(None))


def _strange(value: Any) -> Fault:
    return Fault(str(value), "a type that no declared one holds")


def _plain(values: pa.Array) -> list[Any]:
    """As text where Python has no such value: a moment with nanoseconds inside a list."""
    try:
        return list(values.to_pylist())
    except (ValueError, pa.ArrowException):
        return [str(one) if one.is_valid else None for one in values]


def _moment(count: int | None, zoned: bool) -> Any:
    try:
        return from_nanoseconds(count, zoned=zoned)
    except OverflowError:
        return Fault(f"{count} ns since 1970", "a year that is not between 1 and 9999")


def _clock(count: int | None) -> Any:
    if count is None:
        return None
    if count % 1000:
        return Nanoseconds(count)
    return (EPOCH + timedelta(microseconds=count // 1000)).time()


# --- Avro -------------------------------------------------------------------------------------------------------


def avro_by_fastavro(path: Path, _: Declared) -> tuple[list[str], Rows]:
    """Avro by fastavro."""
    try:
        import fastavro
    except ModuleNotFoundError as error:
        raise MissingSDKError("fastavro", extra=_EXTRA) from error
    with path.open("rb") as stream:
        schema = fastavro.reader(stream).writer_schema
    names = _fields(schema, path)

    def rows() -> Rows:
        with path.open("rb") as stream:
            for record in fastavro.reader(stream):
                yield [_of_avro(record[name]) for name in names]

    return names, rows()


def avro_by_apache(path: Path, _: Declared) -> tuple[list[str], Rows]:
    """Avro by Apache's own package."""
    try:
        from avro.datafile import DataFileReader
        from avro.io import DatumReader
    except ModuleNotFoundError as error:
        raise MissingSDKError("avro", extra=_EXTRA) from error
    import json

    with path.open("rb") as stream, DataFileReader(stream, DatumReader()) as reader:
        names = _fields(json.loads(reader.schema), path)

    def rows() -> Rows:
        with path.open("rb") as stream, DataFileReader(stream, DatumReader()) as reader:
            for record in reader:
                yield [_of_avro(record[name]) for name in names]

    return names, rows()


def _fields(schema: Any, path: Path) -> list[str]:
    if not isinstance(schema, dict) or schema.get("type") != "record":
        raise SourceError(f"{path.name}: its Avro schema is not a record: it has no columns")
    return [field["name"] for field in schema["fields"]]


def _of_avro(value: Any) -> Any:
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC)
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, _SIMPLE):
        return value
    return Fault(str(value), "a type that no declared one holds")


# --- Excel ------------------------------------------------------------------------------------------------------

_ERRORS = frozenset({"#NULL!", "#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!", "#N/A", "#GETTING_DATA"})
_PHANTOM = datetime(1900, 3, 1)  # noqa: DTZ001 - Excel's moments have no zone; its 1900 was a leap year


def excel_by_openpyxl(path: Path, declared: Declared) -> tuple[list[str], Rows]:
    """Excel by openpyxl: stored results, and a fault where a formula has none or a cell is an error."""
    try:
        import openpyxl
    except ModuleNotFoundError as error:
        raise MissingSDKError("openpyxl", extra=_EXTRA) from error
    stored = openpyxl.load_workbook(path, data_only=True)
    written = openpyxl.load_workbook(path, data_only=False)
    name = _sheet(stored.sheetnames, declared, path)
    old = stored.epoch.year == 1899  # 1900's own calendar; the other begins in 1904
    grid: list[Row] = []
    for results, formulas in zip(stored[name].iter_rows(), written[name].iter_rows(), strict=True):
        grid.append([_cell(one, other, old=old) for one, other in zip(results, formulas, strict=True)])
    return _headed(grid, declared, path)


def _cell(result: Any, formula: Any, *, old: bool) -> Any:
    value = result.value
    if formula.data_type == "f" and value is None:
        return Fault(str(getattr(formula.value, "text", formula.value)), "a formula without a stored result")
    if result.data_type == "e":
        return Fault(str(value), "an error of the spreadsheet")
    if isinstance(value, datetime) and old and value < _PHANTOM:
        return Fault(value.isoformat(), "a date before 1900-03-01: Excel counts a day that never was")
    if isinstance(value, timedelta):
        return Fault(str(value), "a duration")
    return value


def excel_by_calamine(path: Path, declared: Declared) -> tuple[list[str], Rows]:
    """Excel by calamine, a reader in Rust. It gives "" for an empty cell, an error and a formula without result."""
    try:
        import python_calamine
    except ModuleNotFoundError as error:
        raise MissingSDKError("python-calamine", extra=_EXTRA) from error
    book = python_calamine.CalamineWorkbook.from_path(path)
    name = _sheet(book.sheet_names, declared, path)
    grid = [
        [None if one == "" else one for one in row]
        for row in book.get_sheet_by_name(name).to_python(skip_empty_area=False)
    ]
    return _headed(grid, declared, path)


def other_sheets(path: Path, declared: Declared) -> list[str]:
    """The sheets that hold something and are not the one that is read: a copy of that one has nothing of theirs."""
    import python_calamine

    book = python_calamine.CalamineWorkbook.from_path(path)
    chosen = _sheet(book.sheet_names, declared, path)
    others = [one for one in book.sheets_metadata if one.name != chosen]
    work = python_calamine.SheetTypeEnum.WorkSheet
    return [one.name for one in others if one.typ != work or book.get_sheet_by_name(one.name).to_python()]


def _sheet(names: list[str], declared: Declared, path: Path) -> str:
    if declared.sheet is not None:
        if declared.sheet not in names:
            raise SourceError(f"{path.name} has no sheet {declared.sheet!r}: {', '.join(names)}")
        return declared.sheet
    if len(names) != 1:
        raise SourceError(f"{path.name} has {len(names)} sheets", hint=f'sheet = "{names[0]}"' if names else "")
    return names[0]


def _headed(grid: list[Row], declared: Declared, path: Path) -> tuple[list[str], Rows]:
    while grid and all(value is None for value in grid[-1]):
        grid.pop()  # rows that are only formatted
    if not grid:
        raise SourceError(f"{path.name}: the sheet is empty")
    width = max((n + 1 for row in grid for n, value in enumerate(row) if value is not None), default=0)
    if not declared.header:
        names = list(declared.columns)
        if width > len(names):
            raise SourceError(f"{path.name}: {width} columns hold values, and {len(names)} are declared")
        return names, iter([_wide(row, len(names)) for row in grid])
    names = ["" if one is None else str(one) for one in _wide(grid[0], width)]
    if twice := {name for name in names if names.count(name) > 1}:
        raise SourceError(f"{path.name}: two columns are called {sorted(twice)[0]!r}")
    return names, iter([_wide(row, width) for row in grid[1:]])


def _wide(row: Row, width: int) -> Row:
    return [*row[:width], *[None] * (width - len(row))]


def agree_in_excel(first: Any, second: Any) -> bool:
    """Whether openpyxl's and calamine's value are one: calamine has floats only, and "" for what is no value."""
    if isinstance(first, Fault):
        return (
            second is None or str(second) in _ERRORS or isinstance(second, datetime | date | time | timedelta | float)
        )
    if isinstance(first, bool) or isinstance(second, bool):
        return first is second
    if isinstance(first, int | float) and isinstance(second, int | float):
        return first == second or (math.isnan(first) and math.isnan(second))
    if isinstance(first, datetime) and type(second) is date:
        return first == datetime(second.year, second.month, second.day)  # noqa: DTZ001
    if isinstance(first, datetime) and isinstance(second, datetime):
        return abs(first - second) < timedelta(milliseconds=1)  # a serial number is a float64: both round it
    if isinstance(first, time) and isinstance(second, time):
        return abs(_since_midnight(first) - _since_midnight(second)) < 1e-3
    return bool(first == second) or (first == "" and second is None)


def _since_midnight(one: time) -> float:
    return one.hour * 3600 + one.minute * 60 + one.second + one.microsecond / 1e6
