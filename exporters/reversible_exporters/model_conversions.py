"""How do models become ONNX while other assets are still being copied?

Fetching a model and converting it behind the fence takes seconds to minutes, nearly all of them in other processes, and
depends on nothing else. So the models that leave are begun before their turn, a few at a time; each result waits on
disk until its turn comes.
"""

import hashlib
import re
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reversible_exporters import conversion, model_archive

AHEAD = 2  # converters at work, each a process of some 600 MB, and results waiting: what they take stays bounded

_MODEL = re.compile(r"model\.onnx(\.data)?|processing/[A-Za-z0-9][A-Za-z0-9._-]{0,99}|golden/parameters\.(json|npz)")


@dataclass(frozen=True, kw_only=True)
class ConvertedModel:
    """What was fetched and what became of it.

    Attributes:
        folder: Holds `original/` with the archive's members, and `model.onnx` with what it needs.
        members: The members of the archive.
        source: The file or folder below `original/` that was converted.
        written: What the converter wrote, by path below the folder: the graph, its weights, its processing.
        conversion: What the converter said.
        sha256: Of the archive, hex.
        head: What the download's answer said (ETag, version).
    """

    folder: Path
    members: tuple[model_archive.Member, ...]
    source: str
    written: tuple[str, ...]
    conversion: conversion.Conversion
    sha256: str
    head: Mapping[str, Any]


class ModelConversions:
    """Fetches and converts archives, `AHEAD` at a time.

    Args:
        download: Writes the archive behind a URL to a path, until the event is set; returns what the answer said of it.
    """

    def __init__(self, download: Callable[[str, Path, threading.Event], Mapping[str, Any]]) -> None:
        self._download = download
        self._waiting: dict[str, str] = {}
        self._begun: dict[str, Future[ConvertedModel]] = {}
        self._stop = threading.Event()
        self._threads: ThreadPoolExecutor | None = None

    def begin(self, urls: Mapping[str, str]) -> None:
        """Model's name -> its archive: they will be asked for in this order."""
        self._waiting |= urls
        self._fill()

    @contextmanager
    def of(self, name: str, url: str) -> Iterator[ConvertedModel]:
        """The model of one archive, for as long as the block lasts.

        Raises:
            SourceError: it cannot be fetched or converted.
        """
        self._waiting.pop(name, None)
        future = self._begun[name] if name in self._begun else self._start(name, url)
        try:
            yield future.result()
        finally:
            self.drop(name)

    def drop(self, name: str) -> None:
        """Nobody asks for this one any more: the next may begin."""
        self._waiting.pop(name, None)
        future = self._begun.pop(name, None)
        if future is not None:
            future.cancel()
            future.add_done_callback(_remove)
        self._fill()

    def close(self) -> None:
        """End what runs, remove what waits."""
        self._waiting.clear()
        self._stop.set()
        if self._threads is not None:
            self._threads.shutdown(wait=True, cancel_futures=True)
            self._threads = None
        for name in list(self._begun):
            self.drop(name)
        self._stop.clear()

    def _fill(self) -> None:
        while self._waiting and len(self._begun) < AHEAD:
            name = next(iter(self._waiting))
            self._start(name, self._waiting.pop(name))

    def _start(self, name: str, url: str) -> Future[ConvertedModel]:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(AHEAD, thread_name_prefix="reversible-models")
        self._begun[name] = self._threads.submit(self._converted, url)
        return self._begun[name]

    def _converted(self, url: str) -> ConvertedModel:
        folder = Path(tempfile.mkdtemp(prefix="reversible-model-"))
        try:
            archive = folder / "model.tar.gz"
            head = self._download(url, archive, self._stop)
            with archive.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            members = model_archive.unpack(archive, folder / "original")
            archive.unlink()
            source, converter = conversion.source_in([member.path for member in members], url)
            done = conversion.convert(converter, folder / "original" / source, folder / "model.onnx", stop=self._stop)
        except BaseException:
            shutil.rmtree(folder)
            raise
        return ConvertedModel(
            folder=folder,
            members=tuple(members),
            source=source,
            written=tuple(_written(folder)),
            conversion=done,
            sha256=sha256,
            head=head,
        )


def _written(folder: Path) -> Iterator[str]:
    """What belongs to a converted model, and nothing else that code in the fence may have left there."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if _MODEL.fullmatch(name) and path.is_file() and not path.is_symlink():
            yield name


def _remove(future: Future[ConvertedModel]) -> None:
    if not future.cancelled() and future.exception() is None:
        shutil.rmtree(future.result().folder)
