"""What may an exit plan hold?"""

import json

import click


@click.command(
    epilog="""\b
Examples:
  reversible schema > exit-plan.schema.json
  reversible schema | jq '."$defs"."source.postgres".properties | keys'

\b
For completion in an editor with taplo, put this on the plan's first line:
  #:schema ./exit-plan.schema.json""",
)
@click.option("--json", is_flag=True, expose_value=False, help="The same: a schema is one JSON document.")
def schema() -> int:
    """Print the JSON Schema of an exit plan, with the keys of every installed exporter."""
    from reversible import plan

    click.echo(json.dumps(plan.schema(), ensure_ascii=False, indent=2))
    return 0
