"""Does a bucket leave whole, and does the verifier notice each way in which it did not?"""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from reversible.assets import Asset
from reversible.bundle.reader import Bundle
from reversible.bundle.writer import BundleWriter
from reversible.errors import BundleError, SourceError
from reversible.findings import Finding
from reversible.testing.mutations import reseal
from reversible.testing.proxy import Fault, FaultyProxy
from reversible.testing.tls import Authority, TLSFront
from reversible_exporters.s3 import S3Exporter
from reversible_samples.s3_servers import MiniStack
from reversible_verifiers.objects import Objects

AT = datetime(2026, 11, 24, tzinfo=UTC)
BUCKET = "documents"
NFC, NFD = (unicodedata.normalize(form, "été/relevé.txt") for form in ("NFC", "NFD"))
ODD = (
    "../outside.txt", "a//b", "a/./b", "/leading", "folder/", "🙂/photo.svg", NFC, NFD, "new\nline.txt", "tab\t.txt",
    "k" * 900, "a+b&c=d%20e ?.csv", "con", "CASE", "case", "-rf", "$(touch x)", "<b>&amp;</b>",
)  # fmt: skip
LARGE = os.urandom(9 << 20)


@pytest.fixture(scope="module")
def vendor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MiniStack]:
    with MiniStack(tmp_path_factory.mktemp("vendor")) as server:
        os.environ |= {"TEST_S3_AK": server.access_key, "TEST_S3_SK": server.secret_key}
        fill(server)
        yield server


def fill(server: MiniStack) -> None:
    """Odd keys, three versions of one object, a delete marker, an empty object, a large one, and bucket settings."""
    s3 = server.client()
    location = {"LocationConstraint": server.region}
    for bucket in (BUCKET, "flat", "empty", "hidden"):
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration=location)
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    s3.put_bucket_tagging(Bucket=BUCKET, Tagging={"TagSet": [{"Key": "service", "Value": "shop"}]})
    rule = {"ID": "old", "Status": "Enabled", "Filter": {"Prefix": "tmp/"}, "Expiration": {"Days": 30}}
    s3.put_bucket_lifecycle_configuration(Bucket=BUCKET, LifecycleConfiguration={"Rules": [rule]})
    for number, key in enumerate(ODD):
        s3.put_object(Bucket=BUCKET, Key=key, Body=f"body {number} of {key}".encode())
    for edition in range(3):
        s3.put_object(
            Bucket=BUCKET, Key="contract.txt", Body=f"edition {edition}".encode(), ContentType="text/plain",
            CacheControl="no-cache", Metadata={"edition": str(edition), "author": "=?UTF-8?Q?Zo=C3=A9?="},
            Tagging=f"level=high&edition={edition}",
        )  # fmt: skip
    s3.delete_object(Bucket=BUCKET, Key="deleted.txt")
    s3.put_object(Bucket=BUCKET, Key="empty.dat", Body=b"")
    s3.put_object(Bucket=BUCKET, Key="large.bin", Body=LARGE)
    s3.put_bucket_versioning(Bucket="hidden", VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket="hidden", Key="deleted.txt", Body=b"still there, below its marker")
    s3.delete_object(Bucket="hidden", Key="deleted.txt")
    s3.put_object(Bucket="flat", Key="one", Body=b"1")
    s3.put_object(Bucket="flat", Key="logs/two", Body=b"2")


def exporter_of(server: MiniStack, **changes: Any) -> S3Exporter:
    settings = {
        "bucket": BUCKET, "region": server.region, "endpoint_url": server.endpoint_url,
        "access_key": "${TEST_S3_AK}", "secret_key": "${TEST_S3_SK}", **changes,
    }  # fmt: skip
    return S3Exporter("docs", S3Exporter.Settings(**settings))


def export(exporter: S3Exporter, root: Path) -> tuple[Asset, Bundle]:
    (asset,) = exporter.discover()
    with BundleWriter(root) as writer:
        exporter.export(asset, writer)
        writer.put_witness(asset, exporter.witness(asset))
        writer.close_asset(asset, exporter="s3", at=AT)
        bundle = writer.finish(about={}, at=AT)
    bundle.check()
    return asset, bundle


