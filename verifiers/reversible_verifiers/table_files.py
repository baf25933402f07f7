"""What do the Parquet files of a table hold, cell by cell, exceptions put back?"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from reversible import fingerprint
from reversible.assets import Asset
from reversible.bundle.reader import Bundle
from reversible.errors import BundleError
from reversible.fingerprint import Cells, Differences, Plan, TableFingerprint

BATCH_ROWS = 1 << 16


def parts(asset: Asset, bundle: Bundle) -> list[Path]:
    """The table's files with rows, in order.

    Raises:
        BundleError: there is none; an empty table has one, without rows.
    """
    found = bundle.parts(asset, "part-?????.parquet")
    if not found:
        raise BundleError(f"{asset.id}: the bundle holds no part-00000.parquet")
    expected = [f"part-{n:05d}.parquet" for n in range(len(found))]
    if [part.name for part in found] != expected:
        raise BundleError(f"{asset.id}: a part is missing between {found[0].name} and {found[-1].name}")
    return found


def exceptions(part: Path) -> dict[str, dict[int, str]]:
    """The sidecar of a part: column -> row in the part -> the source's text; empty when there is none.

    Raises:
        BundleError: it cannot be read, or says two things about one cell.
    """
    path = part.with_name(part.name.replace(".parquet", ".exceptions.parquet"))
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


def batches(part: Path, plan: Plan) -> Iterator[tuple[dict[str, Cells], int]]:
    """The part's cells by column name, a batch at a time, with the number of rows; only the plan's columns.

    Raises:
        BundleError: the file cannot be read.
    """
    odd = exceptions(part)
    start = 0
    with reading(part), pq.ParquetFile(part) as file:
        wanted = {column.name for column in plan.columns}
        present = [n for n, name in enumerate(file.schema_arrow.names) if name in wanted]
        names = [file.schema_arrow.names[n] for n in present]
        for batch in file.iter_batches(BATCH_ROWS):
            rows = batch.num_rows
            values = {name: batch.column(n) for n, name in zip(present, names, strict=True)}
            cells = {}
            for column in plan.columns:
                here = {
                    row - start: text for row, text in odd.get(column.name, {}).items() if start <= row < start + rows
                }
                cells[column.name] = as_declared(values.get(column.name), column.family, here, rows)
            yield cells, rows
            start += rows
        if any(row >= start for rows_of in odd.values() for row in rows_of):
            raise BundleError(f"{part.name}: an exception lies beyond the last row")


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
        texts = [None if value is None else str(value) for value in values.to_pylist()]
    strange = {row: text for row, text in enumerate(texts) if text is not None}
    return Cells(pa.nulls(rows, declared), {**strange, **odd})


def compared(asset: Asset, bundle: Bundle) -> tuple[TableFingerprint, TableFingerprint, Differences]:
    """The source's fingerprint, the bundle's, and what differs.

    Raises:
        BundleError: the witness or a part cannot be read.
    """
    witness = bundle.witness(asset)
    try:
        source = TableFingerprint.from_stored(witness.facts["fingerprint"], witness.tables)
    except (KeyError, ValueError) as error:
        raise BundleError(f"{asset.id}: the witness holds no fingerprint: {error}") from error
    files = tuple((str(part), part.stat().st_mtime_ns, part.stat().st_size) for part in bundle.parts(asset))
    parts(asset, bundle)
    copy = _fingerprint(files, source.plan)
    return source, copy, fingerprint.compare(source, copy)


@lru_cache(maxsize=4)  # two verifiers ask in a row; the times and sizes in the key notice a changed file
def _fingerprint(files: tuple[tuple[str, int, int], ...], plan: Plan) -> TableFingerprint:
    found = TableFingerprint.empty(plan)
    for part in (Path(name) for name, _, _ in files):
        if not part.name.endswith(".exceptions.parquet"):
            for cells, rows in batches(part, plan):
                found = found.merge(fingerprint.fingerprint(plan, [cells], [rows]))
    return found


def suspects(asset: Asset, bundle: Bundle, plan: Plan, buckets: tuple[int, ...], *, most: int) -> dict[int, list[str]]:
    """The bundle's rows in these buckets, named by key, or by file and row where there is no key: at most `most`."""
    wanted = np.zeros(plan.buckets, np.bool_)
    wanted[list(buckets)] = True
    found: dict[int, list[str]] = {}
    count = 0
    for part in parts(asset, bundle):
        start = 0
        for cells, rows in batches(part, plan):
            at = fingerprint.bucket_of_rows(plan, cells).astype(np.int64)
            for row in np.flatnonzero(wanted[at]):
                if count == most:
                    return found
                name = _key(cells, plan, int(row)) or f"{part.name} row={start + int(row)}"
                found.setdefault(int(at[row]), []).append(name)
                count += 1
            start += rows
    return found


def _key(cells: Mapping[str, Cells], plan: Plan, row: int) -> str:
    return ", ".join(f"{name}={_shown(cells[name], row)}" for name in plan.key)


def _shown(cells: Cells, row: int) -> str:
    if row in cells.exceptions:
        return cells.exceptions[row]
    value: Any = cells.values[row].as_py()
    text = value.hex() if isinstance(value, bytes) else str(value)
    return text if len(text) <= 40 else f"{text[:39]}…"


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what pyarrow says about a broken file into an error that names it.

    Raises:
        BundleError: the file is not Parquet, cut short, or encrypted.
    """
    try:
        yield
    except (pa.ArrowException, OSError, KeyError) as error:
        said = str(error).strip().splitlines()
        raise BundleError(f"{path.name} cannot be read: {said[0] if said else type(error).__name__}") from error
