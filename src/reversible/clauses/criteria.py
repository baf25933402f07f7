"""What is the pass mark, sealed before the run?"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Self

from reversible.clauses.model import BASES, Catalogue, Check, Unless, satisfies
from reversible.clauses.reading import BASELINE, threshold
from reversible.clauses.rows import near
from reversible.errors import EvidenceError, UsageError
from reversible.findings import Value

_HINT = "reversible clauses"


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """One check of one clause, with the threshold that counts for this contract.

    The fields are those of `Check`, plus the clause. In JSON a field that says nothing is left out, and the keys
    are the catalogue's own: `else`, `from`, `on_false`.
    """

    clause: str
    metric: str
    op: str
    value: Value | None = None
    value_from: str | None = None
    basis: str | None = None
    required: bool = True
    on_false: str | None = None
    else_: str | None = None
    coverage: bool = False
    only_if: str | None = None
    only_profile: str | None = None
    from_: date | None = None
    until: date | None = None
    unless: Unless | None = None
    note: str = ""

    @property
    def decides(self) -> bool:
        """Whether there is a threshold: not where it only reports, nor where the contract names none."""
        return self.op != "report" and (self.value is not None or self.value_from is not None)

    def holds_on(self, day: date) -> bool:
        """Whether it counts on that day: `from` and `until` are both included."""
        return (self.from_ is None or self.from_ <= day) and (self.until is None or day <= self.until)

    def to_json(self) -> dict[str, Any]:
        document: dict[str, Any] = {"clause": self.clause, "metric": self.metric, "op": self.op}
        optional = {
            "value": list(self.value) if isinstance(self.value, tuple) else self.value,
            "value_from": self.value_from,
            "basis": self.basis,
            "on_false": self.on_false,
            "else": self.else_,
            "coverage": self.coverage or None,
            "only_if": self.only_if,
            "only_profile": self.only_profile,
            "from": self.from_ and self.from_.isoformat(),
            "until": self.until and self.until.isoformat(),
            "unless": self.unless
            and {"text": self.unless.text, "value": self.unless.value, "document": self.unless.document},
            "note": self.note or None,
        }
        return {**document, "required": self.required, **{k: v for k, v in optional.items() if v is not None}}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The criterion of a JSON document.

        Raises:
            EvidenceError: a key is unknown or missing, or a day is none.
        """
        texts = ("clause", "metric", "op", "note")
        if not isinstance(document, Mapping) or not all(isinstance(document.get(key, ""), str) for key in texts):
            raise EvidenceError(f"plan.json: in a criterion {', '.join(texts)} are texts", hint="reversible schema")
        renamed = {"else": "else_", "from": "from_"}
        fields = {renamed.get(key, key): value for key, value in document.items()}
        try:
            for key in ("from_", "until"):
                if key in fields:
                    fields[key] = date.fromisoformat(fields[key])
            if "unless" in fields:
                fields["unless"] = Unless(**fields["unless"])
            if isinstance(fields.get("value"), list):
                fields["value"] = tuple(fields["value"])
            return cls(**fields)
        except (TypeError, ValueError) as error:
            raise EvidenceError(f"plan.json: a criterion is malformed: {error}", hint="reversible schema") from error


def criterion_of(clause: str, check: Check) -> Criterion:
    """The catalogue's own criterion."""
    return Criterion(
        clause=clause,
        metric=check.metric,
        op=check.op,
        value=check.value,
        value_from=check.value_from,
        basis=check.basis,
        required=check.required,
        on_false="fail" if check.fails_when_missed else None,
        else_="PARTIAL" if check.else_partial else None,
        coverage=check.coverage,
        only_if="sampled" if check.only_if_sampled else None,
        only_profile=check.only_profile,
        from_=check.from_,
        until=check.until,
        unless=check.unless,
        note=check.note,
    )


def criteria(
    catalogue: Catalogue, profiles: Iterable[str], overrides: Sequence[Mapping[str, Any]] = ()
) -> tuple[Criterion, ...]:
    """The criteria of the clauses that `profiles` switch on, in catalogue order: the list that is sealed before a run.

    Args:
        catalogue: The clauses.
        profiles: Ids; "baseline" is always on.
        overrides: The plan's own pass marks: {"clause", "metric", "value", "basis", "note"?}. A law's threshold may
            be made stricter, never laxer.

    Raises:
        UsageError: a profile, clause or metric is unknown or not switched on; a threshold does not fit its metric,
            is laxer than the law, or is given twice. The message names the nearest known id.
    """
    found = _of_profiles(catalogue, profiles)
    for position, override in enumerate(overrides):
        found = _overridden(catalogue, found, override, where=f"clauses.criterion[{position}]")
    keys = [(one["clause"], one["metric"]) for one in overrides]
    if twice := sorted({key for key in keys if keys.count(key) > 1}):
        raise UsageError(f"clauses.criterion: {' '.join(twice[0])} has two pass marks", hint="keep one of the two")
    return found


