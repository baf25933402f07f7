"""How are the documents of a run put into a dossier, and taken out again?

A BagIt 1.0 bag, written in a directory beside and renamed: whole or not at all.

    bagit.txt  bag-info.txt  manifest-sha256.txt  tagmanifest-sha256.txt  VERIFY.txt
    data/plan.json  inventory.json  results.jsonl  run.json  verdicts.json  clauses.yaml
    data/report/report.<lang>.html   data/bundle/*.txt   data/raw/*
    seal/evidence.sigstore.json      the signature over the tag manifest's digest, outside the manifests
    seal/signer.pub.pem              for convenience, never to be trusted
"""

import hashlib
import re
import shutil
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from reversible.assets import Asset
from reversible.bundle import bag
from reversible.bundle.writer import disk_faults, json_bytes
from reversible.documents import RunDocuments
from reversible.errors import EvidenceError
from reversible.evidence import recipe, seal, snapshot, statement, strict_json
from reversible.evidence.keys import SigningKey
from reversible.findings import Finding
from reversible.levels import ProofLevel

PLAN, INVENTORY, RESULTS = "data/plan.json", "data/inventory.json", "data/results.jsonl"
RUN, VERDICTS, CATALOGUE = "data/run.json", "data/verdicts.json", "data/clauses.yaml"
DOCUMENTS = (PLAN, INVENTORY, RESULTS, RUN, VERDICTS, CATALOGUE)
SEAL, SIGNER = "seal/evidence.sigstore.json", "seal/signer.pub.pem"
SEAL_NAMES = frozenset({SEAL, SIGNER})
TAGS = frozenset({"bag-info.txt", "bagit.txt", bag.MANIFEST, recipe.NAME})
BUNDLE_NAMES = frozenset({f"data/bundle/{bag.MANIFEST}", f"data/bundle/{bag.TAG_MANIFEST}"})
REPORT_NAME = re.compile(r"data/report/report\.(fr|en)\.html")
STATUSES = frozenset({"measured", "error", "not-run"})
_RAW = "data/raw/"


def write(
    root: Path,
    documents: RunDocuments,
    *,
    reports: Mapping[str, bytes],
    bundle_manifests: Mapping[str, bytes],
    key: SigningKey,
    at: datetime,
    attachments: Mapping[str, bytes] | None = None,
    previous: str | None = None,
    nonce: str | None = None,
) -> Path:
    """Write and seal one dossier.

    Args:
        root: Where it will stand; must not exist yet.
        documents: What the run left behind.
        reports: "report.fr.html" -> bytes.
        bundle_manifests: The bundle's manifest-sha256.txt and tagmanifest-sha256.txt: which bytes were verified.
        key: Who seals.
        at: When, aware; nothing here reads a clock.
        attachments: Raw records, name -> bytes: kept below data/raw/.
        previous: SHA-256 of the statement before this one.
        nonce: What an auditor asked to see.

    Returns:
        `root`.

    Raises:
        EvidenceError: something stands there already, or a document is not what a dossier may hold.
        DestinationError: the disk refuses.
    """
    if root.exists() or root.is_symlink():
        raise EvidenceError(f"{root} exists already", hint="choose another directory, or move it away")
    payload = _payload(documents, reports, bundle_manifests, attachments or {})
    work = root.with_name(f"{root.name}.partial")
    with disk_faults(root.parent):
        if work.is_dir() and not work.is_symlink():
            shutil.rmtree(work)  # left by a killed run: it is cheaper to write again than to trust
        work.mkdir(parents=True)
        try:
            _write_bag(work, payload, at=at)
            said = statement.build(
                plan=documents.plan,
                run=documents.run,
                verdicts=documents.verdicts,
                digests={path: hashlib.sha256(content).hexdigest() for path, content in payload.items()},
                subject=bag.sha256_file(work / bag.TAG_MANIFEST),
                at=at,
                previous=previous,
                nonce=nonce,
            )
            (work / "seal").mkdir()
            (work / SEAL).write_bytes(seal.sign(strict_json.compact_bytes(said), key).to_bytes())
            (work / SIGNER).write_bytes(key.public.pem)
            work.replace(root)
        except BaseException:
            shutil.rmtree(work, ignore_errors=True)
            raise
    return root