def index_of(bundle: Bundle, asset: Asset) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(bundle.folder(asset) / "index.parquet").to_pylist()
    return rows


def findings(bundle: Bundle, asset: Asset) -> dict[str, Finding]:
    found = {one.metric: one for one in Objects().verify(asset, bundle)}
    assert set(found) == Objects.metrics
    return found


@pytest.fixture(scope="module")
def left(vendor: MiniStack, tmp_path_factory: pytest.TempPathFactory) -> tuple[Asset, Bundle]:
    return export(exporter_of(vendor), tmp_path_factory.mktemp("left") / "bundle")


# --- what leaves --------------------------------------------------------------------------------------------------


def test_every_version_leaves_with_its_bytes_and_what_is_said_about_it(
    vendor: MiniStack, left: tuple[Asset, Bundle]
) -> None:
    asset, bundle = left
    rows = index_of(bundle, asset)
    latest = {row["key"]: row for row in rows if row["is_latest"]}
    contract = [row for row in rows if row["key"] == "contract.txt"]
    body = bundle.object_path(asset, latest[NFD]["sha256"]).read_bytes()

    assert asset.rows == len(rows) == len(ODD) + 3 + 1 + 2
    assert asset.size_bytes == sum(row["size"] or 0 for row in rows)
    assert {key for key in latest if not latest[key]["delete_marker"]} == {
        *ODD,
        "contract.txt",
        "empty.dat",
        "large.bin",
    }
    assert [row["key"].encode() for row in rows] == sorted(row["key"].encode() for row in rows)
    assert body == f"body {ODD.index(NFD)} of {NFD}".encode()
    assert latest["large.bin"]["sha256"] == hashlib.sha256(LARGE).hexdigest()
    assert latest["empty.dat"]["size"] == 0
    assert latest["deleted.txt"]["delete_marker"]
    assert latest["deleted.txt"]["sha256"] is None
    assert [row["sequence"] for row in contract] == [0, 1, 2]
    assert [json.loads(row["metadata"])["edition"] for row in contract] == ["0", "1", "2"]
    assert [json.loads(row["tags"]) for row in contract] == [{"edition": str(n), "level": "high"} for n in range(3)]
    assert [row["is_latest"] for row in contract] == [False, False, True]
    assert contract[2]["content_type"] == "text/plain"
    assert contract[2]["cache_control"] == "no-cache"
    assert all(row["error"] is None for row in rows)


def test_the_settings_of_the_bucket_leave_too(left: tuple[Asset, Bundle]) -> None:
    asset, bundle = left
    settings = bundle.document(asset, "bucket.json")["settings"]

    assert settings["versioning"] == {"Status": "Enabled"}
    assert settings["tagging"] == {"TagSet": [{"Key": "service", "Value": "shop"}]}
    assert settings["lifecycle"]["Rules"][0]["Expiration"] == {"Days": 30}


def test_keys_never_become_file_names(left: tuple[Asset, Bundle]) -> None:
    asset, bundle = left
    names = {path.name for path in (bundle.root / "objects").rglob("*") if path.is_file()}

    assert names == {row["sha256"] for row in index_of(bundle, asset) if row["sha256"]}


def test_the_witness_went_another_way_and_says_which(left: tuple[Asset, Bundle]) -> None:
    asset, bundle = left
    witness = bundle.witness(asset)

    assert witness.facts["read_by"] == {"Arrow": len(ODD) - 7 + 3, "ETag": 2, "boto3 ranges": 7}
    assert "Arrow C++" in witness.method
    assert witness.facts["delete_markers"] == 1
    assert witness.facts["objects"] == len(ODD) + 3


def test_a_faithful_bundle_passes_whole_and_says_the_same_twice(left: tuple[Asset, Bundle]) -> None:
    asset, bundle = left
    found = findings(bundle, asset)

    assert {metric: one.value for metric, one in found.items()} == dict.fromkeys(Objects.metrics, 0)
    assert all(one.coverage == 1.0 and not one.places and not one.error for one in found.values())
    assert found == findings(bundle, asset)


