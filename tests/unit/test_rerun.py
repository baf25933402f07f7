"""Does every planned check get one answer, whatever a verifier does?"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from reversible.assets import Asset, Kind
from reversible.bundle.reader import Bundle
from reversible.bundle.writer import BundleWriter
from reversible.destinations import canaries
from reversible.destinations.credentials import credentials
from reversible.destinations.guard import VENDOR_PACKAGES, vendor_package
from reversible.destinations.rerun import answers
from reversible.errors import BundleError
from reversible.findings import Finding

AT = datetime(2026, 11, 24, tzinfo=UTC)
ASSET = Asset(source="shop", kind=Kind.TABLE, name="public.orders")
ID = ASSET.id


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    writer = BundleWriter(tmp_path / "bundle")
    writer.put_json(f"{ASSET.folder}/table.json", {"columns": []})
    writer.close_asset(ASSET, exporter="test", at=AT)
    return writer.finish(about={}, at=AT)


class Planted:
    """A verifier of two metrics that does what it is told."""

    metrics = frozenset({"test.one", "test.two"})
    kinds = frozenset({Kind.TABLE})

    def __init__(self, does: Callable[[], Iterator[Any]]) -> None:
        self._does = does

    def verify(self, asset: Asset, bundle: Bundle) -> Iterator[Finding]:
        yield from self._does()


def one(value: Any = 1, **more: Any) -> Finding:
    return Finding("test.one", ID, value, unit="count", **more)


def two() -> Finding:
    return Finding("test.two", ID, 2, unit="count")


def raising(*findings: Finding, error: BaseException) -> Iterator[Finding]:
    yield from findings
    raise error


CASES: list[tuple[str, Callable[[], Iterator[Any]], str, str]] = [
    # what it does, how, what stands under test.one and under test.two: an error, or "" for measured
    ("answers both", lambda: iter([one(), two()]), "", ""),
    ("answers one", lambda: iter([one()]), "", "the verifier gave no answer"),
    ("answers none", lambda: iter([]), "the verifier gave no answer", "the verifier gave no answer"),
    ("raises at once", lambda: raising(error=KeyError("x")), "KeyError: 'x'", "KeyError: 'x'"),
    ("raises in between", lambda: raising(one(), error=OSError("disk")), "", "OSError: disk"),
    ("raises one of ours", lambda: raising(one(), error=BundleError("torn")), "", "torn"),
    ("tries to leave", lambda: raising(one(), error=SystemExit(0)), "", "SystemExit: 0"),
    ("answers twice", lambda: iter([one(), one(), two()]), "the verifier answered twice", ""),
    (
        "answers what was not asked",
        lambda: iter([Finding("test.three", ID, 0, unit="count"), two()]),
        "the verifier answered what it was not asked: 'test.three'",
        "",
    ),
    (
        "answers for another asset",
        lambda: iter([Finding("test.one", "a:table:b", 0, unit="count"), two()]),
        "the verifier answered for another asset: a:table:b",
        "",
    ),
    ("yields something else", lambda: iter(["green", two()]),
     "the verifier answered what it was not asked: 'green'", ""),
    ("could not measure", lambda: iter([one(None, error="no witness"), two()]), "no witness", ""),
    ("says nothing at length", lambda: iter([one(None), two()]), "the verifier gave no value", ""),
    ("contradicts itself", lambda: iter([one(0, error="no witness"), two()]), "no witness", ""),
    ("answers NaN", lambda: iter([one(float("nan")), two()]),
     "the value is nan: not a number that a result can carry", ""),
    ("answers infinity", lambda: iter([one(float("inf")), two()]),
     "the value is inf: not a number that a result can carry", ""),
]  # fmt: skip


@pytest.mark.parametrize(("does", "first", "second"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_each_metric_is_answered_once(
    does: Callable[[], Iterator[Any]], first: str, second: str, bundle: Bundle
) -> None:
    lines = list(answers(ASSET, Planted(does), bundle))

    assert [line["metric"] for line in lines] == ["test.one", "test.two"]
    assert [line["error"] for line in lines] == [first, second]
    assert [line["status"] for line in lines] == ["error" if text else "measured" for text in (first, second)]
    assert all(line["value"] is None for line in lines if line["status"] == "error")
    json.dumps(lines, allow_nan=False)


def test_a_finding_that_cannot_be_written_is_an_error(bundle: Bundle) -> None:
    lines = list(answers(ASSET, Planted(lambda: iter([one(1, facts={"x": object()}), two()])), bundle))

    assert lines[0]["status"] == "error"
    assert "cannot be written down" in lines[0]["error"]


def test_an_interrupt_is_not_an_answer(bundle: Bundle) -> None:
    with pytest.raises(KeyboardInterrupt):
        list(answers(ASSET, Planted(lambda: raising(error=KeyboardInterrupt())), bundle))


# --- the process ------------------------------------------------------------------------------------------------


def rerun(root: Path, results: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-m", "reversible.destinations.rerun", str(root), str(results), *more]
    return subprocess.run(command, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"})


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (lambda root: (root / f"{ASSET.folder}/table.json").write_text("{}"), "table.json"),
        (lambda root: (root / f"{ASSET.folder}/table.json").unlink(), "table.json"),
        (lambda root: (root / "data/extra").write_text(""), "data/extra"),
        (lambda root: (root / "data/link").symlink_to("/etc/passwd"), "data/link"),
        (lambda root: (root / "data/bundle.json").write_text("garbage"), "data/bundle.json"),
    ],
)
def test_a_damaged_bundle_ends_it_with_one_line(
    damage: Callable[[Path], object], named: str, bundle: Bundle, tmp_path: Path
) -> None:
    damage(bundle.root)
    done = rerun(bundle.root, tmp_path / "results.jsonl")

    assert done.returncode == 5
    assert named in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "results.jsonl").exists()


def test_a_canary_in_the_open_says_that_it_got_through(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        done = rerun(Path("-"), Path("-"), "--canaries-only", "--canary", f"127.0.0.1:{port}")
    event = json.loads(done.stdout)

    assert (event["reached"], event["answer"]) == (True, "connected")
    assert event["expected"] == [["tcp", "127.0.0.1", port]]


@pytest.mark.parametrize("text", ["", "host", "host:", ":5432", "host:0", "host:65536", "host:x", "[]:1"])
def test_what_is_not_an_endpoint_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not host:port"):
        canaries.split(text)


def test_endpoints() -> None:
    assert canaries.split("db.example:5432") == ("db.example", 5432)
    assert canaries.split("[2001:db8::1]:443") == ("2001:db8::1", 443)


# --- the guard --------------------------------------------------------------------------------------------------


def guarded(code: str) -> tuple[list[dict[str, Any]], list[str]]:
    program = f"""
