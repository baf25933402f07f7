"""Can a countersignature be forged, moved to another dossier, or given by the one who sealed?"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import workshop

import json_schemas
from reversible.errors import EvidenceError
from reversible.evidence import contents, keys, receipt, seal, strict_json
from reversible.evidence.keys import Pinned, SigningKey
from reversible.evidence.verify import verify

AT = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def signed(root: Path, key: SigningKey, auditor: SigningKey, **more: Any) -> bytes:
    found = verify(root, pinned=key.fingerprint, at=workshop.NOW)
    return receipt.write(root, found, by="Audit SA", key=auditor, at=AT, **more)


def of(auditor: SigningKey) -> Pinned:
    return Pinned(auditor.fingerprint, auditor.public)


def test_an_auditor_signs_what_was_found_and_what_was_not_looked_at(
    genuine: Path, key: SigningKey, stranger: SigningKey
) -> None:
    content = signed(genuine, key, stranger)
    found = receipt.read(content, genuine, of(stranger))
    predicate = json.loads(seal.read(content).payload)["predicate"]

    assert (found.by, found.conclusion, found.at) == ("Audit SA", "verified", AT)
    assert found.not_run == ("time", "log", "expected")
    assert "REVERSIBLE_VERDICTS" in predicate["properties"]
    assert "REVERSIBLE_TIME" not in predicate["properties"]


def test_nobody_countersigns_a_rejected_dossier_an_unknown_one_or_their_own(
    genuine: Path, key: SigningKey, stranger: SigningKey
) -> None:
    with pytest.raises(EvidenceError, match="does not countersign"):
        signed(genuine, key, key)
    with pytest.raises(EvidenceError, match="nothing to countersign"):
        receipt.write(genuine, verify(genuine, pinned=None, at=workshop.NOW), by="A", key=stranger, at=AT)
    (genuine / contents.RUN).write_bytes(b"{}")
    with pytest.raises(EvidenceError, match="nothing to countersign"):
        signed(genuine, key, stranger)


def moved(content: bytes, root: Path, key: SigningKey, auditor: SigningKey) -> bytes:
    """The dossier is sealed anew, with another measurement: the auditor never saw that one."""
    workshop.edit(root, contents.RESULTS, lambda lines: lines[0].update(seen="other words"))
    workshop.rejudge(root)
    workshop.reseal(root, key)
    return content


def by_stranger(content: bytes, root: Path, key: SigningKey, auditor: SigningKey) -> bytes:
    return seal.sign(seal.read(content).payload, key).to_bytes()


def edited(content: bytes, root: Path, key: SigningKey, auditor: SigningKey) -> bytes:
    found = seal.read(content)
    return seal.Seal(found.payload.replace(b"Audit SA", b"Audit XX"), found.signature, found.hint).to_bytes()


def as_a_statement(content: bytes, root: Path, key: SigningKey, auditor: SigningKey) -> bytes:
    """The auditor's own dossier is no receipt, though the auditor signed it."""
    said = json.loads(seal.read(content).payload)
    said["predicateType"] = "https://in-toto.io/attestation/test-result/v0.1"
    return seal.sign(strict_json.compact_bytes(said), auditor).to_bytes()


FORGERIES: dict[str, tuple[Callable[..., bytes], str]] = {
    "a receipt for a dossier that was sealed anew": (moved, "about another dossier"),
    "a receipt by another key": (by_stranger, "not signed by"),
    "another name": (edited, "not signed by"),
    "another kind of statement": (as_a_statement, "no receipt"),
    "no receipt at all": (lambda *_: b"{}", "not a Sigstore bundle"),
}


@pytest.mark.parametrize(("forge", "reason"), FORGERIES.values(), ids=FORGERIES.keys())
def test_a_forged_receipt_is_refused_for_its_own_reason(
    genuine: Path, key: SigningKey, stranger: SigningKey, forge: Callable[..., bytes], reason: str
) -> None:
    content = forge(signed(genuine, key, stranger), genuine, key, stranger)

    with pytest.raises(EvidenceError, match=reason):
        receipt.read(content, genuine, of(stranger))


