"""How does the report look in a browser and on paper?

One file: no script, nothing loaded, charts as inline SVG with their numbers in a table beside them. Same documents and
language, same bytes.
"""

import re
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from reversible.documents import RunDocuments
from reversible.report import clause_table, conclusions, course, results, setting
from reversible.report.blocks import Section
from reversible.report.material import Material
from reversible.report.messages import LANGUAGES
from reversible.report.page_one import page_one
from reversible.report.visible import LONGEST, visible

_LONGEST_SENTENCE = 4000  # characters: ours are shorter; the vendor's strings are cut where they enter a cell

_SECTIONS = {
    "summary": ("Summary on one page", None),
    "identity": ("Identification", setting.identity),
    "scope": ("Scope and exclusions", setting.scope),
    "criteria": ("Rules and sealed thresholds", setting.criteria),
    "method": ("Method and scenarios", setting.method),
    "places": ("Environments and isolation", course.places),
    "timeline": ("Timeline, RTO and RPO", course.timeline),
    "data": ("Results: data", results.data),
    "models": ("Results: models", results.models),
    "incidents": ("Simulated incidents", results.incidents),
    "dependence": ("Dependencies, places, supply chain", results.dependence),
    "cost": ("Cost and footprint", results.cost),
    "clauses": ("Table of clauses", clause_table.clauses),
    "findings": ("Deviations and remediation plan", conclusions.findings),
    "limits": ("Limits: what is not proven", conclusions.limits),
    "documents": ("Documents received and expected", conclusions.documents),
    "exports": ("Annexes for reuse", conclusions.exports),
    "verify": ("Signatures and re-verification", conclusions.recheck),
}


def render(documents: RunDocuments, lang: str) -> bytes:
    """The report of one run in one language, as UTF-8 HTML.

    Raises:
        ValueError: there is no catalogue for the language.
    """
    about = Material(documents, lang)
    page = _environment().get_template("report.html.j2").render(
        lang=lang,
        _=about.tr.text,
        first=page_one(about),
        sections=_sections(about),
        style=Markup(_style()),  # noqa: S704 - our own file, not the vendor's
    )  # fmt: skip
    return page.encode()


def _sections(about: Material) -> tuple[Section, ...]:
    made = [
        Section(id=name, number=number, title=about.tr.text(title), blocks=build(about))
        for number, (name, (title, build)) in enumerate(_SECTIONS.items())
        if build is not None
    ]
    made.append(
        Section(id="glossary", number=None, title=about.tr.text("Glossary"), blocks=conclusions.glossary(about))
    )
    return tuple(made)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("reversible.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["cut"] = _cut
    environment.filters["breakable"] = _breakable
    return environment


def _cut(text: str, longest: int = LONGEST) -> str:
    return visible(text, longest=longest)


def _breakable(text: str) -> Markup:
    """A name that may break after its separators, and nowhere else unless it must."""
    pieces = re.split(r"(?<=[:./_\-])", visible(text))
    return Markup("<wbr>").join(pieces)  # joining escapes each piece


def _finalize(value: Any) -> Any:
    """Every string that a template prints: hidden characters are written out, then Jinja escapes it."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return visible(value, longest=_LONGEST_SENTENCE)
    return value


@cache
def _style() -> str:
    return resources.files("reversible.report").joinpath("style.css").read_text(encoding="utf-8")


__all__ = ["LANGUAGES", "render"]
