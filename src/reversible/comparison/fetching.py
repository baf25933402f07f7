"""How are a few rows brought out of large files, without decoding all of them again?

DuckDB skips the pages that hold none of them. It is another reader than the one that hashed the rows, so what it
brings is hashed again and believed only when that gives the same hashes; else pyarrow reads everything once more.
"""

import glob
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from reversible import fingerprint
from reversible.comparison.hashing import Positions, Words, cell_hashes
from reversible.comparison.tables import Table, as_declared, exceptions
from reversible.fingerprint import Cells

log = logging.getLogger(__name__)

_FEW = 50_000  # rows of one part; above, most pages hold one of them

# One thread, and nothing may be fetched from anywhere.
_ALONE = {"autoinstall_known_extensions": "false", "autoload_known_extensions": "false", "threads": "1"}

Batch = dict[str, Cells]


def rows_at(table: Table, positions: Positions, challenge: str, hashes: Words | None = None) -> Iterator[
    tuple[Batch, Positions]
]:  # fmt: skip
    """The rows at these ascending positions, in order, in batches with their positions.

    Args:
        table: Where they stand.
        positions: Their numbers in the table, from 0, over all its parts.
        challenge: With which `hashes` were made.
        hashes: Lane 0 of each row's hash as the first reading found it, shape (positions,); None: pyarrow reads.
    """
    if hashes is None or len(positions) > _FEW:
        yield from _by_pyarrow(table, positions)
        return
    found = _by_duckdb(table, positions)
    if found is None or not np.array_equal(_row_hashes(table, found, challenge, len(positions)), hashes):
        log.info("%s: DuckDB does not give the rows as pyarrow does; pyarrow reads them again", table.name)
        yield from _by_pyarrow(table, positions)
    else:
        yield found, positions


def _row_hashes(table: Table, batch: Batch, challenge: str, rows: int) -> Words:
    total = np.zeros(rows, np.uint64)
    for column in table.columns:
        total += cell_hashes(challenge, column, batch[column.name])
    return fingerprint.mix(total)


def _by_pyarrow(table: Table, positions: Positions) -> Iterator[tuple[Batch, Positions]]:
    start = at = 0
    for batch, count in table.batches():
        end = int(np.searchsorted(positions, start + count))
        if end > at:
            here = positions[at:end] - start
            yield {name: _taken(cells, here) for name, cells in batch.items()}, positions[at:end]
            at = end
        start += count


def _taken(cells: Cells, rows: Positions) -> Cells:
    values = cells.values.take(pa.array(rows))
    if not cells.exceptions:
        return Cells(values)
    return Cells(values, {n: cells.exceptions[row] for n, row in enumerate(rows.tolist()) if row in cells.exceptions})


def _by_duckdb(table: Table, positions: Positions) -> Batch | None:
    """All the rows as one batch; None when DuckDB cannot read them."""
    import duckdb

    if len({column.name.lower() for column in table.columns}) < len(table.columns):
        return None  # to DuckDB "v" and "V" are one column
    pieces: list[pa.Table] = []
    odd: dict[str, dict[int, str]] = {}
    start = done = 0
    try:
        with duckdb.connect(config=_ALONE) as database:
            database.execute("SET TimeZone = 'UTC'")
            for part in table.parts:
                rows = pq.read_metadata(part).num_rows
                first, last = np.searchsorted(positions, [start, start + rows])
                here = positions[first:last] - start
                if len(here):
                    pieces.append(_read(database, table, part, here))
                    for name, texts in exceptions(part).items():
                        kept = {done + n: texts[row] for n, row in enumerate(here.tolist()) if row in texts}
                        odd.setdefault(name, {}).update(kept)
                    done += len(here)
                start += rows
        whole = pa.concat_tables(pieces)
    except (duckdb.Error, pa.ArrowException) as error:
        log.info("%s: DuckDB cannot read the rows: %s", table.name, error)
        return None
    if whole.num_rows != len(positions):
        return None
    return {
        column.name: as_declared(_whole(whole, column.name), column.family, odd.get(column.name, {}), whole.num_rows)
        for column in table.columns
    }


def _read(database: Any, table: Table, part: Path, rows: Positions) -> pa.Table:
    database.register("reversible_wanted", pa.table({"reversible_row": pa.array(rows)}))
    names = ", ".join('"' + column.name.replace('"', '""') + '"' for column in table.columns)
    query = (
        f"SELECT {names} FROM read_parquet($1, file_row_number = true) "  # noqa: S608 - quoted names
        "WHERE file_row_number IN (SELECT reversible_row FROM reversible_wanted) ORDER BY file_row_number"
    )
    return database.sql(query, params=[glob.escape(str(part))]).to_arrow_table()


def _whole(table: pa.Table, name: str) -> pa.Array:
    column = table[name].combine_chunks()
    return pa.concat_arrays(column.chunks) if isinstance(column, pa.ChunkedArray) else column
