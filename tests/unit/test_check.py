"""Does `check` end with the documented status when the destination's storage refuses or lies?"""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import json_schemas
from reversible.s3 import Keys
from reversible.storage_doctor import OPERATIONS
from reversible.testing import lies
from reversible.testing.proxy import Fault, FaultyProxy
from reversible.testing.tls import Authority, TLSFront
from reversible_samples.s3_servers import SeaweedFS
from small_bundle import write_bundle

BUCKET = "sortie"
PLAN = """
version = 1
[contract]
title = "Shop"
customer = "Customer SA"
provider = "Vendor SA"
languages = ["en", "fr"]
[clauses]
profiles = ["baseline"]
[source.shop]
kind = "sqlite"
path = "shop.db"
[destination]
kind = "local"
country = "FR"
[destination.storage]
url = "s3://{bucket}/exit"
endpoint_url = "{endpoint_url}"
region = "{region}"
access_key = "${{EU_ACCESS}}"
secret_key = "${{EU_SECRET}}"
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    with SeaweedFS(tmp_path_factory.mktemp("weed")) as weed:
        weed.client().create_bucket(Bucket=BUCKET)
        yield weed


def reversible(*argv: object, server: SeaweedFS, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    keys = {"EU_ACCESS": server.access_key, "EU_SECRET": server.secret_key, "LANG": "en_GB.UTF-8"}
    return subprocess.run(
        [sys.executable, "-m", "reversible", *map(str, argv)], cwd=cwd, capture_output=True, text=True, check=False,
        env={**os.environ, **keys, **environ},
    )  # fmt: skip


def check(
    server: SeaweedFS, folder: Path, *argv: str, endpoint_url: str = "", bucket: str = BUCKET, **environ: str
) -> subprocess.CompletedProcess[str]:
    with sqlite3.connect(folder / "shop.db") as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS client (id INTEGER PRIMARY KEY)")
    connection.close()
    facts = {"endpoint_url": endpoint_url or server.endpoint_url, "region": server.region, "bucket": bucket}
    (folder / "exit-plan.toml").write_text(PLAN.format(**facts), encoding="utf-8")
    return reversible("check", "exit-plan.toml", *argv, server=server, cwd=folder, **environ)


def outcomes(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    storage = json_schemas.parsed("check", done.stdout)["storage"]
    return {one["operation"]: one["outcome"] for one in storage["operations"]}


def test_every_operation_is_answered_and_nothing_stays(server: SeaweedFS, tmp_path: Path) -> None:
    done = check(server, tmp_path, "--json")

    assert done.returncode == 0, done.stdout + done.stderr
    assert set(outcomes(done)) == {one.id for one in OPERATIONS} | {"clean"}
    assert "Contents" not in server.client().list_objects_v2(Bucket=BUCKET)
    assert server.secret_key not in done.stdout + done.stderr


def test_it_is_said_in_french(server: SeaweedFS, tmp_path: Path) -> None:
    done = check(server, tmp_path, "--lang", "fr")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "marche     un objet est déposé et relu [put]" in done.stdout
    assert "MENT       un nom qui finit par une barre, à côté de ce qu'il contient [key.slash]" in done.stdout
    assert done.stdout.index("MENT") < done.stdout.index("non essayé") < done.stdout.index("marche")


@pytest.mark.parametrize(
    ("lie", "operation"),
    [pytest.param(lies.LosesAPart(), "multipart", marks=pytest.mark.slow), (lies.LetsAnybodyIn(), "anonymous")],
)
def test_a_lie_about_what_is_needed_ends_with_6(
    server: SeaweedFS, tmp_path: Path, lie: lies.Lie, operation: str
) -> None:
    sign = (Keys(server.access_key, server.secret_key), server.region)
    with FaultyProxy(server.endpoint_url, Fault("lie", lie=lie), sign=sign) as proxy:
        done = check(server, tmp_path, "--json", endpoint_url=proxy.endpoint_url)

    assert done.returncode == 6, done.stdout + done.stderr
    assert outcomes(done)[operation] == "lies"
    (answer,) = [one for one in json_schemas.parsed("check", done.stdout)["answers"] if one["subject"] == "storage"]
    assert not answer["ok"]
    assert operation in answer["seen"]


def test_a_storage_that_lies_about_what_is_needed_gets_no_bundle(server: SeaweedFS, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle", seed="check")
    sign = (Keys(server.access_key, server.secret_key), server.region)
    keys = {"AWS_ACCESS_KEY_ID": server.access_key, "AWS_SECRET_ACCESS_KEY": server.secret_key}
    with FaultyProxy(server.endpoint_url, Fault("lie", lie=lies.LosesAName()), sign=sign) as proxy:
        where = ("--endpoint-url", proxy.endpoint_url, "--region", server.region)
        done = reversible("ship", bundle.root, f"s3://{BUCKET}/x", *where, server=server, cwd=tmp_path, **keys)

    assert done.returncode == 6
    assert "cannot carry a bundle: list lies" in done.stderr


def test_what_a_storage_did_when_it_was_tried_stands_beside_what_was_shipped(server: SeaweedFS, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle", seed="check")
    keys = {"AWS_ACCESS_KEY_ID": server.access_key, "AWS_SECRET_ACCESS_KEY": server.secret_key}
    where = ("--endpoint-url", server.endpoint_url, "--region", server.region, "--json")
    done = reversible("ship", bundle.root, f"s3://{BUCKET}/shipped", *where, server=server, cwd=tmp_path, **keys)

    assert done.returncode == 0, done.stderr
    assert json_schemas.parsed("ship", done.stdout)["storage"]["checksum"] == "sha256"


def test_the_plan_names_the_authority_of_the_storages_certificate(server: SeaweedFS, tmp_path: Path) -> None:
    """A path beside the plan; without it the certificate is refused."""
    authority = Authority(tmp_path / "authority")
    with TLSFront(server.endpoint_url, authority.server("127.0.0.1")) as front:
        unknown = check(server, tmp_path, "--json", endpoint_url=front.endpoint_url)
        plan = tmp_path / "exit-plan.toml"
        text = plan.read_text(encoding="utf-8").replace('"shop.db"', f'"{tmp_path / "shop.db"}"')
        plan.write_text(f'{text}ca_bundle = "authority/ca.pem"\n', encoding="utf-8")
        known = reversible("check", plan, "--json", server=server, cwd=Path("/"))

    assert unknown.returncode == 6
    assert "its certificate is not trusted" in unknown.stdout
    assert known.returncode == 0, known.stdout + known.stderr
    assert outcomes(known)["encryption.own"] == "works"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"bucket": "nowhere"}, "there is no bucket nowhere"),
        ({"EU_SECRET": "wrong"}, "refuses the access key or the secret key"),
        ({"endpoint_url": "http://127.0.0.1:9"}, "cannot be reached"),
    ],
)
def test_a_storage_that_is_not_there_ends_with_6(
    server: SeaweedFS, tmp_path: Path, changes: dict[str, str], said: str
) -> None:
    done = check(server, tmp_path, "--json", **changes)

    assert done.returncode == 6, done.stderr
    document = json_schemas.parsed("check", done.stdout)
    assert document["storage"] is None
    assert said in next(one for one in document["answers"] if one["subject"] == "storage")["seen"]
