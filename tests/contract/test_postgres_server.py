"""The sample PostgreSQL is up in a moment, trusts nobody, and never outlives its owner."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from reversible_samples.postgres_server import PostgresServer

OWNER = """
import sys, time
from pathlib import Path
from reversible_samples.postgres_server import PostgresServer
with PostgresServer(Path(sys.argv[1])) as server:
    print((Path(sys.argv[1]) / "data/postmaster.pid").read_text().splitlines()[0], flush=True)
    time.sleep(60)
"""


def test_it_takes_a_password_and_nothing_else(tmp_path: Path) -> None:
    with PostgresServer(tmp_path) as server:
        with psycopg.connect(server.url) as connection:
            row = connection.execute(
                "SELECT rolpassword LIKE 'SCRAM%', version() LIKE 'PostgreSQL 18.%' FROM pg_authid"
            )
            assert (True, True) in row.fetchall()
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(server.url_of("postgres"), passfile="/dev/null")
        assert not (tmp_path / "password").exists()
        assert subprocess.run([server.pg_dump, "--version"], check=True, capture_output=True).stdout
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(server.url, connect_timeout=2)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_it_does_not_outlive_its_owner(tmp_path: Path, number: signal.Signals) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert owner.stdout is not None
    server = int(owner.stdout.readline())
    owner.send_signal(number)
    owner.wait(20)
    owner.stdout.close()
    deadline = time.monotonic() + 20
    while Path(f"/proc/{server}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)

    if Path("/proc").is_dir():
        assert not Path(f"/proc/{server}").exists()
    else:  # macOS
        with pytest.raises(ProcessLookupError):
            os.kill(server, 0)
