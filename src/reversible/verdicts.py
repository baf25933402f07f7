"""What can be said of each clause?

The rules are the catalogue's `verdict_logic`, in its order, first match wins; the numbers in `judge` are its lines.
Where the text leaves room it was read so, always on the side that shows less:

- Rule 1. A clause applies when one of its profiles is on; "baseline" always is. `test_version`: Data Act chapter VI
  (art. 23 to 31) does not apply, so the profile data_act alone no longer switches on a clause that rests on it.
  `custom_built`: a clause that rests only on art. 23(d), 29, 30(1) and 30(3) is off. `iaas`, `parallel_use` and
  `omnibus_pending` change how a clause is read, never whether it is judged.
- Rule 2. An optional check (`required: false`) fails the clause only with `on_false: fail`; a check with
  `else: PARTIAL` never does. Both cap the verdict at PARTIAL when missed: rule 5.
- Rule 4. "Measured true" means by a machine: a typed number that holds does not lift NOT_TESTED to PARTIAL. A failed
  measurement that grew old stays failed.
- Rule 5. A stand-in destination shows N3 at most, whatever level the run claims. So it caps the clauses that need the
  destination (N4, N5) and those alone: content is compared and a model re-run without its source on a laptop as
  well as anywhere. The rule speaks of measurements: it does not touch a clause where only typed numbers hold.
- Rule 6. A document counts when a named person accepted it, `validity_days` ago at most.
- Rules 2 to 8 leave a check out when its metric is measured only on kinds of asset of which the whole inventory has
  none, left-out ones included: a vendor without buckets has no object to compare (docs/adr/0006). At least one required
  check of the clause must remain; where none would, all stay, and stay unanswered.
- Rule 7. A check that only reports is not true or false; neither it nor a sampled optional one lifts DOCUMENTED.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from reversible.answers import Answer, Measurements, Planned, Reason, Status, expired
from reversible.clauses import (
    Catalogue,
    Clause,
    Criterion,
    RequiredDocument,
    Verdict,
    When,
    criterion_of,
)
from reversible.findings import Finding, Scalar
from reversible.levels import ProofLevel

__all__ = ["Circumstances", "ClauseVerdict", "DocumentAnswer", "Received", "Verdict", "judge", "settle"]

DATA_ACT_CHAPTER_VI = range(23, 32)  # Reg. (EU) 2023/2854, art. 23 to 31
CUSTOM_BUILT_OFF = ("23(d)", "29", "30(1)", "30(3)")  # art. 31(1)
STAND_IN_REACHES = ProofLevel.N3


@dataclass(frozen=True, kw_only=True)
class Received:
    """A document that the plan names: which bytes, read by whom, on which day, with which opinion."""

    id: str
    clause: str
    read_by: str
    read_on: date
    accepts: bool


@dataclass(frozen=True, kw_only=True)
class Circumstances:
    """What a verdict depends on beside the criteria. `at` is the day of judging, `measured_on` the run's.

    `moot`: metrics that no asset of the whole inventory could answer, for it has none of their kinds.
    """

    catalogue: Catalogue
    profiles: frozenset[str]
    flags: frozenset[str]
    measurements: Measurements
    documents: tuple[Received, ...]
    level: ProofLevel
    simulated: bool
    measured_on: date
    at: date
    moot: frozenset[str] = frozenset()

    @property
    def reached(self) -> ProofLevel:
        """The level that this run can show: a stand-in never shows N4."""
        return min(self.level, STAND_IN_REACHES) if self.simulated else self.level


@dataclass(frozen=True, kw_only=True)
class DocumentAnswer:
    """Whether one document of a clause is there: accepted, missing, contradicts or not-required."""

    id: str
    status: str
    required: bool
    read_on: date | None = None
    reason: Reason | None = None


@dataclass(frozen=True, kw_only=True)
class ClauseVerdict:
    """The verdict on one clause, with everything that led to it.

    `shown` is the proof level at which every required check holds on the whole scope, N0 when one does not.
    `low` and `high` enclose the share of the clause that was shown, from 0 to 1; `measurable` says whether a machine
    has anything to measure in it. `untested`: something required has no answer.
    """

    clause: Clause
    verdict: Verdict
    reasons: tuple[Reason, ...]
    answers: tuple[Answer, ...] = ()
    documents: tuple[DocumentAnswer, ...] = ()
    expires_on: date | None = None
    shown: ProofLevel = ProofLevel.N0
    low: float = 0.0
    high: float = 0.0
    measurable: bool = False
    untested: bool = False

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.clause.id,
            "family": self.clause.family,
            "severity": self.clause.severity,
            "kind": self.clause.kind,
            "required_level": str(self.clause.proof_level),
            "verdict": str(self.verdict),
            "reasons": [reason.to_json() for reason in self.reasons],
            "answers": [answer.to_json() for answer in self.answers],
            "documents": [{"id": one.id, "status": one.status} for one in self.documents],
            "expires_on": None if self.expires_on is None else self.expires_on.isoformat(),
        }


def judge(clause: Clause, criteria: Sequence[Criterion], given: Circumstances) -> ClauseVerdict:
    """The verdict on one clause.

    Args:
        clause: The clause.
        criteria: Its sealed criteria.
        given: What was measured, typed and read, and where the run took place.
    """
    # 1. applies is false -> NOT_APPLICABLE (print the fact that decided)
    off = _not_applicable(clause, given)
    if off is not None:
        return ClauseVerdict(clause=clause, verdict=Verdict.NOT_APPLICABLE, reasons=(off,))
    documents = tuple(_document(clause, one, given) for one in clause.documents)
    answers = _answers(clause, criteria, documents, given)
    return _Case(clause, answers, documents, given).verdict()


class _Case:
    """Rules 2 to 8 on one clause that applies."""

    def __init__(
        self, clause: Clause, answers: tuple[Answer, ...], documents: tuple[DocumentAnswer, ...], given: Circumstances
    ) -> None:
        self.clause = clause
        self.answers = answers
        self.documents = documents
        self.given = given
        self.required = [one for one in answers if one.required]
        self.open = [one for one in self.required if one.status is Status.UNANSWERED]
        self.missed = [one for one in answers if one.status is Status.MISSED]
        self.measured = [one for one in self.required if one.status is Status.MET and not one.typed]

    def verdict(self) -> ClauseVerdict:
        # 2. any required check measured and false -> FAILED
        if failing := [one for one in self.missed if _fails(one.criterion)]:
            return self._conclude(Verdict.FAILED, _reasons(failing))
        # 3. a document is marked as contradicting -> FAILED
        if against := [one for one in self.documents if one.status == "contradicts"]:
            return self._conclude(Verdict.FAILED, [Reason(CONTRADICTS, {"document": one.id}) for one in against])
        limits = self._limits()
        # 4. a required check unmeasured or older than validity_days -> NOT_TESTED
        #    (PARTIAL if at least one required check is measured true)
        if self.open:
            verdict = Verdict.PARTIAL if self.measured else Verdict.NOT_TESTED
            return self._conclude(verdict, [*_reasons(self.open), *limits])
        # 5. all required checks true but coverage < 1, projected, simulated, or proof level < proof_level -> PARTIAL
        if limits:
            return self._conclude(Verdict.PARTIAL, limits)
        # 6. required document missing or not signed by a reader -> DOCUMENT_NEEDED
        if missing := [one for one in self.documents if one.status == "missing"]:
            return self._conclude(Verdict.DOCUMENT_NEEDED, [one.reason for one in missing if one.reason])
        # 7. no check taken by a machine is true: nothing to measure, or only numbers a person typed
        #    (producer: contract) -> DOCUMENTED, never PROVEN
        shown = [] if self._short_of_level() else [one for one in self.answers if one.whole and one.criterion.decides]
        if not shown:
            held = [one.criterion.metric for one in self.required]
            read = [one.id for one in self.documents if one.status == "accepted"]
            if not held and not read:  # nothing at all stands behind it: silence is never a pass
                return self._conclude(Verdict.NOT_TESTED, [self._nothing()])
            facts: dict[str, Scalar] = {"documents": ", ".join(read) or "-", "metrics": ", ".join(held) or "-"}
            return self._conclude(Verdict.DOCUMENTED, [Reason(READ, facts)])
        # 8. otherwise -> PROVEN
        facts = {"n": len(shown), "level": str(self.given.reached)}
        return self._conclude(Verdict.PROVEN, [Reason(HOLDS, facts)])

    def _nothing(self) -> Reason:
        """Why nothing was shown: nothing was looked at, or the contract names no number to hold it against."""
        criteria = [one.criterion for one in self.answers]
        waiting = [one.metric for one in criteria if one.op != "report" and not one.decides]
        return Reason(UNSET, {"metrics": ", ".join(waiting)}) if waiting else Reason(NOTHING)

    def _short_of_level(self) -> bool:
        return self.given.reached < self.clause.proof_level

    def _limits(self) -> list[Reason]:
        """Rule 5, and what `optional_checks` and `else: PARTIAL` cap."""
        found = [
            Reason(CAPPED, one.reason.facts)
            for one in self.missed
            if one.reason is not None and not _fails(one.criterion)
        ]
        for one in self.measured:
            metric = one.criterion.metric
            if one.coverage < 1:
                found.append(Reason(SAMPLED, {"metric": metric, "percent": 100 * one.coverage}))
            if one.projected:
                found.append(Reason(PROJECTED, {"metric": metric}))
        if self.measured and self._short_of_level():
            template = STAND_IN if self.given.simulated and self.clause.proof_level > STAND_IN_REACHES else LOWER_LEVEL
            found.append(
                Reason(template, {"reached": str(self.given.reached), "required": str(self.clause.proof_level)})
            )
        return found

    def _conclude(self, verdict: Verdict, reasons: Iterable[Reason]) -> ClauseVerdict:
        low, high = self._share(verdict)
        return ClauseVerdict(
            clause=self.clause,
            verdict=verdict,
            reasons=tuple(reasons),
            answers=self.answers,
            documents=self.documents,
            expires_on=self._expires_on(verdict),
            shown=self.given.reached if self._holds_whole(verdict) else ProofLevel.N0,
            low=low,
            high=high,
            measurable=any(one.required and not one.typed for one in self.answers),
            untested=bool(self.open),
        )

    def _holds_whole(self, verdict: Verdict) -> bool:
        """Every required check holds on the whole scope; all that may be missing is the level, or a document."""
        if verdict is Verdict.PROVEN:
            return True
        held = bool(self.measured) and all(one.whole for one in self.measured) and not self.open and not self.missed
        return held and verdict in (Verdict.PARTIAL, Verdict.DOCUMENT_NEEDED)

    def _share(self, verdict: Verdict) -> tuple[float, float]:
        """[low, high] of the clause's part in the measured index: `scoring` says how it is used."""
        if verdict in (Verdict.PROVEN, Verdict.DOCUMENT_NEEDED):
            return 1.0, 1.0
        if verdict is Verdict.NOT_TESTED:
            return 0.0, 1.0
        if verdict is not Verdict.PARTIAL:
            return 0.0, 0.0
        high = min((one.coverage for one in self.measured), default=1.0)
        if self.missed:
            high = 0.0
        sure = not self.open and not self._short_of_level() and not any(one.projected for one in self.measured)
        return (high if sure else 0.0), high

    def _expires_on(self, verdict: Verdict) -> date | None:
        if verdict in (Verdict.FAILED, Verdict.NOT_TESTED):
            return None
        days = [one.read_on for one in self.documents if one.read_on is not None and one.status == "accepted"]
        if any(one.status is Status.MET for one in self.answers):
            days.append(self.given.measured_on)
        return min(days) + timedelta(days=self.clause.validity_days) if days else None


