"""Does what a storage gives back have to be believed? No: each lie is found, and named."""

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reversible.bundle import bag
from reversible.bundle.directory import DirectoryStorage
from reversible.bundle.reader import Bundle
from reversible.bundle.s3 import S3Storage
from reversible.bundle.storage import Storage, fetch, open_storage, ship
from reversible.errors import BundleError, DestinationError, UsageError
from reversible.s3 import Keys
from reversible.storage_doctor import OPERATIONS
from reversible.storage_doctor.doctor import CLEAN
from reversible.testing.lies import DropsAByte, HostOnly, IgnoresDigests, LosesAPart, ShortPages
from reversible.testing.proxy import Fault, FaultyProxy
from reversible_samples.s3_servers import SeaweedFS
from small_bundle import write_bundle

BUCKET = "sortie"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    with SeaweedFS(tmp_path_factory.mktemp("weed")) as weed:
        weed.client().create_bucket(Bucket=BUCKET)
        yield weed


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_bundle(tmp_path_factory.mktemp("made") / "bundle", seed="a")


@pytest.fixture
def prefix(request: pytest.FixtureRequest) -> str:
    return "p" + hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:12]


def storage_at(server: SeaweedFS, prefix: str, **changes: str) -> Storage:
    options = {
        "endpoint_url": server.endpoint_url, "region": server.region,
        "access_key": server.access_key, "secret_key": server.secret_key,
    }  # fmt: skip
    return open_storage(f"s3://{changes.pop('bucket', BUCKET)}/{prefix}", **{**options, **changes})


def tried(target: Storage) -> dict[str, Any]:
    """What the storage answered to what shipping needs."""
    list(target.listing())
    assert isinstance(target, S3Storage)
    return target.answers()


