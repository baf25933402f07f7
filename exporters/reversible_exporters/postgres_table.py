"""How does one table leave: its rows in parts, by ranges, side by side, and what the table means beside them?"""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from reversible.assets import Asset
from reversible.errors import SourceError
from reversible.machine_code import Loop
from reversible_exporters import (
    postgres_catalog,
    postgres_csv,
    postgres_loops,
    postgres_ranges,
    postgres_text,
    table_parts,
)
from reversible_exporters.postgres_catalog import Table
from reversible_exporters.postgres_copy import Pace, Rows, copy
from reversible_exporters.postgres_pool import Pool
from reversible_exporters.postgres_ranges import Range
from reversible_exporters.postgres_session import Session
from reversible_exporters.postgres_types import Column
from reversible_exporters.table_parts import Block, Pieces

if TYPE_CHECKING:
    from reversible.bundle.writer import BundleWriter

_ORIGINS = "origins.json"
PLACEHOLDER = "reversible_row"  # a Parquet file needs a column to have rows; a PostgreSQL table does not


def export(pool: Pool, table: Table, asset: Asset, into: "BundleWriter", *, part_bytes: int, part_rows: int) -> None:
    """Write the table's parts and table.json; parts of an earlier run that still stand are kept.

    Raises:
        SourceError: the server refused, or went away.
    """
    session = pool.session
    subject, hint = f"table {table.name}", grant(session, table)
    require_select(session, table)
    with session.reading(subject, hint):
        columns = postgres_catalog.columns(session, table)
        keys = postgres_catalog.keys(session, table)
        groups = _groups(session, table, part_bytes)
        form = postgres_ranges.shape(session, table, columns)
        on_disk = session.on_disk
    loops = postgres_loops.loops(table.size_bytes or 0) if columns else None
    parts = _Parts(asset, into, columns, form, on_disk=on_disk, loops=loops)
    if groups[0][0].first is None:  # this server, or this table, cannot be read by ranges
        into.discard(asset)
        rows = pool.each(subject, hint, groups[0], lambda worker, one, pace: parts.stream(worker, one, pace, part_rows))
    else:
        parts.keep(len(groups))
        rows = pool.each(subject, hint, list(enumerate(groups)), parts.write)
        into.put_json(f"{asset.folder}/{_ORIGINS}", parts.origins(len(groups)))
    into.put_json(
        f"{asset.folder}/table.json",
        {
            "format": "reversible-table/1", "source_type": "postgresql", "name": table.name, "rows": sum(rows),
            "columns": [_describe(column) for column in columns], **keys,
            "placeholder": None if columns else PLACEHOLDER,
        },
    )  # fmt: skip


def stands(pool: Pool, table: Table, asset: Asset, into: "BundleWriter", *, part_bytes: int) -> bool:
    """Whether the parts that an earlier run finished hold what this snapshot sees too.

    Raises:
        SourceError: the server refused, or went away.
    """
    session = pool.session
    require_select(session, table)
    with session.reading(f"table {table.name}", grant(session, table)):
        columns = postgres_catalog.columns(session, table)
        groups = _groups(session, table, part_bytes)
        parts = _Parts(asset, into, columns, postgres_ranges.shape(session, table, columns))
        beyond = into.has(parts.path(len(groups)) + ".parquet")
        known = (parts.known(session, group, parts.origin(number)) for number, group in enumerate(groups))
        return not beyond and all(rows is not None for rows in known)


def require_select(session: Session, table: Table) -> None:
    """Refuse a table, naming its closed columns where only some are.

    Raises:
        SourceError: the role may not read it whole.
    """
    if table.readable and table.schema_usable:
        return
    closed = postgres_catalog.closed_columns(session, table)
    which = f" on column {', '.join(closed)}" if closed else ""
    raise SourceError(f"table {table.name}: SELECT denied to {session.role}{which}", hint=grant(session, table))


def grant(session: Session, table: Table) -> str:
    """What the database's owner has to type."""
    schema = '"' + table.schema.replace('"', '""') + '"'
    grants = [] if table.schema_usable else [f"GRANT USAGE ON SCHEMA {schema} TO {session.quoted_role};"]
    return " ".join([*grants, f"GRANT SELECT ON {table.name} TO {session.quoted_role}"])


def _groups(session: Session, table: Table, part_bytes: int) -> list[list[Range]]:
    """The ranges of each part."""
    return postgres_ranges.grouped(postgres_ranges.ranges(session, table, part_bytes), session, part_bytes)