def read(root: Path) -> RunDocuments:
    """The documents of a dossier whose files are what its manifests say. Says nothing about who sealed it.

    Raises:
        EvidenceError: there is no dossier, or a file of it is altered, missing or of another shape.
    """
    taken = snapshot.take(root, keep=lambda path: path in DOCUMENTS)
    wrong = list(taken.oddities) or list(bag.faults(root, tags=(recipe.NAME,), free="seal"))
    if wrong:
        raise EvidenceError(f"{root}: {wrong[0]}", hint="ask its sender for the dossier again")
    try:
        return parse(taken.contents)
    except ValueError as error:
        raise EvidenceError(f"{root}: {error}", hint="ask its sender for the dossier again") from error


def as_written(documents: RunDocuments) -> RunDocuments:
    """The documents as a reader of the dossier will have them: the order of keys and the kinds of list are gone.

    Reports are rendered from these: from the run's own objects they could differ from what `verify` renders again.

    Raises:
        EvidenceError: they cannot be put into a dossier.
    """
    try:
        return parse(_document_bytes(documents))
    except ValueError as error:
        raise EvidenceError(f"this run cannot be sealed: {error}") from error


def parse(contents: Mapping[str, bytes]) -> RunDocuments:
    """The six documents, from their bytes.

    Raises:
        ValueError: one is missing, is not strict JSON written our way, or lacks what every reader relies on.
    """
    found: dict[str, Any] = {}
    for path in DOCUMENTS:
        if path not in contents:
            raise ValueError(f"{path} is missing")
        try:
            found[path] = _value(path, contents[path])
            _SHAPES[path](found[path])
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"{path}: {_reason(error)}") from error
    return RunDocuments(
        plan=found[PLAN],
        inventory=tuple(found[INVENTORY]),
        results=tuple(found[RESULTS]),
        run=found[RUN],
        verdicts=found[VERDICTS],
        catalogue=contents[CATALOGUE],
    )


def aware(text: Any) -> datetime:
    """An ISO time with its offset.

    Raises:
        ValueError: it is not one.
    """
    if not isinstance(text, str):
        raise ValueError(f"{text!r} is not a time")
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"the time {text} does not say its offset from UTC")
    return at


# --- writing ----------------------------------------------------------------------------------------------------


def _payload(
    documents: RunDocuments,
    reports: Mapping[str, bytes],
    manifests: Mapping[str, bytes],
    attachments: Mapping[str, bytes],
) -> dict[str, bytes]:
    as_written(documents)  # what we could not read back we do not seal
    payload = {
        **_document_bytes(documents),
        **{f"data/report/{name}": content for name, content in reports.items()},
        **{f"data/bundle/{name}": content for name, content in manifests.items()},
        **{f"{_RAW}{name}": content for name, content in attachments.items()},
    }
    for path in payload:
        if not bag.is_safe(path) or not expected(path):
            raise EvidenceError(f"{path} has no place in a dossier", hint="see docs/evidence-format.md")
    return payload


def _document_bytes(documents: RunDocuments) -> dict[str, bytes]:
    return {
        PLAN: json_bytes(documents.plan),
        INVENTORY: json_bytes(documents.inventory),
        RESULTS: strict_json.line_bytes(documents.results),
        RUN: json_bytes(documents.run),
        VERDICTS: json_bytes(documents.verdicts),
        CATALOGUE: documents.catalogue,
    }


def expected(path: str) -> bool:
    """Whether a dossier may hold a payload file of that name."""
    return path in DOCUMENTS or path in BUNDLE_NAMES or path.startswith(_RAW) or REPORT_NAME.fullmatch(path) is not None


