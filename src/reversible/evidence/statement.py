"""What exactly is signed?

An in-toto Statement v1 about one digest, the tag manifest's, which fixes every file of the dossier. Its predicate is
the standard test-result/v0.1, so that existing policy engines read the outcome, plus one object of our own. All of
it follows from the documents of the run: `verify` builds it again and compares.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from reversible.bundle.bag import TAG_MANIFEST

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://in-toto.io/attestation/test-result/v0.1"
FORMAT = "reversible-evidence/1"

# Where each clause's verdict stands in test-result's three lists. Only what a machine measured counts as passed; a
# reader of the standard part alone must never take a signed letter for a proof.
_LISTS = {
    "PROVEN": "passedTests",
    "PARTIAL": "warnedTests",
    "DOCUMENTED": "warnedTests",
    "DOCUMENT_NEEDED": "warnedTests",
    "NOT_TESTED": "warnedTests",
    "FAILED": "failedTests",
}


def build(
    *,
    plan: Mapping[str, Any],
    run: Mapping[str, Any],
    verdicts: Mapping[str, Any],
    digests: Mapping[str, str],
    subject: str,
    at: datetime,
    previous: str | None = None,
    nonce: str | None = None,
    authority: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The statement of one run.

    Args:
        plan: The sealed plan.
        run: The run's description.
        verdicts: What was judged.
        digests: SHA-256 by path, hex, of at least data/{plan,run,verdicts}.json, results.jsonl and clauses.yaml.
        subject: SHA-256 of the tag manifest, hex.
        at: When it is sealed, by the sealing machine's clock: a claim.
        previous: SHA-256 of the statement before this one; None for the first.
        nonce: What an auditor asked to see, drawn before the run.
        authority: The time-stamping authority that was to be asked, {"url", "certificates_sha256"}; None when none was:
            then nobody can take a token away unseen.

    Raises:
        KeyError, TypeError, ValueError: a document lacks what the statement quotes.
    """
    lists = _lists(verdicts)
    contract = plan["exit_plan"].get("contract") or {}
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": TAG_MANIFEST, "digest": {"sha256": subject}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "result": _result(lists, verdicts["exit_status"]),
            "configuration": [
                {"name": path, "digest": {"sha256": digests[path]}} for path in ("data/plan.json", "data/clauses.yaml")
            ],
            **lists,
            "reversible": {
                "format": FORMAT,
                "tool": plan["tool"],
                "run_id": run["run_id"],
                "organisation": contract.get("customer"),
                "provider": contract.get("provider"),
                "contract": contract.get("reference") or contract.get("title"),
                "level": run["level"],
                "simulated": run["simulated"],
                "exit_status": verdicts["exit_status"],
                "counts": _counts(verdicts),
                "plan_sha256": digests["data/plan.json"],
                "results_sha256": digests["data/results.jsonl"],
                "run_sha256": digests["data/run.json"],
                "verdicts_sha256": digests["data/verdicts.json"],
                "sealed_at": at.isoformat(),
                "previous": previous,
                "nonce": nonce,
                "authority": authority,
            },
        },
    }


def _lists(verdicts: Mapping[str, Any]) -> dict[str, list[str]]:
    lists: dict[str, list[str]] = {name: [] for name in ("passedTests", "warnedTests", "failedTests")}
    for clause in verdicts["clauses"]:
        verdict = clause["verdict"]
        if verdict == "NOT_APPLICABLE":
            continue
        lists[_LISTS[verdict]].append(clause["id"])
    return {name: sorted(ids) for name, ids in lists.items()}


def _result(lists: Mapping[str, list[str]], exit_status: int) -> str:
    if lists["failedTests"] or exit_status != 0:  # what must be tested and was not is no warning
        return "FAILED"
    return "WARNED" if lists["warnedTests"] or not lists["passedTests"] else "PASSED"


def _counts(verdicts: Mapping[str, Any]) -> dict[str, int]:
    found = [clause["verdict"] for clause in verdicts["clauses"]]
    return {verdict: found.count(verdict) for verdict in (*_LISTS, "NOT_APPLICABLE")}
