"""Can this dossier be believed, and what does it say?"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reversible.cli.terminal import (
    json_option,
    lang_option,
    print_json,
    tsa_certificate_option,
    tsa_option,
)

if TYPE_CHECKING:
    from reversible.evidence.verify import Verification

_OUTCOMES = {
    "fr": {"passed": "réussie", "failed": "ÉCHOUÉE", "not-run": "non faite"},
    "en": {"passed": "passed", "failed": "FAILED", "not-run": "not run"},
}
_CONCLUSIONS = {
    "fr": {
        "verified": "VÉRIFIÉ : scellé par la clé que vous avez donnée, complet, et il dit ce que disent ses mesures.",
        "rejected": "REFUSÉ : ce dossier n'est pas celui qui a été scellé, ou il ne dit pas ce que disent ses mesures.",
        "integrity-only": "INTÉGRITÉ SEULE : entier et cohérent, mais rien ne dit de qui il vient. Donnez --key.",
        "incomplete": "INCOMPLET : rien n'est faux, mais une étape exigée n'a pas pu être faite.",
    },
    "en": {
        "verified": "VERIFIED: sealed by the key you gave, complete, and it says what its measurements say.",
        "rejected": "REJECTED: this dossier is not what was sealed, or does not say what its measurements say.",
        "integrity-only": "INTEGRITY ONLY: whole and consistent, but nothing says who it comes from. Give --key.",
        "incomplete": "INCOMPLETE: nothing is wrong, but a required step could not be taken.",
    },
}
_LIMITS = {
    "fr": "Ce qu'aucune signature ne montre : des mesures inventées avant le scellé.",
    "en": "What no signature shows: measurements made up before the seal.",
}
_TIMES = {
    "fr": {
        "claimed": "Heure AFFIRMÉE : {at}, par l'horloge de la machine qui a scellé.",
        "pending": "Heure AFFIRMÉE : {at} ; le jeton d'horodatage demandé manque encore.",
        "proved": "Heure PROUVÉE : le dossier existait le {at}, selon l'autorité d'horodatage.",
    },
    "en": {
        "claimed": "Time CLAIMED: {at}, by the clock of the machine that sealed.",
        "pending": "Time CLAIMED: {at}; the time-stamp token that was to be asked for is still missing.",
        "proved": "Time PROVED: the dossier existed at {at}, says the time-stamping authority.",
    },
}
_TITLES_FR = {
    "layout": "Fichiers ordinaires, noms ordinaires",
    "manifests": "Manifestes stricts et complets",
    "digests": "Chaque fichier est celui de la liste",
    "names": "Rien ne manque, rien n'est ajouté",
    "seal": "Un seul scellé, de la seule forme connue",
    "key": "Scellé par la clé que vous donnez",
    "signature": "La signature tient",
    "subject": "Le scellé porte sur ces fichiers",
    "time": "L'heure prouvée par une autorité",
    "documents": "Documents stricts et bien formés",
    "catalogue": "Jugé selon les clauses scellées",
    "criteria": "Seuils tels que le plan les donne",
    "answers": "Chaque contrôle prévu, une réponse",
    "verdicts": "Verdicts rejugés à l'identique",
    "summary": "La déclaration dit la même chose",
    "bundle": "Porte sur le lot qui a été vérifié",
    "times": "Dans le bon ordre du temps",
    "reports": "Rapports recomposés à l'identique",
    "instructions": "VERIFY.txt et verify.py sont les nôtres",
    "log": "Annoncé au journal, et son issue",
    "expected": "Le dossier que vous attendez",
}
_FIELDS = {
    "fr": {
        "run_id": "essai", "organisation": "organisation", "provider": "fournisseur quitté", "contract": "contrat",
        "level": "niveau de preuve", "simulated": "destination simulée", "exit_status": "issue de l'essai",
        "counts": "clauses", "sealed_at": "scellé le (affirmé)",
    },
    "en": {
        "run_id": "run", "organisation": "organisation", "provider": "provider left", "contract": "contract",
        "level": "proof level", "simulated": "simulated destination", "exit_status": "outcome of the run",
        "counts": "clauses", "sealed_at": "sealed at (claimed)",
    },
}  # fmt: skip
_OUTCOME_OF_RUN: dict[str, dict[Any, str]] = {
    "fr": {
        0: "aucune clause échouée, rien de bloquant laissé sans test à ce niveau",
        1: "au moins une clause ÉCHOUÉE",
        3: "non concluant : une mesure exigée n'a pas été faite",
    },
    "en": {
        0: "no clause failed, nothing blocking untested at this level",
        1: "at least one clause FAILED",
        3: "inconclusive: a required measurement was not taken",
    },
}
_YES = {"fr": {True: "oui", False: "non"}, "en": {True: "yes", False: "no"}}
_STAMPED = {
    "fr": {"added": "{root} : jeton d'horodatage ajouté", "there": "{root} : a déjà son jeton"},
    "en": {"added": "{root}: time-stamp token added", "there": "{root}: has its token already"},
}
_RECEIPT = {
    "fr": ("contresigné par", "clé", "conclusion", "le (affirmé)", "non fait", "rejoué"),
    "en": ("countersigned", "key", "conclusion", "at (claimed)", "not run", "replayed"),
}
_UNCHECKED = {
    "fr": "Lu, pas vérifié : reversible evidence verify {root} --key EMPREINTE",
    "en": "Read, not verified: reversible evidence verify {root} --key FINGERPRINT",
}


@click.group(
    epilog="""\b
