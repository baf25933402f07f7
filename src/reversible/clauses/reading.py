"""Does the clause catalogue agree with itself?"""

import hashlib
import math
import re
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from types import MappingProxyType
from typing import Any, cast

from reversible.clauses import model
from reversible.clauses.model import Catalogue, Check, Clause, Metric, Profile, RequiredDocument, Source, Text, Verdict
from reversible.clauses.rows import Row, near, parse, refuse
from reversible.findings import Value
from reversible.levels import ProofLevel

SCHEMA = "reversible-clauses/1"
LANGUAGES = ["en", "fr"]
BASELINE = "baseline"
RULES = 8  # verdict_logic: as many as `verdicts.judge` carries out; another number is another logic

_CLAUSE_ID = re.compile(r"[A-Z]{3}-\d{2}")
_METRIC_ID = re.compile(r"[a-z]+\.[a-z0-9_]+")
_UNLESS = re.compile(r".*\bthen <= (?P<value>\d+(?:\.\d+)?)")
_WHEN = re.compile(r"(?P<metric>[a-z]+\.[a-z0-9_]+) (?P<op>>|<=|>=|<|==) (?P<value>-?\d+(?:\.\d+)?)")


def load(content: bytes | None = None) -> Catalogue:
    """The clause catalogue in `content`; the one that comes with the package when None.

    Raises:
        UsageError: it is not YAML, or it does not agree with itself; the message names the clause and the key.
    """
    if content is None:
        content = (resources.files("reversible") / "catalogue/clauses.yaml").read_bytes()
    return _load(content)


@lru_cache(maxsize=4)
def _load(content: bytes) -> Catalogue:
    top = Row("catalogue", parse(content))
    if top.text("schema") != SCHEMA:
        refuse("schema", f"{SCHEMA!r} is expected, found {top.text('schema')!r}")
    if top.take("languages") != LANGUAGES:
        refuse("languages", f"{LANGUAGES} is expected")
    if len(top.items("verdict_logic")) != RULES:
        refuse("verdict_logic", f"{RULES} rules are expected")
    top.text("optional_checks")
    _proof_levels(top)
    profiles = {name: Profile(id=name, text=_only_text(row)) for name, row in top.named("profiles")}
    if BASELINE not in profiles:
        refuse("profiles", f"{BASELINE} is missing: it is always on")
    sources = {name: _source(name, row) for name, row in top.named("sources")}
    metrics = {name: _metric(name, row) for name, row in top.named("metrics")}
    reader = _ClauseReader(profiles, sources, metrics)
    clauses: dict[str, Clause] = {}
    for row in top.rows("clauses"):
        clause = reader.clause(row)
        if clause.id in clauses:
            refuse(clause.id, "the clause stands twice")
        clauses[clause.id] = clause
    reader.unique_documents(clauses)
    rest = _Annexes(clauses, metrics)
    catalogue = Catalogue(
        content=content,
        sha256=hashlib.sha256(content).hexdigest(),
        as_of=top.text("as_of"),
        clauses=MappingProxyType(clauses),
        metrics=MappingProxyType(metrics),
        sources=MappingProxyType(sources),
        profiles=MappingProxyType(profiles),
        flags=MappingProxyType(_texts("scope_flags", top.mapping("scope_flags"))),
        verdicts=MappingProxyType(_verdicts(top)),
        weights=MappingProxyType(_weights(top)),
        contract_clauses=rest.contract_clauses(top),
        register=rest.register(top),
        open_formats=MappingProxyType(_open_formats(top)),
        report_sections=_report_sections(top),
        **rest.grc(top),
    )
    _vocabulary(top)
    top.done()
    return catalogue


# --- the small sections ------------------------------------------------------------------------------------------


def _only_text(row: Row) -> Text:
    text = row.own_text()
    row.done()
    return text


def _proof_levels(top: Row) -> None:
    names = [name for name, row in top.named("proof_levels") if _only_text(row)]
    if names != list(ProofLevel.__members__):
        refuse("proof_levels", f"{', '.join(ProofLevel.__members__)} are expected, found {', '.join(names)}")


