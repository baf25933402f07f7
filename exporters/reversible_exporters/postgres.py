"""How do tables and schema leave PostgreSQL, exactly and in one snapshot?

Export: the server's own text, `COPY ... (FORMAT csv)`, typed by pyarrow where a type holds every value; the schema
by `pg_dump` on the same snapshot. Witness: the same snapshot read again through COPY's binary format and decoded by
our own code, fingerprinted under a challenge drawn after the export; and totals that the server computes itself.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from reversible.assets import Asset, Kind
from reversible.bundle.writer import json_bytes
from reversible.errors import SourceError, SourceLostError
from reversible.interfaces import Reachability, Witness
from reversible.plan.sampling import SamplingSettings
from reversible.secrets import Secret, Text
from reversible_exporters import postgres_catalog, postgres_dump, postgres_table, postgres_witness
from reversible_exporters.postgres_catalog import Table
from reversible_exporters.postgres_pool import Pool
from reversible_exporters.postgres_session import Session, address, parameters
from reversible_exporters.postgres_table import grant
from reversible_exporters.table_sample import Sampling

if TYPE_CHECKING:
    from reversible.bundle.writer import BundleWriter


class PostgresSettings(SamplingSettings):
    """The keys of [source.NAME] when kind = "postgres"."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: Text = Field(description="postgresql://user@host:5432/database, without a password")
    password: Secret | None = Field(None, description="${NAME}; else libpq finds it: PGPASSWORD or ~/.pgpass")
    pg_dump: Path | None = Field(None, description="the pg_dump to run, as new as the server; default: on the PATH")
    connect_timeout_s: float = Field(10.0, gt=0, description="seconds to wait for the connection")
    statement_timeout_s: float = Field(0.0, ge=0, description="seconds that reading one table may take; 0: no limit")
    part_mib: float = Field(
        64.0, gt=0, description="MiB of a table, as the server stores it, that become one Parquet file"
    )
    part_rows: int = Field(
        500_000, ge=1, description="rows of one Parquet file, where the source cannot be read by ranges"
    )
    workers: int = Field(2, ge=1, le=64, description="connections that read one table side by side, in one snapshot")
    strong: bool = Field(False, description="also SHA-256 of every row and their root: slower; rows can be proved")
    max_mib_per_s: float = Field(0.0, ge=0, description="MiB that all connections may read in one second; 0: no limit")

    @field_validator("strong")
    @classmethod
    def _strong_is_whole(cls, strong: bool, info: ValidationInfo) -> bool:
        if strong and info.data.get("sample_above_rows") is not None:
            raise PydanticCustomError("pair", "false, for it reads every row, or no sample_above_rows")
        return strong


