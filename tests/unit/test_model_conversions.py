"""Are models converted ahead of their turn, in bounds, and without a trace of those that nobody asked for?"""

import io
import os
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from reversible.errors import SourceError
from reversible_exporters.model_conversions import AHEAD, TOGETHER, ModelConversions

Download = Callable[[str, Path, threading.Event], Mapping[str, Any]]


class Sleeper:
    """A pickle that keeps its reader busy far longer than any test waits."""

    def __reduce__(self) -> tuple[Any, ...]:
        return time.sleep, (600,)


def archive(content: bytes) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        entry = tarfile.TarInfo("model.joblib")
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


def dumped(model: Any) -> bytes:
    stream = io.BytesIO()
    joblib.dump(model, stream)
    return archive(stream.getvalue())


@pytest.fixture(scope="module")
def pipeline() -> bytes:
    rows = np.random.default_rng(3).normal(size=(60, 4))
    return dumped(make_pipeline(StandardScaler(), LogisticRegression()).fit(rows, rows[:, 0] > 0))


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("reversible-")] == []


class Store:
    """What is behind the URLs; remembers what was fetched."""

    def __init__(self, contents: Mapping[str, bytes]) -> None:
        self.contents = contents
        self.fetched: list[str] = []

    def download(self, url: str, target: Path, stop: threading.Event) -> Mapping[str, Any]:
        self.fetched.append(url)
        if url not in self.contents:
            raise SourceError(f"{url}: GetObject denied")
        target.write_bytes(self.contents[url])
        return {"ETag": url}


def test_a_model_is_converted_whether_it_was_begun_or_not(pipeline: bytes) -> None:
    store = Store({"s3://a": pipeline, "s3://b": pipeline})
    conversions = ModelConversions(store.download)
    conversions.begin({"first": "s3://a"})

    for name, url in [("first", "s3://a"), ("second", "s3://b")]:
        with conversions.of(name, url) as model:
            assert (model.folder / "model.onnx").stat().st_size > 100
            assert (model.folder / "original/model.joblib").is_file()
            assert model.head == {"ETag": url}
        assert not model.folder.exists()
    conversions.close()

    assert store.fetched == ["s3://a", "s3://b"]


def test_no_more_than_a_few_are_ahead_and_each_that_ends_makes_room(pipeline: bytes) -> None:
    urls = {f"model-{number}": f"s3://{number}" for number in range(AHEAD + TOGETHER)}
    store = Store(dict.fromkeys(urls.values(), pipeline))
    conversions = ModelConversions(store.download)
    conversions.begin(urls)
    begun = [f"s3://{number}" for number in range(AHEAD)]
    with conversions.of("model-0", "s3://0"), conversions.of(f"model-{AHEAD - 1}", begun[-1]):
        assert sorted(store.fetched) == begun
    conversions.drop("model-1")

    with conversions.of(f"model-{AHEAD + 1}", f"s3://{AHEAD + 1}"):
        pass
    conversions.close()

    assert sorted(store.fetched) == sorted(urls.values())


def test_a_refusal_is_raised_when_its_turn_comes_and_the_others_go_on(pipeline: bytes) -> None:
    conversions = ModelConversions(Store({"s3://b": pipeline, "s3://garbage": archive(b"garbage")}).download)
    conversions.begin({"lost": "s3://lost", "garbage": "s3://garbage", "good": "s3://b"})

    with pytest.raises(SourceError, match="s3://lost: GetObject denied"), conversions.of("lost", "s3://lost"):
        pass
    with pytest.raises(SourceError, match="not a whole joblib file"), conversions.of("garbage", "s3://garbage"):
        pass
    with conversions.of("good", "s3://b") as model:
        assert (model.folder / "model.onnx").exists()
    conversions.close()


def test_closing_ends_a_conversion_that_runs(tmp_path: Path) -> None:
    conversions = ModelConversions(Store({"s3://slow": dumped(Sleeper())}).download)
    conversions.begin({"slow": "s3://slow"})
    while not converters_of(tmp_path):
        time.sleep(0.05)

    began = time.monotonic()
    conversions.close()

    assert time.monotonic() - began < 30  # it would sleep for ten minutes
    assert not converters_of(tmp_path)


def test_a_model_that_nobody_asks_for_any_more_is_not_waited_for() -> None:
    conversions = ModelConversions(Store({"s3://slow": dumped(Sleeper())}).download)
    conversions.begin({"slow": "s3://slow"})

    conversions.drop("slow")
    conversions.close()


def converters_of(folder: Path) -> list[str]:
    """The processes that convert a file below the folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended since
            line = (process / "cmdline").read_bytes()
            if b"reversible_exporters.conversion\0" in line and os.fsencode(folder) in line:
                found.append(process.name)
    return found
