"""How does a bundle come to be, whole or not at all?

All is written under `<name>.partial`, part by part: a part is streamed to a hidden file, hashed on the way,
synced, renamed, and only then noted in the journal. `finish` writes the manifests and renames the directory.
A killed run leaves the partial directory; opening the writer again takes up the finished parts, after hashing
them once more, and drops the rest.
"""

import errno
import hashlib
import io
import json
import os
import shutil
import threading
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Self

from reversible.assets import Asset
from reversible.bundle import bag
from reversible.bundle.reader import FORMAT, Bundle
from reversible.errors import BundleError, DestinationError
from reversible.interfaces import Witness

_JOURNAL = "journal.jsonl"


class BundleWriter:
    """Writes one bundle; every method is safe to repeat after a kill.

    Args:
        root: Where the finished bundle will stand; must not exist yet.
        since: An earlier bundle of the same plan, whose parts an exporter may `adopt` where the source is unchanged.

    Raises:
        BundleError: a finished bundle stands there already.
        DestinationError: the disk refuses.
    """

    def __init__(self, root: Path, *, since: Bundle | None = None) -> None:
        if root.exists():
            raise BundleError(f"{root} exists already", hint="choose another directory with --into, or move it away")
        self.root = root
        self.since = since
        self._work = root.with_name(f"{root.name}.partial")
        self._parts: dict[str, str] = {}
        self._objects: dict[str, str] = {}
        self._origins: dict[tuple[str, str], str] = {}  # (asset's slug, origin) -> the object's path
        self._part_origins: dict[str, tuple[str, dict[str, Any]]] = {}  # path -> its digest, and what it was read from
        self._lock = threading.Lock()
        self._journal_lock = threading.Lock()
        self._done: dict[str, dict[str, Any]] = {}
        with disk_faults(self._work):
            self._work.mkdir(parents=True, exist_ok=True)
            self._resume()
            self._journal = (self._work / _JOURNAL).open("a", encoding="utf-8")

    @property
    def resumed(self) -> bool:
        """Whether an earlier, unfinished run left parts here that are taken up."""
        return self._resumed

    # --- parts -------------------------------------------------------------------------------------------------

    def has(self, path: str) -> bool:
        """Whether the part is there already, whole."""
        return path in self._parts

    def digest(self, path: str) -> str:
        """The SHA-256 of a part that is there, whole; empty when it is not."""
        return self._parts.get(path, "")

    def path(self, path: str) -> Path:
        """Where a part, or a folder of parts, lies until the bundle is whole: to be read."""
        return self._work / path

    @contextmanager
    def part(self, path: str) -> Iterator[IO[bytes]]:
        """A binary stream that becomes the part `path` when the block ends well, and nothing when it does not.

        Threads may write different parts at once.
        """
        if not bag.is_safe(path) or not path.startswith("data/"):
            raise ValueError(f"not a path inside a bundle: {path!r}")
        with self._stream(path) as stream:
            yield stream
        self._note({"part": path, "sha256": stream.hexdigest})
        self._parts[path] = stream.hexdigest

    def note_origin(self, path: str, origin: Mapping[str, Any]) -> None:
        """Remember what a finished part was read from, so that a resumed export can ask whether it still stands."""
        self._note({"origin_of": path, "sha256": self._parts[path], "read_from": dict(origin)})
        self._part_origins[path] = (self._parts[path], dict(origin))

    def origin(self, path: str) -> dict[str, Any] | None:
        """What the part was read from, if it is there, whole, and its origin was noted; else None."""
        digest, origin = self._part_origins.get(path, ("", None))
        return origin if self._parts.get(path) == digest else None

    def adopt(self, path: str) -> None:
        """Copy a part from the earlier bundle, as its manifest knows it.

        Raises:
            BundleError: it is not there, or is not what that manifest says.
        """
        if self.since is None:
            raise ValueError("there is no earlier bundle")
        expected = self.since.manifest.get(path)
        source = self.since.root / path
        if expected is None or not _is(source, expected):
            raise BundleError(f"{source} is not what the manifest of {self.since.root} says")
        with self.part(path) as stream, source.open("rb") as content:
            shutil.copyfileobj(content, stream, 1 << 20)

    def keep_parts(self, asset: Asset, paths: Container[str]) -> None:
        """Drop every other part of the asset and what was said about it: the rest of an earlier, stopped run."""
        folders = (f"{asset.folder}/", f"data/witness/{asset.slug}/")
        self._drop(self._parts, [path for path in self._parts if path.startswith(folders) and path not in paths])

    def drop_parts(self, paths: Iterable[str]) -> None:
        """Drop these parts, where they are there."""
        self._drop(self._parts, [path for path in paths if path in self._parts])

    def put_json(self, path: str, document: Any) -> None:
        """Write a small JSON part: keys sorted, so that the same content gives the same bytes."""
        with self.part(path) as stream:
            stream.write(json_bytes(document))

    def put_object(
        self, asset: Asset, content: Iterator[bytes], *, expect_sha256: str | None = None, origin: str = ""
    ) -> tuple[str, int]:
        """Stream one object's content into the bundle, addressed by its own digest. Threads may call it at once.

        `origin` names what was read, exactly ("key, version, ETag"), so that a resumed export can ask
        `object_from` instead of reading it again.

        Returns:
            The SHA-256, hex, and the size in bytes.

        Raises:
            BundleError: the content's digest is not `expect_sha256`.
        """
        folder = f"objects/{asset.slug}"
        name = f"incoming-{threading.get_ident()}"
        with self._stream(f"{folder}/{name}", keep=False) as stream:
            for block in content:
                stream.write(block)
        digest, size = stream.hexdigest, stream.size
        incoming = self._work / f"{folder}/{name}.tmp"
        if expect_sha256 is not None and digest != expect_sha256:
            incoming.unlink()
            raise BundleError(f"{asset.id}: an object arrived as {digest}, expected {expect_sha256}")
        path = f"{folder}/{digest}"
        with self._lock:
            with disk_faults(self._work):
                incoming.replace(self._work / path)
            if path not in self._objects or origin:
                self._note({"object": path, "sha256": digest, **({"origin": origin} if origin else {})})
            self._objects[path] = digest
            if origin:
                self._origins[asset.slug, origin] = path
        return digest, size

    def object_from(self, asset: Asset, origin: str) -> tuple[str, int] | None:
        """The SHA-256 and size of what was read from `origin` before, if it is there, whole; else None."""
        path = self._origins.get((asset.slug, origin))
        if path is None or path not in self._objects:
            return None
        return self._objects[path], (self._work / path).stat().st_size

    def has_object(self, asset: Asset, sha256: str) -> bool:
        """Whether that content is there already, whole."""
        return f"objects/{asset.slug}/{sha256}" in self._objects

    def keep_objects(self, asset: Asset, digests: Container[str]) -> None:
        """Drop every other content of the asset: what a stopped run had read, and the source changed since."""
        own = [path for path in self._objects if path.split("/")[1] == asset.slug]
        self._drop(self._objects, [path for path in own if self._objects[path] not in digests])

    def discard(self, asset: Asset) -> None:
        """Drop all that was written of an asset that is not finished: two snapshots must not mix, and half an asset
        that the source then refused must not look like one."""
        folders = (f"{asset.folder}/", f"data/witness/{asset.slug}/", f"objects/{asset.slug}/")
        for kept in (self._parts, self._objects):
            self._drop(kept, [path for path in kept if path.startswith(folders)])

    def _drop(self, kept: dict[str, str], paths: Iterable[str]) -> None:
        for path in paths:
            self._note({"dropped": path})
            del kept[path]
            with disk_faults(self._work):
                (self._work / path).unlink(missing_ok=True)

    # --- assets ------------------------------------------------------------------------------------------------

    def put_witness(self, asset: Asset, witness: Witness) -> None:
        """Write what the source said about the asset by another route."""
        import pyarrow.parquet as pq

        for name, table in witness.tables.items():
            with self.part(f"data/witness/{asset.slug}/{name}.parquet") as stream:
                pq.write_table(table, stream, compression="zstd")
        document = {"method": witness.method, "facts": dict(witness.facts), "tables": sorted(witness.tables)}
        self.put_json(f"data/witness/{asset.slug}/witness.json", document)

    def close_asset(self, asset: Asset, *, exporter: str, at: datetime, error: str = "") -> None:
        """Note that the asset is finished: exported, or refused by the source with `error`."""
        entry = {
            "asset": asset.to_json(), "exporter": exporter, "closed_at": at.isoformat(),
            "status": "failed" if error else "exported", "error": error,
        }  # fmt: skip
        self._note({"done": entry})
        self._done[asset.id] = entry

    def reopen(self, asset: Asset) -> None:
        """Count a finished asset as unfinished: the source has changed since, and it is exported again."""
        self._note({"reopened": asset.id})
        self._done.pop(asset.id, None)

    def is_closed(self, asset: Asset) -> bool:
        """Whether the asset was finished, well, in this run or in the one that it resumes."""
        return self._done.get(asset.id, {}).get("status") == "exported"

    def error(self, asset: Asset) -> str:
        """What the source said when it refused the asset; empty when it did not."""
        return str(self._done.get(asset.id, {}).get("error", ""))

    # --- the whole ---------------------------------------------------------------------------------------------

    def finish(self, *, about: Mapping[str, Any], at: datetime) -> Bundle:
        """Write bundle.json and the manifests, then give the bundle its name: from here on it never changes."""
        assets = sorted(self._done.values(), key=lambda entry: Asset.from_json(entry["asset"]).id)
        self.put_json("data/bundle.json", {"format": FORMAT, "created_at": at.isoformat(), "assets": assets, **about})
        self._journal.close()
        with disk_faults(self._work):
            size = sum((self._work / path).stat().st_size for path in self._parts)
            info = {
                "Bag-Software-Agent": f"reversible {FORMAT}",
                "Bagging-Date": at.date().isoformat(),
                "Payload-Oxum": f"{size}.{len(self._parts)}",
            }
            bag.write_tags(self._work, self._parts, info)
            (self._work / _JOURNAL).unlink()
            for folder, _, files in os.walk(self._work):
                for name in files:
                    if name.endswith(".tmp"):
                        Path(folder, name).unlink()
                _sync_folder(Path(folder))
            self._work.replace(self.root)
            _sync_folder(self.root.parent)
        return Bundle.open(self.root)

    def close(self) -> None:
        """Leave the partial bundle for a later run to take up."""
        self._journal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- helpers -----------------------------------------------------------------------------------------------

    @contextmanager
    def _stream(self, path: str, *, keep: bool = True) -> Iterator["_HashingStream"]:
        target = self._work / path
        temporary = target.with_name(f"{target.name}.tmp")
        with disk_faults(self._work):
            target.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                stream = _HashingStream(file)
                try:
                    yield stream
                    file.flush()
                    os.fsync(file.fileno())
                except BaseException:
                    file.close()
                    temporary.unlink(missing_ok=True)
                    raise
            if keep:
                temporary.replace(target)

    def _note(self, entry: Mapping[str, Any]) -> None:
        with self._journal_lock, disk_faults(self._work):
            self._journal.write(json.dumps(entry, ensure_ascii=False) + "\n")
            self._journal.flush()
            os.fsync(self._journal.fileno())

    def _resume(self) -> None:
        journal = self._work / _JOURNAL
        entries = _whole_lines(journal)
        for entry in entries:
            if "part" in entry:
                self._parts[entry["part"]] = entry["sha256"]
            elif "reopened" in entry:
                self._done.pop(entry["reopened"], None)
            elif "origin_of" in entry:
                self._part_origins[entry["origin_of"]] = (entry["sha256"], entry["read_from"])
            elif "dropped" in entry:
                self._parts.pop(entry["dropped"], None)
                self._objects.pop(entry["dropped"], None)
            elif "object" in entry:
                self._objects[entry["object"]] = entry["sha256"]
                if "origin" in entry:
                    self._origins[entry["object"].split("/")[1], entry["origin"]] = entry["object"]
            else:
                self._done[Asset.from_json(entry["done"]["asset"]).id] = entry["done"]
        self._parts.pop("data/bundle.json", None)
        for kept in (self._parts, self._objects):
            for path in [path for path, digest in kept.items() if not _is(self._work / path, digest)]:
                del kept[path]
                self._reopen(path)
        self._resumed = bool(entries)
        known = {*self._parts, *self._objects, _JOURNAL}
        for path in [path for path, _ in bag.walk(self._work) if path not in known]:
            (self._work / path).unlink()  # half-written leftovers of the killed run

    def _reopen(self, path: str) -> None:
        """A noted part is gone or altered: its asset is exported again."""
        for asset_id, entry in list(self._done.items()):
            if Asset.from_json(entry["asset"]).slug in path.split("/"):
                del self._done[asset_id]