@pytest.fixture(params=["directory", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path, prefix: str) -> Storage:
    if request.param == "directory":
        return DirectoryStorage(tmp_path / "disk")
    return storage_at(request.getfixturevalue("server"), prefix)


def test_a_bundle_comes_back_as_it_went_and_is_not_sent_twice(bundle: Bundle, storage: Storage, tmp_path: Path) -> None:
    shipped = list(ship(bundle, storage))
    again = list(ship(bundle, storage))
    back = fetch(storage, tmp_path / "back")

    assert shipped[-1].key == bag.TAG_MANIFEST
    assert {one.key for one in shipped} == {path for path, _ in bag.walk(bundle.root)}
    assert all(one.sent for one in shipped)
    assert not any(one.sent for one in again)
    assert back.digest == bundle.digest
    assert not (tmp_path / "back.partial").exists()


def test_a_storage_without_the_tag_manifest_holds_no_finished_bundle(
    bundle: Bundle, storage: Storage, tmp_path: Path
) -> None:
    for one in ship(bundle, storage):
        if one.done == one.total - 1:
            break

    with pytest.raises(BundleError, match="no finished bundle"):
        fetch(storage, tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_an_altered_file_in_the_storage_is_named_and_the_next_ship_mends_it(bundle: Bundle, tmp_path: Path) -> None:
    disk = DirectoryStorage(tmp_path / "disk")
    list(ship(bundle, disk))
    victim = tmp_path / "disk/data/bundle.json"
    victim.write_bytes(victim.read_bytes().replace(b"docs", b"dogs", 1))

    with pytest.raises(BundleError, match=r"data/bundle\.json came back altered"):
        fetch(disk, tmp_path / "back")
    assert [one.key for one in ship(bundle, disk) if one.sent] == ["data/bundle.json"]
    assert fetch(disk, tmp_path / "back").digest == bundle.digest


def put(disk: Path, name: str) -> None:
    (disk / name).parent.mkdir(parents=True, exist_ok=True)
    (disk / name).write_bytes(b"x")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda disk: put(disk, "data/extra.json"), "data/extra.json is in no manifest"),
        (lambda disk: put(disk, "data/.hidden"), "no file name of a bundle"),
        (lambda disk: put(disk, "data/a b"), "no file name of a bundle"),
        (lambda disk: put(disk, f"objects/x/{'0' * 64}"), "came back altered"),
        (lambda disk: (disk / "data/bundle.json").unlink(), "data/bundle.json is missing"),
        (lambda disk: (disk / bag.MANIFEST).unlink(), f"{bag.MANIFEST} is missing"),
        (lambda disk: shutil.rmtree(disk / "objects"), "is missing"),
        (lambda disk: (disk / bag.TAG_MANIFEST).write_bytes(b"../x\n"), "not a digest and a plain path"),
    ],
)
def test_what_is_not_exactly_a_bundle_is_not_fetched(bundle: Bundle, tmp_path: Path, damage, said: str) -> None:
    disk = DirectoryStorage(tmp_path / "disk")
    list(ship(bundle, disk))
    damage(tmp_path / "disk")

    with pytest.raises(BundleError, match=said.replace(".", r"\.")):
        fetch(disk, tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_keys_that_are_no_file_names_are_refused_in_an_s3_storage_too(
    bundle: Bundle, server: SeaweedFS, prefix: str, tmp_path: Path
) -> None:
    target = storage_at(server, prefix)
    list(ship(bundle, target))
    server.client().put_object(Bucket=BUCKET, Key=f"{prefix}/data/été .json", Body=b"x")

    with pytest.raises(BundleError, match="no file name of a bundle"):
        fetch(target, tmp_path / "back")


def test_a_place_that_holds_something_else_is_left_alone(bundle: Bundle, storage: Storage, tmp_path: Path) -> None:
    other = write_bundle(tmp_path / "other", seed="b")
    list(ship(other, storage))

    with pytest.raises(DestinationError, match="not of this bundle"):
        list(ship(bundle, storage))
    assert fetch(storage, tmp_path / "back").digest == other.digest


def test_a_finished_bundle_is_never_replaced_by_another_of_the_same_names(bundle: Bundle, tmp_path: Path) -> None:
    disk = DirectoryStorage(tmp_path / "disk")
    list(ship(bundle, disk))
    tags = tmp_path / "disk" / bag.TAG_MANIFEST
    tags.write_bytes(tags.read_bytes().replace(b"0", b"1"))

    with pytest.raises(DestinationError, match="another finished bundle"):
        list(ship(bundle, disk))


def test_a_bundle_that_changed_since_it_was_finished_is_not_shipped(bundle: Bundle, tmp_path: Path) -> None:
    copy = Bundle.open(Path(shutil.copytree(bundle.root, tmp_path / "copy")))
    with (copy.root / "data/bundle.json").open("ab") as file:
        file.write(b" ")

    with pytest.raises(BundleError, match="was altered"):
        list(ship(copy, DirectoryStorage(tmp_path / "disk")))


def test_ship_finishes_after_a_kill_and_sends_nothing_twice(
    bundle: Bundle, server: SeaweedFS, prefix: str, tmp_path: Path
) -> None:
    script = (
        "import os, sys, time; from pathlib import Path;"
        "from reversible.bundle.reader import Bundle; from reversible.bundle.storage import open_storage, ship;"
        "url, endpoint, region, root = sys.argv[1:];"
        "target = open_storage(url, endpoint_url=endpoint, region=region, access_key=os.environ['AK'],"
        "  secret_key=os.environ['SK']);\n"
        "for one in ship(Bundle.open(Path(root)), target):\n"
        "  if one.done == 5: print('five', flush=True); time.sleep(600)\n"
    )
    arguments = [f"s3://{BUCKET}/{prefix}", server.endpoint_url, server.region, str(bundle.root)]
    child = subprocess.Popen(
        [sys.executable, "-c", script, *arguments], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "AK": server.access_key, "SK": server.secret_key},
    )  # fmt: skip
    assert child.stdout is not None
    assert child.stdout.readline() == "five\n"
    child.send_signal(signal.SIGKILL)
    child.communicate()

    target = storage_at(server, prefix)
    before = dict(target.listing())
    shipped = list(ship(bundle, target))

    assert bag.TAG_MANIFEST not in before
    assert len(before) >= 5
    assert {one.key for one in shipped if not one.sent} == {
        key for key, size in before.items() if size == (bundle.root / key).stat().st_size
    }
    assert fetch(target, tmp_path / "back").digest == bundle.digest


def test_fetch_goes_on_where_it_was_stopped(bundle: Bundle, tmp_path: Path) -> None:
    disk = DirectoryStorage(tmp_path / "disk")
    list(ship(bundle, disk))
    partial = tmp_path / "back.partial"
    shutil.copytree(bundle.root, partial)
    kept = (partial / "data/bundle.json").stat().st_mtime_ns
    (partial / "bagit.txt").write_bytes(b"half")
    (partial / "stray.tmp").write_bytes(b"half")

    assert fetch(disk, tmp_path / "back").digest == bundle.digest
    assert (tmp_path / "back/data/bundle.json").stat().st_mtime_ns == kept


def test_stopping_in_the_middle_leaves_no_thread_at_work(bundle: Bundle, storage: Storage) -> None:
    stream = ship(bundle, storage)
    next(stream)
    stream.close()

    assert not [one for one in threading.enumerate() if one.name.startswith("storage")]


# --- lies -------------------------------------------------------------------------------------------------------


