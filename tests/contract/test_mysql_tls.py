"""Does a database leave MySQL and MariaDB through TLS, and only to the server whose certificate was promised?

MySQL's caching_sha2_password sends the password itself once, within TLS or under the server's public key.
"""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from test_mysql import dump_program, export, exporter, findings, run, started, wrong

from certificates import Authority
from reversible.errors import SourceError
from reversible_exporters import mysql_dump, mysql_session
from reversible_samples.mariadb_server import MariaDBServer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=["MariaDB", "MySQL"])
def server(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[MariaDBServer]:
    folder = tmp_path_factory.mktemp("tls")
    authority = Authority(folder)
    certificate, key = authority.issue("127.0.0.1")
    with started(str(request.param), folder / "server") as running:
        running.stop()
        running.options = (f"--ssl-ca={authority.ca}", f"--ssl-cert={certificate}", f"--ssl-key={key}")
        running.restart()
        os.environ["TEST_MYSQL"] = running.password
        run(
            running,
            "CREATE TABLE t (id int PRIMARY KEY, x varchar(20))",
            "INSERT INTO t VALUES (1, 'é'), (2, NULL)",
            "FLUSH PRIVILEGES",  # forgets the password that it has checked before
        )
        yield running


def authority(server: MariaDBServer) -> Path:
    return server.directory.parent / "authority.pem"


@pytest.mark.parametrize("tls", ["verify", "encrypt", "off"])
def test_a_database_leaves_whole(server: MariaDBServer, tmp_path: Path, tls: str) -> None:
    ssl_ca = {"ssl_ca": authority(server)} if tls == "verify" else {}
    source = exporter(server, tls=tls, **ssl_ca)
    cipher = source._session().rows("SHOW STATUS LIKE 'Ssl_cipher'")[0][1]
    bundle, refused = export(source, tmp_path / "b")

    assert bool(cipher) == (tls != "off")
    assert not refused
    assert [wrong(findings(bundle.root, asset)) for asset in bundle.assets] == [{}, {}]


@pytest.mark.parametrize("tls", ["verify", "encrypt", "off"])
def test_the_dump_program_is_let_in_by_a_server_that_has_not_seen_the_password_yet(
    server: MariaDBServer, tls: str
) -> None:
    run(server, "FLUSH PRIVILEGES")
    where = mysql_session.address(server.url, tls=tls, ssl_ca=authority(server) if tls == "verify" else None)
    script = mysql_dump.schema(dump_program(server), where, server.password, routines=True, events=True)

    assert b"CREATE TABLE `t`" in script


def test_a_server_whose_certificate_another_authority_signed_is_refused(server: MariaDBServer, tmp_path: Path) -> None:
    with (
        pytest.raises(SourceError, match="CERTIFICATE_VERIFY_FAILED") as caught,
        closing(exporter(server, tls="verify", ssl_ca=Authority(tmp_path, "another").ca)) as source,
    ):
        list(source.discover())

    assert "ssl_ca" in caught.value.hint


def test_a_server_that_asks_for_tls_says_so(server: MariaDBServer) -> None:
    run(server, "SET GLOBAL require_secure_transport = ON")
    try:
        with pytest.raises(SourceError, match=r"without TLS|refused") as caught:
            list(exporter(server, tls="off").discover())
    finally:
        with exporter(server, tls="encrypt")._session().connection as admin, admin.cursor() as cursor:
            cursor.execute("SET GLOBAL require_secure_transport = OFF")

    assert "tls" in caught.value.hint
