"""Is what a verifier does to the network seen, named and never passed over?"""

import json
import platform
import shutil
import socket
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from reversible.assets import Asset, Kind
from reversible.bundle.writer import BundleWriter
from reversible.destinations.isolation import RUN_METRICS, Observed, run_findings
from reversible.destinations.local import LocalDestination, Rerun
from reversible.errors import BundleError, DestinationError
from reversible.fence import Attempt
from reversible.findings import Finding

AT = datetime(2026, 11, 24, tzinfo=UTC)
ASSETS = (
    Asset(source="shop", kind=Kind.TABLE, name="public.orders"),
    Asset(source="shop", kind=Kind.TABLE, name="public.lines"),
)
VENDOR = "203.0.113.7"
SOURCES = (f"{VENDOR}:5432", "s3.vendor.example:443", "127.0.0.1:5439")

pytestmark = pytest.mark.skipif(platform.system() != "Linux", reason="the fence is made of Linux")

HONEST = "yield Finding(self.metric, asset.id, 0, unit='count')"
VERIFIERS = {
    "honest": HONEST,
    "noisy": f"print('not an event'); os.write(1, b'nor this\\n'); {HONEST}",
    "broken": "raise RuntimeError('planted')\n        yield",
    "opens": f"attempt(lambda: socket.create_connection(('{VENDOR}', 5432), 2)); {HONEST}",
    "elsewhere": f"attempt(lambda: socket.create_connection(('198.51.100.9', 80), 2)); {HONEST}",
    "resolves": f"attempt(lambda: socket.getaddrinfo('bucket.s3.vendor.example', 443)); {HONEST}",
    "loopback": f"attempt(lambda: socket.create_connection(('127.0.0.1', 5439), 2)); {HONEST}",
    "imports": f"attempt(lambda: __import__('boto3')); {HONEST}",
    "crashes": "os.kill(os.getpid(), 11)\n        yield",
    "leaves": "os._exit(0)\n        yield",
    "sleeps": "time.sleep(600)\n        yield",
    "late": HONEST,
}


class Environment:
    """An installed environment: this one's packages, and planted verifiers instead of ours."""

    def __init__(self, root: Path) -> None:
        self.root = root
        base = sys._base_executable  # type: ignore[attr-defined] # the interpreter below a virtual environment
        subprocess.run([base, "-m", "venv", "--without-pip", str(root)], check=True)
        self.python = str(root / "bin/python")
        self.site = next((root / "lib").glob("python*/site-packages"))
        for entry in Path(sysconfig.get_path("purelib")).iterdir():
            if "reversible" not in entry.name and "editable" not in entry.name and not entry.name.startswith("__"):
                (self.site / entry.name).symlink_to(entry)
        (self.site / "core.pth").write_text(str(Path(__file__).parents[2] / "src"))

    def plant(self, *names: str, module: str = "") -> None:
        lines = ["import os, socket, time", "from reversible.assets import Kind",
                 "from reversible.findings import Finding", "def attempt(what):",
                 "    try: what()", "    except (OSError, ImportError): pass"]  # fmt: skip
        for name in names:
            lines += [f"class {name}:", f"    metric = 'test.{name}'", "    metrics = frozenset({metric})",
                      "    kinds = frozenset({Kind.TABLE})", "    def verify(self, asset, bundle):",
                      f"        {VERIFIERS[name]}"]  # fmt: skip
        (self.site / "planted.py").write_text("\n".join(lines) + "\n")
        info = self.site / "planted-1.0.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: planted\nVersion: 1.0\n")
        points = [f"{index:02}_{name} = planted:{name}" for index, name in enumerate(names)]
        if module:
            points.append(f"zz_gone = {module}:Gone")
        (info / "entry_points.txt").write_text("\n".join(["[reversible.verifiers]", *points]) + "\n")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return Environment(tmp_path_factory.mktemp("venv") / "v")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    writer = BundleWriter(tmp_path_factory.mktemp("bundle") / "bundle")
    for asset in ASSETS:
        writer.put_json(f"{asset.folder}/table.json", {"columns": []})
        writer.close_asset(asset, exporter="test", at=AT)
    return writer.finish(about={}, at=AT).root


def values(rerun: Rerun) -> dict[str, Any]:
    return {one.metric: one.value for one in rerun.run_findings}


def finding(rerun: Rerun, metric: str) -> Finding:
    return next(one for one in rerun.run_findings if one.metric == metric)


CLEAN = {
    "dest.simulated": True,
    "model.network_calls_to_source": None,  # tables alone: no model answered
    "model.vendor_sdk_imports": None,
    "residual.calls_to_source": 0,
    "residual.route_to_source": False,
    "residual.shared_credentials": 0,
    "supply.undeclared_hosts": 0,
}