class _HashingStream(io.RawIOBase, IO[bytes]):
    """A write-only stream that hashes what passes."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self.size = 0

    @property
    def hexdigest(self) -> str:
        return self._hash.hexdigest()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        written = memoryview(data).cast("B")
        self._hash.update(written)
        self._file.write(written)
        self.size += len(written)
        return len(written)

    def tell(self) -> int:
        return self.size


def json_bytes(document: Any) -> bytes:
    """The JSON that we write: UTF-8, keys sorted, one line end. NaN is refused: JSON has none."""
    return (json.dumps(document, ensure_ascii=False, sort_keys=True, indent=1, allow_nan=False) + "\n").encode()


def _whole_lines(journal: Path) -> list[dict[str, Any]]:
    """The journal's entries; a last line cut short by the kill counts for nothing and is cut away."""
    if not journal.exists():
        return []
    whole = journal.read_bytes().rpartition(b"\n")[0]
    journal.write_bytes(whole + b"\n" if whole else b"")
    return [json.loads(line) for line in whole.splitlines()]


def _is(path: Path, digest: str) -> bool:
    return path.is_file() and not path.is_symlink() and bag.sha256_file(path) == digest


@contextmanager
def disk_faults(place: Path) -> Iterator[None]:
    """Say in our own words that a disk is full or forbidden."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            free = shutil.disk_usage(place if place.exists() else place.parent).free
            raise DestinationError(
                f"{place}: no space left on the disk ({free} bytes free)",
                hint="free some space, then type the same command again: finished parts are kept",
            ) from error
        if error.errno in (errno.EACCES, errno.EROFS, errno.ENOTDIR, errno.EPERM):
            raise DestinationError(
                f"{place}: {error.strerror}", hint="choose a directory that you may write to"
            ) from error
        raise


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
