"""Is leaving possible, measured from the first byte to the signed evidence?"""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from reversible.cli.terminal import follow, into_option, json_option, lang_option, print_json, since_option

if TYPE_CHECKING:
    from reversible.run import DryRun


@click.command(
    "dry-run",
    epilog="""\b
Examples:
  reversible dry-run exit-plan.toml --into run-1
  reversible dry-run exit-plan.toml --into run-1         the same again takes up an interrupted run
  reversible dry-run exit-plan.toml --into run-2 --since run-1
  reversible dry-run exit-plan.toml --into run-2 --json | jq .counts""",
)
@click.argument("plan_file", metavar="PLAN", type=click.Path(path_type=Path, readable=False))
@into_option
@since_option
@json_option
@click.option("--exit-zero", is_flag=True, help="Exit 0 even when a clause failed; other statuses stay.")
@lang_option
def dry_run(plan_file: Path, into: Path, since: Path | None, as_json: bool, exit_zero: bool, lang: str) -> int:
    """Seal, export, ship, re-run cut off from the source, judge, sign, report."""
    from reversible import plan
    from reversible.run import DryRun

    run = DryRun(plan.load(plan_file), into, lang=lang, since=since)
    for _ in follow(run, lang=lang):
        pass
    return conclude(run, as_json=as_json, exit_zero=exit_zero, lang=lang)


def conclude(run: "DryRun", *, as_json: bool, exit_zero: bool, lang: str, bilingual: bool = False) -> int:
    """Print the verdicts and return the exit status."""
    import sys

    from reversible.report import terminal

    documents = run.documents
    if as_json:
        print_json(documents.verdicts, sort_keys=True)  # the bytes of verdicts.json
    else:
        terminal.print_verdicts(sys.stdout, documents, lang, bilingual=bilingual)
        click.echo(f"\n{run.space.root}/report.html")
        click.echo(f"reversible evidence verify {run.space.evidence} --key {run.key.fingerprint}")
    status = int(documents.verdicts["exit_status"])
    return 0 if exit_zero and status == 1 else status
