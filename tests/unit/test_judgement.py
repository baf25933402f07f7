"""Do the documents of a run lead to the verdicts they must, and is every other document refused?"""

import copy
import json
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import run_of_papers as papers
from reversible import clauses
from reversible.bundle.writer import json_bytes
from reversible.errors import EvidenceError
from reversible.judgement import judge_run, planned_checks

CATALOGUE = papers.CATALOGUE


def judged(
    plan: dict[str, Any] | None = None,
    results: list[dict[str, Any]] | None = None,
    run: dict[str, Any] | None = None,
    inventory: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    plan = papers.plan() if plan is None else plan
    run = papers.run() if run is None else run
    results = papers.results(plan, simulated=run["simulated"]) if results is None else results
    return judge_run(plan, papers.inventory() if inventory is None else inventory, results, run, CATALOGUE)


def verdict_of(document: dict[str, Any], clause: str) -> str:
    return str(next(row["verdict"] for row in document["clauses"] if row["id"] == clause))


# --- the research note's own figures -----------------------------------------------------------------------------


def test_a_full_run_at_a_real_provider_proves_46_clauses_and_documents_11() -> None:
    """MOD-05 waits for a number of the contract's own."""
    found = judged()

    assert found["counts"] == {"PROVEN": 46, "NOT_TESTED": 1, "DOCUMENTED": 11}
    assert found["measured_index"] == {"low": 100, "high": 100, "cap": None}
    assert found["dossier_index"] == {"value": 100, "accepted": 29, "required": 29}
    assert found["headline"]["level"] == "N4"
    assert found["exit_status"] == 0


def test_the_same_run_on_a_stand_in_proves_37_and_9_are_partial() -> None:
    found = judged(run=papers.run(level="N3", simulated=True))

    assert found["counts"] == {"PROVEN": 37, "PARTIAL": 9, "NOT_TESTED": 1, "DOCUMENTED": 11}
    assert found["exit_status"] == 0


def test_a_stand_in_that_claims_n4_is_judged_as_n3() -> None:
    claimed = judged(run=papers.run(level="N4", simulated=True))

    assert claimed["counts"] == {"PROVEN": 37, "PARTIAL": 9, "NOT_TESTED": 1, "DOCUMENTED": 11}


def test_an_exit_plan_on_paper_alone_proves_nothing() -> None:
    plan = papers.plan(verdicts=None, run_metrics=[], verifiers={})
    found = judged(plan, results=[])

    assert found["counts"] == {"NOT_TESTED": 45, "DOCUMENTED": 13}
    assert found["measured_index"] == {"low": 0, "high": 79, "cap": 79}
    assert found["dossier_index"]["value"] == 100
    assert found["headline"]["level"] == "N0"
    assert found["exit_status"] == 3


# --- the shape ---------------------------------------------------------------------------------------------------


def test_the_verdicts_stand_in_catalogue_order_with_everything_that_led_to_them() -> None:
    found = judged()

    assert found["format"] == "reversible-verdicts/1"
    assert [row["id"] for row in found["clauses"]] == list(CATALOGUE.clauses)
    row = next(row for row in found["clauses"] if row["id"] == "DAT-04")
    assert set(row) == {
        "id", "family", "severity", "kind", "required_level", "verdict", "reasons", "answers", "documents",
        "expires_on",
    }  # fmt: skip
    assert set(row["answers"][0]) == {
        "metric", "op", "threshold", "basis", "required", "status", "value", "unit", "coverage", "projected", "asset",
        "places", "reason",
    }  # fmt: skip
    assert row["expires_on"] == "2027-11-24"


def test_the_same_documents_give_the_same_bytes_in_any_order() -> None:
    plan = papers.plan()
    lines = papers.results(plan)

    forward = json_bytes(judged(plan, lines))
    backward = json_bytes(judged(plan, lines[::-1], inventory=papers.inventory("lines", "orders")))

    assert forward == backward
    assert json.loads(forward)["counts"]["PROVEN"] == 46


def test_later_the_measurements_expire() -> None:
    plan = papers.plan()
    found = judge_run(plan, papers.inventory(), papers.results(plan), papers.run(), CATALOGUE, at=date(2030, 1, 1))

    assert found["counts"]["PROVEN"] == 1  # GOV-06 counts for ten years
    assert found["exit_status"] == 3


# --- planned checks ----------------------------------------------------------------------------------------------


def test_every_metric_is_asked_of_every_asset_in_scope_that_can_leave() -> None:
    plan = {"run_metrics": ["m.run"], "verifiers": {"v": {"metrics": ["m.a"], "kinds": ["table", "model"]}}}
    row = papers.inventory("x")[0]
    inventory = [
        row,
        {**row, "name": "kept back", "excluded": "on paper"},
        {**row, "name": "stuck", "obstacle": "no right to read"},
        {**row, "kind": "objects"},
        {**row, "kind": "model"},
    ]

    assert planned_checks(plan, inventory) == {("m.run", None), ("m.a", "shop:table:x"), ("m.a", "shop:model:x")}


@pytest.mark.parametrize(
    "plan",
    [
        {"run_metrics": ["a.b", "a.b"], "verifiers": {}},
        {"run_metrics": [], "verifiers": {n: {"metrics": ["a.b"], "kinds": ["table"]} for n in ("v", "w")}},
        {"run_metrics": []},
        {"run_metrics": "a.b", "verifiers": {}},
        {"run_metrics": [1], "verifiers": {}},
        {"run_metrics": [], "verifiers": {"v": []}},
        {"run_metrics": [], "verifiers": {"v": {"metrics": ["a.b"]}}},
    ],
)
def test_a_plan_that_asks_twice_or_is_malformed_is_refused(plan: dict[str, Any]) -> None:
    with pytest.raises(EvidenceError):
        planned_checks(plan, papers.inventory())


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows.append(rows[0]),
        lambda rows: rows[0].update(kind="spreadsheet"),
        lambda rows: rows[0].update(surprise=1),
        lambda rows: rows[0].pop("name"),
        lambda rows: rows[0].update(name=1),
        lambda rows: rows[0].update(excluded=False),
        lambda rows: rows.append("shop:table:x"),
    ],
)
def test_an_inventory_that_is_malformed_is_refused(change: Callable[[list[Any]], object]) -> None:
    inventory: list[Any] = papers.inventory()
    change(inventory)

    with pytest.raises(EvidenceError, match=r"inventory\.json"):
        judged(inventory=inventory)


