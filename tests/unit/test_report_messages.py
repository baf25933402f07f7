"""Is every sentence that a user can read said in both languages?"""

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import yaml
from babel.messages.pofile import read_po
from hypothesis import given
from hypothesis import strategies as st
from jinja2.ext import babel_extract

from reversible.assets import Kind
from reversible.report import conclusions, html, messages
from reversible.report.messages import LANGUAGES, Key, Translator, typeset

ROOT = Path(__file__).parents[2]
REPORT = ROOT / "src/reversible/report"
# Where templates of findings, errors and reasons are written.
SPEAKERS = (
    *sorted((ROOT / "verifiers/reversible_verifiers").rglob("*.py")),
    *sorted((ROOT / "src/reversible/destinations").rglob("*.py")),
    ROOT / "src/reversible/run.py",
    ROOT / "src/reversible/verdicts.py",
    ROOT / "src/reversible/judgement.py",
    ROOT / "src/reversible/scoring.py",
)
RAW = yaml.load(
    (ROOT / "src/reversible/catalogue/clauses.yaml").read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)
)


def sentences_in(source: str, *, calls: Iterable[str], names: Iterable[str]) -> Iterator[str]:
    """Constant templates: arguments of `calls` and values of keywords or variables called one of `names`."""
    tree = ast.parse(source)
    wanted, keywords = frozenset(calls), frozenset(names)
    assigned: dict[str, list[ast.expr]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    assigned.setdefault(target.id, []).append(node.value)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if called in wanted and node.args:
            yield from _constants(node.args[0 if called in ("text", "_", "Reason") else -1], assigned)
        if called == "_measure" and len(node.args) > 3:
            yield from _constants(node.args[3], assigned)
        for keyword in node.keywords:
            if keyword.arg in keywords:
                yield from _constants(keyword.value, assigned)


def _constants(node: ast.expr, assigned: dict[str, list[ast.expr]]) -> Iterator[str]:
    """The strings that an expression can be: constants, both sides of a choice, a variable's values."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from _constants(node.body, assigned)
        yield from _constants(node.orelse, assigned)
    elif isinstance(node, ast.BoolOp):
        for value in node.values:
            yield from _constants(value, assigned)
    elif isinstance(node, ast.Name):
        values = assigned.get(node.id, [])
        for value in values:
            if not isinstance(value, ast.Name):
                yield from _constants(value, assigned)
    elif isinstance(node, ast.Subscript):  # TABLE[key]
        yield from _constants(node.value, assigned)
    elif isinstance(node, ast.Dict):
        for value in node.values:
            yield from _constants(value, assigned)
    elif isinstance(node, (ast.Tuple, ast.List)):
        for value in node.elts:
            yield from _constants(value, assigned)


def spoken() -> frozenset[str]:
    """Templates of findings, errors and verdict reasons."""
    found: set[str] = set()
    for path in SPEAKERS:
        if path.is_file():
            found |= set(
                sentences_in(path.read_text(encoding="utf-8"), calls=("Reason",), names=("seen", "text", "error"))
            )
    return frozenset(found - {""})


def printed() -> frozenset[str]:
    """Sentences of the report itself: Python and templates."""
    found: set[str] = {title for title, _ in html._SECTIONS.values()}
    found |= {text for term in conclusions.TERMS for text in term}
    found |= {clause["note"] for clause in RAW["clauses"] if "note" in clause}
    for path in REPORT.glob("*.py"):
        found |= set(sentences_in(path.read_text(encoding="utf-8"), calls=("text", "_"), names=()))
    for path in (REPORT / "templates").glob("*.j2"):
        with path.open("rb") as file:
            found |= {text for _, _, text, _ in babel_extract(file, ("_",), (), {"encoding": "utf-8"})}
    return frozenset(found)


def labelled() -> frozenset[Key]:
    """Names of things that are known here and now."""
    names = {
        "metric": RAW["metrics"],
        "unit": {row["unit"] for row in RAW["metrics"].values()} - {"count", "bool", "score", "version", "iso2", "iso2_list", "host_or_entity_list"},
        "kind": list(Kind),
        "results of": list(Kind),
        "measurements of": list(Kind),
        "basis": ("law", "standard", "supervisor", "contract", "default", "none"),
        "basis meaning": ("law", "standard", "supervisor", "contract", "default", "none"),
        "state": ("exported", "unmeasured", "refused", "stuck", "excluded", "unlisted"),
        "status": ("met", "missed", "unanswered"),
        "severity": ("blocking", "major", "minor"),
        "document": ("accepted", "missing", "contradicts", "not-required"),
        "phase": ("inventory", "export", "ship", "rerun", "evidence"),
        "event": ("sealed", "resumed", "export", "shipped", "rerun"),
        "role": ("owner", "approver"),
        "column": ("target", "expected", "outcome", "by", "id", "clause", "sha256", "read_by", "read_on"),
        "destination": ("kind", "country"),
        "flag": RAW["scope_flags"],
    }  # fmt: skip
    return frozenset(Key(context, str(name)) for context, every in names.items() for name in every)


def sourced() -> frozenset[Key]:
    """Laws and articles as the catalogue writes them: only French needs words for them."""
    rows = RAW["sources"].values()
    wordy = {row["article"] for row in rows if re.search(r"[a-z]{3}", row["article"])}
    return frozenset({Key("law", row["text"]) for row in rows} | {Key("article", one) for one in wordy})
