"""Can a bank open the report, print it, send it on, and believe that it shows what was measured?"""

import dataclasses
import itertools
import re
import shutil
import subprocess
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import report_samples as samples

from reversible.report import html
from reversible.report.html import LANGUAGES, render
from reversible.report.visible import visible

SAMPLES = {"good": samples.good, "sabotaged": samples.sabotaged, "poor": samples.poor, "hostile": samples.hostile}
EVERY = [(name, lang) for name in SAMPLES for lang in LANGUAGES]
_VOID = {"meta", "link", "br", "hr", "img", "input", "wbr", "base", "area", "col", "source"}
_SELF_CLOSED = {"rect", "line", "path"}


class Page(HTMLParser):
    """Elements with their attributes and text; the nesting is checked on the way."""

    def __init__(self, content: bytes) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(content.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in _VOID and tag not in _SELF_CLOSED:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join("".join(self.text).split())

    def all(self, *tags: str) -> list[dict[str, str]]:
        return [attributes for tag, attributes in self.elements if tag in tags]


@pytest.fixture(scope="module")
def pages() -> dict[tuple[str, str], bytes]:
    return {(name, lang): render(SAMPLES[name](), lang) for name, lang in EVERY}


@pytest.mark.parametrize("which", EVERY)
def test_it_is_one_file_without_script_that_loads_nothing(pages: Any, which: tuple[str, str]) -> None:
    page = Page(pages[which])
    policy = next(one["content"] for one in page.all("meta") if one.get("http-equiv") == "Content-Security-Policy")

    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:")
    assert not {tag for tag, _ in page.elements} & {
        "script", "link", "iframe", "object", "embed", "form", "base", "img", "image", "use", "foreignobject", "audio",
        "video",
    }  # fmt: skip
    for tag, attributes in page.elements:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            assert name not in ("src", "srcset", "style", "xlink:href", "action"), (tag, name)
            if name == "href":
                assert value.startswith("#"), value
    style = re.search(r"<style>(.*?)</style>", pages[which].decode(), re.DOTALL)
    assert style is not None
    assert "url(" not in style[1]
    assert "@import" not in style[1]


@pytest.mark.parametrize("which", EVERY)
def test_it_is_well_formed_and_every_jump_has_a_target(pages: Any, which: tuple[str, str]) -> None:
    page = Page(pages[which])
    ids = Counter(attributes["id"] for _, attributes in page.elements if "id" in attributes)

    assert page.open == []
    assert [name for name, n in ids.items() if n > 1] == []
    for _, attributes in page.elements:
        for reference in [attributes.get("href", "")[1:], *attributes.get("aria-labelledby", "").split()]:
            assert not reference or reference in ids, reference


@pytest.mark.parametrize("which", EVERY)
def test_an_html5_parser_finds_no_error(pages: Any, which: tuple[str, str]) -> None:
    html5lib = pytest.importorskip("html5lib")
    parser = html5lib.HTMLParser(strict=False)
    parser.parse(pages[which].decode())

    assert [(code, data) for _, code, data in parser.errors] == []


@pytest.mark.parametrize("which", EVERY)
def test_a_screen_reader_finds_its_way(pages: Any, which: tuple[str, str]) -> None:
    page = Page(pages[which])
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]

    assert page.all("html")[0]["lang"] == which[1]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert page.elements[[tag for tag, _ in page.elements].index("body") + 1] == (
        "a",
        {"class": "skip", "href": "#summary"},
    )
    assert len(page.all("caption")) == len(page.all("table"))
    assert all(one.get("scope") in ("col", "row") for one in page.all("th"))
    assert len(page.all("title")) == len(page.all("svg")) + 1
    assert len(page.all("desc")) == len(page.all("svg"))
    assert all(one.get("role") == "img" for one in page.all("svg"))


@pytest.mark.parametrize("which", EVERY)
def test_nothing_is_told_by_colour_alone(pages: Any, which: tuple[str, str]) -> None:
    shown = re.findall(r'class="(?:verdict|status) [vs]-\w*">([^<]*)<', pages[which].decode())

    assert shown
    assert all(re.match(r"[✗○□◐✓■–]\u00a0.*\w", one) for one in shown)