def test_an_asset_more_in_the_inventory_leaves_its_checks_without_answer() -> None:
    with pytest.raises(EvidenceError, match="have no line"):
        judged(inventory=papers.inventory("orders", "lines", "hidden"))


def test_an_inventory_without_assets_proves_nothing_about_data() -> None:
    plan = papers.plan()
    lines = [one for one in papers.results(plan) if one["asset"] is None]
    found = judged(plan, lines, inventory=[])

    assert verdict_of(found, "DAT-04") == "NOT_TESTED"
    assert verdict_of(found, "DAT-03") == "PARTIAL"
    assert found["exit_status"] == 3


# --- results -----------------------------------------------------------------------------------------------------

BROKEN_RESULTS: dict[str, Callable[[list[Any]], object]] = {
    "a line is missing": lambda lines: lines.pop(),
    "a line stands twice": lambda lines: lines.append(lines[0]),
    "a line was not planned": lambda lines: lines.append({**lines[-1], "asset": "shop:table:z"}),
    "another metric": lambda lines: lines[0].update(metric="data.unheard_of"),
    "no status": lambda lines: lines[0].pop("status"),
    "unknown status": lambda lines: lines[0].update(status="passed"),
    "unknown key": lambda lines: lines[0].update(verdict="PROVEN"),
    "measured without value": lambda lines: lines[0].update(value=None),
    "not run with a value": lambda lines: lines[0].update(status="not-run"),
    "coverage above 1": lambda lines: lines[0].update(coverage=1.5),
    "coverage true": lambda lines: lines[0].update(coverage=True),
    "coverage NaN": lambda lines: lines[0].update(coverage=float("nan")),
    "projected is no bool": lambda lines: lines[0].update(projected="no"),
    "places is no list": lambda lines: lines[0].update(places="here"),
    "facts is no mapping": lambda lines: lines[0].update(facts=[]),
    "value is a mapping": lambda lines: lines[0].update(value={"n": 0}),
    "value is a list of numbers": lambda lines: lines[0].update(value=[0]),
    "asset is a number": lambda lines: lines[0].update(asset=0),
    "asset is empty": lambda lines: lines[0].update(asset=""),
    "line is no mapping": lambda lines: lines.append("DAT-03 PROVEN"),
}


