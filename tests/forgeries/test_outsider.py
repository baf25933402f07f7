"""Can somebody without the signing key change, replace or replay anything unseen?"""

import base64
import json
import os
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import workshop
from cryptography.hazmat.primitives.asymmetric import utils

from reversible.bundle import bag
from reversible.evidence import contents, recipe, seal, strict_json
from reversible.evidence.keys import SigningKey
from reversible.evidence.verify import Expected, verify

Forge = Callable[[Path, SigningKey], object]


def flip(root: Path, path: str, at: int = 100) -> None:
    content = bytearray((root / path).read_bytes())
    content[at % len(content)] ^= 1
    (root / path).write_bytes(content)


def one_digit(root: Path) -> None:
    """The number of missing rows becomes another one."""
    workshop.edit(root, contents.RESULTS, lambda lines: _line(lines, "data.rows_missing").update(value=1))


def _line(lines: list[dict[str, Any]], metric: str) -> dict[str, Any]:
    return next(line for line in lines if line["metric"] == metric)


def in_seal(root: Path, change: Callable[[dict[str, Any]], object]) -> None:
    document = json.loads((root / contents.SEAL).read_bytes())
    change(document)
    (root / contents.SEAL).write_bytes(strict_json.compact_bytes(document) + b"\n")


def high_s(document: dict[str, Any]) -> None:
    signature = document["dsseEnvelope"]["signatures"][0]
    r, s = utils.decode_dss_signature(base64.b64decode(signature["sig"]))
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    signature["sig"] = base64.b64encode(utils.encode_dss_signature(r, order - s)).decode()


def payload(root: Path, change: Callable[[bytes], bytes]) -> None:
    """Change the signed bytes, keep the signature."""
    found = seal.read((root / contents.SEAL).read_bytes())
    (root / contents.SEAL).write_bytes(seal.Seal(change(found.payload), found.signature, found.hint).to_bytes())


def twice_listed(root: Path) -> None:
    lines = (root / bag.MANIFEST).read_text().splitlines(keepends=True)
    (root / bag.MANIFEST).write_text("".join([*lines, lines[0]]))


def weaker_manifest(root: Path) -> None:
    (root / "manifest-md5.txt").write_text("d41d8cd98f00b204e9800998ecf8427e  data/plan.json\n")


def linked(root: Path) -> None:
    target = shutil.move(root / contents.RUN, root.parent / "elsewhere.json")
    (root / contents.RUN).symlink_to(target)


def folder_linked(root: Path) -> None:
    target = shutil.move(root / "data/report", root.parent / "reports")
    (root / "data/report").symlink_to(target)


def renamed(root: Path, old: str, new: str) -> None:
    (root / old).rename(root / new)


def line_added(path: Path, line: str) -> None:
    path.write_text(path.read_text() + line)


def backwards(path: Path) -> None:
    path.write_text("".join(reversed(path.read_text().splitlines(keepends=True))))


def replaced(path: Path, old: bytes, new: bytes) -> None:
    path.write_bytes(path.read_bytes().replace(old, new, 1))


