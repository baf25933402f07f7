"""Where does an exit plan start?"""

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reversible.cli.terminal import json_option, lang_option, print_json

if TYPE_CHECKING:
    from reversible.plan.template import Answers

_QUESTIONS = {
    "fr": {
        "title": "Quel contrat ?",
        "customer": "Qui est le client ?",
        "provider": "Qui est le fournisseur ?",
        "kinds": "Quels systèmes faut-il pouvoir quitter, séparés par des virgules ?",
        "profiles": "Quels profils de clauses, séparés par des virgules ?",
        "known": "connus : {}",
        "unknown": "{!r} n'en fait pas partie : {}",
        "refused": "un texte, sans secret en clair ni ${{ sans nom",
        "written": "{} est écrit. La suite :",
    },
    "en": {
        "title": "Which contract?",
        "customer": "Who is the customer?",
        "provider": "Who is the provider?",
        "kinds": "Which systems must it be possible to leave, separated by commas?",
        "profiles": "Which profiles of clauses, separated by commas?",
        "known": "known: {}",
        "unknown": "{!r} is not one of them: {}",
        "refused": "some text, without a secret in clear and without ${{ that has no name",
        "written": "{} is written. Next:",
    },
}


@click.command(
    epilog="""\b
Examples:
  reversible init                          asks a few questions, writes exit-plan.toml
  reversible init exit-plan.toml --lang fr
  reversible init shop.toml --template     asks nothing""",
)
@click.argument("plan_file", metavar="[PLAN]", type=click.Path(path_type=Path), default=Path("exit-plan.toml"))
@click.option("--template", is_flag=True, help="Ask nothing: write the template. So it is without a terminal.")
@click.option("--force", is_flag=True, help="Replace a plan that is there already.")
@json_option
@lang_option
def init(plan_file: Path, template: bool, force: bool, as_json: bool, lang: str) -> int:
    """Write a commented exit plan; on a terminal, ask for the parties, the systems and the clauses first."""
    from reversible import plan
    from reversible.plan import template as templates

    _refuse_existing(plan_file, force=force)  # before the questions, not after
    answers = templates.first_answers(lang)
    if not template and sys.stdin.isatty() and sys.stderr.isatty():
        answers = _ask(answers, lang)
    text = templates.write(answers, lang=lang, plan=shlex.quote(plan_file.name))
    _write(plan_file, text, force=force)
    plan.load(plan_file)
    if as_json:
        print_json({"plan": str(plan_file), "variables": list(templates.references(text))})
        return 0
    click.echo(_QUESTIONS[lang]["written"].format(plan_file), err=True)
    for name in templates.references(text):
        click.echo(f"  export {name}=...", err=True)
    click.echo(f"  reversible check {shlex.quote(str(plan_file))}", err=True)
    return 0


def _ask(first: "Answers", lang: str) -> "Answers":
    from reversible import registry
    from reversible.plan.template import Answers
    from reversible.plan.vocabulary import vocabulary

    return Answers(
        title=_ask_text("title", first.title, lang),
        customer=_ask_text("customer", first.customer, lang),
        provider=_ask_text("provider", first.provider, lang),
        kinds=_ask_words("kinds", first.kinds, registry.exporter_kinds(), lang),
        profiles=_ask_words("profiles", first.profiles, vocabulary().profiles, lang),
    )


def _ask_text(question: str, default: str, lang: str) -> str:
    from reversible import secrets

    def accepted(answer: str) -> str:
        if not answer.strip() or secrets.holds_secret(answer) or secrets.broken_reference(answer):
            raise click.UsageError(_QUESTIONS[lang]["refused"].format())
        return answer.strip()

    return str(click.prompt(_QUESTIONS[lang][question], default=default, value_proc=accepted, err=True))


def _ask_words(question: str, default: Sequence[str], known: Sequence[str], lang: str) -> tuple[str, ...]:
    words = _QUESTIONS[lang]

    def accepted(answer: str) -> tuple[str, ...]:
        chosen = tuple(dict.fromkeys(word.strip() for word in answer.split(",") if word.strip()))
        unknown = next((word for word in chosen if word not in known), None if chosen else "")
        if unknown is not None:
            raise click.UsageError(words["unknown"].format(unknown, ", ".join(known)))
        return chosen

    click.echo(f"  {words['known'].format(', '.join(known))}", err=True)
    answer: tuple[str, ...] = click.prompt(words[question], default=", ".join(default), value_proc=accepted, err=True)
    return answer


def _refuse_existing(path: Path, *, force: bool) -> None:
    from reversible.errors import UsageError

    if os.path.isdir(path):  # noqa: PTH112 - unlike Path's, never an error of its own
        inside = shlex.quote(str(path / "exit-plan.toml"))
        raise UsageError(f"{path} is a directory", hint=f"reversible init {inside}")
    if not force and os.path.lexists(path):
        raise UsageError(f"{path} is there already", hint=f"reversible init {shlex.quote(str(path))} --force")


def _write(path: Path, text: str, *, force: bool) -> None:
    """Whole or not at all; without `force`, never over a file, even one that came up in the meantime."""
    from reversible.errors import UsageError

    partial = path.with_name(f".{path.name}.{os.getpid()}.part") if force else path
    try:
        with partial.open("xb") as file:
            try:
                file.write(text.encode())
                file.flush()
            except OSError:
                partial.unlink()
                raise
        partial.replace(path)
    except FileExistsError as error:
        again = f"reversible init {shlex.quote(str(path))} --force"
        raise UsageError(f"{path} is there already", hint=again) from error
    except FileNotFoundError as error:
        parent = shlex.quote(str(path.parent))
        raise UsageError(f"{path.parent}: there is no such directory", hint=f"mkdir -p {parent}") from error
    except OSError as error:
        parent = shlex.quote(str(path.parent))
        raise UsageError(f"{path} cannot be written: {error.strerror}", hint=f"ls -ld {parent}") from error
