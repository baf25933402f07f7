"""What may a dossier hold, and of which shape?

The closed lists of names, and the six documents read strictly: what two readers could read differently, or what a
later step would stumble over, is refused here with its place.
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from reversible.assets import Asset
from reversible.bundle import bag
from reversible.bundle.writer import json_bytes
from reversible.documents import RunDocuments
from reversible.evidence import recipe, strict_json
from reversible.findings import Finding
from reversible.levels import ProofLevel

PLAN, INVENTORY, RESULTS = "data/plan.json", "data/inventory.json", "data/results.jsonl"
RUN, VERDICTS, CATALOGUE = "data/run.json", "data/verdicts.json", "data/clauses.yaml"
DOCUMENTS = (PLAN, INVENTORY, RESULTS, RUN, VERDICTS, CATALOGUE)
CLAUSES = "data/clauses.json"  # what of the catalogue judges, for readers without YAML
SEAL, SIGNER = "seal/evidence.sigstore.json", "seal/signer.pub.pem"
SEAL_NAMES = frozenset({SEAL, SIGNER})
TAGS = frozenset({"bag-info.txt", "bagit.txt", bag.MANIFEST, recipe.NAME, recipe.PROGRAM})
BUNDLE_NAMES = frozenset({f"data/bundle/{bag.MANIFEST}", f"data/bundle/{bag.TAG_MANIFEST}"})
REPORT_NAME = re.compile(r"data/report/report\.(fr|en)\.html")
STATUSES = frozenset({"measured", "error", "not-run"})
RAW = "data/raw/"


def expected(path: str) -> bool:
    """Whether a dossier may hold a payload file of that name."""
    known = path in DOCUMENTS or path == CLAUSES or path in BUNDLE_NAMES
    return known or path.startswith(RAW) or REPORT_NAME.fullmatch(path) is not None


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


def to_bytes(documents: RunDocuments) -> dict[str, bytes]:
    """The six documents as files, by path.

    Raises:
        ValueError: one holds what JSON has no way to say: a NaN, an infinity.
    """
    return {
        PLAN: json_bytes(documents.plan),
        INVENTORY: json_bytes(documents.inventory),
        RESULTS: strict_json.line_bytes(documents.results),
        RUN: json_bytes(documents.run),
        VERDICTS: json_bytes(documents.verdicts),
        CATALOGUE: documents.catalogue,
    }


# --- shapes ------------------------------------------------------------------------------------------------------


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
