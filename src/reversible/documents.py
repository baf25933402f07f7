"""What does one run leave behind? Six documents; every later step reads these and nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Document = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class RunDocuments:
    """The documents of one run, as they stand in the evidence under data/.

    plan (plan.json), frozen before the first byte leaves::

        {"format": "reversible-plan/1", "sealed_at": ISO time, "tool": "reversible-toolkit 0.1.0",
         "exit_plan": {the user's plan, secrets as references}, "exit_plan_sha256": hex,
         "seeds": {source: what decides which rows of its large tables are drawn},
         "catalogue_sha256": hex, "profiles": [...], "flags": [...],
         "criteria": [{"clause", "metric", "op", "value" | "value_from", "basis", "required", ...}],
         "verifiers": {name: {"metrics": [...], "kinds": [...]}}, "run_metrics": [...],
         "facts": {metric: value typed by a person}, "documents": [{"id", "clause", "sha256", ...}]}

    inventory (inventory.json): every asset the exporters named, `Asset.to_json()` each.
    results (results.jsonl): one line per planned check: `Finding.to_json()` with "status" measured | error | not-run.
    run (run.json)::

        {"format": "reversible-run/1", "run_id", "started_at", "finished_at", "level": "N0".."N5",
         "simulated": bool, "destination": {...}, "isolation": {"fence", "canaries": [...], "attempts": [...]},
         "bundle": {"sha256": tag manifest's digest, "bytes", "files"}, "sources": [...],
         "phases": [{"name", "seconds", "peak_mib"}], "versions": {package: version}, "events": [...]}

    verdicts (verdicts.json): what `judgement.judge_run` returns for the five others; recomputed by whoever verifies.
    catalogue: the bytes of the clause catalogue that judged (clauses.yaml).
    """

    plan: Document
    inventory: tuple[Document, ...]
    results: tuple[Document, ...]
    run: Document
    verdicts: Document
    catalogue: bytes