Examples:
  reversible evidence verify run-1/evidence --key FINGERPRINT
  reversible evidence show run-1/evidence""",
)
def evidence() -> None:
    """Check a dossier offline, or show what it says."""


@evidence.command(
    epilog="""\b
Examples:
  reversible evidence verify run-1/evidence --key 3f5a9c…          the signer's fingerprint, told by another way
  reversible evidence verify run-1/evidence --key signer.pem --json | jq .conclusion

\b
Exit status: 0 verified; 5 rejected; 3 integrity only (no key given), or a required step could not be taken.""",
)
@click.argument("dossier", type=click.Path(path_type=Path, readable=False))
@click.option("--key", "pinned", metavar="FINGERPRINT|FILE", help="The signer's key, known by another way.")
@tsa_certificate_option
@click.option(
    "--log",
    "log_at",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The signer's log of all runs, or a copy of it: the run must be announced there.",
)
@click.option("--organisation", help="Refuse a dossier about another organisation.")
@click.option("--plan-sha256", metavar="DIGEST", help="Refuse another plan than this one: SHA-256 of plan.json.")
@click.option("--nonce", help="Refuse a dossier without the number that you drew before the run.")
@click.option("--max-age-days", type=click.FloatRange(min=0), metavar="DAYS", help="Refuse an older dossier.")
@json_option
@lang_option
def verify(
    dossier: Path,
    pinned: str | None,
    tsa_certificate: Path | None,
    log_at: Path | None,
    organisation: str | None,
    plan_sha256: str | None,
    nonce: str | None,
    max_age_days: float | None,
    as_json: bool,
    lang: str,
) -> int:
    """Check DOSSIER offline: files, signature, completeness; judge again and render again."""
    from reversible.evidence import verify as evidence_verify

    expected = evidence_verify.Expected(
        organisation=organisation, plan_sha256=plan_sha256, nonce=nonce, max_age_days=max_age_days
    )
    found = evidence_verify.verify(dossier, pinned=pinned, tsa=tsa_certificate, log_at=log_at, expected=expected)
    if as_json:
        print_json({"dossier": str(dossier), **found.to_json()})
    else:
        _print_steps(found, lang)
    return found.exit_status


@evidence.command(
    epilog="""\b
Examples:
  reversible evidence timestamp run-1/evidence --tsa http://tsa.example/ --tsa-certificate tsa.pem
  reversible evidence timestamp run-*/evidence       the authority of REVERSIBLE_TSA_URL and REVERSIBLE_TSA_CERTIFICATE

