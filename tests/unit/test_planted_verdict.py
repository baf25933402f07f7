"""What does a planted row decide, and what does none?"""

from typing import Any, cast

import pytest

import run_of_papers as papers
from reversible.bundle.reader import Bundle
from reversible.judgement import judge_run
from reversible.planted import METRICS, Canary, survived


class Empty:
    """A bundle without assets."""

    assets = ()


def verdict(finding: dict[str, Any], status: str) -> Any:
    sealed = papers.plan()
    for verifier in sealed["verifiers"].values():
        verifier["metrics"] = [one for one in verifier["metrics"] if one not in METRICS]
    sealed["run_metrics"] += METRICS
    lines = [one for one in papers.results(sealed) if one["metric"] not in METRICS]
    document = judge_run(
        sealed, papers.inventory(), [*lines, {**finding, "status": status}], papers.run(), papers.CATALOGUE
    )
    return next(row["verdict"] for row in document["clauses"] if row["id"] == "DAT-05")


def test_the_clause_is_not_proven_when_nothing_was_planted() -> None:
    found = survived(cast("Bundle", Empty()), [])

    assert verdict(found.to_json(), "error") == "PARTIAL"  # the other checks hold


@pytest.mark.parametrize("lost", [0, 1])
def test_one_planted_row_that_is_lost_fails_the_clause(lost: int) -> None:
    planted = [Canary(source="shop", asset="t", row={"id": 1})] * lost
    found = survived(cast("Bundle", Empty()), planted)
    assert (found.value, len(found.places)) == ((0.0, 1) if lost else (None, 0))
    document = {**found.to_json(), "value": found.value if lost else 100.0}

    assert verdict(document, "measured") == ("FAILED" if lost else "PROVEN")
