"""What does the server say of a table by another protocol, another decoder, and its own engine?

Of a large table, when the plan says so, single rows instead of all: the server itself draws them by the hash of their
key (`table_sample`).
"""

import secrets
from collections.abc import Generator, Sequence
from contextlib import closing

from reversible import fingerprint
from reversible.errors import SourceError
from reversible.fingerprint import Cells, sample
from reversible.fingerprint.sample import Sample
from reversible.interfaces import Witness
from reversible_exporters import mysql_binary, mysql_catalog, mysql_protocol, mysql_text
from reversible_exporters.mysql_catalog import Table
from reversible_exporters.mysql_session import Session
from reversible_exporters.mysql_totals import totals
from reversible_exporters.mysql_types import Column
from reversible_exporters.table_sample import Sampling, Threshold, identity

_UNKEPT = frozenset({"MRG_MYISAM", "MRG_MyISAM"})  # engines that let rows share a primary key


def of_table(session: Session, table: Table, *, sampling: Sampling | None = None) -> Witness:
    """The fingerprint under a challenge drawn now, after the export; totals and count by the engine.

    Raises:
        SourceError: the server refused, went away, or counts other rows than it sent.
    """
    challenge = secrets.token_hex(32)
    subject = f"table {table.name}"
    with session.reading(subject, mysql_catalog.grant(session, table)):
        columns = mysql_catalog.columns(session, table)
        keys = mysql_catalog.keys(session, table, columns)
        constraints = mysql_catalog.constraints(session, table)
        rows, by_column = totals(session, table.source, columns)
        described = [{"name": one.name, "source_type": one.source_type, "nullable": one.nullable} for one in columns]
        facts = {
            "rows": rows, "columns": described, "constraints": constraints, "totals": by_column,
            "in_snapshot": table.in_snapshot,
        }  # fmt: skip
        families = tuple(fingerprint.Column(one.name, one.stored.family) for one in columns)
        where = "in the export's snapshot" if table.in_snapshot else f"outside any snapshot (engine {table.engine})"
        method = f"{session.product} binary protocol, decoded by our own code, {where}; count, sum, min and max by"
        key = () if table.engine in _UNKEPT else identity(keys["primary_key"], keys["unique"], columns)
        drawn_by = None if sampling is None or not _tells_apart(columns, key) else sampling.threshold(rows)
        try:
            if drawn_by is not None:
                plan = fingerprint.Plan(challenge, families, key)
                drawn = _draw(session, table, columns, plan, rows, drawn_by)
                return Witness(
                    method=f"rows drawn by the key's SHA-256 at the server, {method} the server over all rows",
                    facts={**facts, "sample": drawn.to_json()}, tables={"sample": drawn.to_table()},
                )  # fmt: skip
            plan = fingerprint.Plan(challenge, families, tuple(keys["primary_key"]), fingerprint.buckets_for(rows))
            sums = fingerprint.Accumulator(plan)
            with closing(_read(session, table, columns)) as batches:
                for cells, count in batches:
                    sums.add(cells, count)
        except ValueError as error:
            raise SourceError(f"{subject}: the witness cannot read the server's bytes: {error}") from error
    found = sums.result()
    if found.rows != rows:
        raise SourceError(f"{subject}: the server counted {rows} rows and sent {found.rows}")
    return Witness(
        method=f"{method} the server", facts={**facts, "fingerprint": found.to_json()}, tables=found.to_tables()
    )


def _read(
    session: Session, table: Table, columns: Sequence[Column], where: str = ""
) -> Generator[tuple[dict[str, Cells], int], None, None]:
    query = f"SELECT {mysql_binary.select_list(columns)} FROM {table.source}{where}"  # noqa: S608 - quoted names
    odd = mysql_text.has_odd_bytes(columns)
    with closing(mysql_protocol.binary_rows(session, query, odd=odd)) as answer:
        yield from mysql_binary.batches(answer, columns)


def _draw(
    session: Session, table: Table, columns: Sequence[Column], plan: fingerprint.Plan, rows: int, drawn_by: Threshold
) -> Sample:
    by_name = {column.name: column for column in columns}
    key = ", ' ', ".join(f"HEX(CAST({_exact(by_name[name])} AS BINARY))" for name in plan.key)
    where = f" WHERE SHA2(CONCAT('{drawn_by.prefix(table.name)} ', {key}), 256) < '{drawn_by.text}'"
    with closing(_read(session, table, columns, where)) as batches:
        pieces = [sample.images(plan, cells, count) for cells, count in batches]
    return Sample.of(plan, pieces, population=rows, rate=drawn_by.rate, seed=drawn_by.seed)


def _exact(column: Column) -> str:
    """SQL that differs where the column's values do."""
    return f"{column.quoted} + 0" if column.base in ("bit", "enum", "set") else column.quoted


def _tells_apart(columns: Sequence[Column], key: Sequence[str]) -> bool:
    """Whether there is a key whose every value has a text of its own: of floats the server writes six digits."""
    bases = {column.name: column.base for column in columns}
    return bool(key) and not any(bases[name] in ("float", "double") for name in key)
