"""Which shape does the clause catalogue have, in types?

A frozen mirror of clauses.yaml. `reading` builds it and refuses what does not agree with itself, so everything here
may rely on: each id is known, each threshold fits its metric, each text stands in both languages.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Literal

from reversible.findings import Value
from reversible.levels import ProofLevel

OPS = ("<=", ">=", "==", "abs<=", "report")
BASES = ("law", "standard", "supervisor", "contract", "default")
SEVERITIES = ("blocking", "major", "minor")
KINDS = ("machine", "mixed", "document")
METRIC_TYPES = ("number", "bool", "set", "string")
PRODUCERS = ("contract", "inventory", "export", "verify", "rerun", "probe", "drill", "report")
KNOWLEDGE = ("read", "read2", "memory")

MetricType = Literal["number", "bool", "set", "string"]
DocumentKey = tuple[str, str]  # (clause, document id)


class Verdict(StrEnum):
    """What can be said of a clause. Its words are in the catalogue, its rules in `verdicts`."""

    PROVEN = "PROVEN"
    PARTIAL = "PARTIAL"
    FAILED = "FAILED"
    NOT_TESTED = "NOT_TESTED"
    DOCUMENT_NEEDED = "DOCUMENT_NEEDED"
    DOCUMENTED = "DOCUMENTED"
    NOT_APPLICABLE = "NOT_APPLICABLE"


@dataclass(frozen=True)
class Text:
    """One text in both languages."""

    en: str
    fr: str


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A kind of contract or duty that switches clauses on; "baseline" is always on."""

    id: str
    text: Text


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a clause comes from, and whether its text was read for the catalogue."""

    id: str
    text: str
    article: str
    binding: bool
    knowledge: str
    where: str
    topic: str = ""
    in_force_until_change: date | None = None


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One fact that a check may read. `producer` says who takes it; "contract": a person types it."""

    id: str
    unit: str
    type: MetricType
    producer: str
    how: str = ""

    @property
    def typed(self) -> bool:
        """Whether a person types it: such a value never proves anything."""
        return self.producer == "contract"


@dataclass(frozen=True, kw_only=True)
class Unless:
    """Another bound that holds once the clause's conditional document is accepted (CLK-03: seven months)."""

    text: str
    value: float
    document: str


@dataclass(frozen=True, kw_only=True)
class When:
    """The condition under which a document is required: `metric op value`."""

    text: str
    metric: str
    op: str
    value: float


@dataclass(frozen=True, kw_only=True)
class Check:
    """A threshold on one metric, as the catalogue writes it: one of `value` and `value_from`, or op report.

    With neither (basis contract, not required) there is no threshold but the contract's own: once a plan names one the
    check is required, and without one it only reports.
    """

    metric: str
    op: str
    value: Value | None = None
    value_from: str | None = None
    basis: str | None = None  # None for op report only: it decides nothing
    required: bool = True
    fails_when_missed: bool = False  # YAML `on_false: fail`, for an optional check
    else_partial: bool = False  # YAML `else: PARTIAL`: missed, it caps the verdict instead of failing it
    coverage: bool = False  # the value itself is the covered share of the scope, in percent
    only_if_sampled: bool = False
    only_profile: str | None = None
    from_: date | None = None
    until: date | None = None
    unless: Unless | None = None
    note: str = ""

    @property
    def of_contract(self) -> bool:
        """Whether only a contract's own number makes a threshold of it."""
        return self.op != "report" and self.value is None and self.value_from is None


@dataclass(frozen=True, kw_only=True)
class RequiredDocument:
    """A document that only a person can bring; `required` is False for a welcome one."""

    id: str
    text: Text
    required: bool = True
    when: When | None = None


@dataclass(frozen=True, kw_only=True)
class Clause:
    """One promise, and what settles it."""

    id: str
    family: str
    title: Text
    sources: tuple[str, ...]
    profiles: tuple[str, ...]
    severity: str
    kind: str
    proof_level: ProofLevel
    requirement: Text
    checks: tuple[Check, ...]
    documents: tuple[RequiredDocument, ...]
    validity_days: int
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class ContractClause:
    """Sample contract wording, bound to clauses and to measurable numbers (metric, op, value)."""

    id: str
    feeds: tuple[str, ...]
    title: Text
    text: Text
    slo: tuple[tuple[str, str, Value], ...]


@dataclass(frozen=True, kw_only=True)
class RegisterField:
    """One field of the DORA register of information; `origin` is a metric, a clause or a sentence."""

    field: str
    name: str
    origin: str = ""
    unit: str = ""
    codes: Mapping[int, str]
    rule: str = ""
    human_confirms: bool = False
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class GrcRow:
    """The same requirement in an open GRC tool."""

    urn: str
    clauses: tuple[str, ...]
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class ReportSection:
    n: int
    id: str
    fr: str
    holds: str
    source: str


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """The whole catalogue. `content` are the bytes it was read from and `sha256` their digest."""

    content: bytes
    sha256: str
    as_of: str
    clauses: Mapping[str, Clause]
    metrics: Mapping[str, Metric]
    sources: Mapping[str, Source]
    profiles: Mapping[str, Profile]
    flags: Mapping[str, str]
    verdicts: Mapping[Verdict, Text]
    weights: Mapping[str, int]
    contract_clauses: tuple[ContractClause, ...]
    register: tuple[RegisterField, ...]
    open_formats: Mapping[str, tuple[str, ...]]
    report_sections: tuple[ReportSection, ...]
    grc_prefix: str
    grc: tuple[GrcRow, ...]

    def __repr__(self) -> str:
        return f"Catalogue(sha256={self.sha256[:12]}, {len(self.clauses)} clauses)"


def fits(value: object, kind: MetricType) -> bool:
    """Whether a value is of the metric's type. A bool is no number, and neither is NaN; infinity is one."""
    match kind:
        case "number":
            return type(value) is int or (type(value) is float and not math.isnan(value))
        case "bool":
            return type(value) is bool
        case "string":
            return type(value) is str
        case "set":
            return isinstance(value, tuple) and all(type(item) is str for item in value)


def satisfies(value: Value, op: str, threshold: Value) -> bool:
    """Whether `value op threshold` holds. Both must fit the metric's type; an infinite value satisfies nothing.

    Raises:
        ValueError: the operator does not decide ("report"), or does not order values of this type.
    """
    if isinstance(value, float) and not math.isfinite(value):
        return False
    if op == "==":
        if isinstance(value, tuple) and isinstance(threshold, tuple):
            return set(value) == set(threshold)
        return value == threshold
    if not (fits(value, "number") and fits(threshold, "number")) or op not in OPS or op == "report":
        raise ValueError(f"{value!r} {op} {threshold!r} decides nothing")
    assert isinstance(value, int | float)  # noqa: S101 - fits has just said so
    assert isinstance(threshold, int | float)  # noqa: S101
    return {"<=": value <= threshold, ">=": value >= threshold, "abs<=": abs(value) <= threshold}[op]
