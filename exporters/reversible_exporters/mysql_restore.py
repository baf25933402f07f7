"""How does a database get back on its feet in MySQL or MariaDB, and is it then what the source said?

The dump's statements in their order, but its triggers and events last: a trigger would fire on rows that are put back.
Then the target's own engine computes the control totals again, and the restored rows are read once more by the binary
protocol and fingerprinted under the witness's challenge.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from reversible.assets import Asset
from reversible.errors import BundleError, DestinationError, SourceError, UsageError
from reversible.interfaces import Restored, Witness
from reversible_exporters import mysql_binary, mysql_catalog, mysql_protocol, mysql_restore_rows
from reversible_exporters.mysql_catalog import Table
from reversible_exporters.mysql_restore_script import Statement, statements
from reversible_exporters.mysql_session import Session, address, driver, one_line, quote, writable
from reversible_exporters.mysql_totals import totals
from reversible_exporters.restored_values import NotEmptyError, RestoredValues, complete

if TYPE_CHECKING:
    from reversible.bundle.reader import Bundle

_JOURNAL = "reversible_restore"  # a table of the target: which steps are done; dropped at the end
_THERE_ALREADY = frozenset({1050, 1304, 1359, 1537, 4127})  # the step that an interruption fell into
_CONNECT_TIMEOUT_S = 10.0
_NAMED = 3  # columns that one line names


class MySQLRestorer:
    """Restores one database of a bundle into an empty MySQL or MariaDB database. Run against MariaDB 10.11, MySQL 9.7.

    Args:
        url: mysql://user@host:3306/database, without a password: it is in MYSQL_PWD.
        allow_non_empty: Go on in a database that holds something: what the dump creates replaces what is there.
        owners: Keep the DEFINER of views, triggers and routines, which must exist at the target.
    """

    source_types = frozenset({"mysql", "mariadb"})

    def __init__(self, url: str, *, allow_non_empty: bool = False, owners: bool = True) -> None:
        try:
            self._address = address(url)
        except SourceError as error:
            raise UsageError(error.message, hint="export MYSQL_PWD=… and --to mysql://user@host/database") from None
        self._password = os.environ.get("MYSQL_PWD")
        self.allow_non_empty = allow_non_empty
        self.owners = owners

    def restore(self, bundle: "Bundle", database: Asset, tables: Sequence[Asset]) -> Iterator[Restored]:
        """Yield each step as it ends; the same call goes on after an interruption.

        Raises:
            BundleError: the bundle lacks what it should hold.
            DestinationError: the target cannot be reached or went away.
            UsageError: the target is not empty.
        """
        pymysql = driver()
        try:
            connection = writable(self._address, self._password, timeout_s=_CONNECT_TIMEOUT_S)
        except SourceError as error:
            raise DestinationError(error.message, hint=error.hint) from error
        target = _Target(connection, self._address.where, bundle.digest)
        try:
            try:
                target.begin(allow_non_empty=self.allow_non_empty)
            except NotEmptyError:
                found = list(complete(self._address.where, list(self._prove(bundle, tables, exactly=True))))
                if not found:
                    raise
                yield from found
                return
            script = list(statements((bundle.folder(database) / "schema.sql").read_text(encoding="utf-8")))
            whole = True
            for one in self._steps(target, bundle, script, tables):
                whole = whole and one.ok is True
                yield one
            yield from self._prove(bundle, tables)
            if whole:
                target.run(f"DROP TABLE {quote(_JOURNAL)}")
        except pymysql.MySQLError as error:
            raise DestinationError(
                f"{self._address.where}: {one_line(error)}", hint="type the same command again"
            ) from (error)
        finally:
            if connection.open:
                connection.close()

    def _steps(
        self, target: "_Target", bundle: "Bundle", script: Sequence[Statement], tables: Sequence[Asset]
    ) -> Iterator[Restored]:
        yield from self._apply(target, script, late=False)
        target.settle()
        for table in tables:
            yield from target.load(bundle, table)
        yield from self._apply(target, script, late=True)

    def _apply(self, target: "_Target", script: Sequence[Statement], *, late: bool) -> Iterator[Restored]:
        for place, one in enumerate(script):
            if one.kind == "set" or one.is_late == late:
                yield from target.apply(f"schema:{place}", one if self.owners else one.without_definer())

    def _prove(self, bundle: "Bundle", tables: Sequence[Asset], *, exactly: bool = False) -> Iterator[Restored]:
        """Compare each table; nothing when it shall be exactly these and is not."""
        session = Session.open(
            self._address, self._password, connect_timeout_s=_CONNECT_TIMEOUT_S, statement_timeout_s=0.0
        )
        try:
            here = {table.relation: table for table in mysql_catalog.tables(session)}
            if exactly and set(here) != {bundle.document(one, "table.json")["relation"] for one in tables}:
                return
            for asset in tables:
                try:
                    table = here.get(bundle.document(asset, "table.json")["relation"])
                    yield from _compared(session, bundle.witness(asset), asset, table)
                except (SourceError, BundleError) as error:
                    for step in ("totals", "values"):
                        yield Restored(step=step, subject=asset.name, ok=None, seen=error.message)
        finally:
            session.close()


class _Target:
    """The database that is being filled, with its journal of finished steps."""

    def __init__(self, connection: Any, where: str, digest: str) -> None:
        self._connection = connection
        self._where = where
        self._digest = digest
        self._done: set[str] = set()
        self._resumed = False

    def begin(self, *, allow_non_empty: bool) -> None:
        names = {name for (name,) in self._rows("SHOW TABLES")}
        if _JOURNAL in names:
            steps = self._rows(f"SELECT bundle, step FROM {quote(_JOURNAL)}")  # noqa: S608 - our name
            if {bundle for bundle, _ in steps} - {self._digest}:
                raise UsageError(
                    f"{self._where} holds an interrupted restore of another bundle", hint=f"DROP TABLE {_JOURNAL}"
                )
            self._done = {step for _, step in steps}
            self._resumed = True
        elif names and not allow_non_empty:
            raise NotEmptyError(
                f"{self._where} is not empty: {sorted(names)[0]} is there",
                hint="CREATE DATABASE copy, or --allow-non-empty",
            )
        else:
            self.run(
                f"CREATE TABLE {quote(_JOURNAL)} (bundle char(64), step varchar(250) COLLATE utf8mb4_bin PRIMARY KEY)"
                " ENGINE=InnoDB DEFAULT CHARSET=utf8mb4"
            )

    def run(self, sql: str) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(sql)

    def settle(self) -> None:
        """The session in which rows are put back: every value as it is written, and no check that rows come to meet."""
        for setting in (
            "NAMES utf8mb4", "time_zone = '+00:00'", "foreign_key_checks = 0", "unique_checks = 0",
            f"sql_mode = '{mysql_restore_rows.STRICT}'",
        ):  # fmt: skip
            self.run(f"SET {setting}")

    def apply(self, step: str, one: Statement) -> Iterator[Restored]:
        """Run a statement of the dump, once; settings every time."""
        if step in self._done:
            return
        done = Restored(step="schema", subject=one.subject)
        try:
            self.run(one.sql)
        except driver().MySQLError as error:
            if not self._connection.open:
                raise
            if not (self._resumed and error.args[0] in _THERE_ALREADY):
                yield done.refused(one_line(error))
                return
        if one.kind != "set":
            self._note(step)
        if one.kind == "create":
            yield done

    def load(self, bundle: "Bundle", asset: Asset) -> Iterator[Restored]:
        """All parts of a table, each in a transaction with its note.

        Where the engine keeps no transactions, what an interruption left cannot be told from what is noted: such a
        table is emptied and filled as a whole.
        """
        document = bundle.document(asset, "table.json")
        table = quote(document["relation"])
        parts = list(bundle.parts(asset, "part-?????.parquet"))
        missing = [part for part in parts if f"rows:{asset.id}:{part.name}" not in self._done]
        if not missing:
            return
        rows = 0
        begun = f"begun:{asset.id}"
        try:
            lax = self._engine_without_transactions(document["relation"])
            if lax and begun in self._done:
                missing = parts
                seen = f"engine {lax} keeps no transactions: its rows are put back from the beginning"
                yield Restored(step="resume", subject=asset.name, seen=seen)
            if missing == parts:
                self._forget([f"rows:{asset.id}:{part.name}" for part in parts])
                self.run(f"DELETE FROM {table}")  # noqa: S608 - a quoted name
            if lax and begun not in self._done:
                self._note(begun)
                self._done.add(begun)
            for part in missing:
                self.run("START TRANSACTION")
                for sql, count in mysql_restore_rows.inserts(part, document, table):
                    for one in sql:
                        self.run(one)
                    rows += count
                self._note(f"rows:{asset.id}:{part.name}")
                self.run("COMMIT")
        except driver().MySQLError as error:
            if not self._connection.open:
                raise
            self.run("ROLLBACK")
            yield Restored(step="rows", subject=asset.name).refused(one_line(error))
            return
        yield Restored(step="rows", subject=asset.name, rows=rows)

    def _engine_without_transactions(self, relation: str) -> str:
        """The engine's name when it keeps none, or does not say; else ""."""
        with self._connection.cursor() as cursor:
            cursor.execute(
                "SELECT t.engine, e.transactions FROM information_schema.tables t"
                " LEFT JOIN information_schema.engines e ON e.engine = t.engine"
                " WHERE t.table_schema = DATABASE() AND t.table_name = %s",
                (relation,),
            )
            found = cursor.fetchone()
        return "" if found is None or found[1] == "YES" else str(found[0])

    def _forget(self, steps: Sequence[str]) -> None:
        with self._connection.cursor() as cursor:
            cursor.executemany(f"DELETE FROM {quote(_JOURNAL)} WHERE step = %s", [(step,) for step in steps])  # noqa: S608

    def _note(self, step: str) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(f"INSERT INTO {quote(_JOURNAL)} VALUES (%s, %s)", (self._digest, step))  # noqa: S608

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(query)
            return list(cursor.fetchall())


