"""Does an export end with the same bytes, whoever is killed on the way, at whatever moment?

`REVERSIBLE_KILLS=50 python -m pytest tests/e2e/test_kills.py` kills more often than a usual run does.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from reversible.bundle.reader import Bundle
from reversible_samples.postgres_server import PostgresServer
from reversible_samples.s3_servers import SeaweedFS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

KILLS = int(os.environ.get("REVERSIBLE_KILLS", "4"))
SEED = int(os.environ.get("REVERSIBLE_SEED", "20261126"))
ROWS = 120_000
PLAN = """version = 1
[contract]
title = "Kills"
customer = "Customer"
provider = "Provider"
[clauses]
profiles = ["baseline"]
[source.shop]
kind = "postgres"
url = "{url}"
password = "${{KILLS_PASSWORD}}"
pg_dump = "{pg_dump}"
part_mib = 0.5
include = ["*"]
[destination]
kind = "local"
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with PostgresServer(tmp_path_factory.mktemp("postgres")) as running:
        os.environ["KILLS_PASSWORD"] = running.password
        with psycopg.connect(running.url, autocommit=True) as connection:
            for name in ("ventes", "avoirs"):
                connection.execute(  # type: ignore[call-overload]
                    f"CREATE TABLE {name} AS SELECT g AS id, g * 1.37::numeric(12,2) AS prix, md5(g::text) AS libelle,"  # noqa: S608
                    " CASE WHEN g % 1000 = 0 THEN 'infinity' ELSE timestamp '2026-01-01' + g * interval '1 s' END AS le"
                    f" FROM generate_series(1, {ROWS}) g"
                )
                connection.execute(f"ALTER TABLE {name} ADD PRIMARY KEY (id)")  # type: ignore[arg-type]
            connection.execute("VACUUM ANALYZE")
        yield running


@pytest.fixture(scope="module")
def plan(server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plan") / "exit-plan.toml"
    path.write_text(PLAN.format(url=server.url_of("postgres"), pg_dump=server.pg_dump), encoding="utf-8")
    return path


def start(*argv: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "reversible", *map(str, argv)]
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def finish(*argv: object) -> None:
    process = start(*argv)
    said = process.communicate(timeout=600)[1]
    assert process.returncode == 0, said


def content(root: Path) -> dict[str, str]:
    """Digest of every file of the export; witnesses have a challenge drawn anew, other files tell of their snapshot."""
    listed = (line.split("  ", 1) for line in (root / "manifest-sha256.txt").read_text().splitlines())
    kept = ("data/table/", "data/database/")
    return {path: digest for digest, path in listed if path.startswith(kept) and not path.endswith("/origins.json")}


@pytest.fixture(scope="module")
def undisturbed(plan: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], float]:
    into = tmp_path_factory.mktemp("undisturbed") / "run"
    begin = time.monotonic()
    finish("export", plan, "--into", into)
    return content(into / "bundle"), time.monotonic() - begin


@pytest.mark.parametrize("victim", ["exporter", "server"])
def test_a_killed_export_ends_with_the_same_bytes(
    server: PostgresServer, plan: Path, undisturbed: tuple[dict[str, str], float], tmp_path: Path, victim: str
) -> None:
    expected, duration_s = undisturbed
    chance = random.Random(f"{SEED} {victim}")
    struck = 0
    for number in range(4 * KILLS):  # on a machine that has grown faster, some exports end before their kill
        if struck == KILLS:
            break
        into = tmp_path / f"run-{number}"
        process = start("export", plan, "--into", into)
        time.sleep(chance.uniform(0.3, 1.0) * duration_s)
        struck += process.poll() is None
        if victim == "exporter":
            os.killpg(process.pid, signal.SIGKILL) if process.poll() is None else None
            process.communicate(timeout=60)
        else:
            server.kill()
            said = process.communicate(timeout=120)[1]
            server.restart()

            assert "Traceback" not in said
            assert process.returncode in (0, 4), said
        if not (into / "bundle").exists():
            finish("export", plan, "--into", into)
        Bundle.open(into / "bundle").check()

        assert content(into / "bundle") == expected, f"kill {number} of seed {SEED}"
    assert struck == KILLS


def test_a_storage_that_is_killed_while_a_bundle_is_shipped_ends_with_the_same_bytes(
    plan: Path, tmp_path: Path
) -> None:
    from reversible.bundle import storage

    finish("export", plan, "--into", tmp_path / "run")
    bundle = Bundle.open(tmp_path / "run/bundle")
    chance = random.Random(f"{SEED} storage")
    store = SeaweedFS(tmp_path / "weed")
    store.start()
    os.environ |= {"AWS_ACCESS_KEY_ID": store.access_key, "AWS_SECRET_ACCESS_KEY": store.secret_key}
    try:
        store.client().create_bucket(Bucket="sortie", CreateBucketConfiguration={"LocationConstraint": store.region})
        duration_s, struck = 0.0, 0
        for number in range(4 * KILLS + 1):  # the first is left alone, and says how long one takes
            if struck == KILLS:
                break
            options = ("--endpoint-url", store.endpoint_url, "--region", store.region)
            url = f"s3://sortie/essai-{number}"
            begin = time.monotonic()
            process = start("ship", bundle.root, url, *options)
            if number:
                time.sleep(chance.uniform(0.3, 1.0) * duration_s)
                struck += process.poll() is None
                store.kill()
                said = process.communicate(timeout=300)[1]
                store.start()
                options = ("--endpoint-url", store.endpoint_url, "--region", store.region)

                assert "Traceback" not in said
                assert process.returncode in (0, 6), said
                finish("ship", bundle.root, url, *options)
            else:
                assert process.wait(timeout=300) == 0
                duration_s = time.monotonic() - begin
            target = storage.open_storage(
                url, endpoint_url=store.endpoint_url, region=store.region, access_key=store.access_key,
                secret_key=store.secret_key,
            )  # fmt: skip
            arrived = storage.fetch(target, tmp_path / f"fetched-{number}")

            assert arrived.digest == bundle.digest
            arrived.check()
        assert struck == KILLS
    finally:
        store.stop()