def _verdicts(top: Row) -> dict[Verdict, Text]:
    found: dict[Verdict, Text] = {}
    for name, row in top.named("verdicts"):
        if name not in set(Verdict):
            refuse("verdicts", near(name, list(Verdict)))
        row.text("fr")
        found[Verdict(name)] = Text(en=row.text("meaning_en"), fr=row.text("meaning_fr"))
        row.done()
    if missing := set(Verdict) - set(found):
        refuse("verdicts", f"{', '.join(sorted(missing))} is missing")
    return found


def _weights(top: Row) -> dict[str, int]:
    row = Row("scoring", top.take("scoring"))
    for key in ("headline", "measured_index", "dossier_index", "caps", "sampling", "range"):
        row.text(key)
    weights = Row("scoring.weights", row.take("weights"))
    row.done()
    found = {severity: weights.positive(severity) for severity in model.SEVERITIES}
    weights.done()
    return found


def _source(name: str, row: Row) -> Source:
    source = Source(
        id=name,
        text=row.text("text"),
        article=row.text("article"),
        binding=row.truth("binding"),
        knowledge=row.one_of("knowledge", model.KNOWLEDGE),
        where=row.text("where", ""),
        topic=row.text("topic", ""),
        in_force_until_change=row.day("in_force_until_change"),
    )
    row.done()
    return source


def _metric(name: str, row: Row) -> Metric:
    if not _METRIC_ID.fullmatch(name):
        refuse("metrics", f"{name!r} is no metric id: area.name is expected")
    metric = Metric(
        id=name,
        unit=row.text("unit"),
        type=cast("model.MetricType", row.one_of("type", model.METRIC_TYPES)),
        producer=row.one_of("producer", model.PRODUCERS),
        how=row.text("how", ""),
    )
    row.done()
    return metric


def _texts(where: str, found: Mapping[str, Any]) -> dict[str, str]:
    for name, text in found.items():
        if not isinstance(text, str) or not text.strip():
            refuse(f"{where}.{name}", "a text is expected")
    return dict(found)


def _open_formats(top: Row) -> dict[str, tuple[str, ...]]:
    row = Row("open_formats", top.take("open_formats"))
    return {area: tuple(row.names(area)) for area in top.mapping("open_formats")}


def _report_sections(top: Row) -> tuple[model.ReportSection, ...]:
    found = []
    for position, row in enumerate(top.rows("report_sections")):
        n = row.take("n")
        if type(n) is not int or n != position:
            refuse(row.at("n"), f"{position} is expected, found {n!r}")
        texts = {key: row.text(key) for key in ("id", "fr", "holds", "source")}
        found.append(model.ReportSection(n=n, **texts))
        row.done()
    if len({one.id for one in found}) != len(found):
        refuse("report_sections", "an id stands twice")
    return tuple(found)


def _vocabulary(top: Row) -> None:
    for _, row in top.named("vocabulary"):
        row.text("fr")
        row.text("note", "")
        row.drop_empty()  # YAML splits `{fr: dépendance, verrouillage}` at the comma: a key without a value is a word
        row.done()


# --- clauses -----------------------------------------------------------------------------------------------------