def test_two_exports_of_the_same_bucket_write_the_same_bytes(
    vendor: MiniStack, left: tuple[Asset, Bundle], tmp_path: Path
) -> None:
    _, bundle = left
    _, again = export(exporter_of(vendor), tmp_path / "again")

    assert again.digest == bundle.digest


@pytest.mark.parametrize(
    ("changes", "keys"),
    [
        ({"bucket": "flat"}, ["logs/two", "one"]),
        ({"bucket": "flat", "prefix": "logs/"}, ["logs/two"]),
        ({"bucket": "empty"}, []),
        ({"prefix": "contract", "versions": False}, ["contract.txt"]),
        ({"prefix": "contract"}, ["contract.txt"] * 3),
    ],
)
def test_plain_empty_and_partial_buckets_leave_and_pass(
    vendor: MiniStack, tmp_path: Path, changes: dict[str, Any], keys: list[str]
) -> None:
    asset, bundle = export(exporter_of(vendor, **changes), tmp_path / "bundle")

    assert [row["key"] for row in index_of(bundle, asset)] == keys
    assert {one.value for one in findings(bundle, asset).values()} == {0}


def test_a_version_below_a_delete_marker_leaves_and_what_its_server_does_not_say_is_not_passed(
    vendor: MiniStack, tmp_path: Path
) -> None:
    """This server gives the hidden version's bytes and denies that it has tags: NoSuchKey."""
    asset, bundle = export(exporter_of(vendor, bucket="hidden"), tmp_path / "bundle")
    old, marker = index_of(bundle, asset)
    found = findings(bundle, asset)

    assert bundle.object_path(asset, old["sha256"]).read_bytes() == b"still there, below its marker"
    assert marker["delete_marker"]
    assert found["data.rows_missing"].value == 0
    assert found["data.objects_hash_mismatch"].coverage == 1.0
    assert found["data.metadata_classes_missing"].coverage == found["data.cells_different"].coverage == 0.5


def test_tags_that_are_denied_leave_the_content_and_name_the_missing_class(vendor: MiniStack, tmp_path: Path) -> None:
    with FaultyProxy(vendor.endpoint_url, Fault("refuse", path="contract.txt?tagging")) as proxy:
        asset, bundle = export(exporter_of(vendor, endpoint_url=proxy.endpoint_url), tmp_path / "bundle")
    found = findings(bundle, asset)

    assert at(index_of(bundle, asset), "contract.txt")["sha256"] is not None
    assert found["data.rows_missing"].value == 0
    assert found["data.metadata_classes_missing"].value == 1
    assert "s3:GetObjectTagging" in found["data.metadata_classes_missing"].places[0]


def test_no_secret_leaves(vendor: MiniStack, left: tuple[Asset, Bundle]) -> None:
    exporter = exporter_of(vendor)
    everything = b"".join(path.read_bytes() for path in left[1].root.rglob("*") if path.is_file())

    for secret in (vendor.access_key, vendor.secret_key):
        assert secret.encode() not in everything
        assert secret not in repr(exporter) + repr(exporter._settings)


# --- damage -------------------------------------------------------------------------------------------------------

Damage = Callable[[Bundle, Asset], None]


def edit(change: Callable[[list[dict[str, Any]]], Any]) -> Damage:
    """A change of the index's rows; `change` works in place, or returns the new rows."""

    def damage(bundle: Bundle, asset: Asset) -> None:
        path = bundle.folder(asset) / "index.parquet"
        table = pq.read_table(path)
        rows = table.to_pylist()
        changed = change(rows)
        pq.write_table(pa.Table.from_pylist(rows if changed is None else changed, table.schema), path)

    return damage


def at(rows: list[dict[str, Any]], key: str, sequence: int = -1) -> dict[str, Any]:
    return [row for row in rows if row["key"] == key][sequence]


def flip_a_byte(bundle: Bundle, asset: Asset) -> None:
    path = bundle.object_path(asset, hashlib.sha256(LARGE).hexdigest())
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def lose_a_content(bundle: Bundle, asset: Asset) -> None:
    bundle.object_path(asset, hashlib.sha256(LARGE).hexdigest()).unlink()


