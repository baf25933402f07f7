"""What does a forger have? A genuine dossier, an editor, sha256sum, and, as an insider, the signing key."""

import dataclasses
import hashlib
import json
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from reversible import __version__, clauses, judgement
from reversible.assets import Asset, Kind
from reversible.bundle import bag
from reversible.bundle.writer import json_bytes
from reversible.documents import RunDocuments
from reversible.evidence import contents, dossier, seal, statement, strict_json
from reversible.evidence.keys import SigningKey
from reversible.findings import Finding

SEALED = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
FINISHED = SEALED + timedelta(minutes=2)
NOW = SEALED + timedelta(hours=1)

BUNDLE_MANIFEST = b"".join(f"{n:064x}  data/table/t{n}/part-00000.parquet\n".encode() for n in range(2))
BUNDLE_TAGS = f"{hashlib.sha256(BUNDLE_MANIFEST).hexdigest()}  {bag.MANIFEST}\n".encode()
BUNDLE_MANIFESTS = {bag.MANIFEST: BUNDLE_MANIFEST, bag.TAG_MANIFEST: BUNDLE_TAGS}

_VERIFIERS = {
    "rows": {"metrics": ["data.rows_extra", "data.rows_missing"], "kinds": ["table"]},
    "schema": {"metrics": ["data.schema_drift_undeclared"], "kinds": ["database"]},
}
_RUN_METRICS = {
    "dest.simulated": True,
    "evidence.manifest_verifies": True,
    "evidence.raw_results_present": True,
    "inventory.assets_total": 4,
    "inventory.assets_unlisted": 0,
    "inventory.assets_excluded_no_reason": 0,
    "inventory.exported_pct": 100.0,
    "plan.criteria_sealed_before_run": True,
    "residual.calls_to_source": 0,
    "residual.route_to_source": False,
    "residual.shared_credentials": 0,
}


def run_documents() -> RunDocuments:
    """One small run: two tables and a schema that left, a table that stays, one check that did not run."""
    catalogue = clauses.load()
    assets = [
        Asset(source="shop", kind=Kind.TABLE, name="public.clients", rows=120, size_bytes=9_000),
        Asset(source="shop", kind=Kind.TABLE, name="public.orders", rows=1_200, size_bytes=90_000),
        Asset(source="shop", kind=Kind.DATABASE, name="shop"),
        Asset(source="shop", kind=Kind.TABLE, name="public.sessions", rows=7, excluded="expires within a day"),
    ]
    inventory = tuple(asset.to_json() for asset in assets)
    exit_plan = {
        "contract": {
            "title": "Hébergement de la boutique", "customer": "Boutique Lumière", "provider": "Nuage SA",
            "reference": "C-2026-17",
        },
        "clauses": {"profiles": ["baseline"]},
    }  # fmt: skip
    plan = {
        "format": "reversible-plan/1",
        "sealed_at": SEALED.isoformat(),
        "tool": f"reversible-toolkit {__version__}",
        "exit_plan": exit_plan,
        "exit_plan_sha256": "ab" * 32,
        "catalogue_sha256": catalogue.sha256,
        "profiles": ["baseline"],
        "flags": [],
        "criteria": [criterion.to_json() for criterion in clauses.criteria(catalogue, ["baseline"], ())],
        "verifiers": _VERIFIERS,
        "run_metrics": sorted(_RUN_METRICS),
        "facts": {},
        "documents": [],
    }
    run = {
        "format": "reversible-run/1",
        "run_id": "20261124T090200Z-abababab",
        "started_at": SEALED.isoformat(),
        "finished_at": FINISHED.isoformat(),
        "level": "N3",
        "simulated": True,
        "destination": {"kind": "local", "country": "FR", "storage": None},
        "isolation": {"fence": "user and network namespace", "canaries": [], "attempts": []},
        "bundle": {"sha256": hashlib.sha256(BUNDLE_TAGS).hexdigest(), "bytes": 4_096, "files": 6},
        "sources": [{"name": "shop", "endpoints": ["127.0.0.1:5432"]}],
        "phases": [{"name": "export", "started_at": SEALED.isoformat(), "seconds": 1.5, "peak_mib": 80.0}],
        "versions": {"reversible-toolkit": __version__, "python": "3.11.7"},
        "events": [
            {"at": SEALED.isoformat(), "event": "sealed"},
            {"at": (SEALED + timedelta(seconds=5)).isoformat(), "event": "export"},
        ],
        "refused": [],
    }
    results = tuple(_answer(*check) for check in sorted(judgement.planned_checks(plan, inventory), key=str))
    return judged(
        RunDocuments(plan=plan, inventory=inventory, results=results, run=run, verdicts={}, catalogue=catalogue.content)
    )


def moved(at: datetime) -> RunDocuments:
    """The same run, at another time: a time-stamping authority has no other clock than this machine's."""
    found, text = run_documents(), at.isoformat()
    run = {**found.run, "started_at": text, "finished_at": text, "events": []}
    return judged(dataclasses.replace(found, plan={**found.plan, "sealed_at": text}, run=run))