class _ClauseReader:
    """Reads clauses against the ids that they may quote."""

    def __init__(
        self, profiles: Mapping[str, Profile], sources: Mapping[str, Source], metrics: Mapping[str, Metric]
    ) -> None:
        self._profiles = profiles
        self._sources = sources
        self._metrics = metrics

    def clause(self, row: Row) -> Clause:
        name = row.text("id")
        if not _CLAUSE_ID.fullmatch(name):
            refuse(row.at("id"), f"{name!r} is no clause id: ABC-01 is expected")
        row.where = name
        level = row.one_of("proof_level", ProofLevel.__members__)
        documents = tuple(self._document(one) for one in row.rows("documents"))
        clause = Clause(
            id=name,
            family=row.text("family"),
            title=row.both("title"),
            sources=row.some_of("sources", self._sources),
            profiles=row.some_of("profiles", self._profiles),
            severity=row.one_of("severity", model.SEVERITIES),
            kind=row.one_of("kind", model.KINDS),
            proof_level=ProofLevel.of(level),
            requirement=row.both("requirement"),
            checks=tuple(self._check(one, documents) for one in row.rows("checks")),
            documents=documents,
            validity_days=row.positive("validity_days"),
            note=row.text("note", ""),
        )
        row.done()
        self._settled(clause)
        return clause

    def unique_documents(self, clauses: Mapping[str, Clause]) -> None:
        seen: dict[str, str] = {}
        for clause in clauses.values():
            for document in clause.documents:
                if document.id in seen:
                    refuse(clause.id, f"documents: {document.id} stands twice, first in {seen[document.id]}")
                seen[document.id] = clause.id

    def _settled(self, clause: Clause) -> None:
        """Something settles every clause, and nothing settles it twice."""
        required = [one for one in clause.documents if one.required]
        if clause.kind == "document" and clause.checks:
            refuse(clause.id, "kind: a document clause has no checks")
        if clause.kind == "document" and not required:
            refuse(clause.id, "documents: a document clause requires one")
        if clause.kind == "machine" and required:
            refuse(clause.id, "kind: a machine clause requires no document")
        if clause.kind != "document" and not clause.checks:
            refuse(clause.id, f"checks: a {clause.kind} clause has at least one")
        always = [
            one for one in clause.checks
            if (one.required or one.of_contract) and one.op != "report"
            and not (one.only_if_sampled or one.only_profile)
        ]  # fmt: skip
        if not always and not required:
            refuse(clause.id, "checks: nothing that is always required settles this clause")
        keys = [(one.metric, one.from_, one.until) for one in clause.checks]
        if len(set(keys)) != len(keys):
            refuse(clause.id, "checks: a metric stands twice for the same days")

    def _check(self, row: Row, documents: tuple[RequiredDocument, ...]) -> Check:
        metric = self._metrics[row.one_of("metric", self._metrics)]
        op = row.one_of("op", model.OPS)
        required = row.flag("required", default=True)
        check = Check(
            metric=metric.id,
            op=op,
            value=None if op == "report" else self._threshold(row, metric, op, required=required),
            value_from=self._other(row, metric) if "value_from" in row else None,
            basis=row.one_of("basis", model.BASES) if "basis" in row or op != "report" else None,
            required=required,
            fails_when_missed="on_false" in row and row.one_of("on_false", ("fail",)) == "fail",
            else_partial="else" in row and row.one_of("else", ("PARTIAL",)) == "PARTIAL",
            coverage=row.flag("coverage", default=False),
            only_if_sampled="only_if" in row and row.one_of("only_if", ("sampled",)) == "sampled",
            only_profile=row.one_of("only_profile", self._profiles) if "only_profile" in row else None,
            from_=row.day("from"),
            until=row.day("until"),
            unless=self._unless(row, metric, op, documents) if "unless" in row else None,
            note=row.text("note", ""),
        )
        row.done()
        if op == "report" and (required or "value" in row or "value_from" in row):
            refuse(row.at("op"), "report decides nothing: no threshold, and required: false")
        if check.fails_when_missed and required:
            refuse(row.at("on_false"), "a required check fails the clause anyway: for required: false only")
        if check.coverage and not (metric.type == "number" and metric.unit.startswith("percent")):
            refuse(row.at("coverage"), f"{metric.id} is no percentage")
        if check.from_ and check.until and check.until < check.from_:
            refuse(row.at("until"), "before `from`")
        return check

    def _threshold(self, row: Row, metric: Metric, op: str, *, required: bool) -> Value | None:
        if "value" not in row and "value_from" not in row and not required and row.text("basis", "") == "contract":
            return None  # the contract's own number, or none
        if ("value" in row) == ("value_from" in row):
            refuse(row.at("value"), "exactly one of value and value_from is expected")
        if "value" not in row:
            return None
        return threshold(row.take("value"), metric, op, where=row.at("value"))

    def _other(self, row: Row, metric: Metric) -> str:
        other = row.one_of("value_from", self._metrics)
        if self._metrics[other].type != metric.type or metric.type != "number":
            refuse(row.at("value_from"), f"{other} and {metric.id} are not both numbers")
        return other

    def _unless(self, row: Row, metric: Metric, op: str, documents: tuple[RequiredDocument, ...]) -> model.Unless:
        text = row.text("unless")
        match = _UNLESS.fullmatch(text)
        on_this = [one.id for one in documents if one.when is not None and one.when.metric == metric.id]
        if match is None or op != "<=" or len(on_this) != 1:
            refuse(row.at("unless"), 'expected "..., then <= NUMBER", and one document with a `when` on the metric')
        return model.Unless(text=text, value=_number(match["value"]), document=on_this[0])

    def _document(self, row: Row) -> RequiredDocument:
        document = RequiredDocument(
            id=row.text("id"),
            text=row.own_text(),
            required=row.flag("required", default=True),
            when=self._when(row) if "when" in row else None,
        )
        row.done()
        return document

    def _when(self, row: Row) -> model.When:
        text = row.text("when")
        match = _WHEN.fullmatch(text)
        if match is None or match["metric"] not in self._metrics or self._metrics[match["metric"]].type != "number":
            refuse(row.at("when"), f'expected "METRIC > NUMBER" with a known metric, found {text!r}')
        return model.When(text=text, metric=match["metric"], op=match["op"], value=_number(match["value"]))