@pytest.mark.parametrize("breaks", BROKEN_RESULTS.values(), ids=BROKEN_RESULTS.keys())
def test_results_that_are_not_one_line_per_planned_check_are_refused(breaks: Callable[[list[Any]], object]) -> None:
    plan = papers.plan()
    lines: list[Any] = papers.results(plan)
    breaks(lines)

    with pytest.raises(EvidenceError) as refusal:
        judged(plan, lines)

    assert "\n" not in refusal.value.message


@pytest.mark.parametrize("status", ["error", "not-run"])
def test_a_check_that_could_not_look_is_never_a_pass(status: str) -> None:
    plan = papers.plan()
    lines = papers.results(plan)
    position = next(i for i, one in enumerate(lines) if one["metric"] == "crypto.vendor_key_only_objects")
    lines[position] = {**papers.unanswered("crypto.vendor_key_only_objects", error="disk full"), "status": status}
    found = judged(plan, lines)

    assert verdict_of(found, "DAT-10") == "NOT_TESTED"
    assert found["measured_index"]["cap"] == 79
    assert found["exit_status"] == 3


# --- plan --------------------------------------------------------------------------------------------------------


def first_document(plan: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = plan["documents"][0]
    return found


BROKEN_PLANS: dict[str, Callable[[dict[str, Any]], object]] = {
    "another catalogue": lambda plan: plan.update(catalogue_sha256="0" * 64),
    "no catalogue": lambda plan: plan.pop("catalogue_sha256"),
    "a dropped criterion": lambda plan: plan["criteria"].pop(10),
    "an added criterion": lambda plan: plan["criteria"].append(plan["criteria"][0]),
    "no criteria": lambda plan: plan.update(criteria=[]),
    "a weakened law": lambda plan: plan["criteria"][0].update(value=10_000, basis="contract"),
    "a criterion made optional": lambda plan: plan["criteria"][0].update(required=False),
    "an unknown profile": lambda plan: plan.update(profiles=["data_akt"]),
    "a profile that is switched off afterwards": lambda plan: plan["profiles"].remove("data_act"),
    "an unknown flag": lambda plan: plan.update(flags=["friendly"]),
    "facts is no mapping": lambda plan: plan.update(facts=[]),
    "a typed value for a measured metric": lambda plan: plan["facts"].update({"data.rows_missing": 0}),
    "a fact of no metric": lambda plan: plan["facts"].update({"contract.colour": 1}),
    "a fact without value": lambda plan: plan["facts"].update({"contract.notice_days": None}),
    "a planned typed metric": lambda plan: plan["run_metrics"].append("contract.notice_days"),
    "documents is no list": lambda plan: plan.update(documents={}),
    "a document of no clause": lambda plan: first_document(plan).update(clause="DAT-99"),
    "a document of another clause": lambda plan: first_document(plan).update(clause="DAT-01"),
    "a document without digest": lambda plan: first_document(plan).update(sha256=""),
    "a document with another opinion": lambda plan: first_document(plan).update(opinion="likes"),
    "a document read on no day": lambda plan: first_document(plan).update(read_on="yesterday"),
    "a document read at the end of time": lambda plan: first_document(plan).update(read_on="9999-12-31"),
    "a document without reader": lambda plan: first_document(plan).pop("read_by"),
}


@pytest.mark.parametrize("breaks", BROKEN_PLANS.values(), ids=BROKEN_PLANS.keys())
def test_a_plan_that_was_changed_after_the_seal_is_refused(breaks: Callable[[dict[str, Any]], object]) -> None:
    plan = papers.plan()
    lines = papers.results(plan)
    breaks(plan)

    with pytest.raises(EvidenceError):
        judged(plan, lines)


def test_an_overridden_threshold_is_judged_by() -> None:
    plan = papers.plan()
    override = {"clause": "MOD-03", "metric": "model.max_abs_diff", "value": 0.01, "basis": "contract"}
    made = clauses.criteria(CATALOGUE, papers.EVERY_PROFILE, [override])
    plan["criteria"] = json.loads(json.dumps([one.to_json() for one in made]))
    lines = papers.results(plan)
    next(one for one in lines if one["metric"] == "model.max_abs_diff")["value"] = 0.005
    found = judged(plan, lines)

    assert verdict_of(found, "MOD-03") == "PROVEN"
    answers = next(row["answers"] for row in found["clauses"] if row["id"] == "MOD-03")
    assert [(one["threshold"], one["basis"]) for one in answers if one["metric"] == "model.max_abs_diff"] == [
        (0.01, "contract")
    ]


# --- run ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"level": "N6"},
        {"level": 3},
        {"simulated": None},
        {"simulated": "no"},
        {"finished_at": "today"},
        {"finished_at": "2026-11-24T09:00:00"},
        {"finished_at": "0001-01-01T00:00:00+14:00"},
        {"finished_at": None},
    ],
)
def test_a_run_that_is_malformed_is_refused(change: dict[str, Any]) -> None:
    plan = papers.plan()

    with pytest.raises(EvidenceError, match=r"run\.json"):
        judge_run(plan, papers.inventory(), papers.results(plan), {**papers.run(), **change}, CATALOGUE)


