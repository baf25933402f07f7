"""Is this criterion met, missed or unanswered?

What could not be checked never passes: a criterion is met only when every planned measurement of its metric is there,
is of the metric's type, and satisfies the threshold.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from enum import StrEnum
from typing import Any

from reversible.clauses import Catalogue, Criterion, Metric, fits, satisfies
from reversible.errors import EvidenceError
from reversible.findings import Finding, Scalar, Value

Planned = tuple[str, str | None]  # (metric, asset id); None: the whole run

_HINT = "reversible evidence verify --help"


class Status(StrEnum):
    MET = "met"
    MISSED = "missed"
    UNANSWERED = "unanswered"


@dataclass(frozen=True)
class Reason:
    """One English sentence with {names} that `facts` fills: the report translates the sentence."""

    text: str
    facts: Mapping[str, Scalar] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {"text": self.text, "facts": dict(self.facts)}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the measurements say about one criterion.

    `value` and `asset` are the worst measured value and where it was taken, `places` where it is off; an unanswered
    criterion has no value, and `asset` and `places` are the assets without an answer. `coverage` is the smallest
    share of the declared scope that any measurement had, 0 when unanswered. `typed`: a person typed it, so it never
    proves.
    """

    criterion: Criterion
    unit: str
    status: Status
    threshold: Value | None = None
    value: Value | None = None
    asset: str | None = None
    coverage: float = 0.0
    projected: bool = False
    typed: bool = False
    places: tuple[str, ...] = ()
    reason: Reason | None = None

    @property
    def required(self) -> bool:
        return self.criterion.required and self.criterion.decides

    @property
    def whole(self) -> bool:
        """Met by a machine, on the whole declared scope, and not projected."""
        return self.status is Status.MET and not self.typed and self.coverage >= 1 and not self.projected

    def to_json(self) -> dict[str, Any]:
        return {
            "metric": self.criterion.metric,
            "op": self.criterion.op if self.criterion.decides else "report",
            "threshold": _plain(self.threshold),
            "basis": self.criterion.basis,
            "required": self.required,
            "status": str(self.status),
            "value": _plain(self.value),
            "unit": self.unit,
            "coverage": self.coverage,
            "projected": self.projected,
            "asset": self.asset,
            "places": list(self.places),
            "reason": None if self.reason is None else self.reason.to_json(),
        }


