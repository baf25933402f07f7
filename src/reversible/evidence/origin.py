"""Who sealed the dossier? Only a key that the reader brings can answer; the one in the dossier cannot."""

import hashlib
from datetime import timedelta
from typing import Any

from reversible.bundle import bag
from reversible.evidence import contents, seal, strict_json, timestamp
from reversible.evidence import statement as statements
from reversible.evidence.examination import Examination, NotRun, Rejected
from reversible.evidence.history import Entry
from reversible.evidence.keys import PublicKey, hint_fingerprint, in_groups
from reversible.evidence.seal import Seal

_CLOCK_SLACK = timedelta(days=1)  # this machine's clock may be off
_CLAIMED = "claimed: the time is what the sealing machine says; no time-stamping authority was asked"
_PENDING = "pending: {url} was to be asked, and there is no token yet: reversible evidence timestamp DOSSIER"


def form(exam: Examination) -> str:
    """The seal is written the one way, holds one signature, and a statement of the one type that we know."""
    content = exam.files.contents.get(contents.SEAL)
    if content is None:
        raise Rejected(f"{contents.SEAL} is missing")
    found = seal.read(content)
    hint_fingerprint(found.hint)
    said = strict_json.parse(found.payload, limit=seal.LIMIT)
    if strict_json.compact_bytes(said) != found.payload:
        raise Rejected("the statement is not written the one way that we write it")
    if not isinstance(said, dict) or said.get("_type") != statements.STATEMENT_TYPE:
        raise Rejected(f"it does not hold an in-toto Statement ({statements.STATEMENT_TYPE})")
    if said.get("predicateType") != statements.PREDICATE_TYPE:
        raise Rejected(f"its predicate is {said.get('predicateType')!r}, not {statements.PREDICATE_TYPE}")
    _own_format(said)
    exam.seal, exam.statement = found, said
    return "one signature, over one in-toto statement"


def key(exam: Examination) -> str:
    """The key that signed is the one that the reader pinned."""
    content = exam.files.contents.get(contents.SIGNER)
    if content is None:
        raise Rejected(f"{contents.SIGNER} is missing")
    enclosed = PublicKey.from_pem(content)
    if enclosed.pem != content:
        raise Rejected(f"{contents.SIGNER} holds more than one key in its plain form")
    exam.enclosed = enclosed
    named = _seal(exam).hint
    if enclosed.hint != named:
        raise Rejected(f"the seal names the key {hint_fingerprint(named)}, {contents.SIGNER} is {enclosed.fingerprint}")
    if exam.pinned is None:
        raise NotRun(
            f"no key was given: anybody can have sealed this. The enclosed key is {in_groups(enclosed.fingerprint)}; "
            "compare it with what its owner told you by another way, then say --key"
        )
    if enclosed.fingerprint == exam.pinned.fingerprint:
        return f"sealed by the key that you gave, {in_groups(enclosed.fingerprint)}"
    if enclosed.fingerprint not in exam.trusted:
        raise Rejected(f"sealed by the key {enclosed.fingerprint}, not by {exam.pinned.fingerprint}")
    return f"sealed by {in_groups(enclosed.fingerprint)}, to which the key that you gave handed over, says the log"


def signature(exam: Examination) -> str:
    """The signature holds: under the pinned key, or else under the enclosed one, which proves no origin."""
    found = _seal(exam)
    pinned = exam.pinned
    by = exam.enclosed or (pinned.key if pinned else None)
    if by is None:
        raise NotRun("there is no key to check it with")
    if not found.holds(by):
        raise Rejected("the signature does not hold: the statement is not what the key's owner signed")
    if pinned is None:
        return "it holds under the enclosed key, which proves no origin"
    if by.fingerprint not in exam.trusted:
        raise Rejected("it was made by another key than the one that you gave")
    return "ECDSA P-256 over SHA-256 holds"


def subject(exam: Examination) -> str:
    """What is signed is this dossier: the statement's one subject is the tag manifest's digest."""
    said = statement(exam)
    digest = exam.files.digests.get(bag.TAG_MANIFEST)
    if digest is None:
        raise Rejected(f"{bag.TAG_MANIFEST} is missing")
    if said["subject"] != [{"name": bag.TAG_MANIFEST, "digest": {"sha256": digest}}]:
        raise Rejected("the statement is about other files than these")
    return f"the statement is about {bag.TAG_MANIFEST}, sha256 {digest}"


