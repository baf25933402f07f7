"""What do the documents of a run say, looked up by what a reader asks for?"""

import json
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

from reversible.clauses import satisfies
from reversible.documents import Document, RunDocuments
from reversible.report.blocks import Cell
from reversible.report.messages import Translator
from reversible.report.words import OPERATORS, SYMBOLS, Words

_FOREIGN = "foreign"


class Material:
    """One run's documents in one language. A key that a document lacks reads as "not recorded", never as nothing."""

    def __init__(self, documents: RunDocuments, lang: str) -> None:
        self.plan: Document = _as_kept(documents.plan)
        self.inventory: tuple[Document, ...] = tuple(_as_kept(documents.inventory))
        self.results: tuple[Document, ...] = tuple(_as_kept(documents.results))
        self.run: Document = _as_kept(documents.run)
        self.verdicts: Document = _as_kept(documents.verdicts)
        self.tr = Translator(lang)
        self.words = Words(documents.catalogue, self.tr)

    @cached_property
    def clauses(self) -> tuple[Document, ...]:
        return tuple(self.verdicts.get("clauses", ()))

    @cached_property
    def exit_plan(self) -> Mapping[str, Any]:
        return self.plan.get("exit_plan") or {}

    @cached_property
    def by_metric(self) -> Mapping[str, tuple[Document, ...]]:
        found: dict[str, list[Document]] = {}
        for line in self.results:
            found.setdefault(line["metric"], []).append(line)
        return {metric: tuple(lines) for metric, lines in found.items()}

    @cached_property
    def by_asset(self) -> Mapping[str, Mapping[str, Document]]:
        found: dict[str, dict[str, Document]] = {}
        for line in self.results:
            found.setdefault(line["asset"] or "", {})[line["metric"]] = line
        return found

    @cached_property
    def off(self) -> frozenset[tuple[str, str]]:
        """The (metric, asset) pairs behind the missed answers.

        The verdicts decide which answers are missed; which of the measurements behind one are off is asked of the
        judge's own comparison.
        """
        found = set()
        for _, answer in self.answers("missed"):
            for line in self.by_metric.get(answer["metric"], ()):
                if line["status"] == "measured" and not _meets(line["value"], answer):
                    found.add((line["metric"], line["asset"] or ""))
        return frozenset(found)

    def answers(self, status: str) -> Iterator[tuple[Document, Document]]:
        """Each clause's answers with that status: failed clauses first, then blocking ones."""
        for clause in sorted(self.clauses, key=_urgency):
            if clause["verdict"] != "NOT_APPLICABLE":
                for answer in clause.get("answers", ()):
                    if answer["status"] == status:
                        yield clause, answer

    @cached_property
    def failed_on_paper(self) -> tuple[Document, ...]:
        """The clauses that FAILED without a missed measurement: a document contradicts them."""
        return tuple(
            one
            for one in sorted(self.clauses, key=_urgency)
            if one["verdict"] == "FAILED" and not any(answer["status"] == "missed" for answer in one.get("answers", ()))
        )

    def of_run(self, metric: str) -> Document | None:
        """The line that answers a metric of the whole run, when it was measured."""
        for line in self.by_metric.get(metric, ()):
            if line["asset"] is None and line["status"] == "measured":
                return line
        return None

    def shown(self, metric: str) -> str:
        """A run metric's value in words: "not measured" when there is none."""
        line = self.of_run(metric)
        return self.tr.text("not measured") if line is None else self.value(line)

    def value(self, line: Document) -> str:
        """A result line's value with its unit; why there is none otherwise."""
        if line.get("status", "measured") == "not-run":
            return self.tr.text("did not run")
        if line.get("status") == "error" or line.get("value") is None:
            return self.tr.text("not measured")
        return self.tr.value(line["value"], line.get("unit", ""))

    def sentence(self, line: Document) -> Cell:
        """What was seen; a sentence without translation is marked as English."""
        if line.get("error"):
            return self.say(line["error"], {})
        return self.say(line.get("seen", ""), line.get("facts", {}))

    def say(self, template: str, facts: Mapping[str, Any]) -> Cell:
        """A sentence with its facts in words: metrics, documents and operators by their names."""
        if not template:
            return Cell("")
        named = {name: self._named(name, value) for name, value in facts.items()}
        return Cell(self.tr.text(template, named), "text" if self.tr.knows(template) else "english")

    def _named(self, name: str, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if name in ("metric", "threshold"):
            return self.words.metric(value)
        if name in ("metrics", "documents"):
            say = self.words.metric if name == "metrics" else self.words.document
            return ", ".join(say(one) for one in value.split(", "))
        if name == "document":
            return self.words.document(value)
        if name == "op":
            return OPERATORS.get(value, value)
        if name == "error":
            return self.tr.text(value)
        return self.tr.day(value) if name in ("measured_on", "until", "read_on") else value

    def recorded(self, value: Any, form: str = _FOREIGN) -> Cell:
        """A value as it stands in a document, or the words "not recorded"."""
        if value is None or value in ("", [], {}, ()):
            return Cell(self.tr.text("not recorded"), "missing")
        if isinstance(value, (list, tuple)):
            return Cell(", ".join(str(one) for one in value), form)
        if isinstance(value, (bool, int, float)):
            return Cell(self.tr.scalar(value))
        return Cell(str(value), form)

    def moment(self, value: Any) -> Cell:
        return Cell(self.tr.moment(value)) if isinstance(value, str) and value else self.recorded(None)

    def day(self, value: Any) -> Cell:
        return Cell(self.tr.day(str(value))) if value else self.recorded(None)

    def verdict(self, name: str) -> Cell:
        return Cell(f"{SYMBOLS.get(name, '?')}\u00a0{self.words.verdict(name)}", "verdict", code=name)

    def status(self, name: str) -> Cell:
        return Cell(f"{SYMBOLS.get(name, '?')}\u00a0{self.tr.label('status', name)}", "status", code=name)

    def asset_name(self, asset_id: str | None) -> Cell:
        return Cell(self.tr.text("the whole run")) if not asset_id else Cell(asset_id, _FOREIGN)

    def clause_of(self, clause_id: str) -> Document | None:
        return next((one for one in self.clauses if one["id"] == clause_id), None)


def _as_kept(document: Any) -> Any:
    """The document as a dossier gives it back, keys in order: the run and whoever verifies it render the same bytes."""
    return json.loads(json.dumps(document, sort_keys=True))


def _urgency(clause: Document) -> tuple[bool, int, str]:
    severities = {"blocking": 0, "major": 1, "minor": 2}
    return (clause["verdict"] != "FAILED", severities.get(clause.get("severity", ""), 3), clause["id"])


def _meets(value: Any, answer: Document) -> bool:
    value = tuple(value) if isinstance(value, list) else value
    bound: Any = answer.get("threshold")
    try:
        return satisfies(value, answer["op"], tuple(bound) if isinstance(bound, list) else bound)
    except ValueError:  # of another type than the threshold: the judge did not count it as an answer
        return True
