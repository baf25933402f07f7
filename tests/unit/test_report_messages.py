"""Is every sentence that a user can read said in both languages?"""

import ast
import re
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from babel.messages.pofile import read_po
from hypothesis import given
from hypothesis import strategies as st
from jinja2.ext import babel_extract

from reversible import providers
from reversible.assets import Kind
from reversible.destinations import local, ssh
from reversible.report import conclusions, html, messages
from reversible.report.messages import LANGUAGES, Key, Translator, typeset

ROOT = Path(__file__).parents[2]
REPORT = ROOT / "src/reversible/report"
# Where templates of findings, errors and reasons are written.
SPEAKERS = (
    *sorted((ROOT / "verifiers/reversible_verifiers").rglob("*.py")),
    *sorted((ROOT / "src/reversible/destinations").rglob("*.py")),
    ROOT / "src/reversible/comparison/sampling.py",
    ROOT / "src/reversible/run.py",
    ROOT / "src/reversible/account.py",
    ROOT / "src/reversible/planted.py",
)
# Where the reasons of verdicts are written, as constants of the module.
JUDGES = tuple(
    ROOT / f"src/reversible/{name}.py" for name in ("answers", "verdicts", "judgement", "scoring", "equivalence/ladder")
)
RAW = yaml.safe_load((ROOT / "src/reversible/catalogue/clauses.yaml").read_bytes())
UNITLESS = {"count", "bool", "score", "version", "iso2", "iso2_list", "host_or_entity_list"}


def sentences_in(source: str, *, calls: Iterable[str], names: Iterable[str]) -> Iterator[str]:
    """Constant templates: arguments of `calls` and values of keywords or variables called one of `names`."""
    tree = ast.parse(source)
    wanted, keywords = frozenset(calls), frozenset(names)
    assigned: dict[str, list[ast.expr]] = {}
    carriers: dict[str, list[int]] = {}  # functions of the module that hand a template on: where they take it
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    assigned.setdefault(target.id, []).append(node.value)
        if isinstance(node, ast.FunctionDef):
            taken = [one.arg for one in node.args.posonlyargs + node.args.args if one.arg != "self"]
            carriers[node.name] = [place for place, name in enumerate(taken) if name in keywords]
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        places = [0] if called in wanted else carriers.get(called, [])
        for place in places:
            if place < len(node.args):
                yield from _constants(node.args[place], assigned)
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
        others = {name: values for name, values in assigned.items() if name != node.id}  # a variable may name itself
        for value in assigned.get(node.id, []):
            yield from _constants(value, others)
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
            found |= set(sentences_in(path.read_text(encoding="utf-8"), calls=(), names=("seen", "error", "why")))
    for path in JUDGES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
                text = node.value.value
                target = node.targets[0]
                if isinstance(text, str) and isinstance(target, ast.Name) and not target.id.startswith("_"):
                    found.add(text)
    fence_run = import_module("reversible.fence.run")  # the package's own `run` is the function
    limits = {*fence_run._LIMITS.values(), (fence_run._HOSTILE, fence_run._AS_ROOT), local._OWN_LIMITS, ssh.LIMITS}
    found |= {one for every in limits for one in every}
    return frozenset(one for one in found if " " in one)


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
        "unit": {row["unit"] for row in RAW["metrics"].values()} - UNITLESS,
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
        "column": (
            "target", "expected", "outcome", "by", "id", "clause", "sha256", "read_by", "read_on",
            "answer", "moment", "proto", "host", "port", "at_s", "allowed",
        ),
        "canary": ("refused", "reached", "before", "during", "after"),
        "destination": (
            "kind", "country", "provider", "host", "recheck", "via", "storage.url", "storage.endpoint_url",
            "storage.region",
        ),
        "signal": providers.load().identity_signals,
        "signal outcome": ("agrees", "conflicts", "silent"),
        "flag": RAW["scope_flags"],
    }  # fmt: skip
    return frozenset(Key(context, str(name)) for context, every in names.items() for name in every)


def sourced() -> frozenset[Key]:
    """Laws and articles as the catalogue writes them: only French needs words for them."""
    rows = RAW["sources"].values()
    wordy = {row["article"] for row in rows if re.search(r"[a-z]{3}", row["article"])}
    return frozenset({Key("law", row["text"]) for row in rows} | {Key("article", one) for one in wordy})


# --- completeness -----------------------------------------------------------------------------------------------


def french() -> dict[Key, tuple[str, ...]]:
    return dict(messages.catalogue("fr"))


@pytest.mark.parametrize("sentence", sorted(printed() | spoken()))
def test_every_sentence_is_said_in_french(sentence: str) -> None:
    assert Key("", sentence) in french(), f"locale/fr.po has no translation of: {sentence!r}"


@pytest.mark.parametrize("lang", LANGUAGES)
def test_everything_has_a_name_in_both_languages(lang: str) -> None:
    wanted = labelled() | (sourced() if lang == "fr" else frozenset())

    assert wanted - set(messages.catalogue(lang)) == set()


def test_no_translation_is_fuzzy_empty_or_unused() -> None:
    for lang in LANGUAGES:
        with (REPORT / f"locale/{lang}.po").open("rb") as file:
            found = [one for one in read_po(file, locale=lang, abort_invalid=True) if one.id]
        keys = {Key(one.context or "", one.id if isinstance(one.id, str) else one.id[0]) for one in found}
        used = {Key("", one) for one in printed() | spoken()} | labelled() | sourced()

        assert [one.id for one in found if one.fuzzy] == []
        assert keys == set(messages.catalogue(lang))
        assert keys - used == set()


