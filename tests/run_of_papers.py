"""Documents of a run in which everything holds, for the tests of judging to take things away from."""

import json
from collections.abc import Mapping
from typing import Any

from reversible import clauses
from reversible.findings import Finding

CATALOGUE = clauses.load()
EVERY_PROFILE = tuple(CATALOGUE.profiles)
SEALED_AT = "2026-11-24T08:00:00+00:00"
FINISHED_AT = "2026-11-24T09:00:00+00:00"
TYPED: Mapping[str, Any] = {
    "contract.notice_days": 60,
    "contract.transition_days": 30,
    "contract.retrieval_days": 60,
    "contract.erasure_notice_days": 21,
    "retrieval.documented_days": 30,
    "cost.switching_charged_eur": 0,
    "cost.switching_cost_documented_eur": 10.5,
    "cost.budget_eur": 1000,
    "drill.target_rto_h": 8,
    "drill.target_rpo_h": 24,
    "dest.listed_count": 2,
}


def good_value(metric: str) -> Any:
    """A value that satisfies every criterion of the catalogue on that metric."""
    for clause in CATALOGUE.clauses.values():
        for check in clause.checks:
            if check.metric == metric and check.value is not None:
                return check.value
    kind = CATALOGUE.metrics[metric].type
    return {"number": 1, "bool": True, "set": ["FR"], "string": "FR"}[kind]


def quoted() -> list[str]:
    """The measured metrics that clauses quote."""
    found = {check.metric for clause in CATALOGUE.clauses.values() for check in clause.checks}
    return sorted(metric for metric in found if not CATALOGUE.metrics[metric].typed)


def line(metric: str, asset: str | None = None, value: Any = None, **changes: Any) -> dict[str, Any]:
    value = good_value(metric) if value is None else value
    finding = Finding(metric, asset, value, unit=CATALOGUE.metrics[metric].unit)
    return {**finding.to_json(), "status": "measured", **changes}


def unanswered(metric: str, asset: str | None = None, *, error: str = "it did not run") -> dict[str, Any]:
    finding = Finding(metric, asset, None, unit=CATALOGUE.metrics[metric].unit, error=error)
    return {**finding.to_json(), "status": "not-run"}


def plan(*, profiles: tuple[str, ...] = EVERY_PROFILE, **changes: Any) -> dict[str, Any]:
    """A sealed plan: one verifier on two tables takes data.*, everything else is asked of the whole run."""
    document = {
        "format": "reversible-plan/1",
        "sealed_at": SEALED_AT,
        "catalogue_sha256": CATALOGUE.sha256,
        "profiles": list(profiles),
        "flags": [],
        "criteria": [one.to_json() for one in clauses.criteria(CATALOGUE, profiles)],
        "verifiers": {"tables": {"metrics": [one for one in quoted() if _on_tables(one)], "kinds": ["table"]}},
        "run_metrics": [one for one in quoted() if not _on_tables(one)],
        "facts": dict(TYPED),
        "documents": [
            paper(clause.id, document.id)
            for clause in CATALOGUE.clauses.values()
            for document in clause.documents
            if document.when is None
        ],
        **changes,
    }
    return json.loads(json.dumps(document))  # as it comes back from plan.json


def paper(clause: str, name: str, **changes: Any) -> dict[str, Any]:
    return {
        "id": name,
        "clause": clause,
        "path": f"papers/{name}.pdf",
        "sha256": "0" * 64,
        "read_by": "the buyer's lawyer",
        "read_on": "2026-11-20",
        "opinion": "accepts",
        "size_bytes": 1,
        **changes,
    }


def inventory(*names: str) -> list[dict[str, Any]]:
    return [
        {
            "source": "shop", "kind": "table", "name": name, "rows": 1, "size_bytes": 1,
            "obstacle": None, "excluded": None,
        }
        for name in names or ("orders", "lines")
    ]  # fmt: skip


def results(sealed: Mapping[str, Any], *, simulated: bool = False) -> list[dict[str, Any]]:
    """One good line per planned check."""
    lines = [line(metric) for metric in sealed["run_metrics"]]
    for metric in sealed["verifiers"]["tables"]["metrics"]:
        lines += [line(metric, f"shop:table:{name}") for name in ("orders", "lines")]
    for one in lines:
        if one["metric"] == "dest.simulated":
            one["value"] = simulated
    return lines


def run(*, level: str = "N4", simulated: bool = False, **changes: Any) -> dict[str, Any]:
    return {
        "format": "reversible-run/1",
        "run_id": "1",
        "finished_at": FINISHED_AT,
        "level": level,
        "simulated": simulated,
        **changes,
    }


def _on_tables(metric: str) -> bool:
    return metric.startswith("data.")
