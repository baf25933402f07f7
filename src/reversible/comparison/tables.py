"""Which rows lie in these Parquet files, cell by cell, with what a typed column could not hold put back?

One file, a directory of files, or a table of a bundle ("BUNDLE#schema.table"). The sidecar of a part,
`part-00000.exceptions.parquet`, is applied wherever it lies beside it (docs/bundle-format.md, "A table").
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from reversible import fingerprint
from reversible.assets import Asset, Kind
from reversible.bundle.reader import Bundle
from reversible.comparison.classes import Exceptional, Plain
from reversible.errors import BundleError, UsageError
from reversible.fingerprint import Cells, Column

BATCH_ROWS = 1 << 16
SIDECAR = ".exceptions.parquet"


@dataclass(frozen=True)
class Table:
    """The files of one table, and what their owner says of the columns.

    `types` maps a column to its physical type in words: two tables may differ there and hold the same values.
    `strange` maps a column that cannot be compared to the reason.
    """

    name: str
    parts: tuple[Path, ...]
    columns: tuple[Column, ...]
    types: Mapping[str, str]
    rows: int
    key: tuple[str, ...] = ()
    strange: Mapping[str, str] = field(default_factory=dict)

    def only(self, columns: Sequence[Column]) -> "Table":
        """The same files, read for these columns in these families."""
        return replace(self, columns=tuple(columns))

    def batches(self) -> Iterator[tuple[dict[str, Cells], int]]:
        """The cells by column name, a batch at a time, part after part, with the number of rows.

        Raises:
            BundleError: a file cannot be read.
        """
        for part in self.parts:
            yield from batches(part, self.columns)


def open_table(where: str) -> Table:
    """The table at a path: a Parquet file, a directory of them, or "BUNDLE#asset".

    Raises:
        UsageError: there is no such path, or no such table.
        BundleError: what is there cannot be read.
    """
    place, _, asset = where.partition("#")
    if asset and not Path(where).exists():
        return _of_bundle(Path(place), asset)
    path = Path(where)
    if path.is_file():
        return _of_files(where, [path])
    if not path.is_dir():
        raise UsageError(f"{where}: no such file or directory")
    if (path / "data/bundle.json").is_file():
        names = [one.name for one in Bundle.open(path).assets if one.kind is Kind.TABLE]
        raise UsageError(f"{where} is a bundle: say which table", hint=f"'{where}#{names[0] if names else 'TABLE'}'")
    files = sorted(one for one in path.rglob("*.parquet") if not one.name.endswith(SIDECAR) and one.is_file())
    if not files:
        raise UsageError(f"{where}: no Parquet file lies there")
    return _of_files(where, files)


def of_asset(asset: Asset, bundle: Bundle) -> Table:
    """A table of a bundle, as its table.json declares it.

    Raises:
        BundleError: its files or table.json cannot be read.
    """
    document = bundle.document(asset, "table.json")
    try:
        columns = tuple(Column(one["name"], one["family"]) for one in document["columns"])
        key = tuple(document.get("primary_key") or ())
        types = {one["name"]: str(one.get("source_type") or one["family"]) for one in document["columns"]}
        expected = [one["name"] for one in document["columns"]] or [document["placeholder"]]
    except (KeyError, TypeError) as error:
        raise BundleError(f"{asset.id}: table.json is not whole: {error!r}") from error
    files = tuple(part for part in bundle.parts(asset) if not part.name.endswith(SIDECAR))
    if not files:
        raise BundleError(f"{asset.id}: the bundle holds no part-00000.parquet")
    for number, file in enumerate(files):
        if file.name != f"part-{number:05d}.parquet":
            raise BundleError(f"{asset.id}: a part is missing before {file.name}")
        with reading(file):
            names = pq.read_schema(file).names
        if sorted(names) != sorted(expected):
            raise BundleError(f"{asset.id}: the columns of {file.name} are not those of table.json")
    return Table(asset.name, files, columns, types, _rows(files), key)


def _of_bundle(place: Path, name: str) -> Table:
    bundle = Bundle.open(place)
    tables = [asset for asset in bundle.assets if asset.kind is Kind.TABLE]
    found = [asset for asset in tables if name in (asset.name, asset.id)]
    if len(found) != 1:
        known = ", ".join(sorted(asset.name if not found else asset.id for asset in tables)[:5])
        raise UsageError(f"{place}: {len(found) or 'no'} tables are called {name!r}", hint=f"there are: {known}")
    return of_asset(found[0], bundle)


def _of_files(name: str, files: Sequence[Path]) -> Table:
    described = files[0].parent / "table.json"
    with reading(files[0]):
        schema = pq.read_schema(files[0])
    for file in files[1:]:
        with reading(file):
            other = pq.read_schema(file)
        if not schema.equals(other, check_metadata=False):
            raise BundleError(f"{file.name}: its columns are not those of {files[0].name}")
    if len(set(schema.names)) != len(schema.names):
        raise BundleError(f"{files[0].name}: two columns have one name")
    known = {field.name: _family(field.type) for field in schema}
    families = {name: kind for name, kind in known.items() if kind is not None}
    strange = {field.name: f"{field.type} has no fingerprint" for field in schema if field.name not in families}
    key: tuple[str, ...] = ()
    if described.is_file():  # the folder of a bundle's table
        with reading(described):
            document = json.loads(described.read_bytes())
        families |= {one["name"]: one["family"] for one in document["columns"] if one["name"] in families}
        key = tuple(document.get("primary_key") or ())
        if document.get("placeholder"):
            families.pop(document["placeholder"], None)
    columns = tuple(Column(one, kind) for one, kind in families.items())
    types = {field.name: str(field.type) for field in schema}
    return Table(name, tuple(files), columns, types, _rows(files), key, strange)


def _rows(files: Sequence[Path]) -> int:
    total = 0
    for file in files:
        with reading(file):
            total += int(pq.read_metadata(file).num_rows)
    return total


def _family(arrow_type: pa.DataType) -> str | None:
    try:
        return fingerprint.family(arrow_type)
    except ValueError:
        return None


# --- cells ------------------------------------------------------------------------------------------------------


def exceptions(part: Path) -> dict[str, dict[int, str]]:
    """The sidecar of a part: column -> row in the part -> the source's text; empty when there is none.

    Raises:
        BundleError: it cannot be read, or says two things about one cell.
    """
    path = part.with_name(part.name.replace(".parquet", SIDECAR))
    found: dict[str, dict[int, str]] = {}
    if not path.exists():
        return found
    with reading(path):
        table = pq.read_table(path)
        listed = zip(table["row"].to_pylist(), table["column"].to_pylist(), table["text"].to_pylist(), strict=True)
        for row, column, text in listed:
            if row in found.setdefault(column, {}) or text is None:
                raise BundleError(f"{path.name}: row {row}, column {column} stands there twice or without text")
            found[column][row] = text
    return found


def batches(part: Path, columns: Sequence[Column]) -> Iterator[tuple[dict[str, Cells], int]]:
    """The part's cells by column name, a batch at a time, with the number of rows; only these columns.

    Raises:
        BundleError: the file cannot be read.
    """
    odd = exceptions(part)
    start = 0
    with reading(part), pq.ParquetFile(part, pre_buffer=False, read_dictionary=_repeated(part)) as file:
        present = [column.name for column in columns if column.name in set(file.schema_arrow.names)]
        tops = {name.partition(".")[0]: name for name in present}
        narrow = present if len(tops) == len(present) and not any("." in name for name in present) else None
        for batch in file.iter_batches(BATCH_ROWS, columns=narrow or None, use_threads=False):
            rows = batch.num_rows
            values = dict(zip(batch.schema.names, batch.columns, strict=True))
            cells = {}
            for column in columns:
                here = {
                    row - start: text for row, text in odd.get(column.name, {}).items() if start <= row < start + rows
                }
                cells[column.name] = as_declared(values.get(column.name), column.family, here, rows)
            yield cells, rows
            start += rows
        if any(row >= start for rows_of in odd.values() for row in rows_of):
            raise BundleError(f"{part.name}: an exception lies beyond the last row")


def _repeated(part: Path) -> list[str]:
    """Texts that repeat, by their size in the file: read as dictionaries, they cost a fraction to decode and hash."""
    metadata = pq.read_metadata(part)
    if not metadata.num_row_groups:
        return []
    group = metadata.row_group(0)
    columns = [group.column(n) for n in range(group.num_columns)]
    return [
        one.path_in_schema
        for one in columns
        if one.physical_type == "BYTE_ARRAY"
        and one.total_uncompressed_size < 4 * one.num_values
        and "." not in one.path_in_schema  # not within a nested column
    ]


def as_declared(values: pa.Array | None, family: str, odd: Mapping[int, str], rows: int) -> Cells:
    """A column as its declared family. What is of another family becomes text set aside: it equals no typed value."""
    declared = fingerprint.arrow_type(family)
    if values is None:
        return Cells(pa.nulls(rows, declared), odd)
    try:
        found = fingerprint.family(values.type)
        if found == family:
            return Cells(values, odd)
        if found.startswith("decimal:") and family.startswith("decimal:"):
            return Cells(values.cast(declared), odd)
        texts = values.cast(pa.string()).to_pylist()
    except (ValueError, pa.ArrowNotImplementedError):
        texts = [None if value is None else as_json(value) for value in values.to_pylist()]
    strange = {row: text for row, text in enumerate(texts) if text is not None}
    return Cells(pa.nulls(rows, declared), {**strange, **odd})


def as_json(value: Any) -> str:
    """A nested value as text, the same for the same value: keys sorted, numbers exact, bytes in hex."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=_plain_json)