class Measurements:
    """What was planned, what was measured and what was typed, asked criterion by criterion.

    Args:
        catalogue: The metrics.
        planned: Every check that was planned.
        findings: What came back; a planned check without finding, or with a finding without value, is unanswered.
        facts: Typed values by metric.

    Raises:
        EvidenceError: a finding was not planned, a planned check has two, a metric is unknown, a coverage is not
            within 0 and 1, or a value was typed for something that a machine measures.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        planned: Iterable[Planned],
        findings: Iterable[Finding],
        facts: Mapping[str, Value],
    ) -> None:
        self._metrics = catalogue.metrics
        self._facts = facts
        self._checks = frozenset(planned)
        self._planned: dict[str, list[str | None]] = {}
        for metric, asset in sorted(self._checks, key=lambda pair: (pair[0], pair[1] or "")):
            if self._metric(metric).typed:
                raise EvidenceError(f"{metric} is typed by a person: no check can be planned for it", hint=_HINT)
            self._planned.setdefault(metric, []).append(asset)
        for metric in facts:
            if not self._metric(metric).typed:
                raise EvidenceError(f"{metric} is measured: a typed value does not answer it", hint=_HINT)
        self._findings: dict[Planned, Finding] = {}
        for finding in findings:
            self._take(finding)

    def answer(self, criterion: Criterion, *, bound: Value | None = None) -> Answer:
        """Hold the measurements against the criterion; `bound` replaces its threshold."""
        metric = self._metric(criterion.metric)
        threshold = bound if bound is not None else self._threshold(criterion)
        if criterion.decides and threshold is None:
            reason = Reason(UNKNOWN_THRESHOLD, {"metric": metric.id, "threshold": criterion.value_from or ""})
            return _open(criterion, metric, None, reason)
        if metric.typed:
            return self._typed(criterion, metric, threshold)
        return self._measured(criterion, metric, threshold)

    def value(self, metric: str) -> Value | None:
        """The value of a metric of the whole run, typed or measured; None when there is none of its type."""
        found: Value | None
        if self._metric(metric).typed:
            found = self._facts.get(metric)
        else:
            finding = self._findings.get((metric, None))
            found = None if finding is None else finding.value
        return found if fits(found, self._metric(metric).type) and _finite(found) else None

    def sampled(self, metrics: Iterable[str]) -> bool:
        """Whether any measurement of these metrics left a part of its scope out."""
        wanted = set(metrics)
        return any(
            finding.coverage < 1 or finding.facts.get("sampled") is True
            for (metric, _), finding in self._findings.items()
            if metric in wanted and finding.value is not None
        )

    def planned(self, metric: str) -> bool:
        """Whether the plan has this metric measured on anything."""
        return any(key[0] == metric for key in self._checks)

    # --- what came in ------------------------------------------------------------------------------------------

    def _take(self, finding: Finding) -> None:
        key = (finding.metric, finding.asset)
        named = f"{finding.metric} on {finding.asset or 'the whole run'}"
        if key not in self._checks:
            raise EvidenceError(f"{named}: a result that was not planned", hint=_HINT)
        if key in self._findings:
            raise EvidenceError(f"{named}: two results for one planned check", hint=_HINT)
        if not fits(finding.coverage, "number") or not 0 <= finding.coverage <= 1:
            raise EvidenceError(f"{named}: coverage {finding.coverage!r} is not within 0 and 1", hint=_HINT)
        self._findings[key] = finding

    def _metric(self, name: str) -> Metric:
        if name not in self._metrics:
            raise EvidenceError(f"{name!r} is no metric of the clause catalogue", hint="reversible clauses")
        return self._metrics[name]

    # --- answers -----------------------------------------------------------------------------------------------

    def _threshold(self, criterion: Criterion) -> Value | None:
        return criterion.value if criterion.value_from is None else self.value(criterion.value_from)

    def _typed(self, criterion: Criterion, metric: Metric, threshold: Value | None) -> Answer:
        value = self._facts.get(metric.id)
        if value is None:
            return _open(criterion, metric, threshold, Reason(NOT_TYPED, {"metric": metric.id}))
        if not fits(value, metric.type) or not _finite(value):
            facts: dict[str, Scalar] = {"metric": metric.id, "value": shown(value), "type": metric.type}
            return _open(criterion, metric, threshold, Reason(WRONG_TYPE, facts))
        return _settled(criterion, metric, threshold, [Finding(metric.id, None, value, unit=metric.unit)])

    def _measured(self, criterion: Criterion, metric: Metric, threshold: Value | None) -> Answer:
        assets = self._planned.get(metric.id, [])
        if not assets:
            return _open(criterion, metric, threshold, Reason(NOT_PLANNED, {"metric": metric.id}))
        answering: list[Finding] = []
        without: list[tuple[str | None, Finding | None]] = []
        for asset in assets:
            finding = self._findings.get((metric.id, asset))
            if finding is not None and _answers(finding, metric, criterion):
                answering.append(finding)
            else:
                without.append((asset, finding))
        missed = any(not _holds(one, criterion, threshold) for one in answering)
        if missed:
            return _settled(criterion, metric, threshold, answering)
        if without:
            return replace(
                _open(criterion, metric, threshold, _why(metric, without, len(assets))),
                asset=without[0][0],
                places=tuple(asset for asset, _ in without if asset is not None),
            )
        return _settled(criterion, metric, threshold, answering)


NOT_PLANNED = "{metric}: no check was planned"
NOT_TYPED = "{metric}: the plan does not say this number"
UNKNOWN_THRESHOLD = "{metric}: the threshold {threshold} is not known"
WRONG_TYPE = "{metric}: {value} is not a {type}"
NOT_MEASURED = "{metric}: not measured: {error}"
NO_ANSWER = "{metric}: {n} of {total} planned checks have no answer, first {asset}: {error}"
EXPIRED = "{metric}: measured on {measured_on}, valid until {until}"
OFF = "{metric} is {value}; required: {op} {threshold}"
OFF_ON = "{metric} is {value} on {asset}; required: {op} {threshold}"
OFF_AT = "{metric} is {value} on {asset}; required: {op} {threshold}; {n} of {total} assets are off"


def shown(value: Value | None) -> Scalar:
    """A value as a sentence's fact: one scalar that JSON can hold."""
    if isinstance(value, tuple):
        return ", ".join(value)
    if value is None or not _finite(value):
        return str(value)
    return value