CONTRADICTS = "the document {document} contradicts the requirement"
MISSING = "the document {document} is missing"
TOO_OLD = "the document {document} was read on {read_on} and counted until {until}"
NOT_YET = "the document {document} is dated {read_on}, after the run"
UNSIGNED = "the document {document} names no reader"
NOTHING = "nothing was measured and no document was read"
UNSET = "the contract names no number for {metrics}: they are reported, and nothing is judged"
READ = "nothing was measured: a person read the documents ({documents}) and typed the numbers ({metrics})"
HOLDS = "{n} checks hold on the whole scope, at {level}"
CAPPED = "{metric} is {value}; {op} {threshold} was wanted: PARTIAL at most"
SAMPLED = "{metric} was measured on {percent} % of the declared scope"
PROJECTED = "{metric} was projected, not measured to the end"
STAND_IN = "the destination is a stand-in: {reached} at most, {required} is required"
LOWER_LEVEL = "measured at {reached}, {required} is required"
PROFILES_OFF = "none of its profiles is switched on: {profiles}"
TEST_VERSION = "test_version: Data Act chapter VI does not apply ({sources})"
CUSTOM_BUILT = "custom_built: these articles do not apply ({sources})"


# --- rule 1: does it apply? --------------------------------------------------------------------------------------


