"""Claimed or proved: can anybody make a dossier look older, younger or better dated than it is?"""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType

import pytest
import workshop

import json_schemas
import time_authority
from reversible.errors import DestinationError, EvidenceError
from reversible.evidence import contents, dossier, recipe, seal, strict_json
from reversible.evidence.authority import Authority
from reversible.evidence.keys import SigningKey
from reversible.evidence.verify import verify
from time_authority import Party, party

SEALED = datetime.now(UTC) - timedelta(minutes=10)  # the openssl authority has no other clock than this machine's


def written(root: Path, key: SigningKey, authority: Authority, at: datetime = SEALED) -> Path:
    return workshop.write(root, key, workshop.moved(at), at=at, authority=authority)


@pytest.fixture(scope="module")
def stamped(tmp_path_factory: pytest.TempPathFactory, key: SigningKey, parties: dict[str, Party]) -> Path:
    """A dossier with its token."""
    with time_authority.serving(lambda query: time_authority.reply(parties["tsa"], query)) as server:
        authority = Authority(server.url, (parties["root"].certificate,))
        root = written(tmp_path_factory.mktemp("stamped") / "evidence", key, authority)
        assert dossier.stamp(root, authority)
        assert not dossier.stamp(root, authority)
    assert len(server.asked) == 1
    return root


@pytest.fixture
def dated(stamped: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(stamped, tmp_path / "evidence"))


def step(found: object, name: str) -> tuple[str, str]:
    one = next(step for step in found.steps if step.id == name)
    return one.outcome.value, one.detail


def test_a_token_below_the_pinned_root_proves_the_time(
    stamped: Path, key: SigningKey, parties: dict[str, Party]
) -> None:
    found = verify(stamped, pinned=key.fingerprint, tsa=parties["root"].pem)

    assert found.exit_status == 3  # it holds no report, and that alone is open
    assert {one.id for one in found.steps if one.outcome != "passed"} == {"reports", "log", "expected"}
    assert found.time is not None
    assert found.time["status"] == "proved"
    assert abs(datetime.fromisoformat(found.time["at"]) - datetime.now(UTC)) < timedelta(minutes=5)
    assert step(found, "time")[1].startswith("proved")


def test_without_a_pinned_certificate_the_same_token_proves_nothing(stamped: Path, key: SigningKey) -> None:
    found = verify(stamped, pinned=key.fingerprint)

    assert found.time == {"status": "claimed", "at": SEALED.isoformat()}
    assert step(found, "time")[0] == "not-run"


def test_an_authority_that_was_away_is_asked_again_later(
    tmp_path: Path, key: SigningKey, parties: dict[str, Party]
) -> None:
    with time_authority.serving(lambda query: time_authority.reply(parties["tsa"], query)) as server:
        pass
    away = Authority(server.url, (parties["root"].certificate,))
    root = written(tmp_path / "evidence", key, away)
    with pytest.raises(DestinationError):
        dossier.stamp(root, away)
    waiting = verify(root, pinned=key.fingerprint, tsa=parties["root"].pem)

    assert waiting.time == {"status": "pending", "at": SEALED.isoformat()}
    assert waiting.conclusion == "incomplete"  # whoever asks for a proof is not content with a claim
    assert server.url in step(waiting, "time")[1]
    with time_authority.serving(lambda query: time_authority.reply(parties["tsa"], query)) as server:
        assert dossier.stamp(root, Authority(server.url, (parties["root"].certificate,)))
    later = verify(root, pinned=key.fingerprint, tsa=parties["root"].pem)
    assert later.time is not None
    assert later.time["status"] == "proved"


def test_an_authority_that_lies_is_refused_and_leaves_no_token(
    tmp_path: Path, key: SigningKey, parties: dict[str, Party]
) -> None:
    with time_authority.serving(lambda query: time_authority.reply(parties["rogue"], query)) as server:
        authority = Authority(server.url, (parties["root"].certificate,))
        root = written(tmp_path / "evidence", key, authority)
        before = (root / contents.SEAL).read_bytes()
        with pytest.raises(EvidenceError, match="no authority that you pinned"):
            dossier.stamp(root, authority)

    assert (root / contents.SEAL).read_bytes() == before


