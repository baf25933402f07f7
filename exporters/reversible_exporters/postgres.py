"""How do tables and schema leave PostgreSQL, exactly and in one snapshot?

Export: the server's own text, `COPY ... (FORMAT csv)`, typed by pyarrow where a type holds every value; the schema
by `pg_dump` on the same snapshot. Witness: the same snapshot read again through COPY's binary format and decoded by
our own code, fingerprinted under a challenge drawn after the export; and totals that the server computes itself.
"""

import secrets
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from reversible import fingerprint
from reversible.assets import Asset, Kind
from reversible.errors import SourceError
from reversible.interfaces import Reachability, Witness
from reversible.secrets import Secret, Text
from reversible_exporters import postgres_binary, postgres_catalog, postgres_csv, postgres_dump, table_parts
from reversible_exporters.postgres_catalog import Table
from reversible_exporters.postgres_session import Session, address, parameters
from reversible_exporters.postgres_totals import totals
from reversible_exporters.postgres_types import Column

if TYPE_CHECKING:
    from reversible.bundle.writer import BundleWriter

_LARGE_OBJECTS = "large objects"
PLACEHOLDER = "reversible_row"  # a Parquet file needs a column to have rows; a PostgreSQL table does not


class PostgresSettings(BaseModel):
    """The keys of [source.NAME] when kind = "postgres"."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: Text = Field(description="postgresql://user@host:5432/database, without a password")
    password: Secret | None = Field(None, description="${NAME}; else libpq finds it: PGPASSWORD or ~/.pgpass")
    pg_dump: Path | None = Field(None, description="the pg_dump to run, as new as the server; default: on the PATH")
    connect_timeout_s: float = Field(10.0, gt=0, description="seconds to wait for the connection")
    statement_timeout_s: float = Field(0.0, ge=0, description="seconds that reading one table may take; 0: no limit")
    part_rows: int = Field(500_000, ge=1, description="rows of one Parquet file")


class PostgresExporter:
    """Reads one PostgreSQL database, and only reads. Run against 18; 13 to 17 are meant and not run yet."""

    Settings: ClassVar[type[BaseModel]] = PostgresSettings

    def __init__(self, name: str, settings: PostgresSettings) -> None:
        self.name = name
        self.settings = settings
        self._open: Session | None = None
        self._known: dict[str, Table] = {}
        self._exported: dict[str, Session] = {}  # asset id -> the snapshot that its export read

    def __repr__(self) -> str:
        return f"PostgresExporter({self.name!r})"

    @property
    def endpoints(self) -> tuple[str, ...]:
        """ "host:port" of every server in the URL."""
        parts = parameters(self._url)
        hosts, ports = parts["host"].split(","), parts["port"].split(",")
        ports += ports[-1:] * (len(hosts) - len(ports))
        return tuple(f"{host}:{port}" for host, port in zip(hosts, ports, strict=False))

    def check(self) -> Iterator[Reachability]:
        """Connection, pg_dump, SELECT on each table, and whether the role could write."""
        try:
            session = self._session()
        except SourceError as error:
            yield Reachability(subject=address(self._url), ok=False, seen=error.message, hint=error.hint)
            return
        seen = f"PostgreSQL {session.version}, database {session.database}, role {session.role}"
        yield Reachability(subject=session.where, ok=True, seen=seen)
        try:
            program = postgres_dump.find(self.settings.pg_dump)
            postgres_dump.require(program, session.major)
            yield Reachability(subject="pg_dump", ok=True, seen=str(program))
        except SourceError as error:
            yield Reachability(subject="pg_dump", ok=False, seen=error.message, hint=error.hint)
        tables = self._tables(session)
        for table in tables:
            ok = table.readable and table.schema_usable
            seen = "may be read" if ok else f"SELECT is denied to {session.role}"
            yield Reachability(subject=table.name, ok=ok, seen=seen, hint="" if ok else _grant(session, table))
        superuser = session.rows("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")[0][0]
        writable = [table.name for table in tables if table.writable]
        if superuser or writable:
            what = "is a superuser" if superuser else f"may write to {len(writable)} tables, {writable[0]} first"
            yield Reachability(
                subject=f"role {session.role}", ok=True, seen=f"warning: it {what}; an exit needs to read only",
                hint="CREATE ROLE exit_reader LOGIN IN ROLE pg_read_all_data",
            )  # fmt: skip

    def discover(self) -> Iterator[Asset]:
        """The database, then each of its tables; a foreign table and large objects with the reason they stay."""
        session = self._session()
        with session.reading(f"database {session.database}"):
            tables = self._tables(session)
            loose = postgres_catalog.large_objects(session)
        yield Asset(source=self.name, kind=Kind.DATABASE, name=session.database)
        if loose:
            yield Asset(
                source=self.name, kind=Kind.OBJECTS, name=_LARGE_OBJECTS,
                obstacle=f"{loose} large objects (pg_largeobject): not exported by this version",
            )  # fmt: skip
        for table in tables:
            obstacle = "a foreign table: its rows lie on another server" if table.kind == "f" else None
            yield Asset(
                source=self.name, kind=Kind.TABLE, name=table.name, rows=table.rows, size_bytes=table.size_bytes,
                obstacle=obstacle,
            )  # fmt: skip

    def export(self, asset: Asset, into: "BundleWriter") -> None:
        """Write the asset's files. Parts that an earlier, killed run left come from another snapshot and are redone.

        Raises:
            SourceError: the server refused this asset, or went away.
        """
        session = self._session()
        if self._exported.get(asset.id) is session:
            return
        into.discard(asset)
        if asset.kind is Kind.DATABASE:
            self._export_schema(session, asset, into)
        else:
            self._export_table(session, asset, into)
        self._exported[asset.id] = session

    def witness(self, asset: Asset) -> Witness:
        """Ask again in the export's own snapshot, by another protocol and another decoder.

        Raises:
            SourceError: the server refused, or the snapshot of the export is gone.
        """
        session = self._exported.get(asset.id)
        if session is None or session is not self._open or not session.alive:
            raise SourceError(
                f"{asset.name}: the snapshot that its export read is gone, so nothing can bear witness to it",
                hint="type the same command again: this asset is exported again",
            )
        if asset.kind is Kind.DATABASE:
            with session.reading(f"database {asset.name}"):
                names = postgres_catalog.witnessed(session)
                definitions = postgres_catalog.definitions(session, names)
                values = {name: last for name, last, _ in postgres_catalog.sequences(session)}
            facts = {
                "classes": names,
                "definitions": definitions,
                "counts": {kind: len(one) for kind, one in names.items()},
                "sequence_values": values,
                "server_version": session.version,
            }
            return Witness(method="postgresql catalogs, asked again in the same snapshot", facts=facts)
        return self._witness_table(session, asset)

    def close(self) -> None:
        """Give the connection and its snapshot back."""
        if self._open is not None:
            self._open.close()
        self._open = None
        self._exported.clear()

    # --- one snapshot ------------------------------------------------------------------------------------------

    @property
    def _url(self) -> str:
        return str(self.settings.url.reveal(key=f"source.{self.name}.url"))

    @property
    def _password(self) -> str | None:
        secret = self.settings.password
        return None if secret is None else secret.reveal(key=f"source.{self.name}.password")

    def _session(self) -> Session:
        """The snapshot; a new one when the connection was lost, and then no witness is given for the old one."""
        if self._open is None or not self._open.alive:
            self._open = Session.open(
                self._url, self._password, connect_timeout_s=self.settings.connect_timeout_s,
                statement_timeout_s=self.settings.statement_timeout_s,
            )  # fmt: skip
        return self._open

    def _tables(self, session: Session) -> list[Table]:
        tables = postgres_catalog.tables(session)
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
        program = postgres_dump.find(self.settings.pg_dump)
        postgres_dump.require(program, session.major)
        with session.reading(f"database {asset.name}"):
            closed = [one for one in self._tables(session) if not (one.readable and one.schema_usable)]
            document = postgres_catalog.inventory(session)
        sql = postgres_dump.schema(
            program, parameters(self._url), self._password, snapshot=session.snapshot,
            without=[table.name for table in closed],
        )  # fmt: skip
        with into.part(f"{asset.folder}/schema.sql") as stream:
            stream.write(sql)
        limits = [f"table {table.name} is not in schema.sql: SELECT denied to {session.role}" for table in closed]
        into.put_json(
            f"{asset.folder}/database.json",
            {
                "format": "reversible-database/1", "source_type": "postgresql", "name": session.database,
                "server_version": session.version, "encoding": session.encoding, "limitations": limits, **document,
            },
        )  # fmt: skip

    # --- a table -----------------------------------------------------------------------------------------------

    def _export_table(self, session: Session, asset: Asset, into: "BundleWriter") -> None:
        table = self._table(session, asset)
        hint = _grant(session, table)
        if not (table.readable and table.schema_usable):
            raise SourceError(f"table {table.name}: SELECT denied to {session.role}", hint=hint)
        with session.reading(f"table {table.name}", hint):
            columns = postgres_catalog.columns(session, table)
            keys = postgres_catalog.keys(session, table)
            stored = columns or [_placeholder()]
            query = f"SELECT {', '.join(one.quoted for one in columns) or 'NULL::boolean'} FROM {table.source}"  # noqa: S608
            try:
                blocks = postgres_csv.blocks(_copy(session, query, "csv"), stored)
                schema = pa.schema([column.field() for column in stored])
                rows = table_parts.write_parts(blocks, schema, asset, into, part_rows=self.settings.part_rows)
            except ValueError as error:
                raise SourceError(f"table {table.name}: what the server sent cannot be read: {error}") from error
        into.put_json(
            f"{asset.folder}/table.json",
            {
                "format": "reversible-table/1", "source_type": "postgresql", "name": table.name, "rows": rows,
                "columns": [_describe(column) for column in columns], **keys,
                "placeholder": None if columns else PLACEHOLDER,
            },
        )  # fmt: skip

    def _witness_table(self, session: Session, asset: Asset) -> Witness:
        table = self._table(session, asset)
        challenge = secrets.token_hex(32)
        with session.reading(f"table {table.name}", _grant(session, table)):
            columns = postgres_catalog.columns(session, table)
            key = tuple(postgres_catalog.keys(session, table)["primary_key"])
            constraints = postgres_catalog.constraints(session, table)
            rows, by_column = totals(session, table.source, columns)
            plan = fingerprint.Plan(
                challenge, tuple(fingerprint.Column(one.name, one.stored.family) for one in columns), key,
                fingerprint.buckets_for(rows),
            )  # fmt: skip
            query = f"SELECT {postgres_binary.select_list(columns)} FROM {table.source}"  # noqa: S608 - quoted names
            found = fingerprint.TableFingerprint.empty(plan)
            try:
                for cells, count in postgres_binary.batches(_copy(session, query, "binary"), columns):
                    found = found.merge(fingerprint.fingerprint(plan, [cells], [count]))
            except ValueError as error:
                raise SourceError(f"table {table.name}: the witness cannot read the server's bytes: {error}") from error
        if found.rows != rows:
            raise SourceError(f"table {table.name}: the server counted {rows} rows and sent {found.rows}")
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


def _grant(session: Session, table: Table) -> str:
    grants = [] if table.schema_usable else [f"GRANT USAGE ON SCHEMA {_quote(table.schema)} TO {session.quoted_role};"]
    return " ".join([*grants, f"GRANT SELECT ON {table.name} TO {session.quoted_role}"])


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _copy(session: Session, query: str, form: str) -> Iterator[bytes]:
    """COPY's messages: one row each (docs/protocol, "CopyData" of COPY TO)."""
    statement = f"COPY ({query}) TO STDOUT (FORMAT {form})"
    with closing(session.connection.cursor()) as cursor, cursor.copy(statement) as copy:
        while message := copy.read():
            yield bytes(message)


def _placeholder() -> Column:
    return Column(name=PLACEHOLDER, source_type="", base="bool", typmod=-1)


def _describe(column: Column) -> dict[str, Any]:
    stored = column.stored
    return {
        "name": column.name, "source_type": column.source_type, "family": stored.family,
        "arrow_type": str(stored.arrow), "nullable": column.nullable, "default": column.default,
        "collation": column.collation, "comment": column.comment, "identity": column.identity,
        "generated": column.generated, "domain": column.domain,
    }  # fmt: skip