import json, sys
from reversible.destinations.guard import ImportGuard
guard = ImportGuard(); guard.install(); guard.during = "rows"
{code}
print(json.dumps([[vars(one) for one in guard.refused], guard.loaded()]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    refused, loaded = json.loads(done.stdout)
    return refused, loaded


@pytest.mark.parametrize(
    "statement",
    ["import boto3", "import torch.nn", "from sklearn import svm", "import reversible_exporters.s3",
     "__import__('psycopg')", "import importlib; importlib.import_module('joblib')"],
)  # fmt: skip
def test_a_vendor_import_is_refused_and_named(statement: str) -> None:
    refused, loaded = guarded(f"try: exec({statement!r})\nexcept ModuleNotFoundError as e: print(e, file=sys.stderr)")

    assert len(refused) == 1
    assert refused[0]["package"] in VENDOR_PACKAGES
    assert refused[0]["during"] == "rows"
    assert not refused[0]["probe"]
    assert loaded == []


@pytest.mark.parametrize("early", [False, True], ids=["after the guard", "bound before the guard"])
def test_asking_whether_one_is_installed_is_no_import(early: bool) -> None:
    code = "import importlib.util; assert importlib.util.find_spec('boto3') is None"
    if early:
        code = """
ask = sys.modules["reversible.destinations.guard"]._ask
try: ask('boto3')
except ModuleNotFoundError: pass
"""
    refused, _ = guarded(code)

    assert [entry["probe"] for entry in refused] == [True]


def test_a_package_that_comes_in_another_way_is_shown() -> None:
    _, loaded = guarded("import types; sys.modules['torch'] = types.ModuleType('torch')")

    assert loaded == ["torch"]


def test_what_the_rerun_stands_on_imports_no_vendor() -> None:
    """The open formats' own libraries look for optional packages: none of those may count."""
    refused, loaded = guarded(
        "import duckdb, numpy, onnx, onnx.checker, onnxruntime, pyarrow.parquet, pyarrow.fs, pyarrow.compute"
    )

    assert [entry for entry in refused if not entry["probe"]] == []
    assert loaded == []


@pytest.mark.parametrize(
    ("module", "package"),
    [("boto3", "boto3"), ("boto3.session", "boto3"), ("boto30", None), ("google.cloud.storage", "google.cloud"),
     ("google.protobuf", None), ("onnx", None), ("onnxruntime", None), ("reversible_verifiers.rows", None)],
)  # fmt: skip
def test_whose_module_it_is(module: str, package: str | None) -> None:
    assert vendor_package(module) == package


def test_the_vendor_list_covers_what_the_exporters_need() -> None:
    for name in ("boto3", "psycopg", "torch", "sklearn", "skl2onnx", "joblib"):
        assert vendor_package(name), name


# --- credentials ------------------------------------------------------------------------------------------------


def test_credentials_are_named_and_never_shown(tmp_path: Path) -> None:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws/credentials").write_text("aws_secret_access_key = hunter2")
    (tmp_path / ".pgpass").write_text("")  # empty, as the fence leaves it
    environment = {
        "HOME": str(tmp_path), "AWS_PROFILE": "x", "PGPASSWORD": "hunter2", "MY_API_TOKEN": "hunter2", "PATH": "/bin",
    }  # fmt: skip
    found = credentials(environment)

    assert {"$AWS_PROFILE", "$PGPASSWORD", "$MY_API_TOKEN", "~/.aws"} <= set(found)
    assert "$PATH" not in found
    assert "hunter2" not in "".join(found)