def _compared(session: Session, witness: Witness, asset: Asset, table: Table | None) -> Iterator[Restored]:
    if table is None:
        raise SourceError("the target has no such table")
    with session.reading(f"table {asset.name}"):
        columns = mysql_catalog.columns(session, table)
        rows, found = totals(session, table.source, columns)
        yield _totals(asset, witness.facts, rows, found)
        values = RestoredValues(witness)
        if (refused := values.refused(asset, {one.name: one.stored.family for one in columns})) is not None:
            yield refused
            return
        query = f"SELECT {mysql_binary.select_list(columns)} FROM {table.source}"  # noqa: S608 - quoted names
        odd = any(column.stored.odd_is_bytes for column in columns)
        answer = mysql_protocol.binary_rows(session, query, odd=odd)
        for cells, count in mysql_binary.batches(answer, columns):
            values.add(cells, count)
    yield values.answer(asset)


def _totals(asset: Asset, facts: Mapping[str, Any], rows: int, found: Mapping[str, Any]) -> Restored:
    told: Mapping[str, Any] = facts["totals"]
    wrong = [] if rows == facts["rows"] else [f"{facts['rows']:,} rows at the source, {rows:,} here"]
    wrong += [
        f"{name}: {told.get(name)} at the source, {found.get(name)} here"
        for name in sorted({*told, *found})
        if told.get(name) != found.get(name)
    ]
    return Restored(step="totals", subject=asset.name, ok=not wrong, rows=rows, seen="; ".join(wrong[:_NAMED]))
