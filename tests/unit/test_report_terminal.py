"""Can the verdicts be read in 80 columns, without colour, in ASCII, and whatever the vendor wrote?"""

import io
import re
import subprocess
import sys
import unicodedata
from datetime import UTC, datetime
from pathlib import Path

import click
import pytest
import report_samples as samples
from click.testing import CliRunner

from reversible.bundle.writer import json_bytes
from reversible.cli.report import report
from reversible.documents import RunDocuments
from reversible.errors import EvidenceError, ReversibleError, UsageError
from reversible.evidence import dossier, keys
from reversible.report.html import LANGUAGES, render
from reversible.report.terminal import print_verdicts

AT = datetime(2026, 11, 24, 9, 12, 46, tzinfo=UTC)
SAMPLES = {"good": samples.good, "sabotaged": samples.sabotaged, "poor": samples.poor, "hostile": samples.hostile}


class Terminal(io.StringIO):
    """A text stream that says it is a terminal, in an encoding of its own."""

    def __init__(self, encoding: str = "utf-8") -> None:
        super().__init__()
        self._encoding = encoding

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding

    def isatty(self) -> bool:
        return True


def printed(documents: RunDocuments, lang: str, **options: bool | int) -> str:
    out = io.StringIO()
    print_verdicts(out, documents, lang, **options)  # type: ignore[arg-type]
    return out.getvalue()


def _width(line: str) -> int:
    return sum(2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in line)


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("width", [80, 120])
def test_no_line_is_wider_than_the_terminal(name: str, lang: str, width: int) -> None:
    said = printed(SAMPLES[name](), lang, width=width)

    assert max(map(_width, said.splitlines())) <= width


@pytest.mark.parametrize("lang", LANGUAGES)
def test_the_summary_comes_first_and_every_fault_has_its_line(lang: str) -> None:
    said = printed(samples.sabotaged(), lang)
    lines = said.splitlines()
    failed, places = {"fr": "ÉCHOUÉ", "en": "FAILED"}[lang], {"fr": "Contrôles hors seuil", "en": "Missed checks"}[lang]

    assert any(f"✗ {failed}" in line.replace("\u00a0", " ") for line in lines[:8])
    assert said.index(places) > said.index("DAT-07")
    for place in (
        "boutique.ligne.remise, commande=3118, rang=2",
        "boutique.avis, row id=6000",
        "factures/2026/000017.pdf: tags",
        "digits-transformer, input 412",
    ):
        assert sum(place in line for line in lines) == 1
    assert f"reversible clauses DAT-03 --lang {lang}" in said


@pytest.mark.parametrize("lang", LANGUAGES)
def test_what_was_not_tested_is_listed_with_what_is_missing(lang: str) -> None:
    documents = samples.good()
    said = printed(documents, lang)
    rest = said[said.index({"fr": "\nNon testé\n", "en": "\nNot tested\n"}[lang]) :]

    for clause in documents.verdicts["clauses"]:
        assert (f"○ {clause['id']}" in rest) == (clause["verdict"] == "NOT_TESTED")


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("lang", LANGUAGES)
def test_plain_is_ascii(name: str, lang: str) -> None:
    assert printed(SAMPLES[name](), lang, plain=True).isascii()


def test_a_stream_that_is_not_utf_8_gets_ascii() -> None:
    out = Terminal("iso8859-1")
    print_verdicts(out, samples.sabotaged(), "fr", width=80)

    assert out.getvalue().isascii()
    assert "X ECHOUE" in out.getvalue()


def test_colour_only_on_a_terminal_that_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    wants, refuses = Terminal(), Terminal()
    print_verdicts(wants, samples.sabotaged(), "en", width=80)
    monkeypatch.setenv("NO_COLOR", "1")
    print_verdicts(refuses, samples.sabotaged(), "en", width=80)

    assert "\x1b[" in wants.getvalue()
    assert "\x1b[3" not in refuses.getvalue()
    assert "\x1b" not in printed(samples.sabotaged(), "en")
    assert re.sub(r"\x1b\[[0-9;]*m", "", wants.getvalue()) == printed(samples.sabotaged(), "en", width=80)


@pytest.mark.parametrize("plain", [False, True])
def test_a_vendor_cannot_drive_the_terminal(plain: bool) -> None:
    said = printed(samples.hostile(), "en", plain=plain)

    assert not set(said) & {"\x1b", "\x00", "\u202e", "\u200b", "\ud800", "\r", "\x9b"}
    assert "[U+202E]" in said


def test_importing_it_does_not_load_rich() -> None:
    code = "import sys, reversible.report.terminal; sys.exit('rich' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- the command ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dossier")
    documents = samples.sabotaged()
    manifests = {"manifest-sha256.txt": b"", "tagmanifest-sha256.txt": b""}
    key = keys.load_or_create(folder / "key.pem")
    return dossier.write(folder / "evidence", documents, reports={}, bundle_manifests=manifests, key=key, at=AT)


def _run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(report, list(arguments), standalone_mode=False)
    if isinstance(result.exception, ReversibleError):
        raise result.exception
    assert result.exception is None, result.exception
    return int(result.return_value), result.output


def test_the_report_is_rendered_again_byte_for_byte(evidence: Path, tmp_path: Path) -> None:
    status, output = _run(str(evidence), "--lang", "en,fr", "--into", str(tmp_path / "new/place"))

    assert status == 0
    for lang in LANGUAGES:
        written = tmp_path / f"new/place/report.{lang}.html"
        assert str(written) in output
        assert written.read_bytes() == render(samples.sabotaged(), lang)
    assert sorted(one.name for one in (tmp_path / "new/place").iterdir()) == ["report.en.html", "report.fr.html"]


@pytest.mark.parametrize(
    ("arguments", "names"),
    [(("--to", "pdf"), "'pdf'"), (("--lang", "de"), "'de'"), (("--lang", ","), "empty")],
)
def test_what_it_cannot_write_is_named(evidence: Path, tmp_path: Path, arguments: tuple[str, ...], names: str) -> None:
    with pytest.raises(UsageError, match=names) as caught:
        _run(str(evidence), "--into", str(tmp_path), *arguments)

    assert caught.value.hint
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("where", [".", "data", "data/report"])
def test_it_never_writes_into_a_sealed_dossier(evidence: Path, where: str) -> None:
    before = sorted(evidence.rglob("*"))
    with pytest.raises(UsageError, match="spoil its seal"):
        _run(str(evidence), "--into", str(evidence / where))

    assert sorted(evidence.rglob("*")) == before


def test_an_altered_dossier_is_refused(evidence: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(evidence, copy)
    run = copy / "data/run.json"
    run.write_bytes(run.read_bytes().replace(b'"N3"', b'"N4"'))
    with pytest.raises(EvidenceError) as caught:
        _run(str(copy), "--into", str(tmp_path))

    assert "run.json" in caught.value.message
    assert not (tmp_path / "report.fr.html").exists()


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(EvidenceError, match="nowhere"):
        _run(str(tmp_path / "nowhere"))


def test_the_samples_are_documents_that_a_dossier_may_hold() -> None:
    assert isinstance(report, click.Command)
    for make in (samples.good, samples.sabotaged):
        documents = make()
        assert json_bytes(documents.run)