def _not_applicable(clause: Clause, given: Circumstances) -> Reason | None:
    on = [name for name in clause.profiles if name in given.profiles or name == "baseline"]
    if not on:
        return Reason(PROFILES_OFF, {"profiles": ", ".join(clause.profiles)})
    sources = {name: given.catalogue.sources[name] for name in clause.sources}
    data_act = {name: _articles(one.article) for name, one in sources.items() if "Data Act" in one.text}
    if "test_version" in given.flags and on == ["data_act"]:
        chapter = [name for name, articles in data_act.items() if any(_in_chapter_vi(one) for one in articles)]
        if chapter:
            return Reason(TEST_VERSION, {"sources": ", ".join(chapter)})
    if "custom_built" in given.flags and all(
        name in data_act and all(_off_when_custom_built(one) for one in data_act[name]) for name in clause.sources
    ):
        return Reason(CUSTOM_BUILT, {"sources": ", ".join(clause.sources)})
    return None


def _articles(text: str) -> tuple[str, ...]:
    """The articles that a source names: "25(2)(f), 30(6)" are two; recitals are none."""
    parts = re.split(r",| and ", text)
    found = tuple(part.strip() for part in parts if re.match(r"\s*\d", part))
    return found or ("-",)


def _in_chapter_vi(article: str) -> bool:
    number = re.match(r"\d+", article)
    return number is not None and int(number[0]) in DATA_ACT_CHAPTER_VI