def swap(rows: list[dict[str, Any]]) -> None:
    one, other = at(rows, NFC), at(rows, NFD)
    for column in ("sha256", "size"):
        one[column], other[column] = other[column], one[column]


def swap_old(rows: list[dict[str, Any]]) -> None:
    one, other = at(rows, "contract.txt", 0), at(rows, "contract.txt", 1)
    one["sha256"], other["sha256"] = other["sha256"], one["sha256"]


def reorder(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        if row["key"] == "contract.txt":
            row["sequence"] = 2 - row["sequence"]


def forget_lifecycle(bundle: Bundle, asset: Asset) -> None:
    path = bundle.folder(asset) / "bucket.json"
    document = json.loads(path.read_bytes())
    del document["settings"]["lifecycle"]
    path.write_text(json.dumps(document))


def change_rule(bundle: Bundle, asset: Asset) -> None:
    path = bundle.folder(asset) / "bucket.json"
    document = json.loads(path.read_bytes())
    document["settings"]["lifecycle"]["Rules"][0]["Expiration"]["Days"] = 3
    path.write_text(json.dumps(document))


DAMAGES: dict[str, tuple[Damage, str, str]] = {
    "a flipped byte": (flip_a_byte, "data.objects_hash_mismatch", "documents/large.bin"),
    "a content gone": (lose_a_content, "data.objects_hash_mismatch", "documents/large.bin: its content"),
    "two objects swapped": (edit(swap), "data.objects_hash_mismatch", f"documents/{NFD}"),
    "two old versions swapped": (edit(swap_old), "data.objects_hash_mismatch", "documents/contract.txt (version "),
    "metadata gone": (
        edit(lambda rows: at(rows, "contract.txt").update(metadata="{}")),
        "data.metadata_classes_missing", "documents/contract.txt: user metadata",
    ),
    "one metadata entry changed": (
        edit(lambda rows: at(rows, "contract.txt").update(metadata=at(rows, "contract.txt", 1)["metadata"])),
        "data.cells_different", "documents/contract.txt: user metadata 'edition'",
    ),
    "all tags gone": (
        edit(lambda rows: at(rows, "contract.txt", 0).update(tags=None)),
        "data.metadata_classes_missing", ": tags",
    ),
    "one tag gone": (
        edit(lambda rows: at(rows, "contract.txt").update(tags='{"edition": "2"}')),
        "data.cells_different", "documents/contract.txt: tags 'level'",
    ),
    "an old version gone": (
        edit(lambda rows: rows.remove(at(rows, "contract.txt", 0))),
        "data.rows_missing", "documents/contract.txt (version ",
    ),
    "an old version gone, by class": (
        edit(lambda rows: rows.remove(at(rows, "contract.txt", 0))), "data.metadata_classes_missing", ": versions",
    ),
    "a delete marker gone": (
        edit(lambda rows: rows.remove(at(rows, "deleted.txt"))), "data.rows_missing", "documents/deleted.txt",
    ),
    "a page of the listing gone": (edit(lambda rows: rows[:-10]), "data.rows_missing", "documents/"),
    "the content type changed": (
        edit(lambda rows: at(rows, "contract.txt").update(content_type="text/html")),
        "data.cells_different", "documents/contract.txt: content type",
    ),
    "the content type gone": (
        edit(lambda rows: at(rows, "contract.txt").update(content_type=None)),
        "data.metadata_classes_missing", "documents/contract.txt: content type",
    ),
    "the modification time moved": (
        edit(lambda rows: at(rows, "contract.txt").update(last_modified=AT)),
        "data.cells_different", "documents/contract.txt: modification time",
    ),
    "versions in another order": (
        edit(reorder),
        "data.cells_different", ": version order",
    ),
    "an object more": (
        edit(lambda rows: rows.append({**at(rows, "empty.dat"), "key": "planted.txt", "version_id": "v"})),
        "data.rows_extra", "documents/planted.txt",
    ),
    "an object listed twice": (
        edit(lambda rows: rows.append(at(rows, "empty.dat"))), "data.rows_extra", "documents/empty.dat: listed twice",
    ),
    "an NFD key made NFC": (
        edit(lambda rows: at(rows, NFD).update(key=NFC)), "data.rows_missing", f"documents/{NFD}",
    ),
    "an object not given by the source": (
        edit(lambda rows: at(rows, "large.bin").update(sha256=None, error="access denied")),
        "data.rows_missing", "documents/large.bin: access denied",
    ),
    "a lifecycle rule changed": (change_rule, "data.cells_different", "documents: lifecycle"),
    "the lifecycle gone": (forget_lifecycle, "data.metadata_classes_missing", "documents: bucket lifecycle"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGES)
def test_each_damage_is_caught_and_named(left: tuple[Asset, Bundle], tmp_path: Path, name: str) -> None:
    damage, metric, place = DAMAGES[name]
    asset, bundle = left
    copy = Bundle.open(Path(shutil.copytree(bundle.root, tmp_path / "bundle")))
    damage(copy, asset)
    reseal(copy.root)
    finding = findings(copy, asset)[metric]

    assert isinstance(finding.value, int)
    assert finding.value > 0
    assert any(place in one for one in finding.places), finding.places
    assert all("\n" not in one for one in finding.places)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / "index.parquet").write_bytes(b"PAR1 garbage PAR1"),
        lambda folder: (folder / "index.parquet").unlink(),
        lambda folder: (folder / "bucket.json").write_bytes(b"{"),
        lambda folder: pq.write_table(pa.table({"key": ["a"]}), folder / "index.parquet"),
    ],
)
def test_what_cannot_be_read_never_passes(left: tuple[Asset, Bundle], tmp_path: Path, spoil) -> None:
    asset, bundle = left
    copy = Bundle.open(Path(shutil.copytree(bundle.root, tmp_path / "bundle")))
    spoil(copy.folder(asset))

    with pytest.raises(BundleError):
        list(Objects().verify(asset, copy))