FORGERIES: dict[str, tuple[Forge, str, str]] = {
    # name: (what is done, the step that must say no, what it must say)
    "a byte flipped in the plan": (lambda root, _: flip(root, contents.PLAN), "digests", "data/plan.json"),
    "a byte flipped in the results": (lambda root, _: flip(root, contents.RESULTS), "digests", "results.jsonl"),
    "a byte flipped in the verdicts": (lambda root, _: flip(root, contents.VERDICTS), "digests", "verdicts.json"),
    "a byte flipped in a report": (lambda root, _: flip(root, "data/report/report.fr.html"), "digests", "report.fr"),
    "a byte flipped in a raw record": (lambda root, _: flip(root, "data/raw/fence.jsonl", 3), "digests", "fence.jsonl"),
    "a byte flipped in VERIFY.txt": (lambda root, _: flip(root, recipe.NAME), "digests", "VERIFY.txt"),
    "one digit of a result": (lambda root, _: one_digit(root), "digests", "results.jsonl"),
    "one digit, manifests anew": (
        lambda root, _: (one_digit(root), workshop.remanifest(root)), "subject", "other files than these",
    ),
    "one digit, all anew under another key": (
        lambda root, own: (one_digit(root), workshop.rejudge(root), workshop.reseal(root, own)), "key", "not by",
    ),
    "one digit, another key, the owner's key file kept": (
        lambda root, own: (keep := (root / contents.SIGNER).read_bytes(), one_digit(root), workshop.reseal(root, own),
                           (root / contents.SIGNER).write_bytes(keep)), "key", "the seal names the key",
    ),
    "one digit, another key under the owner's name": (
        lambda root, own: (hint := _hint(root), keep := (root / contents.SIGNER).read_bytes(), one_digit(root),
                           workshop.reseal(root, own), (root / contents.SIGNER).write_bytes(keep),
                           in_seal(root, lambda found: found["verificationMaterial"]["publicKey"].update(hint=hint))),
        "signature", "does not hold",
    ),
    "a report cut short": (
        lambda root, _: (root / "data/report/report.en.html").write_bytes(b"<html>"), "digests", "report.en",
    ),
    "a file deleted": (lambda root, _: (root / "data/raw/fence.jsonl").unlink(), "names", "is missing"),
    "a file deleted, manifests anew": (
        lambda root, _: ((root / "data/raw/fence.jsonl").unlink(), workshop.remanifest(root)), "subject", "other files",
    ),
    "the results deleted": (lambda root, _: (root / contents.RESULTS).unlink(), "names", "results.jsonl is missing"),
    "a manifest deleted": (lambda root, _: (root / bag.MANIFEST).unlink(), "manifests", "is missing"),
    "the tag manifest deleted": (lambda root, _: (root / bag.TAG_MANIFEST).unlink(), "manifests", "is missing"),
    "the seal deleted": (lambda root, _: (root / contents.SEAL).unlink(), "seal", "is missing"),
    "a file added": (lambda root, _: (root / "data/raw/more.json").write_text("{}"), "names", "in no manifest"),
    "a file added, manifests anew": (
        lambda root, _: ((root / "data/raw/more.json").write_text("{}"), workshop.remanifest(root)), "subject", "other",
    ),
    "a file added beside the seal": (lambda root, _: (root / "seal/x.json").write_text("{}"), "names", "no manifest"),
    "a file added at the top": (lambda root, _: (root / "README").write_text("trust me"), "names", "in no manifest"),
    "a hidden file": (lambda root, _: (root / ".gitattributes").write_text("* -text"), "layout", "plain name"),
    "an empty directory": (lambda root, _: (root / "data/empty").mkdir(), "layout", "empty directory"),
    "two reports swapped": (
        lambda root, _: (renamed(root, "data/report/report.fr.html", "data/x"),
                         renamed(root, "data/report/report.en.html", "data/report/report.fr.html"),
                         renamed(root, "data/x", "data/report/report.en.html")), "digests", "report.en.html",
    ),
    "a weaker second manifest": (lambda root, _: weaker_manifest(root), "names", "manifest-md5.txt is in no manifest"),
    "a line twice in the manifest": (lambda root, _: twice_listed(root), "manifests", "listed twice"),
    "a manifest that leads outside": (
        lambda root, _: line_added(root / bag.MANIFEST, f"{'0' * 64}  data/../../etc/passwd\n"),
        "manifests", "a plain path",
    ),
    "a manifest that leads to the root": (
        lambda root, _: line_added(root / bag.MANIFEST, f"{'0' * 64}  /etc/passwd\n"), "manifests", "a plain path",
    ),
    "a manifest in another order": (
        lambda root, _: backwards(root / bag.MANIFEST), "manifests", "one way",
    ),
    "a byte order mark before a manifest": (
        lambda root, _: (root / bag.MANIFEST).write_bytes(b"\xef\xbb\xbf" + (root / bag.MANIFEST).read_bytes()),
        "manifests", "line 1",
    ),
    "another declaration": (
        lambda root, _: (root / "bagit.txt").write_text("BagIt-Version: 0.97\n"), "manifests", "BagIt 1.0",
    ),
    "a link for a file": (lambda root, _: linked(root), "layout", "data/run.json is not a regular file"),
    "a link for a directory": (lambda root, _: folder_linked(root), "layout", "data/report is not a regular file"),
    "a pipe for a file": (
        lambda root, _: ((root / contents.RUN).unlink(), os.mkfifo(root / contents.RUN)),
        "layout", "not a regular file",
    ),
    "a second name for a file": (
        lambda root, _: os.link(root / contents.RUN, root.parent / "run.json"), "layout", "hard link",
    ),
    "no signature": (
        lambda root, _: in_seal(root, lambda found: found["dsseEnvelope"].update(signatures=[])),
        "seal", "0 signatures",
    ),
    "a second signature": (
        lambda root, _: in_seal(root, lambda found: found["dsseEnvelope"]["signatures"].append({"sig": "AAAA"})),
        "seal", "2 signatures",
    ),
    "another payload type": (
        lambda root, _: in_seal(root, lambda found: found["dsseEnvelope"].update(payloadType="text/plain")),
        "seal", "text/plain",
    ),
    "algorithm none": (
        lambda root, _: in_seal(root, lambda found: found["dsseEnvelope"]["signatures"][0].update(alg="none")),
        "seal", "one way",
    ),
    "the other form of the signature": (lambda root, _: in_seal(root, high_s), "signature", "does not hold"),
    "a key twice in the seal": (
        lambda root, _: replaced(root / contents.SEAL, b"{", b'{"mediaType":"x",'),
        "seal", "twice",
    ),
    "a space in the seal": (
        lambda root, _: replaced(root / contents.SEAL, b":", b": "),
        "seal", "one way",
    ),
    "the verdict in the statement": (
        lambda root, _: payload(root, lambda content: content.replace(b'"result":"FAILED"', b'"result":"PASSED"')),
        "signature", "does not hold",
    ),
    "the organisation in the statement": (
        lambda root, _: payload(root, lambda content: content.replace(b"Boutique", b"Banque__")),
        "signature", "does not hold",
    ),
    "another statement type": (
        lambda root, _: payload(root, lambda content: content.replace(b"Statement/v1", b"Statement/v0")),
        "seal", "Statement",
    ),
    "another predicate type": (
        lambda root, _: payload(root, lambda content: content.replace(b"test-result/v0.1", b"test-result/v0.2")),
        "seal", "predicate",
    ),
    "the enclosed key exchanged": (
        lambda root, own: (root / contents.SIGNER).write_bytes(own.public.pem), "key", "the seal names the key",
    ),
    "a second key in the key file": (
        lambda root, own: (root / contents.SIGNER).write_bytes((root / contents.SIGNER).read_bytes() + own.public.pem),
        "key", "more than one key",
    ),
    "the key file deleted": (lambda root, _: (root / contents.SIGNER).unlink(), "key", "is missing"),
}  # fmt: skip