@pytest.mark.parametrize("simulated", [True, False])
def test_a_run_and_a_finding_that_contradict_each_other_are_refused(simulated: bool) -> None:
    plan = papers.plan()

    with pytest.raises(EvidenceError, match="simulated"):
        judged(plan, papers.results(plan, simulated=not simulated), papers.run(simulated=simulated))


# --- exit status -------------------------------------------------------------------------------------------------


def without(*metrics: str, level: str = "N4", simulated: bool = False) -> dict[str, Any]:
    plan = papers.plan()
    lines = [
        papers.unanswered(one["metric"], one["asset"]) if one["metric"] in metrics else one
        for one in papers.results(plan, simulated=simulated)
    ]
    return judged(plan, lines, papers.run(level=level, simulated=simulated))


def test_exit_1_when_any_clause_failed_even_a_minor_one() -> None:
    plan = papers.plan()
    lines = papers.results(plan)
    next(one for one in lines if one["metric"] == "register.url_answers")["value"] = False
    found = judged(plan, lines)

    assert (verdict_of(found, "DAT-09"), found["exit_status"]) == ("FAILED", 1)


def test_exit_3_when_a_blocking_clause_is_not_tested_at_a_level_that_the_destination_reaches() -> None:
    assert without("crypto.vendor_key_only_objects", level="N3", simulated=True)["exit_status"] == 3
    assert without("drill.geo_cut_ok", level="N3", simulated=True)["exit_status"] == 0
    assert without("drill.geo_cut_ok", level="N4", simulated=True)["exit_status"] == 0
    assert without("drill.geo_cut_ok", level="N4")["exit_status"] == 3


def test_exit_3_when_a_blocking_clause_is_partial_because_something_required_was_not_tested() -> None:
    found = without("data.rows_extra", level="N3", simulated=True)

    assert (verdict_of(found, "DAT-03"), found["exit_status"]) == ("PARTIAL", 3)


def test_exit_0_when_only_major_clauses_or_documents_are_open() -> None:
    plan = papers.plan(documents=[])
    found = judged(plan)

    assert found["counts"]["DOCUMENT_NEEDED"] == 29
    assert found["exit_status"] == 0
    assert without("data.orphan_references")["exit_status"] == 0


def test_exit_0_when_a_blocking_clause_is_partial_because_it_was_sampled() -> None:
    plan = papers.plan()
    lines = papers.results(plan)
    next(one for one in lines if one["metric"] == "format.two_readers_ok_pct")["coverage"] = 0.5
    found = judged(plan, lines)

    assert (verdict_of(found, "DAT-07"), found["exit_status"]) == ("PARTIAL", 0)
    assert found["headline"]["level"] == "N0"


