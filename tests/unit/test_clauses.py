"""Does the catalogue load, and is every catalogue that disagrees with itself refused by name?"""

import json
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
import yaml

from reversible import clauses
from reversible.errors import EvidenceError, UsageError
from reversible.levels import ProofLevel

CATALOGUE = clauses.load()
RAW: dict[str, Any] = yaml.load(CATALOGUE.content, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506


def changed(change: Callable[[dict[str, Any]], object]) -> bytes:
    document = json.loads(json.dumps(RAW))
    for row in document["roi_map"]:  # JSON made their number keys texts
        if "codes" in row:
            row["codes"] = {int(code): text for code, text in row["codes"].items()}
    change(document)
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return str(yaml.dump(document, Dumper=dumper, allow_unicode=True, sort_keys=False)).encode()


def clause(document: dict[str, Any], name: str) -> dict[str, Any]:
    return next(row for row in document["clauses"] if row["id"] == name)


def check(document: dict[str, Any], name: str, position: int = 0) -> dict[str, Any]:
    return clause(document, name)["checks"][position]


def test_the_catalogue_of_the_package_loads_whole() -> None:
    assert len(CATALOGUE.clauses) == 58
    assert sum(one.severity == "blocking" for one in CATALOGUE.clauses.values()) == 21
    assert sum(len(one.checks) for one in CATALOGUE.clauses.values()) == 105
    assert CATALOGUE.clauses["LOC-01"].proof_level is ProofLevel.N4
    assert CATALOGUE.weights == {"blocking": 5, "major": 2, "minor": 1}
    assert CATALOGUE.metrics["contract.notice_days"].typed
    assert CATALOGUE.sources["DA-29"].in_force_until_change == date(2027, 1, 12)
    assert CATALOGUE.clauses["CLK-03"].checks[0].unless == clauses.Unless(
        text="signed justification attached, then <= 213", value=213, document="infeasibility_notice"
    )
    assert len(CATALOGUE.grc) == 35
    assert len(CATALOGUE.contract_clauses) == 12


def test_a_catalogue_that_was_only_written_anew_still_loads() -> None:
    again = clauses.load(changed(lambda document: None))

    assert again.clauses == CATALOGUE.clauses
    assert again.sha256 != CATALOGUE.sha256


REJECTIONS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "unknown top key": (lambda d: d.update(extra=1), "extra"),
    "unknown clause key": (lambda d: clause(d, "CLK-02").update(severty="major"), "CLK-02: severty"),
    "unknown check key": (lambda d: check(d, "CLK-02").update(valeu=3), "CLK-02: checks[0].valeu"),
    "unknown metric key": (lambda d: d["metrics"]["data.rows_missing"].update(units="x"), "units"),
    "missing clause key": (lambda d: clause(d, "CLK-02").pop("severity"), "CLK-02: severity"),
    "duplicate clause": (lambda d: clause(d, "CLK-02").update(id="CLK-01"), "CLK-01"),
    "malformed clause id": (lambda d: clause(d, "CLK-02").update(id="CLOCK"), "'CLOCK'"),
    "unknown metric": (lambda d: check(d, "CLK-02").update(metric="contract.notice_day"), "contract.notice_days"),
    "unknown operator": (lambda d: check(d, "CLK-02").update(op="=<"), "CLK-02: checks[0].op"),
    "unknown basis": (lambda d: check(d, "CLK-02").update(basis="laws"), "CLK-02: checks[0].basis"),
    "no basis": (lambda d: check(d, "CLK-02").pop("basis"), "CLK-02: checks[0].basis"),
    "bool for number": (lambda d: check(d, "CLK-02").update(value=True), "CLK-02: checks[0].value"),
    "text for number": (lambda d: check(d, "CLK-02").update(value="62"), "CLK-02: checks[0].value"),
    "NaN threshold": (lambda d: check(d, "CLK-02").update(value=float("nan")), "CLK-02: checks[0].value"),
    "infinite threshold": (lambda d: check(d, "CLK-02").update(value=float("inf")), "CLK-02: checks[0].value"),
    "number for bool": (lambda d: check(d, "DAT-08").update(value=1), "DAT-08: checks[0].value"),
    "order of a bool": (lambda d: check(d, "DAT-08").update(op=">="), "DAT-08: checks[0].value"),
    "negative absolute bound": (lambda d: check(d, "MOD-03", 3).update(value=-1), "MOD-03: checks[3].value"),
    "two thresholds": (lambda d: check(d, "CLK-03", 1).update(value=3), "CLK-03: checks[1].value"),
    "no threshold": (lambda d: check(d, "CLK-02").pop("value"), "CLK-02: checks[0].value"),
    "unknown value_from": (lambda d: check(d, "CLK-03", 1).update(value_from="contract.days"), "CLK-03: checks[1]"),
    "value_from another type": (
        lambda d: check(d, "CLK-03", 1).update(value_from="dest.in_eu"),
        "CLK-03: checks[1].value_from",
    ),
    "threshold on a report": (lambda d: check(d, "CLK-07", 1).update(value=3), "CLK-07: checks[1].value"),
    "required report": (lambda d: check(d, "CLK-07", 1).pop("required"), "CLK-07: checks[1].op"),
    "unknown source": (lambda d: clause(d, "CLK-02").update(sources=["DA-25-2x"]), "CLK-02: sources[0]"),
    "no source": (lambda d: clause(d, "CLK-02").update(sources=[]), "CLK-02: sources"),
    "unknown profile": (lambda d: clause(d, "CLK-02").update(profiles=["data_akt"]), "nearest: data_act"),
    "unknown severity": (lambda d: clause(d, "CLK-02").update(severity="bad"), "CLK-02: severity"),
    "unknown kind": (lambda d: clause(d, "CLK-02").update(kind="human"), "CLK-02: kind"),
    "unknown proof level": (lambda d: clause(d, "CLK-02").update(proof_level="N6"), "CLK-02: proof_level"),
    "duplicate document": (
        lambda d: clause(d, "CLK-02")["documents"][0].update(id="contract_copy"),
        "CLK-02: documents: contract_copy",
    ),
    "document clause with checks": (lambda d: clause(d, "CLK-02").update(kind="document"), "CLK-02: kind"),
    "machine clause with a required document": (lambda d: clause(d, "CLK-02").update(kind="machine"), "CLK-02: kind"),
    "machine clause without checks": (lambda d: clause(d, "DAT-10").update(checks=[]), "DAT-10: checks"),
    "document clause without document": (lambda d: clause(d, "CLK-01").update(documents=[]), "CLK-01: documents"),
    "clause that nothing settles": (lambda d: check(d, "DAT-10").update(required=False), "DAT-10: checks"),
    "one metric twice": (
        lambda d: clause(d, "DAT-10")["checks"].append({**check(d, "DAT-10"), "value": 7}),
        "DAT-10: checks",
    ),
    "title without French": (lambda d: clause(d, "CLK-02")["title"].pop("fr"), "CLK-02: title.fr"),
    "requirement without English": (lambda d: clause(d, "CLK-02")["requirement"].pop("en"), "requirement.en"),
    "empty French": (lambda d: clause(d, "CLK-02")["title"].update(fr=" "), "title.fr"),
    "third language": (lambda d: clause(d, "CLK-02")["title"].update(de="x"), "title.de"),
    "document without French": (lambda d: clause(d, "CLK-02")["documents"][0].pop("fr"), "documents[0].fr"),
    "profile without French": (lambda d: d["profiles"]["dora"].pop("fr"), "profiles.dora"),
    "verdict without French": (lambda d: d["verdicts"]["PROVEN"].pop("meaning_fr"), "verdicts.PROVEN"),
    "unknown verdict": (lambda d: d["verdicts"].update(MAYBE=d["verdicts"]["PROVEN"]), "MAYBE"),
    "missing verdict": (lambda d: d["verdicts"].pop("PROVEN"), "PROVEN"),
    "another ladder": (lambda d: d["proof_levels"].pop("N5"), "proof_levels"),
    "another verdict logic": (lambda d: d["verdict_logic"].pop(), "verdict_logic"),
    "validity of zero days": (lambda d: clause(d, "CLK-02").update(validity_days=0), "CLK-02: validity_days"),
    "validity of half a day": (lambda d: clause(d, "CLK-02").update(validity_days=0.5), "CLK-02: validity_days"),
    "validity of true": (lambda d: clause(d, "CLK-02").update(validity_days=True), "CLK-02: validity_days"),
    "unknown metric type": (lambda d: d["metrics"]["data.rows_missing"].update(type="int"), "data.rows_missing: type"),
    "unknown producer": (lambda d: d["metrics"]["data.rows_missing"].update(producer="me"), "producer"),
    "unknown knowledge": (lambda d: d["sources"]["DA-29"].update(knowledge="heard"), "sources.DA-29: knowledge"),
    "binding is no bool": (lambda d: d["sources"]["DA-29"].update(binding="yes"), "sources.DA-29: binding"),
    "else something else": (lambda d: check(d, "LOC-01").update({"else": "FAILED"}), "LOC-01: checks[0].else"),
    "only_if something else": (lambda d: check(d, "DAT-04", 2).update(only_if="sunny"), "DAT-04: checks[2].only_if"),
    "on_false on a required check": (
        lambda d: check(d, "DAT-10").update(on_false="fail"),
        "DAT-10: checks[0].on_false",
    ),
    "only_profile unknown": (lambda d: check(d, "CLK-06", 2).update(only_profile="snc"), "CLK-06: checks[2]"),
    "from is no day": (lambda d: check(d, "COS-01", 1).update({"from": "12 Jan"}), "COS-01: checks[1].from"),
    "until before from": (lambda d: check(d, "COS-01", 1).update(until="2026-01-01"), "COS-01: checks[1].until"),
    "unless that cannot be read": (lambda d: check(d, "CLK-03").update(unless="it rains"), "CLK-03: checks[0].unless"),
    "when that cannot be read": (
        lambda d: clause(d, "CLK-03")["documents"][0].update(when="sometimes"),
        "CLK-03: documents[0].when",
    ),
    "coverage of a count": (lambda d: check(d, "DAT-10").update(coverage=True), "DAT-10: checks[0].coverage"),
    "wording feeds an unknown clause": (lambda d: d["contract_clauses"][0].update(feeds=["DAT-99"]), "W-01: feeds[0]"),
    "wording on an unknown metric": (
        lambda d: d["contract_clauses"][0]["slo"][0].update(metric="data.x"),
        "W-01: slo[0].metric",
    ),
    "wording with another type": (
        lambda d: d["contract_clauses"][0]["slo"][0].update(value=False),
        "W-01: slo[0].value",
    ),
    "wording without French": (lambda d: d["contract_clauses"][0].pop("fr"), "W-01: fr"),
    "GRC row on an unknown clause": (lambda d: d["grc_map"]["rows"][0].update(clauses=["DAT-99"]), "DAT-99"),
    "register from an unknown metric": (lambda d: d["roi_map"][0].update({"from": "contract.day"}), "B_02.02.0100"),
    "register from an unknown clause": (lambda d: d["roi_map"][10].update({"from": "GOV-99"}), "GOV-99"),
    "report section out of order": (lambda d: d["report_sections"][3].update(n=9), "report_sections[3].n"),
    "no weight": (lambda d: d["scoring"]["weights"].pop("minor"), "scoring.weights: minor"),
    "no baseline": (lambda d: d["profiles"].pop("baseline"), "baseline"),
    "checks is no list": (lambda d: clause(d, "DAT-10").update(checks={"metric": 1}), "DAT-10: checks"),
    "clause is no mapping": (lambda d: d["clauses"].append("DAT-99"), "clauses[58]"),
    "another schema": (lambda d: d.update(schema="reversible-clauses/2"), "schema"),
}


