"""Do the two verifiers agree? verify.py was written apart from the toolkit, and reads the same dossiers."""

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import test_insider
import test_mutations
import test_outsider
import workshop

from reversible.evidence import contents, keys, recipe
from reversible.evidence.keys import SigningKey
from reversible.evidence.verify import Verification, verify

CORPUS = {
    **{f"outsider: {name}": (*one, False) for name, one in test_outsider.FORGERIES.items()},
    **{f"insider: {name}": (*one, True) for name, one in test_insider.FORGERIES.items()},
}
NOT_LOOKED_AT = {"reports"}  # verify.py has no renderer: it says "not run", and so never "verified"


def taken(program: ModuleType, root: Path, *options: str) -> dict[str, Any]:
    at = workshop.NOW.isoformat()
    found: dict[str, Any] = program.examine(root, program.arguments([str(root), "--at", at, *options]))
    return found


def outcomes(found: Verification) -> dict[str, str]:
    return {step.id: step.outcome.value for step in found.steps}


def agree(ours: Verification, theirs: dict[str, Any]) -> None:
    mine, other = outcomes(ours), {step["id"]: step["outcome"] for step in theirs["steps"]}
    assert list(mine) == list(other)
    differ = {
        name: (mine[name], other[name]) for name in mine if mine[name] != other[name] and name not in NOT_LOOKED_AT
    }
    assert differ == {}, (differ, theirs["steps"], ours.steps)
    rejected = {name for name, outcome in mine.items() if outcome == "failed"}
    assert theirs["exit_status"] == (5 if rejected - NOT_LOOKED_AT else 3)


def test_a_genuine_dossier_is_verified_on_its_data_alone(program: ModuleType, genuine: Path, key: SigningKey) -> None:
    with_reports = taken(program, genuine, "--key", key.fingerprint)
    data_alone = taken(program, genuine, "--key", key.fingerprint, "--without-reports")

    assert (with_reports["conclusion"], with_reports["exit_status"]) == ("incomplete", 3)
    assert (data_alone["conclusion"], data_alone["exit_status"]) == ("verified", 0)
    agree(verify(genuine, pinned=key.fingerprint, at=workshop.NOW), with_reports)


def test_without_a_key_it_is_integrity_only(program: ModuleType, genuine: Path) -> None:
    found = taken(program, genuine, "--without-reports")

    assert (found["conclusion"], found["exit_status"]) == ("integrity-only", 3)


@pytest.mark.parametrize(("forge", "step", "reason", "inside"), CORPUS.values(), ids=CORPUS.keys())
def test_both_verifiers_reject_a_forgery_for_the_same_reason(
    program: ModuleType, genuine: Path, key: SigningKey, stranger: SigningKey, forge: Callable[..., object], step: str,
    reason: str, inside: bool,
) -> None:  # fmt: skip
    forge(genuine, key if inside else stranger)
    theirs = taken(program, genuine, "--key", key.fingerprint)
    agree(verify(genuine, pinned=key.fingerprint, at=workshop.NOW), theirs)
    said = {one["id"]: one for one in theirs["steps"]}[step]

    if step in NOT_LOOKED_AT:
        assert (said["outcome"], theirs["exit_status"]) == ("not-run", 3)
    else:
        assert (said["outcome"], theirs["exit_status"]) == ("failed", 5)
        assert reason in said["detail"], said


def test_a_verify_py_that_says_yes_to_all_is_told_by_both(program: ModuleType, genuine: Path, key: SigningKey) -> None:
    """Why nobody runs the file that came with a dossier."""
    (genuine / recipe.PROGRAM).write_text("print('VERIFIED')\n")
    workshop.reseal(genuine, key)
    theirs = taken(program, genuine, "--key", key.fingerprint)
    ours = verify(genuine, pinned=key.fingerprint, at=workshop.NOW)

    agree(ours, theirs)
    for details in (
        {step.id: step.detail for step in ours.steps},
        {one["id"]: one["detail"] for one in theirs["steps"]},
    ):
        assert "do not run it" in details["instructions"]


def test_a_clauses_json_eased_by_an_insider_is_told_by_both(
    program: ModuleType, genuine: Path, key: SigningKey
) -> None:
    def ease(document: dict[str, Any]) -> None:
        document["clauses"][0]["severity"] = "minor"

    workshop.edit(genuine, contents.CLAUSES, ease)
    workshop.reseal(genuine, key)
    theirs = taken(program, genuine, "--key", key.fingerprint)
    ours = verify(genuine, pinned=key.fingerprint, at=workshop.NOW)

    agree(ours, theirs)
    assert {step.id: step.detail for step in ours.steps}["catalogue"] == next(
        one["detail"] for one in theirs["steps"] if one["id"] == "catalogue"
    )