def test_bytes_that_change_on_the_way_up_are_found_though_the_server_says_200(
    bundle: Bundle, server: SeaweedFS, prefix: str
) -> None:
    """The server takes any digest: what is left is our own reading back."""
    with FaultyProxy(server.endpoint_url, sign=(Keys(server.access_key, server.secret_key), server.region)) as proxy:
        target = storage_at(server, prefix, endpoint_url=proxy.endpoint_url)
        proxy.fault = Fault("lie", lie=IgnoresDigests())
        assert tried(target)["checksum"] == "none"
        proxy.fault = Fault("lie", method="PUT", path="/data/bundle.json", lie=DropsAByte())

        with pytest.raises(DestinationError, match=r"data/bundle\.json came back altered 3 times"):
            list(ship(bundle, target))
        assert proxy.fault.done == 3


def test_a_server_that_notices_altered_bytes_is_believed_that_they_are(
    bundle: Bundle, server: SeaweedFS, prefix: str
) -> None:
    with FaultyProxy(server.endpoint_url) as proxy:
        target = storage_at(server, prefix, endpoint_url=proxy.endpoint_url)
        assert tried(target)["checksum"] == "sha256"
        proxy.fault = Fault("flip-request", method="PUT", path="/data/bundle.json")

        with pytest.raises(DestinationError, match=r"data/bundle\.json: .* 3 times that bytes changed on the way"):
            list(ship(bundle, target))


def test_a_bit_that_changes_once_is_sent_again(bundle: Bundle, server: SeaweedFS, prefix: str, tmp_path: Path) -> None:
    with FaultyProxy(server.endpoint_url) as proxy:
        target = storage_at(server, prefix, endpoint_url=proxy.endpoint_url)
        list(target.listing())  # tries the server
        proxy.fault = Fault("flip-request", method="PUT", path="/data/bundle.json", times=1)
        list(ship(bundle, target))

        assert proxy.fault.done == 1
    assert fetch(storage_at(server, prefix), tmp_path / "back").digest == bundle.digest


def test_a_server_of_the_old_kind_is_sent_what_it_takes(
    bundle: Bundle, server: SeaweedFS, prefix: str, tmp_path: Path
) -> None:
    with FaultyProxy(server.endpoint_url, Fault("old-server")) as proxy:
        target = storage_at(server, prefix, endpoint_url=proxy.endpoint_url)
        list(ship(bundle, target))
        answers = tried(target)

        assert fetch(target, tmp_path / "back").digest == bundle.digest
    refused = {one["operation"] for one in answers["operations"] if one["outcome"] == "refused"}
    assert {"sha256", "trailer"} <= refused
    assert (answers["checksum"], answers["integrity_headers"]) == ("md5", "when_required")


def test_a_listing_that_comes_in_many_pages_is_whole(
    bundle: Bundle, server: SeaweedFS, prefix: str, tmp_path: Path
) -> None:
    sign = (Keys(server.access_key, server.secret_key), server.region)
    with FaultyProxy(server.endpoint_url, Fault("lie", lie=ShortPages()), sign=sign) as proxy:
        target = storage_at(server, prefix, endpoint_url=proxy.endpoint_url)
        list(ship(bundle, target))

        assert not any(one.sent for one in ship(bundle, target))
        assert fetch(target, tmp_path / "back").digest == bundle.digest
    assert sum("continuation-token" in one for one in proxy.requests) > 20


def test_a_large_file_goes_in_parts_of_which_none_is_lost(server: SeaweedFS, prefix: str, tmp_path: Path) -> None:
    """33 MiB and a byte: three parts, the last one of a byte."""
    large = tmp_path / "large"
    large.write_bytes(os.urandom(1 << 20) * 33 + b"x")
    sha256 = bag.sha256_file(large)
    with FaultyProxy(server.endpoint_url, sign=(Keys(server.access_key, server.secret_key), server.region)) as proxy:
        target = storage_at(server, prefix, endpoint_url=proxy.endpoint_url)
        target.put("data/large", large, sha256)
        parts = [one for one in proxy.requests if "partNumber" in one and f"{prefix}/data/large" in one]
        proxy.fault = Fault("lie", lie=LosesAPart())
        with pytest.raises(DestinationError, match=r"data/large came back altered 3 times"):
            target.put("data/large", large, sha256)

    assert len(parts) == 3


def test_parts_of_a_killed_upload_are_given_up(server: SeaweedFS, prefix: str, tmp_path: Path) -> None:
    s3, key = server.client(), f"{prefix}/data/large"
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key=key)["UploadId"]
    s3.upload_part(Bucket=BUCKET, Key=key, UploadId=upload, PartNumber=1, Body=b"left behind")
    large = tmp_path / "large"
    large.write_bytes(os.urandom(17 << 20))
    storage_at(server, prefix).put("data/large", large, bag.sha256_file(large))

    assert s3.list_multipart_uploads(Bucket=BUCKET, Prefix=key).get("Uploads", []) == []