def _off_when_custom_built(article: str) -> bool:
    """Whether the article lies within those that art. 31(1) switches off: "29(1)" does, "30(2)-(5)" does not."""
    return any(article == one or (article.startswith(one + "(") and "-" not in article) for one in CUSTOM_BUILT_OFF)


# --- documents and answers ---------------------------------------------------------------------------------------


def _document(clause: Clause, wanted: RequiredDocument, given: Circumstances) -> DocumentAnswer:
    received = [one for one in given.documents if (one.clause, one.id) == (clause.id, wanted.id)]
    required = wanted.required and (wanted.when is None or _condition(wanted.when, given))
    if any(not one.accepts for one in received):
        return DocumentAnswer(id=wanted.id, status="contradicts", required=required)
    refusals = [(_refusal(clause, one, given), one) for one in received]
    valid = [one.read_on for refusal, one in refusals if refusal is None]
    if valid:
        return DocumentAnswer(id=wanted.id, status="accepted", required=required, read_on=max(valid))
    if not required:
        return DocumentAnswer(id=wanted.id, status="not-required", required=False)
    reason = refusals[0][0] if refusals else Reason(MISSING, {"document": wanted.id})
    return DocumentAnswer(id=wanted.id, status="missing", required=True, reason=reason)


def _refusal(clause: Clause, document: Received, given: Circumstances) -> Reason | None:
    """Why an accepting document does not count; None when it does."""
    until = document.read_on + timedelta(days=clause.validity_days)
    facts: dict[str, Scalar] = {"document": document.id, "read_on": document.read_on.isoformat()}
    if not document.read_by.strip():
        return Reason(UNSIGNED, {"document": document.id})
    if document.read_on > given.at + timedelta(days=1):  # one day: the reader's time zone is not ours
        return Reason(NOT_YET, facts)
    if until < given.at:
        return Reason(TOO_OLD, {**facts, "until": until.isoformat()})
    return None