def _hint(root: Path) -> str:
    return seal.read((root / contents.SEAL).read_bytes()).hint


@pytest.mark.parametrize(("forge", "step", "reason"), FORGERIES.values(), ids=FORGERIES.keys())
def test_a_forgery_without_the_key_is_rejected_for_its_own_reason(
    genuine: Path, key: SigningKey, stranger: SigningKey, forge: Forge, step: str, reason: str
) -> None:
    forge(genuine, stranger)
    found = verify(genuine, pinned=key.fingerprint, at=workshop.NOW)
    failed = {one.id: one.detail for one in found.steps if one.outcome == "failed"}

    assert found.exit_status == 5
    assert step in failed, failed
    assert reason in failed[step]


def test_the_seal_of_another_run_does_not_fit(genuine: Path, tmp_path: Path, key: SigningKey) -> None:
    other = workshop.write(tmp_path / "other", key, nonce="another run")
    shutil.copy(other / contents.SEAL, genuine / contents.SEAL)
    found = verify(genuine, pinned=key.fingerprint, at=workshop.NOW)

    assert found.exit_status == 5
    assert "other files than these" in {step.id: step.detail for step in found.steps}["subject"]


def test_an_old_run_shown_again_is_what_a_nonce_and_an_age_are_for(genuine: Path, key: SigningKey) -> None:
    year = workshop.NOW + timedelta(days=365)

    assert verify(genuine, pinned=key.fingerprint, at=year).exit_status == 0
    for asked in (Expected(max_age_days=90), Expected(nonce="drawn this morning")):
        assert verify(genuine, pinned=key.fingerprint, expected=asked, at=year).exit_status == 5


@pytest.mark.parametrize("forge", [one[0] for one in FORGERIES.values()], ids=FORGERIES.keys())
def test_no_forgery_is_verified_when_no_key_is_pinned(genuine: Path, stranger: SigningKey, forge: Forge) -> None:
    forge(genuine, stranger)

    assert verify(genuine, pinned=None, at=workshop.NOW).exit_status in (3, 5)
