"""Do two tables hold the same rows, and where not, what happened to each value?"""

import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from reversible.cli.terminal import json_option, lang_option, print_json

if TYPE_CHECKING:
    from reversible.comparison.classes import Plain
    from reversible.comparison.results import Comparison

_STATUS = {"equal": 0, "different": 1, "not compared": 3}
_WORDS = {
    "en": {
        "equal": "✓ EQUAL", "different": "✗ DIFFERENT", "not compared": "? NOT COMPARED", "left": "left",
        "right": "right", "rows": "rows", "key": "key", "no key": "none: rows are paired by likeness",
        "missing": "rows missing on the right", "extra": "rows extra on the right", "duplicated": "rows doubled",
        "changed": "rows changed", "cells": "cells differ", "unpaired": "of them not paired: too many without a key",
        "one side": "columns on one side only", "families": "columns of another type", "skipped": "not compared",
        "notes": "stored in another way, which is no difference", "column": "Column", "what": "What differs",
        "more": "Not all are listed: --limit lists more, --json gives them to programs.",
    },
    "fr": {
        "equal": "✓ IDENTIQUES", "different": "✗ DIFFÉRENTES", "not compared": "? NON COMPARÉES", "left": "gauche",
        "right": "droite", "rows": "lignes", "key": "clé", "no key": "aucune : lignes rapprochées par ressemblance",
        "missing": "lignes absentes à droite", "extra": "lignes en trop à droite", "duplicated": "lignes en double",
        "changed": "lignes modifiées", "cells": "cellules différentes",
        "unpaired": "dont non rapprochées : trop nombreuses sans clé", "one side": "colonnes d’un seul côté",
        "families": "colonnes d’un autre type", "skipped": "non comparé",
        "notes": "stocké autrement, ce qui n’est pas une différence", "column": "Colonne", "what": "Ce qui diffère",
        "more": "La liste n’est pas complète : --limit en montre plus, --json les donne aux programmes.",
    },
}  # fmt: skip


@click.command(
    epilog="""\b
Examples:
  reversible compare before.parquet after.parquet --key id
  reversible compare 'run-1/bundle#boutique.ligne' restored/ligne.parquet
  reversible compare a/ b/ --json | jq '.by_column'

\b
Exit status: 0 equal; 1 different; 2 usage error; 3 a part could not be compared; 5 a file is unreadable.""",
)
@click.argument("left")
@click.argument("right")
@click.option("--key", default="", metavar="A,B", help="Columns that name a row; it may repeat and be NULL.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(0), help="Differences listed per column.")
@click.option("--challenge", default=None, help="A text, to get the same fingerprints as somebody else.")
@json_option
@lang_option
def compare(left: str, right: str, key: str, limit: int, challenge: str | None, as_json: bool, lang: str) -> int:
    """Compare two tables value by value: each a Parquet file, a directory of them, or BUNDLE#TABLE."""
    from reversible.comparison.tables import open_table
    from reversible.comparison.two_sided import compare_tables

    tables = open_table(left), open_table(right)
    names = [name for name in key.split(",") if name]
    progress = _Progress()
    found = compare_tables(*tables, key=names, challenge=challenge, limit=limit, progress=progress)
    progress.end()
    if as_json:
        print_json(found.to_json())
    else:
        _print(found, lang)
    return _STATUS[found.outcome]


class _Progress:
    """A line on stderr once two seconds have passed; on a terminal the same line again and again."""

    def __init__(self) -> None:
        self._began = self._last = time.monotonic()
        self._drawn = False

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        again = 0.2 if sys.stderr.isatty() else 10
        if now - self._began > 2 and (now - self._last > again or not self._drawn):
            percent = 100 * done // total if total else 100
            click.echo(f"{what}: {percent:3d} %", err=True, nl=not sys.stderr.isatty())
            if sys.stderr.isatty():
                click.echo("\r", err=True, nl=False)
            self._last, self._drawn = now, True

    def end(self) -> None:
        if self._drawn and sys.stderr.isatty():
            click.echo("\x1b[K", err=True, nl=False)


def _print(found: "Comparison", lang: str) -> None:
    from reversible.comparison import sentences

    words = _WORDS[lang]
    for side, name, rows, digest in zip(
        ("left", "right"), (found.left, found.right), found.rows, found.digests, strict=True
    ):
        click.echo(f"{words[side]:<7} {name}  {_number(rows, lang)} {words['rows']}  {digest}")
    click.echo(f"{words['key']:<7} {', '.join(found.key) or words['no key']}")
    click.echo(f"\n{words[found.outcome]}")
    for figure in ("missing", "extra", "duplicated", "changed", "cells", "unpaired"):
        if count := getattr(found, figure):
            click.echo(f"{_number(count, lang):>12} {words[figure]}")
    _list(words["one side"], found.other_columns)
    _list(words["families"], [f"{name}: {a} / {b}" for name, (a, b) in found.other_families.items()])
    _list(words["skipped"], [f"{name}: {why}" for name, why in found.not_compared.items()])
    _list(words["notes"], found.notes)
    summaries = [one for one in found.summaries.values() if one.cells]
    if summaries:
        width = max(len(words["column"]), *(len(one.column) for one in summaries))
        click.echo(f"\n{words['column']:<{width}}  {words['what']}")
        for one in summaries:
            click.echo(f"{one.column:<{width}}  {sentences.summary(one, lang)}")
    for difference in found.differences:
        row = sentences.named(_short(difference.row, found.key), difference.families)
        click.echo(f"\n{difference.column or '*'} [{row}]\n    {sentences.change(difference, lang)}")
    if not found.listed_all:
        click.echo(f"\n{words['more']}")


def _short(row: Mapping[str, "Plain"], key: Sequence[str]) -> Mapping[str, "Plain"]:
    """All of a key; of a keyless row its first values."""
    return row if key else dict(list(row.items())[:6])


def _list(title: str, lines: Sequence[str]) -> None:
    if lines:
        click.echo(f"{title}:")
        for line in lines:
            click.echo(f"  {line}")


def _number(value: int, lang: str) -> str:
    return f"{value:,}".replace(",", "\N{NARROW NO-BREAK SPACE}") if lang == "fr" else f"{value:,}"