@pytest.mark.parametrize(("change", "named"), REJECTIONS.values(), ids=REJECTIONS.keys())
def test_a_catalogue_that_disagrees_with_itself_is_refused(
    change: Callable[[dict[str, Any]], object], named: str
) -> None:
    with pytest.raises(UsageError) as refusal:
        clauses.load(changed(change))

    assert named in refusal.value.message
    assert "\n" not in refusal.value.message


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        (b"severity: blocking", b"severity: blocking\n  severity: minor", "'severity' twice"),
        (b"  contract.notice_days:", b"  contract.retrieval_days: {}\n  contract.notice_days:", "twice"),
        (b"schema: reversible-clauses/1", b"schema: [", "not readable"),
        (b"schema: reversible-clauses/1", b"\xff\xfe\xfa", "not readable"),
        (b"schema: reversible-clauses/1", b"? [a]\n: 1\nschema: x", "no text"),
        (b"schema: reversible-clauses/1", b"schema: !!python/object/apply:os.getcwd []", "not readable"),
    ],
)
def test_yaml_that_hides_something_is_refused(old: bytes, new: bytes, named: str) -> None:
    assert old in CATALOGUE.content

    with pytest.raises(UsageError) as refusal:
        clauses.load(CATALOGUE.content.replace(old, new, 1))

    assert named in refusal.value.message


