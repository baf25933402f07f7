"""How do models become ONNX while other assets are still being copied?

Fetching a model and converting it behind the fence takes seconds to minutes, nearly all of them in other processes, and
depends on nothing else. So the models that leave are begun before their turn, a few at a time, those of one framework
together; each result waits on disk until its turn comes.
"""

import hashlib
import re
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reversible.errors import SourceError
from reversible.golden import Column
from reversible_exporters import conversion, model_archive, original_answers

TOGETHER = 2  # fetched and converted at once, each in a process of some 600 MB
AHEAD = 2 * TOGETHER  # at work or waiting on disk for their turn

_MODEL = re.compile(
    r"model\.onnx(\.data)?|processing/[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
    r"|golden/(parameters\.(json|npz)|(trees|original)\.npz)"
)


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


@dataclass(frozen=True, kw_only=True)
class _Fetched:
    """An archive, unpacked below `folder`; the rest is as in `ConvertedModel`."""

    folder: Path
    members: tuple[model_archive.Member, ...]
    source: str
    converter: str
    sha256: str
    head: Mapping[str, Any]

    @property
    def paths(self) -> tuple[Path, Path]:
        """What is converted, and the file that is to be written."""
        return self.folder / "original" / self.source, self.folder / "model.onnx"


class ModelConversions:
    """Fetches and converts archives, `TOGETHER` at a time.

    Args:
        download: Writes the archive behind a URL to a path, until the event is set; returns what the answer said of it.
        asked: What the endpoint of a name will be asked: the original answers it too, where it can. None: nothing.
    """

    def __init__(
        self,
        download: Callable[[str, Path, threading.Event], Mapping[str, Any]],
        asked: Callable[[str], Sequence[Column]] | None = None,
    ) -> None:
        self._download, self._asked = download, asked
        self._waiting: dict[str, str] = {}
        self._begun: dict[str, Future[ConvertedModel]] = {}
        self._stop = threading.Event()
        self._batches: ThreadPoolExecutor | None = None

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
        if name not in self._begun:
            self._start({name: url})
        try:
            yield self._begun[name].result()
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
        if self._batches is not None:
            self._batches.shutdown(wait=True, cancel_futures=True)
            self._batches = None
        for name in list(self._begun):
            self.drop(name)
        self._stop.clear()

    def _fill(self) -> None:
        while self._waiting and len(self._begun) <= AHEAD - TOGETHER:
            names = list(self._waiting)[:TOGETHER]
            self._start({name: self._waiting.pop(name) for name in names})

    def _start(self, urls: Mapping[str, str]) -> None:
        if self._batches is None:
            self._batches = ThreadPoolExecutor(1, thread_name_prefix="reversible-models")
        batch = {name: Future[ConvertedModel]() for name in urls}
        self._begun |= batch
        self._batches.submit(self._convert, [(name, urls[name], future) for name, future in batch.items()])

    def _convert(self, batch: Sequence[tuple[str, str, Future[ConvertedModel]]]) -> None:
        """Fetch and convert what is still asked for of a batch, and settle its futures."""
        wanted = [one for one in batch if one[2].set_running_or_notify_cancel()]
        with ThreadPoolExecutor(TOGETHER) as threads:
            fetched = [(threads.submit(self._fetch, name, url), future) for name, url, future in wanted]
            by_converter: dict[str, list[tuple[_Fetched, Future[ConvertedModel]]]] = {}
            for one, future in fetched:
                if (error := one.exception()) is not None:
                    future.set_exception(error)
                else:
                    by_converter.setdefault(one.result().converter, []).append((one.result(), future))
            for converter, models in by_converter.items():
                threads.submit(self._convert_together, converter, models)

    def _fetch(self, name: str, url: str) -> _Fetched:
        folder = Path(tempfile.mkdtemp(prefix="reversible-model-"))
        try:
            if self._asked is not None:
                original_answers.lay(folder, self._asked(name))
            archive = folder / "model.tar.gz"
            head = self._download(url, archive, self._stop)
            with archive.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            members = tuple(model_archive.unpack(archive, folder / "original"))
            archive.unlink()
            source, converter = conversion.source_in([member.path for member in members], url)
        except BaseException:
            shutil.rmtree(folder)
            raise
        return _Fetched(
            folder=folder, members=members, source=source, converter=converter, sha256=sha256, head=head
        )  # fmt: skip

    def _convert_together(self, converter: str, models: Sequence[tuple[_Fetched, Future[ConvertedModel]]]) -> None:
        found: Sequence[conversion.Conversion | SourceError | None] = [None] * len(models)
        with suppress(Exception):  # each is converted alone then, and says it as its own
            found = conversion.convert_together(converter, [one.paths for one, _ in models], stop=self._stop)
        for (model, future), done in zip(models, found, strict=True):
            try:
                future.set_result(self._converted(model, done))
            except BaseException as error:  # noqa: BLE001 - raised where the model is asked for
                shutil.rmtree(model.folder)
                future.set_exception(error)

    def _converted(self, model: _Fetched, done: conversion.Conversion | SourceError | None) -> ConvertedModel:
        if isinstance(done, SourceError):
            raise done
        if done is None:
            for left in _written(model.folder):  # by an attempt together with others
                (model.folder / left).unlink()
            done = conversion.convert(model.converter, *model.paths, stop=self._stop)
        return ConvertedModel(
            folder=model.folder, members=model.members, source=model.source,
            written=tuple(_written(model.folder)), conversion=done, sha256=model.sha256, head=model.head,
        )  # fmt: skip


def _written(folder: Path) -> Iterator[str]:
    """What belongs to a converted model, and nothing else that code in the fence may have left there."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if _MODEL.fullmatch(name) and path.is_file() and not path.is_symlink():
            yield name


def _remove(future: Future[ConvertedModel]) -> None:
    if not future.cancelled() and future.exception() is None:
        shutil.rmtree(future.result().folder)