\b
A dossier that has its token already is left as it is: the same command finishes what an authority that was away left
open. Exit status: 0 each has its token; 5 an answer proves nothing; 6 the authority is away.""",
)
@click.argument("dossiers", metavar="DOSSIER...", nargs=-1, required=True, type=click.Path(path_type=Path))
@tsa_option
@tsa_certificate_option
@lang_option
def timestamp(dossiers: tuple[Path, ...], tsa: str | None, tsa_certificate: Path | None, lang: str) -> int:
    """Ask a time-stamping authority for the tokens that DOSSIERs lack."""
    import os

    from reversible.errors import UsageError
    from reversible.evidence import authority, dossier

    asked = authority.configured(tsa, tsa_certificate, os.environ)
    if asked is None:
        raise UsageError("no time-stamping authority is named", hint="--tsa URL --tsa-certificate FILE.pem")
    for root in dossiers:
        word = "added" if dossier.stamp(root, asked) else "there"
        click.echo(_STAMPED[lang][word].format(root=root))
    return 0


@evidence.command(
    epilog="""\b
Examples:
  reversible evidence countersign dossier --key SIGNER --by "Audit SA" --into receipt.json

\b
You sign, with your own key (REVERSIBLE_KEY), which steps passed and which could not be taken. What you sign lies beside
the dossier. Exit status: as of `evidence verify`; a rejected dossier is not countersigned.""",
)
@click.argument("dossier", type=click.Path(path_type=Path, readable=False))
@click.option(
    "--key", "pinned", required=True, metavar="FINGERPRINT|FILE", help="The signer's key, known by another way."
)
@click.option("--by", required=True, metavar="NAME", help="Who you are, in words.")
@click.option("--into", required=True, type=click.Path(path_type=Path), metavar="FILE", help="Where your receipt goes.")
@tsa_certificate_option
@click.option("--log", "log_at", type=click.Path(path_type=Path), metavar="DIR", help="The signer's log.")
@lang_option
def countersign(
    dossier: Path, pinned: str, by: str, into: Path, tsa_certificate: Path | None, log_at: Path | None, lang: str
) -> int:
    """Check DOSSIER and sign what was found."""
    from datetime import UTC, datetime

    from reversible.evidence import keys, receipt
    from reversible.evidence import verify as evidence_verify

    found = evidence_verify.verify(dossier, pinned=pinned, tsa=tsa_certificate, log_at=log_at)
    signer = keys.load_or_create()
    if found.exit_status != 5:
        receipt.keep(into, receipt.write(dossier, found, by=by, key=signer, at=datetime.now(UTC)), signer)
    _print_steps(found, lang)
    if found.exit_status != 5:
        click.echo(f"{into}  {keys.in_groups(signer.fingerprint)}")
    return found.exit_status


@evidence.command(
    epilog="""\b
Examples:
  reversible evidence receipt receipt.json dossier --key COUNTERSIGNER

\b
Exit status: 0 it is theirs, about this dossier; 5 it is not.""",
)
@click.argument("receipt_file", metavar="RECEIPT", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("dossier", type=click.Path(path_type=Path, readable=False))
@click.option(
    "--key", "pinned", required=True, metavar="FINGERPRINT|FILE", help="The countersigner's key, known by another way."
)
@lang_option
def receipt(receipt_file: Path, dossier: Path, pinned: str, lang: str) -> int:
    """Read what a countersigner found on DOSSIER."""
    from reversible.evidence import keys
    from reversible.evidence import receipt as receipts

    beside = receipts.beside(receipt_file)
    try:
        enclosed = keys.PublicKey.from_pem(beside.read_bytes()) if beside.exists() else None
    except ValueError:
        enclosed = None
    found = receipts.read(receipt_file.read_bytes(), dossier, keys.pinned(pinned), enclosed)
    replayed = "-"
    if found.replay is not None:
        replayed = f"{found.replay['same']} = · {len(found.replay['differing'])} ≠ · {len(found.replay['missing'])} ?"
    for label, value in zip(_RECEIPT[lang], (
        found.by, found.fingerprint, found.conclusion, found.at.isoformat(), ", ".join(found.not_run) or "-", replayed,
    ), strict=True):  # fmt: skip
        click.echo(f"  {label:<14} {_printable(str(value))}")
    return 0


@evidence.command(
    epilog="""\b
Examples:
  reversible evidence rotate new-key.pem                  made when it is not there
  reversible evidence verify DOSSIER --key OLD-FINGERPRINT --log LOG

