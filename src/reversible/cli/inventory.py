"""What is there, what does the plan cover, and what cannot leave?"""

from pathlib import Path

import click

from reversible.cli.terminal import json_option, lang_option, print_json

_HEADS = {
    "fr": ("Actif", "Lignes", "Octets", "Sort ?"),
    "en": ("Asset", "Rows", "Bytes", "Leaves?"),
}
_WORDS = {
    "fr": {
        "yes": "oui",
        "unlisted": "NON LISTÉ au plan",
        "excluded": "exclu",
        "obstacle": "NE PEUT PAS SORTIR",
        "idle": "ne désigne aucun actif",
    },
    "en": {
        "yes": "yes",
        "unlisted": "NOT LISTED in the plan",
        "excluded": "excluded",
        "obstacle": "CANNOT LEAVE",
        "idle": "names no asset",
    },
}


@click.command(
    epilog="""\b
Examples:
  reversible inventory exit-plan.toml
  reversible inventory exit-plan.toml --json | jq '.assets[] | select(.obstacle)'""",
)
@click.argument("plan_file", metavar="PLAN", type=click.Path(path_type=Path, readable=False))
@json_option
@lang_option
def inventory(plan_file: Path, as_json: bool, lang: str) -> int:
    """List every asset that the sources hold: rows, bytes, in scope or not, and why one cannot leave."""
    from reversible import plan

    loaded = plan.load(plan_file)
    found = []
    exporters = loaded.exporters()
    try:
        for exporter in exporters.values():
            found += list(exporter.discover())
    finally:
        for exporter in exporters.values():
            exporter.close()
    unlisted = {asset.id for asset in loaded.unlisted(found)}
    assets = [asset if asset.id in unlisted else loaded.scope(asset) for asset in found]
    idle = loaded.idle_patterns(found)
    if as_json:
        rows = [{**asset.to_json(), "id": asset.id, "unlisted": asset.id in unlisted} for asset in assets]
        print_json({"plan": str(plan_file), "assets": rows, "idle_patterns": list(idle)})
        return 0
    words = _WORDS[lang]
    width = max([len(asset.id) for asset in assets] + [len(_HEADS[lang][0])])
    click.echo("{:<{width}} {:>12} {:>14}  {}".format(*_HEADS[lang], width=width))
    for asset in assets:
        fate = words["yes"]
        if asset.id in unlisted:
            fate = words["unlisted"]
        elif asset.obstacle:
            fate = f"{words['obstacle']}: {asset.obstacle}"
        elif asset.excluded:
            fate = f"{words['excluded']}: {asset.excluded}"
        rows_text = "-" if asset.rows is None else str(asset.rows)
        size = "-" if asset.size_bytes is None else str(asset.size_bytes)
        click.echo(f"{asset.id:<{width}} {rows_text:>12} {size:>14}  {fate}")
    leaving = [a for a in assets if a.id not in unlisted and not a.excluded and not a.obstacle]
    total = sum(asset.size_bytes or 0 for asset in leaving)
    click.echo(f"\n{len(leaving)}/{len(assets)}  {total / 1e6:.1f} MB")
    for pattern in idle:
        click.echo(f"! {pattern} {words['idle']}")
    return 0
