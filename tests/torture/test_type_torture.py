"""Does every type of PostgreSQL, at its edges, come back as the same text on every version?"""

from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
import type_table
from round_trip import Database, exported, restored, wrong

from postgres_versions import MAJORS, ServerOf
from reversible_exporters import postgres_loops


def tortured(database: Database, major: int) -> list[type_table.Type]:
    """Fill the database with every type that the server has; a value that it cannot read fails the test."""
    known = {name for (name,) in database.rows("SELECT name::text FROM pg_available_extensions")}
    with database.connected() as connection:
        with suppress(psycopg.errors.FeatureNotSupported):
            connection.execute("SELECT '<a/>'::xml")
            known.add("libxml")
        types = type_table.known(major, frozenset(known))
        for statement in type_table.script(types, major):
            connection.execute(statement.encode())
    return types


def texts(database: Database) -> dict[str, bytes]:
    """What the server itself writes for each table: COPY's text."""
    with database.connected() as connection, connection.cursor() as cursor:
        query = "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 't'::regnamespace"
        found = {}
        for (table,) in cursor.execute(query).fetchall():
            with cursor.copy(f"COPY (SELECT * FROM {table} ORDER BY 1) TO STDOUT".encode()) as copy:  # noqa: S608
                found[table] = b"".join(copy)
        return found


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("major", "compiled"), [*((major, False) for major in MAJORS), (min(MAJORS), True), (max(MAJORS), True)]
)
def test_every_value_of_every_type_comes_back(
    postgres_of: ServerOf, major: int, compiled: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if compiled:  # the loops that large tables are read with
        for limit in ("_WORTH_LOADING", "_WORTH_COMPILING"):
            monkeypatch.setattr(postgres_loops, limit, 0)
        assert postgres_loops.loops(0) is not None
    source, target = Database(postgres_of(major)), Database(postgres_of(major))
    types = tortured(source, major)

    bundle = exported(source, tmp_path / "b")
    steps = restored(bundle, target)

    assert wrong(steps) == []
    assert texts(target) == texts(source)
    assert target.dump() == source.dump()
    if major == max(MAJORS):
        assert len(types) >= 90
        assert sum(len(one.texts(major)) for one in types) >= 390
