"""How does a bundle reach the destination's storage and come back, byte for byte?

A storage is believed about nothing: every file is read back and hashed after it was sent, and hashed again when it
is fetched. The tag manifest goes last, so that a bag in a storage is whole exactly when its tag manifest is there.
A stopped `ship` or `fetch` is finished by the same call: what arrived already is hashed, not sent again.
"""

import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from reversible.bundle import bag
from reversible.bundle.directory import DirectoryStorage
from reversible.bundle.reader import Bundle
from reversible.bundle.transfer import ATTEMPTS, in_threads
from reversible.bundle.writer import disk_faults
from reversible.errors import BundleError, DestinationError, UsageError

_OBJECT = re.compile(r"objects/[^/]+/([0-9a-f]{64})")  # content addressed by its own digest


class Storage(Protocol):
    """Keeps files under keys. Threads use it at once; `stop`, when set, ends a transfer at its next block.

    Every method raises DestinationError for what the storage refuses; no message holds a credential.
    """

    @property
    def name(self) -> str:
        """As messages call it: a directory's path, or s3://bucket/prefix."""
        ...

    def put(self, key: str, source: Path, sha256: str, *, stop: threading.Event | None = None) -> None:
        """Keep the file's bytes under `key`, read them back, and believe only the digest of what came back.

        Raises:
            DestinationError: the bytes that came back are not those that were sent; the message names the key.
            BundleError: the file itself does not have the digest.
        """
        ...

    def get(self, key: str, target: Path, *, stop: threading.Event | None = None) -> str:
        """Write the bytes under `key` to a new file; return their SHA-256, hex."""
        ...

    def digest(self, key: str, *, stop: threading.Event | None = None) -> str:
        """Read the bytes under `key` and return their SHA-256, hex."""
        ...

    def listing(self) -> Iterator[tuple[str, int]]:
        """Every key with its size in bytes."""
        ...

    def probe(self) -> dict[str, Any]:
        """Try what a run needs; return what was answered, as evidence (JSON)."""
        ...


@dataclass(frozen=True, kw_only=True)
class Shipped:
    """One file is at the destination and was read back whole; `sent` is False when it was there before."""

    key: str
    size_bytes: int
    sent: bool
    done: int
    total: int


