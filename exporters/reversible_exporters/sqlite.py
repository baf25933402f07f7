"""How does an SQLite database leave with each value's own storage class, in one snapshot?

Export: the engine's own values, a typed Parquet column per class and the others set aside (`sqlite_values`); the
schema as sqlite_schema holds it. Witness: in the same snapshot the engine spells each value in text, which our own
code reads (`sqlite_witness`), fingerprinted under a challenge drawn after the export; and totals by the engine.
"""

import secrets
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from reversible import fingerprint
from reversible.assets import Asset, Kind
from reversible.errors import SourceError
from reversible.fingerprint import sample
from reversible.fingerprint.sample import Sample
from reversible.interfaces import Reachability, Witness
from reversible.plan.sampling import SamplingSettings
from reversible.secrets import Text
from reversible_exporters import sqlite_catalog, sqlite_values, sqlite_witness, table_parts
from reversible_exporters.sqlite_catalog import Table
from reversible_exporters.sqlite_session import Session, reading
from reversible_exporters.sqlite_values import Column
from reversible_exporters.table_sample import Sampling, Threshold

if TYPE_CHECKING:
    from reversible.bundle.writer import BundleWriter


class SQLiteSettings(SamplingSettings):
    """The keys of [source.NAME] when kind = "sqlite"."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Text = Field(description="the database file")
    busy_timeout_s: float = Field(10.0, ge=0, description="seconds to wait for a writer that holds the file")
    part_rows: int = Field(500_000, ge=1, description="rows of one Parquet file")


class SQLiteExporter:
    """Reads one SQLite file, and only reads. Databases that its application attaches are files of their own."""

    Settings: ClassVar[type[BaseModel]] = SQLiteSettings

    def __init__(self, name: str, settings: SQLiteSettings) -> None:
        self.name = name
        self.settings = settings
        self._open: Session | None = None
        self._sampling = Sampling.of(settings)
        self._exported: dict[str, Session] = {}  # asset id -> the snapshot that its export read

    def __repr__(self) -> str:
        return f"SQLiteExporter({self.name!r})"

    @property
    def endpoints(self) -> tuple[str, ...]:
        """None: a file has no address."""
        return ()

    @property
    def _path(self) -> Path:
        return Path(self.settings.path.reveal(key=f"source.{self.name}.path"))

    def check(self) -> Iterator[Reachability]:
        """The file, what a writer notices of us, each table's rows, and whether the pages are sound."""
        try:
            session = self._session()
            with reading(self._path.name):
                found = [table for table in sqlite_catalog.tables(session) if table.kind != "virtual"]
                sound = session.value("PRAGMA quick_check(1)")
        except SourceError as error:
            yield Reachability(subject=str(self._path), ok=False, seen=error.message, hint=error.hint)
            return
        waits = "writers go on" if session.changes_under_us else "writers wait until it is closed: not in WAL mode"
        seen = f"SQLite {sqlite3.sqlite_version}, {session.encoding}, {len(found)} tables; while it is read, {waits}"
        yield Reachability(subject=str(self._path), ok=True, seen=seen)
        hint = "" if sound == "ok" else "PRAGMA integrity_check; the last good backup"
        yield Reachability(subject=f"{self._path.name}: pages", ok=sound == "ok", seen=str(sound), hint=hint)

    def discover(self) -> Iterator[Asset]:
        """The database, then each table. A virtual table's rows are its shadow tables'; without any they stay."""
        session = self._session()
        with reading(self._path.name):
            found = sqlite_catalog.tables(session)
            yield Asset(source=self.name, kind=Kind.DATABASE, name=self._path.name)
            for table in found:
                if table.kind != "virtual":
                    rows = session.value(f"SELECT count(*) FROM {table.source}")  # noqa: S608 - a quoted name
                    yield Asset(source=self.name, kind=Kind.TABLE, name=table.name, rows=rows)
                elif not sqlite_catalog.shadows(found, table):
                    yield Asset(
                        source=self.name, kind=Kind.TABLE, name=table.name,
                        obstacle="a virtual table without shadow tables: its rows lie outside this file",
                    )  # fmt: skip

    def export(self, asset: Asset, into: "BundleWriter") -> None:
        """Write the asset's files. Parts of an earlier, killed run come from another snapshot and are redone.

        Raises:
            SourceError: SQLite refused.
        """
        session = self._session()
        if self._exported.get(asset.id) is session:
            return
        into.discard(asset)
        with reading(f"{asset.kind} {asset.name}"):
            if asset.kind is Kind.DATABASE:
                self._export_schema(session, asset, into)
            else:
                self._export_table(session, asset, into)
        self._exported[asset.id] = session

    def stands(self, asset: Asset, into: "BundleWriter") -> bool:
        """Never: an earlier run's transaction is gone, and nothing tells its moment from this one's."""
        return False

    def witness(self, asset: Asset) -> Witness:
        """Ask again in the export's own snapshot.

        Raises:
            SourceError: SQLite refused, or the snapshot of the export is gone.
        """
        session = self._exported.get(asset.id)
        if session is None or session is not self._open:
            raise SourceError(
                f"{asset.name}: the snapshot that its export read is gone, so nothing can bear witness to it",
                hint="type the same command again: this asset is exported again",
            )
        with reading(f"{asset.kind} {asset.name}"):
            if asset.kind is Kind.TABLE:
                return self._witness_table(session, asset)
            definitions = sqlite_catalog.witnessed(session)
            facts = {
                "definitions": definitions,
                "counts": dict(Counter(kind for kind, _, _ in definitions)),
                "sequence_values": dict(sqlite_catalog.sequences(session)),
                "settings": sqlite_catalog.settings(session),
                "server_version": sqlite3.sqlite_version,
            }
            return Witness(method="sqlite_schema, spelled by the engine in the same snapshot", facts=facts)

    def close(self) -> None:
        """End the snapshot."""
        if self._open is not None:
            self._open.close()
        self._open = None
        self._exported.clear()

    # --- helpers -----------------------------------------------------------------------------------------------

    def _session(self) -> Session:
        if self._open is None:
            self._open = Session.open(self._path, busy_timeout_s=self.settings.busy_timeout_s)
        return self._open

    def _table(self, session: Session, asset: Asset) -> Table:
        for table in sqlite_catalog.tables(session):
            if table.name == asset.name:
                return table
        raise SourceError(f"table {asset.name} is not in {self._path.name}", hint="reversible inventory")

    def _export_schema(self, session: Session, asset: Asset, into: "BundleWriter") -> None:
        definitions = sqlite_catalog.definitions(session)
        settings = sqlite_catalog.settings(session)
        with into.part(f"{asset.folder}/schema.sql") as stream:
            stream.write(script(definitions, settings).encode())
        limits = [
            f"{name} is a cache that ANALYZE fills: not exported, run ANALYZE after a restore"
            for name in sqlite_catalog.statistics(session)
        ]
        classes: dict[str, list[str]] = {}
        for one in definitions:
            classes.setdefault(one.kind, []).append(one.name)
        into.put_json(
            f"{asset.folder}/database.json",
            {
                "format": "reversible-database/1", "source_type": "sqlite", "name": self._path.name,
                "server_version": sqlite3.sqlite_version, "encoding": session.encoding, "limitations": limits,
                "settings": settings, "classes": classes, "counts": {kind: len(one) for kind, one in classes.items()},
                "sequence_values": [
                    {"name": name, "last_value": last, "increment": 1}
                    for name, last in sqlite_catalog.sequences(session).items()
                ],
            },
        )  # fmt: skip

    def _export_table(self, session: Session, asset: Asset, into: "BundleWriter") -> None:
        table = self._table(session, asset)
        columns = sqlite_catalog.columns(session, table)
        keys = sqlite_catalog.keys(session, table, columns)
        schema = pa.schema([column.field() for column in columns])
        blocks = sqlite_values.blocks(session, table.source, columns)
        rows = table_parts.write_parts(blocks, schema, asset, into, part_rows=self.settings.part_rows)
        into.put_json(
            f"{asset.folder}/table.json",
            {
                "format": "reversible-table/1", "source_type": "sqlite", "name": table.name, "rows": rows,
                "kind": table.kind, "without_rowid": table.without_rowid, "strict": table.strict,
                "rowid": next((one.name for one in columns if one.is_rowid), None),
                "columns": [_describe(column) for column in columns], **keys, "placeholder": None,
            },
        )  # fmt: skip

    def _witness_table(self, session: Session, asset: Asset) -> Witness:
        table = self._table(session, asset)
        challenge = secrets.token_hex(32)
        columns = sqlite_catalog.columns(session, table)
        rows = session.value(f"SELECT count(*) FROM {table.source}")  # noqa: S608 - a quoted name
        families = tuple(fingerprint.Column(one.name, one.family) for one in columns)
        drawn_by = None if self._sampling is None else self._sampling.threshold(rows)
        if drawn_by is not None:
            plan = fingerprint.Plan(challenge, families, _identity(columns))
            return self._sampled(session, table, columns, plan, rows, drawn_by)
        plan = fingerprint.Plan(challenge, families, _identity(columns), fingerprint.buckets_for(rows))
        sums = fingerprint.Accumulator(plan)
        broken: set[str] = set()
        for cells, count in sqlite_witness.batches(session, table.source, columns):
            sums.add(cells, count)
            broken |= {name for name, one in cells.items() if sqlite_witness.is_broken(one)}
        found = sums.result()
        counted, by_column = sqlite_witness.totals(session, table.source, columns, broken)
        if not found.rows == rows == counted:
            raise SourceError(f"table {table.name}: SQLite counted {rows} rows and sent {found.rows}")
        return Witness(
            method=f"{_METHOD}; count, sum, min and max by the engine",
            facts={
                **_facts(session, table, columns),
                "rows": rows,
                "totals": by_column,
                "fingerprint": found.to_json(),
            },
            tables=found.to_tables(),
        )

    def _sampled(
        self, session: Session, table: Table, columns: list[Column], plan: fingerprint.Plan, rows: int,
        drawn_by: Threshold,
    ) -> Witness:  # fmt: skip
        """Some rows, drawn by the hash of their key; which texts are valid is then asked of every one of them."""
        where = sqlite_witness.drawn(session, table.name, [one for one in columns if one.name in plan.key], drawn_by)
        read = sqlite_witness.batches(session, table.source, columns, where)
        pieces = [sample.images(plan, cells, count) for cells, count in read]
        try:
            drawn = Sample.of(plan, pieces, population=rows, rate=drawn_by.rate, seed=drawn_by.seed)
        except ValueError as error:
            raise SourceError(f"table {table.name}: {error}") from error
        counted, by_column = sqlite_witness.totals(session, table.source, columns, {one.name for one in columns})
        if counted != rows:
            raise SourceError(f"table {table.name}: SQLite counted {rows} rows, and then {counted}")
        return Witness(
            method=f"rows drawn by their key's SHA-256; {_METHOD}; count, sum, min and max by the engine over all rows",
            facts={**_facts(session, table, columns), "rows": rows, "totals": by_column, "sample": drawn.to_json()},
            tables={"sample": drawn.to_table()},
        )


