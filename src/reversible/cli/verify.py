"""Is this bundle, from its bytes alone, what the source said it would be?"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from reversible.cli.terminal import json_option, lang_option, print_json

_HEADS = {
    "fr": ("Mesure", "Actifs", "Pire valeur", "Seuil", "Résultat"),
    "en": ("Metric", "Assets", "Worst", "Threshold", "Result"),
}
_WORDS = {
    "fr": {
        "met": "tient", "missed": "NE TIENT PAS", "unanswered": "SANS RÉPONSE", "refused": "REFUSÉ PAR LA SOURCE",
        "optional": "sans réponse, et aucune n'est exigée",
        "part": "TIENT EN PARTIE, sur {percent} % du périmètre",
    },
    "en": {
        "met": "holds", "missed": "DOES NOT HOLD", "unanswered": "NO ANSWER", "refused": "REFUSED BY THE SOURCE",
        "optional": "no answer, and none is required",
        "part": "HOLDS IN PART, on {percent} % of the scope",
    },
}  # fmt: skip


@click.command(
    epilog="""\b
Examples:
  reversible verify run-1/bundle
  reversible verify run-1/bundle --into findings      on a host of its own, to be brought home
  reversible verify run-1/bundle --json | jq '.criteria[] | select(.status != "met")'

\b
Exit status: 0 every criterion that the bundle can settle holds; 1 one does not; 3 a required one has no answer, or one
holds on a part of the scope (a sample), an asset was refused by the source, or the bundle is empty; 5 the bundle is
altered, incomplete or unreadable.""",
)
@click.argument("bundle", type=click.Path(path_type=Path, readable=False))
@click.option("--into", type=click.Path(path_type=Path), metavar="DIR", help="Also write what was found into new DIR.")
@json_option
@lang_option
def verify(bundle: Path, into: Path | None, as_json: bool, lang: str) -> int:
    """Hash BUNDLE, then run every verifier on it, cut off from the network; no plan and no vendor is needed."""
    import tempfile

    from reversible.bundle.reader import Bundle
    from reversible.destinations.local import LocalDestination

    if into is not None:
        _new_folder(into)
    opened = Bundle.open(bundle)
    opened.check()
    with tempfile.TemporaryDirectory(prefix="reversible-") as scratch:
        rerun = LocalDestination().rerun(bundle.absolute(), sources=opened.endpoints, into=Path(scratch))
    criteria = settle(opened, rerun.results)
    refused = {entry.asset.id: entry.error for entry in opened.entries if entry.error}
    document = {"bundle": str(bundle), "sha256": opened.digest, "level": rerun.level, "criteria": criteria}
    document["refused"] = [{"asset": asset, "error": error} for asset, error in refused.items()]
    document["results"] = rerun.results
    if into is not None:
        _write(into, document, rerun.isolation)
    if as_json:
        print_json(document)
    else:
        _print(criteria, lang)
        for asset, error in refused.items():
            click.echo(f"{_WORDS[lang]['refused']}  {asset}: {error}")
        click.echo(f"\n{rerun.isolation['fence']}  {rerun.level}  sha256:{opened.digest}")
    return status_of(criteria, refused=bool(refused))


def _new_folder(into: Path) -> None:
    from reversible.bundle.writer import disk_faults
    from reversible.errors import UsageError

    if into.exists():
        raise UsageError(f"{into} exists already", hint="choose another directory with --into, or move it away")
    with disk_faults(into):
        into.mkdir(parents=True)


def _write(into: Path, document: Mapping[str, Any], isolation: Mapping[str, Any]) -> None:
    """verify.json is what --json prints; isolation.json says how far the re-run was cut off."""
    from reversible.bundle.writer import disk_faults, json_bytes

    with disk_faults(into):
        (into / "verify.json").write_bytes(json_bytes(document))
        (into / "isolation.json").write_bytes(json_bytes(isolation))


def status_of(criteria: Sequence[Mapping[str, Any]], *, refused: bool) -> int:
    """1: one does not hold. 3: a required one has no answer, one holds on a part only, or something was refused."""
    if any(row["status"] == "missed" for row in criteria):
        return 1
    open_ = any(row["status"] == "unanswered" and row["required"] for row in criteria)
    return 3 if open_ or any(map(_in_part, criteria)) or refused or not criteria else 0


def _in_part(row: Mapping[str, Any]) -> bool:
    """Whether it holds on what was looked at, and not all was."""
    return bool(row["status"] == "met" and row["coverage"] < 1)


def settle(bundle: Any, results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each catalogue criterion whose metric a verifier measures, against the bundle's findings."""
    from reversible import clauses, registry, verdicts
    from reversible.findings import Finding

    catalogue = clauses.load()
    planned = frozenset(
        (metric, asset.id)
        for one in registry.verifiers().values()
        for asset in bundle.assets
        if asset.kind in one.kinds
        for metric in one.metrics
    )
    findings = tuple(Finding.from_json(line) for line in results)
    return verdicts.settle(catalogue, planned, findings)


def _print(criteria: Sequence[Mapping[str, Any]], lang: str) -> None:
    click.echo("{:<36} {:>7} {:>14} {:>14}  {}".format(*_HEADS[lang]))
    for row in criteria:
        worst = (
            "-" if row["value"] is None else f"{row['value']:.6g}" if isinstance(row["value"], float) else row["value"]
        )
        threshold = f"{row['op']} {row['threshold']}"
        kind = "optional" if row["status"] == "unanswered" and not row["required"] else row["status"]
        said = _WORDS[lang]["part" if _in_part(row) else kind].format(percent=f"{100 * row['coverage']:.3g}")
        click.echo(f"{row['metric']:<36} {row['assets']:>7} {worst!s:>14} {threshold:>14}  {said}")
        for place in row["places"]:
            click.echo(f"    {place}")
        if row["status"] == "unanswered":
            click.echo(f"    {row['reason']['text'].format(**row['reason']['facts'])}")