class PostgresExporter:
    """Reads one PostgreSQL database, 13 to 18, and only reads."""

    Settings: ClassVar[type[BaseModel]] = PostgresSettings

    def __init__(self, name: str, settings: PostgresSettings) -> None:
        self.name = name
        self.settings = settings
        self._pool = Pool(
            self._connect, workers=settings.workers, bytes_per_s=settings.max_mib_per_s * (1 << 20)
        )  # fmt: skip
        self._sampling = Sampling.of(settings)
        self._known: dict[str, Table] = {}
        self._exported: dict[str, Session] = {}  # asset id -> the snapshot that its export read
        self._first: Session | None = None  # the snapshot of all that is finished
        self._next_before: dict[str, dict[str, Any]] = {}  # what the sequences would have given before the export

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
            session = self._pool.session
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
            yield Reachability(subject=table.name, ok=ok, seen=seen, hint="" if ok else grant(session, table))
        superuser = session.rows("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")[0][0]
        writable = [table.name for table in tables if table.writable]
        if superuser or writable:
            what = "is a superuser" if superuser else f"may write to {len(writable)} tables, {writable[0]} first"
            yield Reachability(
                subject=f"role {session.role}", ok=True, seen=f"warning: it {what}; an exit needs to read only",
                hint="CREATE ROLE exit_reader LOGIN IN ROLE pg_read_all_data",
            )  # fmt: skip

    def discover(self) -> Iterator[Asset]:
        """The database, then each of its tables, large objects among them; a foreign table with the reason it stays."""
        session = self._pool.session
        with session.reading(f"database {session.database}"):
            tables = self._tables(session)
        yield Asset(source=self.name, kind=Kind.DATABASE, name=session.database)
        for table in tables:
            obstacle = "a foreign table: its rows lie on another server" if table.kind == "f" else None
            yield Asset(
                source=self.name, kind=Kind.TABLE, name=table.name, rows=table.rows, size_bytes=table.size_bytes,
                obstacle=obstacle,
            )  # fmt: skip

    def export(self, asset: Asset, into: "BundleWriter") -> None:
        """Write the asset's files. A part that an earlier, killed run left is kept when it holds what this snapshot
        sees, and else redone.

        Raises:
            SourceError: the server refused this asset, or went away.
        """
        session = self._one_snapshot()
        if self._exported.get(asset.id) is session:
            return
        if asset.kind is Kind.DATABASE:
            into.discard(asset)
            with session.reading(f"database {asset.name}"):
                self._next_before = postgres_catalog.next_values(session)
            for name, content in self._schema(session, asset).items():
                with into.part(f"{asset.folder}/{name}") as stream:
                    stream.write(content)
        else:
            postgres_table.export(
                self._pool, self._table(session, asset), asset, into, part_bytes=self._part_bytes,
                part_rows=self.settings.part_rows,
            )  # fmt: skip
        self._exported[asset.id] = self._first = session

    def stands(self, asset: Asset, into: "BundleWriter") -> bool:
        """Whether each part of a table holds what this snapshot sees too, and the schema's dump is the same.

        Raises:
            SourceError: the server refused this asset, or went away.
        """
        session = self._one_snapshot()
        if asset.kind is Kind.DATABASE:
            same = all(
                into.digest(f"{asset.folder}/{name}") == hashlib.sha256(content).hexdigest()
                for name, content in self._schema(session, asset).items()
            )
        else:
            table = self._table(session, asset)
            same = postgres_table.stands(self._pool, table, asset, into, part_bytes=self._part_bytes)
        if same:
            self._first = session
        return same

    def witness(self, asset: Asset) -> Witness:
        """Ask again in the export's own snapshot, by another protocol and another decoder.

        Raises:
            SourceError: the server refused, or the snapshot of the export is gone.
        """
        session = self._exported.get(asset.id)
        if session is None or not self._pool.holds(session):
            raise SourceLostError(
                f"{asset.name}: the snapshot that its export read is gone, so nothing can bear witness to it",
                hint="type the same command again: this asset is exported again",
            )
        if asset.kind is Kind.DATABASE:
            with session.reading(f"database {asset.name}"):
                names = postgres_catalog.witnessed(session)
                definitions = postgres_catalog.definitions(session, names)
                before, after = self._next_before, postgres_catalog.next_values(session)
                closed = [name for name, _, _ in postgres_catalog.sequences(session) if name not in after]
            facts = {
                "classes": names,
                "definitions": definitions,
                "counts": {kind: len(one) for kind, one in names.items()},
                "next_values": {name: {**one, "before": before.get(name, one)["next"]} for name, one in after.items()},
                "unseen": {"sequence value": closed} if closed else {},
                "seen_share": len(names) / (len(names) + bool(closed)),
                "server_version": session.version,
                "locale": postgres_catalog.witnessed_locale(session),
            }
            return Witness(method="postgresql catalogs, asked again in the same snapshot", facts=facts)
        return postgres_witness.of_table(
            self._pool, self._table(session, asset), part_bytes=self._part_bytes, strong=self.settings.strong,
            sampling=self._sampling,
        )  # fmt: skip

    def close(self) -> None:
        """Give the connection and its snapshot back."""
        self._pool.close()
        self._exported.clear()
        self._first = None

    # --- one snapshot ------------------------------------------------------------------------------------------

    def _one_snapshot(self) -> Session:
        """The session of the whole export.

        Raises:
            SourceLostError: its connection was lost between two assets: tables of two moments must not mix.
        """
        session = self._pool.session
        if self._first not in (None, session):
            raise SourceLostError(
                f"{session.where}: the connection was lost, and with it the snapshot that the export began with",
                hint="type the same command again: what is unchanged since is kept",
            )
        return session

    @property
    def _url(self) -> str:
        return str(self.settings.url.reveal(key=f"source.{self.name}.url"))

    @property
    def _password(self) -> str | None:
        secret = self.settings.password
        return None if secret is None else secret.reveal(key=f"source.{self.name}.password")

    def _connect(self, snapshot: str) -> Session:
        return Session.open(
            self._url, self._password, connect_timeout_s=self.settings.connect_timeout_s,
            statement_timeout_s=self.settings.statement_timeout_s, snapshot=snapshot,
        )  # fmt: skip

    @property
    def _part_bytes(self) -> int:
        return int(self.settings.part_mib * (1 << 20))

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

    def _schema(self, session: Session, asset: Asset) -> dict[str, bytes]:
        """The database's files, by name."""
        program = postgres_dump.find(self.settings.pg_dump)
        postgres_dump.require(program, session.major)
        with session.reading(f"database {asset.name}"):
            closed = [one for one in self._tables(session) if not (one.readable and one.schema_usable)]
            document = {
                **postgres_catalog.inventory(session), "locale": postgres_catalog.locale(session.rows),
                "settings": postgres_catalog.settings(session.rows),
                "large_object_owners": postgres_catalog.owners_of_large_objects(session),
            }  # fmt: skip
            known = postgres_catalog.next_values(session)
            hidden = [name for name, _, _ in postgres_catalog.sequences(session) if name not in known]
        sql = postgres_dump.schema(
            program, parameters(self._url), self._password, snapshot=session.snapshot,
            without=[table.name for table in closed],
        )  # fmt: skip
        limits = [f"table {table.name} is not in schema.sql: SELECT denied to {session.role}" for table in closed]
        limits += [f"the value of sequence {name} is not proved: SELECT denied to {session.role}" for name in hidden]
        described = {
            "format": "reversible-database/1", "source_type": "postgresql", "name": session.database,
            "server_version": session.version, "encoding": session.encoding, "limitations": limits, **document,
        }  # fmt: skip
        return {"schema.sql": sql, "database.json": json_bytes(described)}