@pytest.mark.parametrize("kind", ["flip-answer", "truncate"])
def test_an_answer_that_is_not_what_was_stored_is_found(
    bundle: Bundle, server: SeaweedFS, prefix: str, tmp_path: Path, kind
) -> None:
    list(ship(bundle, storage_at(server, prefix)))
    with FaultyProxy(server.endpoint_url) as proxy:
        target = storage_at(server, prefix, endpoint_url=proxy.endpoint_url)
        list(target.listing())  # tries the server
        proxy.fault = Fault(kind, method="GET", path="/data/bundle.json")

        with pytest.raises((BundleError, DestinationError), match=r"data/bundle\.json"):
            fetch(target, tmp_path / "back")
        assert proxy.fault.done > 0
    assert not (tmp_path / "back").exists()


def test_a_download_that_breaks_off_is_taken_up_where_it_broke(
    bundle: Bundle, server: SeaweedFS, prefix: str, tmp_path: Path
) -> None:
    list(ship(bundle, storage_at(server, prefix)))
    with FaultyProxy(server.endpoint_url) as proxy:
        target = storage_at(server, prefix, endpoint_url=proxy.endpoint_url)
        list(target.listing())  # tries the server
        proxy.fault = Fault("truncate", method="GET", path="/objects/", times=6)

        assert fetch(target, tmp_path / "back").digest == bundle.digest
        assert proxy.fault.done == 6


def test_what_was_tried_is_gone_and_is_evidence(server: SeaweedFS, prefix: str) -> None:
    answers = storage_at(server, prefix).probe()

    assert answers["integrity_headers"] == "when_supported"
    assert {one["operation"] for one in answers["operations"]} == {one.id for one in (*OPERATIONS, CLEAN)}
    assert "Contents" not in server.client().list_objects_v2(Bucket=BUCKET, Prefix=prefix)
    assert server.secret_key not in str(answers)


def test_a_storage_that_knows_a_bucket_by_its_hosts_name_alone_is_spoken_to_so(
    bundle: Bundle, server: SeaweedFS, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name is given an address here: no test changes the machine's own names."""
    real = socket.getaddrinfo

    def known(host: Any, *more: Any, **options: Any) -> Any:
        return real("127.0.0.1" if str(host).endswith("localhost") else host, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", known)
    with FaultyProxy(server.endpoint_url, Fault("lie", lie=HostOnly())) as proxy:
        target = storage_at(server, prefix, endpoint_url=proxy.endpoint_url.replace("127.0.0.1", "localhost"))
        list(ship(bundle, target))

        assert tried(target)["addressing"] == "host"
        assert fetch(target, tmp_path / "back").digest == bundle.digest


# --- refusals ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"bucket": "nowhere"}, "there is no bucket nowhere"),
        ({"access_key": "AKWRONG"}, "refuses the access key"),
        ({"secret_key": "sesame-wrong"}, "refuses the access key"),
        ({"endpoint_url": "http://127.0.0.1:9"}, "cannot be reached"),
    ],
)
def test_a_refusal_is_one_line_with_a_hint_and_no_secret(
    bundle: Bundle, server: SeaweedFS, prefix: str, changes: dict[str, str], said: str
) -> None:
    target = storage_at(server, prefix, **changes)

    with pytest.raises(DestinationError, match=said) as caught:
        list(ship(bundle, target))

    told = f"{caught.value.message}\n{caught.value.hint}\n{target!r}"
    assert caught.value.hint
    assert "\n" not in caught.value.message
    assert not any(secret in told for secret in ("AKWRONG", "sesame-wrong", server.access_key, server.secret_key))


def test_one_key_that_is_denied_is_named(bundle: Bundle, server: SeaweedFS, prefix: str) -> None:
    with FaultyProxy(server.endpoint_url, Fault("refuse", method="PUT", path="/data/bundle.json")) as proxy:
        target = storage_at(server, prefix, endpoint_url=proxy.endpoint_url)

        with pytest.raises(DestinationError, match=r"data/bundle\.json: access denied") as caught:
            list(ship(bundle, target))

    assert "s3:PutObject" in caught.value.hint


@pytest.mark.parametrize("url", ["gs://bucket/x", "s3://", "s3://bucket/../x", "s3://bucket/a b"])
def test_a_url_that_is_no_storage_is_refused(url: str) -> None:
    with pytest.raises(UsageError):
        open_storage(url, region="eu-west-3")


def test_an_s3_storage_needs_a_region() -> None:
    with pytest.raises(UsageError, match="region"):
        open_storage("s3://bucket/prefix")


def test_an_existing_directory_is_not_overwritten(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="exists already"):
        fetch(DirectoryStorage(bundle.root), tmp_path)


def test_a_full_or_forbidden_disk_is_said_so(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(DestinationError, match="Not a directory"):
        list(ship(bundle, DirectoryStorage(tmp_path / "file/disk")))
