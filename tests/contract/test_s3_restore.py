"""Do objects stand up again in another make of storage, with all that was said about them, and is a loss noticed?"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from test_s3 import export, exporter_of, fill

import json_schemas
import s3_makes
from reversible.assets import Asset
from reversible.bundle.reader import Bundle
from reversible.errors import UsageError
from reversible.interfaces import Restored
from reversible.s3 import Keys
from reversible.testing import lies
from reversible.testing.proxy import Fault, FaultyProxy, Lie, Reply, Request
from reversible.testing.tls import Authority, TLSFront
from reversible_exporters.s3_restore import S3Restorer
from reversible_samples.s3_servers import MiniStack, S3Server

KEPT, FLAT = "restored", "restored-flat"
# What SeaweedFS cannot hold, and Ceph can: `docs/storage.md`.
ODD_AT_SEAWEEDFS = {"/leading", "a//b", "folder/", "../outside.txt", "a/./b", "k" * 900}


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Asset, Bundle]]:
    """A bucket that left MiniStack: odd names, versions, a delete marker, metadata, tags."""
    with MiniStack(tmp_path_factory.mktemp("vendor")) as vendor:
        os.environ |= {"TEST_S3_AK": vendor.access_key, "TEST_S3_SK": vendor.secret_key}
        fill(vendor)
        yield export(exporter_of(vendor), tmp_path_factory.mktemp("left") / "bundle")


@pytest.fixture(scope="module", params=["seaweedfs", pytest.param("ceph", marks=pytest.mark.slow)])
def target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, S3Server]]:
    server = s3_makes.started(request.param, tmp_path_factory.mktemp(request.param))
    try:
        s3 = server.client()
        for bucket in (KEPT, FLAT):
            s3.create_bucket(Bucket=bucket)
        s3.put_bucket_versioning(Bucket=KEPT, VersioningConfiguration={"Status": "Enabled"})
        yield request.param, server
    finally:
        server.stop()


@pytest.fixture(autouse=True)
def _keys(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "target" in request.fixturenames:
        _, server = request.getfixturevalue("target")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", server.access_key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", server.secret_key)


def restorer(server: S3Server, where: str, **changes: Any) -> S3Restorer:
    options = {"endpoint_url": server.endpoint_url, "region": server.region, **changes}
    return S3Restorer(f"s3://{where}", **options)


def restored(server: S3Server, where: str, left: tuple[Asset, Bundle], **changes: Any) -> list[Restored]:
    asset, bundle = left
    return list(restorer(server, where, **changes).restore(bundle, asset, []))


def wrong(steps: list[Restored]) -> dict[str, str]:
    """What was refused or differs, but for the line of the whole."""
    return {one.subject: one.seen for one in steps if one.ok is False and one.subject != "documents"}


def whole(steps: list[Restored]) -> dict[str, bool | None]:
    return {one.step: one.ok for one in steps if one.subject == "documents" and one.step in ("totals", "values")}


def test_every_version_comes_back_with_all_that_was_said_about_it(
    target: tuple[str, S3Server], left: tuple[Asset, Bundle]
) -> None:
    make, server = target
    steps = restored(server, f"{KEPT}/whole", left)
    s3, key = server.client(), "whole/contract.txt"
    versions = [one for one in s3.list_object_versions(Bucket=KEPT, Prefix=key)["Versions"] if one["Key"] == key]
    seen = [s3.get_object(Bucket=KEPT, Key=key, VersionId=one["VersionId"]) for one in versions]
    tags = [
        {tag["Key"]: tag["Value"] for tag in
         s3.get_object_tagging(Bucket=KEPT, Key=key, VersionId=one["VersionId"])["TagSet"]}
        for one in versions
    ]  # fmt: skip
    markers = s3.list_object_versions(Bucket=KEPT, Prefix="whole/deleted.txt").get("DeleteMarkers", [])

    assert [one["Body"].read() for one in seen] == [b"edition 2", b"edition 1", b"edition 0"]
    assert [one["Metadata"]["edition"] for one in seen] == ["2", "1", "0"]
    assert {one["Metadata"]["author"] for one in seen} == {"=?UTF-8?Q?Zo=C3=A9?="}
    assert {(one["ContentType"], one["CacheControl"]) for one in seen} == {("text/plain", "no-cache")}
    assert tags == [{"level": "high", "edition": str(number)} for number in (2, 1, 0)]
    assert len(markers) == 1
    if make == "ceph":
        assert wrong(steps) == {}
        assert whole(steps) == {"totals": True, "values": True}
    else:
        assert set(wrong(steps)) - ODD_AT_SEAWEEDFS <= {"a\\b"}
        assert {"a//b", "folder/", "../outside.txt"} & set(wrong(steps))
        assert not all(whole(steps).values())
    notes = [one.seen for one in steps if one.step == "note"]
    assert any("lifecycle" in one and "versioning; bucket.json has them" in one for one in notes), notes
    assert not any(one["Key"].count(".reversible") for one in s3.list_object_versions(Bucket=KEPT)["Versions"])


def test_a_bucket_without_versions_gets_the_latest_and_says_what_stays(
    target: tuple[str, S3Server], left: tuple[Asset, Bundle]
) -> None:
    make, server = target
    steps = restored(server, f"{FLAT}/flat", left)
    s3 = server.client()

    assert s3.get_object(Bucket=FLAT, Key="flat/contract.txt")["Body"].read() == b"edition 2"
    assert s3.get_object(Bucket=FLAT, Key="flat/empty.dat")["Body"].read() == b""
    assert s3.list_objects_v2(Bucket=FLAT, Prefix="flat/deleted.txt").get("KeyCount") == 0
    (older,) = [one for one in steps if one.subject == "documents: older versions"]
    assert older.ok is None
    assert "2 older versions stay in the bundle" in older.seen
    if make == "ceph":
        assert whole(steps) == {"totals": True, "values": True}


def test_a_place_that_holds_something_is_left_alone(target: tuple[str, S3Server], left: tuple[Asset, Bundle]) -> None:
    _, server = target
    s3 = server.client()
    s3.put_object(Bucket=FLAT, Key="taken/contract.txt", Body=b"somebody's")
    s3.put_object(Bucket=FLAT, Key="taken/stranger", Body=b"somebody's")

    with pytest.raises(UsageError, match="is not empty"):
        restored(server, f"{FLAT}/taken", left)
    assert s3.get_object(Bucket=FLAT, Key="taken/contract.txt")["Body"].read() == b"somebody's"

    steps = restored(server, f"{FLAT}/taken", left, allow_non_empty=True)
    assert s3.get_object(Bucket=FLAT, Key="taken/contract.txt")["Body"].read() == b"edition 2"
    (totals,) = [one for one in steps if one.step == "totals"]
    assert totals.ok is False
    assert "names are not the bundle's" in totals.seen


LOSSES: list[tuple[str, Callable[[], Lie], str]] = [
    ("a byte", lies.DropsAByte, "its bytes are others"),
    ("metadata", lies.OtherMetadata, "metadata differ: author, edition"),
    ("tags", lies.NoTags, "tags"),
]


class After(Lie):
    """Honest while it is tried, and a liar when it matters."""

    def __init__(self, lie: Lie) -> None:
        self.lie = lie

    def before(self, request: Request) -> Request | Reply | None:
        return None if ".reversible-" in request.path else self.lie.before(request)


@pytest.mark.parametrize(("what", "lie", "said"), LOSSES, ids=[what for what, _, _ in LOSSES])
def test_what_is_lost_on_the_way_is_found(
    target: tuple[str, S3Server], left: tuple[Asset, Bundle], what: str, lie: Callable[[], Lie], said: str
) -> None:
    _, server = target
    sign = (Keys(server.access_key, server.secret_key), server.region)
    with FaultyProxy(server.endpoint_url, Fault("lie", lie=After(lie())), sign=sign) as proxy:
        steps = restored(server, f"{KEPT}/loss-{what.replace(' ', '-')}", left, endpoint_url=proxy.endpoint_url)

    assert said in wrong(steps)["contract.txt"]
    assert whole(steps)["values"] is False


def test_a_killed_restore_goes_on_and_puts_nothing_twice(
    target: tuple[str, S3Server], left: tuple[Asset, Bundle], tmp_path: Path
) -> None:
    """Killed when three names are there; the same command then finishes, and no version stands twice."""
    make, server = target
    asset, bundle = left
    where = f"{KEPT}/killed"
    arguments = ["restore", str(bundle.root), "--to", f"s3://{where}", "--endpoint-url", server.endpoint_url,
                 "--region", server.region, asset.id]  # fmt: skip
    command = [sys.executable, "-m", "reversible", *arguments]
    with FaultyProxy(server.endpoint_url) as proxy:
        slow = [proxy.endpoint_url if one == server.endpoint_url else one for one in command]
        process = subprocess.Popen(slow, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 60
        while len([one for one in proxy.requests if one.startswith("PUT") and ".reversible-" not in one]) < 8:
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
    before = len(server.client().list_object_versions(Bucket=KEPT, Prefix="killed/").get("Versions", []))
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)

    document = json_schemas.parsed("restore", done.stdout)
    assert before > 1
    assert {one["seen"] for one in document["notes"]} >= {"an interrupted restore goes on"}
    if make == "ceph":
        assert done.returncode == 0, done.stdout
        assert document["tables"] == [
            {"table": "documents", "rows": document["tables"][0]["rows"],
             "totals": {"answer": "equal", "seen": ""}, "values": {"answer": "equal", "seen": ""}}
        ]  # fmt: skip
    else:
        assert done.returncode == 1
        assert {one["table"] for one in document["tables"]} - ODD_AT_SEAWEEDFS <= {"documents", "a\\b"}
        assert {one["subject"] for one in document["refused"]} <= ODD_AT_SEAWEEDFS
    again = server.client().list_object_versions(Bucket=KEPT, Prefix="killed/contract.txt")["Versions"]
    assert len(again) == 3


@pytest.mark.parametrize(("lang", "words"), [("en", "versions of objects"), ("fr", "versions d'objets")])
def test_the_command_says_what_came_back(
    target: tuple[str, S3Server], left: tuple[Asset, Bundle], lang: str, words: str, tmp_path: Path
) -> None:
    """Over TLS, with the customer's own authority."""
    (_, server), (_, bundle) = target, left
    authority = Authority(tmp_path / "authority")
    with TLSFront(server.endpoint_url, authority.server("127.0.0.1")) as front:
        done = subprocess.run(
            [sys.executable, "-m", "reversible", "restore", bundle.root, "--to", f"s3://{FLAT}/said-{lang}",
             "--endpoint-url", front.endpoint_url, "--region", server.region, "--lang", lang],
            capture_output=True, text=True, check=False, env={**os.environ, "AWS_CA_BUNDLE": str(authority.bundle)},
        )  # fmt: skip

    assert done.returncode in (1, 3), done.stderr
    assert words in done.stdout
    assert "documents" in done.stdout


def test_a_database_does_not_go_into_a_bucket(left: tuple[Asset, Bundle], tmp_path: Path) -> None:
    from reversible.cli import restore

    _, bundle = left
    with pytest.raises(UsageError, match="one bucket can be restored at a time; in the bundle: docs:objects:documents"):
        restore.collection(bundle, ["docs:objects:other"])
    with pytest.raises(UsageError, match="one database can be restored at a time; in the bundle: none"):
        restore.chosen(bundle, [])
    with pytest.raises(UsageError, match="region"):
        S3Restorer("s3://bucket/prefix", endpoint_url="http://127.0.0.1:9", region=None)
    assert json.dumps([asset.id for asset in bundle.assets]) == '["docs:objects:documents"]'