def sealed_criteria(
    catalogue: Catalogue, profiles: Iterable[str], sealed: Sequence[Mapping[str, Any]]
) -> tuple[Criterion, ...]:
    """The criteria of a sealed plan, once they are shown to be the catalogue's own but for their thresholds.

    Raises:
        EvidenceError: one was dropped, added, moved or weakened.
    """
    own = _of_profiles(catalogue, profiles)
    found = tuple(Criterion.from_json(document) for document in sealed)
    if [(one.clause, one.metric) for one in found] != [(one.clause, one.metric) for one in own]:
        asked = [(one.clause, one.metric) for one in own]
        given = [(one.clause, one.metric) for one in found]
        dropped = [" ".join(key) for key in asked if key not in given]
        added = [" ".join(key) for key in given if key not in asked]
        what = f"dropped: {', '.join(dropped) or '-'}; added: {', '.join(added) or '-'}"
        raise EvidenceError(f"plan.json: the criteria are not the catalogue's for these profiles ({what})", hint=_HINT)
    for mine, theirs in zip(own, found, strict=True):
        if theirs != mine or type(theirs.value) is not type(mine.value):  # True is 1 to Python, and no number to us
            _allowed(catalogue, mine, theirs)
    return found


def _allowed(catalogue: Catalogue, own: Criterion, sealed: Criterion) -> None:
    """A sealed criterion that differs from the catalogue's is what an override makes of it, and nothing else."""
    where = f"plan.json: {own.clause} {own.metric}"
    if own.op == "report" or sealed.value is None or sealed.basis is None:
        raise EvidenceError(f"{where}: the criterion is not the catalogue's", hint=_HINT)
    try:
        made = _replaced(catalogue, own, sealed.value, sealed.basis, sealed.note, where=where)
    except UsageError as error:
        raise EvidenceError(error.message, hint=_HINT) from error
    if made != sealed:
        raise EvidenceError(f"{where}: more than threshold, basis and note was changed", hint=_HINT)


def _of_profiles(catalogue: Catalogue, profiles: Iterable[str]) -> tuple[Criterion, ...]:
    on = {BASELINE, *profiles}
    for name in sorted(on):
        if name not in catalogue.profiles:
            raise UsageError(f"clauses.profiles: {near(name, catalogue.profiles)}", hint=_HINT)
    return tuple(
        criterion_of(clause.id, check)
        for clause in catalogue.clauses.values()
        if on & set(clause.profiles)
        for check in clause.checks
        if check.only_profile is None or check.only_profile in on
    )


def _overridden(
    catalogue: Catalogue, found: tuple[Criterion, ...], override: Mapping[str, Any], *, where: str
) -> tuple[Criterion, ...]:
    clause, metric = override["clause"], override["metric"]
    if clause not in catalogue.clauses:
        raise UsageError(f"{where}.clause: {near(clause, catalogue.clauses)}", hint=_HINT)
    measured = [check.metric for check in catalogue.clauses[clause].checks]
    if metric not in measured:
        raise UsageError(f"{where}.metric: {near(metric, measured)} in {clause}", hint=f"{_HINT} {clause}")
    if not any((one.clause, one.metric) == (clause, metric) for one in found):
        raise UsageError(f"{where}: the plan's profiles do not switch {clause} {metric} on", hint=f"{_HINT} {clause}")
    value = override["value"]
    return tuple(
        _replaced(catalogue, one, value, override["basis"], override.get("note", ""), where=where)
        if (one.clause, one.metric) == (clause, metric)
        else one
        for one in found
    )


def _replaced(catalogue: Catalogue, own: Criterion, value: object, basis: str, note: str, *, where: str) -> Criterion:
    """`own` with another threshold. The exception for an accepted document falls: the contract's number stands.

    A check that waited for the contract's number is required from then on.
    """
    if own.op == "report":
        raise UsageError(f"{where}: {own.clause} only reports {own.metric}: no threshold to replace", hint=_HINT)
    if basis not in BASES:
        raise UsageError(f"{where}.basis: {near(basis, BASES)}", hint=_HINT)
    try:
        new = threshold(value, catalogue.metrics[own.metric], own.op, where=f"{where}.value")
    except UsageError as error:
        raise UsageError(error.message.removeprefix("clauses.yaml: "), hint=f"{_HINT} {own.clause}") from error
    if own.basis == "law" and own.value is not None and not satisfies(new, own.op, own.value):
        raise UsageError(
            f"{where}.value: {new} is laxer than the law's {own.op} {own.value} in {own.clause}",
            hint=f"{_HINT} {own.clause}",
        )
    required = own.required or not own.decides
    return replace(own, value=new, value_from=None, basis=basis, note=note or own.note, unless=None, required=required)
