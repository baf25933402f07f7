"""What would change if this file became Parquet with a declared schema?"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from reversible.cli.terminal import json_option, print_json

_SHOWN = 20


@click.command(
    epilog="""\b
Examples:
  reversible convert orders.csv --schema orders.toml --into orders
  reversible verify orders
  jq .columns orders/data/table/*/conversion.json

\b
SCHEMA is TOML:
  encoding = "latin-1"
  [columns]
  id = "int64"
  amount = "decimal(12,2)"
  paid_on = { type = "date", format = "%d/%m/%Y" }

\b
Types: int16 int32 int64 float64 decimal(p,s) bool date time timestamp timestamptz text binary.
Exit status: 0 every value is held exactly; 1 some are set aside, left out, or the two readers disagree;
2 the schema is wrong; 3 there is only one reader for this format; 4 the file cannot be read as what it says it is.""",
)
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--schema", "schema_file", required=True, type=click.Path(path_type=Path), help="The declared columns.")
@click.option("--into", required=True, type=click.Path(path_type=Path), metavar="DIR", help="The bundle to write.")
@json_option
def convert(file: Path, schema_file: Path, into: Path, as_json: bool) -> int:
    """Turn FILE (CSV, JSON, NDJSON, Parquet, Avro, ORC or Excel) into a bundle with one Parquet table.

    Two readers read it. A value that its declared type does not hold exactly stands beside the column, in the file's
    own words. The original file is not in the bundle: it travels with its bucket.
    """
    from reversible import __version__
    from reversible.assets import Asset, Kind
    from reversible.bundle.writer import BundleWriter
    from reversible_exporters import tabular, tabular_schema

    declared = tabular_schema.load(schema_file)
    asset = Asset(source="files", kind=Kind.TABLE, name=file.name)
    now = datetime.now(UTC)
    with BundleWriter(into) as writer:
        writer.discard(asset)
        verdict = tabular.convert(file, declared, asset, writer)
        writer.put_witness(asset, tabular.witness(file, declared, rows=verdict.rows))
        writer.close_asset(asset, exporter=f"reversible_exporters.tabular {__version__}", at=now)
        about = {"tool": f"reversible-toolkit {__version__}", "sources": [{"name": "files", "endpoints": []}]}
        bundle = writer.finish(about=about, at=now)
    document = verdict.to_json(declared)
    if as_json:
        print_json(document)
    else:
        _print(document)
        click.echo(f"{bundle.root}  sha256:{bundle.digest}")
    return 0 if verdict.exact else 3 if verdict.unchanged else 1


def _print(document: dict[str, Any]) -> None:
    click.echo(f"{document['file']}: {document['rows']:,} rows, read by {' and by '.join(document['readers'])}")
    for name, one in document["columns"].items():
        aside = ", ".join(f"{n:,} {why}" for why, n in one["set_aside"].items()) or "0"
        click.echo(
            f"  {name}: {one['type']}; missing {one['missing']:,}; equal but written otherwise {one['respelled']:,};"
            f" set aside: {aside}"
        )
    for cell in document["first_set_aside"][:_SHOWN]:
        click.echo(f"    row {cell['row']:,}, {cell['column']}: {cell['text']!r}: {cell['why']}")
    if document["set_aside"] > _SHOWN:
        click.echo(f"    {document['set_aside'] - _SHOWN:,} more are in conversion.json and the exceptions sidecar")
    for name in document["left_out"]:
        click.echo(f"  {name}: left out")
    for cell in document["first_disagreements"][:_SHOWN]:
        click.echo(f"  row {cell['row']:,}, {cell['column']}: one reads {cell['first']!r}, one {cell['second']!r}")
    for note in document["notes"]:
        click.echo(f"  note: {note}")
