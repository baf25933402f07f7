"""Was this record in the export?"""

import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reversible.cli.terminal import json_option, lang_option, print_json
from reversible.errors import BundleError, EvidenceError, UsageError

if TYPE_CHECKING:
    from reversible.fingerprint.strong_proof import Proof

_WORDS = {
    "en": {
        "there": "✓ {n} of {rows} rows are this record", "absent": "✗ none of {rows} rows is this record",
        "root": "root {root}", "source": "the source's witness has the same root",
        "alone": "the witness holds no root (strong = true was not set): it speaks for the bundle's files alone",
        "sampled": "the witness holds a sample of {size:,} of {rows:,} rows and no root: it speaks for the bundle's "
        "files alone",
    },
    "fr": {
        "there": "✓ {n} lignes sur {rows} sont cet enregistrement",
        "absent": "✗ aucune des {rows} lignes n’est cet enregistrement",
        "root": "racine {root}", "source": "le témoin de la source a la même racine",
        "alone": "le témoin n’a pas de racine (strong = true n’était pas mis) : elle ne vaut que pour les fichiers de "
        "la restitution",
        "sampled": "le témoin contient un échantillon de {size:,} lignes sur {rows:,} et pas de racine : elle ne vaut "
        "que pour les fichiers de la restitution",
    },
}  # fmt: skip


@click.command(
    epilog="""\b
Examples:
  reversible prove run-1/bundle boutique.client --record client.json --into proof.json
  reversible prove --check proof.json --root ROOT --record client.json

\b
The record maps every column to its value: {"id": 5, "name": "Zoé", "born": null}. Anyone can check the proof with the
thirty lines of Python in docs/fingerprint-strong.md.
Exit status: 0 the record is there; 1 it is not, and that is proven too; 2 usage error; 5 bundle or proof altered.""",
)
@click.argument("bundle", required=False, type=click.Path(path_type=Path))
@click.argument("asset", required=False)
@click.option("--record", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="The row, as JSON.")
@click.option("--check", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A proof to check.")
@click.option("--root", default="", help="With --check: the root that you trust.")
@click.option("--into", type=click.Path(dir_okay=False, path_type=Path), help="Write the proof to this file.")
@json_option
@lang_option
def prove(
    bundle: Path | None,
    asset: str | None,
    record: Path | None,
    check: Path | None,
    root: str,
    into: Path | None,
    as_json: bool,
    lang: str,
) -> int:
    """Prove that a row of table ASSET in BUNDLE is this record, or that none is."""
    if check is not None:
        if bundle or into or not root:
            raise UsageError("--check takes a proof and --root, and no bundle", hint="reversible prove --help")
        return _say(_checked(check, root, record), as_json, lang)
    if bundle is None or asset is None or record is None:
        raise UsageError("prove needs BUNDLE, ASSET and --record", hint="reversible prove --help")
    found, facts = _proven(bundle, asset, _json(record))
    if into is not None:
        text = json.dumps(found.to_json(), ensure_ascii=False, indent=1)
        into.write_text(f"{text}\n", encoding="utf-8")
    status = _say(found, as_json, lang)
    drawn = facts.get("sample")
    word = "source" if "strong" in facts else "alone" if drawn is None else "sampled"
    counts = {} if drawn is None else {"size": drawn["rows"], "rows": drawn["population"]}
    click.echo(_WORDS[lang][word].format(**counts), err=as_json)
    return status


def _proven(place: Path, name: str, document: Any) -> "tuple[Proof, Mapping[str, Any]]":
    """The proof, and the witness's facts: with "strong" among them, its root is the source's too."""
    import tempfile

    from reversible.bundle.reader import Bundle
    from reversible.comparison.tables import open_table
    from reversible.fingerprint import Plan
    from reversible.fingerprint.sample import Sample
    from reversible.fingerprint.strong import RowDigests
    from reversible.fingerprint.strong_record import record_of

    table = open_table(f"{place}#{name}")
    opened = Bundle.open(place)
    asset = next(one for one in opened.assets if name in (one.name, one.id))
    witness = opened.witness(asset)
    facts = witness.facts
    try:
        if "sample" in facts:
            columns = Sample.from_stored(facts["sample"], witness.tables["sample"]).plan.columns
        else:
            columns = Plan.from_json(facts["fingerprint"]).columns
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{asset.id}: the witness holds no fingerprint: {error}") from error
    try:
        wanted = record_of(columns, document if isinstance(document, Mapping) else {})
    except ValueError as error:
        raise UsageError(str(error)) from error
    with tempfile.TemporaryDirectory() as folder, RowDigests(columns, Path(folder)) as digests:
        for batch, rows in table.only(columns).batches():
            digests.add(batch, rows)
        found = digests.prove(wanted)
    said = facts.get("strong")
    if said is not None and said["root"] != found.root:
        raise BundleError(
            f"{asset.id}: its rows are not those of the source: root {found.root}, witness {said['root']}"
        )
    return found, facts


def _checked(path: Path, root: str, record: Path | None) -> "Proof":
    from reversible.fingerprint import Column
    from reversible.fingerprint.strong_proof import Proof, verify_proof
    from reversible.fingerprint.strong_record import record_of

    try:
        found = Proof.from_json(_json(path))
        wanted = found.record
        if record is not None:
            wanted = record_of([Column(*one) for one in found.columns], _json(record))
        verify_proof(root, found.rows, wanted, found)
    except ValueError as error:
        raise EvidenceError(f"{path}: {error}") from error
    return found


def _say(found: "Proof", as_json: bool, lang: str) -> int:
    words = _WORDS[lang]
    if as_json:
        print_json(found.to_json())
    click.echo(words["there" if found.times else "absent"].format(n=found.times, rows=found.rows), err=as_json)
    click.echo(words["root"].format(root=found.root), err=as_json)
    return 0 if found.times else 1


def _json(path: Path) -> Any:
    """JSON whose numbers lose no digit.

    Raises:
        UsageError: it is not JSON.
    """
    try:
        return json.loads(path.read_bytes(), parse_float=Decimal)
    except ValueError as error:
        raise UsageError(f"{path}: not JSON: {error}") from error
