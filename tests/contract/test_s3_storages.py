"""Does the same bundle reach, and come back from, S3 storages of different makes over TLS, and what does each do?

Every storage speaks TLS with a certificate of an authority that only the test knows: plain HTTP hides the worst
differences (checksums after the bytes, signatures over them).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path

import pytest

import s3_makes
from reversible.bundle import bag
from reversible.bundle.reader import Bundle
from reversible.bundle.s3 import S3Storage
from reversible.bundle.storage import fetch, open_storage, ship
from reversible.errors import BundleError, DestinationError, UsageError
from reversible.s3 import Client, Keys, trust
from reversible.storage_doctor import OPERATIONS, Examination, Outcome, Settings, examine
from reversible.storage_doctor.doctor import MAX_BYTES, MAX_REQUESTS
from reversible.testing.tls import Authority, TLSFront
from reversible_samples.s3_servers import S3Server
from small_bundle import write_bundle

BUCKET, LOCKING = "sortie", "sortie-lock"


@dataclass(eq=False)
class Store:
    """A server, its TLS front, and whom to trust."""

    make: str
    server: S3Server
    front: TLSFront
    authority: Authority

    def client(self, bucket: str = BUCKET) -> Client:
        return Client(
            endpoint_url=self.front.endpoint_url, bucket=bucket, region=self.server.region,
            keys=Keys(self.server.access_key, self.server.secret_key), timeout_s=20.0,
            tls=trust.context(str(self.authority.bundle), {}),
        )  # fmt: skip

    @cache  # noqa: B019 - as long as the module: a storage tries the server once
    def storage(self, prefix: str, **changes: str | None) -> S3Storage:
        options: dict[str, str | None] = {
            "endpoint_url": self.front.endpoint_url, "region": self.server.region,
            "access_key": self.server.access_key, "secret_key": self.server.secret_key,
            "ca_bundle": str(self.authority.bundle),
        }  # fmt: skip
        opened = open_storage(f"s3://{BUCKET}/{prefix}", **{**options, **changes})
        assert isinstance(opened, S3Storage)
        return opened


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module", params=s3_makes.MAKES)
def store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, authority: Authority
) -> Iterator[Store]:
    yield from opened(request.param, tmp_path_factory.mktemp(request.param), authority)


@pytest.fixture(scope="module")
def weed(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Store]:
    """For what is ours alone, whichever server answers."""
    yield from opened("seaweedfs", tmp_path_factory.mktemp("weed"), authority)


def opened(make: str, folder: Path, authority: Authority) -> Iterator[Store]:
    server = s3_makes.started(make, folder)
    try:
        s3 = server.client()
        s3.create_bucket(Bucket=BUCKET)
        s3.create_bucket(Bucket=LOCKING, ObjectLockEnabledForBucket=True)  # Swift takes that, and has no locks
        s3.put_bucket_versioning(Bucket=LOCKING, VersioningConfiguration={"Status": "Enabled"})
        with TLSFront(server.endpoint_url, authority.server("127.0.0.1", "localhost")) as front:
            yield Store(make, server, front, authority)
    finally:
        server.stop()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_bundle(tmp_path_factory.mktemp("made") / "bundle", seed="tls")


@pytest.fixture(scope="module")
def found(store: Store) -> Examination:
    return examine(store.client(), "exit/.reversible-probe-plain/")


# --- the contract -----------------------------------------------------------------------------------------------


def test_a_bundle_comes_back_as_it_went(store: Store, bundle: Bundle, tmp_path: Path) -> None:
    shipped = list(ship(bundle, store.storage("whole")))
    again = list(ship(bundle, store.storage("whole")))
    back = fetch(store.storage("whole"), tmp_path / "back")

    assert all(one.sent for one in shipped)
    assert not any(one.sent for one in again)
    assert back.digest == bundle.digest
    back.check()


def test_a_line_that_breaks_costs_nothing_twice(store: Store, bundle: Bundle, tmp_path: Path) -> None:
    """Every connection is cut after five files, again after ten; then the shipping is given up and begun again."""
    for one in ship(bundle, store.storage("broken")):
        if one.done in (5, 10):
            store.front.cut()
        if one.done == 15:
            break
    there = dict(store.storage("broken").listing())
    shipped = list(ship(bundle, store.storage("broken")))

    assert len(there) >= 15
    assert bag.TAG_MANIFEST not in there
    assert not {one.key for one in shipped if one.sent} & {
        key for key, size in there.items() if size == (bundle.root / key).stat().st_size
    }
    assert fetch(store.storage("broken"), tmp_path / "back").digest == bundle.digest


def test_a_file_in_parts_comes_back(store: Store, tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_bytes(b"".join(bytes([number % 251]) * 65_536 for number in range(17 * 16)))
    sha256 = bag.sha256_file(large)
    target = store.storage("parts")
    target.put("data/large", large, sha256)

    assert target.get("data/large", tmp_path / "back") == sha256
    assert dict(target.listing()) == {"data/large": 17 << 20}


def test_an_altered_file_is_found_and_sent_again(store: Store, bundle: Bundle, tmp_path: Path) -> None:
    list(ship(bundle, store.storage("altered")))
    content = (bundle.root / "data/bundle.json").read_bytes()
    store.server.client().put_object(
        Bucket=BUCKET, Key="altered/data/bundle.json", Body=content.replace(b"docs", b"dogs", 1)
    )

    with pytest.raises(BundleError, match=r"data/bundle\.json came back altered"):
        fetch(store.storage("altered"), tmp_path / "back")
    assert [one.key for one in ship(bundle, store.storage("altered")) if one.sent] == ["data/bundle.json"]


# --- trust --------------------------------------------------------------------------------------------------------


def test_an_authority_that_nobody_named_is_not_trusted(weed: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(DestinationError, match=r"its certificate is not trusted: .*issuer certificate") as caught:
        list(weed.storage("x", ca_bundle=None).listing())

    assert "\n" not in caught.value.message
    assert "AWS_CA_BUNDLE" in caught.value.hint
    monkeypatch.setenv("AWS_CA_BUNDLE", str(weed.authority.bundle))
    assert list(weed.storage("nothing-there", ca_bundle=None).listing()) == []


@pytest.mark.parametrize(
    ("names", "lasts", "said"),
    [(("elsewhere.example",), 1, "IP address mismatch"), (("127.0.0.1",), -1, "certificate has expired")],
)
def test_a_wrong_certificate_is_refused_in_one_line(weed: Store, names: tuple[str, ...], lasts: int, said: str) -> None:
    context = weed.authority.server(*names, lasts=timedelta(days=lasts))
    with (
        TLSFront(weed.server.endpoint_url, context) as front,
        pytest.raises(DestinationError, match=said) as caught,
    ):
        list(weed.storage("x", endpoint_url=front.endpoint_url).listing())
    assert "\n" not in caught.value.message


def test_a_bundle_of_authorities_that_is_none_is_said(weed: Store, tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("nothing")
    for place in (tmp_path / "empty.pem", tmp_path / "none.pem"):
        with pytest.raises(UsageError, match=r"ca_bundle: .* cannot be read as certificates"):
            list(weed.storage("x", ca_bundle=str(place)).listing())


# --- what each make does --------------------------------------------------------------------------------------------

# Besides what works: as it was seen, so that a change of a server or of ours is noticed.
SEEN: dict[str, dict[str, Outcome]] = {
    "seaweedfs": {
        **dict.fromkeys(("payload.wrong", "key.slash", "key.slashes", "key.punctuation"), Outcome.LIES),
        **dict.fromkeys(("key.dots", "key.part"), Outcome.REFUSED),
    },
    "ministack": dict.fromkeys(
        ("payload.wrong", "sha256.wrong", "crc32.wrong", "trailer.wrong", "secret.wrong", "secret.unknown",
         "anonymous", "clock.old"), Outcome.LIES,
    ),
    "swift": {
        **dict.fromkeys(("sha256", "crc32", "metadata.unicode", "encryption.own"), Outcome.LIES),
        **dict.fromkeys(("conditional.replace", "tags", "tags.unicode", "tags.delete", "encryption.object"),
                        Outcome.REFUSED),
    },
    "ceph": {
        **dict.fromkeys(("multipart.part", "sha256", "sha256.wrong", "crc32", "crc32.wrong", "metadata.names",
                         "encryption.object"), Outcome.LIES),
        **dict.fromkeys(("trailer", "conditional.replace"), Outcome.REFUSED),
    },
}  # fmt: skip
MAY = {"conditional.race", "address.host"}  # luck, or not to be tried here
NEEDS_LOCK = {one.id for one in OPERATIONS if one.id.startswith(("lock", "versions"))}
SETTINGS = {
    "seaweedfs": ("sha256", 10_000, True), "ministack": ("md5", 10_000, True), "swift": ("md5", 1_000, True),
    "ceph": ("md5", 10_000, False),
}  # fmt: skip


def test_each_make_is_told_as_it_is(store: Store, found: Examination) -> None:
    ended = {one.operation: one.outcome for one in found.trials if one.operation not in MAY | NEEDS_LOCK}

    assert {name: outcome for name, outcome in ended.items() if outcome is not Outcome.WORKS} == SEEN[store.make]
    assert {found[name].outcome for name in NEEDS_LOCK} == {Outcome.NOT_TRIED}
    assert found["clean"].outcome is Outcome.WORKS
    assert found.requests < MAX_REQUESTS
    assert found.bytes_sent < MAX_BYTES / 2


def test_the_client_follows_what_was_found(store: Store, found: Examination) -> None:
    settings = Settings.of(found, virtual=False)

    assert (settings.checksum, settings.parts, settings.trailers) == SETTINGS[store.make]
    assert settings.ranges


def test_versions_and_locks_are_tried_where_the_bucket_has_them(store: Store) -> None:
    operations = [one for one in OPERATIONS if one.id in NEEDS_LOCK]
    found = examine(store.client(LOCKING), "exit/.reversible-probe-locks/", operations=operations, lock_s=5)
    ended = {one.operation: one.outcome for one in found.trials}
    there = Outcome.NOT_TRIED if store.make == "swift" else Outcome.WORKS
    locks = dict.fromkeys((one for one in NEEDS_LOCK if one.startswith("lock")), there)
    versions = dict.fromkeys((one for one in NEEDS_LOCK if one.startswith("versions")), Outcome.WORKS)

    assert ended == {**locks, **versions, "clean": Outcome.WORKS}, [one for one in found.trials if one.said]