def _condition(when: When, given: Circumstances) -> bool:
    """Whether the document is required; an unknown number requires it."""
    value = given.measurements.value(when.metric)
    if not isinstance(value, int | float):
        return True
    compared = {
        ">": value > when.value,
        ">=": value >= when.value,
        "<": value < when.value,
        "<=": value <= when.value,
        "==": value == when.value,
    }
    return compared[when.op]


def _answers(
    clause: Clause, criteria: Sequence[Criterion], documents: Sequence[DocumentAnswer], given: Circumstances
) -> tuple[Answer, ...]:
    accepted = {one.id for one in documents if one.status == "accepted"}
    until = given.measured_on + timedelta(days=clause.validity_days)
    counting = [criterion for criterion in criteria if _counts(clause, criterion, given)]
    remaining = [criterion for criterion in counting if criterion.metric not in given.moot]
    if any(criterion.required and criterion.decides for criterion in remaining):
        counting = remaining
    found = []
    for criterion in counting:
        bound = (
            None if criterion.unless is None or criterion.unless.document not in accepted else criterion.unless.value
        )
        answer = given.measurements.answer(criterion, bound=bound)
        found.append(answer if given.at <= until else expired(answer, given.measured_on, until))
    return tuple(found)


def _counts(clause: Clause, criterion: Criterion, given: Circumstances) -> bool:
    if criterion.only_profile is not None and criterion.only_profile not in given.profiles:
        return False
    if criterion.only_if == "sampled" and not _sampled(given.measurements, clause, criterion.metric):
        return False
    return criterion.holds_on(given.measured_on)


def _sampled(measurements: Measurements, clause: Clause, metric: str) -> bool:
    """Whether a check of samples counts: some check left a part out, or this one was planned all the same.

    One that was planned and has no answer counts too: its answer might have said that something was left out.
    """
    return measurements.sampled(check.metric for check in clause.checks) or measurements.planned(metric)


def _fails(criterion: Criterion) -> bool:
    """Whether missing it fails the clause."""
    return criterion.else_ != "PARTIAL" and (criterion.required or criterion.on_false == "fail")


def _reasons(answers: Iterable[Answer]) -> list[Reason]:
    return [one.reason for one in answers if one.reason is not None]


# --- without a plan ----------------------------------------------------------------------------------------------


def settle(catalogue: Catalogue, planned: frozenset[Planned], findings: Iterable[Finding]) -> list[dict[str, Any]]:
    """Every catalogue criterion whose metric was planned, held against the findings: `reversible verify`.

    No plan, so the catalogue's own thresholds, and no verdict: each row is {"clauses", "metric", "op", "threshold",
    "value", "unit", "coverage", "status", "required" (by any of the clauses), "asset", "assets" (how many), "places",
    "reason"}.

    Raises:
        EvidenceError: a finding was not planned, or a planned check has two.
    """
    measurements = Measurements(catalogue, planned, findings, {})
    metrics = {metric for metric, _ in planned}
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for clause in catalogue.clauses.values():
        for check in clause.checks:
            criterion = criterion_of(clause.id, check)
            if (
                check.metric not in metrics
                or not criterion.decides
                or (check.only_if_sampled and not _sampled(measurements, clause, check.metric))
            ):
                continue
            key = (check.metric, check.op, check.value, check.value_from)
            if key in rows:
                rows[key]["clauses"].append(clause.id)
                rows[key]["required"] |= criterion.required
                continue
            answer = measurements.answer(criterion).to_json()
            kept = ("metric", "op", "threshold", "value", "unit", "coverage", "status", "asset", "places", "reason")
            count = sum(metric == check.metric for metric, _ in planned)
            rows[key] = {
                "clauses": [clause.id], "assets": count, "required": criterion.required,
                **{name: answer[name] for name in kept},
            }  # fmt: skip
    return list(rows.values())
