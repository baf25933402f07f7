"""Three runs as the report sees them: one that holds at N3, one that was sabotaged, one with a spreadsheet only.

The measurements are written here; the verdicts on them are the judge's own.
"""

from collections.abc import Iterable, Mapping
from importlib import resources
from typing import Any

import yaml

from reversible import clauses, judgement
from reversible.assets import Asset, Kind
from reversible.documents import RunDocuments

CATALOGUE = resources.files("reversible").joinpath("catalogue/clauses.yaml").read_bytes()
_RAW = yaml.safe_load(CATALOGUE)
_PROFILES = ("baseline", "ai")
_VERIFIERS = {
    "rows": (["data.rows_missing", "data.rows_extra"], ["table"]),
    "values": (["data.cells_different", "data.canary_survived_pct"], ["table"]),
    "schema": (["data.schema_drift_undeclared", "data.orphan_references"], ["table"]),
    "openness": (["format.open_pct", "format.two_readers_ok_pct", "format.needs_vendor_reader"], ["table", "objects"]),
    "objects": (["data.objects_hash_mismatch"], ["objects"]),
    "metadata": (["data.metadata_classes_missing"], ["database", "objects"]),
    "outputs": (
        ["model.inputs_compared", "model.agreement_lb95", "model.max_abs_diff", "model.metric_delta_points"],
        ["model"],
    ),
    "model_package": (["model.artifacts_missing", "model.open_format_pct", "model.unsafe_payloads"], ["model"]),
}
_OWN = {"clause": "MOD-03", "metric": "model.max_abs_diff", "value": 0.001, "basis": "contract"}
_PERFECT = {"bool": True, "percent": 100.0, "percent_of_bytes": 100.0, "percent_of_files": 100.0}
_TABLES = {
    "boutique.client": 12_000, "boutique.adresse": 14_000, "boutique.produit": 1_800, "boutique.commande": 38_000,
    "boutique.ligne": 96_431, "boutique.paiement": 36_202, "boutique.avis": 6_000, "boutique.cas_difficiles": 7,
}  # fmt: skip


def good() -> RunDocuments:
    """A whole run on one machine: everything that a stand-in destination can show holds."""
    return _documents(_inventory(), _results(_inventory()))


def sabotaged() -> RunDocuments:
    """The same with one fault of each family; every fault has its place."""
    inventory = _inventory()
    lines = _results(inventory)
    faults = {
        ("data.cells_different", "boutique:table:boutique.ligne"): (1, "boutique.ligne.remise, commande=3118, rang=2"),
        ("data.cells_different", "boutique:table:boutique.commande"): (
            38_000,
            "boutique.commande.passee_le, every row, first id=1",
        ),
        ("data.rows_missing", "boutique:table:boutique.avis"): (1, "boutique.avis, row id=6000"),
        ("data.metadata_classes_missing", "documents:objects:comptoir-documents"): (
            1,
            "factures/2026/000017.pdf: tags",
        ),
        ("model.max_abs_diff", "models:model:digits-transformer"): (0.0731, "digits-transformer, input 412"),
    }
    for line in lines:
        fault = faults.get((line["metric"], line["asset"]))
        if fault:
            line["value"], line["places"] = fault[0], [fault[1]]
            line["seen"] = "source counted {expected}, bundle holds {observed}"
            line["facts"] = {"expected": 6000, "observed": 5999}
        if line["metric"] == "model.agreement_lb95" and line["asset"] == "models:model:digits-transformer":
            line["value"] = 0.9712
    return _documents(inventory, lines)


def poor() -> RunDocuments:
    """An exit plan that is a spreadsheet: nothing was read, moved or run."""
    documents = _documents((), [], level="N0")
    run = {
        key: value
        for key, value in documents.run.items()
        if key in ("format", "run_id", "started_at", "finished_at", "level", "simulated")
    }
    plan = {
        **documents.plan,
        "exit_plan": {"version": 1, "contract": {"title": "Tableur de réversibilité"}},
        "facts": {},
    }
    return RunDocuments(
        plan=plan, inventory=(), results=documents.results, run=run, verdicts=documents.verdicts, catalogue=CATALOGUE
    )


def hostile() -> RunDocuments:
    """A vendor that names things to be read by a browser or a terminal."""
    evil = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'--><style>*{display:none}</style>"
    bidi = "facture\u202egpj.exe\x1b[2J\x00\u200b\ud800"
    inventory = (
        Asset(source="s\u202e3", kind=Kind.TABLE, name=evil, rows=3, size_bytes=10).to_json(),
        Asset(source="s", kind=Kind.OBJECTS, name=bidi, obstacle=evil).to_json(),
    )
    lines = _results(inventory)
    for line in lines:
        line["places"], line["error"] = [evil, bidi, "x" * 100_000], evil if line["value"] is None else ""
        line["seen"], line["facts"] = "{n} of {what} " + evil, {"n": 1, "what": bidi}
    documents = _documents(inventory, lines)
    contract = {"title": evil, "customer": bidi, "provider": evil, "reference": "{{ 7*7 }}{% raw %}"}
    run = {
        **documents.run, "run_id": evil, "refused": [{"asset": f"s\u202e3:table:{evil}", "error": bidi}],
        "isolation": {"fence": evil, "limits": bidi, "canaries": [{evil: bidi}], "attempts": [bidi]},
    }  # fmt: skip
    plan = {**documents.plan, "exit_plan": {"contract": contract}, "tool": evil}
    return RunDocuments(
        plan=plan, inventory=inventory, results=documents.results, run=run, verdicts=documents.verdicts,
        catalogue=CATALOGUE,
    )  # fmt: skip