def test_the_stronger_fences_that_a_machine_refuses_are_named(
    environment: Environment, bundle: Path, tmp_path: Path
) -> None:
    environment.plant("honest")
    rerun = LocalDestination(python=environment.python, kinds=("a wall", "none")).rerun(
        bundle, sources=SOURCES, into=tmp_path
    )

    assert rerun.isolation["fence"] == "none"
    assert rerun.isolation["stronger_fences_refused"] == {"a wall": "there is no such fence"}


def test_an_honest_rerun_is_clean_at_n3(environment: Environment, bundle: Path, tmp_path: Path) -> None:
    environment.plant("honest", "noisy")
    events: list[Any] = []
    rerun = LocalDestination(python=environment.python).rerun(
        bundle, sources=SOURCES, into=tmp_path, on_event=events.append
    )

    assert rerun.level == "N3"
    assert values(rerun) == CLEAN
    assert set(values(rerun)) == set(RUN_METRICS)
    assert [(line["metric"], line["asset"], line["status"]) for line in rerun.results] == [
        (f"test.{name}", asset.id, "measured")
        for asset in sorted(ASSETS, key=lambda one: one.id)
        for name in ("honest", "noisy")
    ]
    assert [event["event"] for event in events if event["event"] != "canary"] == [
        "bundle", "start", *["verified"] * 4, "end",
    ]  # fmt: skip
    assert "nor this" in (tmp_path / "rerun.log").read_text()
    isolation = rerun.isolation
    assert isolation["crash"] == ""
    assert isolation["log_trusted"], isolation["log_distrust"]
    assert isolation["attempts"] == []
    assert isolation["environment"] == ["HOME", "LANG", "OMP_NUM_THREADS", "PATH", "TMPDIR"]
    assert isolation["limits"]
    assert "reversible-toolkit" not in isolation["rerun"]["unloadable"]
    assert {"pydantic", "pyarrow"} & set(isolation["rerun"]["versions"])
    for when in ("before", "during", "after"):
        flown = [one for one in isolation["canaries"] if one["moment"] == when]
        assert [one["target"] for one in flown if one["expected"] == "refused"] == list(SOURCES)
        assert [one["outcome"] for one in flown] == ["refused", "refused", "refused", "reached"]
    json.dumps(isolation, allow_nan=False)


def test_every_wrong_verifier_is_caught_and_named(environment: Environment, bundle: Path, tmp_path: Path) -> None:
    environment.plant(
        "broken", "opens", "elsewhere", "resolves", "loopback", "imports", "late", module="no_such_module"
    )
    rerun = LocalDestination(python=environment.python).rerun(bundle, sources=SOURCES, into=tmp_path)
    per_metric = {(line["metric"], line["asset"]): line for line in rerun.results}

    assert rerun.level == "N3"  # the fence held: nothing came through
    assert len(per_metric) == len(rerun.results) == 14
    assert {line["error"] for line in rerun.results if line["status"] == "error"} == {"RuntimeError: planted"}
    assert values(rerun) == CLEAN | {
        "model.network_calls_to_source": 8,
        "model.vendor_sdk_imports": 1,
        "residual.calls_to_source": 6,
        "supply.undeclared_hosts": 1,
    }
    assert set(finding(rerun, "residual.calls_to_source").places) == {
        f"tcp {VENDOR}:5432", "dns bucket.s3.vendor.example:53", "tcp 127.0.0.1:5439",
    }  # fmt: skip
    assert finding(rerun, "supply.undeclared_hosts").places == ("tcp 198.51.100.9",)
    assert "boto3 imported by" in finding(rerun, "model.vendor_sdk_imports").places[0]
    assert "verifier 05_imports" in finding(rerun, "model.vendor_sdk_imports").places[0]
    assert "ModuleNotFoundError" in rerun.isolation["rerun"]["unloadable"]["zz_gone"]


@pytest.mark.parametrize(
    ("does", "timeout_s", "said"),
    [("crashes", None, "ended by signal 11 (SIGSEGV)"), ("leaves", None, "ended early with status 0: "),
     ("sleeps", 4.0, "the time was up")],
)  # fmt: skip
def test_what_was_answered_before_a_crash_is_kept(
    does: str, timeout_s: float | None, said: str, environment: Environment, bundle: Path, tmp_path: Path
) -> None:
    environment.plant("honest", does, "late")
    rerun = LocalDestination(python=environment.python, timeout_s=timeout_s).rerun(
        bundle, sources=SOURCES, into=tmp_path
    )

    assert rerun.isolation["crash"] == said
    assert [line["metric"] for line in rerun.results] == ["test.honest"]
    for metric in ("residual.calls_to_source", "model.vendor_sdk_imports", "residual.shared_credentials"):
        assert finding(rerun, metric).value is None
        assert finding(rerun, metric).error
    assert finding(rerun, "residual.route_to_source").value is False  # that was tried, and cut


