"""What is known so far while a dossier is examined, and how does a step end?"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from cryptography import x509

from reversible.clauses import Catalogue
from reversible.documents import RunDocuments
from reversible.evidence.history import History
from reversible.evidence.keys import Pinned, PublicKey
from reversible.evidence.seal import Seal
from reversible.evidence.snapshot import Snapshot


class Outcome(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    NOT_RUN = "not-run"


class Rejected(ValueError):  # noqa: N818 - a verdict on the dossier, not a fault of ours
    """The step says no; the message says what is wrong."""


class NotRun(Exception):  # noqa: N818 - nothing went wrong: the step had nothing to look at
    """The step could not be taken; the message says what it lacked."""


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What the reader knows beforehand and wants to find; None asks nothing.

    `nonce` is what an auditor drew before the run; `plan_sha256` pins data/plan.json, so that no check can be left
    out of the plan unseen.
    """

    organisation: str | None = None
    plan_sha256: str | None = None
    nonce: str | None = None
    max_age_days: float | None = None


@dataclass(kw_only=True)
class Examination:
    """The files, read once, what the reader brings, and what the steps before have established.

    A field is set by the step that found it sound; a later step that needs it says `NotRun` while it is None.
    """

    files: Snapshot
    pinned: Pinned | None = None
    trusted: tuple[str, ...] = ()  # fingerprints: the pinned one, and those that the log says it handed over to
    history: History | None = None
    log_fault: str | None = None
    authorities: tuple[x509.Certificate, ...] = ()  # that the reader pinned for time
    expected: Expected = field(default_factory=Expected)
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    listed: dict[str, str] | None = None  # path -> digest, both manifests
    seal: Seal | None = None
    statement: dict[str, Any] | None = None
    enclosed: PublicKey | None = None
    proved_at: datetime | None = None
    documents: RunDocuments | None = None
    catalogue: Catalogue | None = None