@pytest.mark.parametrize("content", [b"", b"- 1", b"null", b"[" * 100_000], ids=["empty", "list", "null", "deep"])
def test_what_is_no_catalogue_is_refused(content: bytes) -> None:
    with pytest.raises(UsageError):
        clauses.load(content)


# --- criteria ----------------------------------------------------------------------------------------------------


def test_the_sealed_list_holds_the_clauses_of_the_profiles_and_no_other() -> None:
    baseline = clauses.criteria(CATALOGUE, ())
    everything = clauses.criteria(CATALOGUE, CATALOGUE.profiles)

    assert len(everything) == 105
    assert {one.clause for one in baseline} == {
        one.id for one in CATALOGUE.clauses.values() if "baseline" in one.profiles and one.checks
    }


def test_a_check_of_one_profile_is_sealed_with_that_profile_only() -> None:
    def metrics(*profiles: str) -> set[str]:
        return {one.metric for one in clauses.criteria(CATALOGUE, profiles)}

    assert "contract.erasure_notice_days" in metrics("secnumcloud")
    assert "contract.erasure_notice_days" not in metrics("data_act")


def test_every_criterion_comes_back_from_its_json() -> None:
    for one in clauses.criteria(CATALOGUE, CATALOGUE.profiles):
        assert clauses.Criterion.from_json(json.loads(json.dumps(one.to_json()))) == one


