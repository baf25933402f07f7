"""Does an address that was signed for one object let a host without a key do that one thing, and nothing else?"""

import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from reversible.bundle.s3 import S3Storage
from reversible_samples.s3_servers import SeaweedFS


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Storage]:
    with SeaweedFS(tmp_path_factory.mktemp("storage")) as server:
        server.client().create_bucket(Bucket="sortie")
        yield S3Storage(
            bucket="sortie", prefix="run 1+2/é", region=server.region, endpoint_url=server.endpoint_url,
            access_key=server.access_key, secret_key=server.secret_key,
        )  # fmt: skip


def ask(url: str, *, method: str = "GET", body: bytes | None = None) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data=body, method=method), timeout=20) as came:  # noqa: S310 - an address of our own
            return came.status, came.read()
    except urllib.error.HTTPError as error:
        return error.code, b""


def test_what_was_signed_works_and_comes_back(storage: S3Storage, tmp_path: Path) -> None:
    status, _ = ask(storage.signed_url("PUT", "nonce.txt"), method="PUT", body=b"drawn")

    assert status == 200
    assert ask(storage.signed_url("GET", "nonce.txt")) == (200, b"drawn")
    storage.get("nonce.txt", tmp_path / "came")
    assert (tmp_path / "came").read_bytes() == b"drawn"


def test_an_address_is_good_for_its_own_key_method_and_time(storage: S3Storage) -> None:
    ask(storage.signed_url("PUT", "one"), method="PUT", body=b"1")
    read = storage.signed_url("GET", "one")

    assert ask(read)[0] == 200
    assert ask(read, method="PUT", body=b"2")[0] == 403
    assert ask(read.replace("/one?", "/two?"))[0] == 403
    assert ask(read.partition("?")[0])[0] == 403
    expired = read.replace("X-Amz-Expires=43200", "X-Amz-Expires=43201")
    assert expired != read
    assert ask(expired)[0] == 403
    assert ask(storage.signed_url("GET", "one"))[1] == b"1"


def test_no_key_stands_in_an_address(storage: S3Storage) -> None:
    assert storage._keys[1]
    assert str(storage._keys[1]) not in storage.signed_url("GET", "one")
