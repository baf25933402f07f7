"""What would leave, in open formats, without judging it yet?"""

from pathlib import Path

import click

from reversible.cli.terminal import follow, into_option, json_option, lang_option, print_json, since_option


@click.command(
    epilog="""\b
Examples:
  reversible export exit-plan.toml --into run-1
  reversible verify run-1/bundle
  reversible dry-run exit-plan.toml --into run-1         goes on from there: the export is kept""",
)
@click.argument("plan_file", metavar="PLAN", type=click.Path(path_type=Path, readable=False))
@into_option
@since_option
@json_option
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
        print_json({"bundle": str(bundle.root), "sha256": bundle.digest, "exported": exported, "refused": refused})
    else:
        click.echo(f"{bundle.root}  sha256:{bundle.digest}")
    return 4 if refused else 0
