"""Does the bundle put a database, or a bucket's objects, back on their feet, with every value as it was?"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reversible.cli.terminal import json_option, lang_option, print_json

if TYPE_CHECKING:
    from reversible.assets import Asset
    from reversible.bundle.reader import Bundle
    from reversible.interfaces import Restored

_COMPARED = ("totals", "values")
_WORDS = {
    "en": {
        "put": "{count:>9,} {what}", "refused": "Refused by the target", "differs": "Differs from the source",
        "unknown": "Not compared", "equal": "equal", "no": "DIFFERS", "none": "NOT COMPARED",
        "heads": ("Table", "Rows", "Totals", "Values"), "notes": "Notes",
        "schema": "statements of the schema", "rows": "rows", "sequence": "sequences", "objects": "large objects",
        "refresh": "materialized views", "left": "Left empty, because not asked for",
        "versions": "versions of objects", "collection": ("Objects", "Versions", "Number", "Content"),
    },
    "fr": {
        "put": "{count:>9,} {what}", "refused": "Refusé par la cible", "differs": "Diffère de la source",
        "unknown": "Non comparé", "equal": "égal", "no": "DIFFÈRE", "none": "NON COMPARÉ",
        "heads": ("Table", "Lignes", "Totaux", "Valeurs"), "notes": "Remarques",
        "schema": "instructions du schéma", "rows": "lignes", "sequence": "séquences", "objects": "grands objets",
        "refresh": "vues matérialisées", "left": "Laissées vides, car non demandées",
        "versions": "versions d'objets", "collection": ("Objets", "Versions", "Nombre", "Contenu"),
    },
}  # fmt: skip


@click.command(
    epilog="""\b
Examples:
  createdb copy && reversible restore run-1/bundle --to postgresql://me@db.example.eu/copy
  reversible restore run-1/bundle --to postgresql://me@db.example.eu/copy shop:table:public.orders
  reversible restore run-1/bundle --to postgresql://me@db.example.eu/copy --json | jq .refused
  reversible restore run-1/bundle --to s3://copy/documents --endpoint-url https://s3.gra.io.cloud.ovh.net --region gra