def _write_bag(work: Path, payload: Mapping[str, bytes], *, at: datetime) -> None:
    for path, content in payload.items():
        target = work / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    (work / recipe.NAME).write_text(recipe.TEXT, encoding="utf-8")
    info = {
        "Bag-Software-Agent": f"reversible {statement.FORMAT}",
        "Bagging-Date": at.date().isoformat(),
        "Payload-Oxum": f"{sum(map(len, payload.values()))}.{len(payload)}",
    }
    digests = {path: hashlib.sha256(content).hexdigest() for path, content in payload.items()}
    bag.write_tags(work, digests, info, more=(recipe.NAME,))


# --- reading ----------------------------------------------------------------------------------------------------


def _value(path: str, content: bytes) -> Any:
    if path == CATALOGUE:
        return content
    value = strict_json.parse_lines(content) if path == RESULTS else strict_json.parse(content)
    if (strict_json.line_bytes(value) if path == RESULTS else json_bytes(value)) != content:
        raise ValueError("it is not written the one way that we write it")
    return value


def _plan(plan: Any) -> None:
    _format(plan, "reversible-plan/1")
    aware(plan["sealed_at"])
    _typed(plan, str, "tool", "catalogue_sha256", "exit_plan_sha256")
    _typed(plan, dict, "exit_plan", "verifiers", "facts")
    _typed(plan, list, "profiles", "flags", "criteria", "run_metrics", "documents")
    for one in plan["verifiers"].values():
        _typed(one, list, "metrics", "kinds")


def _inventory(inventory: Any) -> None:
    if not isinstance(inventory, list):
        raise ValueError("it is not a list")
    ids = [Asset.from_json(one).id for one in inventory]
    if len(set(ids)) != len(ids):
        raise ValueError("an asset is there twice")


def _results(results: Any) -> None:
    for number, line in enumerate(results, start=1):
        try:
            _result(line)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"line {number}: {_reason(error)}") from error


def _result(line: Any) -> None:
    if {**Finding.from_json(line).to_json(), "status": line["status"]} != line:
        raise ValueError("its members are not those of a finding")
    if line["status"] not in STATUSES:
        raise ValueError(f"its status is {line['status']!r}, none of {', '.join(sorted(STATUSES))}")
    if (line["status"] == "measured") != (line["value"] is not None):
        raise ValueError(f"its status is {line['status']}, its value {line['value']!r}")
    _typed(line, str, "metric", "unit", "seen", "error")
    if not isinstance(line["coverage"], int | float) or not 0 <= line["coverage"] <= 1:
        raise ValueError(f"its coverage is {line['coverage']!r}, not a share from 0 to 1")


def _run(run: Any) -> None:
    _format(run, "reversible-run/1")
    _typed(run, str, "run_id", "level")
    _typed(run, bool, "simulated")
    _typed(run, dict, "bundle")
    _typed(run, list, "events")
    ProofLevel.of(run["level"])
    aware(run["started_at"])
    aware(run["finished_at"])
    for event in run["events"]:
        _typed(event, str, "at", "event")
        aware(event["at"])


def _verdicts(verdicts: Any) -> None:
    _typed(verdicts, list, "clauses")
    _typed(verdicts, int, "exit_status")
    for clause in verdicts["clauses"]:
        _typed(clause, str, "id", "verdict", "severity")


_SHAPES: dict[str, Callable[[Any], None]] = {
    PLAN: _plan,
    INVENTORY: _inventory,
    RESULTS: _results,
    RUN: _run,
    VERDICTS: _verdicts,
    CATALOGUE: lambda content: None,  # its digest is in the plan; `clauses.load` refuses an inconsistent one
}


def _format(document: Any, name: str) -> None:
    if document["format"] != name:
        raise ValueError(f"its format is {document['format']!r}, not {name}")


def _typed(document: Any, kind: type, *keys: str) -> None:
    for key in keys:
        if type(document[key]) is not kind:
            raise ValueError(f"{key} is not of type {kind.__name__}")


def _reason(error: Exception) -> str:
    return f"it has no {error}" if isinstance(error, KeyError) else str(error)
