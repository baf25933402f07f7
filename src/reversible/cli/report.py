"""How does a finished run look, told again in another language or place?"""

from pathlib import Path

import click

from reversible.cli.terminal import json_option, print_json

_FORMATS = ("html",)


@click.command(
    epilog="""\b
Examples:
  reversible report run-1/evidence
  reversible report run-1/evidence --lang fr --into /tmp/report

\b
Nothing is measured or judged again: the files of the dossier must be what its manifests say, and no more is
checked. Who sealed it, and whether its verdicts follow from its measurements, is what this command says:
  reversible evidence verify run-1/evidence --key FINGERPRINT""",
)
@click.argument("evidence", type=click.Path(path_type=Path, readable=False))
@click.option(
    "--to", "formats", default="html", show_default=True, metavar="FORMAT,...", help="What to write; today html only."
)
@click.option(
    "--lang", "languages", default="fr,en", show_default=True, metavar="LANG,...", help="The languages: fr, en."
)
@click.option(
    "--into", default=Path(), type=click.Path(path_type=Path), metavar="DIR", show_default="the current directory",
    help="Where report.LANG.html is written; an earlier one there is replaced.",
)  # fmt: skip
@json_option
def report(evidence: Path, formats: str, languages: str, into: Path, as_json: bool) -> int:
    """Render the report of the dossier EVIDENCE again."""
    from reversible.errors import UsageError
    from reversible.evidence import dossier
    from reversible.report import html

    for name in _split(formats):
        if name not in _FORMATS:
            raise UsageError(f"there is no report format {name!r}; there is: {', '.join(_FORMATS)}", hint="--to html")
    chosen = _split(languages)
    for lang in chosen:
        if lang not in html.LANGUAGES:
            raise UsageError(
                f"there is no report in {lang!r}; there is: {', '.join(html.LANGUAGES)}", hint="--lang fr,en"
            )
    if evidence.absolute() == into.absolute() or evidence.absolute() in into.absolute().parents:
        raise UsageError(f"{into} lies in the dossier: a new file there would spoil its seal", hint="--into .")
    documents = dossier.read(evidence)
    written = {lang: into / f"report.{lang}.html" for lang in chosen}
    for lang, path in written.items():
        _write(path, html.render(documents, lang))
        if not as_json:
            click.echo(path)
    if as_json:
        reports = [{"lang": lang, "format": "html", "path": str(path)} for lang, path in written.items()]
        print_json({"evidence": str(evidence), "reports": reports})
    return 0


def _split(text: str) -> tuple[str, ...]:
    """The names of a comma-separated option, each once."""
    from reversible.errors import UsageError

    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise UsageError("an empty list was given", hint="--to html --lang fr,en")
    return names


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all."""
    from reversible.errors import UsageError

    temporary = path.with_name(f"{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}", hint=f"ls -ld {path.parent}") from error
