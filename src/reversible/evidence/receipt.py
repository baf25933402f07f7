"""Who else looked, and what did they find?

A countersignature: somebody with a key of their own checked the dossier, or ran the verifiers on the same bundle again,
and signs what they found. An in-toto Statement over the same tag manifest, with the standard predicate svr/v0.1 (simple
verification result) and one object of ours. It lies beside the dossier: what is sealed is not touched.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from reversible.bundle import bag
from reversible.bundle.writer import disk_faults
from reversible.errors import EvidenceError, UsageError
from reversible.evidence import contents, dossier, seal, strict_json
from reversible.evidence.examination import Outcome
from reversible.evidence.keys import Pinned, PublicKey, SigningKey, hint_fingerprint
from reversible.evidence.statement import STATEMENT_TYPE
from reversible.evidence.verify import Verification

PREDICATE_TYPE = "https://in-toto.io/attestation/svr/v0.1"
VERIFIER = "https://pypi.org/project/reversible-toolkit"  # SVR: a URI; no more than a name
FORMAT = "reversible-receipt/1"
LIMIT = 1 << 22  # bytes of a receipt


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """A receipt whose signature holds under the key that the reader pinned, about the dossier that they hold."""

    by: str
    fingerprint: str
    conclusion: str
    at: datetime
    not_run: tuple[str, ...]
    replay: Mapping[str, Any] | None


def write(
    root: Path,
    found: Verification,
    *,
    by: str,
    key: SigningKey,
    at: datetime,
    replay: Mapping[str, Any] | None = None,
) -> bytes:
    """A receipt for a dossier that was examined.

    Args:
        root: The dossier.
        found: What its examination, under a pinned key, said.
        by: Who countersigns, in words.
        key: Their key: never the one that sealed.
        at: When, aware.
        replay: What `compare` said of the verifiers' answers on the same bundle.

    Raises:
        EvidenceError: the dossier was not examined under a pinned key, or was rejected, or its own key countersigns.
    """
    if found.pinned is None or found.exit_status == 5:
        raise EvidenceError(
            f"{root}: {found.conclusion.value}: there is nothing to countersign",
            hint=f"reversible evidence verify {root} --key FINGERPRINT",
        )
    if key.fingerprint == found.sealed_by:
        raise EvidenceError(
            f"{root}: the key that sealed it does not countersign it", hint="export REVERSIBLE_KEY=/a/key/of/yours.pem"
        )
    passed = [step.id for step in found.steps if step.outcome is Outcome.PASSED]
    said = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": bag.TAG_MANIFEST, "digest": {"sha256": bag.sha256_file(root / bag.TAG_MANIFEST)}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "verifier": {"id": VERIFIER},
            "timeCreated": at.isoformat(),
            "properties": [f"REVERSIBLE_{name.upper()}" for name in passed],
            "reversible": {
                "format": FORMAT,
                "by": by,
                "conclusion": found.conclusion.value,
                "statement_sha256": hashlib.sha256(dossier.statement_of(root)).hexdigest(),
                "sealed_by": found.sealed_by,
                "time": found.time,
                "not_run": [step.id for step in found.steps if step.outcome is Outcome.NOT_RUN],
                "replay": None if replay is None else dict(replay),
            },
        },
    }
    return seal.sign(strict_json.compact_bytes(said), key).to_bytes()


def read(content: bytes, root: Path, pinned: Pinned, key: PublicKey | None = None) -> Receipt:
    """What a receipt says of the dossier at `root`, once its signature holds.

    Args:
        content: The receipt.
        root: The dossier that the reader holds.
        pinned: The countersigner's key, known by another way; a whole key, for a receipt holds none.
        key: The whole key, when `pinned` is a fingerprint.

    Raises:
        EvidenceError: it is not by that key, not about this dossier, or no receipt.
    """
    try:
        if len(content) > LIMIT:
            raise ValueError("it is too large")
        found = seal.read(content)
        by = pinned.key or key
        if by is None or by.fingerprint != pinned.fingerprint:
            raise ValueError("the countersigner's whole key is needed: a PEM file")
        if hint_fingerprint(found.hint) != pinned.fingerprint or not found.holds(by):
            raise ValueError(f"it is not signed by {pinned.fingerprint}")
        said = strict_json.parse(found.payload)
        predicate = said["predicate"]
        own = predicate["reversible"]
        if said["_type"] != STATEMENT_TYPE or said["predicateType"] != PREDICATE_TYPE or own["format"] != FORMAT:
            raise ValueError("it is no receipt")
        subject = [{"name": bag.TAG_MANIFEST, "digest": {"sha256": bag.sha256_file(root / bag.TAG_MANIFEST)}}]
        if said["subject"] != subject or own["statement_sha256"] != _statement(root):
            raise ValueError("it is about another dossier")
        return Receipt(
            by=own["by"], fingerprint=pinned.fingerprint, conclusion=own["conclusion"],
            at=contents.aware(predicate["timeCreated"]), not_run=tuple(own["not_run"]), replay=own["replay"],
        )  # fmt: skip
    except OSError as error:
        raise EvidenceError(f"{root}: {error.strerror}", hint=f"ls -l {root}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise EvidenceError(f"receipt: {error}", hint="ask the countersigner for it again") from error


def keep(path: Path, content: bytes, key: SigningKey) -> None:
    """Write a receipt, and the whole public key beside it, which proves nothing until its fingerprint is compared.

    Raises:
        UsageError: something stands there already.
        DestinationError: the disk refuses.
    """
    if path.exists():
        raise UsageError(f"{path} exists already", hint="choose another file with --into")
    with disk_faults(path.parent):
        beside(path).write_bytes(key.public.pem)
        path.write_bytes(content)


def beside(path: Path) -> Path:
    """Where the countersigner's public key lies."""
    return path.with_name(f"{path.name}.pub.pem")