def threshold(found: object, metric: Metric, op: str, *, where: str) -> Value:
    """A threshold that fits its metric and operator.

    Raises:
        UsageError: it does not.
    """
    value = tuple(found) if isinstance(found, list) else found
    if not model.fits(value, metric.type) or (isinstance(value, float) and not math.isfinite(value)):
        refuse(where, f"{metric.id} is a {metric.type}, found {found!r}")
    if metric.type != "number" and op != "==":
        refuse(where, f"{op} does not order a {metric.type}")
    if op == "abs<=" and cast("float", value) < 0:
        refuse(where, "the bound of an absolute value is not below 0")
    return cast("Value", value)


def _number(text: str) -> float:
    return float(text) if "." in text else int(text)


# --- what quotes clauses and metrics -----------------------------------------------------------------------------


class _Annexes:
    def __init__(self, clauses: Mapping[str, Clause], metrics: Mapping[str, Metric]) -> None:
        self._clauses = clauses
        self._metrics = metrics

    def contract_clauses(self, top: Row) -> tuple[model.ContractClause, ...]:
        found = []
        for row in top.rows("contract_clauses"):
            row.where = f"contract_clauses {row.text('id')}"
            found.append(
                model.ContractClause(
                    id=row.text("id"),
                    feeds=row.some_of("feeds", self._clauses),
                    title=row.both("title"),
                    text=row.own_text(),
                    slo=tuple(self._number_of(one) for one in row.rows("slo")),
                )
            )
            row.done()
        if len({one.id for one in found}) != len(found):
            refuse("contract_clauses", "an id stands twice")
        return tuple(found)

    def _number_of(self, row: Row) -> tuple[str, str, Value]:
        metric = self._metrics[row.one_of("metric", self._metrics)]
        op = row.one_of("op", [one for one in model.OPS if one != "report"])
        value = threshold(row.take("value"), metric, op, where=row.at("value"))
        row.done()
        return metric.id, op, value

    def register(self, top: Row) -> tuple[model.RegisterField, ...]:
        found = []
        for row in top.rows("roi_map"):
            row.where = f"roi_map {row.text('field')}"
            origin = row.text("from", "")
            if _CLAUSE_ID.fullmatch(origin) and origin not in self._clauses:
                refuse(row.at("from"), near(origin, self._clauses))
            if _METRIC_ID.fullmatch(origin) and origin not in self._metrics:
                refuse(row.at("from"), near(origin, self._metrics))
            codes = row.take("codes") if "codes" in row else {}
            if not isinstance(codes, Mapping) or not all(type(code) is int for code in codes):
                refuse(row.at("codes"), "a mapping of numbers to texts is expected")
            found.append(
                model.RegisterField(
                    field=row.text("field"),
                    name=row.text("name"),
                    origin=origin,
                    unit=row.text("unit", ""),
                    codes=MappingProxyType({code: str(text) for code, text in codes.items()}),
                    rule=row.text("rule", ""),
                    human_confirms=row.flag("human_confirms", default=False),
                    note=row.text("note", ""),
                )
            )
            row.done()
        if len({one.field for one in found}) != len(found):
            refuse("roi_map", "a field stands twice")
        return tuple(found)

    def grc(self, top: Row) -> dict[str, Any]:
        section = Row("grc_map", top.take("grc_map"))
        found = []
        for row in section.rows("rows"):
            row.where = f"grc_map {row.text('urn')}"
            clauses = row.some_of("clauses", self._clauses)
            found.append(model.GrcRow(urn=row.text("urn"), clauses=clauses, note=row.text("note", "")))
            row.done()
        prefix = section.text("prefix")
        section.done()
        if len({one.urn for one in found}) != len(found):
            refuse("grc_map", "a urn stands twice")
        return {"grc_prefix": prefix, "grc": tuple(found)}