def test_without_a_fence_nothing_is_counted_and_the_level_is_lower(
    environment: Environment, bundle: Path, tmp_path: Path
) -> None:
    environment.plant("honest")
    rerun = LocalDestination(python=environment.python, kinds=("none",)).rerun(
        bundle, sources=("127.0.0.1:5439",), into=tmp_path
    )

    assert rerun.level == "N2"
    assert values(rerun) == {
        "dest.simulated": True,
        "model.network_calls_to_source": None,
        "model.vendor_sdk_imports": None,
        "residual.calls_to_source": None,
        "residual.route_to_source": None,
        "residual.shared_credentials": 0,
        "supply.undeclared_hosts": None,
    }
    assert all(one.error for one in rerun.run_findings if one.value is None)


def test_a_source_that_is_reached_is_a_route(environment: Environment, bundle: Path, tmp_path: Path) -> None:
    environment.plant("honest")
    with socket.create_server(("127.0.0.1", 0)) as vendor:
        source = f"127.0.0.1:{vendor.getsockname()[1]}"
        open_air = LocalDestination(python=environment.python, kinds=("none",)).rerun(
            bundle, sources=(source,), into=tmp_path / "a"
        )
        fenced = LocalDestination(python=environment.python).rerun(bundle, sources=(source,), into=tmp_path / "b")

    assert open_air.level == "N2"
    assert finding(open_air, "residual.route_to_source").value is True
    assert finding(open_air, "residual.route_to_source").places == (source,)
    assert fenced.isolation["outside"] == [{"target": source, "reached": True, "answer": "connected"}]
    assert fenced.level == "N3"  # it answers outside, and was cut inside
    assert finding(fenced, "residual.route_to_source").value is False


@pytest.mark.parametrize("kind", ["bubblewrap", "seccomp", "unshare"])
def test_the_other_fences(kind: str, environment: Environment, bundle: Path, tmp_path: Path) -> None:
    environment.plant("opens")
    try:
        rerun = LocalDestination(python=environment.python, kinds=(kind,)).rerun(bundle, sources=SOURCES, into=tmp_path)
    except DestinationError as error:
        pytest.skip(error.message)

    assert rerun.isolation["fence"] == kind
    assert rerun.level == "N3"
    assert finding(rerun, "residual.route_to_source").value is False
    expected = None if kind == "unshare" else 2
    assert finding(rerun, "residual.calls_to_source").value == expected
    assert finding(rerun, "model.network_calls_to_source").value == expected


def test_with_no_endpoint_named_nothing_is_said_about_the_route(
    environment: Environment, bundle: Path, tmp_path: Path
) -> None:
    environment.plant("honest")
    rerun = LocalDestination(python=environment.python).rerun(bundle, sources=(), into=tmp_path)

    assert rerun.level == "N2"
    assert finding(rerun, "residual.route_to_source").value is None


