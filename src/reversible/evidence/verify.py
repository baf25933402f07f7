"""Is this dossier what its signer sealed, and does it say what its measurements say?

All steps are taken, also after one has failed; a step that could not be taken is listed as such and never counts as
passed. No key in the dossier is trusted: without one from the reader the best answer is "integrity only".
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from cryptography import x509

from reversible.errors import EvidenceError, ReversibleError
from reversible.evidence import authority, contents, history, integrity, keys, meaning, origin, snapshot
from reversible.evidence.examination import Examination, Expected, NotRun, Outcome
from reversible.evidence.history import History
from reversible.evidence.keys import Pinned

log = logging.getLogger(__name__)

__all__ = ["Conclusion", "Expected", "Outcome", "Step", "Verification", "examine", "verify"]


class Conclusion(StrEnum):
    VERIFIED = "verified"
    REJECTED = "rejected"
    INTEGRITY_ONLY = "integrity-only"  # whole and consistent, but by nobody knows whom
    INCOMPLETE = "incomplete"  # by the pinned key, but a step that must be taken could not be


_EXIT = {
    Conclusion.VERIFIED: 0,
    Conclusion.REJECTED: 5,
    Conclusion.INTEGRITY_ONLY: 3,
    Conclusion.INCOMPLETE: 3,
}


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step: `required` ones must pass for a dossier to be verified."""

    id: str
    title: str
    outcome: Outcome
    detail: str
    required: bool = True

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id, "title": self.title, "outcome": self.outcome.value, "detail": self.detail,
            "required": self.required,
        }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What was found. `said` is the statement's own account of the run, None when it cannot be read."""

    steps: tuple[Step, ...]
    pinned: str | None
    sealed_by: str | None
    said: dict[str, Any] | None
    time: dict[str, str] | None  # status: claimed | pending | proved, and the time itself

    @property
    def conclusion(self) -> Conclusion:
        if any(step.outcome is Outcome.FAILED for step in self.steps):
            return Conclusion.REJECTED
        if self.pinned is None:
            return Conclusion.INTEGRITY_ONLY
        if any(step.required and step.outcome is not Outcome.PASSED for step in self.steps):
            return Conclusion.INCOMPLETE
        return Conclusion.VERIFIED

    @property
    def exit_status(self) -> int:
        return _EXIT[self.conclusion]

    def to_json(self) -> dict[str, Any]:
        return {
            "format": "reversible-verification/1",
            "conclusion": self.conclusion.value,
            "exit_status": self.exit_status,
            "pinned": self.pinned,
            "sealed_by": self.sealed_by,
            "said": self.said,
            "time": self.time,
            "steps": [step.to_json() for step in self.steps],
        }


_STEPS: tuple[tuple[str, str, Callable[[Examination], str]], ...] = (
    ("layout", "Plain files with plain names", integrity.layout),
    ("manifests", "Manifests strict and whole", integrity.manifests),
    ("digests", "Every file is the listed one", integrity.digests),
    ("names", "Nothing missing, nothing added", integrity.names),
    ("seal", "One seal, of the one known form", origin.form),
    ("key", "Sealed by the key you gave", origin.key),
    ("signature", "The signature holds", origin.signature),
    ("subject", "The seal is about these files", origin.subject),
    ("time", "The time proved by an authority", origin.time),
    ("documents", "Documents strict and well-formed", meaning.documents),
    ("catalogue", "Judged by the sealed clauses", meaning.catalogue),
    ("criteria", "Pass marks as the plan gives them", meaning.criteria),
    ("answers", "Every planned check answered once", meaning.answers),
    ("verdicts", "Verdicts judged again, the same", meaning.verdicts),
    ("summary", "The statement says what they say", meaning.summary),
    ("bundle", "About the bundle that was verified", meaning.bundle),
    ("times", "In the right order of time", meaning.times),
    ("reports", "Reports rendered again, the same", meaning.reports),
    ("instructions", "VERIFY.txt and verify.py are ours", meaning.instructions),
    ("log", "Announced in the log, and its outcome", origin.log),
    ("expected", "The dossier you wait for", meaning.expectations),
)


