"""What lies in this directory, read once?

What is hashed and what is parsed must be the same bytes: a directory that changes between two looks would pass the
first and deceive with the second. Every file is opened once, without following a link on the way, and the bytes of
those that are parsed are kept.
"""

import hashlib
import itertools
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from reversible.bundle.bag import is_safe
from reversible.errors import EvidenceError

MAX_FILES = 10_000
MAX_BYTES = 1 << 32  # of the whole dossier
KEPT_LIMIT = 1 << 26  # bytes of one file that is parsed
_MAX_ODDITIES = 100
_BLOCK = 1 << 20
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | getattr(os, "O_CLOEXEC", 0)


@dataclass(frozen=True)
class Snapshot:
    """The files of a dossier by relative path: SHA-256 of each, and the bytes of those that are parsed.

    `oddities` are the entries that no dossier may hold, one sentence each.
    """

    digests: dict[str, str]
    contents: dict[str, bytes]
    oddities: tuple[str, ...]


def take(root: Path, *, keep: Callable[[str], bool]) -> Snapshot:
    """Read everything below `root` once; `keep` says of which files the bytes are needed.

    Raises:
        EvidenceError: there is no directory, or the system refuses to read it.
    """
    found = Snapshot({}, {}, ())
    try:
        folder = os.open(root, _FLAGS | os.O_DIRECTORY)
    except FileNotFoundError as error:
        raise EvidenceError(f"{root}: no such dossier", hint=f"ls -l {root.parent}") from error
    except OSError as error:
        raise EvidenceError(
            f"{root} is not a directory that can be read: {error.strerror}",
            hint="name the directory that holds bagit.txt",
        ) from error
    try:
        oddities = tuple(itertools.islice(_read(folder, "", found, keep, _Budget()), _MAX_ODDITIES))
    except OSError as error:
        raise EvidenceError(f"{root} cannot be read: {error}", hint=f"ls -lR {root}") from error
    finally:
        os.close(folder)
    return Snapshot(found.digests, found.contents, oddities)


class _Budget:
    """What a dossier may cost before it is an attack."""

    def __init__(self) -> None:
        self.files = 0
        self.size = 0


def _read(folder: int, prefix: str, into: Snapshot, keep: Callable[[str], bool], budget: _Budget) -> Iterator[str]:
    """Read one directory by its open descriptor; yield what must not be there."""
    names = sorted(os.listdir(folder))
    if not names and prefix:
        yield f"{prefix} is an empty directory"
    for name in names:
        path = f"{prefix}{name}"
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if not is_safe(path):
            yield f"{path[:200]!r} is not a plain name"
        elif stat.S_ISDIR(status.st_mode):
            below = os.open(name, _FLAGS | os.O_DIRECTORY, dir_fd=folder)
            try:
                yield from _read(below, f"{path}/", into, keep, budget)
            finally:
                os.close(below)
        elif not stat.S_ISREG(status.st_mode):
            yield f"{path} is not a regular file (a link, a device or a pipe)"
        else:
            budget.files += 1
            budget.size += status.st_size
            if budget.files > MAX_FILES or budget.size > MAX_BYTES:
                yield f"{path}: more than {MAX_FILES} files or {MAX_BYTES} bytes; the rest was not read"
                return
            with os.fdopen(os.open(name, _FLAGS | os.O_NONBLOCK, dir_fd=folder), "rb") as file:
                oddity = _take_in(file, path, into, keep(path))
            if oddity:
                yield oddity


def _take_in(file: BinaryIO, path: str, into: Snapshot, kept: bool) -> str:
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode):
        return f"{path} is not a regular file (a link, a device or a pipe)"
    if status.st_nlink != 1:
        return f"{path} has {status.st_nlink} names (a hard link)"
    if kept and status.st_size > KEPT_LIMIT:
        return f"{path} is over {KEPT_LIMIT} bytes"
    digest = hashlib.sha256()
    blocks = []
    while block := file.read(_BLOCK):
        digest.update(block)
        if kept:
            blocks.append(block)
            if file.tell() > KEPT_LIMIT:
                return f"{path} grows while it is read"
    into.digests[path] = digest.hexdigest()
    if kept:
        into.contents[path] = b"".join(blocks)
    return ""
