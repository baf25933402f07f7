"""Do the restored rows have the totals and the fingerprint that the source gave?

Two questions, both to the target: its own engine computes count, sum, smallest and largest of each column; and all
rows are read once more through COPY's binary format and fingerprinted as the witness did, under its challenge. Where
the witness is a sample, its rows are looked for: one that is not there is a difference, but all of them are no proof.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from reversible.assets import Asset
from reversible.errors import BundleError, SourceError
from reversible.interfaces import Restored, Witness
from reversible_exporters import postgres_binary, postgres_catalog, postgres_copy, postgres_restore_objects
from reversible_exporters.postgres_catalog import Table
from reversible_exporters.postgres_restore_objects import OBJECTS
from reversible_exporters.postgres_session import Session
from reversible_exporters.postgres_totals import totals
from reversible_exporters.postgres_types import Column
from reversible_exporters.restored_values import RestoredValues

if TYPE_CHECKING:
    from reversible.bundle.reader import Bundle

_CONNECT_TIMEOUT_S = 10.0
_NAMED = 3  # columns that one line names


def prove(url: str, bundle: "Bundle", tables: Sequence[Asset], owners: Mapping[str, str] | None) -> Iterator[Restored]:
    """Two answers per table; `ok` is None where it could not be asked: that is never a pass.

    Args:
        url: The target.
        bundle: What was restored.
        tables: Which tables of it.
        owners: The owners of large objects, by their number at the source; None when they were left out on request.
    """
    session = Session.open(url, None, connect_timeout_s=_CONNECT_TIMEOUT_S, statement_timeout_s=0.0)
    try:
        here = {table.name: table for table in postgres_catalog.tables(session)}
        for asset in tables:
            try:
                if asset.name == OBJECTS and owners is None:
                    raise SourceError("not compared: the owners of large objects were left out")
                yield from _table(session, bundle.witness(asset), asset, here, owners or {})
            except (SourceError, BundleError) as error:
                for step in ("totals", "values"):
                    yield Restored(step=step, subject=asset.name, ok=None, seen=error.message)
    finally:
        session.close()


def of_all(url: str, bundle: "Bundle", tables: Sequence[Asset], owners: Mapping[str, str] | None) -> Iterator[Restored]:
    """The same where the target has exactly these tables; else nothing, and no row is read."""
    session = Session.open(url, None, connect_timeout_s=_CONNECT_TIMEOUT_S, statement_timeout_s=0.0)
    try:
        here = {table.name for table in postgres_catalog.tables(session)}
    finally:
        session.close()
    if here == {asset.name for asset in tables}:
        yield from prove(url, bundle, tables, owners)


def _table(
    session: Session, witness: Witness, asset: Asset, here: Mapping[str, Table], owners: Mapping[str, str]
) -> Iterator[Restored]:
    table = here.get(asset.name)
    if table is None:
        raise SourceError("the target has no such table")
    source = table.source if asset.name != OBJECTS else postgres_restore_objects.as_at_the_source(table.source, owners)
    with session.reading(f"table {asset.name}"):
        columns = postgres_catalog.columns(session, table)
        rows, found = totals(session, source, columns)
        yield _totals(asset, witness.facts, rows, found)
        yield _values(session, asset, witness, source, columns)


def _totals(asset: Asset, facts: Mapping[str, Any], rows: int, found: Mapping[str, Any]) -> Restored:
    told: Mapping[str, Any] = facts["totals"]
    wrong = [] if rows == facts["rows"] else [f"{facts['rows']:,} rows at the source, {rows:,} here"]
    wrong += [
        f"{name}: {told.get(name)} at the source, {found.get(name)} here"
        for name in [*told, *(name for name in found if name not in told)]
        if told.get(name) != found.get(name)
    ]
    more = f"; and {len(wrong) - _NAMED} more columns" if len(wrong) > _NAMED else ""
    seen = "; ".join(wrong[:_NAMED]) + more
    return Restored(step="totals", subject=asset.name, ok=not wrong, rows=rows, seen=seen)


def _values(session: Session, asset: Asset, witness: Witness, source: str, columns: Sequence[Column]) -> Restored:
    values = RestoredValues(witness)
    if (refused := values.refused(asset, {one.name: one.stored.family for one in columns})) is not None:
        return refused
    query = f"SELECT {postgres_binary.select_list(columns)} FROM {source}"  # noqa: S608 - quoted names
    try:
        for cells, count in postgres_binary.batches(postgres_copy.copy(session, query, "binary"), columns):
            values.add(cells, count)
    except ValueError as error:
        raise SourceError(f"the target's bytes cannot be read: {error}") from error
    return values.answer(asset)
