"""How are the documents of a run put into a dossier, and taken out again?

A BagIt 1.0 bag, written in a directory beside and renamed: whole or not at all.

    bagit.txt  bag-info.txt  manifest-sha256.txt  tagmanifest-sha256.txt  VERIFY.txt  verify.py
    data/plan.json  inventory.json  results.jsonl  run.json  verdicts.json  clauses.yaml  clauses.json
    data/report/report.<lang>.html   data/bundle/*.txt   data/raw/*
    seal/evidence.sigstore.json      the signature over the tag manifest's digest, outside the manifests
    seal/signer.pub.pem              for convenience, never to be trusted
"""

import dataclasses
import hashlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from reversible.bundle import bag
from reversible.bundle.writer import disk_faults
from reversible.documents import RunDocuments
from reversible.errors import EvidenceError
from reversible.evidence import authority as authorities
from reversible.evidence import contents, integrity, judging, recipe, seal, snapshot, statement, strict_json
from reversible.evidence.authority import Authority
from reversible.evidence.examination import Examination
from reversible.evidence.keys import SigningKey
from reversible.evidence.seal import Seal


@dataclass(frozen=True, kw_only=True)
class Sealing:
    """What a statement quotes that is not in the run's documents.

    Args:
        previous: SHA-256 of the statement before this one.
        nonce: What an auditor asked to see.
        authority: Who will be asked for a time-stamp token; `stamp` asks. The statement names it, so that a dossier
            without its token says that one is missing.
    """

    previous: str | None = None
    nonce: str | None = None
    authority: Authority | None = None


def write(
    root: Path,
    documents: RunDocuments,
    *,
    reports: Mapping[str, bytes],
    bundle_manifests: Mapping[str, bytes],
    key: SigningKey,
    at: datetime,
    attachments: Mapping[str, bytes] | None = None,
    sealing: Sealing = Sealing(),
) -> Path:
    """Write and seal one dossier.

    Args:
        root: Where it will stand; must not exist yet.
        documents: What the run left behind.
        reports: "report.fr.html" -> bytes.
        bundle_manifests: The bundle's manifest-sha256.txt and tagmanifest-sha256.txt: which bytes were verified.
        key: Who seals.
        at: When, aware; nothing here reads a clock.
        attachments: Raw records, name -> bytes: kept below data/raw/.
        sealing: What else the statement quotes.

    Returns:
        `root`.

    Raises:
        EvidenceError: something stands there already, or a document is not what a dossier may hold.
        DestinationError: the disk refuses.
    """
    if root.exists() or root.is_symlink():
        raise EvidenceError(f"{root} exists already", hint="choose another directory, or move it away")
    payload = _payload(documents, reports, bundle_manifests, attachments or {})
    work = root.with_name(f"{root.name}.partial")
    with disk_faults(root.parent):
        if work.is_dir() and not work.is_symlink():
            shutil.rmtree(work)  # left by a killed run: it is cheaper to write again than to trust
        work.mkdir(parents=True)
        try:
            _write_bag(work, payload, at=at)
            said = statement.build(
                plan=documents.plan,
                run=documents.run,
                verdicts=documents.verdicts,
                digests={path: hashlib.sha256(content).hexdigest() for path, content in payload.items()},
                subject=bag.sha256_file(work / bag.TAG_MANIFEST),
                at=at,
                previous=sealing.previous,
                nonce=sealing.nonce,
                authority=None if sealing.authority is None else sealing.authority.to_json(),
            )
            (work / "seal").mkdir()
            (work / contents.SEAL).write_bytes(seal.sign(strict_json.compact_bytes(said), key).to_bytes())
            (work / contents.SIGNER).write_bytes(key.public.pem)
            _sync(work)
            work.replace(root)
        except BaseException:
            shutil.rmtree(work, ignore_errors=True)
            raise
    return root


def statement_of(root: Path) -> bytes:
    """The bytes of the statement that a dossier's seal holds; says nothing about who signed them.

    Raises:
        EvidenceError: there is no seal, or it is not one.
    """
    return _seal(root).payload