def _plain_json(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    return {type(value).__name__: str(value)}


# --- single values ----------------------------------------------------------------------------------------------


def plain(cells: Cells, family: str, rows: Sequence[int]) -> list[Plain]:
    """The values of these rows as `classes` wants them: days and microseconds as whole numbers."""
    values = cells.values
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    taken = values.take(pa.array(rows, pa.int64()))
    if pa.types.is_dictionary(taken.type):
        taken = taken.dictionary_decode()
    if family == "date":
        taken = taken.cast(pa.date32()).cast(pa.int32())
    elif family in ("time", "timestamp", "timestamptz", "duration"):
        return _with_exceptions(_microseconds(taken), cells, rows)
    elif family == "float":
        taken = taken.cast(pa.float64())
    elif family.startswith("decimal:") and pa.types.is_integer(taken.type):
        taken = taken.cast(pa.decimal128(38, 0)).cast(fingerprint.arrow_type(family))
    elif pa.types.is_nested(taken.type) or family == "interval":
        return _with_exceptions([None if one is None else as_json(one) for one in taken.to_pylist()], cells, rows)
    return _with_exceptions(taken.to_pylist(), cells, rows)


def _microseconds(values: pa.Array) -> list[Plain]:
    """Whole microseconds as int; a value with nanoseconds left as a Decimal of microseconds."""
    if values.type.unit != "ns":
        scale = {"s": 1_000_000, "ms": 1_000, "us": 1}[values.type.unit]
        wide = pa.int32() if values.type.bit_width == 32 else pa.int64()
        return [None if one is None else one * scale for one in values.cast(wide).to_pylist()]
    return [
        None if one is None else one // 1000 if one % 1000 == 0 else Decimal(one) / 1000
        for one in values.cast(pa.int64()).to_pylist()
    ]


def _with_exceptions(found: list[Plain], cells: Cells, rows: Sequence[int]) -> list[Plain]:
    if cells.exceptions:
        found = [
            Exceptional(cells.exceptions[row]) if row in cells.exceptions else value
            for row, value in zip(rows, found, strict=True)
        ]
    return found


def cells_of(values: Sequence[Plain], family: str) -> Cells:
    """The reverse of `plain`: values that were guessed, ready to be hashed."""
    odd: dict[int, str] = {}
    bare = values
    if Exceptional in set(map(type, values)):  # a million guesses pass here: no loop of Python's over them
        odd = {row: value.text for row, value in enumerate(values) if isinstance(value, Exceptional)}
        bare = [None if isinstance(value, Exceptional) else value for value in values]
    if family == "date":
        return Cells(pa.array(bare, pa.int32()).cast(pa.date32()), odd)
    declared = fingerprint.arrow_type(family)
    if family.startswith("decimal:"):  # a guess may have more digits than the column: it then equals nothing there
        declared = pa.decimal256(76, declared.scale)
    if family in ("time", "timestamp", "timestamptz", "duration"):
        return Cells(pa.array(bare, pa.int64()).cast(declared), odd)
    return Cells(pa.array(bare, declared), odd)


def shown(value: Plain, family: str = "", *, most: int = 60) -> str:
    """A value as its owner would write it: dates and times in ISO 8601, bytes in hex, NULL; cut when it is long."""
    text = _text(value, family)
    if isinstance(value, str) and (not text or text != text.strip() or not text.isprintable()):
        text = json.dumps(text, ensure_ascii=False)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _text(value: Plain, family: str) -> str:
    import datetime as dt

    if value is None:
        return "NULL"
    if isinstance(value, Exceptional):
        return value.text
    if isinstance(value, bytes):
        return f"0x{value.hex()}"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, str):
        return value
    try:
        if family == "date":
            return (dt.date(1970, 1, 1) + dt.timedelta(days=value)).isoformat()
        if family == "time":
            return str((dt.datetime(1970, 1, 1) + dt.timedelta(microseconds=value)).time())  # noqa: DTZ001 - no zone
        if family in ("timestamp", "timestamptz"):
            moment = dt.datetime(1970, 1, 1) + dt.timedelta(microseconds=value)  # noqa: DTZ001 - the zone is appended
            return f"{moment.isoformat(' ')}{'+00' if family == 'timestamptz' else ''}"
    except OverflowError:  # beyond the year 9999
        return f"{value} {'days' if family == 'date' else 'us'} since 1970"
    return str(value)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what pyarrow says about a broken file into an error that names it.

    Raises:
        BundleError: the file is not Parquet, cut short, or encrypted.
    """
    try:
        yield
    except (pa.ArrowException, OSError, KeyError, json.JSONDecodeError) as error:
        said = str(error).strip().splitlines()
        raise BundleError(f"{path.name} cannot be read: {said[0] if said else type(error).__name__}") from error