def put(root: Path, token: bytes | None) -> None:
    path = root / contents.SEAL
    path.write_bytes(dataclasses.replace(seal.read(path.read_bytes()), timestamp=token).to_bytes())


def signature(root: Path) -> bytes:
    return seal.read((root / contents.SEAL).read_bytes()).signature


def token(signer: Party, message: bytes) -> bytes:
    from reversible.evidence import timestamp

    return timestamp.granted(time_authority.reply(signer, timestamp.request(message, 7)))


def twice(root: Path) -> None:
    document = json.loads((root / contents.SEAL).read_bytes())
    stamps = document["verificationMaterial"]["timestampVerificationData"]["rfc3161Timestamps"]
    stamps.append(stamps[0])
    (root / contents.SEAL).write_bytes(strict_json.compact_bytes(document) + b"\n")


def of_web_server(root: Path, parties: dict[str, Party]) -> None:
    web = party(parties["root"].folder, "web", parties["root"], usage=(time_authority.SERVER_AUTH,))
    put(root, time_authority.token_of(web, time_authority.info_of(token(parties["tsa"], signature(root)))))


def of_expired(root: Path, parties: dict[str, Party]) -> None:
    old = party(parties["root"].folder, "old", parties["root"], end=datetime.now(UTC) - timedelta(days=1))
    put(root, token(old, signature(root)))


FORGERIES: dict[str, tuple[Callable[[Path, dict[str, Party]], object], str, str]] = {
    # name: (what is done, the step that must say no, what it must say)
    "a token about another statement": (
        lambda root, who: put(root, token(who["tsa"], b"another signature")), "time", "other bytes",
    ),
    "a token about the statement, not its signature": (
        lambda root, who: put(root, token(who["tsa"], seal.read((root / contents.SEAL).read_bytes()).payload)),
        "time", "other bytes",
    ),
    "a token of another authority": (
        lambda root, who: put(root, token(who["rogue"], signature(root))), "time", "no authority that you pinned",
    ),
    "a token of a certificate for web servers": (of_web_server, "time", "not for time stamping alone"),
    "a token of an expired certificate": (of_expired, "time", "was not valid on"),
    "a token that is none": (lambda root, who: put(root, b"\x30\x03\x02\x01\x00"), "time", "proves nothing"),
    "no bytes for a token": (lambda root, who: put(root, b""), "time", "cut short"),
    "two tokens": (lambda root, who: twice(root), "seal", "one way"),
}  # fmt: skip


@pytest.mark.parametrize(("forge", "wrong", "reason"), FORGERIES.values(), ids=FORGERIES.keys())
def test_a_forged_token_is_rejected_for_its_own_reason(
    dated: Path, key: SigningKey, parties: dict[str, Party], program: ModuleType, forge: Callable[..., object],
    wrong: str, reason: str,
) -> None:  # fmt: skip
    forge(dated, parties)
    found = verify(dated, pinned=key.fingerprint, tsa=parties["root"].pem)

    assert found.exit_status == 5
    assert step(found, wrong)[0] == "failed"
    assert reason in step(found, wrong)[1]
    pin = ("--tsa-certificate", str(parties["root"].pem))
    theirs = program.examine(dated, program.arguments([str(dated), "--key", key.fingerprint, *pin]))
    assert theirs["exit_status"] == 5
    assert reason in {one["id"]: one["detail"] for one in theirs["steps"] if one["outcome"] == "failed"}[wrong]


def test_verify_py_reads_the_same_time(
    stamped: Path, key: SigningKey, parties: dict[str, Party], program: ModuleType
) -> None:
    given = [str(stamped), "--key", key.fingerprint, "--tsa-certificate"]
    ours = verify(stamped, pinned=key.fingerprint, tsa=parties["root"].pem)
    proved = program.examine(stamped, program.arguments([*given, str(parties["root"].pem)]))
    other = program.examine(stamped, program.arguments([*given, str(parties["other"].pem)]))

    assert {one["id"]: one["detail"] for one in proved["steps"]}["time"] == step(ours, "time")[1]
    assert "no authority that you pinned" in {one["id"]: one["detail"] for one in other["steps"]}["time"]