def compare(sealed: Sequence[Mapping[str, Any]], again: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How the verifiers' answers here differ from those in a dossier, on the same bundle.

    Args:
        sealed: results.jsonl; lines about the run itself, that no verifier gives, are left aside.
        again: What the verifiers said here.

    Returns:
        {"same": n, "differing": [{"metric", "asset", "sealed", "here"}], "missing": [{"metric", "asset"}], "more": the
        same, "not_here": [metric]}. "missing" was sealed and is not answered here, "more" the other way round,
        "not_here" are metrics that no verifier here measures. Values must be equal; a float may differ by 1e-9 of
        itself, as processors do.
    """
    metrics = {line["metric"] for line in again}
    before = {(line["metric"], line["asset"]): line for line in sealed if line["asset"] is not None}
    here = {(line["metric"], line["asset"]): line for line in again if line["asset"] is not None}
    shared = sorted(set(before) & set(here))
    differing = [
        {
            "metric": metric,
            "asset": asset,
            "sealed": before[metric, asset]["value"],
            "here": here[metric, asset]["value"],
        }
        for metric, asset in shared
        if not _same(before[metric, asset]["value"], here[metric, asset]["value"])
    ]
    gone = sorted(set(before) - set(here))
    missing = [check for check in gone if check[0] in metrics]
    not_here = sorted({metric for metric, _ in gone} - metrics)
    return {
        "same": len(shared) - len(differing),
        "differing": differing,
        "missing": [{"metric": metric, "asset": asset} for metric, asset in missing],
        "more": [{"metric": metric, "asset": asset} for metric, asset in sorted(set(here) - set(before))],
        "not_here": not_here,
    }


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return one == other or abs(one - other) <= 1e-9 * max(abs(one), abs(other))
    return type(one) is type(other) and bool(one == other)


def _statement(root: Path) -> str:
    return hashlib.sha256(dossier.statement_of(root)).hexdigest()
