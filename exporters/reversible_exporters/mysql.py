"""How do tables and schema leave MySQL and MariaDB, exactly and in one snapshot?

Export: the server's own text, by the text protocol, typed by Arrow where a type holds every value; the schema by
mariadb-dump or mysqldump. Witness: the same snapshot read again by the binary protocol of prepared statements and
decoded by other code, fingerprinted under a challenge drawn after the export; and totals that the server computes.
"""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from reversible.assets import Asset, Kind
from reversible.errors import SourceError, SourceLostError
from reversible.interfaces import Reachability, Witness
from reversible.plan.sampling import SamplingSettings
from reversible.secrets import Secret, Text
from reversible_exporters import (
    mysql_catalog,
    mysql_dump,
    mysql_objects,
    mysql_protocol,
    mysql_text,
    mysql_witness,
    table_parts,
)
from reversible_exporters.mysql_catalog import Table
from reversible_exporters.mysql_session import Address, Session, address
from reversible_exporters.mysql_types import Column
from reversible_exporters.table_sample import Sampling

if TYPE_CHECKING:
    from reversible.bundle.writer import BundleWriter

_ELSEWHERE = frozenset({"FEDERATED", "CONNECT", "SPIDER", "S3"})  # engines whose rows lie on another system
_HISTORY = "FOR SYSTEM_TIME ALL"