def test_the_keys_of_a_sealed_criterion_are_those_of_the_catalogue() -> None:
    sealed = {(one.clause, one.metric): one.to_json() for one in clauses.criteria(CATALOGUE, CATALOGUE.profiles)}

    assert sealed["LOC-01", "dest.simulated"]["else"] == "PARTIAL"
    assert sealed["COS-01", "cost.switching_charged_eur"]["from"] == "2027-01-12"
    assert sealed["LOC-06", "docs.expired"]["on_false"] == "fail"
    assert sealed["CLK-03", "exit.elapsed_days"]["value_from"] == "contract.transition_days"


def override(clause: str, metric: str, value: Any, basis: str = "contract", **more: Any) -> dict[str, Any]:
    return {"clause": clause, "metric": metric, "value": value, "basis": basis, **more}


def test_an_override_replaces_threshold_and_basis_and_nothing_else() -> None:
    before = clauses.criteria(CATALOGUE, ["ai"])
    after = clauses.criteria(CATALOGUE, ["ai"], [override("MOD-03", "model.max_abs_diff", 0.01, note="fp16")])

    [(old, new)] = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
    assert (old.value, old.basis, old.decides, old.required) == (None, "contract", False, False)
    assert (new.value, new.basis, new.note, new.required, new.decides) == (0.01, "contract", "fp16", True, True)
    assert "value" not in old.to_json()
    assert clauses.sealed_criteria(CATALOGUE, ["ai"], [one.to_json() for one in after]) == after
    assert clauses.sealed_criteria(CATALOGUE, ["ai"], [one.to_json() for one in before]) == before
    dropped = [{**one.to_json(), "required": False} if one == new else one.to_json() for one in after]
    with pytest.raises(EvidenceError, match="more than threshold"):
        clauses.sealed_criteria(CATALOGUE, ["ai"], dropped)


def test_the_contracts_own_transition_has_no_seven_month_exception() -> None:
    found = clauses.criteria(CATALOGUE, ["data_act"], [override("CLK-03", "contract.transition_days", 15)])

    assert [one.unless for one in found if one.metric == "contract.transition_days"] == [None]


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (override("MOD-30", "model.max_abs_diff", 0.01), "nearest: MOD-0"),
        (override("MOD-03", "model.max_diff", 0.01), "nearest: model.max_abs_diff"),
        (override("MOD-03", "data.rows_missing", 0), "in MOD-03"),
        (override("MOD-03", "model.max_abs_diff", True), "is a number"),
        (override("MOD-03", "model.max_abs_diff", "0.01"), "is a number"),
        (override("MOD-03", "model.max_abs_diff", float("nan")), "is a number"),
        (override("MOD-03", "model.max_abs_diff", 0.01, basis="feeling"), "basis"),
        (override("MOD-08", "logs.oldest_days", 200), "do not switch"),
        (override("CLK-02", "contract.notice_days", 90), "laxer than the law"),
        (override("DAT-03", "inventory.exported_pct", 99), "laxer than the law"),
        (override("CLK-07", "exit.throttled_seconds", 5), "only reports"),
    ],
)
def test_an_override_of_something_else_is_refused(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError) as refusal:
        clauses.criteria(CATALOGUE, ["ai", "data_act"], [wrong])

    assert named in refusal.value.message


