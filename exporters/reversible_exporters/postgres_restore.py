"""How does a database get back on its feet in PostgreSQL, and is it then what the source said?

In pg_dump's own order: what rows need, the rows by COPY, the sequences' values, what needs rows, the materialized
views. Then the target's own engine computes the control totals again, and the restored rows are read once more
through COPY's binary format and fingerprinted under the witness's challenge.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reversible.assets import Asset
from reversible.errors import UsageError
from reversible.interfaces import Restored
from reversible_exporters import (
    postgres_restore_objects,
    postgres_restore_proof,
    postgres_restore_rows,
    postgres_restore_script,
    postgres_restore_target,
)
from reversible_exporters.postgres_restore_objects import OBJECTS, PAGES
from reversible_exporters.postgres_restore_script import Statement
from reversible_exporters.postgres_restore_target import Target
from reversible_exporters.postgres_session import driver, one_line, parameters
from reversible_exporters.restored_values import NotEmptyError, complete

if TYPE_CHECKING:
    from reversible.bundle.reader import Bundle

_LARGE = {OBJECTS: postgres_restore_objects.create, PAGES: postgres_restore_objects.fill}  # in this order
_TOGETHER = 8  # parts of one transaction, at most: what a kill costs
_NAME = r'(?:"(?:[^"]|"")*"|[^\s".;(]+)'
_MATERIALIZED = re.compile(rf"CREATE MATERIALIZED VIEW ({_NAME}(?:\.{_NAME})?)")
# Limits of pg_dump's own session, which older servers do not all know; no part of the database.
_SESSION_LIMIT = re.compile(r"SET (statement|lock|transaction|idle_in_transaction_session|idle_session)_timeout = ")
_OWNERSHIP = re.compile(r"ALTER .* OWNER TO ", re.DOTALL)


class PostgresRestorer:
    """Restores one database of a bundle into an empty PostgreSQL database, 13 or newer.

    Args:
        url: postgresql://user@host:5432/database, without a password: libpq finds it.
        allow_non_empty: Go on in a database that holds something; what stands in the way is listed.
        owners: Give each object to its owner at the source, which must exist at the target.
    """

    source_types = frozenset({"postgresql"})

    def __init__(self, url: str, *, allow_non_empty: bool = False, owners: bool = True) -> None:
        if "password" in parameters(url):
            raise UsageError(
                "the URL holds a password: every user of this machine can read it", hint="export PGPASSWORD=…"
            )
        self.url = url
        self.allow_non_empty = allow_non_empty
        self.owners = owners

    def restore(self, bundle: "Bundle", database: Asset, tables: Sequence[Asset]) -> Iterator[Restored]:
        """Yield each step as it ends; the same call goes on after an interruption.

        Raises:
            BundleError: the bundle lacks what it should hold.
            DestinationError: the target cannot be reached or went away.
            UsageError: the target is not empty.
        """
        target = Target.open(self.url, bundle.digest)
        owners = bundle.document(database, "database.json")["large_object_owners"] if self.owners else None
        try:
            with target.answering():
                try:
                    resumed = target.begin(allow_non_empty=self.allow_non_empty)
                except NotEmptyError:
                    steps = list(postgres_restore_proof.of_all(self.url, bundle, tables, owners))
                    found = list(complete(target.where, steps))
                    if not found:
                        raise
                    yield from found
                    return
                if resumed:
                    yield Restored(step="resume", subject=target.where, seen="an interrupted restore is taken up")
                whole = True
                for one in self._steps(target, bundle, database, tables):
                    whole = whole and one.ok is True
                    yield one
                yield from postgres_restore_proof.prove(self.url, bundle, tables, owners)
                if whole:
                    target.end()
        finally:
            target.close()
        if not whole:
            yield Restored(
                step="resume", subject=target.where,
                seen="the same command tries again what was refused;"
                f" DROP SCHEMA {target.journal} CASCADE gives that up",
            )  # fmt: skip

    def _steps(self, target: Target, bundle: "Bundle", database: Asset, tables: Sequence[Asset]) -> Iterator[Restored]:
        document = bundle.document(database, "database.json")
        script = (bundle.folder(database) / "schema.sql").read_text(encoding="utf-8")
        before, after = postgres_restore_script.split(script)
        yield from self._apply(target, before, "before")
        yield from _extensions(target, document)
        yield from postgres_restore_target.apart(target, document)
        for table in tables:
            if table.name not in _LARGE:
                yield from _load(target, bundle, table)
        yield from _large_objects(target, bundle, tables)
        yield from _rights(target, bundle, tables, document["large_object_owners"] if self.owners else {})
        yield from _sequences(target, document)
        yield from self._apply(target, after, "after")
        yield from _materialize(target, [*before, *after], document)

    def _apply(self, target: Target, script: Sequence[Statement], section: str) -> Iterator[Restored]:
        for place, one in enumerate(script):
            if _SESSION_LIMIT.match(one.sql):
                continue
            if not self.owners and _OWNERSHIP.match(one.sql):
                continue
            if one.is_setting:
                yield from _refusals(target, one.sql, one.subject)
            else:
                step = f"{section}:{place}"
                yield from _once(target, step, Restored(step="schema", subject=one.subject), one.sql)


def _once(target: Target, step: str, done: Restored, sql: str) -> Iterator[Restored]:
    if target.is_done(step):
        return
    psycopg = driver()
    try:
        with target.step(step):
            target.run(sql)
    except psycopg.Error as error:
        if target.connection.closed:
            raise
        yield done.refused(_said(error))
    else:
        yield done


def _refusals(target: Target, sql: str, subject: str) -> Iterator[Restored]:
    psycopg = driver()
    try:
        target.run(sql)
    except psycopg.Error as error:
        if target.connection.closed:
            raise
        yield Restored(step="schema", subject=subject).refused(_said(error))


def _load(target: Target, bundle: "Bundle", table: Asset) -> Iterator[Restored]:
    """All parts of a table, each with its note in the journal; nothing when they are all there already."""
    document = bundle.document(table, "table.json")
    names = [one["name"] for one in document["columns"] if not one["generated"]]
    parts = _parts(bundle, table)
    missing = [part for part in parts if not target.is_done(f"rows:{table.id}:{part.name}")]
    if not missing:
        return
    psycopg = driver()
    rows = 0
    try:
        if missing == parts and (obstacle := _clear(target, table)):
            yield Restored(step="rows", subject=table.name).refused(obstacle)
            return
        if missing == parts and len(parts) <= _TOGETHER:
            with target.connection.transaction():
                _start_anew(target, table.name)
                for part in parts:
                    rows += _load_part(target, table, names, part)
            missing = []
        for part in missing:
            rows += _load_part(target, table, names, part)
    except psycopg.Error as error:
        if target.connection.closed:
            raise
        yield Restored(step="rows", subject=table.name).refused(_said(error))
    else:
        yield Restored(step="rows", subject=table.name, rows=rows)


def _large_objects(target: Target, bundle: "Bundle", tables: Sequence[Asset]) -> Iterator[Restored]:
    """The objects, then their pages: each part in one transaction."""
    psycopg = driver()
    for name, put in _LARGE.items():
        for table in [table for table in tables if table.name == name]:
            for part in _parts(bundle, table):
                step, done = f"rows:{table.id}:{part.name}", Restored(step="objects", subject=name)
                if target.is_done(step):
                    continue
                try:
                    with target.step(step):
                        rows = put(target, part)
                except psycopg.Error as error:
                    if target.connection.closed:
                        raise
                    yield done.refused(_said(error))
                else:
                    yield Restored(step="objects", subject=name, rows=rows if name == OBJECTS else 0)


def _rights(target: Target, bundle: "Bundle", tables: Sequence[Asset], owners: dict[str, str]) -> Iterator[Restored]:
    """The owners of large objects, then the grants on them; a role that is missing is one line."""
    for table in [table for table in tables if table.name == OBJECTS]:
        for part in _parts(bundle, table):
            for number, name in owners.items():
                give = partial(postgres_restore_objects.give, target, part, int(number), name)
                yield from _right(target, f"owner:{number}:{part.name}", f"{OBJECTS}: owner {name}", give)
            give = partial(postgres_restore_objects.grant, target, part)
            yield from _right(target, f"grants:{part.name}", f"{OBJECTS}: grants", give)


def _right(target: Target, step: str, subject: str, give: Callable[[], None]) -> Iterator[Restored]:
    """Nothing when it went well: who owns the objects is no step of its own."""
    if target.is_done(step):
        return
    psycopg = driver()
    try:
        with target.step(step):
            give()
    except psycopg.Error as error:
        if target.connection.closed:
            raise
        yield Restored(step="objects", subject=subject).refused(_said(error))


def _parts(bundle: "Bundle", table: Asset) -> list[Path]:
    return [part for part in bundle.parts(table) if not part.name.endswith(".exceptions.parquet")]


def _load_part(target: Target, table: Asset, names: Sequence[str], part: Path) -> int:
    with target.step(f"rows:{table.id}:{part.name}"):
        return _copy(target, table.name, names, part)


def _start_anew(target: Target, name: str) -> None:
    """Let COPY append: into a table that this transaction emptied it puts each row behind the last one.

    Else it fills gaps in earlier pages, and the copy's rows stand in another order than the source's. The order means
    nothing, but with it the dumps of both databases are the same bytes.
    """
    only = _only(target, name)
    if only != name:
        target.run(f"TRUNCATE {only}")


def _clear(target: Target, table: Asset) -> str:
    """Why the table cannot take the rows; an extension's own table is emptied: the bundle holds all its rows."""
    ((member, held),) = target.rows(
        f"SELECT EXISTS (SELECT FROM pg_catalog.pg_depend WHERE classid = 'pg_catalog.pg_class'::pg_catalog.regclass"  # noqa: S608
        f" AND objid = %s::pg_catalog.regclass AND deptype = 'e'), EXISTS (SELECT FROM {_only(target, table.name)})",
        (table.name,),
    )
    if held and member:
        target.run(f"DELETE FROM {table.name}")  # noqa: S608 - quoted by the source
    return "the table holds rows already" if held and not member else ""


