"""What would change if this file became Parquet with the schema that its owner declares?

The file is read by two programs; each value goes into the declared type where that holds it exactly, and else stands
beside its column in the file's own words with the reason. `conversion.json` is the verdict: per column what was held,
missing, written otherwise or set aside, and every cell of which the two readers say different things.
"""

import hashlib
import secrets
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Context, Decimal
from functools import reduce
from itertools import islice, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from reversible import fingerprint
from reversible.assets import Asset
from reversible.errors import ReversibleError, SourceError
from reversible.fingerprint import Cells, Plan
from reversible.interfaces import Witness
from reversible_exporters import table_parts, tabular_binary, tabular_text
from reversible_exporters.table_parts import Block
from reversible_exporters.tabular_schema import Declared
from reversible_exporters.tabular_text import Row, Rows
from reversible_exporters.tabular_values import Fault, hold, spelled

if TYPE_CHECKING:
    from reversible.bundle.writer import BundleWriter

Reader = Callable[[Path, Declared], tuple[list[str], Rows]]
_LARGEST = 1 << 30  # bytes of a file of text or of Excel: its readers hold it whole
_BLOCK_ROWS = 1 << 14
_PART_ROWS = 500_000
_LISTED = 1_000  # exceptions and disagreements that conversion.json spells out; the sidecar has all exceptions


def _lines(reader: Callable[..., tuple[list[str], Rows]]) -> tuple[Reader, Reader]:
    def array(path: Path, declared: Declared) -> tuple[list[str], Rows]:
        return reader(path, declared, lines=False)

    def lines(path: Path, declared: Declared) -> tuple[list[str], Rows]:
        return reader(path, declared, lines=True)

    return array, lines


_PYTHON, _OURS = _lines(tabular_text.json_by_python), _lines(tabular_text.json_by_us)
READERS: dict[str, tuple[tuple[str, Reader], ...]] = {
    "csv": (("RFC 4180 by us", tabular_text.csv_by_us), ("Arrow", tabular_text.csv_by_arrow)),
    "json": (("Python's json", _PYTHON[0]), ("RFC 8259 by us", _OURS[0])),
    "ndjson": (("Python's json", _PYTHON[1]), ("RFC 8259 by us", _OURS[1])),
    "parquet": (("Arrow", tabular_binary.parquet_by_arrow), ("DuckDB", tabular_binary.parquet_by_duckdb)),
    "avro": (("fastavro", tabular_binary.avro_by_fastavro), ("Apache avro", tabular_binary.avro_by_apache)),
    "orc": (("Arrow", tabular_binary.orc_by_arrow),),
    "xlsx": (("openpyxl", tabular_binary.excel_by_openpyxl), ("calamine", tabular_binary.excel_by_calamine)),
}


@dataclass
class Verdict:
    """What the conversion changes. `exact`: nothing was set aside, and two readers read the same."""

    file: str
    format: str
    readers: tuple[str, ...]
    rows: int = 0
    notes: list[str] = field(default_factory=list)
    left_out: tuple[str, ...] = ()
    missing: Counter[str] = field(default_factory=Counter)
    respelled: Counter[str] = field(default_factory=Counter)
    set_aside: Counter[tuple[str, str]] = field(default_factory=Counter)  # (column, why)
    listed: list[dict[str, Any]] = field(default_factory=list)
    disagreements: int = 0
    disagreeing: list[dict[str, Any]] = field(default_factory=list)

    @property
    def exact(self) -> bool:
        return self.unchanged and len(self.readers) > 1

    @property
    def unchanged(self) -> bool:
        """Whether no reader found anything that the columns do not hold."""
        return not (self.set_aside or self.disagreements or self.left_out)

    def to_json(self, declared: Declared) -> dict[str, Any]:
        columns = {
            name: {
                "type": column.type, "missing": self.missing[name], "respelled": self.respelled[name],
                "set_aside": {why: n for (of, why), n in sorted(self.set_aside.items()) if of == name},
            }
            for name, column in declared.columns.items()
        }  # fmt: skip
        return {
            "format": "reversible-conversion/1", "file": self.file, "file_format": self.format, "exact": self.exact,
            "readers": list(self.readers), "rows": self.rows, "columns": columns, "left_out": list(self.left_out),
            "notes": self.notes, "set_aside": self.set_aside.total(), "first_set_aside": self.listed,
            "disagreements": self.disagreements, "first_disagreements": self.disagreeing,
        }  # fmt: skip


