"""Does a second party find on the same bundle what the dossier says?"""

from pathlib import Path
from typing import Any

import click

from reversible.cli.terminal import json_option, lang_option, print_json

_WORDS = {
    "fr": {
        "same": "{n} réponses identiques", "differing": "DIFFÈRE  {metric} sur {asset} : scellé {sealed}, ici {here}",
        "missing": "SANS RÉPONSE ICI  {metric} sur {asset}", "more": "réponse de plus ici  {metric} sur {asset}",
        "not_here": "non mesuré ici  {metric}", "written": "{file} : signé par {key}",
    },
    "en": {
        "same": "{n} answers are the same", "differing": "DIFFERS  {metric} on {asset}: sealed {sealed}, here {here}",
        "missing": "NO ANSWER HERE  {metric} on {asset}", "more": "one answer more here  {metric} on {asset}",
        "not_here": "not measured here  {metric}", "written": "{file}: signed by {key}",
    },
}  # fmt: skip


@click.command(
    epilog="""\b
Examples:
  reversible replay bundle --evidence dossier --key SIGNER --by "Audit SA" --into replay.json

\b
Run it on a machine of your own: your key (REVERSIBLE_KEY), your copy of the bundle. What you sign lies beside the
dossier; `reversible evidence receipt` reads it. Exit status: 0 every answer is the same; 1 one differs; 3 one is not
answered here; 5 dossier or bundle is altered, or the dossier is about another bundle.""",
)
@click.argument("bundle", type=click.Path(path_type=Path, readable=False))
@click.option("--evidence", "dossier", required=True, type=click.Path(path_type=Path), metavar="DOSSIER")
@click.option(
    "--key", "pinned", required=True, metavar="FINGERPRINT|FILE", help="The signer's key, known by another way."
)
@click.option("--by", required=True, metavar="NAME", help="Who you are, in words.")
@click.option("--into", required=True, type=click.Path(path_type=Path), metavar="FILE", help="Where your receipt goes.")
@json_option
@lang_option
def replay(bundle: Path, dossier: Path, pinned: str, by: str, into: Path, as_json: bool, lang: str) -> int:
    """Run the verifiers on BUNDLE again, compare with a dossier, and sign what was found."""
    import tempfile
    from datetime import UTC, datetime

    from reversible.bundle.reader import Bundle
    from reversible.destinations.local import LocalDestination
    from reversible.errors import EvidenceError
    from reversible.evidence import dossier as dossiers
    from reversible.evidence import keys, receipt
    from reversible.evidence import verify as evidence_verify

    found = evidence_verify.verify(dossier, pinned=pinned)
    documents = dossiers.read(dossier)
    opened = Bundle.open(bundle)
    opened.check()
    if opened.digest != documents.run["bundle"]["sha256"]:
        raise EvidenceError(
            f"{dossier} is about the bundle {documents.run['bundle']['sha256']}, {bundle} is {opened.digest}",
            hint="ask for the bundle that the dossier names",
        )
    with tempfile.TemporaryDirectory(prefix="reversible-") as scratch:
        rerun = LocalDestination().rerun(bundle.absolute(), sources=opened.endpoints, into=Path(scratch))
    compared = receipt.compare(documents.results, rerun.results)
    told = {"bundle_sha256": opened.digest, "level": str(rerun.level), **compared}
    signer = keys.load_or_create()
    content = receipt.write(dossier, found, by=by, key=signer, at=datetime.now(UTC), replay=told)
    receipt.keep(into, content, signer)
    if as_json:
        print_json(
            {"dossier": str(dossier), "receipt": str(into), "conclusion": found.conclusion.value, "replay": told}
        )
    else:
        _print(told, _WORDS[lang])
        click.echo(_WORDS[lang]["written"].format(file=into, key=signer.fingerprint))
    if compared["differing"]:
        return 1
    return 3 if compared["missing"] or compared["more"] or compared["not_here"] or not compared["same"] else 0


def _print(told: dict[str, Any], words: dict[str, str]) -> None:
    click.echo(words["same"].format(n=told["same"]))
    for name in ("differing", "missing", "more"):
        for line in told[name]:
            click.echo(words[name].format(**line))
    for metric in told["not_here"]:
        click.echo(words["not_here"].format(metric=metric))
