"""Does a part of a table never stand by a transaction number that a crash let the server give out twice?

With synchronous_commit = off a commit is seen by others before it is on disk. A crash then loses it, and the next
transaction may get the same number: its rows look as old as those that were read.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pyarrow.parquet as pq
import pytest

from reversible.assets import Asset
from reversible.bundle.writer import BundleWriter
from reversible_exporters.postgres import PostgresExporter, PostgresSettings
from reversible_samples.postgres_server import PostgresServer


@pytest.fixture(scope="module")
def lazy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A server that writes a commit to disk seconds after it answered."""
    with PostgresServer(tmp_path_factory.mktemp("postgres")) as server:
        with psycopg.connect(server.url, autocommit=True) as connection:
            for name, value in {
                "synchronous_commit": "off", "wal_writer_delay": "10s", "autovacuum": "off", "checkpoint_timeout": "1h",
                "wal_level": "minimal", "max_wal_senders": "0",  # else a record of running transactions is forced out
            }.items():  # fmt: skip
                connection.execute(f"ALTER SYSTEM SET {name} = '{value}'")  # type: ignore[arg-type]
        server.stop()
        server.restart()
        yield server


def crash_of_the_server(server: PostgresServer) -> None:
    server.kill()
    server.restart()


def crash_of_one_backend(server: PostgresServer) -> None:
    """The postmaster lives on, ends every other process, and recovers."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        ((pid, started),) = connection.execute("SELECT pg_backend_pid(), pg_postmaster_start_time()").fetchall()
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while True:
        try:
            with psycopg.connect(server.url) as connection:
                assert connection.execute("SELECT pg_postmaster_start_time()").fetchone() == (started,)
                return
        except psycopg.OperationalError:
            assert time.monotonic() < deadline
            time.sleep(0.1)


@pytest.mark.parametrize("crash", [crash_of_the_server, crash_of_one_backend])
def test_a_part_does_not_stand_by_a_number_that_was_given_twice(
    lazy: PostgresServer, tmp_path: Path, crash: Callable[[PostgresServer], None]
) -> None:
    with psycopg.connect(lazy.url, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS t")
        connection.execute("CREATE TABLE t AS SELECT g AS id, 'avant' AS v FROM generate_series(1, 100) g")
        connection.execute("CHECKPOINT")
        lost = write(connection, "perdu")
    asset = stopped(lazy, tmp_path / "b")
    crash(lazy)
    with psycopg.connect(lazy.url, autocommit=True) as connection:
        again = write(connection, "autre")
    source = exporter(lazy)
    with closing(source), BundleWriter(tmp_path / "b") as writer:
        stands = source.stands(asset, writer)
        source.export(asset, writer)
    (part,) = (tmp_path / "b.partial" / asset.folder).glob("part-*.parquet")

    assert lost == again  # the very number: else this test shows nothing
    assert not stands
    assert "autre" in pq.read_table(part)["v"].to_pylist()


def test_a_part_stands_once_its_snapshot_is_on_disk(lazy: PostgresServer, tmp_path: Path) -> None:
    with psycopg.connect(lazy.url, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS t")
        connection.execute("CREATE TABLE t AS SELECT g AS id, 'avant' AS v FROM generate_series(1, 100) g")
        write(connection, "gardé")
        connection.execute("SET synchronous_commit = on")
        connection.execute("CREATE TABLE IF NOT EXISTS forces_the_log_to_disk ()")
        write(connection, "gardé aussi")
    asset = stopped(lazy, tmp_path / "b")
    crash_of_one_backend(lazy)
    source = exporter(lazy)
    with closing(source), BundleWriter(tmp_path / "b") as writer:
        assert source.stands(asset, writer)


@pytest.mark.parametrize("closed", ["pg_current_wal_insert_lsn()", "pg_current_wal_flush_lsn()", "pg_control_system()"])
def test_a_server_that_does_not_tell_is_read_all_the_same_and_read_again(
    lazy: PostgresServer, tmp_path: Path, closed: str
) -> None:
    """Managed services close such functions: no evidence is no reason to refuse a table, nor to keep a part."""
    with psycopg.connect(lazy.url, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS t")
        connection.execute("CREATE TABLE t AS SELECT 1 AS id")
        connection.execute("DROP ROLE IF EXISTS lit")
        connection.execute("CREATE ROLE lit LOGIN SUPERUSER")
        connection.execute("ALTER ROLE lit NOSUPERUSER PASSWORD 'lit'")
        connection.execute("GRANT pg_read_all_data TO lit")
        connection.execute(f"REVOKE EXECUTE ON FUNCTION {closed} FROM PUBLIC")  # type: ignore[arg-type]
        try:
            asset = stopped(lazy, tmp_path / "b", user="lit")
            source = exporter(lazy, user="lit")
            with closing(source), BundleWriter(tmp_path / "b") as writer:
                stands = source.stands(asset, writer)
                source.export(asset, writer)
                witness = source.witness(asset)
        finally:
            connection.execute(f"GRANT EXECUTE ON FUNCTION {closed} TO PUBLIC")  # type: ignore[arg-type]

    assert not stands
    assert witness.facts["rows"] == 1


def exporter(server: PostgresServer, *, user: str = "postgres") -> PostgresExporter:
    os.environ["TEST_ADMIN"] = server.password if user == "postgres" else user
    given = {"url": server.url_of(user), "password": "${TEST_ADMIN}", "pg_dump": server.pg_dump}
    return PostgresExporter("shop", PostgresSettings.model_validate(given))


def write(connection: "psycopg.Connection[tuple[object, ...]]", text: str) -> str:
    """Change one row; return the number of the transaction that did."""
    connection.execute("UPDATE t SET v = %s WHERE id = 1", (text,))
    ((xmin,),) = connection.execute("SELECT xmin::text FROM t WHERE id = 1").fetchall()
    return str(xmin)


def stopped(server: PostgresServer, root: Path, *, user: str = "postgres") -> Asset:
    """An export of the table whose process dies when its part is written."""
    source = exporter(server, user=user)
    asset = next(one for one in source.discover() if one.name == "public.t")
    with closing(source), BundleWriter(root) as writer:
        source.export(asset, writer)
        writer.close_asset(asset, exporter="test", at=datetime(2026, 11, 24, tzinfo=UTC))
    return asset