def test_answers_are_compared_one_by_one() -> None:
    def line(metric: str, asset: str | None, value: object) -> dict[str, Any]:
        return {"metric": metric, "asset": asset, "value": value}

    sealed = [
        line("a.same", "t", 1), line("a.float", "t", 1.0), line("a.off", "t", 0), line("a.kind", "t", True),
        line("a.gone", "t", 1), line("a.gone", "u", 1), line("a.not_here", "t", 1), line("a.run", None, 1),
    ]  # fmt: skip
    here = [
        line("a.same", "t", 1), line("a.float", "t", 1.0 + 1e-12), line("a.off", "t", 7), line("a.kind", "t", 1),
        line("a.gone", "u", 1), line("a.same", "v", 1),
    ]  # fmt: skip

    assert receipt.compare(sealed, here) == {
        "same": 3,
        "differing": [
            {"metric": "a.kind", "asset": "t", "sealed": True, "here": 1},
            {"metric": "a.off", "asset": "t", "sealed": 0, "here": 7},
        ],
        "missing": [{"metric": "a.gone", "asset": "t"}],
        "more": [{"metric": "a.same", "asset": "v"}],
        "not_here": ["a.not_here"],
    }


@pytest.mark.slow
def test_a_second_party_replays_the_bundle_and_signs_what_it_got(run_1: Path, tmp_path: Path) -> None:
    """The dossier of a real run; then the same bundle, with one answer that the dossier made up."""
    own = {**os.environ, "REVERSIBLE_KEY": str(tmp_path / "auditor" / "key.pem")}
    (tmp_path / "auditor").mkdir(mode=0o700)
    signer = keys.load_or_create(run_1.parent / "keys" / "key.pem")

    def reversible(*argv: object, status: int = 0) -> str:
        command = [sys.executable, "-m", "reversible", *map(str, argv)]
        done = subprocess.run(command, cwd=tmp_path, env=own, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout

    honest = shutil.copytree(run_1 / "evidence", tmp_path / "honest")
    invented = shutil.copytree(run_1 / "evidence", tmp_path / "invented")
    workshop.edit(
        invented,
        contents.RESULTS,
        lambda lines: next(one for one in lines if one["metric"] == "data.rows_missing").update(value=1),
    )
    workshop.rejudge(invented)
    workshop.reseal(invented, signer, at=datetime.now(UTC))
    shutil.rmtree(invented / "data/report")  # an insider would render it again
    workshop.reseal(invented, signer, at=datetime.now(UTC))

    given = ("--key", signer.fingerprint, "--by", "Audit SA", "--json")
    said = json_schemas.parsed(
        "replay", reversible("replay", run_1 / "bundle", "--evidence", honest, *given, "--into", "a.json")
    )
    other = json_schemas.parsed(
        "replay", reversible("replay", run_1 / "bundle", "--evidence", invented, *given, "--into", "b.json", status=1)
    )
    auditor = keys.load_or_create(tmp_path / "auditor" / "key.pem").fingerprint
    assert said["replay"]["same"] > 0
    assert said["replay"]["differing"] == said["replay"]["missing"] == []
    assert [one["metric"] for one in other["replay"]["differing"]] == ["data.rows_missing"]
    read = reversible("evidence", "receipt", "a.json", honest, "--key", auditor, "--lang", "en")
    assert "Audit SA" in read
    reversible("evidence", "receipt", "a.json", invented, "--key", auditor, status=5)
    countersigned = (
        "evidence",
        "countersign",
        honest,
        "--key",
        signer.fingerprint,
        "--by",
        "Audit SA",
        "--into",
        "c.json",
    )
    reversible(*countersigned)
    reversible("evidence", "receipt", "c.json", honest, "--key", auditor)
