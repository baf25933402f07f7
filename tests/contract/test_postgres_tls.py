"""Does a table leave PostgreSQL through TLS, by the driver and by the compiled loops that call libpq themselves?

libpq decrypts behind both, and keeps bytes back that its socket no longer shows. The PostgreSQL of the wheels is built
without TLS: these tests run on one of npm's.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from test_postgres_copy import Loops, drivers_own, loops, messages

from certificates import Authority
from postgres_versions import programs
from reversible.assets import Kind
from reversible.bundle.writer import BundleWriter
from reversible.errors import SourceError
from reversible_exporters import postgres_copy, postgres_loops
from reversible_exporters.postgres import PostgresExporter, PostgresSettings
from reversible_samples.postgres_server import PostgresServer
from reversible_verifiers.rows import Rows
from reversible_verifiers.values import Values

__all__ = ["loops"]  # a fixture
pytestmark = pytest.mark.slow
AT = datetime(2026, 11, 27, tzinfo=UTC)
ROWS = 100_000
CREATE = f"""
CREATE TABLE big AS SELECT g AS id, repeat(md5(g::text), 1 + g % 7) AS text, g * 0.25 AS price, now() AS at
  FROM generate_series(1, {ROWS}) g;
INSERT INTO big VALUES (0, repeat('é', 5000000), NULL, NULL)"""  # noqa: S608 - a number


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = Authority(folder).issue("127.0.0.1")
    with PostgresServer(folder / "server", programs=programs(17)) as running:
        data = running.directory / "data"
        for file in (certificate, key):
            own = Path(shutil.copy(file, data))
            os.chown(own, data.stat().st_uid, data.stat().st_gid)
            own.chmod(0o600)
        with psycopg.connect(running.url, autocommit=True) as owner:
            owner.execute(CREATE.encode())
            for name, value in {"ssl_cert_file": certificate.name, "ssl_key_file": key.name, "ssl": "on"}.items():
                owner.execute(f"ALTER SYSTEM SET {name} = '{value}'".encode())
            owner.execute("SELECT pg_reload_conf()")
            while owner.execute("SHOW ssl").fetchone() != ("on",):
                pass
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("OWNER", running.password)
            yield running


def exporter(server: PostgresServer, ca: Path) -> PostgresExporter:
    url = f"{server.url_of('postgres')}?sslmode=verify-full&sslrootcert={ca}&gssencmode=disable"
    given = {"url": url, "password": "${OWNER}", "workers": 2, "part_mib": 8, "pg_dump": server.pg_dump}
    return PostgresExporter("shop", PostgresSettings.model_validate(given))


@pytest.mark.parametrize("form", ["csv", "binary"])
def test_every_message_arrives_through_tls(server: PostgresServer, form: str, loops: Loops) -> None:
    ca = server.directory.parent / "authority.pem"
    with closing(exporter(server, ca)) as source:
        session = source._pool.session
        ((cipher,),) = session.rows("SELECT cipher FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        blocks = list(postgres_copy.copy(session, "SELECT * FROM public.big ORDER BY id", form, loops=loops))

        assert cipher
        assert messages(blocks) == drivers_own(session, "SELECT * FROM public.big ORDER BY id", form)


def test_a_table_leaves_whole_through_tls(
    server: PostgresServer,
    tmp_path: Path,
    loops: Loops,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    used: list[str] = []
    counted = loops and {name: lambda *given, name=name: used.append(name) or loops[name](*given) for name in loops}
    monkeypatch.setattr(postgres_loops, "loops", lambda size: counted)
    ca = server.directory.parent / "authority.pem"
    with closing(exporter(server, ca)) as source, BundleWriter(tmp_path / "b") as writer:
        table = next(one for one in source.discover() if one.kind is Kind.TABLE)
        source.export(table, writer)
        writer.put_witness(table, source.witness(table))
        writer.close_asset(table, exporter="test", at=AT)
        bundle = writer.finish(about={"tool": "test"}, at=AT)
    found = [one for verifier in (Rows(), Values()) for one in verifier.verify(table, bundle)]

    assert bundle.document(table, "table.json")["rows"] == ROWS + 1
    assert {one.value for one in found} == {0}
    assert set(used) == ({"receive", "split", "columns"} if loops else set())


def test_a_server_whose_certificate_another_authority_signed_is_refused(server: PostgresServer, tmp_path: Path) -> None:
    with (
        pytest.raises(SourceError, match="certificate verify failed"),
        closing(exporter(server, Authority(tmp_path, "another").ca)) as source,
    ):
        list(source.discover())
