"""What do the documents of a run say, looked up by what a reader asks for?"""

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

from reversible.documents import Document, RunDocuments
from reversible.report.blocks import Cell
from reversible.report.messages import Translator
from reversible.report.words import SYMBOLS, Words

_FOREIGN = "foreign"


class Material:
    """One run's documents in one language. A key that a document lacks reads as "not recorded", never as nothing."""

    def __init__(self, documents: RunDocuments, lang: str) -> None:
        self.plan = documents.plan
        self.inventory = documents.inventory
        self.results = documents.results
        self.run = documents.run
        self.verdicts = documents.verdicts
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
        """The (metric, asset) pairs behind the missed answers: the asset an answer names, and those with places.

        The verdicts decide what is missed; the measurements only say where.
        """
        missed = {(one["metric"], one.get("asset") or "") for _, one in self.answers("missed")}
        metrics = {metric for metric, _ in missed}
        placed = {
            (line["metric"], line["asset"] or "") for line in self.results if line["metric"] in metrics and line["places"]
        }
        return frozenset(missed | placed)

    def answers(self, status: str) -> Iterator[tuple[Document, Document]]:
        """Each clause's answers with that status: what is required first, blocking clauses first."""
        rank = {"blocking": 0, "major": 1, "minor": 2}
        for clause in sorted(self.clauses, key=lambda one: rank.get(one.get("severity", ""), 3)):
            if clause["verdict"] != "NOT_APPLICABLE":
                for answer in clause.get("answers", ()):
                    if answer["status"] == status:
                        yield clause, answer

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
        if not template:
            return Cell("")
        return Cell(self.tr.text(template, facts), "text" if self.tr.knows(template) else "english")

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

    def verdict(self, name: str) -> Cell:
        return Cell(f"{SYMBOLS.get(name, '?')}\u00a0{self.words.verdict(name)}", "verdict", code=name)

    def status(self, name: str) -> Cell:
        return Cell(f"{SYMBOLS.get(name, '?')}\u00a0{self.tr.label('status', name)}", "status", code=name)

    def asset_name(self, asset_id: str | None) -> Cell:
        return Cell(self.tr.text("the whole run")) if not asset_id else Cell(asset_id, _FOREIGN)

    def clause_of(self, clause_id: str) -> Document | None:
        return next((one for one in self.clauses if one["id"] == clause_id), None)