def test_what_the_source_did_not_give_twice_is_left_out_of_the_coverage(
    left: tuple[Asset, Bundle], tmp_path: Path
) -> None:
    asset, bundle = left
    copy = Bundle.open(Path(shutil.copytree(bundle.root, tmp_path / "bundle")))
    path = copy.root / "data/witness" / asset.slug / "objects.parquet"
    table = pq.read_table(path)
    rows = table.to_pylist()
    at(rows, "large.bin").update(sha256=None, error="refused")
    pq.write_table(pa.Table.from_pylist(rows, table.schema), path)
    found = findings(copy, asset)

    assert found["data.objects_hash_mismatch"].coverage < 1.0
    assert found["data.cells_different"].coverage < 1.0


# --- a source that fails -----------------------------------------------------------------------------------------


def test_an_object_that_is_denied_is_named_and_the_others_still_leave(vendor: MiniStack, tmp_path: Path) -> None:
    with FaultyProxy(vendor.endpoint_url, Fault("refuse", method="GET", path="/large.bin")) as proxy:
        asset, bundle = export(exporter_of(vendor, endpoint_url=proxy.endpoint_url), tmp_path / "bundle")
    found = findings(bundle, asset)
    row = at(index_of(bundle, asset), "large.bin")

    assert row["sha256"] is None
    assert "access denied" in row["error"]
    assert found["data.rows_missing"].value == 1
    assert "documents/large.bin" in found["data.rows_missing"].places[0]
    assert len(index_of(bundle, asset)) == asset.rows


@pytest.mark.parametrize("kind", ["truncate", "flip-answer"])
def test_a_body_that_breaks_off_or_changes_once_arrives_whole(vendor: MiniStack, tmp_path: Path, kind) -> None:
    with FaultyProxy(vendor.endpoint_url, Fault(kind, method="GET", path="/large.bin?versionId", times=1)) as proxy:
        asset, bundle = export(exporter_of(vendor, endpoint_url=proxy.endpoint_url), tmp_path / "bundle")

        assert proxy.fault is not None
        assert proxy.fault.done == 1
    assert at(index_of(bundle, asset), "large.bin")["sha256"] == hashlib.sha256(LARGE).hexdigest()


