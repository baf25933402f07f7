"""What would leave, in open formats, without judging it yet?"""

import json
from pathlib import Path

import click

from reversible.cli.terminal import follow, lang_option


@click.command(
    epilog="""\b
Examples:
  reversible export exit-plan.toml --into run-1
  reversible verify run-1/bundle
  reversible dry-run exit-plan.toml --into run-1         goes on from there: the export is kept""",
)
@click.argument("plan_file", metavar="PLAN", type=click.Path(path_type=Path, readable=False))
@click.option(
    "--into",
    required=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where the run is kept.",
)
@click.option(
    "--since", type=click.Path(path_type=Path), metavar="DIR",
    help="An earlier run: parts of tables that did not change since are taken from it; witnesses are taken anew.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
@lang_option
def export(plan_file: Path, into: Path, since: Path | None, as_json: bool, lang: str) -> int:
    """Seal PLAN and export its assets into DIR/bundle; the same command takes an interrupted export up."""
    from reversible import plan
    from reversible.bundle.reader import Bundle
    from reversible.run import DryRun

    run = DryRun(plan.load(plan_file), into, lang=lang, since=since)
    for event in follow(run, lang=lang):
        if event.ended and event.phase == "export":
            break
    bundle = Bundle.open(run.space.bundle)
    refused = [{"asset": entry.asset.id, "error": entry.error} for entry in bundle.entries if entry.error]
    if as_json:
        exported = [asset.id for asset in bundle.assets]
        document = {"bundle": str(bundle.root), "sha256": bundle.digest, "exported": exported, "refused": refused}
        click.echo(json.dumps(document, ensure_ascii=False, indent=1))
    else:
        click.echo(f"{bundle.root}  sha256:{bundle.digest}")
    return 4 if refused else 0