def _luminance(colour: str) -> float:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_every_text_has_contrast() -> None:
    """WCAG 2.2, 1.4.3: at least 4.5 to 1 for each colour of text on each ground that it stands on."""
    variables = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", html._style()))
    pairs = [(ink, ground) for ink in ("ink", "muted", "accent", "bad") for ground in ("paper", "tint")]
    pairs += [(name, f"{name}-tint") for name in ("good", "bad", "open", "paper-needed", "calm")]
    pairs += [("paper", name) for name in ("good", "bad", "open", "paper-needed", "calm", "accent")]

    for ink, ground in pairs:
        high, low = sorted((_luminance(variables[ink]), _luminance(variables[ground])), reverse=True)
        assert (high + 0.05) / (low + 0.05) >= 4.5, (ink, ground)
    assert set(re.findall(r"var\(--([\w-]+)\)", html._style())) <= set(variables)
    assert re.findall(r"(?<!: )#[0-9a-f]{3,6};", html._style()) == []


@pytest.mark.parametrize("which", EVERY)
def test_the_same_documents_give_the_same_bytes(pages: Any, which: tuple[str, str]) -> None:
    assert render(SAMPLES[which[0]](), which[1]) == pages[which]


@pytest.mark.parametrize("lang", LANGUAGES)
def test_a_huge_run_stays_under_a_megabyte_and_says_what_it_left_out(lang: str) -> None:
    content = render(samples.huge(), lang)

    assert len(content) < 1_000_000
    assert b"data/inventory.json" in content
    assert b"data/results.jsonl" in content


