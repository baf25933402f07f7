"""What does a person read first, on a terminal of 80 columns, with or without colour?"""

import os
import sys
from collections.abc import Iterator, Sequence
from typing import IO, TYPE_CHECKING

from reversible.documents import Document, RunDocuments
from reversible.report.material import Material
from reversible.report.visible import visible
from reversible.report.words import SYMBOLS, VERDICTS

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

_PLACES = 3  # of one asset and one missed check; all of them are in the report and in data/results.jsonl
_STYLES = {
    "FAILED": "bold red",
    "NOT_TESTED": "yellow",
    "DOCUMENT_NEEDED": "magenta",
    "PARTIAL": "yellow",
    "PROVEN": "green",
    "DOCUMENTED": "magenta",
    "NOT_APPLICABLE": "dim",
}
# What an encoding without these letters prints instead; accents are dropped by the stream's own rules.
_ASCII = str.maketrans(
    {
        "✗": "X", "✓": "+", "○": "?", "□": "D", "◐": "~", "■": "d", "–": "-", "−": "-", "≤": "<=", "≥": ">=", "≠": "!=",
        "×": "x", "…": "...", "’": "'", "«": '"', "»": '"', "\u00a0": " ", "\u202f": " ", "∞": "inf", "œ": "oe",
        "Œ": "OE", "→": "->", "₂": "2", "€": "EUR",
    }
)  # fmt: skip
_DIGITS = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")


def print_verdicts(
    console_file: IO[str],
    documents: RunDocuments,
    lang: str,
    *,
    width: int | None = None,
    colour: bool | None = None,
    plain: bool | None = None,
    bilingual: bool = False,
) -> None:
    """Print the summary, the verdicts, every missed check with its places, what was not tested, what to type next.

    Args:
        console_file: Where to print.
        documents: One run.
        lang: "fr" or "en".
        width: Columns; None asks the terminal, and takes 80 elsewhere.
        colour: None: only on a terminal and without NO_COLOR.
        plain: ASCII only, without rules; None: when the stream cannot say more, or the terminal is dumb.
        bilingual: The table of verdicts in both languages, `lang` first.
    """
    from rich.console import Console

    if plain is None:
        plain = not _speaks_unicode(console_file) or os.environ.get("TERM") == "dumb"
    on_terminal = console_file.isatty()
    if colour is None:
        colour = on_terminal and not os.environ.get("NO_COLOR") and not plain
    console = Console(
        file=console_file, width=width or (None if on_terminal else 80), no_color=not colour, force_terminal=colour,
        highlight=False, markup=False, emoji=False, soft_wrap=False,
    )  # fmt: skip
    about = Material(documents, lang)
    other = Material(documents, "en" if lang == "fr" else "fr") if bilingual else None
    _Printer(console, about, plain=plain, other=other).everything()


