"""How do bytes move: in blocks that can be stopped, hashed on the way, some files at a time?"""

import hashlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import IO, TypeVar

from reversible.errors import BundleError, Interrupted

THREADS = 8
ATTEMPTS = 3  # sends or reads of one file before its bytes count as altered
_BLOCK = 1 << 20
_T = TypeVar("_T")


def blocks(stream: IO[bytes], *, stop: threading.Event | None = None, size: int = _BLOCK) -> Iterator[bytes]:
    """The stream's bytes in blocks of at most `size` bytes.

    Raises:
        Interrupted: `stop` was set.
    """
    while block := stream.read(size):
        if stop is not None and stop.is_set():
            raise Interrupted("a transfer was stopped", hint="type the same command again: it goes on from here")
        yield block


def hashed_file(source: Path, sha256: str, *, stop: threading.Event | None = None) -> Iterator[bytes]:
    """The file's blocks; the last one is followed by the proof that they were the right ones.

    Raises:
        BundleError: the file does not have the digest.
    """
    digest = hashlib.sha256()
    with source.open("rb") as file:
        for block in blocks(file, stop=stop):
            digest.update(block)
            yield block
    if digest.hexdigest() != sha256:
        raise BundleError(f"{source} was altered: its SHA-256 is not the one in the manifest")


def in_threads(work: Callable[[str, threading.Event], _T], keys: list[str]) -> Iterator[tuple[str, _T]]:
    """`work` on every key, some at a time, as they end. The first failure, or Ctrl-C, stops the others at once."""
    stop = threading.Event()
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="storage")
    try:
        futures: dict[Future[_T], str] = {pool.submit(work, key, stop): key for key in keys}
        for future in as_completed(futures):
            yield futures.pop(future), future.result()
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)