def convert(path: Path, declared: Declared, asset: Asset, into: "BundleWriter", *, name: str = "") -> Verdict:
    """Write the file as table parts, with table.json and conversion.json, and say what that changes.

    Raises:
        SourceError: the file cannot be read as what it should be, or has a column that is not declared.
    """
    file = name or path.name
    kind = declared.format_of(file)
    readers = READERS[kind]
    _bounded(path, kind, file)
    verdict = Verdict(file, kind, tuple(label for label, _ in readers))
    schema = _schema(declared)
    with _reading(file):
        if kind in ("csv", "json", "ndjson"):
            verdict.notes = tabular_text.notes(path, declared)
        rows = (first for first, _ in _pairs(path, declared, verdict))
        blocks = (block for block, _ in _blocks(rows, declared, schema, verdict))
        verdict.rows = table_parts.write_parts(blocks, schema, asset, into, part_rows=_PART_ROWS)
        if kind == "xlsx":
            sheets = (f"sheet {one!r}" for one in tabular_binary.other_sheets(path, declared))
            verdict.left_out = (*verdict.left_out, *sheets)
    document = {**verdict.to_json(declared), "sha256": _digest(path)}
    into.put_json(f"{asset.folder}/conversion.json", document)
    into.put_json(f"{asset.folder}/table.json", _described(file, kind, declared, verdict.rows))
    return verdict


def witness(path: Path, declared: Declared, *, name: str = "", rows: int | None = None) -> Witness:
    """What the second reader says of the file: rows, totals and a fingerprint; of ORC the first one must do.

    Where the second has no words for a cell (Arrow leaves a ragged row out, calamine gives no formula), the first's
    stand.

    Args:
        path: The file.
        declared: Its columns.
        name: What the file is called, where `path` does not say it.
        rows: About how many rows it has, when that is known: it only decides the grain of the fingerprint.

    Raises:
        SourceError: the file cannot be read.
    """
    file = name or path.name
    readers = READERS[declared.format_of(file)]
    families = tuple(fingerprint.Column(one, column.family) for one, column in declared.columns.items())
    schema, scratch = _schema(declared), Verdict(file, declared.format_of(file), tuple(label for label, _ in readers))
    with _reading(file):
        if rows is None:
            rows = sum(1 for _ in readers[-1][1](path, declared)[1])
        plan = Plan(secrets.token_hex(32), families, (), fingerprint.buckets_for(rows))
        sums = fingerprint.Accumulator(plan)
        tallies = {one: Tally(column.family) for one, column in declared.columns.items()}
        seconds = (second for _, second in _pairs(path, declared, scratch))
        for block, _ in _blocks(seconds, declared, schema, scratch):
            odd: dict[str, dict[int, str]] = {one: {} for one in declared.columns}
            for row, column, text in block.exceptions:
                odd[column][row] = text
            cells = {one: Cells(block.batch.column(n), odd[one]) for n, one in enumerate(declared.columns)}
            for one, tally in tallies.items():
                tally.add(cells[one])
            sums.add(cells, block.batch.num_rows)
        found = sums.result()
    described = [{"name": one, "source_type": of.type, "nullable": True} for one, of in declared.columns.items()]
    alone = ": no second reader exists" if len(readers) == 1 else ""
    return Witness(
        method=f"the same bytes, read again by {readers[-1][0]}{alone}",
        facts={
            "rows": found.rows, "columns": described, "constraints": [], "fingerprint": found.to_json(),
            "totals": {one: tally.figures() for one, tally in tallies.items()}, "sha256": _digest(path),
        },
        tables=found.to_tables(),
    )  # fmt: skip


# --- two readers, row by row ------------------------------------------------------------------------------------


def _pairs(path: Path, declared: Declared, verdict: Verdict) -> Iterator[tuple[Row, Row]]:
    """Each row as the two readers have it, in the declared order; what they disagree on is noted in the verdict."""
    readers = READERS[verdict.format]
    first = _rows(path, declared, readers[0][1], verdict)
    second = _rows(path, declared, readers[-1][1], verdict) if len(readers) > 1 else None
    if second is None:
        verdict.notes = [*verdict.notes, f"{readers[0][0]} is the only reader: nothing contradicts it"]
        yield from ((row, row) for row in first)
        return
    agree = tabular_binary.agree_in_excel if verdict.format == "xlsx" else _same
    for number, (left, right) in enumerate(zip_longest(first, second)):
        if left is None or right is None:
            raise SourceError(f"{verdict.file}: one reader finds more rows than the other, from row {number + 1} on")
        yield left, _compared(number, left, right, declared, verdict, agree)


