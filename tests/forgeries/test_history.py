"""Can a run that failed be made to vanish, or a history be told in two ways?"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import workshop

import json_schemas
import time_authority
from reversible.errors import DestinationError, EvidenceError
from reversible.evidence import dossier, history, keys, merkle, note, strict_json
from reversible.evidence.history import Entry, History, Log
from reversible.evidence.keys import SigningKey
from reversible.evidence.verify import verify
from time_authority import Party

AT = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
PLANS = ("ab" * 32, "cd" * 32)

# certificate-transparency-go, testonly/reference_tree.go: inputs and the roots after each
_INPUTS = [bytes.fromhex(one) for one in (
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
)]  # fmt: skip
_ROOTS = {
    0: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}


def test_the_tree_is_that_of_certificate_transparency() -> None:
    for size, expected in _ROOTS.items():
        assert merkle.root([merkle.leaf(one) for one in _INPUTS[:size]]).hex() == expected


def test_every_proof_holds_and_no_other_does() -> None:
    entries = [bytes([n]) for n in range(20)]
    leaves = [merkle.leaf(one) for one in entries]
    for size in range(1, 21):
        root = merkle.root(leaves[:size])
        for index in range(size):
            proof = merkle.inclusion(index, leaves[:size])
            assert merkle.included(entries[index], index, size, proof, root)
            for wrong in (
                (entries[index] + b".", index, size, proof, root), (entries[index], index + 1, size, proof, root),
                (entries[index], index, size, proof, bytes(32)),
                (entries[index], index, size, [*proof, bytes(32)], root),
                (entries[index], index, size, [bytes(32), *proof[1:]], root) if proof else (b"", -1, size, proof, root),
            ):  # fmt: skip
                assert not merkle.included(*wrong)
        for first in range(1, size + 1):
            old, proof = merkle.root(leaves[:first]), merkle.consistency(first, leaves[:size])
            assert merkle.continued(first, size, proof, old, root)
            assert not merkle.continued(first, size, proof, bytes(32), root)
            assert not merkle.continued(first, size, proof, old, bytes(32))
            assert not merkle.continued(first, size, [*proof, bytes(32)], old, root)


# --- a log -------------------------------------------------------------------------------------------------------


@pytest.fixture
def own(tmp_path: Path) -> SigningKey:
    return keys.load_or_create(tmp_path / "configuration" / "key.pem")


@pytest.fixture
def log(own: SigningKey) -> Log:
    """Three runs: one that failed, one that was aborted, one of which nobody says the end."""
    log = Log.of(own, {})
    first = begun(log, PLANS[0], 0)
    log.end(first, run_id="run-0", statement=b"FAILED", exit_status=1, at=AT + timedelta(hours=1))
    log.abort(begun(log, PLANS[0], 2), reason="the source refused", at=AT + timedelta(hours=3))
    begun(log, PLANS[1], 4)
    return log


def begun(log: Log, plan: str, hours: int, **more: Any) -> Entry:
    return log.intend(plan_sha256=plan, place=f"/runs/{hours}", at=AT + timedelta(hours=hours), **more)


def whole(log: Log) -> History:
    return history.read(log.folder, pinned=log.key.fingerprint)


def test_every_run_is_announced_and_shown_with_what_became_of_it(log: Log) -> None:
    found = whole(log)

    assert [run.state for run in found.runs] == ["ended", "aborted", "open"]
    assert [one.kind for one in found.entries] == ["genesis", "intent", "outcome", "intent", "abort", "intent"]
    assert found.checkpoint.size == 6
    assert found.last_statement is not None


def test_an_interrupted_run_is_announced_once(log: Log) -> None:
    before = whole(log).checkpoint.size
    again = begun(log, PLANS[1], 4)
    begun(log, PLANS[1], 4, nonce="another question")

    assert again.index == 5
    assert whole(log).checkpoint.size == before + 1


def entry(log: Log, index: int) -> Path:
    return log.folder / "entries" / f"{index:08}.json"


def edited(log: Log, index: int, **changes: Any) -> None:
    line = json.loads(entry(log, index).read_bytes())
    line["entry"].update(changes)
    entry(log, index).write_bytes(strict_json.compact_bytes(line) + b"\n")


def linked(log: Log) -> None:
    target = entry(log, 5).rename(log.folder / "elsewhere.json")
    entry(log, 5).symlink_to(target)


def swapped(log: Log) -> None:
    one, other = entry(log, 1).read_bytes(), entry(log, 3).read_bytes()
    entry(log, 1).write_bytes(other)
    entry(log, 3).write_bytes(one)


def retold(log: Log, drop: Callable[[Entry], bool]) -> None:
    """What an insider with every key can do: write another history from the beginning."""
    entries = whole(log).entries
    shutil.rmtree(log.folder)
    intents: dict[str, Entry] = {}
    for one in entries:
        at = datetime.fromisoformat(str(one.said["at"]))
        if drop(one) or one.kind == "genesis":
            continue
        if one.kind == "intent":
            intents[one.digest] = begun(log, one.said["plan_sha256"], (at - AT) // timedelta(hours=1))
        elif one.said["intent"] in intents:
            log.end(intents[one.said["intent"]], run_id="run", statement=b"x", exit_status=0, at=at)


OUTSIDER: dict[str, tuple[Callable[[Log], object], str]] = {
    "the last entry deleted": (lambda log: entry(log, 5).unlink(), "the checkpoint counts 6 entries, 5 are there"),
    "an entry deleted": (lambda log: entry(log, 2).unlink(), "an entry is missing"),
    "every entry deleted": (lambda log: [one.unlink() for one in (log.folder / "entries").iterdir()], "is missing"),
    "an outcome eased": (lambda log: edited(log, 2, exit_status=0), "not continue|not signed|not those"),
    "a time moved": (lambda log: edited(log, 5, at=AT.isoformat()), "not signed by the key of its time"),
    "two entries swapped": (swapped, "does not continue the entry before it"),
    "an entry of no kind": (lambda log: edited(log, 5, kind="forget"), "of the kind 'forget'"),
    "a space in an entry": (
        lambda log: entry(log, 5).write_bytes(entry(log, 5).read_bytes().replace(b":", b": ", 1)), "one way",
    ),
    "a file among the entries": (lambda log: (log.folder / "entries/note.txt").write_text("x"), "something else"),
    "the root in the checkpoint": (
        lambda log: (log.folder / "checkpoint").write_text(
            (log.folder / "checkpoint").read_text().replace("\n6\n", "\n5\n")
        ), "signature on its checkpoint does not hold",
    ),
    "the checkpoint of another log": (
        lambda log: (log.folder / "checkpoint").write_text("other\n6\nAAAA\n\n\u2014 other AAAA\n"),
        "a checkpoint of other",
    ),
    "no signature on the checkpoint": (
        lambda log: (log.folder / "checkpoint").write_text(
            (log.folder / "checkpoint").read_text().partition("\n\n")[0] + "\n\n"
        ), "the log did not sign it",
    ),
    "a pipe for an entry": (
        lambda log: (entry(log, 5).unlink(), os.mkfifo(entry(log, 5))), "not a regular file",
    ),
    "a link for an entry": (lambda log: linked(log), "symbolic link|Too many levels"),
    "no checkpoint": (lambda log: (log.folder / "checkpoint").unlink(), "No such file"),
}  # fmt: skip


@pytest.mark.parametrize(("forge", "reason"), OUTSIDER.values(), ids=OUTSIDER.keys())
def test_a_log_that_was_touched_is_refused(log: Log, forge: Callable[[Log], object], reason: str) -> None:
    forge(log)

    with pytest.raises(EvidenceError, match=reason):
        whole(log)


INSIDER: dict[str, Callable[[Log], object]] = {
    "the failed run left out": lambda log: retold(log, lambda one: one.index in (1, 2)),
    "the failed run's outcome left out": lambda log: retold(log, lambda one: one.index == 2),
    "all told anew": lambda log: retold(log, lambda one: False),
    "rolled back to its first run": lambda log: retold(log, lambda one: one.index > 2),
}


@pytest.mark.parametrize("forge", INSIDER.values(), ids=INSIDER.keys())
def test_a_history_told_anew_is_not_the_one_of_a_checkpoint_that_was_kept(
    log: Log, forge: Callable[[Log], object]
) -> None:
    kept = whole(log).checkpoint
    forge(log)

    assert not whole(log).continues(kept)  # the log agrees with itself: only the reader's copy tells


def test_a_longer_log_is_the_one_of_the_checkpoint_continued(log: Log, own: SigningKey) -> None:
    found = whole(log)
    content = (log.folder / "checkpoint").read_bytes()
    begun(log, PLANS[0], 9)

    assert note.read(content, found.vkey) == found.checkpoint
    assert whole(log).continues(found.checkpoint)


def test_a_run_killed_between_an_entry_and_its_checkpoint_does_not_break_the_log(log: Log) -> None:
    content = (log.folder / "checkpoint").read_bytes()
    begun(log, PLANS[0], 9)
    (log.folder / "checkpoint").write_bytes(content)

    assert len(whole(log).entries) == 7
    begun(log, PLANS[0], 10)
    assert whole(log).checkpoint.size == 8


def test_no_run_without_its_intent_and_where_it_may_lie_is_said(own: SigningKey, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DestinationError) as caught:
        begun(Log.of(own, {history.LOG: str(tmp_path / "file" / "log")}), PLANS[0], 0)

    assert history.LOG in caught.value.hint


# --- a dossier and its log ---------------------------------------------------------------------------------------


def sealed(log: Log, root: Path, **more: Any) -> Path:
    """A run as the command line does it: announced, sealed, its outcome written."""
    known = log.read()
    intent = begun(log, PLANS[0], 20, nonce=more.get("nonce"))
    previous = more.pop("previous", known.last_statement if known else None)
    made = workshop.write(root, log.key, previous=previous, **more)
    log.end(intent, run_id="run", statement=dossier.statement_of(made), exit_status=1, at=AT)
    return made


def log_step(found: Any) -> tuple[str, str]:
    step = next(step for step in found.steps if step.id == "log")
    return step.outcome.value, step.detail


def test_a_dossier_is_the_outcome_of_a_run_that_was_announced(log: Log, tmp_path: Path, own: SigningKey) -> None:
    made = sealed(log, tmp_path / "evidence", nonce="auditor-7")
    found = verify(made, pinned=own.fingerprint, log_at=log.folder, at=workshop.NOW)

    assert log_step(found)[0] == "passed"
    assert "4 runs begun, 1 aborted, 1 without any outcome, begun 2026-11-24T12:00:00" in log_step(found)[1]
    assert log_step(verify(made, pinned=own.fingerprint, at=workshop.NOW))[0] == "not-run"


def hidden(log: Log, root: Path) -> Path:
    return workshop.write(root, log.key)


DOSSIERS: dict[str, tuple[Callable[[Log, Path], Path], str]] = {
    "a run that nobody announced": (hidden, "does not hold this statement"),
    "another number than the announced one": (
        lambda log, root: sealed_otherwise(log, root), "not announced so before it began",
    ),
    "another statement before it": (
        lambda log, root: sealed(log, root, previous="00" * 32), "the statement before this one",
    ),
    "no statement before it, where there is one": (
        lambda log, root: sealed(log, root, previous=None), "the statement before this one",
    ),
    "a log that was touched": (lambda log, root: then_touched(log, root), "entry"),
}  # fmt: skip


def then_touched(log: Log, root: Path) -> Path:
    made = sealed(log, root)
    edited(log, 2, exit_status=0)
    return made


def sealed_otherwise(log: Log, root: Path) -> Path:
    intent = begun(log, PLANS[0], 20, nonce="7")
    made = workshop.write(root, log.key, nonce="8", previous=whole(log).last_statement)
    log.end(intent, run_id="run", statement=dossier.statement_of(made), exit_status=1, at=AT)
    return made


@pytest.mark.parametrize(("make", "reason"), DOSSIERS.values(), ids=DOSSIERS.keys())
def test_a_dossier_that_its_log_does_not_know_so_is_rejected(
    log: Log, tmp_path: Path, own: SigningKey, make: Callable[[Log, Path], Path], reason: str
) -> None:
    made = make(log, tmp_path / "evidence")
    found = verify(made, pinned=own.fingerprint, log_at=log.folder, at=workshop.NOW)

    assert found.exit_status == 5
    assert log_step(found)[0] == "failed"
    assert reason in log_step(found)[1]


def test_the_log_of_a_stranger_is_none(log: Log, tmp_path: Path, own: SigningKey, stranger: SigningKey) -> None:
    made = sealed(log, tmp_path / "evidence")
    other = Log(tmp_path / "other-log", stranger)
    begun(other, PLANS[0], 0)
    found = verify(made, pinned=own.fingerprint, log_at=other.folder, at=workshop.NOW)

    assert found.exit_status == 5
    assert "it is the log of the key" in log_step(found)[1]


# --- another key ---------------------------------------------------------------------------------------------------


@pytest.fixture
def new(tmp_path: Path) -> SigningKey:
    return keys.load_or_create(tmp_path / "new" / "key.pem")


def test_who_pinned_the_old_key_believes_the_new_one_that_it_handed_over_to(
    log: Log, tmp_path: Path, own: SigningKey, new: SigningKey
) -> None:
    log.rotate(new, AT)
    made = sealed(log, tmp_path / "evidence")

    assert whole(log).keys == (own.fingerprint, new.fingerprint)
    found = verify(made, pinned=own.fingerprint, log_at=log.folder, at=workshop.NOW)
    assert {step.id for step in found.steps if step.outcome != "passed"} == {"time", "reports", "expected"}
    assert verify(made, pinned=own.fingerprint, at=workshop.NOW).exit_status == 5  # without the log nothing says so


def test_the_old_key_no_longer_signs_for_who_pinned_the_new_one(
    log: Log, tmp_path: Path, own: SigningKey, new: SigningKey
) -> None:
    made = sealed(log, tmp_path / "evidence")
    log.rotate(new, AT)

    assert verify(made, pinned=new.fingerprint, log_at=log.folder, at=workshop.NOW).exit_status == 5


def test_an_entry_by_the_old_key_after_the_handover_is_refused(log: Log, own: SigningKey, new: SigningKey) -> None:
    log.rotate(new, AT)
    log.key = own  # stolen, or kept
    with pytest.raises(EvidenceError, match="not signed by the key of its time"):
        (begun(log, PLANS[0], 30), whole(log))


def test_a_handover_that_the_new_key_did_not_accept_is_refused(log: Log, own: SigningKey, new: SigningKey) -> None:
    """Or a thief of the old key could claim the good name of another."""
    said = {"kind": "key-rotation", "new": new.fingerprint, "new_pem": new.public.pem.decode(), "accepted": "AAAA"}
    log._append(said, AT)
    with pytest.raises(EvidenceError, match="does not accept"):
        whole(log)


# --- the command line ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_dry_run_is_announced_sealed_dated_and_shown(tmp_path: Path, parties: dict[str, Party]) -> None:
    workshop.a_shop(tmp_path)
    environ = {**os.environ, "REVERSIBLE_KEY": str(tmp_path / "keys" / "key.pem")}
    (tmp_path / "keys").mkdir(mode=0o700)

    def reversible(*argv: object, status: int = 0) -> str:
        command = [sys.executable, "-m", "reversible", *map(str, argv)]
        done = subprocess.run(
            command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False, timeout=300
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    pin = ("--tsa-certificate", parties["root"].pem)
    with time_authority.serving(lambda query: time_authority.reply(parties["tsa"], query)) as server:
        dated = ("--tsa", server.url, *pin)
        reversible("dry-run", "exit-plan.toml", "--into", "run-1", "--exit-zero", "--nonce", "7", *dated)
    said = reversible("dry-run", "exit-plan.toml", "--into", "run-2", *dated, "--lang", "en", status=1)
    assert "time stamp pending" in said  # nobody listens any more: the run is whole all the same
    document = json_schemas.parsed("history", reversible("history", "--json"))
    (tmp_path / "kept").write_text(document["checkpoint"])
    (tmp_path / "shop.db").unlink()
    reversible("dry-run", "exit-plan.toml", "--into", "run-3", status=4)
    shown = reversible("history", "--since", "kept", "--lang", "fr")

    assert [(run["state"], run["nonce"]) for run in document["runs"]] == [("ended", "7"), ("ended", None)]
    assert "3 essais annoncés : 2 terminés, 1 abandonnés, 0 sans issue" in shown
    key = keys.load_or_create(tmp_path / "keys" / "key.pem").fingerprint
    log = tmp_path / "keys" / "key-log"
    arguments = ("--key", key, "--log", log, *pin, "--nonce", "7", "--lang", "en")
    assert "PROVED" in reversible("evidence", "verify", "run-1/evidence", *arguments)
    reversible("evidence", "verify", "run-2/evidence", "--key", key, *pin, status=3)
    reversible("evidence", "verify", "run-2/evidence", "--key", key, "--log", log)
    environ["REVERSIBLE_LOG"] = str(log)
    reversible("evidence", "rotate", "keys/new.pem")
    reversible("history", log, "--key", key, "--since", "kept")
    shutil.rmtree(log)
    reversible("history", log, "--key", key, status=5)