\b
Exit status: 0 all is back and equals the witness; 1 a total or a value differs; 2 the target is not empty, or
ASSET is not in the bundle; 3 a table could not be compared; 5 the bundle is altered; 6 the target refused
something: each line says what. 1 stands before 6, and 6 before 3.""",
)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("names", metavar="[ASSET]...", nargs=-1)
@click.option(
    "--to",
    required=True,
    metavar="URL",
    help="postgresql://user@host:5432/database, mysql://…, sqlite:///file or s3://bucket/prefix, without a password.",
)
@click.option("--endpoint-url", metavar="URL", help="The S3 endpoint, for s3://.")
@click.option("--region", metavar="NAME", help="The region to sign for; required for s3://.")
@click.option("--allow-non-empty", is_flag=True, help="Go on where the database holds something already.")
@click.option("--no-owner", is_flag=True, help="Let everything belong to the role that restores.")
@json_option
@lang_option
def restore(
    bundle: Path, names: tuple[str, ...], to: str, endpoint_url: str | None, region: str | None,
    allow_non_empty: bool, no_owner: bool, as_json: bool, lang: str,
) -> int:  # fmt: skip
    """Restore a database of BUNDLE into an empty one, then let the target's own engine compare it with the witness.

    ASSET names the database, when the bundle holds several, or tables: then only these get their rows. Into s3://,
    the objects of a bucket come back with types, metadata, tags and versions, as far as the target has them, and are
    read back and hashed. The same command goes on after an interruption.
    """
    from reversible import registry
    from reversible.bundle.reader import Bundle

    opened = Bundle.open(bundle)
    opened.check()
    scheme = _scheme(to)
    objects = scheme == "s3"
    more: dict[str, Any] = {"endpoint_url": endpoint_url, "region": region} if objects else {}
    database, tables, left = (collection(opened, names), [], []) if objects else chosen(opened, names)
    restorer = registry.restorer(scheme)(to, allow_non_empty=allow_non_empty, owners=not no_owner, **more)
    _require(opened, database, restorer.source_types)
    steps = list(_watched(restorer.restore(opened, database, tables)))
    steps += [] if names else lost(opened, database)
    if as_json:
        document = {"bundle": str(bundle), "sha256": opened.digest, "database": database.id, **summary(steps)}
        print_json({**document, "left_empty": left, "status": status(steps)})
    else:
        _print(steps, left, lang, objects=objects)
    return status(steps)


def collection(bundle: "Bundle", names: Sequence[str]) -> "Asset":
    """The objects that come back.

    Raises:
        UsageError: a name is not in the bundle, or does not settle which collection is meant.
    """
    from reversible.assets import Kind
    from reversible.errors import UsageError

    known = [asset for asset in bundle.assets if asset.kind is Kind.OBJECTS]
    wanted = [asset for asset in known if asset.id in names or asset.name in names] if names else known
    if len(wanted) != 1 or len(names) > 1:
        listed = ", ".join(asset.id for asset in known) or "none"
        raise UsageError(f"one bucket can be restored at a time; in the bundle: {listed}", hint="name one as ASSET")
    return wanted[0]


def chosen(bundle: "Bundle", names: Sequence[str]) -> "tuple[Asset, list[Asset], list[str]]":
    """The database, the tables whose rows come back, and the names of those that stay empty.

    Raises:
        UsageError: a name is not in the bundle, or does not settle which database is meant.
    """
    from reversible.assets import Kind
    from reversible.errors import UsageError

    known = {asset.id: asset for asset in bundle.assets if asset.kind in (Kind.DATABASE, Kind.TABLE)}
    wanted = []
    for name in names:
        found = [asset for asset in known.values() if name in (asset.id, asset.name)]
        if len(found) != 1:
            what = "is not in the bundle" if not found else "is the name of several assets"
            raise UsageError(f"{name} {what}", hint="name it as source:table:NAME, as bundle.json does")
        wanted += found
    sources = {asset.source for asset in wanted} or {asset.source for asset in known.values()}
    databases = [asset for asset in known.values() if asset.kind is Kind.DATABASE and asset.source in sources]
    if len(databases) != 1:
        listed = ", ".join(asset.id for asset in databases) or "none"
        raise UsageError(f"one database can be restored at a time; in the bundle: {listed}", hint="name one as ASSET")
    tables = [asset for asset in known.values() if asset.kind is Kind.TABLE and asset.source == databases[0].source]
    picked = [asset for asset in tables if asset in wanted] or tables
    return databases[0], picked, [asset.name for asset in tables if asset not in picked]


def lost(bundle: "Bundle", database: "Asset") -> "list[Restored]":
    """The tables that the source refused: the bundle has no rows of theirs, so they stay empty and nothing compares."""
    from reversible.assets import Kind
    from reversible.interfaces import Restored

    refused = [one for one in bundle.entries if one.error and one.asset.source == database.source]
    return [
        Restored(step=step, subject=one.asset.name, ok=None, seen=f"not in the bundle: {one.error}")
        for one in refused
        if one.asset.kind is Kind.TABLE
        for step in _COMPARED
    ]


def status(steps: "Iterable[Restored]") -> int:
    """1: something differs. 6: the target refused something. 3: something could not be compared. Else 0."""
    steps = list(steps)
    compared = [one for one in steps if one.step in _COMPARED]
    if any(one.ok is False for one in compared):
        return 1
    if any(one.ok is False for one in steps):
        return 6
    return 3 if any(one.ok is None for one in steps) else 0


def summary(steps: "Sequence[Restored]") -> dict[str, Any]:
    """What --json says: counts of what was put back, refusals, notes, and per table how the comparisons ended."""
    tables: dict[str, dict[str, Any]] = {}
    for one in steps:
        if one.step in _COMPARED:
            answer = {True: "equal", False: "differs", None: "not compared"}[one.ok]
            row = tables.setdefault(one.subject, {"table": one.subject, "rows": None})
            row[one.step] = {"answer": answer, "seen": one.seen}
            row["rows"] = row["rows"] if one.rows is None else one.rows
    return {
        "restored": _counts(steps),
        "refused": [
            {"step": one.step, "subject": one.subject, "seen": one.seen}
            for one in steps
            if one.ok is False and one.step not in _COMPARED
        ],
        "notes": [{"subject": one.subject, "seen": one.seen} for one in steps if one.step in ("note", "resume")],
        "tables": list(tables.values()),
    }


def _counts(steps: "Sequence[Restored]") -> dict[str, int]:
    counts = dict.fromkeys(("schema", "rows", "sequence", "objects", "refresh"), 0)
    for one in steps:
        if one.step in counts and one.ok:
            counts[one.step] += 1 if one.rows is None else one.rows
    return counts


def _scheme(url: str) -> str:
    from urllib.parse import urlsplit

    scheme = urlsplit(url).scheme.lower()
    return {"postgres": "postgresql"}.get(scheme, scheme)


def _require(bundle: "Bundle", database: "Asset", source_types: frozenset[str]) -> None:
    from reversible.errors import UsageError

    objects = database.kind.value == "objects"
    name, key = ("bucket.json", "format") if objects else ("database.json", "source_type")
    said = bundle.document(database, name).get(key)
    if said not in source_types:
        raise UsageError(
            f"{database.id} is {said}; that target takes {', '.join(sorted(source_types))}"
        )  # fmt: skip


def _watched(steps: "Iterator[Restored]") -> "Iterator[Restored]":
    """On a terminal, one line on stderr that says where the restore is."""
    drawn = sys.stderr.isatty()
    rows = 0
    for count, one in enumerate(steps, 1):
        rows += one.rows or 0 if one.step == "rows" else 0
        if drawn:
            click.echo(f"\r\033[K{count:,} steps, {rows:,} rows  {one.subject}"[:100], nl=False, err=True)
        yield one
    if drawn:
        click.echo("\r\033[K", nl=False, err=True)


def _print(steps: "Sequence[Restored]", left: Sequence[str], lang: str, *, objects: bool) -> None:
    words: dict[str, Any] = _WORDS[lang]
    if objects:
        words = {**words, "rows": words["versions"], "heads": words["collection"]}
    for kind, count in _counts(steps).items():
        if count:
            click.echo(words["put"].format(count=count, what=words[kind]))
    said = summary(steps)
    _list(words["refused"], [f"{one['subject']}: {one['seen']}" for one in said["refused"]])
    _list(words["notes"], [f"{one['subject']}: {one['seen']}" for one in said["notes"]])
    _list(words["left"], left)
    click.echo("\n{:<48} {:>12}  {:<13} {}".format(*words["heads"]))
    answers = {"equal": words["equal"], "differs": words["no"], "not compared": words["none"], "": "-"}
    for row in said["tables"]:
        rows = "-" if row["rows"] is None else f"{row['rows']:,}"
        totals, values = (answers[row.get(step, {}).get("answer", "")] for step in _COMPARED)
        click.echo(f"{row['table']:<48} {rows:>12}  {totals:<13} {values}")
        for step in _COMPARED:
            if seen := row.get(step, {}).get("seen"):
                click.echo(f"    {seen}")


def _list(title: str, lines: Sequence[str]) -> None:
    if lines:
        click.echo(f"\n{title}")
    for line in lines:
        click.echo(f"  {line}")