def test_two_pass_marks_for_one_criterion_are_refused() -> None:
    twice = [override("MOD-03", "model.max_abs_diff", 0.01), override("MOD-03", "model.max_abs_diff", 0.1)]

    with pytest.raises(UsageError, match="two pass marks"):
        clauses.criteria(CATALOGUE, ["ai"], twice)


def test_an_unknown_profile_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="nearest: data_act"):
        clauses.criteria(CATALOGUE, ["data-act"])


@pytest.mark.parametrize(
    "tamper",
    [
        lambda rows: rows.pop(),
        lambda rows: rows.insert(0, dict(rows[0])),
        lambda rows: rows.reverse(),
        lambda rows: rows[0].update(required=False),
        lambda rows: rows[0].update(op=">="),
        lambda rows: rows[0].update(value=90),
        lambda rows: rows[0].update(value=True),
        lambda rows: rows[0].update(basis="feeling"),
        lambda rows: rows[0].update({"else": "PARTIAL"}),
        lambda rows: rows[0].update(only_if="sampled"),
        lambda rows: rows[0].update({"from": "2030-01-01"}),
        lambda rows: rows[0].update({"from": "soon"}),
        lambda rows: rows[0].update(note=["x"]),
        lambda rows: rows[0].update(surprise=1),
        lambda rows: rows.__setitem__(0, "CLK-02"),
        lambda rows: rows[1].update(unless={"text": "", "value": 999, "document": "infeasibility_notice"}),
    ],
)
def test_a_sealed_list_that_is_not_the_catalogues_is_forged(tamper: Callable[[list[Any]], object]) -> None:
    rows = [one.to_json() for one in clauses.criteria(CATALOGUE, ["data_act"])]
    assert rows[0]["metric"] == "contract.notice_days"
    tamper(rows)

    with pytest.raises(EvidenceError):
        clauses.sealed_criteria(CATALOGUE, ["data_act"], rows)


def test_a_sealed_list_with_an_override_is_accepted() -> None:
    made = clauses.criteria(CATALOGUE, ["data_act"], [override("CLK-02", "contract.notice_days", 31)])

    assert clauses.sealed_criteria(CATALOGUE, ["data_act"], [one.to_json() for one in made]) == made


@pytest.mark.parametrize(
    ("value", "kind", "fitting"),
    [
        (1, "number", True), (1.5, "number", True), (float("inf"), "number", True), (True, "number", False),
        (float("nan"), "number", False), ("1", "number", False), (None, "number", False), (True, "bool", True),
        (1, "bool", False), (("FR",), "set", True), (("FR", 1), "set", False), ("FR", "set", False),
        ("FR", "string", True), (("FR",), "string", False),
    ],
)  # fmt: skip
def test_a_value_fits_its_metric_or_not(value: Any, kind: Any, fitting: bool) -> None:
    assert clauses.fits(value, kind) is fitting


@pytest.mark.parametrize(
    ("value", "op", "threshold", "holds"),
    [
        (30, "<=", 30, True), (30.000001, "<=", 30, False), (30, ">=", 30, True), (29.9, ">=", 30, False),
        (100, "==", 100.0, True), (99.999999, "==", 100, False), (-0.1, "abs<=", 0.1, True),
        (-0.11, "abs<=", 0.1, False), (True, "==", True, True), (False, "==", True, False),
        (float("inf"), ">=", 1, False), (float("-inf"), "<=", 1, False), (float("inf"), "==", float("inf"), False),
        (("FR", "DE"), "==", ("DE", "FR"), True), (("FR",), "==", ("DE", "FR"), False), (10**400, "<=", 1.0, False),
        (-0.0, "==", 0, True),
    ],
)  # fmt: skip
def test_an_operator_holds_on_the_right_side_of_its_edge(value: Any, op: str, threshold: Any, holds: bool) -> None:
    assert clauses.satisfies(value, op, threshold) is holds


def test_a_report_decides_nothing() -> None:
    with pytest.raises(ValueError, match="decides nothing"):
        clauses.satisfies(1, "report", 1)