def _only(target: Target, name: str) -> str:
    """What SELECT reads of a table alone: an inheritance parent without its children."""
    ((kind,),) = target.rows(
        "SELECT relkind::text FROM pg_catalog.pg_class WHERE oid = %s::pg_catalog.regclass", (name,)
    )
    return name if kind == "p" else f"ONLY {name}"


def _copy(target: Target, name: str, names: Sequence[str], part: Path) -> int:
    """One part by COPY: into identity columns too (it overrides them), and into a parent without its children."""
    quoted = ", ".join('"' + one.replace('"', '""') + '"' for one in names)
    # Without columns: text, in which an empty line is a row.
    form = f"({quoted}) FROM STDIN (FORMAT csv)" if names else "FROM STDIN"
    with target.connection.cursor() as cursor:
        with cursor.copy(f"COPY {name} {form}".encode()) as copy:
            for chunk in postgres_restore_rows.copied(part, names):
                copy.write(chunk)
        return cursor.rowcount


def _sequences(target: Target, document: dict[str, Any]) -> Iterator[Restored]:
    for one in document["sequence_values"]:
        name, last, called = one["name"], one["last_value"], True
        if last is None:
            last, called = one.get("start"), False
        done = Restored(step="sequence", subject=name)
        if last is None:  # the role could not read it: it may have been used
            seen = "its value is not in the bundle: set it before rows are added"
            yield Restored(step="note", subject=f"SEQUENCE {name}", seen=seen)
            continue
        literal = "'" + name.replace("'", "''") + "'"
        sql = f"SELECT pg_catalog.setval({literal}, {int(last)}, {called})"
        yield from _once(target, f"sequence:{name}", done, sql)


def _materialize(target: Target, script: Sequence[Statement], document: dict[str, Any]) -> Iterator[Restored]:
    """The materialized views in the dump's order, which is the order in which they build on each other."""
    empty = set(document["classes"].get("materialized_views_without_data", ()))
    for one in script:
        found = _MATERIALIZED.match(one.sql)
        if found and found[1] not in empty:
            sql = f"REFRESH MATERIALIZED VIEW {found[1]}"
            yield from _once(target, f"refresh:{found[1]}", Restored(step="refresh", subject=found[1]), sql)


def _extensions(target: Target, document: dict[str, Any]) -> Iterator[Restored]:
    """A note for each extension that the target has in another version than the source."""
    here = dict(target.rows("SELECT extname::text, extversion FROM pg_catalog.pg_extension"))
    for line in document["classes"].get("extensions", ()):
        name, _, version = line.rpartition(" ")
        if here.get(name, version) != version:
            seen = f"version {here[name]}; the source has {version}"
            yield Restored(step="note", subject=f"EXTENSION {name}", seen=seen)


def _said(error: BaseException) -> str:
    return one_line(error)
