"""What can go wrong, and the exit status that says so.

ReversibleError          what happened                                        exit
├── UsageError           you asked for something that is not there, or the       2
│                        exit plan is wrong
├── SourceError          the vendor's platform refused or failed                 4
│   ├── MissingSDKError  the vendor's Python package is not installed            4
│   └── SourceLostError  it went away: what was exported is kept for a resume    4
├── BundleError          the bundle is unreadable, incomplete or altered         5
│   └── EvaluatorError   a model cannot be evaluated by the second engine        5
├── EvidenceError        the evidence is unreadable, incomplete or forged        5
├── DestinationError     the destination refused or failed                       6
└── Interrupted          the user stopped the run; the same command resumes    130

Exit 0, 1 and 3 are verdicts, not errors; 70 is a bug of ours.
"""

from typing import ClassVar


class ReversibleError(Exception):
    """A fault that has a name, a place and a fix: `message` says what, `hint` is the next command to type."""

    exit_status: ClassVar[int] = 70

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(ReversibleError):
    """You asked for something that is not there, or the exit plan is wrong."""

    exit_status = 2


class SourceError(ReversibleError):
    """The vendor's platform refused or failed."""

    exit_status = 4


class MissingSDKError(SourceError):
    """The vendor's Python package is not installed."""

    def __init__(self, package: str, *, extra: str) -> None:
        super().__init__(
            f"the Python package {package} is not installed", hint=f"pip install 'reversible-toolkit[{extra}]'"
        )


class SourceLostError(SourceError):
    """The vendor's platform, or the moment at which it was read, is gone; the same command takes the run up."""


class BundleError(ReversibleError):
    """The bundle is unreadable, incomplete or altered."""

    exit_status = 5


class EvaluatorError(BundleError):
    """A model cannot be evaluated by the second engine: unreadable, not covered, or beyond its limits."""


class EvidenceError(ReversibleError):
    """The evidence is unreadable, incomplete or forged."""

    exit_status = 5


class DestinationError(ReversibleError):
    """The destination refused or failed."""

    exit_status = 6


class Interrupted(ReversibleError):  # noqa: N818 - it is not an error of anybody
    """The user stopped the run; the same command resumes it."""

    exit_status = 130