def test_a_translation_keeps_the_names_of_its_sentence() -> None:
    for lang in LANGUAGES:
        for key, forms in messages.catalogue(lang).items():
            names = set(re.findall(r"\{(\w+)\}", key.text))
            for form in forms:
                assert set(re.findall(r"\{(\w+)\}", form)) in (names, {"n"} if key.context == "unit" else names), form


def test_a_sentence_that_a_check_builds_at_run_time_is_noticed() -> None:
    """A template must be a constant, or nobody can translate it."""
    for path in SPEAKERS:
        if not path.is_file():
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                for keyword in node.keywords:
                    if keyword.arg == "seen":
                        assert not isinstance(keyword.value, (ast.JoinedStr, ast.BinOp)), f"{path.name}:{node.lineno}"


# --- what is said -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lang", "value", "shown"),
    [
        ("fr", 1_234_567, "1\u202f234\u202f567"),
        ("en", 1_234_567, "1,234,567"),
        ("fr", 12_345.678, "12\u202f345,7"),
        ("en", 0.1, "0.1"),
        ("fr", 0.999, "0,999"),
        ("fr", -0.5, "−0,5"),
        ("en", -1.0, "−1"),
        ("en", -0.0, "0"),
        ("fr", 4.172e-7, "4,17\u00a0×\u00a010⁻⁷"),
        ("en", 1e20, "1\u00a0×\u00a010²⁰"),
        ("en", float("nan"), "NaN"),
        ("fr", float("inf"), "∞"),
        ("en", float("-inf"), "−∞"),
        ("en", 100.0, "100"),
        ("en", 99.99999, "100"),  # six digits
    ],
)
def test_a_number_is_written_as_the_language_does(lang: str, value: float, shown: str) -> None:
    assert Translator(lang).number(value) == shown


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_any_number_has_a_short_form_in_both_languages(value: float) -> None:
    for lang in LANGUAGES:
        shown = Translator(lang).number(value)

        assert 0 < len(shown) < 32
        assert " " not in shown


@pytest.mark.parametrize(
    ("lang", "value", "unit", "shown"),
    [
        ("fr", 1, "calendar_days", "1\u00a0jour calendaire"),
        ("fr", 30, "calendar_days", "30\u00a0jours calendaires"),
        ("fr", 0, "calendar_days", "0\u00a0jour calendaire"),
        ("en", 0, "calendar_days", "0\u00a0calendar days"),
        ("en", 1, "calendar_days", "1\u00a0calendar day"),
        ("fr", 99.5, "percent", "99,5\u202f%"),
        ("en", 100.0, "percent_of_bytes", "100%"),
        ("fr", True, "bool", "oui"),
        ("en", False, "bool", "no"),
        ("fr", 0.000491, "days", "42,4\u00a0s"),
        ("en", None, "count", "not recorded"),
        ("en", ["FR", "DE"], "iso2_list", "FR, DE"),
        ("en", [], "iso2_list", "none"),
    ],
)
def test_a_value_has_its_unit(lang: str, value: object, unit: str, shown: str) -> None:
    assert Translator(lang).value(value, unit) == shown


@pytest.mark.parametrize(
    ("lang", "n", "said"),
    [("fr", 0, "0\u00a0actif découvert"), ("fr", 1, "1\u00a0actif découvert"), ("fr", 2, "2\u00a0actifs découverts"),
     ("en", 0, "0\u00a0assets discovered"), ("en", 1, "1\u00a0asset discovered")],
)  # fmt: skip
def test_the_plural_follows_the_number(lang: str, n: int, said: str) -> None:
    assert Translator(lang).text("{n} assets discovered", {"n": n}) == said


def test_a_sentence_of_a_third_party_stays_readable() -> None:
    tr = Translator("fr")

    assert not tr.knows("{what} is odd")
    assert tr.text("{what} is odd", {"what": "x"}) == "x is odd"
    assert tr.text("{what} is odd") == "{what} is odd"
    assert tr.text("{what.__class__} {0} {what!r}", {"what": "x"}) == "{what.__class__} {0} {what!r}"


def test_a_time_is_written_in_utc_and_a_bad_one_is_left_as_it_is() -> None:
    moment = "2026-11-24T10:12:03.120000+01:00"

    assert Translator("fr").moment(moment) == "24 novembre 2026, 09:12:03 UTC".replace(" ", "\u00a0")
    assert Translator("en").day(moment) == "24\u00a0November\u00a02026"
    assert Translator("en").moment("yesterday") == "yesterday"


@pytest.mark.parametrize(
    ("seconds", "shown"), [(3.204, "3.2 s"), (65, "1 min 05 s"), (7_800, "2 h 10 min"), (200_000, "2 d 7 h")]
)
def test_a_duration_names_its_two_largest_units(seconds: float, shown: str) -> None:
    assert Translator("en").duration(seconds) == shown.replace(" ", "\u00a0")


@pytest.mark.parametrize(("size", "shown"), [(0, "0 o"), (999, "999 o"), (31_204_881, "31,2 Mo"), (10**16, "10 Po")])
def test_a_size_is_in_the_multiples_that_providers_bill(size: int, shown: str) -> None:
    assert Translator("fr").size(size) == shown.replace(" ", "\u00a0")


def test_french_typography_is_set_by_machine() -> None:
    said = typeset("L'essai : « fini » ; bien ? Oui ! 100 %", "fr")

    assert said == "L’essai\u00a0: «\u00a0fini\u00a0»\u202f; bien\u202f? Oui\u202f! 100\u202f%"
    assert typeset("it's: 100 %", "en") == "it’s: 100 %"