@pytest.mark.parametrize("lang", LANGUAGES)
def test_what_the_vendor_wrote_cannot_act_or_deceive(pages: Any, lang: str) -> None:
    content = pages["hostile", lang].decode()
    page = Page(pages["hostile", lang])

    assert "<script" not in content
    assert "<img" not in content
    assert "<style>*" not in content
    assert "&lt;" in content
    assert not set(content) & {"\u202e", "\u200b", "\x1b", "\x00", "\ud800"}
    assert "[U+202E]" in content
    assert "[U+001B]" in content
    assert "{{ 7*7 }}{% raw %}" in page.words
    assert "x" * 1_000 not in content


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("été\u202f€ 漢字 עברית 🙂", "été\u202f€ 漢字 עברית 🙂"),
        ("a\u202eb", "a[U+202E]b"),
        ("a\nb\t\x7f\x9b", "a[U+000A]b[U+0009][U+007F][U+009B]"),
        ("\u2066x\u2069\ufeff\u00ad", "[U+2066]x[U+2069][U+FEFF][U+00AD]"),
        ("\ud800\U000e0041", "[U+D800][U+E0041]"),
        ("", ""),
    ],
)
def test_hidden_characters_are_written_out(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_a_long_string_says_how_much_was_cut() -> None:
    assert visible("x" * 1_000, longest=10) == "xxxxxxxxxx[… +990]"


# --- what it says -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lang", LANGUAGES)
def test_a_sabotaged_run_names_every_fault_at_its_place(pages: Any, lang: str) -> None:
    words = Page(pages["sabotaged", lang]).words

    for place in (
        "boutique.ligne.remise, commande=3118, rang=2",
        "boutique.commande.passee_le, every row, first id=1",
        "boutique.avis, row id=6000",
        "factures/2026/000017.pdf: tags",
        "digits-transformer, input 412",
    ):
        assert place in words
    assert {"fr": "4 clauses ne tiennent pas", "en": "4 clauses do not hold"}[lang] in words.replace("\u00a0", " ")


@pytest.mark.parametrize("lang", LANGUAGES)
def test_page_one_answers_the_seven_questions_in_order(pages: Any, lang: str) -> None:
    content = pages["good", lang].decode()
    summary = content[content.index('<section id="summary"') : content.index("<nav")]
    asked = re.findall(r"<li><h3>(.*?)</h3>", summary)

    assert asked == {
        "en": [
            "What was not tested?", "Which share of the contract’s scope?",
            "Were the thresholds sealed before the run?",
            "Who ran it, and are they independent?", "How old is the last pass, and what changed since?",
            "One finding, followed to its end", "Can a number be checked again from the raw files?",
        ],
        "fr": [
            "Qu’est-ce qui n’a pas été testé\u202f?", "Quelle part du périmètre contractuel\u202f?",
            "Les seuils étaient-ils scellés avant l’essai\u202f?", "Qui l’a conduit, et est-il indépendant\u202f?",
            "De quand date le dernier essai réussi, et qu’est-ce qui a changé\u202f?",
            "Un constat, suivi jusqu’au bout",
            "Peut-on revérifier un nombre à partir des fichiers bruts\u202f?",
        ],
    }[lang]  # fmt: skip


@pytest.mark.parametrize(
    ("untested", "tone", "said"),
    [
        (0, "held", "nothing blocking is left untested"),
        (2, "open", "2 blocking clauses need more than this run can show"),
    ],
)
def test_page_one_is_green_only_when_no_blocking_clause_is_left_open(untested: int, tone: str, said: str) -> None:
    """Status 0 speaks of this level alone: a bank that sees green above an untested blocking clause is misled."""
    documents = samples.good()
    blocking = [one for one in documents.verdicts["clauses"] if one["severity"] == "blocking"]
    for place, clause in enumerate(blocking):
        clause["verdict"] = ("NOT_TESTED", "PARTIAL")[place] if place < untested else "PROVEN"

    changed = dataclasses.replace(documents, verdicts={**documents.verdicts, "exit_status": 0})

    headline = re.search(r'class="headline t-(\w+)">([^<]*)<', render(changed, "en").decode())
    assert headline is not None
    assert headline[1] == tone
    assert said in headline[2].replace("\u00a0", " ")


def test_what_a_document_does_not_hold_is_said_and_never_left_out(pages: Any) -> None:
    words = Page(pages["poor", "en"]).words

    assert "Nothing was exported: no share can be given." in words
    assert "The inventory is empty: no system was read in this run." in words
    assert "No canary was tried: the isolation is not shown." in words
    assert "No phase was timed: nothing ran." in words
    assert re.search("Customer ?not recorded", words)
    assert "It was not measured whether the thresholds were sealed before the run." in words
    assert "100%" not in words.split("Contents")[0]


@pytest.mark.parametrize("which", [("good", "en"), ("good", "fr"), ("sabotaged", "en"), ("sabotaged", "fr")])
def test_every_clause_and_every_section_is_there(pages: Any, which: tuple[str, str]) -> None:
    page, documents = Page(pages[which]), SAMPLES[which[0]]()
    ids = {attributes.get("id") for _, attributes in page.elements}

    for clause in documents.verdicts["clauses"]:
        assert clause["id"] in page.words
        if clause["verdict"] != "NOT_APPLICABLE":
            assert f"clause-{clause['id']}" in ids
    assert set(html._SECTIONS) <= ids


@pytest.mark.parametrize("which", EVERY)
def test_it_never_claims_what_only_a_lawyer_can(pages: Any, which: tuple[str, str]) -> None:
    words = Page(pages[which]).words.lower()

    assert re.findall(r"\b(compliant|certified|conforme|certifiée?)s?\b", words) == []


def test_french_is_set_as_french(pages: Any) -> None:
    """No ordinary space before ; : ! ? in what we wrote; foreign strings and commands stay as they are."""
    content = pages["good", "fr"].decode()
    content = re.sub(r"<(style|pre|code|bdi|title)\b.*?</\1>", "", content, flags=re.DOTALL)
    text = re.sub(r"<[^>]+>", "\n", content)

    assert re.findall(r".{0,30} [;:!?»%].{0,10}", text) == []
    assert re.findall(r".{0,20}[^\W\d]'[^\W\d].{0,10}", text) == []


def test_the_report_does_not_judge() -> None:
    """A verdict that contradicts the measurements is shown as it stands: `evidence verify` is what finds it."""
    documents = samples.sabotaged()
    clauses = [{**one, "verdict": "PROVEN"} if one["id"] == "DAT-03" else one for one in documents.verdicts["clauses"]]
    altered = dataclasses.replace(documents, verdicts={**documents.verdicts, "clauses": clauses})
    row = re.search(r'<tr><th scope="row"><a href="#clause-DAT-03">.*?</tr>', render(altered, "en").decode())

    assert row is not None
    assert "v-PROVEN" in row[0]


def test_an_unknown_language_is_refused() -> None:
    with pytest.raises(ValueError, match="no catalogue for 'de'"):
        render(samples.good(), "de")


def test_a_clause_that_failed_on_paper_is_a_finding() -> None:
    documents = samples.good()
    reason = {"text": "the document {document} contradicts the requirement", "facts": {"document": "annex_exportable"}}
    clauses = [
        {**one, "verdict": "FAILED", "reasons": [reason]} if one["id"] == "DAT-01" else one
        for one in documents.verdicts["clauses"]
    ]
    verdicts = {**documents.verdicts, "clauses": clauses, "exit_status": 1}
    content = render(dataclasses.replace(documents, verdicts=verdicts), "en").decode()
    findings = content[content.index('<section id="findings"') : content.index('<section id="limits"')]

    assert "annex of exportable data and digital assets contradicts the requirement" in findings


# --- in a browser -----------------------------------------------------------------------------------------------

_CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def _browse(content: bytes, folder: Path, *arguments: str) -> str:
    page = folder / "page.html"
    page.write_bytes(content)
    return subprocess.run(
        [
            str(_CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            f"--user-data-dir={folder / 'profile'}", *arguments, page.as_uri(),
        ],
        check=True, capture_output=True, text=True, timeout=120,
    ).stdout  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(_CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("which", [("sabotaged", "fr"), ("hostile", "en")])
def test_a_phone_needs_no_sideways_scroll(pages: Any, which: tuple[str, str], tmp_path: Path) -> None:
    """In a frame of 360 pixels the page is as wide as the frame: measured by a script of the outer test page."""
    import base64

    measured = re.sub(rb"<meta http-equiv[^>]*>", b"", pages[which])
    measured = measured.replace(
        b"</body>",
        b"<script>parent.postMessage([document.documentElement.scrollWidth, document.documentElement.clientWidth], '*')"
        b"</script></body>",
    )
    outer = (
        b"<!DOCTYPE html><p id=out>waiting</p><script>addEventListener('message', e => "
        b"document.getElementById('out').textContent = e.data.join(' <= '))</script>"
        b"<iframe width=360 height=800 style='border:0' src='data:text/html;base64,"
        + base64.b64encode(measured)
        + b"'></iframe>"
    )
    dumped = _browse(outer, tmp_path, "--virtual-time-budget=3000", "--dump-dom")
    found = re.search(r'id="out">(\d+) &lt;= (\d+)<', dumped)

    assert found is not None, dumped[:500]
    assert int(found[1]) <= int(found[2]) <= 360


@pytest.mark.slow
@pytest.mark.skipif(_CHROMIUM is None or shutil.which("pdftotext") is None, reason="no Chromium or no pdftotext")
@pytest.mark.parametrize("which", [("good", "en"), ("sabotaged", "fr"), ("poor", "fr")])
def test_page_one_prints_on_one_page_and_folded_parts_are_printed(
    pages: Any, which: tuple[str, str], tmp_path: Path
) -> None:
    paper = tmp_path / "report.pdf"
    _browse(pages[which], tmp_path, "--no-pdf-header-footer", f"--print-to-pdf={paper}")
    text = subprocess.run(["pdftotext", "-layout", paper, "-"], check=True, capture_output=True, text=True).stdout
    sheets = text.split("\f")

    assert "reversible evidence verify . --key" in sheets[0]
    assert "Identification" in sheets[1]
    assert {"en": "Proof level needed", "fr": "Niveau de preuve exigé"}[which[1]] in text