# --- properties --------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_a_failing_finding_never_raises_the_index(data: st.DataObject) -> None:
    plan = papers.plan()
    lines = papers.results(plan)
    lost = data.draw(st.sets(st.integers(0, len(lines) - 1), max_size=20))
    lines = [papers.unanswered(one["metric"], one["asset"]) if i in lost else one for i, one in enumerate(lines)]
    before = judged(plan, lines)["measured_index"]
    position = data.draw(st.integers(0, len(lines) - 1))
    line = lines[position]
    if line["metric"] == "dest.simulated":
        return
    good = papers.good_value(line["metric"])
    off = (not good) if isinstance(good, bool) else -1_000_000 if _at_least(line["metric"]) else 1_000_000
    if not isinstance(good, bool | int | float):
        return
    lines[position] = papers.line(line["metric"], line["asset"], off)
    after = judged(plan, lines)["measured_index"]

    assert after["low"] <= before["low"]
    assert after["high"] <= before["high"]
    assert after["low"] <= after["high"]


def _at_least(metric: str) -> bool:
    return any(
        check.op == ">=" for clause in CATALOGUE.clauses.values() for check in clause.checks if check.metric == metric
    )


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_whatever_stands_in_a_document_it_is_judged_or_refused(data: st.DataObject) -> None:
    plan = papers.plan()
    documents: dict[str, Any] = {
        "plan": plan, "inventory": papers.inventory(), "results": papers.results(plan), "run": papers.run(),
    }  # fmt: skip
    documents = copy.deepcopy(documents)
    place: Any = documents
    key: Any = data.draw(st.sampled_from(sorted(documents)))
    while isinstance(place[key], dict | list) and place[key] and data.draw(st.integers(0, 4)):
        place = place[key]
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
    if place is documents:
        return
    place[key] = data.draw(ANYTHING)

    try:
        found = judge_run(**documents, catalogue=CATALOGUE)
    except EvidenceError:
        return  # anything else but this is a bug of ours
    assert json_bytes(found)
    assert sum(found["counts"].values()) == 58


# --- nothing to answer (docs/adr/0006) ---------------------------------------------------------------------------


def with_objects(plan: dict[str, Any]) -> dict[str, Any]:
    """The same plan with the content of objects asked of buckets, and no longer of tables."""
    metrics = plan["verifiers"]["tables"]["metrics"]
    tables = [metric for metric in metrics if metric != "data.objects_hash_mismatch"]
    objects = {"metrics": ["data.objects_hash_mismatch"], "kinds": ["objects"]}
    return {**plan, "verifiers": {"tables": {"metrics": tables, "kinds": ["table"]}, "objects": objects}}


def bucket(**changes: Any) -> dict[str, Any]:
    return {**papers.inventory()[0], "kind": "objects", "name": "bucket", **changes}


def test_a_vendor_without_buckets_has_no_object_to_compare() -> None:
    found = judged(with_objects(papers.plan()))

    assert verdict_of(found, "DAT-04") == "PROVEN"


@pytest.mark.parametrize("changes", [{}, {"excluded": "kept back"}, {"obstacle": "cannot leave"}])
def test_a_bucket_that_nobody_compared_is_never_proven(changes: dict[str, Any]) -> None:
    plan = with_objects(papers.plan())
    inventory = [*papers.inventory(), bucket(**changes)]
    results = papers.results(plan)
    if not changes:
        results.append(papers.unanswered("data.objects_hash_mismatch", "shop:objects:bucket"))

    found = judged(plan, results=results, inventory=inventory)

    assert verdict_of(found, "DAT-04") == "PARTIAL"


def test_a_clause_of_which_nothing_would_remain_stays_not_tested() -> None:
    plan = papers.plan()
    models = [metric for metric in plan["run_metrics"] if metric in ("model.unsafe_payloads",)]
    plan["run_metrics"] = [metric for metric in plan["run_metrics"] if metric not in models]
    plan["verifiers"]["models"] = {"metrics": models, "kinds": ["model"]}

    found = judged(plan)

    assert verdict_of(found, "MOD-09") == "NOT_TESTED"
