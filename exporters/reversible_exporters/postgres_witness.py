"""What does the server say of a table by another protocol, another decoder, other ranges, and its own engine?"""

import secrets
from contextlib import closing
from functools import reduce

from reversible import fingerprint
from reversible.errors import SourceError
from reversible.fingerprint import TableFingerprint
from reversible.interfaces import Witness
from reversible_exporters import postgres_binary, postgres_catalog, postgres_ranges
from reversible_exporters.postgres_catalog import Table
from reversible_exporters.postgres_copy import Pace, copy
from reversible_exporters.postgres_pool import Pool
from reversible_exporters.postgres_ranges import Range
from reversible_exporters.postgres_session import Session
from reversible_exporters.postgres_table import grant
from reversible_exporters.postgres_totals import totals

_OTHER_RANGES = 1.5  # times the export's: a row lost between two ranges there lies inside one here


def of_table(pool: Pool, table: Table, *, part_bytes: int) -> Witness:
    """The fingerprint under a challenge drawn now, after the export; totals and count by the engine, without ranges.

    Raises:
        SourceError: the server refused, went away, or counts other rows than it sent.
    """
    challenge = secrets.token_hex(32)
    session = pool.session
    subject, hint = f"table {table.name}", grant(session, table)
    with session.reading(subject, hint):
        columns = postgres_catalog.columns(session, table)
        key = tuple(postgres_catalog.keys(session, table)["primary_key"])
        constraints = postgres_catalog.constraints(session, table)
        rows, by_column = totals(session, table.source, columns)
        ranges = postgres_ranges.ranges(session, table, int(part_bytes * _OTHER_RANGES))
    plan = fingerprint.Plan(
        challenge, tuple(fingerprint.Column(one.name, one.stored.family) for one in columns), key,
        fingerprint.buckets_for(rows),
    )  # fmt: skip
    select = postgres_binary.select_list(columns)

    def read(worker: Session, one: Range, pace: Pace) -> TableFingerprint:
        found = TableFingerprint.empty(plan)
        query = f"SELECT {select} FROM {one.rows}"  # noqa: S608 - quoted names
        with closing(copy(worker, query, "binary", pace)) as chunks:
            for cells, count in postgres_binary.batches(chunks, columns):
                found = found.merge(fingerprint.fingerprint(plan, [cells], [count]))
        return found

    found = reduce(TableFingerprint.merge, pool.each(subject, hint, ranges, read), TableFingerprint.empty(plan))
    if found.rows != rows:
        raise SourceError(f"{subject}: the server counts {rows} rows, and sent {found.rows} to the witness")
    described = [
        {"name": one.name, "source_type": one.source_type, "nullable": one.nullable} for one in columns
    ]  # fmt: skip
    return Witness(
        method="postgresql COPY binary, decoded by our own code, in the export's snapshot; count, sum, min and max"
        " by the server",
        facts={
            "rows": rows, "columns": described, "constraints": constraints, "totals": by_column,
            "fingerprint": found.to_json(),
        },
        tables=found.to_tables(),
    )  # fmt: skip