def verify(
    root: Path,
    *,
    pinned: str | Path | None,
    tsa: str | Path | None = None,
    log_at: Path | None = None,
    expected: Expected | None = None,
    at: datetime | None = None,
) -> Verification:
    """Check one dossier, offline, reading each file once.

    Args:
        root: The dossier's directory.
        pinned: The signer's fingerprint (hex) or public key (PEM file), known by another way than the dossier.
        tsa: PEM file with the certificates that the reader trusts for time; then a token must be there.
        log_at: The signer's log, or a copy of it; then the run must be announced there.
        expected: What else the reader knows beforehand.
        at: The time to judge ages by, aware; this machine's clock when None.

    Raises:
        UsageError: `pinned` is neither a fingerprint nor a key, `tsa` holds no certificate.
        EvidenceError: there is no directory, or it cannot be read.
    """
    trusted = None if pinned is None else keys.pinned(pinned)
    authorities = () if tsa is None else authority.pinned(tsa)
    known, fault = None, None
    try:
        known = (
            None if log_at is None else history.read(log_at, pinned=None if trusted is None else trusted.fingerprint)
        )
    except EvidenceError as error:
        fault = error.message
    files = snapshot.take(root, keep=_is_parsed)
    return examine(
        files, pinned=trusted, authorities=authorities, known=known, log_fault=fault, expected=expected or Expected(),
        at=at or datetime.now(UTC),
    )  # fmt: skip


def examine(
    files: snapshot.Snapshot,
    *,
    pinned: Pinned | None,
    authorities: tuple[x509.Certificate, ...] = (),
    known: History | None = None,
    log_fault: str | None = None,
    expected: Expected,
    at: datetime,
) -> Verification:
    """Take every step on files that were read already."""
    trusted: tuple[str, ...] = () if pinned is None else (pinned.fingerprint,)
    if pinned is not None and known is not None:
        trusted = known.keys[known.keys.index(pinned.fingerprint) :]
    exam = Examination(
        files=files, pinned=pinned, trusted=trusted, authorities=authorities, history=known, log_fault=log_fault,
        expected=expected, now=at,
    )  # fmt: skip
    required = {name: True for name, _, _ in _STEPS} | {
        "expected": expected != Expected(), "time": bool(authorities), "log": bool(known or log_fault),
    }  # fmt: skip
    steps = tuple(
        Step(id=name, title=title, outcome=outcome, detail=detail, required=required[name])
        for name, title, look in _STEPS
        for outcome, detail in (_take(look, exam),)
    )
    said = None if exam.statement is None else exam.statement["predicate"]
    return Verification(
        steps=steps,
        pinned=None if pinned is None else pinned.fingerprint,
        sealed_by=None if exam.enclosed is None else exam.enclosed.fingerprint,
        said=said,
        time=_time(exam),
    )


def _time(exam: Examination) -> dict[str, str] | None:
    if exam.statement is None or exam.seal is None:
        return None
    own = exam.statement["predicate"]["reversible"]
    if exam.proved_at is not None:
        return {"status": "proved", "at": exam.proved_at.isoformat()}
    waits = exam.seal.timestamp is None and own["authority"] is not None
    return {"status": "pending" if waits else "claimed", "at": own["sealed_at"]}


def _take(look: Callable[[Examination], str], exam: Examination) -> tuple[Outcome, str]:
    try:
        return Outcome.PASSED, look(exam)
    except NotRun as lack:
        return Outcome.NOT_RUN, str(lack)
    except ValueError as wrong:
        return Outcome.FAILED, str(wrong)
    except ReversibleError as refusal:
        return Outcome.FAILED, refusal.message
    except Exception as broken:  # forged documents may break any reader: what breaks one is rejected
        log.info("a step broke on the dossier", exc_info=True)
        return Outcome.FAILED, f"it cannot be computed from these documents: {type(broken).__name__}: {broken}"


def _is_parsed(path: str) -> bool:
    return not path.startswith(contents.RAW)
