"""What does the server say of a table by another protocol, another decoder, other ranges, and its own engine?"""

import secrets
from collections.abc import Mapping, Sequence
from contextlib import closing
from functools import reduce
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any

import pyarrow as pa

from reversible import fingerprint
from reversible.errors import SourceError
from reversible.fingerprint import Cells, Column, TableFingerprint
from reversible.fingerprint.strong import RowDigests
from reversible.interfaces import Witness
from reversible_exporters import postgres_binary, postgres_catalog, postgres_ranges, postgres_sample
from reversible_exporters.postgres_catalog import Table
from reversible_exporters.postgres_copy import Pace, copy
from reversible_exporters.postgres_pool import Pool
from reversible_exporters.postgres_ranges import Range
from reversible_exporters.postgres_session import Session
from reversible_exporters.postgres_table import grant
from reversible_exporters.postgres_totals import totals
from reversible_exporters.table_sample import Sampling, identity

_OTHER_RANGES = 1.5  # times the export's: a row lost between two ranges there lies inside one here


def of_table(
    pool: Pool, table: Table, *, part_bytes: int, strong: bool = False, sampling: Sampling | None = None
) -> Witness:
    """The fingerprint under a challenge drawn now, after the export; totals and count by the engine, without ranges.

    Of a table with more rows than `sampling` says, a sample instead; one without a key is read whole all the same, for
    where rows may be equal a sample bounds nothing.

    Args:
        pool: Connections that share the export's snapshot.
        table: The table.
        part_bytes: The size of the export's ranges, at the server.
        sampling: From how many rows on a table is sampled, and how.
        strong: Also take the SHA-256 of every row, and their root (docs/fingerprint-strong.md).

    Raises:
        SourceError: the server refused, went away, or counts other rows than it sent.
    """
    challenge = secrets.token_hex(32)
    session = pool.session
    subject, hint = f"table {table.name}", grant(session, table)
    with session.reading(subject, hint):
        columns = postgres_catalog.columns(session, table)
        keys = postgres_catalog.keys(session, table)
        constraints = postgres_catalog.constraints(session, table)
        rows, by_column = totals(session, table.source, columns)
        ranges = postgres_ranges.ranges(session, table, int(part_bytes * _OTHER_RANGES))
        key = identity(keys["primary_key"], keys["unique"], columns)
        percent = None if sampling is None or not key else postgres_sample.percent(sampling, rows)
        heaps = [] if percent is None else postgres_sample.heaps(session, table)
    described = [
        {"name": one.name, "source_type": one.source_type, "nullable": one.nullable} for one in columns
    ]  # fmt: skip
    facts = {"rows": rows, "columns": described, "constraints": constraints, "totals": by_column}
    families = tuple(fingerprint.Column(one.name, one.stored.family) for one in columns)
    if sampling is not None and percent is not None and heaps:
        drawn = postgres_sample.draw(
            pool, table, columns, heaps, fingerprint.Plan(challenge, families, key), rows=rows, percent=percent,
            seed=sampling.seed, hint=hint,
        )  # fmt: skip
        return Witness(
            method="postgresql TABLESAMPLE BERNOULLI REPEATABLE, COPY binary, decoded by our own code, in the export's"
            " snapshot; count, sum, min and max of all rows by the server",
            facts={**facts, "sample": drawn.to_json()}, tables={"sample": drawn.to_table()},
        )  # fmt: skip
    plan = fingerprint.Plan(challenge, families, tuple(keys["primary_key"]), fingerprint.buckets_for(rows))
    select = postgres_binary.select_list(columns)
    digests = _Digests(plan.columns) if strong else None

    def read(worker: Session, one: Range, pace: Pace) -> TableFingerprint:
        found = fingerprint.Accumulator(plan)
        query = f"SELECT {select} FROM {one.rows}"  # noqa: S608 - quoted names
        with closing(copy(worker, query, "binary", pace)) as chunks:
            for cells, count in postgres_binary.batches(chunks, columns):
                found.add(cells, count)
                if digests is not None:
                    digests.add(cells, count)
        return found.result()

    found = reduce(TableFingerprint.merge, pool.each(subject, hint, ranges, read), TableFingerprint.empty(plan))
    if found.rows != rows:
        raise SourceError(f"{subject}: the server counts {rows} rows, and sent {found.rows} to the witness")
    tables = found.to_tables()
    if digests is not None:
        facts["strong"], tables["strong"] = digests.finish()
    return Witness(
        method="postgresql COPY binary, decoded by our own code, in the export's snapshot; count, sum, min and max"
        " by the server",
        facts={**facts, "fingerprint": found.to_json()}, tables=tables,
    )  # fmt: skip


class _Digests:
    """The strong fingerprint of rows that several connections read, in any order."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._folder = TemporaryDirectory(prefix="reversible-")
        self._digests = RowDigests(columns, Path(self._folder.name))
        self._lock = Lock()

    def add(self, cells: Mapping[str, Cells], rows: int) -> None:
        with self._lock:
            self._digests.add(cells, rows)

    def finish(self) -> tuple[dict[str, Any], pa.Table]:
        """The witness's fact and its table."""
        with self._folder, self._digests:
            found = self._digests.finish()
            return found.to_json(), found.to_table()