def stamp(root: Path, authority: Authority) -> bool:
    """Ask the authority when this dossier's signature exists, and keep its token beside the signature.

    Returns:
        Whether a token was added: False when there is one already.

    Raises:
        DestinationError: the authority is away, or the disk refuses. The dossier is untouched: ask again later.
        EvidenceError: there is no seal to stamp, or what the authority answered proves nothing.
    """
    path, found = root / contents.SEAL, _seal(root)
    if found.timestamp is not None:
        return False
    token = authorities.ask(authority, found.signature)
    draft = root.with_name(f"{root.name}.timestamp")  # beside: a file more inside would be a stray one
    with disk_faults(root.parent):
        draft.write_bytes(dataclasses.replace(found, timestamp=token).to_bytes())
        draft.replace(path)
    return True


def read(root: Path) -> RunDocuments:
    """The documents of a dossier whose files are what its manifests say. Says nothing about who sealed it.

    Raises:
        EvidenceError: there is no dossier, or a file of it is altered, missing or of another shape.
    """
    exam = Examination(files=snapshot.take(root, keep=lambda path: not path.startswith(contents.RAW)))
    try:
        for look in (integrity.layout, integrity.manifests, integrity.digests, integrity.names):
            look(exam)
        return contents.parse(exam.files.contents)
    except ValueError as error:
        raise EvidenceError(f"{root}: {error}", hint="ask its sender for the dossier again") from error


def as_written(documents: RunDocuments) -> RunDocuments:
    """The documents as a reader of the dossier will have them: keys in their order, tuples as lists.

    Reports are rendered from these: from the run's own objects they could differ from what `verify` renders again.

    Raises:
        EvidenceError: they cannot be put into a dossier.
    """
    try:
        return contents.parse(contents.to_bytes(documents))
    except ValueError as error:
        raise EvidenceError(f"this run cannot be sealed: {error}") from error


def _seal(root: Path) -> Seal:
    path = root / contents.SEAL
    try:
        return seal.read(path.read_bytes())
    except (OSError, ValueError) as error:
        raise EvidenceError(f"{path}: {error}", hint=f"ls -l {root}") from error


# --- writing ----------------------------------------------------------------------------------------------------


def _payload(
    documents: RunDocuments,
    reports: Mapping[str, bytes],
    manifests: Mapping[str, bytes],
    attachments: Mapping[str, bytes],
) -> dict[str, bytes]:
    as_written(documents)  # what we could not read back we do not seal
    payload = {
        **contents.to_bytes(documents),
        contents.CLAUSES: judging.of(documents.catalogue),
        **{f"data/report/{name}": content for name, content in reports.items()},
        **{f"data/bundle/{name}": content for name, content in manifests.items()},
        **{f"{contents.RAW}{name}": content for name, content in attachments.items()},
    }
    for path in payload:
        if not bag.is_safe(path) or not contents.expected(path):
            raise EvidenceError(
                f"{path} has no place in a dossier", hint="use letters, digits, '.', '_' and '-' in names"
            )
    return payload


def _write_bag(work: Path, payload: Mapping[str, bytes], *, at: datetime) -> None:
    for path, content in payload.items():
        target = work / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    (work / recipe.NAME).write_text(recipe.TEXT, encoding="utf-8")
    (work / recipe.PROGRAM).write_bytes(recipe.program())
    info = {
        "Bag-Software-Agent": f"reversible {statement.FORMAT}",
        "Bagging-Date": at.date().isoformat(),
        "Payload-Oxum": f"{sum(map(len, payload.values()))}.{len(payload)}",
    }
    digests = {path: hashlib.sha256(content).hexdigest() for path, content in payload.items()}
    bag.write_tags(work, digests, info, more=(recipe.NAME, recipe.PROGRAM))


def _sync(work: Path) -> None:
    """Down to the disk before the rename, or a power cut could leave a whole name on half a dossier."""
    for path, _ in bag.walk(work):
        with (work / path).open("rb") as file:
            os.fsync(file.fileno())