def huge() -> RunDocuments:
    """Five thousand tables, each with places: the report must stay readable and small."""
    inventory = tuple(
        Asset(source="s", kind=Kind.TABLE, name=f"schema.table_{n:05d}" + "é" * 60, rows=n, size_bytes=n).to_json()
        for n in range(5_000)
    )
    lines = _results(inventory)
    for line in lines:
        if line["metric"] == "data.cells_different":
            line["value"], line["places"] = 3, [f"{line['asset']}, row {row}" for row in range(20)]
    return _documents(inventory, lines)


def _inventory() -> tuple[dict[str, Any], ...]:
    tables = [
        Asset(source="boutique", kind=Kind.TABLE, name=name, rows=rows, size_bytes=rows * 96)
        for name, rows in _TABLES.items()
    ]
    return tuple(
        asset.to_json()
        for asset in (
            *tables,
            Asset(source="boutique", kind=Kind.TABLE, name="boutique.temperature_entrepot", rows=10_000,
                  size_bytes=480_000, excluded="relevés de sondes, sans valeur après trois mois"),
            Asset(source="boutique", kind=Kind.DATABASE, name="boutique", size_bytes=18_212),
            Asset(source="documents", kind=Kind.OBJECTS, name="comptoir-documents", rows=512, size_bytes=9_412_331),
            Asset(source="models", kind=Kind.MODEL, name="digits-cnn", size_bytes=412_004),
            Asset(source="models", kind=Kind.MODEL, name="digits-transformer", size_bytes=611_208),
            Asset(source="models", kind=Kind.MODEL, name="breast-cancer-gbm", size_bytes=150_112),
            Asset(source="models", kind=Kind.MODEL, name="vendor-foundation",
                  obstacle="the vendor's own weights: invoked by API only, no right of use",
                  excluded="no right of use: replaced by an open model before the exit"),
        )
    )  # fmt: skip