MUTATIONS = 300  # of which every one is written to disk, as verify.py reads it


def told(verdicts: Path) -> Any:
    """What verdicts.json says, without the sentences that explain it."""
    document = json.loads(verdicts.read_bytes())
    for clause in document["clauses"]:
        clause.pop("reasons")
        for answer in clause["answers"]:
            for word in ("reason", "unit", "places"):
                answer.pop(word)
    return document


@pytest.mark.slow
def test_the_verifiers_agree_on_mutations(program: ModuleType, genuine: Path, key: SigningKey, tmp_path: Path) -> None:
    """Half of them sealed anew by the owner of the key, so that the parsers and the judges see them."""
    dice, paths = random.Random(20261127), sorted(path for path in genuine.rglob("*") if path.is_file())
    work = tmp_path / "work"
    shutil.copytree(genuine, work)
    genuine_seals = {
        path: (genuine / path).read_bytes() for path in (contents.SEAL, "manifest-sha256.txt", "tagmanifest-sha256.txt")
    }
    for number in range(MUTATIONS):
        path = dice.choice(paths)
        relative = path.relative_to(genuine)
        content = test_mutations.mutate(path.read_bytes(), dice)
        if content == path.read_bytes():
            continue
        (work / relative).write_bytes(content)
        by_owner = False
        if number % 2 and relative.parts[0] == "data":
            try:
                workshop.reseal(work, key)
                by_owner = True
            except (ValueError, TypeError, KeyError, AttributeError):  # what cannot be sealed stays an outsider's
                workshop.remanifest(work)
        theirs = taken(program, work, "--key", key.fingerprint)
        ours = verify(work, pinned=key.fingerprint, at=workshop.NOW)
        mine = {name for name, outcome in outcomes(ours).items() if outcome == "failed"}
        other = {one["id"] for one in theirs["steps"] if one["outcome"] == "failed"}
        sentences = relative.name == "verdicts.json" and mine == {"reports", "verdicts"} and not other
        if sentences:  # verify.py judges again, and does not write again what explains a verdict
            assert told(work / relative) == told(path), relative
        if sentences or mine <= NOT_LOOKED_AT:  # made up by the owner of the key: the report alone tells, or nothing
            assert by_owner, (relative, mine, other)
            assert mine or relative.parts[1] == "raw", relative
            assert theirs["exit_status"] == 3, (relative, other)
        else:
            assert (ours.exit_status, theirs["exit_status"]) == (5, 5), (relative, mine, other)
        (work / relative).write_bytes(path.read_bytes())
        for name, kept in genuine_seals.items():
            (work / name).write_bytes(kept)


def test_the_file_runs_by_itself_with_nothing_but_cryptography(genuine: Path, key: SigningKey, tmp_path: Path) -> None:
    (tmp_path / recipe.PROGRAM).write_bytes(recipe.program())
    check = (
        "import sys; sys.modules['reversible'] = None; import runpy; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    argv = [str(tmp_path / recipe.PROGRAM), str(genuine), "--key", keys.in_groups(key.fingerprint), "--without-reports"]
    code = f"import sys; sys.argv = {argv!r}; {check}"
    options = {"capture_output": True, "text": True, "check": False, "timeout": 60}
    done = subprocess.run(
        [
            sys.executable,
            "-I",
            "-c",
            code,
        ],
        cwd=tmp_path,
        **options,
    )
    as_json = subprocess.run([sys.executable, *argv, "--json"], cwd=tmp_path, **options)

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("VERIFIED (the data; no report was looked at)")
    assert json.loads(as_json.stdout)["conclusion"] == "verified"


def test_the_tool_prints_the_file_that_travels(genuine: Path) -> None:
    argv = [sys.executable, "-m", "reversible", "evidence", "verifier"]
    printed = subprocess.run(argv, capture_output=True, check=True, timeout=60)

    assert printed.stdout == (genuine / recipe.PROGRAM).read_bytes()
    assert b"@" + b"TOOL@" not in printed.stdout
    assert len(printed.stdout.splitlines()) < 1_300  # an hour's reading