class MySQLSettings(SamplingSettings):
    """The keys of [source.NAME] when kind = "mysql"."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: Text = Field(description="mysql://user@host:3306/database, without a password")
    password: Secret | None = Field(None, description="${NAME}")
    dump: Path | None = Field(None, description="the mariadb-dump or mysqldump to run; default: on the PATH")
    tls: Literal["verify", "encrypt", "off"] | None = Field(
        None, description="default: verify the server's certificate, unless the server is this machine"
    )
    ssl_ca: Path | None = Field(None, description="the authority that signed the server's certificate")
    connect_timeout_s: float = Field(10.0, gt=0, description="seconds to wait for the connection")
    statement_timeout_s: float = Field(0.0, ge=0, description="seconds that reading one table may take; 0: no limit")
    part_rows: int = Field(500_000, ge=1, description="rows of one Parquet file")


class MySQLExporter:
    """Reads one MySQL or MariaDB database, and only reads.

    Run against MariaDB 10.11 and MySQL 9.7; MySQL 8.0 and 8.4 are meant, not run.
    """

    Settings: ClassVar[type[BaseModel]] = MySQLSettings

    def __init__(self, name: str, settings: MySQLSettings) -> None:
        self.name = name
        self.settings = settings
        self._open: Session | None = None
        self._sampling = Sampling.of(settings)
        self._known: dict[str, Table] = {}
        self._exported: dict[str, Session] = {}  # asset id -> the snapshot that its export read
        self._first: Session | None = None  # the snapshot of all that is finished
        self._next_before: dict[str, dict[str, Any]] = {}  # what the sequences would have given before the export

    def __repr__(self) -> str:
        return f"MySQLExporter({self.name!r})"

    @property
    def endpoints(self) -> tuple[str, ...]:
        """ "host:port" of the server."""
        where = self._address
        return (f"{where.host}:{where.port}",)

    def check(self) -> Iterator[Reachability]:
        """Connection, dump program, SELECT on each table, what the user cannot see, and whether it could write."""
        try:
            session = self._session()
        except SourceError as error:
            yield Reachability(subject=self._address.where, ok=False, seen=error.message, hint=error.hint)
            return
        seen = f"{session.product} {session.version}, database {session.database}, user {session.role}"
        yield Reachability(subject=session.where, ok=True, seen=seen)
        program = mysql_dump.find(self.settings.dump, mariadb=session.is_mariadb)
        told = str(program) if program else "not on the PATH: SHOW CREATE statements make schema.sql"
        yield Reachability(subject="mariadb-dump" if session.is_mariadb else "mysqldump", ok=True, seen=told)
        for table in self._tables(session):
            refusal = _closed(session, table)
            seen = "may be read" if refusal is None else refusal.message
            hint = "" if refusal is None else refusal.hint
            yield Reachability(subject=table.name, ok=refusal is None, seen=seen, hint=hint)
        for kind, right in mysql_objects.unseen(session).items():
            yield Reachability(
                subject=f"every {kind} of {session.database}", ok=False,
                hint=mysql_catalog.grant(session, routines=kind == "routine"),
                seen=f"{session.role} lacks {right} there: what it may not see cannot be told from what is not there",
            )  # fmt: skip
        if any(right in line for (line,) in session.rows("SHOW GRANTS") for right in ("ALL PRIVILEGES", "INSERT")):
            yield Reachability(
                subject=f"user {session.role}", ok=True, hint=mysql_catalog.grant(session),
                seen="warning: it may write; an exit needs to read only",
            )  # fmt: skip

    def discover(self) -> Iterator[Asset]:
        """The database, then each of its tables; past row versions and rows that lie elsewhere with the reason."""
        session = self._session()
        with session.reading(f"database {session.database}"):
            tables = self._tables(session)
            past = _past(session, tables)
        yield Asset(source=self.name, kind=Kind.DATABASE, name=session.database)
        for table in tables:
            obstacle = None
            if table.engine.upper() in _ELSEWHERE:
                obstacle = f"engine {table.engine}: its rows lie on another system"
            elif not table.engine:
                obstacle = "the server cannot open it"
            yield Asset(
                source=self.name, kind=Kind.TABLE, name=table.name, rows=table.rows, size_bytes=table.size_bytes,
                obstacle=obstacle,
            )  # fmt: skip
            if past.get(table.name):
                yield Asset(
                    source=self.name, kind=Kind.TABLE, name=f"{table.name} {_HISTORY}", rows=past[table.name],
                    obstacle=f"{past[table.name]} past row versions: not exported by this version",
                )  # fmt: skip

    def export(self, asset: Asset, into: "BundleWriter") -> None:
        """Write the asset's files. Parts that an earlier, killed run left come from another snapshot and are redone.

        Raises:
            SourceError: the server refused this asset, or went away.
        """
        session = self._one_snapshot()
        if self._exported.get(asset.id) is session:
            return
        into.discard(asset)
        if asset.kind is Kind.DATABASE:
            self._export_schema(session, asset, into)
        else:
            self._export_table(session, asset, into)
        self._exported[asset.id] = self._first = session

    def stands(self, asset: Asset, into: "BundleWriter") -> bool:
        """Never: an earlier run's snapshot is gone, and MySQL does not tell whether rows changed since."""
        return False

    def witness(self, asset: Asset) -> Witness:
        """Ask again in the export's own snapshot, by another protocol and another decoder.

        Raises:
            SourceError: the server refused, or the snapshot of the export is gone.
        """
        session = self._exported.get(asset.id)
        if session is None or session is not self._open or not session.alive:
            raise SourceLostError(
                f"{asset.name}: the snapshot that its export read is gone, so nothing can bear witness to it",
                hint="type the same command again: this asset is exported again",
            )
        if asset.kind is Kind.DATABASE:
            return self._witness_schema(session, asset)
        return self._witness_table(session, asset)

    def close(self) -> None:
        """Give the connection and its snapshot back."""
        if self._open is not None:
            self._open.close()
        self._open = None
        self._exported.clear()
        self._first = None

    # --- one snapshot ------------------------------------------------------------------------------------------

    @property
    def _address(self) -> Address:
        url = str(self.settings.url.reveal(key=f"source.{self.name}.url"))
        return address(url, tls=self.settings.tls, ssl_ca=self.settings.ssl_ca)

    @property
    def _password(self) -> str | None:
        secret = self.settings.password
        return None if secret is None else secret.reveal(key=f"source.{self.name}.password")

    def _one_snapshot(self) -> Session:
        """The session of the whole export.

        Raises:
            SourceLostError: its connection was lost between two assets: tables of two moments must not mix.
        """
        session = self._session()
        if self._first not in (None, session):
            raise SourceLostError(
                f"{session.where}: the connection was lost, and with it the snapshot that the export began with",
                hint="type the same command again: everything is exported again",
            )
        return session

    def _session(self) -> Session:
        """The snapshot; a new one when the connection was lost, and then no witness is given for the old one."""
        if self._open is None or not self._open.alive:
            self._open = Session.open(
                self._address, self._password, connect_timeout_s=self.settings.connect_timeout_s,
                statement_timeout_s=self.settings.statement_timeout_s,
            )  # fmt: skip
        return self._open

    def _tables(self, session: Session) -> list[Table]:
        tables = mysql_catalog.tables(session)
        self._known = {table.name: table for table in tables}
        return tables

    def _table(self, session: Session, asset: Asset) -> Table:
        if asset.name not in self._known:
            self._tables(session)
        if asset.name not in self._known:
            raise SourceError(f"table {asset.name} is not in database {session.database}", hint="reversible inventory")
        return self._known[asset.name]

    # --- the schema --------------------------------------------------------------------------------------------

    def _export_schema(self, session: Session, asset: Asset, into: "BundleWriter") -> None:
        program = mysql_dump.find(self.settings.dump, mariadb=session.is_mariadb)
        with session.reading(f"database {asset.name}", mysql_catalog.grant(session)):
            self._next_before = mysql_objects.next_values(session)
            tables = self._tables(session)
            unseen = mysql_objects.unseen(session)
            closed = [table for table in tables if _closed(session, table)]
            without = [table.relation for table in closed] + _closed_views(session)
            open_tables = [table.relation for table in tables if table not in closed]
            sequences = mysql_catalog.sequences(session)
            values = mysql_objects.declared_next_values(session, open_tables, sequences)
            classes, _ = mysql_objects.objects(session)
            past = _past(session, [table for table in tables if table not in closed])
            collation = session.rows("SELECT @@collation_database")[0][0]
            wanted = {"routines": "routine" not in unseen, "events": "event" not in unseen}
            if program is None or mysql_catalog.hides_keys(session):
                program = None
                sql = mysql_dump.composed(session, **wanted, without=without)
            else:
                sql = mysql_dump.schema(program, self._address, self._password, **wanted, without=without)
        with into.part(f"{asset.folder}/schema.sql") as stream:
            stream.write(sql)
        limits = [f"{name} is not in schema.sql: {session.role} may not read it" for name in without]
        limits += [f"{kind}: {session.role} lacks {right}, so some may be hidden" for kind, right in unseen.items()]
        limits += [_no_snapshot(table) for table in tables if not table.in_snapshot]
        limits += [f"table {name}: {count} past row versions are not exported" for name, count in past.items() if count]
        limits.append("the schema is read beside the snapshot: MySQL and MariaDB keep no snapshot of definitions")
        into.put_json(
            f"{asset.folder}/database.json",
            {
                "format": "reversible-database/1", "source_type": session.product.lower(), "name": session.database,
                "server_version": session.version, "encoding": "utf8mb4", "collation": collation,
                "schema_by": program.name if program else "SHOW CREATE", "limitations": limits, "classes": classes,
                "counts": {kind: len(names) for kind, names in classes.items()}, "sequence_values": values,
            },
        )  # fmt: skip

    def _witness_schema(self, session: Session, asset: Asset) -> Witness:
        with session.reading(f"database {asset.name}", mysql_catalog.grant(session)):
            classes, definitions = mysql_objects.objects(session)
            unseen = mysql_objects.unseen(session)
            after, before = mysql_objects.next_values(session), self._next_before
            facts = {
                "classes": classes, "definitions": definitions,
                "counts": {kind: len(names) for kind, names in classes.items()},
                "next_values": {
                    name: {**one, "before": before.get(name, one)["next"]} for name, one in after.items()
                },
                "server_version": session.version,
                "unseen": unseen, "seen_share": mysql_objects.seen_share(session),
                "outside_snapshot": [table.name for table in self._tables(session) if not table.in_snapshot],
            }  # fmt: skip
        return Witness(method=f"{session.product} information_schema, beside the dump's SHOW CREATE", facts=facts)

    # --- a table -----------------------------------------------------------------------------------------------

    def _export_table(self, session: Session, asset: Asset, into: "BundleWriter") -> None:
        table = self._table(session, asset)
        with session.reading(f"table {table.name}", mysql_catalog.grant(session, table)):
            _hold(session, table)
            columns = mysql_catalog.columns(session, table)
            keys = mysql_catalog.keys(session, table, columns)
            query = f"SELECT {mysql_text.select_list(columns)} FROM {table.source}"  # noqa: S608 - quoted names
            try:
                with closing(mysql_protocol.text_rows(session, query, odd=mysql_text.has_odd_bytes(columns))) as answer:
                    schema = pa.schema([column.field() for column in columns])
                    blocks = mysql_text.blocks(answer, columns)
                    rows = table_parts.write_parts(blocks, schema, asset, into, part_rows=self.settings.part_rows)
            except ValueError as error:
                raise SourceError(f"table {table.name}: what the server sent cannot be read: {error}") from error
        into.put_json(
            f"{asset.folder}/table.json",
            {
                "format": "reversible-table/1", "source_type": session.product.lower(), "name": table.name,
                "relation": table.relation, "rows": rows, "columns": [_describe(column) for column in columns], **keys,
                "placeholder": None,
                "engine": table.engine, "in_snapshot": table.in_snapshot,
            },
        )  # fmt: skip

    def _witness_table(self, session: Session, asset: Asset) -> Witness:
        return mysql_witness.of_table(session, self._table(session, asset), sampling=self._sampling)