def test_credentials_of_the_caller_do_not_come_along(
    environment: Environment, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment.plant("honest")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    monkeypatch.setenv("PGPASSWORD", "hunter2")
    rerun = LocalDestination(python=environment.python).rerun(bundle, sources=SOURCES, into=tmp_path)

    assert values(rerun)["residual.shared_credentials"] == 0
    assert "hunter2" not in json.dumps(rerun.isolation)


def test_a_damaged_bundle_is_named(environment: Environment, bundle: Path, tmp_path: Path) -> None:
    environment.plant("honest")
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    (copy / f"{ASSETS[0].folder}/table.json").write_text("{}")

    with pytest.raises(BundleError, match=r"table\.json"):
        LocalDestination(python=environment.python).rerun(copy, sources=SOURCES, into=tmp_path / "out")


def test_what_is_no_endpoint_is_named(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(DestinationError, match=r"not host:port: 'db\.vendor\.example'"):
        LocalDestination().rerun(bundle, sources=("db.vendor.example",), into=tmp_path)


def test_an_interpreter_without_us_is_named(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(DestinationError, match="does not start behind the fence"):
        LocalDestination(python="/bin/false").rerun(bundle, sources=SOURCES, into=tmp_path)


# --- what did not run shows nothing ------------------------------------------------------------------------------


def test_nothing_rerun_shows_nothing(environment: Environment, tmp_path: Path) -> None:
    environment.plant("honest")
    empty = BundleWriter(tmp_path / "bundle").finish(about={}, at=AT).root
    rerun = LocalDestination(python=environment.python).rerun(empty, sources=SOURCES, into=tmp_path / "into")

    assert rerun.level == "N2"
    shown = {metric: value for metric, value in values(rerun).items() if value is not None}
    assert shown == {"dest.simulated": True, "residual.route_to_source": False}
    assert all(one.error for one in rerun.run_findings if one.value is None)


def test_a_model_that_did_not_answer_is_not_shown_to_be_independent(observed: Observed) -> None:
    models = frozenset({"models:model:digits", "models:model:tumour"})
    of_models = ("model.network_calls_to_source", "model.vendor_sdk_imports")

    def found(*answered: str, compared: int | None = 64) -> dict[str, tuple[Any, float]]:
        lines = [{"metric": "model.inputs_compared", "asset": one, "value": compared, "status": "measured"}
                 for one in answered]  # fmt: skip
        seen = replace(observed, models=models, lines=(*observed.lines, *lines))
        return {one.metric: (one.value, one.coverage) for one in run_findings(seen) if one.metric in of_models}

    assert found() == dict.fromkeys(of_models, (None, 1.0))
    assert found(*models, compared=None) == dict.fromkeys(of_models, (None, 1.0))  # it was asked, and could not
    assert found("models:model:digits") == dict.fromkeys(of_models, (0, 0.5))
    assert found(*models) == dict.fromkeys(of_models, (0, 1.0))


# --- the log is believed only as far as its canaries go ---------------------------------------------------------


@pytest.fixture(scope="module")
def observed(environment: Environment, bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Observed:
    """A real observation, to be falsified by the tests below."""
    environment.plant("honest")
    into = tmp_path_factory.mktemp("observed")
    return LocalDestination(python=environment.python).rerun(bundle, sources=SOURCES, into=into).observed


def _without_first(attempts: tuple[Attempt, ...]) -> tuple[Attempt, ...]:
    return attempts[1:]


def _doubled(attempts: tuple[Attempt, ...]) -> tuple[Attempt, ...]:
    return (attempts[0], *attempts)


def _without_mark(attempts: tuple[Attempt, ...]) -> tuple[Attempt, ...]:
    return tuple(one for one in attempts if one.port != 1)


@pytest.mark.parametrize("falsify", [_without_first, _doubled, _without_mark])
def test_a_log_that_its_canaries_contradict_counts_for_nothing(observed: Observed, falsify: Any) -> None:
    assert observed.log_trusted, observed.log_distrust

    false = replace(observed, fenced=replace(observed.fenced, attempts=falsify(observed.fenced.attempts)))

    assert not false.log_trusted
    calls = {one.metric: one for one in run_findings(false)}["residual.calls_to_source"]
    # the first line may now pass for a verifier's: then it counts against us, and is never a clean zero
    assert calls.value != 0


@pytest.mark.parametrize("unlogged", [1, None])
def test_packets_that_the_log_does_not_show_make_it_count_for_nothing(observed: Observed, unlogged: int | None) -> None:
    false = replace(observed, fenced=replace(observed.fenced, unlogged=unlogged))

    assert "the kernel counted packets" in false.log_distrust
    assert {one.metric: one.value for one in run_findings(false)}["residual.calls_to_source"] is None


def test_a_control_that_fails_means_that_nothing_was_shown(observed: Observed) -> None:
    during = tuple(replace(one, answer="") if one.control else one for one in observed.during)
    false = replace(observed, during=during)

    assert not false.held
    assert {one.metric: one.value for one in run_findings(false)}["residual.route_to_source"] is None


def test_a_canary_that_was_not_sent_means_that_nothing_was_shown(observed: Observed) -> None:
    false = replace(observed, during=observed.during[1:])

    assert not false.held
    assert not false.log_trusted


@pytest.mark.parametrize(
    ("attempt", "is_source"),
    [
        (("tcp", VENDOR, 9999), True),  # another port of the source's own machine
        (("udp", VENDOR, 5432), True),
        (("tcp", "198.51.100.1", 5432), False),
        (("dns", "s3.vendor.example", 53), True),
        (("dns", "bucket.s3.vendor.example", 53), True),
        (("dns", "nots3.vendor.example", 53), False),
        (("dns", "s3.vendor.example.corp", 53), False),
        (("tcp", "127.0.0.1", 5439), True),
        (("tcp", "0.0.0.0", 5439), True),  # noqa: S104 - the kernel takes it for the loopback
        (("tcp", "::1", 5439), True),
        (("tcp", "127.0.0.1", 5440), False),
        (("unix", "/run/x", 0), False),
    ],
)
def test_which_attempts_go_to_the_source(attempt: tuple[str, str, int], is_source: bool, observed: Observed) -> None:
    assert observed.to_source(Attempt(0.0, *attempt, False)) is is_source


@pytest.fixture(autouse=True)
def _no_thread_stays() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() == before