def time(exam: Examination) -> str:
    """An authority that the reader pinned confirms that the signature existed: else the time is a claim."""
    found, own = _seal(exam), statement(exam)["predicate"]["reversible"]
    if found.timestamp is None:
        raise NotRun(_CLAIMED if own["authority"] is None else _PENDING.format(url=own["authority"]["url"]))
    try:
        token = timestamp.read(found.timestamp)
        timestamp.check_about(token, found.signature)
        if not exam.authorities:
            raise NotRun(
                f"claimed: the token says {token.at.isoformat()} by {token.authority}, but no certificate was given, "
                "and anybody can make such a token: --tsa-certificate"
            )
        timestamp.check_signer(token, exam.authorities)
    except timestamp.Unsupported as lack:
        raise NotRun(f"claimed: the token uses {lack}, which is not checked here: openssl ts -verify") from lack
    except ValueError as error:
        raise Rejected(f"the time-stamp token proves nothing: {error}") from error
    if token.at > exam.now + _CLOCK_SLACK:
        raise Rejected(f"the token is of {token.at.isoformat()}: that is to come")
    exam.proved_at = token.at
    return f"proved: it existed at {token.at.isoformat()}, says {token.authority}"


def log(exam: Examination) -> str:
    """The log announced this run before it began, and holds this statement as its outcome."""
    if exam.log_fault is not None:
        raise Rejected(exam.log_fault)
    if exam.history is None:
        raise NotRun("no log was given: a run that failed may have been left out: --log")
    runs, own = exam.history.runs, statement(exam)["predicate"]["reversible"]
    digest = hashlib.sha256(_seal(exam).payload).hexdigest()
    mine = [run for run in runs if run.end is not None and run.end.said.get("statement_sha256") == digest]
    if len(mine) != 1 or mine[0].end is None:
        raise Rejected("the log does not hold this statement as the outcome of a run")
    intent, end = mine[0].intent, mine[0].end
    if intent.index > end.index or intent.said["nonce"] != own["nonce"]:
        raise Rejected("the run was not announced so before it began")
    before = [one for one in exam.history.entries[: end.index] if one.kind == "outcome"]
    said = [one.said["statement_sha256"] for one in before] or [None]
    if own["previous"] not in said and not (own["previous"] is None and not _earlier(before, intent)):
        raise Rejected("the statement before this one is not the one that the log holds")
    left = [run.intent.said["at"] for run in runs if run.end is None]
    aborted = sum(run.state == "aborted" for run in runs)
    return (
        f"entry {end.index} of {len(exam.history.entries)}, announced by entry {intent.index}; {len(runs)} runs begun, "
        f"{aborted} aborted, {len(left)} without any outcome" + (f", begun {', '.join(left[:5])}" if left else "")
    )


def _earlier(outcomes: list[Entry], intent: Entry) -> bool:
    return any(one.index < intent.index for one in outcomes)


def statement(exam: Examination) -> dict[str, Any]:
    if exam.statement is None:
        raise NotRun("the seal cannot be read")
    return exam.statement


def _seal(exam: Examination) -> Seal:
    if exam.seal is None:
        raise NotRun("the seal cannot be read")
    return exam.seal


def _own_format(said: dict[str, Any]) -> None:
    predicate = said.get("predicate")
    own = predicate.get("reversible") if isinstance(predicate, dict) else None
    if "subject" not in said or not isinstance(own, dict) or own.get("format") != statements.FORMAT:
        raise Rejected(f"its statement is not of the format {statements.FORMAT}")
    contents.aware(own.get("sealed_at"))
    for name in ("previous", "nonce"):
        if name not in own or not isinstance(own[name], str | None):
            raise Rejected(f"the statement's {name} is not a text")
    asked = own.get("authority", ())
    known = isinstance(asked, dict) and set(asked) == {"url", "certificates_sha256"} and isinstance(asked["url"], str)
    if asked is not None and not known:
        raise Rejected("the statement's authority is not one")
