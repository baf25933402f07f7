"""How does `reversible restore` put an SQLite database back, and is it then what the source said?

`sqlite_restore` writes the new file; then the engine's own spelling of every value in it is fingerprinted under the
witness's challenge, and its totals are computed again.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from reversible.assets import Asset
from reversible.errors import BundleError, DestinationError, SourceError, UsageError
from reversible.interfaces import Restored
from reversible_exporters import sqlite_catalog, sqlite_restore, sqlite_witness
from reversible_exporters.restored_values import NotEmptyError, RestoredValues, complete
from reversible_exporters.sqlite_catalog import Table
from reversible_exporters.sqlite_session import Session, reading

if TYPE_CHECKING:
    from reversible.bundle.reader import Bundle

_SCHEME = "sqlite:"


class SQLiteRestorer:
    """Restores one database of a bundle into a new SQLite file.

    Args:
        url: sqlite:///absolute/path or sqlite:relative/path; nothing may stand there.
        allow_non_empty: Refused: a file is new or it is not.
        owners: Means nothing here; SQLite has none.
    """

    source_types = frozenset({"sqlite"})

    def __init__(self, url: str, *, allow_non_empty: bool = False, owners: bool = True) -> None:
        path = url.removeprefix(_SCHEME)
        if path.startswith("//"):
            path = path[2:]
        if not url.startswith(_SCHEME) or not path or path.endswith("/"):
            raise UsageError(f"{url} names no file", hint="sqlite:///absolute/path.db")
        if allow_non_empty:
            raise UsageError("an SQLite database is restored into a new file only", hint="leave --allow-non-empty out")
        self.path = Path(path)

    def restore(self, bundle: "Bundle", database: Asset, tables: Sequence[Asset]) -> Iterator[Restored]:
        """Write the file, whole or not at all, then compare each table with the witness.

        Raises:
            UsageError: the file exists already.
            BundleError: the bundle lacks what it should hold.
            DestinationError: SQLite refused, or gave a value back otherwise.
        """
        try:
            done = sqlite_restore.restore(bundle, database, self.path, tables)
        except NotEmptyError:
            found = list(complete(str(self.path), list(self._prove(bundle, tables, exactly=True))))
            if not found:
                raise
            yield from found
            return
        yield Restored(step="schema", subject=database.name)
        for limit in done.limitations:
            yield Restored(step="note", subject=database.name, seen=limit)
        yield from self._prove(bundle, tables)

    def _prove(self, bundle: "Bundle", tables: Sequence[Asset], *, exactly: bool = False) -> Iterator[Restored]:
        """Compare each table; nothing when it shall be exactly these and is not, or when there is no database."""
        try:
            session = Session.open(self.path, busy_timeout_s=10)
        except SourceError:
            if not exactly:
                raise
            return
        with closing(session), reading(self.path.name):
            there = {table.name: table for table in sqlite_catalog.tables(session) if table.kind != "virtual"}
            if exactly and set(there) != {asset.name for asset in tables}:
                return
            for asset in tables:
                yield from _proved(session, there[asset.name], asset, bundle)


def _proved(session: Session, table: Table, asset: Asset, bundle: "Bundle") -> Iterator[Restored]:
    """How many rows came back, and whether totals and values are the witness's."""
    facts = bundle.witness(asset).facts
    try:
        values = RestoredValues(bundle.witness(asset))
        classes = {one["name"]: one["storage_class"] for one in bundle.document(asset, "table.json")["columns"]}
        columns = [replace(one, stored=classes[one.name]) for one in sqlite_catalog.columns(session, table)]
    except (KeyError, ValueError) as error:
        raise BundleError(f"{asset.id}: its witness or table.json cannot be read: {error!r}") from error
    broken: set[str] = set()
    try:
        for cells, count in sqlite_witness.batches(session, table.source, columns):
            values.add(cells, count)
            broken |= {name for name, one in cells.items() if sqlite_witness.is_broken(one)}
        rows, totals = sqlite_witness.totals(session, table.source, columns, broken)
    except ValueError as error:
        raise DestinationError(f"{asset.name}: what SQLite says of it cannot be read: {error}") from error
    yield Restored(step="rows", subject=asset.name, rows=rows)
    apart = [name for name, one in facts["totals"].items() if totals.get(name) != one]
    yield Restored(step="totals", subject=asset.name, ok=not apart, seen=", ".join(apart), rows=rows)
    yield values.answer(asset)