class _Parts:
    """Writes the parts of one table; `write` may run in several threads at once."""

    def __init__(
        self, asset: Asset, into: "BundleWriter", columns: Sequence[Column], form: str, *, on_disk: bool = False,
        loops: Mapping[str, Loop] | None = None,
    ) -> None:  # fmt: skip
        self._asset = asset
        self._into = into
        self._columns = columns or [Column(name=PLACEHOLDER, source_type="", base="bool", typmod=-1)]
        self._schema = pa.schema([column.field() for column in self._columns])
        self._select = ", ".join(one.quoted for one in columns) or "NULL::boolean"
        self._form = form
        self._on_disk = on_disk
        self._loops = loops

    def path(self, number: int) -> str:
        return f"{self._asset.folder}/part-{number:05d}"

    def origin(self, number: int) -> list[dict[str, Any]] | None:
        """The ranges that a part of this bundle was read from; None when it is not there, whole."""
        path = self.path(number)
        noted = self._into.origin(f"{path}.parquet")
        if noted is None or noted["exceptions"] != self._into.digest(f"{path}.exceptions.parquet"):
            return None  # without its sidecar, or with another's, a part holds NULL where the source does not
        return list(noted["ranges"])

    def origins(self, count: int) -> dict[str, Any]:
        """What a later run must know to take these parts over."""
        parts = [{"file": f"part-{number:05d}.parquet", "ranges": self.origin(number)} for number in range(count)]
        return {"format": "reversible-origins/1", "parts": parts}

    @cached_property
    def _earlier(self) -> list[list[dict[str, Any]]]:
        """The ranges of each part of the bundle that this run continues; none when it has not this table."""
        since = self._into.since
        path = f"{self._asset.folder}/{_ORIGINS}"
        if since is None or path not in since.manifest:
            return []
        return [part["ranges"] for part in since.document(self._asset, _ORIGINS)["parts"]]

    def known(self, session: Session, group: Sequence[Range], known: list[dict[str, Any]] | None) -> int | None:
        """How many rows a part holds that was read from the ranges `known`, if these still stand."""
        if known is None or len(known) != len(group):
            return None
        if all(postgres_ranges.stands(session, *one, form=self._form) for one in zip(group, known, strict=True)):
            return sum(int(one["rows"]) for one in known)
        return None

    def keep(self, count: int) -> None:
        """Drop all that an earlier run left but the first `count` parts, of which `write` decides one by one."""
        paths = [self.path(number) for number in range(count)]
        kept = {f"{path}.parquet" for path in paths if self._into.origin(f"{path}.parquet")}
        kept |= {f"{path}.exceptions.parquet" for path in paths if f"{path}.parquet" in kept}
        self._into.keep_parts(self._asset, kept)

    def write(self, session: Session, numbered: tuple[int, Sequence[Range]], pace: Pace) -> int:
        """Write one part, unless an earlier run's still stands; return its rows."""
        number, group = numbered
        path = self.path(number)
        known = self.known(session, group, self.origin(number))
        if known is not None:
            return known
        self._into.drop_parts([f"{path}.parquet", f"{path}.exceptions.parquet"])
        earlier = self._earlier[number] if number < len(self._earlier) else None
        known = self.known(session, group, earlier)
        if known is not None:
            return self._adopt(path, known, earlier)
        counts = [0] * len(group)
        with closing(self._chunks(session, group, counts, pace)) as chunks:
            pieces = Pieces(self._blocks(chunks), self._schema)
            rows = table_parts.write_part(pieces, self._schema, path, self._into)
        if rows != sum(counts):
            raise ValueError(f"{sum(counts)} rows were sent and {rows} written")
        ranges = [
            postgres_ranges.origin(session, one, count, self._form, on_disk=self._on_disk)
            for one, count in zip(group, counts, strict=True)
        ]
        self._note(path, ranges)
        return rows

    def _note(self, path: str, ranges: list[dict[str, Any]] | None) -> None:
        sidecar = self._into.digest(f"{path}.exceptions.parquet")
        self._into.note_origin(f"{path}.parquet", {"ranges": ranges, "exceptions": sidecar})

    def _adopt(self, path: str, rows: int, ranges: list[dict[str, Any]] | None) -> int:
        """Take the part over from the earlier bundle; its sidecar first, as when it was written."""
        sidecar = f"{path}.exceptions.parquet"
        if self._into.since is not None and sidecar in self._into.since.manifest:
            self._into.adopt(sidecar)
        self._into.adopt(f"{path}.parquet")
        self._note(path, ranges)
        return rows

    def stream(self, session: Session, one: Range, pace: Pace, part_rows: int) -> int:
        """Write the table in one stream, cut into parts by rows; return its rows."""
        with closing(self._chunks(session, [one], [0], pace)) as chunks:
            blocks = self._blocks(chunks)
            return table_parts.write_parts(blocks, self._schema, self._asset, self._into, part_rows=part_rows)

    def _blocks(self, chunks: Iterable[Rows]) -> Iterator[Block]:
        if self._loops is None:
            return postgres_csv.blocks(chunks, self._columns)
        return postgres_text.blocks(chunks, self._columns, self._loops)

    def _chunks(
        self, session: Session, group: Sequence[Range], counts: list[int], pace: Pace
    ) -> Generator[Rows, None, None]:
        """The rows of one range after the other, each range's counted."""
        for place, one in enumerate(group):
            query = f"SELECT {self._select} FROM {one.rows}"  # noqa: S608 - quoted names
            form = "csv" if self._loops is None else "text"
            with closing(copy(session, query, form, pace, self._loops)) as chunks:
                for chunk in chunks:
                    counts[place] += len(chunk)
                    yield chunk


def _describe(column: Column) -> dict[str, Any]:
    stored = column.stored
    return {
        "name": column.name, "source_type": column.source_type, "family": stored.family,
        "arrow_type": str(stored.arrow), "nullable": column.nullable, "default": column.default,
        "collation": column.collation, "comment": column.comment, "identity": column.identity,
        "generated": column.generated, "domain": column.domain,
    }  # fmt: skip