def _hold(session: Session, table: Table) -> None:
    """Keep DDL out from here on.

    Raises:
        SourceLostError: there was some since the snapshot; another snapshot is needed, and this run ends.
    """
    if not session.hold(table.relation):
        session.abandon()
        raise SourceLostError(
            f"table {table.name}: altered while the export ran, or another table has its name now",
            hint="type the same command again when no DDL runs there",
        )


def _past(session: Session, tables: list[Table]) -> dict[str, int]:
    """Past row versions of each system-versioned table that may be read."""
    versioned = [table for table in tables if table.kind == "SYSTEM VERSIONED" and _closed(session, table) is None]
    return {table.name: mysql_catalog.history_rows(session, table) for table in versioned}


def _closed(session: Session, table: Table) -> SourceError | None:
    """Why a table cannot be read; None when it can. Asks for all its columns and no row."""
    try:
        with session.reading(f"table {table.name}", mysql_catalog.grant(session, table)):
            columns = ", ".join(column.quoted for column in mysql_catalog.columns(session, table))
            session.rows(f"SELECT {columns} FROM {table.source} LIMIT 0")  # noqa: S608 - quoted names
    except SourceError as error:
        return error
    return None


def _closed_views(session: Session) -> list[str]:
    found = session.named(
        "SELECT table_name FROM information_schema.views WHERE table_schema = %s AND view_definition = ''",
        (session.database,),
    )
    return [one["table_name"] for one in found]


def _no_snapshot(table: Table) -> str:
    return (
        f"table {table.name}: engine {table.engine} has no snapshots; its rows are those that were there when it was"
        " read, and rows written meanwhile show as differences"
    )


def _describe(column: Column) -> dict[str, Any]:
    stored = column.stored
    return {
        "name": column.name, "source_type": column.source_type, "family": stored.family,
        "arrow_type": str(stored.arrow), "nullable": column.nullable, "default": column.default,
        "charset": column.charset, "collation": column.collation, "comment": column.comment,
        "identity": column.identity, "generated": column.generated, "domain": None, "invisible": column.invisible,
    }  # fmt: skip
