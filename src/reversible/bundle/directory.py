"""How is a bundle kept in a directory: a disk at the destination, or one that travels there?"""

import hashlib
import os
import secrets
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from reversible.bundle import bag
from reversible.bundle.transfer import ATTEMPTS, blocks, hashed_file
from reversible.bundle.writer import disk_faults
from reversible.errors import DestinationError

_INCOMING = ".incoming-"  # no bag has such a name


class DirectoryStorage:
    """Files below one directory; `put` is atomic."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @property
    def name(self) -> str:
        return str(self._root)

    def __repr__(self) -> str:
        return f"DirectoryStorage({str(self._root)!r})"

    def put(self, key: str, source: Path, sha256: str, *, stop: threading.Event | None = None) -> None:
        """Write, sync, rename, and read back."""
        target = self._path(key)
        with disk_faults(self._root), self._incoming(key) as temporary:
            for _ in range(ATTEMPTS):
                with temporary.open("wb") as file:
                    file.writelines(hashed_file(source, sha256, stop=stop))
                    file.flush()
                    os.fsync(file.fileno())
                if bag.sha256_file(temporary) == sha256:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    temporary.replace(target)
                    return
        raise DestinationError(
            f"{self.name}: {key} came back altered {ATTEMPTS} times", hint=f"check the disk that holds {self._root}"
        )

    def get(self, key: str, target: Path, *, stop: threading.Event | None = None) -> str:
        """Copy and hash."""
        digest = hashlib.sha256()
        with self._open(key) as file, target.open("wb") as copy:
            for block in blocks(file, stop=stop):
                digest.update(block)
                copy.write(block)
            copy.flush()
            os.fsync(copy.fileno())
        return digest.hexdigest()

    def digest(self, key: str, *, stop: threading.Event | None = None) -> str:
        """Read and hash."""
        digest = hashlib.sha256()
        with self._open(key) as file:
            for block in blocks(file, stop=stop):
                digest.update(block)
        return digest.hexdigest()

    def listing(self) -> Iterator[tuple[str, int]]:
        """Every file below the directory; what a stopped `put` left is not a file of ours yet."""
        if not self._root.is_dir():
            return
        for path, status in bag.walk(self._root):
            if not path.startswith(_INCOMING):
                yield path, status.st_size

    def probe(self) -> dict[str, Any]:
        """A few bytes written, read, overwritten, listed and removed."""
        content, other = secrets.token_bytes(64), secrets.token_bytes(64)
        with disk_faults(self._root), self._incoming("probe") as place:
            place.write_bytes(content)
            read = place.read_bytes() == content
            place.write_bytes(other)
            overwritten = place.read_bytes() == other
            listed = place in list(place.parent.iterdir())
            place.unlink()
            gone = not place.exists()
            free = shutil.disk_usage(self._root).free
        steps = {"put, then get": read, "overwrite": overwritten, "list": listed, "delete": gone}
        if failed := [step for step, ok in steps.items() if not ok]:
            raise DestinationError(f"{self.name}: {failed[0]} does not work", hint="check the disk")
        answers = [{"step": step, "ok": ok, "seen": ""} for step, ok in steps.items()]
        return {"storage": self.name, "kind": "directory", "free_bytes": free, "steps": answers}

    @contextmanager
    def _incoming(self, key: str) -> Iterator[Path]:
        """A place for the key's bytes until they are whole; the same one after a kill, so that nothing piles up."""
        self._root.mkdir(parents=True, exist_ok=True)
        temporary = self._root / f"{_INCOMING}{hashlib.sha256(key.encode()).hexdigest()[:16]}"
        try:
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        if not bag.is_safe(key):
            raise ValueError(f"not a key of a bundle: {key!r}")
        return self._root / key

    def _open(self, key: str) -> IO[bytes]:
        try:
            return os.fdopen(os.open(self._path(key), os.O_RDONLY | os.O_NOFOLLOW), "rb")
        except OSError as error:
            raise DestinationError(f"{self.name}: {key} cannot be read: {error.strerror}") from error