def test_a_bit_that_changes_for_the_exporter_alone_is_caught_by_the_witness(vendor: MiniStack, tmp_path: Path) -> None:
    """An object for which the server keeps no checksum: nothing but a second reading can tell."""
    from botocore.config import Config

    s3 = vendor.client(Config(request_checksum_calculation="when_required"))
    s3.create_bucket(Bucket="plain", CreateBucketConfiguration={"LocationConstraint": vendor.region})
    s3.put_object(Bucket="plain", Key="one.bin", Body=bytes(10_000))
    with FaultyProxy(vendor.endpoint_url, Fault("flip-answer", method="GET", path="/plain/one.bin", times=1)) as proxy:
        asset, bundle = export(
            exporter_of(vendor, bucket="plain", endpoint_url=proxy.endpoint_url), tmp_path / "bundle"
        )

    finding = findings(bundle, asset)["data.objects_hash_mismatch"]
    assert finding.value == 1
    assert finding.places == ("plain/one.bin",)


def test_an_object_that_changes_meanwhile_is_read_again_and_recorded(vendor: MiniStack, tmp_path: Path) -> None:
    s3 = vendor.client()
    s3.create_bucket(Bucket="moving", CreateBucketConfiguration={"LocationConstraint": vendor.region})
    s3.put_object(Bucket="moving", Key="one", Body=b"before")
    exporter = exporter_of(vendor, bucket="moving")
    (asset,) = exporter.discover()
    changes = iter([b"after"])

    def change(**_: Any) -> None:
        for content in changes:
            s3.put_object(Bucket="moving", Key="one", Body=content)

    exporter._client().meta.events.register("before-call.s3.GetObject", change)
    with BundleWriter(tmp_path / "bundle") as writer:
        exporter.export(asset, writer)
        writer.put_witness(asset, exporter.witness(asset))
        writer.close_asset(asset, exporter="s3", at=AT)
        bundle = writer.finish(about={}, at=AT)
    bundle.check()

    assert bundle.document(asset, "bucket.json")["changed_during_export"] == ["one"]
    assert {one.value for one in findings(bundle, asset).values()} == {0}


def test_a_killed_export_goes_on_and_reads_no_content_twice(vendor: MiniStack, tmp_path: Path) -> None:
    script = (
        "import itertools, sys, time; from pathlib import Path; from reversible.bundle.writer import BundleWriter;"
        "from reversible_exporters.s3 import S3Exporter\n"
        "keys = dict(access_key='${TEST_S3_AK}', secret_key='${TEST_S3_SK}')\n"
        "one = S3Exporter('docs', S3Exporter.Settings(bucket='documents', region=sys.argv[1], "
        "endpoint_url=sys.argv[2], **keys))\n"
        "count = itertools.count()\n"
        "one._client().meta.events.register('before-call.s3.GetObject', "
        "lambda **_: time.sleep(600) if next(count) >= 12 else None)\n"
        "one.export(next(one.discover()), BundleWriter(Path(sys.argv[3])))\n"
    )
    root = tmp_path / "bundle"
    child = subprocess.Popen([sys.executable, "-c", script, vendor.region, vendor.endpoint_url, str(root)])
    journal = tmp_path / "bundle.partial/journal.jsonl"
    while child.poll() is None and (not journal.exists() or len(journal.read_bytes().splitlines()) < 12):
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    done = len(journal.read_bytes().splitlines())

    with FaultyProxy(vendor.endpoint_url) as proxy:
        exporter = exporter_of(vendor, endpoint_url=proxy.endpoint_url)
        (asset,) = exporter.discover()
        with BundleWriter(root) as writer:
            exporter.export(asset, writer)
            reads = [
                one for one in proxy.requests if one.startswith("GET") and "versionId" in one and "tagging" not in one
            ]
            writer.put_witness(asset, exporter_of(vendor).witness(asset))
            writer.close_asset(asset, exporter="s3", at=AT)
            bundle = writer.finish(about={}, at=AT)
    bundle.check()

    assert done == 12
    assert len(reads) == len([row for row in index_of(bundle, asset) if row["sha256"]]) - done
    assert {one.value for one in findings(bundle, asset).values()} == {0}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"bucket": "nowhere"}, "bucket nowhere: there is no such bucket"),
        ({"endpoint_url": "http://127.0.0.1:9"}, "127.0.0.1:9"),
    ],
)
def test_a_source_that_cannot_be_reached_is_one_line_with_a_hint(
    vendor: MiniStack, changes: dict[str, Any], said: str
) -> None:
    exporter = exporter_of(vendor, **changes)

    with pytest.raises(SourceError, match=said) as caught:
        list(exporter.discover())
    assert caught.value.hint
    assert "\n" not in caught.value.message
    assert not all(answer.ok for answer in exporter.check())


