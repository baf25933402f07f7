"""Do the toolkit and verify.py judge alike? Two programs, thousands of runs that never were."""

import dataclasses
import json
import random
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import workshop

from reversible import clauses, judgement
from reversible.bundle.writer import json_bytes
from reversible.documents import RunDocuments
from reversible.evidence import contents, judging
from reversible.evidence.keys import SigningKey
from reversible.evidence.verify import verify

CATALOGUE = clauses.load()
CLAUSES = json.loads(judging.of(CATALOGUE.content))
RUNS = 150
_NOT_JUDGED = ("reason", "unit", "places")  # verify.py writes no sentence


def drawn(dice: random.Random) -> RunDocuments:
    """A run that measures every metric there is, with answers on both sides of every edge, or none."""
    found = workshop.run_documents()
    measured = [name for name, metric in CATALOGUE.metrics.items() if not metric.typed]
    typed = [name for name, metric in CATALOGUE.metrics.items() if metric.typed]
    metrics = sorted(dice.sample(measured, dice.randint(len(measured) // 2, len(measured))))
    profiles = sorted({"baseline", *dice.sample(sorted(CATALOGUE.profiles), dice.randint(0, 6))})
    flags = sorted(dice.sample(sorted(CATALOGUE.flags), dice.randint(0, 2)))
    simulated = dice.random() < 0.5
    verifiers = {"rows": {"metrics": [], "kinds": ["table"]}, "models": {"metrics": [], "kinds": ["model"]}}
    for name in list(metrics):
        if name.startswith(("data.", "model.")) and dice.random() < 0.7:
            metrics.remove(name)
            verifiers["rows" if name.startswith("data.") else "models"]["metrics"].append(name)
    facts = {name: value(dice, name) for name in typed if dice.random() < 0.6}
    plan = {
        **found.plan, "profiles": profiles, "flags": flags, "facts": facts, "run_metrics": metrics,
        "verifiers": verifiers, "documents": [paper(dice, *one) for one in papers() if dice.random() < 0.6],
        "criteria": [one.to_json() for one in clauses.criteria(CATALOGUE, profiles, ())],
    }  # fmt: skip
    run = {**found.run, "simulated": simulated, "level": dice.choice(["N1", "N2", "N3", "N4", "N5"])}
    results = []
    for metric, asset in sorted(judgement.planned_checks(plan, found.inventory), key=str):
        line = {
            "metric": metric, "asset": asset, "value": value(dice, metric), "unit": CATALOGUE.metrics[metric].unit,
            "seen": "", "facts": {"sampled": True} if dice.random() < 0.1 else {}, "places": [], "files": [],
            "coverage": dice.choice([1.0, 1.0, 1.0, 0.5]), "projected": dice.random() < 0.1, "error": "",
            "status": "measured",
        }  # fmt: skip
        if metric == "dest.simulated":
            line["value"] = simulated
        elif dice.random() < 0.15:
            line.update(value=None, status="not-run", error="it did not run")
        results.append(line)
    return dataclasses.replace(found, plan=plan, run=run, results=tuple(results))


def value(dice: random.Random, name: str) -> Any:
    """Of the metric's type; most often the threshold of one of its checks, or next to it."""
    kind = CATALOGUE.metrics[name].type
    bounds = [
        check.value for clause in CATALOGUE.clauses.values() for check in clause.checks
        if check.metric == name and check.value is not None
    ]  # fmt: skip
    if kind == "bool":
        return dice.random() < 0.7 if not bounds else bounds[0] if dice.random() < 0.8 else not bounds[0]
    if kind == "number":
        near = float(dice.choice(bounds)) if bounds else 10.0  # type: ignore[arg-type] # a number's bounds are numbers
        return dice.choice([near, near, near, near + 1, near - 1, int(near), -near])
    if kind == "string":
        return dice.choice([*bounds, "other"])
    return list(dice.choice([*bounds, ("a", "b")]))  # type: ignore[arg-type] # a set's bounds are tuples


def papers() -> list[tuple[str, str]]:
    return [(clause.id, one.id) for clause in CATALOGUE.clauses.values() for one in clause.documents]


def paper(dice: random.Random, clause: str, name: str) -> dict[str, Any]:
    day = dice.choice(["2026-11-20", "2026-11-20", "2026-11-25", "2026-11-26", "2019-01-01"])
    return {
        "id": name, "clause": clause, "path": "a.pdf", "sha256": "ab" * 32, "read_by": dice.choice(["Zoé", "Zoé", " "]),
        "read_on": day, "opinion": "contradicts" if dice.random() < 0.05 else "accepts",
    }  # fmt: skip


def by_verify_py(program: ModuleType, found: RunDocuments) -> Any:
    documents = {
        contents.PLAN: found.plan, contents.INVENTORY: list(found.inventory), contents.RESULTS: list(found.results),
        contents.RUN: found.run,
    }  # fmt: skip
    case = SimpleNamespace(documents=json.loads(json.dumps(documents)), get=lambda name, lack: CLAUSES)
    return program.Judge(case).whole()


def by_toolkit(found: RunDocuments) -> Any:
    document = json.loads(json_bytes(workshop.judged(found).verdicts))
    for clause in document["clauses"]:
        clause.pop("reasons")
        for answer in clause["answers"]:
            for name in _NOT_JUDGED:
                answer.pop(name)
            if answer["status"] == "unanswered":
                answer["asset"] = None
    return document


@pytest.mark.slow
def test_both_judge_every_run_alike(program: ModuleType) -> None:
    dice = random.Random(20261127)
    seen = set()
    for number in range(RUNS):
        found = drawn(dice)
        ours, theirs = by_toolkit(found), by_verify_py(program, found)
        apart = [
            (mine, other) for mine, other in zip(ours["clauses"], theirs["clauses"], strict=True)
            if json_bytes(mine) != json_bytes(other)
        ]  # fmt: skip
        assert not apart, (number, apart[0])
        assert json_bytes(ours) == json_bytes(theirs), number
        seen |= {clause["verdict"] for clause in ours["clauses"]}

    assert seen == set(clauses.Verdict)


@pytest.mark.slow
def test_both_judge_a_real_run_alike(program: ModuleType, run_1: Path, key: SigningKey) -> None:
    evidence = run_1 / "evidence"
    theirs = program.examine(evidence, program.arguments([str(evidence)]))
    ours = verify(evidence, pinned=None)

    apart = [
        (step.id, step.outcome.value, one["outcome"])
        for step, one in zip(ours.steps, theirs["steps"], strict=True)
        if step.outcome.value != one["outcome"]
    ]
    assert apart == [("reports", "passed", "not-run")]