def open_storage(
    url: str,
    *,
    endpoint_url: str | None = None,
    region: str | None = None,
    access_key: str | None = None,
    secret_key: str | None = None,
    ca_bundle: str | None = None,
) -> Storage:
    """The storage behind a directory path or s3://bucket/prefix; nothing is reached yet.

    Raises:
        UsageError: the URL is of another scheme, or an S3 storage without a region.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        return DirectoryStorage(Path(url))
    if scheme != "s3":
        raise UsageError(f"{scheme}://: not a storage that we know", hint="give a directory or s3://bucket/prefix")
    bucket, _, prefix = rest.partition("/")
    prefix = prefix.strip("/")
    if not bucket or (prefix and not bag.is_safe(prefix)):
        raise UsageError(f"{url!r} is not s3://bucket/prefix", hint="use letters, digits, '.', '_' and '-' in a prefix")
    if not region:
        raise UsageError(
            f"{url}: the region is missing, and S3 servers differ in what they guess", hint="--region NAME"
        )
    from reversible.bundle.s3 import S3Storage

    return S3Storage(
        bucket=bucket, prefix=prefix, region=region, endpoint_url=endpoint_url,
        access_key=access_key, secret_key=secret_key, ca_bundle=ca_bundle,
    )  # fmt: skip


def probe(storage: Storage) -> dict[str, Any]:
    """What the storage answered when it was tried, as evidence."""
    return storage.probe()


# --- there ------------------------------------------------------------------------------------------------------


def ship(bundle: Bundle, storage: Storage) -> Iterator[Shipped]:
    """Send the bundle; one item per file, as it is there and was read back.

    Raises:
        DestinationError: the storage refuses, alters bytes, or holds something that is not of this bundle.
        BundleError: a file of the bundle changed since it was finished.
    """
    files = _files(bundle)
    there = dict(storage.listing())
    if foreign := sorted(set(there) - set(files)):
        raise DestinationError(
            f"{storage.name} holds {len(foreign)} keys that are not of this bundle, {foreign[0]!r} among them",
            hint="choose an empty prefix for destination.storage.url",
        )
    if bag.TAG_MANIFEST in there and storage.digest(bag.TAG_MANIFEST) != files[bag.TAG_MANIFEST]:
        raise DestinationError(
            f"{storage.name} holds another finished bundle", hint="choose an empty prefix for destination.storage.url"
        )

    def send(key: str, stop: threading.Event) -> bool:
        path = bundle.root / key
        if there.get(key) == path.stat().st_size and storage.digest(key, stop=stop) == files[key]:
            return False
        storage.put(key, path, files[key], stop=stop)
        return True

    sizes = {key: (bundle.root / key).stat().st_size for key in files}
    payload = sorted(set(files) - {bag.TAG_MANIFEST})
    done = 0
    for keys in (payload, [bag.TAG_MANIFEST]):  # the tag manifest last: it says that all the rest is there
        for key, sent in in_threads(send, keys):
            done += 1
            yield Shipped(key=key, size_bytes=sizes[key], sent=sent, done=done, total=len(files))


def _files(bundle: Bundle) -> dict[str, str]:
    """Every file of the bundle with the digest that the bundle itself gives it."""
    try:
        listed = bag.read_manifest(bundle.root / bag.MANIFEST) | bag.read_manifest(bundle.root / bag.TAG_MANIFEST)
    except ValueError as error:
        raise BundleError(f"{bundle.root}: {error}") from error
    files = {**listed, bag.TAG_MANIFEST: bundle.digest}
    for path, _ in bag.walk(bundle.root):
        if path not in files:
            content = _OBJECT.fullmatch(path)
            if content is None:
                raise BundleError(f"{bundle.root}: {path} is in no manifest")
            files[path] = content[1]
    if missing := sorted(path for path in files if not (bundle.root / path).is_file()):
        raise BundleError(f"{bundle.root}: {missing[0]} is missing")
    return files


# --- and back ---------------------------------------------------------------------------------------------------


def fetch(storage: Storage, into: Path) -> Bundle:
    """Read a shipped bundle back into the new directory `into`, whole or not at all.

    Raises:
        BundleError: it is not whole, holds a key that is no file of a bundle, or a file is not what it should be.
        DestinationError: the storage refuses, or the disk does.
    """
    if into.exists():
        raise BundleError(f"{into} exists already", hint="choose another directory, or move it away")
    sizes = dict(storage.listing())
    if unsafe := sorted(key for key in sizes if not bag.is_safe(key)):
        raise BundleError(f"{storage.name}: the key {unsafe[0][:200]!r} is no file name of a bundle")
    if bag.TAG_MANIFEST not in sizes:
        raise BundleError(
            f"{storage.name} holds no finished bundle: {bag.TAG_MANIFEST} is missing",
            hint="ship it again: what arrived already is not sent twice",
        )
    work = into.with_name(f"{into.name}.partial")
    with disk_faults(work):
        work.mkdir(parents=True, exist_ok=True)
        _clear(work, keep=sizes)
        expected = _expected(storage, work, sizes)

        def receive(key: str, stop: threading.Event) -> None:
            _receive(storage, key, work / key, expected[key], stop)

        for _ in in_threads(receive, sorted(expected)):
            pass
        bundle = Bundle.open(work)
        bundle.check()
        work.replace(into)
    return Bundle.open(into)


def _expected(storage: Storage, work: Path, sizes: Mapping[str, int]) -> dict[str, str]:
    """Key -> digest by the bundle's own manifests, which are fetched first; exactly what the storage lists."""
    expected: dict[str, str] = {}
    try:
        _receive(storage, bag.TAG_MANIFEST, work / bag.TAG_MANIFEST, None, threading.Event())
        tags = bag.read_manifest(work / bag.TAG_MANIFEST)
        if bag.MANIFEST not in tags or bag.MANIFEST not in sizes:
            raise BundleError(f"{storage.name}: {bag.MANIFEST} is missing")
        _receive(storage, bag.MANIFEST, work / bag.MANIFEST, tags[bag.MANIFEST], threading.Event())
        expected = tags | bag.read_manifest(work / bag.MANIFEST)
    except ValueError as error:
        raise BundleError(f"{storage.name}: {error}") from error
    for key in sizes:
        if content := _OBJECT.fullmatch(key):
            expected.setdefault(key, content[1])  # whether the index names it, Bundle.check asks
    if unlisted := sorted(set(sizes) - set(expected) - {bag.TAG_MANIFEST}):
        raise BundleError(f"{storage.name}: {unlisted[0]} is in no manifest of the bundle")
    if missing := sorted(set(expected) - set(sizes)):
        raise BundleError(
            f"{storage.name}: {missing[0]} is missing", hint="ship it again: what arrived already is not sent twice"
        )
    return expected


def _receive(storage: Storage, key: str, target: Path, sha256: str | None, stop: threading.Event) -> None:
    """Fetch one file, unless it is there from an earlier call; hash it on the way, and read again what differs."""
    if sha256 is not None and target.is_file() and bag.sha256_file(target) == sha256:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f"{target.name}.tmp")
    seen = ""
    for _ in range(ATTEMPTS):
        seen = storage.get(key, temporary, stop=stop)
        if sha256 is None or seen == sha256:
            temporary.replace(target)
            return
    temporary.unlink(missing_ok=True)
    assert sha256 is not None  # noqa: S101 - for the type checker: without one, the first attempt returned
    raise BundleError(
        f"{storage.name}: {key} came back altered {ATTEMPTS} times: its SHA-256 is {seen[:16]}…, not {sha256[:16]}…",
        hint="ship the bundle again from its origin: altered files are sent anew",
    )


def _clear(work: Path, *, keep: Mapping[str, int]) -> None:
    """Drop what a stopped call left half-written, and whatever the storage does not hold."""
    for path, status in list(bag.walk(work)):
        if keep.get(path) != status.st_size or (work / path).is_symlink():
            (work / path).unlink()