_METHOD = "SQLite spells each value as text, read by our own code, in the export's snapshot"


def _facts(session: Session, table: Table, columns: list[Column]) -> dict[str, Any]:
    described = [{"name": one.name, "source_type": one.source_type, "nullable": one.nullable} for one in columns]
    return {"columns": described, "constraints": sqlite_catalog.constraints(session, table)}


def script(definitions: list[sqlite_catalog.Definition], settings: dict[str, Any]) -> str:
    """schema.sql: `sqlite3 new.db < schema.sql` makes the empty database."""
    lines = [f"PRAGMA {name} = {value!r};" for name, value in settings.items()]
    # A line comment at the end of a definition would swallow the semicolon.
    lines += [one.sql + ("\n;" if "--" in one.sql.rpartition("\n")[2] else ";") for one in definitions]
    return "\n".join(lines) + "\n"


def _identity(columns: list[Column]) -> tuple[str, ...]:
    """The columns that name a row: the rowid where it is a column of ours, since SQLite lets other keys be NULL."""
    rowid = tuple(one.name for one in columns if one.is_rowid)
    return rowid or tuple(one.name for one in sorted(columns, key=lambda one: one.key_place) if one.key_place)


def _describe(column: Column) -> dict[str, Any]:
    return {
        "name": column.name, "source_type": column.source_type, "family": column.family,
        "arrow_type": str(column.field().type), "nullable": column.nullable, "default": column.default,
        "collation": column.collation, "comment": None, "identity": None, "generated": column.generated,
        "domain": None, "storage_class": column.stored,
        "classes": {kind: column.classes[kind] for kind in sqlite_values.CLASSES},
    }  # fmt: skip