def _answer(metric: str, asset: str | None) -> dict[str, Any]:
    unit = clauses.load().metrics[metric].unit
    if metric == "data.rows_extra" and asset and asset.endswith("clients"):
        return {**Finding(metric, asset, None, unit=unit, error="it did not run").to_json(), "status": "not-run"}
    value = _RUN_METRICS.get(metric, 0)
    seen, facts = ("{n} counted", {"n": 1_200}) if asset else ("", {})
    return {**Finding(metric, asset, value, unit=unit, seen=seen, facts=facts).to_json(), "status": "measured"}


def judged(documents: RunDocuments) -> RunDocuments:
    """The same documents with the verdicts that follow from them."""
    verdicts = judgement.judge_run(
        documents.plan, documents.inventory, documents.results, documents.run, clauses.load(documents.catalogue)
    )
    return dataclasses.replace(documents, verdicts=json.loads(json_bytes(verdicts)))


def write(root: Path, key: SigningKey, documents: RunDocuments | None = None, **options: Any) -> Path:
    """A genuine dossier."""
    sealing = dossier.Sealing(
        **{name: options.pop(name) for name in ("previous", "nonce", "authority") if name in options}
    )
    settings: dict[str, Any] = {
        "sealing": sealing,
        "reports": {}, "bundle_manifests": BUNDLE_MANIFESTS, "attachments": {"fence.jsonl": b'{"attempts": 0}\n'},
        "key": key, "at": FINISHED,
    }  # fmt: skip
    return dossier.write(root, documents or run_documents(), **{**settings, **options})


# --- tools -------------------------------------------------------------------------------------------------------


def load(root: Path, path: str) -> Any:
    content = (root / path).read_bytes()
    return strict_json.parse_lines(content) if path == contents.RESULTS else json.loads(content)


def edit(root: Path, path: str, change: Callable[[Any], Any]) -> None:
    """Change one document, in place or by a new list, and write it our way."""
    document = load(root, path)
    changed = change(document)
    document = changed if isinstance(changed, list) else document
    (root / path).write_bytes(strict_json.line_bytes(document) if path == contents.RESULTS else json_bytes(document))


def remanifest(root: Path) -> None:
    """What anybody can do: write both manifests anew for whatever is there."""
    payload = {path: bag.sha256_file(root / path) for path, _ in bag.walk(root) if path.startswith("data/")}
    _lines(root / bag.MANIFEST, payload)
    _lines(root / bag.TAG_MANIFEST, {tag: bag.sha256_file(root / tag) for tag in contents.TAGS})


def reseal(
    root: Path, key: SigningKey, *, change: Callable[[dict[str, Any]], Any] = lambda said: None, at: datetime = FINISHED
) -> None:
    """What an insider can do: manifests, a statement that fits the documents (then changed), and the signature."""
    remanifest(root)
    read = {path: (root / path).read_bytes() for path, _ in bag.walk(root) if path.startswith("data/")}
    said = statement.build(
        plan=json.loads(read[contents.PLAN]),
        run=json.loads(read[contents.RUN]),
        verdicts=json.loads(read[contents.VERDICTS]),
        digests={path: hashlib.sha256(content).hexdigest() for path, content in read.items()},
        subject=bag.sha256_file(root / bag.TAG_MANIFEST),
        at=at,
    )
    change(said)
    put_seal(root, strict_json.compact_bytes(said), key)


def put_seal(root: Path, payload: bytes, key: SigningKey) -> None:
    (root / contents.SEAL).write_bytes(seal.sign(payload, key).to_bytes())
    (root / contents.SIGNER).write_bytes(key.public.pem)


def rejudge(root: Path) -> None:
    """Write the verdicts that follow from the edited documents."""
    documents = contents.parse({path: (root / path).read_bytes() for path in contents.DOCUMENTS})
    (root / contents.VERDICTS).write_bytes(json_bytes(judged(documents).verdicts))


def _lines(path: Path, entries: dict[str, str]) -> None:
    path.write_text("".join(f"{digest}  {name}\n" for name, digest in sorted(entries.items())))


# --- a real run --------------------------------------------------------------------------------------------------

PLAN = """
version = 1
[contract]
title = "Shop"
customer = "Customer SA"
provider = "Vendor SA"
[clauses]
profiles = ["baseline"]
[source.shop]
kind = "sqlite"
path = "shop.db"
[destination]
kind = "local"
country = "FR"
"""


def a_shop(folder: Path) -> None:
    """A database of one row, the plan to leave it, and a directory for keys."""
    with sqlite3.connect(folder / "shop.db") as database:
        database.execute("create table client (id integer primary key, name text)")
        database.execute("insert into client values (1, 'Zoé')")
    (folder / "exit-plan.toml").write_text(PLAN)