def test_a_bucket_whose_listing_is_denied_is_an_asset_with_an_obstacle(vendor: MiniStack) -> None:
    with FaultyProxy(vendor.endpoint_url, Fault("refuse", path="versions")) as proxy:
        (asset,) = exporter_of(vendor, endpoint_url=proxy.endpoint_url).discover()

    assert asset.obstacle is not None
    assert "s3:ListBucketVersions" in asset.obstacle


@pytest.mark.parametrize(
    ("path", "right"),
    [
        ("versions", "s3:ListBucketVersions"),
        ("tagging", "s3:GetObjectTagging"),
        ("lifecycle", "s3:GetLifecycleConfiguration"),
        ("policy", "s3:GetBucketPolicy"),
    ],
)
def test_check_names_the_missing_right(vendor: MiniStack, path: str, right: str) -> None:
    with FaultyProxy(vendor.endpoint_url, Fault("refuse", path=path)) as proxy:
        answers = list(exporter_of(vendor, endpoint_url=proxy.endpoint_url).check())

    assert any(not answer.ok and right in answer.hint for answer in answers), answers


def test_check_passes_where_every_right_is_there(vendor: MiniStack) -> None:
    assert all(answer.ok for answer in exporter_of(vendor).check())


def test_a_denied_setting_is_a_class_that_is_missing(vendor: MiniStack, tmp_path: Path) -> None:
    with FaultyProxy(vendor.endpoint_url, Fault("refuse", path="lifecycle")) as proxy:
        exporter = exporter_of(vendor, endpoint_url=proxy.endpoint_url, prefix="contract")
        asset, bundle = export(exporter, tmp_path / "bundle")

    finding = findings(bundle, asset)["data.metadata_classes_missing"]
    assert finding.value == 1
    assert "s3:GetLifecycleConfiguration" in finding.places[0]


@pytest.mark.parametrize(
    "changes",
    [
        {"secret_key": "literal"}, {"secret_key": None}, {"buckets": "x"}, {"region": ""},
        {"endpoint_url": "https://user:word@host"},
    ],
)  # fmt: skip
def test_settings_that_mean_nothing_are_refused(vendor: MiniStack, changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        exporter_of(vendor, **changes)


def test_the_endpoints_are_what_a_fence_must_close(vendor: MiniStack) -> None:
    assert exporter_of(vendor).endpoints == (vendor.endpoint_url.removeprefix("http://"),)
    assert exporter_of(vendor, endpoint_url=None).endpoints[0] == f"s3.{vendor.region}.amazonaws.com:443"


# --- over TLS ---------------------------------------------------------------------------------------------------


def test_a_bucket_leaves_over_tls_with_an_authority_that_the_customer_names(
    vendor: MiniStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both clients honour AWS_CA_BUNDLE; without it, each refuses."""
    authority = Authority(tmp_path / "authority")
    with TLSFront(vendor.endpoint_url, authority.server("127.0.0.1")) as front:
        exporter = exporter_of(vendor, bucket="flat", endpoint_url=front.endpoint_url)
        with pytest.raises(SourceError, match="certificate"):
            list(exporter.discover())
        monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.bundle))
        asset, bundle = export(exporter_of(vendor, bucket="flat", endpoint_url=front.endpoint_url), tmp_path / "bundle")

    assert {row["key"] for row in index_of(bundle, asset)} == {"one", "logs/two"}
    assert all(finding.value == 0 for finding in findings(bundle, asset).values() if finding.metric.endswith("missing"))