def _results(inventory: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    lines = []
    for asset in inventory:
        if asset["excluded"] is not None or asset["obstacle"]:
            continue
        name = f"{asset['source']}:{asset['kind']}:{asset['name']}"
        for metrics, kinds in _VERIFIERS.values():
            lines += [_line(metric, name) for metric in metrics if asset["kind"] in kinds]
    return lines


def _line(metric: str, asset: str | None, value: Any = None, **more: Any) -> dict[str, Any]:
    unit = _RAW["metrics"][metric]["unit"]
    known = {"model.inputs_compared": 3_200, "model.agreement_lb95": 0.99906, "model.max_abs_diff": 4.172e-7}
    if value is None:
        value = known.get(metric, _PERFECT.get(unit, 100.0 if unit.startswith("percent_of") else 0))
    seen = "source counted {expected}, bundle holds {observed}" if metric.startswith("data.rows") else ""
    return {
        "metric": metric, "asset": asset, "value": value, "unit": unit, "seen": seen,
        "facts": {"expected": 12_000, "observed": 12_000} if seen else {}, "places": [], "files": [], "coverage": 1.0,
        "projected": False, "error": "", "status": "measured", **more,
    }  # fmt: skip


def _run_lines() -> list[dict[str, Any]]:
    sealed = {"sealed_at": "2026-11-24T09:12:03.120000+00:00", "first_export_at": "2026-11-24T09:12:07.400000+00:00"}
    return [
        _line("inventory.assets_total", None, 15),
        _line("inventory.assets_unlisted", None, 0),
        _line("inventory.assets_excluded_no_reason", None, 0),
        _line("inventory.exported_pct", None, 100.0),
        _line("inventory.exported_bytes_pct", None, 100.0),
        _line("dest.simulated", None, True),
        _line("model.network_calls_to_source", None, 0),
        _line("model.vendor_sdk_imports", None, 0),
        _line("residual.calls_to_source", None, 0),
        _line("residual.route_to_source", None, False),
        _line("residual.shared_credentials", None, 0),
        _line("supply.undeclared_hosts", None, 0),
        _line("exit.elapsed_days", None, 0.000491),
        _line("plan.duration_gap_ratio", None, 0.0236),
        _line("plan.required_fields_missing", None, 0),
        _line("evidence.manifest_verifies", None, True),
        _line("evidence.raw_results_present", None, True),
        _line(
            "plan.criteria_sealed_before_run", None, True, facts=sealed,
            seen="sealed at {sealed_at}, first export at {first_export_at}, by this machine's clock",
        ),
    ]  # fmt: skip


def _documents(
    inventory: Iterable[Mapping[str, Any]], lines: list[dict[str, Any]], *, level: str = "N3"
) -> RunDocuments:
    inventory, loaded = tuple(inventory), clauses.load(CATALOGUE)
    plan = {
        "format": "reversible-plan/1", "sealed_at": "2026-11-24T09:12:03.120000+00:00",
        "tool": "reversible-toolkit 0.1.0",
        "exit_plan": {
            "version": 1,
            "contract": {
                "title": "Boutique en ligne « Le Comptoir des Alpes »", "customer": "Le Comptoir des Alpes SAS",
                "provider": "Vendor Cloud (stand-in on this machine)", "reference": "DEMO-2026", "signed": "2026-01-15",
            },
            "exit": {
                "triggers": ["the vendor closes the service", "price rise above 20 %"],
                "scenarios": ["planned exit", "stressed exit: nobody answers at the vendor"],
                "success_criteria": ["every blocking clause PROVEN at N4"], "next_rehearsal": "2027-05-24",
                "roles": {"owner": "CTO", "approver": "CEO"},
            },
        },
        "exit_plan_sha256": "7f3a" * 16, "catalogue_sha256": loaded.sha256, "profiles": list(_PROFILES),
        "flags": ["iaas"],
        "criteria": [one.to_json() for one in clauses.criteria(loaded, _PROFILES, [_OWN])],
        "run_metrics": [*(one["metric"] for one in _run_lines()), "plan.days_since_last_pass"],
        "verifiers": {name: {"metrics": metrics, "kinds": kinds} for name, (metrics, kinds) in _VERIFIERS.items()},
        "facts": {"contract.notice_days": 60, "contract.transition_days": 30, "dest.listed_count": 2},
        "documents": [
            {"id": "exit_plan", "clause": "GOV-01", "path": "pieces/plan-de-sortie.pdf", "sha256": "ab" * 32,
             "read_by": "CTO", "read_on": "2026-11-02", "opinion": "accepts"},
        ],
    }  # fmt: skip
    measured = {(one["metric"], one["asset"]): one for one in [*lines, *(_run_lines() if inventory else [])]}
    results = [
        measured.get(check)
        or {**_line(*check), "value": None, "seen": "", "error": "it did not run", "status": "not-run"}
        for check in sorted(judgement.planned_checks(plan, inventory), key=lambda one: (one[0], one[1] or ""))
    ]
    run = {
        "format": "reversible-run/1", "run_id": "20261124T091245Z-7f3a7f3a",
        "started_at": "2026-11-24T09:12:03.120000+00:00",
        "finished_at": "2026-11-24T09:12:45.611000+00:00", "level": level, "simulated": True,
        "destination": {"kind": "local", "country": "FR", "storage": {"url": "s3://sortie/essai", "region": "eu-west"}},
        "isolation": {
            "fence": "user and network namespace, seccomp filter", "limits": "",
            "canaries": [
                {"target": "127.0.0.1:5432", "expected": "refused", "outcome": "refused"},
                {"target": "example.org", "expected": "no such name", "outcome": "no such name"},
                {"target": "the fence's own socket", "expected": "works", "outcome": "works"},
            ],
            "attempts": [],
        },
        "bundle": {"sha256": "5e" * 32, "bytes": 31_204_881, "files": 588},
        "sources": [
            {"name": "boutique", "endpoints": ["127.0.0.1:41233"]},
            {"name": "documents", "endpoints": ["127.0.0.1:4566"]},
            {"name": "models", "endpoints": ["127.0.0.1:8181"]},
        ],
        "phases": [
            {"name": "inventory", "started_at": "2026-11-24T09:12:04+00:00", "seconds": 1.204, "peak_mib": 188.2},
            {"name": "export", "started_at": "2026-11-24T09:12:05.3+00:00", "seconds": 17.881, "peak_mib": 412.7},
            {"name": "ship", "started_at": "2026-11-24T09:12:23.4+00:00", "seconds": 6.02, "peak_mib": 240.0},
            {"name": "rerun", "started_at": "2026-11-24T09:12:29.6+00:00", "seconds": 14.377, "peak_mib": 655.1},
            {"name": "evidence", "started_at": "2026-11-24T09:12:44.1+00:00", "seconds": 0.9, "peak_mib": 201.4},
        ],
        "versions": {
            "reversible-toolkit": "0.1.0", "pyarrow": "23.0", "duckdb": "1.5", "onnxruntime": "1.27",
            "python": "3.11.2",
        },
        "events": [
            {"at": "2026-11-24T09:12:03.120000+00:00", "event": "sealed", "sha256": "7f3a" * 16},
            {"at": "2026-11-24T09:12:07.400000+00:00", "event": "export"},
            {"at": "2026-11-24T09:12:29.500000+00:00", "event": "shipped"},
            {"at": "2026-11-24T09:12:44.000000+00:00", "event": "rerun", "level": level},
        ],
        "refused": [],
    }  # fmt: skip
    verdicts = judgement.judge_run(plan, inventory, results, run, loaded)
    return RunDocuments(
        plan=plan, inventory=inventory, results=tuple(results), run=run, verdicts=verdicts, catalogue=CATALOGUE
    )
