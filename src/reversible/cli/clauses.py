"""What does each clause promise, and what settles it?"""

import click

from reversible.cli.terminal import json_option, lang_option, print_json


@click.command(
    epilog="""\b
Examples:
  reversible clauses
  reversible clauses DAT-04 --lang fr""",
)
@click.argument("clause_id", metavar="[ID]", required=False)
@json_option
@lang_option
def clauses(clause_id: str | None, as_json: bool, lang: str) -> int:
    """List the clauses; with ID, show one: requirement, articles, measurements, documents."""
    import difflib

    import yaml

    from reversible import clauses as catalogue
    from reversible.errors import UsageError

    rows = {row["id"]: row for row in yaml.safe_load(catalogue.load().content)["clauses"]}
    if clause_id is None:
        if as_json:
            print_json(list(rows.values()))
            return 0
        for row in rows.values():
            click.echo(f"{row['id']}  {row['severity']:<8} {row['proof_level']}  {row['title'][lang]}")
        return 0
    if clause_id not in rows:
        near = difflib.get_close_matches(clause_id.upper(), rows, n=1)
        raise UsageError(
            f"no clause is called {clause_id}", hint=f"reversible clauses {near[0] if near else ''}".strip()
        )
    row = rows[clause_id]
    if as_json:
        print_json(row)
        return 0
    click.echo(f"{row['id']}  {row['title'][lang]}\n\n{row['requirement'][lang]}\n")
    click.echo(f"{row['severity']}, {row['kind']}, {row['proof_level']}  ({', '.join(row['sources'])})")
    for one in row["checks"]:
        none = "" if one["op"] == "report" else "(the contract's number, where it names one)"
        threshold = one.get("value", one.get("value_from", none))
        click.echo(f"  {one['metric']} {one['op']} {threshold}  [{one.get('basis', '-')}]")
    for one in row["documents"]:
        click.echo(f"  + {one[lang]}")
    return 0
