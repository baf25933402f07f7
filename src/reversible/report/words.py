"""What does the clause catalogue call things in this language?"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from reversible.report.messages import Translator

VERDICTS = ("FAILED", "NOT_TESTED", "DOCUMENT_NEEDED", "PARTIAL", "PROVEN", "DOCUMENTED", "NOT_APPLICABLE")
SYMBOLS = {
    "FAILED": "✗",
    "NOT_TESTED": "○",
    "DOCUMENT_NEEDED": "□",
    "PARTIAL": "◐",
    "PROVEN": "✓",
    "DOCUMENTED": "■",
    "NOT_APPLICABLE": "–",
    "met": "✓",
    "missed": "✗",
    "unanswered": "○",
}
_NO_TEXT = frozenset({"SEED", "PROJECT"})  # what inspired a clause, not what binds anybody
OPERATORS = {"<=": "≤", ">=": "≥", "==": "=", "!=": "≠", "<": "<", ">": ">", "abs<=": "|x| ≤"}


@dataclass(frozen=True, kw_only=True)
class ClauseWords:
    """A clause as the catalogue words it; `sources` are laws, standards and supervisors with their articles."""

    id: str
    title: str
    requirement: str
    sources: tuple[str, ...]
    brief: str
    note: str
    validity_days: int | None
    documents: Mapping[str, str]


class Words:
    """The names and sentences of one clause catalogue in one language; an unknown id is its own name."""

    def __init__(self, content: bytes, tr: Translator) -> None:
        self._raw = _parse(content)
        self._tr = tr
        self._clauses = {row["id"]: row for row in self._raw.get("clauses", [])}

    @property
    def as_of(self) -> str:
        return str(self._raw.get("as_of", ""))

    @property
    def sections(self) -> tuple[tuple[str, int], ...]:
        return tuple((row["id"], row["n"]) for row in self._raw.get("report_sections", []))

    def verdict(self, name: str) -> str:
        if self._tr.lang == "en":
            return name.replace("_", " ")
        return str(self._raw.get("verdicts", {}).get(name, {}).get(self._tr.lang, name))

    def meaning(self, verdict: str) -> str:
        return self._say(self._raw.get("verdicts", {}).get(verdict, {}).get(f"meaning_{self._tr.lang}", ""))

    def level(self, name: str) -> str:
        """What a proof level means: "restored: opened and re-run on a machine with no route to the source"."""
        return self._say(self._raw.get("proof_levels", {}).get(name, {}).get(self._tr.lang, name))

    def profile(self, name: str) -> str:
        return self._say(self._raw.get("profiles", {}).get(name, {}).get(self._tr.lang, name))

    def unit(self, metric: str) -> str:
        return str(self._raw.get("metrics", {}).get(metric, {}).get("unit", ""))

    def metric(self, metric: str) -> str:
        """A metric in words, with a capital: it stands in headings and cells."""
        label = self._tr.label("metric", metric)
        return label if label == metric else label[:1].upper() + label[1:]

    def clause(self, clause_id: str) -> ClauseWords:
        row: Mapping[str, Any] = self._clauses.get(clause_id, {})
        lang = self._tr.lang
        return ClauseWords(
            id=clause_id,
            title=self._say(row.get("title", {}).get(lang, clause_id)),
            requirement=self._say(row.get("requirement", {}).get(lang, "")),
            sources=tuple(self.source(one) for one in row.get("sources", [])),
            brief=self.brief(row.get("sources", [])),
            note=self._tr.text(row["note"]) if "note" in row else "",
            validity_days=row.get("validity_days"),
            documents={one["id"]: self._say(one[lang]) for one in row.get("documents", [])},
        )

    def document(self, document_id: str) -> str:
        """A document in words: "annex of exportable data"; its id when the catalogue does not know it."""
        return self._documents.get(document_id, document_id)

    @cached_property
    def _documents(self) -> Mapping[str, str]:
        return {
            one["id"]: self._say(one[self._tr.lang])
            for row in self._raw.get("clauses", [])
            for one in row.get("documents", [])
        }

    def brief(self, source_ids: Iterable[str]) -> str:
        """The articles of a clause for a narrow column: without remarks in brackets, and without what is no text."""
        every = (self.source(one) for one in source_ids if one not in _NO_TEXT)
        return "; ".join(re.sub(r" \([^()]{12,}\)", "", one) for one in every)

    def source(self, source_id: str) -> str:
        row = self._raw.get("sources", {}).get(source_id)
        if row is None:
            return source_id
        article = str(row.get("article", "-"))
        text = self._tr.label("law", row["text"])
        return text if article == "-" else f"{text}, {self._tr.label('article', article)}"

    def threshold(self, op: str, value: Any, unit: str) -> str:
        """A criterion's right side: "≤ 30 days", "= 0"."""
        if op == "report":
            return self._tr.text("to be reported")
        shown = self._tr.text("not recorded") if value is None else self._tr.value(value, unit)
        return f"{OPERATORS.get(op, op)}\u00a0{shown}"

    def _say(self, words: str) -> str:
        return self._tr.catalogue_text(words)


@lru_cache(maxsize=4)
def _parse(content: bytes) -> Mapping[str, Any]:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    document = yaml.load(content, Loader=loader)  # noqa: S506 - both are safe loaders
    return document if isinstance(document, dict) else {}
