"""Is a genuine dossier accepted, by us and by tools that are not ours?"""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import warnings
from datetime import timedelta
from pathlib import Path

import pytest
import workshop

import json_schemas
from reversible.bundle import bag
from reversible.errors import DestinationError, EvidenceError
from reversible.evidence import contents, dossier, keys, recipe
from reversible.evidence.keys import SigningKey
from reversible.evidence.verify import Expected, verify


def test_every_step_passes_under_the_pinned_key(genuine: Path, key: SigningKey) -> None:
    found = verify(genuine, pinned=key.fingerprint, at=workshop.NOW)

    assert {step.id for step in found.steps if step.outcome != "passed"} == {"time", "log", "expected"}
    assert found.conclusion == "verified"
    assert found.exit_status == 0


def test_without_a_pinned_key_it_is_integrity_only_and_never_verified(genuine: Path) -> None:
    found = verify(genuine, pinned=None, at=workshop.NOW)

    assert found.conclusion == "integrity-only"
    assert found.exit_status == 3


def test_a_key_file_pins_as_well_as_a_fingerprint(genuine: Path, key: SigningKey, tmp_path: Path) -> None:
    (tmp_path / "signer.pem").write_bytes(key.public.pem)
    assert verify(genuine, pinned=tmp_path / "signer.pem", at=workshop.NOW).exit_status == 0


def test_what_the_reader_expects_is_compared(genuine: Path, key: SigningKey) -> None:
    plan = bag.sha256_file(genuine / contents.PLAN)
    good = Expected(organisation="Boutique Lumière", plan_sha256=plan, max_age_days=1)
    found = verify(genuine, pinned=key.fingerprint, expected=good, at=workshop.NOW)
    assert {step.id for step in found.steps if step.outcome != "passed"} == {"time", "log"}

    for bad in (
        Expected(organisation="Autre"), Expected(plan_sha256="0" * 64), Expected(nonce="7"),
    ):  # fmt: skip
        assert verify(genuine, pinned=key.fingerprint, expected=bad, at=workshop.NOW).exit_status == 5
    late = workshop.NOW + timedelta(days=2)
    assert verify(genuine, pinned=key.fingerprint, expected=Expected(max_age_days=1), at=late).exit_status == 5


def test_a_nonce_and_the_statement_before_are_sealed(tmp_path: Path, key: SigningKey) -> None:
    made = workshop.write(tmp_path / "evidence", key, nonce="auditor-7", previous="ab" * 32)
    found = verify(made, pinned=key.fingerprint, expected=Expected(nonce="auditor-7"), at=workshop.NOW)

    assert [step.id for step in found.steps if step.outcome != "passed"] == ["time", "reports", "log"]
    assert found.said is not None
    assert found.said["reversible"]["previous"] == "ab" * 32


def test_what_cannot_be_checked_is_listed_and_is_not_verified(tmp_path: Path, key: SigningKey) -> None:
    without_reports = workshop.write(tmp_path / "a", key)
    documents = workshop.run_documents()
    plan = {**documents.plan, "tool": "reversible-toolkit 99.0"}
    later = workshop.write(
        tmp_path / "b", key, dataclasses.replace(documents, plan=plan), reports={"report.fr.html": b"x"}
    )

    for made, steps in ((without_reports, {"reports"}), (later, {"reports", "instructions"})):
        found = verify(made, pinned=key.fingerprint, at=workshop.NOW)
        assert {step.id for step in found.steps if step.required and step.outcome == "not-run"} == steps
        assert found.conclusion == "incomplete"
        assert found.exit_status == 3


def test_same_documents_same_key_same_bytes(reported: Path, tmp_path: Path, key: SigningKey) -> None:
    reports = {path.name: path.read_bytes() for path in (reported / "data/report").iterdir()}
    again = workshop.write(tmp_path / "again", key, reports=reports)

    assert {path: bag.sha256_file(again / path) for path, _ in bag.walk(again)} == {
        path: bag.sha256_file(reported / path) for path, _ in bag.walk(reported)
    }


def test_the_documents_come_out_as_they_went_in(genuine: Path) -> None:
    assert dossier.read(genuine) == dossier.as_written(workshop.run_documents())


def test_no_secret_of_the_key_is_in_the_dossier(genuine: Path, key: SigningKey) -> None:
    for path, _ in bag.walk(genuine):
        assert b"PRIVATE" not in (genuine / path).read_bytes()
        assert str(key.path.parent).encode() not in (genuine / path).read_bytes()


# --- tools that are not ours ---------------------------------------------------------------------------------------