def test_a_token_taken_away_is_missed(dated: Path, key: SigningKey, parties: dict[str, Party]) -> None:
    put(dated, None)
    found = verify(dated, pinned=key.fingerprint, tsa=parties["root"].pem)

    assert found.conclusion == "incomplete"
    assert "there is no token yet" in step(found, "time")[1]


def test_a_dossier_that_makes_itself_younger_than_its_token_is_rejected(
    tmp_path: Path, key: SigningKey, parties: dict[str, Party]
) -> None:
    """Sealed by an insider with a clock two hours ahead: the token gives the lie."""
    authority = Authority("http://tsa.test/", (parties["root"].certificate,))
    root = written(tmp_path / "evidence", key, authority, datetime.now(UTC) + timedelta(hours=2))
    put(root, token(parties["tsa"], signature(root)))
    found = verify(root, pinned=key.fingerprint, tsa=parties["root"].pem)

    assert found.exit_status == 5
    assert "its token is of" in step(found, "times")[1]


def test_the_command_line_stamps_and_says_claimed_pending_or_proved(
    tmp_path: Path, key: SigningKey, parties: dict[str, Party]
) -> None:
    root = written(tmp_path / "evidence", key, Authority("http://tsa.test/", (parties["root"].certificate,)))
    pin = ("--tsa-certificate", parties["root"].pem)

    def reversible(*argv: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "reversible", "evidence", *map(str, argv)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert "missing" in reversible("verify", root, "--lang", "en").stdout
    assert reversible("timestamp", root).returncode == 2
    assert reversible("timestamp", root, "--tsa", "http://127.0.0.1:9/", *pin).returncode == 6
    with time_authority.serving(lambda query: time_authority.reply(parties["tsa"], query)) as server:
        first = reversible("timestamp", root, "--tsa", server.url, *pin, "--lang", "fr")
        again = reversible("timestamp", root, "--tsa", server.url, *pin, "--lang", "en")
    assert (first.returncode, again.returncode) == (0, 0), first.stderr + again.stderr
    assert "ajouté" in first.stdout
    assert "already" in again.stdout
    said = reversible("verify", root, "--key", key.fingerprint, *pin, "--lang", "fr").stdout
    assert "PROUVÉE" in said
    document = json_schemas.parsed("evidence-verify", reversible("verify", root, *pin, "--json").stdout)
    assert document["time"]["status"] == "proved"


def test_the_token_is_one_that_openssl_verifies_over_the_signature(
    stamped: Path, tmp_path: Path, parties: dict[str, Party]
) -> None:
    found = seal.read((stamped / contents.SEAL).read_bytes())
    (tmp_path / "signature").write_bytes(found.signature)
    (tmp_path / "token").write_bytes(found.timestamp or b"")

    time_authority.run(
        "openssl", "ts", "-verify", "-in", tmp_path / "token", "-data", tmp_path / "signature",
        "-CAfile", parties["root"].pem,
    )  # fmt: skip


@pytest.mark.parametrize("name", [None, *FORGERIES])
def test_the_printed_recipe_proves_the_time_and_refuses_a_forged_token(
    dated: Path, key: SigningKey, parties: dict[str, Party], name: str | None
) -> None:
    if name is not None:
        FORGERIES[name][0](dated, parties)
    given = {**os.environ, "PINNED": key.fingerprint, "TSA": str(parties["root"].pem)}
    done = subprocess.run(
        ["bash"], input=recipe.COMMANDS, cwd=dated, env=given, capture_output=True, text=True, check=False, timeout=60
    )

    if name is None:
        assert done.returncode == 0, done.stderr
        assert "TIME PROVED" in done.stdout
    elif name != "two tokens":  # the second changes nothing of what the first proves
        assert done.returncode != 0
        assert "GENUINE" not in done.stdout