\b
The log then says, signed by both keys, that the old one hands over to the new one. From then on set REVERSIBLE_KEY to
the new one and REVERSIBLE_LOG to the log. Readers who pinned the old fingerprint keep it, and read the log.""",
)
@click.argument("new_key", metavar="NEW-KEY", type=click.Path(path_type=Path))
def rotate(new_key: Path) -> None:
    """Hand the signing key over to NEW-KEY, in the log."""
    from datetime import UTC, datetime

    from reversible.errors import UsageError
    from reversible.evidence import keys
    from reversible.evidence.history import Log

    old, new = keys.load_or_create(), keys.load_or_create(new_key)
    if new.fingerprint == old.fingerprint:
        raise UsageError(f"{new_key} is the key that signs today", hint="name a file that is not there yet")
    log = Log.of(old)
    log.rotate(new, datetime.now(UTC))
    click.echo(f"export REVERSIBLE_KEY={new_key.absolute()} REVERSIBLE_LOG={log.folder.absolute()}")
    click.echo(keys.in_groups(new.fingerprint), err=True)


@evidence.command(
    epilog="""\b
Examples:
  reversible evidence verifier > verify.py
  python3 verify.py run-1/evidence --key FINGERPRINT"""
)
def verifier() -> None:
    """Print verify.py: one file, standard library and cryptography, that checks a dossier without this tool."""
    import hashlib

    from reversible.evidence import recipe

    click.echo(recipe.program(), nl=False)
    click.echo(f"sha256 {hashlib.sha256(recipe.program()).hexdigest()}", err=True)


@evidence.command(
    epilog="""\b
Examples:
  reversible evidence show run-1/evidence
  reversible evidence show run-1/evidence --json | jq .counts"""
)
@click.argument("dossier", type=click.Path(path_type=Path, readable=False))
@json_option
@lang_option
def show(dossier: Path, as_json: bool, lang: str) -> int:
    """Show what DOSSIER says, without asking whether it can be believed."""
    from reversible.errors import EvidenceError
    from reversible.evidence import verify as evidence_verify

    found = evidence_verify.verify(dossier, pinned=None)
    if found.said is None:
        reasons = [step.detail for step in found.steps if step.id == "seal"]
        raise EvidenceError(f"{dossier}: its seal cannot be read: {reasons[0]}", hint=f"ls -lR {dossier}")
    own = {**found.said["reversible"], "result": found.said.get("result")}
    if as_json:
        print_json({**own, "dossier": str(dossier), "verified": False})  # ours last: a stranger wrote the others
        return 0
    _print_statement(own, lang)
    click.echo(_UNCHECKED[lang].format(root=dossier))
    return 0


def _print_steps(found: "Verification", lang: str) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    colours = {"passed": "green", "failed": "bold red", "not-run": "yellow"}
    conclusion = found.conclusion.value
    click.echo(_CONCLUSIONS[lang][conclusion])
    if found.said is not None and conclusion != "rejected":
        _print_statement(found.said["reversible"], lang)
    table = Table(box=box.SIMPLE, show_header=False, pad_edge=False)
    for step in found.steps:
        title = _TITLES_FR[step.id] if lang == "fr" else step.title
        outcome = step.outcome.value
        table.add_row(
            Text(_OUTCOMES[lang][outcome], style=colours[outcome]), Text(title), Text(_printable(step.detail))
        )
    Console(highlight=False).print(table)
    if found.time is not None and conclusion != "rejected":
        click.echo(_TIMES[lang][found.time["status"]].format(at=_printable(found.time["at"])))
    click.echo(_LIMITS[lang])


def _print_statement(own: dict[str, Any], lang: str) -> None:
    fields = _FIELDS[lang]
    width = max(map(len, fields.values()))
    for key, label in fields.items():
        value = own.get(key)
        words = _OUTCOME_OF_RUN[lang].get(value, value) if key == "exit_status" and isinstance(value, int) else value
        click.echo(f"  {label:<{width}}  {_printable(_in_words(words, lang))}")


def _in_words(value: Any, lang: str) -> str:
    if isinstance(value, bool):
        return _YES[lang][value]
    if isinstance(value, dict):
        return ", ".join(f"{name} {number}" for name, number in value.items() if number)
    return "-" if value is None else str(value)


def _printable(text: str) -> str:
    """What a stranger wrote must not drive our terminal."""
    return "".join(character if character.isprintable() else "�" for character in text)