def test_bagit_validates_the_bag(genuine: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import bagit
    assert bagit.Bag(str(genuine)).validate()


def test_sha256sum_checks_both_manifests(genuine: Path) -> None:
    done = subprocess.run(
        ["sha256sum", "--strict", "--quiet", "-c", bag.TAG_MANIFEST, bag.MANIFEST], cwd=genuine, check=False
    )
    assert done.returncode == 0


def by_recipe(root: Path, fingerprint: str) -> subprocess.CompletedProcess[str]:
    """The commands as VERIFY.txt prints them; from our own copy, as its text says: nobody runs a stranger's file."""
    assert recipe.COMMANDS in recipe.TEXT
    return subprocess.run(
        ["bash"], input=recipe.COMMANDS, cwd=root, env={**os.environ, "PINNED": fingerprint}, capture_output=True,
        text=True, check=False, timeout=60,
    )  # fmt: skip


def test_the_printed_recipe_accepts_the_genuine_dossier(genuine: Path, key: SigningKey) -> None:
    done = by_recipe(genuine, key.fingerprint)

    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("GENUINE\n")
    assert (genuine / recipe.NAME).read_text() == recipe.TEXT
    for language in ("FRANÇAIS", "ENGLISH"):
        assert language in recipe.TEXT


def _one_digit(root: Path) -> None:
    workshop.edit(root, contents.RESULTS, lambda lines: lines[0].update(value=1))


RECIPE_FORGERIES = {
    "one digit": lambda root, key: _one_digit(root),
    "one digit, manifests anew": lambda root, key: (_one_digit(root), workshop.remanifest(root)),
    "one digit, sealed anew by a stranger": lambda root, key: (_one_digit(root), workshop.reseal(root, key)),
    "a file more": lambda root, key: (root / "data/raw/more.txt").write_text("x"),
    "a file less": lambda root, key: (root / "data/raw/fence.jsonl").unlink(),
    "a hidden file": lambda root, key: (root / ".hidden").write_text("x"),
    "a stray file beside the seal": lambda root, key: (root / "seal/more.json").write_text("x"),
    "a link for a file": lambda root, key: _to_link(root / contents.RUN),
    "the key of a stranger": lambda root, key: (root / contents.SIGNER).write_bytes(key.public.pem),
    "a second signature": lambda root, key: _twice(root),
    "the seal of another dossier": lambda root, key: workshop.reseal(
        root, key, change=lambda said: said["subject"][0]["digest"].update(sha256="0" * 64)
    ),
    "no seal": lambda root, key: (root / contents.SEAL).unlink(),
}


def _to_link(path: Path) -> None:
    shutil.move(path, path.parents[2] / "elsewhere")
    path.symlink_to(path.parents[2] / "elsewhere")


def _twice(root: Path) -> None:
    document = json.loads((root / contents.SEAL).read_bytes())
    document["dsseEnvelope"]["signatures"] *= 2
    (root / contents.SEAL).write_text(json.dumps(document))


@pytest.mark.parametrize("forge", RECIPE_FORGERIES.values(), ids=RECIPE_FORGERIES.keys())
def test_the_printed_recipe_refuses_a_forgery(genuine: Path, key: SigningKey, stranger: SigningKey, forge) -> None:
    forge(genuine, stranger)
    done = by_recipe(genuine, key.fingerprint)

    assert done.returncode != 0
    assert "GENUINE" not in done.stdout


def test_the_printed_recipe_refuses_a_statement_that_hides_a_failed_clause(genuine: Path, key: SigningKey) -> None:
    workshop.edit(genuine, contents.VERDICTS, lambda found: found["clauses"][0].update(verdict="FAILED"))
    workshop.reseal(genuine, key, change=lambda said: said["predicate"].update(failedTests=[]))

    assert by_recipe(genuine, key.fingerprint).returncode != 0


# --- writing -------------------------------------------------------------------------------------------------------


def test_a_dossier_never_takes_the_place_of_another(genuine: Path, key: SigningKey) -> None:
    before = bag.sha256_file(genuine / contents.SEAL)
    with pytest.raises(EvidenceError, match="exists already"):
        workshop.write(genuine, key)
    assert bag.sha256_file(genuine / contents.SEAL) == before


def test_what_cannot_be_sealed_leaves_nothing(tmp_path: Path, key: SigningKey) -> None:
    documents = workshop.run_documents()
    broken = {
        "a NaN": {"results": ({**documents.results[0], "value": float("nan")}, *documents.results[1:])},
        "no status": {"results": ({k: v for k, v in documents.results[0].items() if k != "status"},)},
        "a level that is none": {"run": {**documents.run, "level": "N9"}},
        "a time without offset": {"plan": {**documents.plan, "sealed_at": "2026-11-24T09:00:00"}},
    }
    for changes in broken.values():
        with pytest.raises(EvidenceError, match="cannot be sealed"):
            workshop.write(tmp_path / "evidence", key, dataclasses.replace(documents, **changes))
    for name in ("../x", "a/../../x", ".hidden", "a b", ""):
        with pytest.raises(EvidenceError, match="no place"):
            workshop.write(tmp_path / "evidence", key, attachments={name: b""})
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_is_written_again(tmp_path: Path, key: SigningKey) -> None:
    (tmp_path / "evidence.partial/data").mkdir(parents=True)
    (tmp_path / "evidence.partial/data/junk").write_text("half")
    made = workshop.write(tmp_path / "evidence", key)

    assert not (tmp_path / "evidence.partial").exists()
    assert verify(made, pinned=key.fingerprint, at=workshop.NOW).conclusion == "incomplete"  # it has no reports


def test_a_place_that_cannot_be_written_to_is_named(tmp_path: Path, key: SigningKey) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DestinationError, match="file"):
        workshop.write(tmp_path / "file" / "evidence", key)