class _Printer:
    def __init__(self, console: "Console", about: Material, *, plain: bool, other: Material | None) -> None:
        self._console, self._about, self._plain, self._other = console, about, plain, other

    def everything(self) -> None:
        about = self._about
        self._summary()
        self._table()
        missed = list(about.answers("missed"))
        failing = [pair for pair in missed if pair[0]["verdict"] == "FAILED"]
        capping = [pair for pair in missed if pair not in failing]
        if failing or about.failed_on_paper:
            self._title(about.tr.text("Missed checks"))
            for clause, answer in failing:
                self._missed(clause, answer)
            for clause in about.failed_on_paper:
                said = "; ".join(about.say(one["text"], one.get("facts", {})).text for one in clause.get("reasons", ()))
                self._line(f"{self._symbol('missed')} {clause['id']}  {said}", style=_STYLES["FAILED"], hang=4)
        if capping:
            self._title(about.tr.text("Checks that hold their clause back"))
            for clause, answer in capping:
                self._missed(clause, answer)
        silent = [one for one in about.clauses if one["verdict"] == "NOT_TESTED"]
        if silent:
            self._title(about.tr.text("Not tested"))
            for one in _worst_first(silent):
                self._line(f"  {self._symbol('NOT_TESTED')} {one['id']}  {self._wanted(one)}", hang=12)
        stuck = [one for one in about.inventory if one.get("obstacle") and one.get("excluded") is None]
        if stuck:
            self._title(about.tr.text("Cannot leave the platform"))
            for one in stuck:
                self._line(f"  {one['source']}:{one['kind']}:{one['name']}  {one['obstacle']}", hang=4)
        self._next(missed, silent)

    def _summary(self) -> None:
        about, tr = self._about, self._about.tr
        headline = about.verdicts.get("headline") or {}
        level = str(headline.get("level") or "N0")
        contract = about.exit_plan.get("contract") or {}
        self._line(str(contract.get("title") or tr.text("not recorded")), style="bold")
        run = str(about.run.get("level") or "N0")
        self._line(
            tr.text("Level held by all blocking clauses: {held}. The run reached {run}: {means}",
                    held=level, run=run, means=about.words.level(run))
        )  # fmt: skip
        counts = about.verdicts.get("counts") or {}
        said = "  ".join(
            f"{self._symbol(name)} {about.words.verdict(name)} {counts[name]}".replace(" ", "\u00a0")
            for name in VERDICTS
            if counts.get(name)
        )
        self._line(said)
        index, papers = about.verdicts.get("measured_index") or {}, about.verdicts.get("dossier_index") or {}
        low, high = index.get("low"), index.get("high")
        if low is not None and high is not None:
            cap = f" ({tr.text('cap {cap}', cap=index['cap'])})" if index.get("cap") is not None else ""
            shown = tr.text("{low} to {high} of 100", low=round(low), high=round(high))
            self._line(tr.text("{name}: {said}", name=tr.text("Measured index"), said=f"{shown}{cap}"))
        shown = tr.text("{n} of {required} documents", n=papers.get("accepted", 0), required=papers.get("required", 0))
        self._line(tr.text("{name}: {said}", name=tr.text("Dossier index"), said=shown))
        if about.verdicts.get("simulated", about.run.get("simulated")):
            self._line(tr.text("A stand-in destination shows N3 at most: this machine is not a European provider."))

    def _table(self) -> None:
        from rich import box
        from rich.table import Table

        about, tr = self._about, self._about.tr
        table = Table(box=None if self._plain else box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1))
        table.add_column(self._say(tr.text("Clause")), no_wrap=True)
        table.add_column(self._say(tr.text("Verdict")), no_wrap=True)
        table.add_column(self._say(tr.text("Title")), overflow="fold")
        shown = [one for one in about.clauses if one["verdict"] != "NOT_APPLICABLE"]
        for one in _worst_first(shown):
            mark = "!" if one.get("severity") == "blocking" else " "
            verdict = f"{self._symbol(one['verdict'])} {self._say(about.words.verdict(one['verdict']))}"
            title = self._say(about.words.clause(one["id"]).title)
            if self._other is not None:
                verdict += f"\n  {self._say(self._other.words.verdict(one['verdict']))}"
                title += f"\n{self._say(self._other.words.clause(one['id']).title)}"
            style = _STYLES.get(one["verdict"], "")
            table.add_row(f"{self._say(one['id'])} {mark}", _styled(verdict, style), title)
        self._console.print()
        self._console.print(table)
        aside = len(about.clauses) - len(shown)
        self._line(tr.text("! marks a blocking clause."))
        if aside:
            self._line(tr.text("{n} clauses do not apply to this contract", n=aside) + ".")

    def _missed(self, clause: Document, answer: Document) -> None:
        about, tr = self._about, self._about.tr
        unit = answer.get("unit", "")
        bound = about.words.threshold(answer["op"], answer.get("threshold"), unit)
        said = tr.text(
            "{metric}: measured {value}, threshold {bound}",
            metric=about.words.metric(answer["metric"]), value=tr.value(answer.get("value"), unit), bound=bound,
        )  # fmt: skip
        capped = clause["verdict"] != "FAILED"  # a check that only caps its clause is no failure
        symbol, style = ("PARTIAL", _STYLES["PARTIAL"]) if capped else ("missed", _STYLES["FAILED"])
        self._line(f"{self._symbol(symbol)} {clause['id']}  {said}", style=style, hang=4)
        for asset, places in self._places(answer):
            for place in places[:_PLACES]:
                self._line(f"    {asset}  {place}" if asset else f"    {place}", hang=6)
            if len(places) > _PLACES:
                n = len(places) - _PLACES
                left = tr.text("{n} more places are in {path}.", n=n, path="data/results.jsonl")
                self._line(f"      {left}", hang=6)

    def _places(self, answer: Document) -> Iterator[tuple[str, Sequence[str]]]:
        """Asset and places of each line behind the answer; what the answer itself names when no line has places."""
        about, named = self._about, False
        for line in about.by_metric.get(answer["metric"], ()):
            if (line["metric"], line["asset"] or "") in about.off:
                places = line.get("places", ()) or ([about.value(line)] if line["asset"] else ())
                if places:
                    named = True
                    yield line["asset"] or "", places
        if not named and answer.get("places"):
            yield "", [str(place) for place in answer["places"]]

    def _next(self, missed: Sequence[tuple[Document, Document]], silent: Sequence[Document]) -> None:
        tr = self._about.tr
        first = missed[0][0]["id"] if missed else _worst_first(silent)[0]["id"] if silent else ""
        self._title(tr.text("Next"))
        if first:
            self._line(f"  reversible clauses {first} --lang {tr.lang}")
        self._line("  reversible report RUN/evidence --to html --lang fr,en --into .")

    def _wanted(self, clause: Document) -> str:
        """The measurements that an untested clause asks for; its title when it asks for none."""
        about = self._about
        wanted = [
            about.words.metric(one["metric"])
            for one in clause.get("answers", ())
            if one["status"] == "unanswered" and one.get("required", True)
        ]
        return ", ".join(wanted) or about.words.clause(clause["id"]).title

    def _symbol(self, name: str) -> str:
        return self._say(SYMBOLS.get(name, "?"))

    def _title(self, text: str) -> None:
        self._console.print()
        self._line(text, style="bold")

    def _line(self, text: str, *, style: str = "", hang: int = 0) -> None:
        """One paragraph, wrapped; the lines after the first are indented by `hang`."""
        import textwrap

        shown = textwrap.fill(
            self._say(text), self._console.width, subsequent_indent=" " * hang, break_on_hyphens=False,
            replace_whitespace=False, drop_whitespace=True,
        )  # fmt: skip
        self._console.print(shown, style=style or None, overflow="fold", no_wrap=True, crop=False)

    def _say(self, text: str) -> str:
        """What may be sent to a terminal: no control character, and no letter that the stream cannot say."""
        shown = visible(text)
        if not self._plain:
            return shown
        import unicodedata

        flat = unicodedata.normalize("NFKD", shown.translate(_ASCII).translate(_DIGITS))
        return "".join(one for one in flat if not unicodedata.combining(one)).encode("ascii", "replace").decode()


def _worst_first(clauses: Sequence[Document]) -> list[Document]:
    severities = {"blocking": 0, "major": 1, "minor": 2}
    return sorted(
        clauses,
        key=lambda one: (
            VERDICTS.index(one["verdict"]) if one["verdict"] in VERDICTS else -1,
            severities.get(one.get("severity", ""), 3),
            one["id"],
        ),
    )


def _styled(text: str, style: str) -> "Text":
    from rich.text import Text

    return Text(text, style=style)


def _speaks_unicode(stream: IO[str]) -> bool:
    encoding = getattr(stream, "encoding", None) or sys.getdefaultencoding()
    return encoding.lower().replace("-", "").replace("_", "") in ("utf8", "utf8sig", "utf16", "utf32")