def _answers(finding: Finding, metric: Metric, criterion: Criterion) -> bool:
    """Whether a finding answers at all. NaN, a wrong type, and an infinity on the good side answer nothing."""
    if finding.value is None or not fits(finding.value, metric.type):
        return False
    if _finite(finding.value) or not criterion.decides:
        return _finite(finding.value)
    good_side = math.inf if criterion.op == ">=" else -math.inf if criterion.op == "<=" else None
    return finding.value != good_side


def _holds(finding: Finding, criterion: Criterion, threshold: Value | None) -> bool:
    if not criterion.decides:
        return True
    return finding.value is not None and threshold is not None and satisfies(finding.value, criterion.op, threshold)


def _settled(criterion: Criterion, metric: Metric, threshold: Value | None, findings: Sequence[Finding]) -> Answer:
    missed = [one for one in findings if not _holds(one, criterion, threshold)]
    worst = max(missed or findings, key=lambda one: _distance(one.value, criterion.op, threshold))
    places = (place for one in (missed or ([] if criterion.decides else findings)) for place in one.places)
    return Answer(
        criterion=criterion,
        unit=metric.unit,
        status=Status.MISSED if missed else Status.MET,
        threshold=threshold,
        value=worst.value,
        asset=worst.asset,
        coverage=min(_coverage(one, criterion) for one in findings),
        projected=any(one.projected for one in findings),
        typed=metric.typed,
        places=tuple(dict.fromkeys(places)),
        reason=_off(criterion, threshold, worst, len(missed), len(findings)) if missed else None,
    )


def _open(criterion: Criterion, metric: Metric, threshold: Value | None, reason: Reason) -> Answer:
    return Answer(
        criterion=criterion,
        unit=metric.unit,
        status=Status.UNANSWERED,
        threshold=threshold,
        typed=metric.typed,
        reason=reason,
    )


def expired(answer: Answer, measured_on: date, until: date) -> Answer:
    """A met answer that is too old to count. What was missed stays missed: age does not mend it."""
    if answer.status is not Status.MET:
        return answer
    facts: dict[str, Scalar] = {
        "metric": answer.criterion.metric,
        "measured_on": measured_on.isoformat(),
        "until": until.isoformat(),
    }
    reason = Reason(EXPIRED, facts)
    return replace(answer, status=Status.UNANSWERED, value=None, coverage=0.0, places=(), reason=reason)


def _off(criterion: Criterion, threshold: Value | None, worst: Finding, n: int, total: int) -> Reason:
    facts: dict[str, Scalar] = {
        "metric": criterion.metric,
        "value": shown(worst.value),
        "op": criterion.op,
        "threshold": shown(threshold),
    }
    if worst.asset is None:
        return Reason(OFF, facts)
    if n == 1:
        return Reason(OFF_ON, {**facts, "asset": worst.asset})
    return Reason(OFF_AT, {**facts, "asset": worst.asset, "n": n, "total": total})


def _why(metric: Metric, without: Sequence[tuple[str | None, Finding | None]], total: int) -> Reason:
    asset, finding = without[0]
    if finding is not None and finding.value is not None:
        error = f"{shown(finding.value)} is not a {metric.type} that counts"
    else:
        error = (finding.error if finding is not None else "") or "it did not run"
    if asset is None and len(without) == 1:
        return Reason(NOT_MEASURED, {"metric": metric.id, "error": error})
    facts: dict[str, Scalar] = {"metric": metric.id, "n": len(without), "total": total}
    return Reason(NO_ANSWER, {**facts, "asset": asset or "the whole run", "error": error})


def _distance(value: Value | None, op: str, threshold: Value | None) -> float:
    """How far a value lies on the bad side; larger is worse. Comparable for one criterion only."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not isinstance(threshold, int | float):
        return 0.0
    signed = {"<=": value, ">=": -value, "abs<=": abs(value), "==": abs(value - threshold)}
    return float(signed.get(op, 0))


def _coverage(finding: Finding, criterion: Criterion) -> float:
    """The covered share; a criterion marked `coverage` measures that share itself, in percent."""
    share = float(finding.coverage)
    if criterion.coverage and isinstance(finding.value, int | float):
        share = min(share, max(0.0, finding.value / 100))
    return share


def _finite(value: Value | None) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def _plain(value: Value | None) -> Any:
    """The value as JSON; an infinity becomes its name, for JSON has none."""
    if isinstance(value, tuple):
        return list(value)
    return value if _finite(value) else str(value)
