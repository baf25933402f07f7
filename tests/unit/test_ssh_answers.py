"""What a host answers: is it an account, does it hold against what was sent, and what does ssh's own word mean?"""

import json
import platform
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bundles import sample_bundle
from reversible import registry
from reversible.bundle.reader import Bundle
from reversible.destinations import account, held, ssh
from reversible.destinations.local import LocalDestination, Rerun, conclude
from reversible.destinations.ssh_line import Host, failure
from reversible.errors import DestinationError
from reversible.findings import Finding
from reversible.kit.manifest import Kit, Target

pytestmark = pytest.mark.skipif(platform.system() != "Linux", reason="the fence is made of Linux")

VENDOR = "203.0.113.7:5432"  # RFC 5737: nobody's


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return sample_bundle(tmp_path_factory.mktemp("shop") / "shop")


@pytest.fixture(scope="module")
def rerun(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Rerun:
    return LocalDestination().rerun(bundle.root, sources=[VENDOR], into=tmp_path_factory.mktemp("rerun"))


# --- the account ------------------------------------------------------------------------------------------------


def test_an_account_says_at_home_what_was_seen_there(rerun: Rerun) -> None:
    content = json.dumps(account.to_json(rerun.observed, rerun.isolation)).encode()
    again = conclude(*account.from_json(content))

    assert again.results == rerun.results
    assert again.isolation == rerun.isolation
    assert again.run_findings == rerun.run_findings
    assert again.level == rerun.level


def _set(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        *steps, last = path.split(".")
        place: Any = document
        for step in steps:
            place = place[int(step)] if step.isdigit() else place[step]
        place[last] = value

    return change


LIES: dict[str, Callable[[dict[str, Any]], None]] = {
    "another format": _set("format", "reversible-rerun/2"),
    "a line that is none": _set("observed.lines", [{"metric": "data.rows_missing"}]),
    "a measured line without a value": _set("observed.lines.0.value", None),
    "a status of its own": _set("observed.lines.0.status", "perfect"),
    "more than the whole scope": _set("observed.lines.0.coverage", 1.5),
    "true for a coverage": _set("observed.lines.0.coverage", True),
    "an attempt with other members": _set("observed.fenced.attempts", [{"host": "x"}]),
    "a fence with other members": _set("observed.fenced.strength", "infinite"),
    "counted as a text": _set("observed.fenced.counted", "yes"),
    "reached as a number": _set("observed.during.0.reached", 0),
    "no control port": _set("observed.control_port", None),
    "imports that are no list": lambda document: document["observed"]["summary"].update(vendor_modules="none"),
    "no summary": _set("observed.summary", None),
    "an environment that is no list": _set("about.environment", "clean"),
    "nothing": dict.clear,
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_an_account_of_another_shape_is_refused(rerun: Rerun, lie: str) -> None:
    document = json.loads(json.dumps(account.to_json(rerun.observed, rerun.isolation)))
    LIES[lie](document)

    with pytest.raises(DestinationError, match="the host's account of the re-run is none"):
        account.from_json(json.dumps(document).encode())
    for content in (b"", b"[]", b"{", b"\xff", b"null"):
        with pytest.raises(DestinationError):
            account.from_json(content)


# --- what was asked, and what is measured here --------------------------------------------------------------------


def test_only_what_was_asked_of_this_bundle_is_an_answer(rerun: Rerun, bundle: Bundle) -> None:
    asked = frozenset(
        (metric, asset.id)
        for one in registry.verifiers().values()
        for asset in bundle.assets
        if asset.kind in one.kinds
        for metric in one.metrics
    )
    lines = rerun.results
    held.check_questions(lines, bundle, asked)

    for wrong, said in (
        ({**lines[0], "metric": "dest.in_eu"}, "answered what nobody asked"),
        ({**lines[0], "asset": "shop:table:other"}, "answered what nobody asked"),
        (lines[0], "answered twice"),
        ({**lines[-1], "files": ["../../etc/passwd"]}, "answered twice|names a file"),
    ):
        with pytest.raises(DestinationError, match=said):
            held.check_questions([*lines, wrong], bundle, asked)
    with pytest.raises(DestinationError, match="names a file that the bundle has not"):
        held.check_questions([{**lines[0], "files": ["data/absent"]}], bundle, asked)


CRITERIA = [{"metric": "m", "op": "<=", "value": 3.0, "clause": "X"}, {"metric": "other", "op": "==", "value": 0}]


def line(value: Any, **changes: Any) -> dict[str, Any]:
    found = Finding("m", "a", value, unit="ratio").to_json()
    return {**found, "status": "error" if value is None else "measured", **changes}


@pytest.mark.parametrize(
    ("there", "here", "stands"),
    [
        (line(0), line(0), True),
        (line(0), line(1), False),
        (line(0), line(0.0), False),
        (line(True), line(1), False),
        (line(True), line(True), True),
        (line("FR"), line("DE"), False),
        (line(1.25), line(1.5), True),  # two processors: both within the bound of 3
        (line(2.999), line(3.001), False),  # the bound lies between them
        (line(0.5), line(None, error="no runtime"), False),
        (line(0), line(0, coverage=0.5), False),
        (line(0), line(0, projected=True), False),
        (line(("x",)), line(("y",)), False),
        (line(None, error="broken"), line(0), True),  # it was no answer, and stays none
    ],
)
def test_a_finding_stands_where_this_machine_says_the_same(
    there: dict[str, Any], here: dict[str, Any], stands: bool
) -> None:
    (held_line,) = held.hold([there], [here], CRITERIA)

    if stands:
        assert held_line == there
    else:
        assert (held_line["value"], held_line["status"]) == (None, "error")
        assert held_line["error"].startswith("the host says ")


def test_an_answer_that_this_machine_did_not_give_is_none() -> None:
    (alone,) = held.hold([line(0)], [], CRITERIA)

    assert alone["status"] == "error"


def test_a_float_that_hangs_on_a_bound_known_later_must_be_the_same() -> None:
    later = [{"metric": "m", "op": "<=", "value": None, "value_from": "contract.bound"}]

    assert held.hold([line(1.25)], [line(1.5)], later)[0]["status"] == "error"
    assert held.hold([line(1.5)], [line(1.5)], later)[0]["status"] == "measured"


def test_what_verifiers_try_to_reach_is_held_too() -> None:
    quiet, loud = (Finding("residual.calls_to_source", None, n, unit="count") for n in (0, 2))
    place = Finding("residual.route_to_source", None, False, unit="bool")
    reached = replace(place, value=True)

    assert held.hold_behaviour([quiet, place], [quiet, reached]) == (quiet, place)  # another place, another route
    assert held.hold_behaviour([quiet], [loud])[0].value is None
    assert held.hold_behaviour([loud], [replace(quiet, value=None, error="no fence")]) == (loud,)


# --- which host -------------------------------------------------------------------------------------------------

KIT = Kit(root=Path("kit"), id="0", tool="t", target=Target(python="3.11", machine="x86_64", glibc="2.28"),
          packages={}, files={})  # fmt: skip
GOOD = Host("cpython", "3.11", "x86_64", "Linux", "2.36")


@pytest.mark.parametrize(
    ("change", "said", "hint"),
    [
        ({"python": "3.9"}, "has Python 3.9; 3.11 or newer is needed", "ls /usr/bin/python3"),
        ({"python": "3.13"}, "has Python 3.13 on x86_64, the kit kit is for", "--python 3.13 --machine x86_64"),
        ({"machine": "aarch64"}, "on aarch64, the kit kit is for", "--python 3.11 --machine aarch64"),
        ({"glibc": "2.17"}, "has glibc 2.17", "--glibc 2.17"),
        ({"glibc": "-"}, "a kit needs CPython on Linux with glibc", "cat /etc/os-release"),
        ({"system": "Darwin"}, "a kit needs CPython on Linux with glibc", ""),
        ({"implementation": "pypy"}, "a kit needs CPython on Linux with glibc", ""),
    ],
)  # fmt: skip
def test_a_host_that_cannot_take_the_kit_says_why_and_what_to_build(
    change: dict[str, str], said: str, hint: str
) -> None:
    ssh.refuse_host("eu", GOOD, KIT, spoken="ssh eu")
    with pytest.raises(DestinationError, match=said) as refused:
        ssh.refuse_host("eu", replace(GOOD, **change), KIT, spoken="ssh eu")

    assert hint in refused.value.hint
    assert "\n" not in refused.value.message


@pytest.mark.parametrize(
    ("said", "meaning"),
    [
        (["No ED25519 host key is known for [10.0.0.1]:22 and you have requested strict checking.",
          "Host key verification failed."], "its host key is not in known_hosts"),
        (["@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @", "Host key verification failed."],
         "its host key is not the one in known_hosts"),
        (["root@eu: Permission denied (publickey)."], "it refuses this user or key"),
        (["ssh: Could not resolve hostname eu: Name or service not known"], "its name is unknown here"),
        (["ssh: connect to host eu port 22: Connection timed out"], "it does not answer: timed out"),
        (["ssh: connect to host eu port 22: No route to host"], "there is no route to it"),
        (["REVERSIBLE-NO-PYTHON"], "it has no python3"),
        (["Bad owner or permissions on /root/.ssh/config"], "Bad owner or permissions on /root/.ssh/config"),
        ([], "ssh ended with status 255"),
    ],
)  # fmt: skip
def test_what_ssh_says_becomes_one_line_and_the_next_command(said: list[str], meaning: str) -> None:
    error = failure("eu", 255, said)

    assert meaning in error.message
    assert "\n" not in error.message
    assert error.hint.startswith(("ssh ", "ssh-keygen "))