# --- the command line ----------------------------------------------------------------------------------------------


def reversible(*argv: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "reversible", "evidence", *map(str, argv)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_the_command_says_verified_rejected_or_integrity_only(genuine: Path, key: SigningKey) -> None:
    verified = reversible("verify", genuine, "--key", key.fingerprint, "--lang", "fr")
    alone = reversible("verify", genuine, "--lang", "en")
    machine = reversible("verify", genuine, "--key", key.fingerprint, "--json")
    assert json_schemas.parsed("evidence-verify", machine.stdout)["conclusion"] == "verified"
    _one_digit(genuine)
    rejected = reversible("verify", genuine, "--key", key.fingerprint, "--lang", "en", "--json")

    assert (verified.returncode, alone.returncode, rejected.returncode) == (0, 3, 5), verified.stdout + verified.stderr
    assert verified.stdout.startswith("VÉRIFIÉ")
    assert alone.stdout.startswith("INTEGRITY ONLY")
    assert keys.in_groups(key.fingerprint)[:9] in alone.stdout
    report = json_schemas.parsed("evidence-verify", rejected.stdout)
    assert report["conclusion"] == "rejected"
    assert any(contents.RESULTS in step["detail"] for step in report["steps"] if step["outcome"] == "failed")


def test_the_command_shows_what_a_dossier_says_without_vouching_for_it(genuine: Path) -> None:
    shown = reversible("show", genuine, "--lang", "en")
    document = json_schemas.parsed("evidence-show", reversible("show", genuine, "--json").stdout)

    assert set(document) == set(json_schemas.schemas()["evidence-show"]["$defs"]["genuine"]["properties"])
    assert "Boutique Lumière" in shown.stdout
    assert "not verified" in shown.stdout
    assert document["verified"] is False
    assert document["run_id"] == "20261124T090200Z-abababab"


def test_a_dossier_cannot_call_itself_verified_nor_break_what_shows_it(genuine: Path, stranger: SigningKey) -> None:
    boast = {"verified": True, "dossier": "elsewhere", "exit_status": [0], "counts": "all"}
    workshop.reseal(genuine, stranger, change=lambda said: said["predicate"]["reversible"].update(boast))
    shown = reversible("show", genuine, "--lang", "en")
    document = json_schemas.parsed("evidence-show", reversible("show", genuine, "--json").stdout)

    assert (document["verified"], document["dossier"]) == (False, str(genuine))
    assert shown.returncode == 0, shown.stderr
    assert "not verified" in shown.stdout
    rejected = json_schemas.parsed("evidence-verify", reversible("verify", genuine, "--json").stdout)
    assert rejected["conclusion"] == "rejected"


@pytest.mark.parametrize("verb", ["verify", "show"])
def test_something_that_is_no_dossier_is_one_line(tmp_path: Path, verb: str) -> None:
    (tmp_path / "file").write_text("")
    for wrong in (tmp_path / "nowhere", tmp_path / "file"):
        done = reversible(verb, wrong)
        assert done.returncode == 5
        assert str(wrong) in done.stderr
        assert "Traceback" not in done.stderr
    assert reversible(verb, tmp_path).returncode == 5
    assert reversible("verify", tmp_path, "--key", "nonsense").returncode == 2
