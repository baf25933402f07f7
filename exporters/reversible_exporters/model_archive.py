"""What is in the vendor's model.tar.gz, and can it be unpacked without harm?

An archive is written by somebody else: a name may climb out, a link may point out, a few bytes may unpack to
terabytes. Every trap is refused with its member's name; nothing is quietly skipped.
"""

import gzip
import hashlib
import io
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from reversible.bundle import bag
from reversible.errors import SourceError

_MEMBERS = 10_000
_BLOCK = 1 << 20
_RATIO = 200  # unpacked over packed: model weights hardly shrink, and text shrinks tenfold


@dataclass(frozen=True, kw_only=True)
class Member:
    """One file of the archive: the vendor's name, and the path below `original/` that it has in a bundle."""

    name: str
    path: str
    sha256: str
    size: int


def unpack(archive: Path, into: Path, *, limit_bytes: int = 64 << 30) -> tuple[Member, ...]:
    """Write every regular file below `into`.

    Raises:
        SourceError: it is no whole tar archive, or a member climbs out, is a link or a device, or is too large.
    """
    members = []
    with _files(archive, into, limit_bytes) as files:
        for name, stream in files:
            path = safe_path(name)
            target = into / path
            target.parent.mkdir(parents=True, exist_ok=True)
            digest = hashlib.sha256()
            with target.open("xb") as file:
                while block := stream.read(_BLOCK):
                    digest.update(block)
                    file.write(block)
                members.append(Member(name=name, path=path, sha256=digest.hexdigest(), size=file.tell()))
    return tuple(members)


def digests(archive: Path, *, limit_bytes: int = 64 << 30) -> dict[str, str]:
    """Vendor's name -> SHA-256 of every regular file, without writing any of them. Raises as `unpack`."""
    found = {}
    with _files(archive, archive.parent, limit_bytes) as files:
        for name, stream in files:
            digest = hashlib.sha256()
            while block := stream.read(_BLOCK):
                digest.update(block)
            found[name] = digest.hexdigest()
    return found


def read(archive: Path, name: str) -> bytes | None:
    """One small member; None when it is not there. Raises as `unpack`."""
    with _files(archive, archive.parent, 64 << 30) as files:
        for found, stream in files:
            if found == name:
                return stream.read(1 << 24)
    return None


def safe_path(name: str) -> str:
    """Where a member goes in a bundle: its own name when that is a plain path, else one made from its digest."""
    plain = name.removeprefix("./")
    if bag.is_safe(f"data/model/slug/original/{plain}"):
        return plain
    return f"renamed-{hashlib.sha256(name.encode()).hexdigest()[:16]}"


@contextmanager
def _files(archive: Path, into: Path, limit_bytes: int) -> Iterator[Iterator[tuple[str, IO[bytes]]]]:
    """The regular files, one after the other; whatever is wrong with the archive while they are read is said here."""
    limit = min(limit_bytes, max(archive.stat().st_size * _RATIO, 1 << 26))
    try:
        with _opened(archive, limit) as plain, tarfile.open(fileobj=plain, mode="r|") as tar:
            yield _walk(archive, tar, into, limit)
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise SourceError(
            f"{archive.name} is not a whole tar archive: {error}", hint="compare its size with the one at the source"
        ) from error


def _walk(archive: Path, tar: tarfile.TarFile, into: Path, limit: int) -> Iterator[tuple[str, IO[bytes]]]:
    seen: set[str] = set()
    for number, member in enumerate(tar):
        _refuse_traps(archive, member, into, number)
        if member.isdir():
            continue
        name = member.name.removeprefix("./")
        if name in seen:
            raise SourceError(f"{archive.name} holds {name!r} twice")
        seen.add(name)
        if member.size > limit:
            raise SourceError(f"{archive.name}: {name!r} unpacks to {member.size} bytes: more than is believable")
        stream = tar.extractfile(member)
        assert stream is not None  # noqa: S101 - a regular file has content
        yield name, stream
    if not seen:
        raise SourceError(f"{archive.name} holds no file")


@contextmanager
def _opened(archive: Path, limit: int) -> Iterator["_Limited"]:
    """The archive's plain bytes, gzip undone; a pax header is part of them, so a bomb in one is counted too."""
    with archive.open("rb") as packed:
        zipped = packed.read(2) == b"\x1f\x8b"
        packed.seek(0)
        stream = gzip.GzipFile(fileobj=packed) if zipped else packed
        yield _Limited(archive.name, stream, limit)


class _Limited(io.RawIOBase, IO[bytes]):
    """Reads on until more came out than such an archive can hold."""

    def __init__(self, name: str, stream: IO[bytes] | gzip.GzipFile, limit: int) -> None:
        self._name, self._stream, self._left = name, stream, limit

    def read(self, size: int = -1) -> bytes:
        block = self._stream.read(size)
        self._left -= len(block)
        if self._left < 0:
            raise SourceError(f"{self._name} unpacks to more than is believable for its size")
        return block


def _refuse_traps(archive: Path, member: tarfile.TarInfo, into: Path, number: int) -> None:
    if number >= _MEMBERS:
        raise SourceError(f"{archive.name} holds more than {_MEMBERS} members")
    if not (member.isreg() or member.isdir()):
        raise SourceError(f"{archive.name}: {member.name!r} is a link or a device, not a file")
    if member.name.startswith("/"):
        raise SourceError(f"{archive.name}: {member.name!r} is an absolute path")
    if ".." in member.name.split("/"):
        raise SourceError(f"{archive.name}: {member.name!r} climbs out of the archive")
    if not hasattr(tarfile, "data_filter"):  # Python 3.11.0 to 3.11.3, Debian 12's among them
        return  # nothing is lost: only streams are read, and `safe_path` names what is written
    try:
        tarfile.data_filter(member, str(into))
    except tarfile.FilterError as error:
        raise SourceError(f"{archive.name}: {member.name!r} is refused: {error}") from error