def _compared(
    number: int, left: Row, right: Row, declared: Declared, verdict: Verdict, agree: Callable[[Any, Any], bool]
) -> Row:
    """The second reader's row, with the first's words where it has none."""
    if not right:  # a row that Arrow leaves out: ours must have found fault with it too
        right = left if any(isinstance(one, Fault) for one in left) else [None] * len(left)
    merged: Row = []
    for name, one, other in zip(declared.columns, left, right, strict=True):
        same = agree(one, other)
        if not same:
            verdict.disagreements += 1
            if len(verdict.disagreeing) < _LISTED:
                said = {"row": number + 1, "column": name, "first": _shown(one), "second": _shown(other)}
                verdict.disagreeing.append(said)
        merged.append(one if same and (isinstance(one, Fault) or verdict.format == "xlsx") else other)
    return merged


def _same(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    return bool(one == other and repr(one) == repr(other)) or (one != one and other != other)


def _shown(value: Any) -> str:
    return "missing" if value is None else spelled(value)[:200]


def _rows(path: Path, declared: Declared, reader: Reader, verdict: Verdict) -> Rows:
    """One reader's rows in the declared order.

    Raises:
        SourceError: the file's columns are not the declared ones.
    """
    names, rows = reader(path, declared)
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise SourceError(f"{verdict.file}: two columns are called {twice[0]!r}")
    unknown = [name for name in names if name not in declared.columns and name not in declared.leave_out]
    absent = [name for name in declared.columns if name not in names]
    if unknown or absent:
        what = f"column {unknown[0]!r} is not declared" if unknown else f"column {absent[0]!r} is not in the file"
        hint = f"declare it, or leave_out = {unknown!r}" if unknown else f"its columns: {', '.join(names)}"
        raise SourceError(f"{verdict.file}: {what}", hint=hint)
    verdict.left_out = tuple(name for name in names if name in declared.leave_out)
    places = [names.index(name) for name in declared.columns]
    return ([row[place] for place in places] if row else [] for row in rows)


def _blocks(
    rows: Iterator[Row], declared: Declared, schema: pa.Schema, verdict: Verdict
) -> Iterator[tuple[Block, int]]:
    """The rows as typed blocks, each with the number of its first row; what is set aside is noted in the verdict."""
    start = 0
    while chunk := list(islice(rows, _BLOCK_ROWS)):
        arrays: list[pa.Array] = []
        odd: list[tuple[int, str, str]] = []
        for name, values in zip(declared.columns, zip(*chunk, strict=True), strict=True):
            kept = _column(name, values, declared, verdict, start)
            arrays.append(pa.array([value for value, _ in kept], declared.columns[name].arrow))
            odd += [(row, name, text) for row, (_, text) in enumerate(kept) if text is not None]
        yield Block(pa.RecordBatch.from_arrays(arrays, schema=schema), sorted(odd)), start
        start += len(chunk)


def _column(
    name: str, values: Sequence[Any], declared: Declared, verdict: Verdict, start: int
) -> list[tuple[Any, str | None]]:
    """Per value: what the column holds, and what stands in the sidecar instead."""
    column = declared.columns[name]
    found: list[tuple[Any, str | None]] = []
    for row, value in enumerate(values, start):
        held = hold(value, column)
        verdict.missing[name] += value is None
        verdict.respelled[name] += held.respelled
        if not held.why:
            found.append((held.value, None))
            continue
        text = _utf8(spelled(value))
        found.append((None, text))
        verdict.set_aside[name, held.why] += 1
        if len(verdict.listed) < _LISTED:
            verdict.listed.append({"row": row + 1, "column": name, "text": text[:200], "why": held.why})
    return found


def _utf8(text: str) -> str:
    """Half of a surrogate pair, which JSON can spell, as JSON spells it: no UTF-8 file holds it otherwise."""
    return "".join(f"\\u{ord(one):04x}" if "\ud800" <= one <= "\udfff" else one for one in text)


# --- helpers ----------------------------------------------------------------------------------------------------


class Tally:
    """Count, sum, smallest and largest of a column, as docs/bundle-format.md defines them for the witness."""

    def __init__(self, family: str) -> None:
        self._family = family
        self._present = 0
        self._measured: list[Any] = []

    def add(self, cells: Cells) -> None:
        values = [value for value in _measurable(cells.values) if value is not None]
        self._present += len(values) + len(cells.exceptions)
        figures = [_measure(value, self._family) for value in values]
        kept = self._measured
        if figures:
            ends = min([*figures, *kept[1:2]]), max([*figures, *kept[2:3]])
            self._measured = [_total([*figures, *kept[:1]]), *ends]

    def figures(self) -> dict[str, Any]:
        total, low, high = map(_figure, self._measured or (None, None, None))
        of = _OF.get(self._family.partition(":")[0], "bytes in UTF-8")
        return {"present": self._present, "of": of, "sum": total, "min": low, "max": high}


_EXACT = Context(prec=200)
_OF = {
    "int": "value", "decimal": "value", "date": "days since 1970-01-01", "time": "microseconds", "bool": "true",
    "timestamp": "microseconds since 1970-01-01", "timestamptz": "microseconds since 1970-01-01 UTC", "float": "NaN",
    "binary": "bytes",
}  # fmt: skip


def _measurable(values: pa.Array) -> list[Any]:
    kind = values.type
    if pa.types.is_timestamp(kind) or pa.types.is_time(kind):
        values = values.cast(pa.int64())
    elif pa.types.is_date(kind):
        values = values.cast(pa.int32())
    return list(values.to_pylist())


def _measure(value: Any, family: str) -> Any:
    if family == "float":
        return int(value != value)
    if family == "bool":
        return int(value)
    if family == "text":
        return len(value.encode())
    return len(value) if family == "binary" else value


def _total(figures: list[Any]) -> Any:
    """Python's own addition of decimals rounds to 28 digits."""
    return reduce(_EXACT.add, figures) if isinstance(figures[0], Decimal) else sum(figures)


def _figure(value: Any) -> str | None:
    return None if value is None else format(value, "f") if hasattr(value, "as_tuple") else str(value)


def _schema(declared: Declared) -> pa.Schema:
    return pa.schema(
        [
            pa.field(name, column.arrow, metadata={"source_type": column.type, "family": column.family})
            for name, column in declared.columns.items()
        ]
    )


def _described(file: str, kind: str, declared: Declared, rows: int) -> dict[str, Any]:
    columns = [
        {
            "name": name, "source_type": column.type, "family": column.family, "arrow_type": str(column.arrow),
            "nullable": True, "default": None, "collation": None, "comment": None, "identity": None,
            "generated": None, "domain": None,
        }
        for name, column in declared.columns.items()
    ]  # fmt: skip
    return {
        "format": "reversible-table/1", "source_type": f"file: {kind}", "name": file, "rows": rows,
        "columns": columns, "primary_key": [], "unique": [], "foreign_keys": [], "checks": [], "comment": None,
        "placeholder": None,
    }  # fmt: skip


def _bounded(path: Path, kind: str, file: str) -> None:
    size = path.stat().st_size
    if kind in ("csv", "json", "ndjson", "xlsx") and size > _LARGEST:
        raise SourceError(f"{file}: {size} bytes; a {kind} file is read whole, up to {_LARGEST}")
    if kind == "xlsx":
        with _reading(file), zipfile.ZipFile(path) as archive:
            unpacked = sum(one.file_size for one in archive.infolist())
        if unpacked > _LARGEST:
            raise SourceError(f"{file}: {unpacked} bytes when unpacked, over {_LARGEST}")


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def _reading(file: str) -> Iterator[None]:
    """Nine readers fail in their own ways on a file that is not what it says: one clear error for all.

    Raises:
        SourceError: a reader failed.
    """
    try:
        yield
    except ReversibleError:
        raise
    except OSError as error:
        raise SourceError(f"{file} cannot be read: {error}") from error
    except MemoryError as error:
        raise SourceError(f"{file}: a reader asks for more memory than there is") from error
    except Exception as error:
        said = str(error).strip().splitlines()
        raise SourceError(f"{file} cannot be read: {type(error).__name__}: {said[0][:200] if said else ''}") from error
