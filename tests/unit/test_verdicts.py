"""Does each rule of the catalogue's verdict logic say what the text says, and nothing better?"""

import inspect
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from reversible import clauses, verdicts
from reversible.answers import Measurements, Status
from reversible.clauses import Clause, Criterion, Verdict
from reversible.errors import EvidenceError
from reversible.findings import Finding
from reversible.levels import ProofLevel
from reversible.verdicts import Circumstances, ClauseVerdict, Received, judge, settle

CATALOGUE = clauses.load()
RUN_DAY = date(2026, 11, 24)
TABLES = ("shop:table:a", "shop:table:b")
TYPED: dict[str, Any] = {
    "contract.notice_days": 60,
    "contract.transition_days": 30,
    "contract.retrieval_days": 30,
    "contract.erasure_notice_days": 21,
    "cost.switching_charged_eur": 5,
    "cost.switching_cost_documented_eur": 5,
    "drill.target_rto_h": 8,
    "drill.target_rpo_h": 24,
    "cost.budget_eur": 100,
    "dest.listed_count": 2,
}


def quoted(clause: Clause) -> list[str]:
    return [one.metric for one in clause.checks if not CATALOGUE.metrics[one.metric].typed]


def good(clause: Clause, metric: str) -> Any:
    check = next(one for one in clause.checks if one.metric == metric)
    return 1 if check.value is None else check.value


class Case:
    """One clause in a run where all holds, at N4 at a real provider; each test changes what it is about."""

    def __init__(self, name: str, *, profiles: frozenset[str] | None = None) -> None:
        self.clause = CATALOGUE.clauses[name]
        self.profiles = frozenset(self.clause.profiles) if profiles is None else profiles
        self.criteria = tuple(one for one in clauses.criteria(CATALOGUE, self.profiles) if one.clause == name)
        self.planned: set[tuple[str, str | None]] = {(metric, None) for metric in quoted(self.clause)}
        self.findings = {(m, None): self.finding(m, good(self.clause, m)) for m, _ in self.planned}
        self.facts = dict(TYPED)
        self.documents = [
            Received(id=one.id, clause=name, read_by="the buyer's lawyer", read_on=RUN_DAY, accepts=True)
            for one in self.clause.documents
            if one.when is None
        ]
        self.flags: frozenset[str] = frozenset()
        self.level = ProofLevel.N4
        self.simulated = False
        self.at = RUN_DAY
        self.measured_on = RUN_DAY

    @staticmethod
    def finding(metric: str, value: Any, asset: str | None = None, **more: Any) -> Finding:
        return Finding(metric, asset, value, unit=CATALOGUE.metrics[metric].unit, **more)

    def set(self, metric: str, value: Any, asset: str | None = None, **more: Any) -> "Case":
        self.planned.add((metric, asset))
        self.findings[metric, asset] = self.finding(metric, value, asset, **more)
        return self

    def on_tables(self, metric: str, *values: Any) -> "Case":
        """The metric is planned for two tables; a value of `...` is a result that never came."""
        self.planned.discard((metric, None))
        self.findings.pop((metric, None), None)
        for asset, value in zip(TABLES, values, strict=True):
            self.planned.add((metric, asset))
            if value is not ...:
                self.findings[metric, asset] = self.finding(metric, value, asset)
        return self

    def lose(self, metric: str, asset: str | None = None) -> "Case":
        del self.findings[metric, asset]
        return self

    def verdict(self) -> ClauseVerdict:
        measurements = Measurements(CATALOGUE, self.planned, self.findings.values(), self.facts)
        circumstances = Circumstances(
            catalogue=CATALOGUE,
            profiles=self.profiles,
            flags=self.flags,
            measurements=measurements,
            documents=tuple(self.documents),
            level=self.level,
            simulated=self.simulated,
            measured_on=self.measured_on,
            at=self.at,
        )
        return judge(self.clause, self.criteria, circumstances)


def said(case: Case) -> Verdict:
    return case.verdict().verdict


def reasons(case: Case) -> str:
    return " | ".join(reason.text.format(**reason.facts) for reason in case.verdict().reasons)


def test_the_rules_stand_in_the_code_word_by_word_and_in_the_order_of_the_catalogue() -> None:
    logic = yaml.safe_load(CATALOGUE.content)["verdict_logic"]
    code = " ".join(inspect.getsource(verdicts).replace("#", " ").split())
    places = [code.find(f"{number}. {' '.join(rule.split())}") for number, rule in enumerate(logic, start=1)]

    assert -1 not in places
    assert places == sorted(places)


# --- 1. applies is false -> NOT_APPLICABLE -----------------------------------------------------------------------


def test_rule_1_a_clause_whose_profiles_are_off_does_not_apply() -> None:
    case = Case("CLK-02", profiles=frozenset({"gdpr"}))

    assert said(case) is Verdict.NOT_APPLICABLE
    assert "data_act" in reasons(case)


def test_rule_1_baseline_is_always_on() -> None:
    assert said(Case("DAT-03", profiles=frozenset())) is Verdict.PROVEN


def test_rule_1_comes_before_a_failure() -> None:
    case = Case("DAT-12", profiles=frozenset({"ai"})).set("subject.export_days", 99)

    assert said(case) is Verdict.NOT_APPLICABLE


@pytest.mark.parametrize(
    ("name", "profiles", "verdict"),
    [
        ("CLK-05", {"data_act"}, Verdict.NOT_APPLICABLE),
        ("MOD-03", {"data_act"}, Verdict.NOT_APPLICABLE),
        ("MOD-03", {"data_act", "ai"}, Verdict.PROVEN),  # the AI buyer still wants it
        ("DAT-03", {"data_act"}, Verdict.PROVEN),  # baseline
        ("COS-04", {"data_act"}, Verdict.DOCUMENTED),  # art. 34 is in chapter VIII
        ("LOC-05", {"data_act"}, Verdict.DOCUMENTED),  # art. 32 is in chapter VII
        ("CLK-06", {"data_act", "gdpr"}, Verdict.PROVEN),
    ],
)
def test_rule_1_a_test_version_is_outside_chapter_vi(name: str, profiles: set[str], verdict: Verdict) -> None:
    case = Case(name, profiles=frozenset(profiles))
    before = said(case)
    case.flags = frozenset({"test_version"})

    assert before is not Verdict.NOT_APPLICABLE
    assert said(case) is verdict
    assert verdict is not Verdict.NOT_APPLICABLE or "test_version" in reasons(case)


@pytest.mark.parametrize(
    ("sources", "off"),
    [
        (("DA-29",), True),
        (("DA-30-1",), True),
        (("DA-29", "DA-30-1"), True),
        (("DA-29", "SREN"), False),
        (("DA-30-2",), False),  # 30(2)-(5): more than 30(3)
        (("DA-23",), False),  # the whole of art. 23, not 23(d) alone
        (("PROJECT",), False),
    ],
)
def test_rule_1_custom_built_switches_off_what_rests_on_four_articles_alone(
    sources: tuple[str, ...], off: bool
) -> None:
    case = Case("COS-02")
    case.clause = replace(case.clause, sources=sources)
    assert said(case) is Verdict.DOCUMENTED
    case.flags = frozenset({"custom_built"})

    assert said(case) is (Verdict.NOT_APPLICABLE if off else Verdict.DOCUMENTED)
    assert not off or "custom_built" in reasons(case)


@pytest.mark.parametrize("flag", ["iaas", "parallel_use", "omnibus_pending"])
def test_rule_1_no_other_flag_switches_a_clause_off(flag: str) -> None:
    for name in CATALOGUE.clauses:
        case = Case(name)
        case.flags = frozenset({flag})

        assert said(case) is not Verdict.NOT_APPLICABLE


# --- 2. any required check measured and false -> FAILED ----------------------------------------------------------


def test_rule_2_one_required_check_that_is_missed_fails_the_clause() -> None:
    case = Case("DAT-03").set("data.rows_missing", 1, places=("public.orders",))
    verdict = case.verdict()

    assert verdict.verdict is Verdict.FAILED
    assert "data.rows_missing is 1" in reasons(case)
    [missed] = [one for one in verdict.answers if one.status is Status.MISSED]
    assert missed.places == ("public.orders",)


def test_rule_2_comes_before_what_is_unanswered() -> None:
    case = Case("DAT-03").set("data.rows_missing", 1).lose("data.rows_extra")

    assert said(case) is Verdict.FAILED


def test_rule_2_one_asset_that_is_off_fails_all_and_the_worst_is_named() -> None:
    case = Case("DAT-03").on_tables("data.rows_missing", 2, 7)
    [missed] = [one for one in case.verdict().answers if one.status is Status.MISSED]

    assert (missed.value, missed.asset) == (7, TABLES[1])
    assert "2 of 2 assets are off" in reasons(case)


def test_rule_2_one_asset_off_and_one_unanswered_is_failed() -> None:
    assert said(Case("DAT-03").on_tables("data.rows_missing", ..., 7)) is Verdict.FAILED


@pytest.mark.parametrize(
    ("name", "metric", "value", "worst"),
    [
        ("MOD-03", "model.agreement_lb95", (0.9, 0.8), 0.8),
        ("MOD-03", "model.error_ratio_max", (500, 11), 500),
        ("MOD-03", "model.metric_delta_points", (0.2, -3.0), -3.0),
        ("DAT-05", "data.canary_survived_pct", (99, 40), 40),
    ],
)
def test_rule_2_the_worst_value_is_the_one_farthest_off(
    name: str, metric: str, value: tuple[float, float], worst: float
) -> None:
    [missed] = [one for one in Case(name).on_tables(metric, *value).verdict().answers if one.status is Status.MISSED]

    assert missed.value == worst


def test_rule_2_a_typed_number_that_misses_fails_too() -> None:
    case = Case("CLK-02")
    case.facts["contract.notice_days"] = 90

    assert said(case) is Verdict.FAILED


def test_rule_2_an_optional_check_with_on_false_fail_fails_the_clause() -> None:
    assert said(Case("LOC-06").set("docs.expired", 1)) is Verdict.FAILED


def test_rule_2_an_infinite_difference_is_a_failure() -> None:
    case = Case("MOD-03").set("model.error_ratio_max", float("inf"))

    assert said(case) is Verdict.FAILED
    [answer] = [one for one in case.verdict().to_json()["answers"] if one["metric"] == "model.error_ratio_max"]
    assert answer["value"] == "inf"


def test_a_number_that_the_contract_does_not_name_is_reported_and_fails_nothing() -> None:
    case = Case("MOD-03").set("model.max_abs_diff", 700.0)

    assert said(case) is Verdict.PROVEN
    [answer] = [one for one in case.verdict().to_json()["answers"] if one["metric"] == "model.max_abs_diff"]
    assert (answer["op"], answer["threshold"], answer["required"], answer["value"]) == ("report", None, False, 700.0)


# --- 3. a document is marked as contradicting -> FAILED ----------------------------------------------------------


@pytest.mark.parametrize("name", ["CLK-01", "CLK-02", "DAT-01", "DAT-08"])
def test_rule_3_a_document_that_contradicts_fails_the_clause(name: str) -> None:
    case = Case(name)
    case.documents = [replace(one, accepts=False) for one in case.documents]

    assert said(case) is Verdict.FAILED
    assert "contradicts" in reasons(case)


def test_rule_3_one_reader_who_accepts_does_not_outweigh_one_who_does_not() -> None:
    case = Case("CLK-01")
    case.documents += [replace(case.documents[0], accepts=False)]

    assert said(case) is Verdict.FAILED


# --- 4. a required check unmeasured or too old -> NOT_TESTED, or PARTIAL -----------------------------------------


def test_rule_4_nothing_measured_is_not_tested() -> None:
    case = Case("DAT-03")
    case.findings.clear()
    verdict = case.verdict()

    assert verdict.verdict is Verdict.NOT_TESTED
    assert "data.rows_missing: not measured: it did not run" in reasons(case)
    assert verdict.expires_on is None


def test_rule_4_something_measured_true_and_something_not_is_partial() -> None:
    assert said(Case("DAT-03").lose("data.rows_missing")) is Verdict.PARTIAL


def test_rule_4_a_metric_planned_for_no_asset_is_unanswered() -> None:
    case = Case("DAT-10")
    case.planned.clear()
    case.findings.clear()

    assert said(case) is Verdict.NOT_TESTED
    assert "no check was planned" in reasons(case)


def test_rule_4_one_asset_without_answer_leaves_the_whole_check_unanswered() -> None:
    case = Case("DAT-06").on_tables("data.metadata_classes_missing", 0, ...)
    [answer] = case.verdict().answers

    assert said(case) is Verdict.NOT_TESTED
    assert answer.places == (TABLES[1],)
    assert "1 of 2 planned checks have no answer, first shop:table:b" in reasons(case)


@pytest.mark.parametrize("value", [None, float("nan"), True, "0", float("-inf"), ("x",)])
def test_rule_4_a_value_of_another_type_answers_nothing(value: Any) -> None:
    case = Case("DAT-10").set("crypto.vendor_key_only_objects", value)
    case.criteria = (replace(case.criteria[0], op="<="),)

    assert said(case) is Verdict.NOT_TESTED


@pytest.mark.parametrize("value", [float("inf"), float("nan"), True])
def test_rule_4_an_infinity_on_the_good_side_answers_nothing(value: Any) -> None:
    assert said(Case("LOC-08").set("dest.proven_count", value)) is Verdict.NOT_TESTED


def test_rule_4_a_number_does_not_answer_a_yes_or_no() -> None:
    assert said(Case("GOV-02").set("plan.criteria_sealed_before_run", 1)) is Verdict.NOT_TESTED


def test_rule_4_the_error_of_a_check_is_its_reason() -> None:
    case = Case("DAT-10").set("crypto.vendor_key_only_objects", None, error="SELECT denied")

    assert "SELECT denied" in reasons(case)


@pytest.mark.parametrize("typed", [None, True, "60", float("nan")])
def test_rule_4_a_number_that_nobody_typed_is_not_tested(typed: Any) -> None:
    case = Case("CLK-02")
    case.facts.pop("contract.notice_days")
    if typed is not None:
        case.facts["contract.notice_days"] = typed

    assert said(case) is Verdict.NOT_TESTED


def test_rule_4_a_threshold_that_is_not_known_answers_nothing() -> None:
    case = Case("INC-01")
    case.facts.pop("drill.target_rto_h")

    assert said(case) is Verdict.PARTIAL
    assert "the threshold drill.target_rto_h is not known" in reasons(case)


def test_rule_4_a_typed_number_that_holds_is_not_measured_true() -> None:
    case = Case("LOC-08").lose("dest.proven_count")

    assert said(case) is Verdict.NOT_TESTED


def test_rule_4_a_measurement_expires_after_its_validity() -> None:
    case = Case("DAT-03")
    last = RUN_DAY + timedelta(days=case.clause.validity_days)

    case.at = last
    assert said(case) is Verdict.PROVEN
    assert case.verdict().expires_on == last

    case.at = last + timedelta(days=1)
    assert said(case) is Verdict.NOT_TESTED
    assert f"valid until {last}" in reasons(case)


def test_rule_4_a_failure_does_not_expire() -> None:
    case = Case("DAT-03").set("data.rows_missing", 1)
    case.at = RUN_DAY + timedelta(days=10_000)

    assert said(case) is Verdict.FAILED


# --- 5. coverage < 1, projected, simulated, proof level < proof_level -> PARTIAL ---------------------------------


def test_rule_5_a_sample_is_partial_and_says_how_much() -> None:
    case = Case("DAT-06").set("data.metadata_classes_missing", 0, coverage=0.25)
    verdict = case.verdict()

    assert verdict.verdict is Verdict.PARTIAL
    assert "25.0 %" in reasons(case)
    assert (verdict.low, verdict.high) == (0.25, 0.25)


def test_rule_5_a_projection_is_partial() -> None:
    case = Case("CLK-03").set("exit.elapsed_days", 3, projected=True)

    assert said(case) is Verdict.PARTIAL
    assert "projected" in reasons(case)
    assert case.verdict().low == 0


@pytest.mark.parametrize(
    ("level", "verdict"),
    [
        (ProofLevel.N5, Verdict.PROVEN),
        (ProofLevel.N4, Verdict.PROVEN),
        (ProofLevel.N3, Verdict.PARTIAL),
        (ProofLevel.N0, Verdict.PARTIAL),
    ],
)
def test_rule_5_a_lower_level_than_required_is_partial(level: ProofLevel, verdict: Verdict) -> None:
    case = Case("MOD-03")
    case.level = level

    assert said(case) is verdict
    assert verdict is Verdict.PROVEN or f"{level}" in reasons(case)


@pytest.mark.parametrize("level", list(ProofLevel))
def test_rule_5_a_stand_in_never_proves_what_needs_the_destination(level: ProofLevel) -> None:
    for clause in CATALOGUE.clauses.values():
        if clause.proof_level >= ProofLevel.N4:
            case = Case(clause.id)
            case.level, case.simulated = level, True
            waits = not any(one.required for one in case.criteria)  # for the contract's numbers

            assert said(case) is (Verdict.NOT_TESTED if waits else Verdict.PARTIAL)
            assert case.verdict().low == 0


def test_rule_5_content_is_proven_on_a_stand_in_as_well_as_anywhere() -> None:
    for name in ("DAT-03", "DAT-04", "DAT-07", "LOC-07", "MOD-02", "GOV-02"):
        case = Case(name)
        case.level, case.simulated = ProofLevel.N3, True

        assert said(case) is Verdict.PROVEN, name


def test_rule_5_a_check_with_else_partial_caps_and_does_not_fail() -> None:
    case = Case("LOC-01").set("dest.authenticated_signals", 0)

    assert said(case) is Verdict.PARTIAL
    assert "PARTIAL at most" in reasons(case)
    assert case.verdict().high == 0


def test_rule_5_an_optional_check_has_no_effect_while_unmeasured() -> None:
    assert said(Case("GOV-06").lose("evidence.timestamp_ok")) is Verdict.PROVEN


def test_rule_5_an_optional_check_that_is_missed_caps_at_partial() -> None:
    case = Case("GOV-06").set("evidence.timestamp_ok", False)

    assert said(case) is Verdict.PARTIAL
    assert "evidence.timestamp_ok is False" in reasons(case)


def test_rule_5_the_covered_share_that_a_check_measures_counts_as_coverage() -> None:
    case = Case("MOD-06").set("model.open_format_pct", 90)
    case.criteria = (replace(case.criteria[0], value=90), *case.criteria[1:])

    assert said(case) is Verdict.PARTIAL
    assert case.verdict().answers[0].coverage == 0.9


def test_rule_5_comes_before_a_missing_document() -> None:
    case = Case("MOD-04")
    case.documents.clear()
    case.level = ProofLevel.N3

    assert said(case) is Verdict.PARTIAL


# --- only_if, only_profile, from, until, unless, when ------------------------------------------------------------


def test_a_check_for_samples_counts_only_when_something_was_sampled() -> None:
    whole = Case("DAT-04").lose("data.mismatch_rate_ub95")
    whole.planned = {pair for pair in whole.planned if pair[0] != "data.mismatch_rate_ub95"}
    lost = Case("DAT-04").lose("data.mismatch_rate_ub95")
    sampled = Case("DAT-04").lose("data.mismatch_rate_ub95").set("data.cells_different", 0, coverage=0.1)
    by_fact = Case("DAT-04").lose("data.mismatch_rate_ub95").set("data.cells_different", 0, facts={"sampled": True})
    too_small = Case("DAT-04").set("data.cells_different", 0, coverage=0.1).set("data.mismatch_rate_ub95", 0.5)

    assert said(whole) is Verdict.PROVEN
    assert said(lost) is Verdict.PARTIAL  # its answer might have said that something was left out
    assert said(sampled) is Verdict.PARTIAL
    assert said(by_fact) is Verdict.PARTIAL
    assert said(too_small) is Verdict.FAILED


def test_a_check_of_one_profile_counts_with_that_profile_only() -> None:
    without, with_it = Case("CLK-06", profiles=frozenset({"gdpr"})), Case("CLK-06")
    for case in (without, with_it):
        case.facts["contract.erasure_notice_days"] = 1

    assert said(without) is Verdict.PROVEN
    assert said(with_it) is Verdict.FAILED


@pytest.mark.parametrize(
    ("day", "charged", "verdict"),
    [
        (date(2027, 1, 11), 5, Verdict.DOCUMENTED),  # up to the provider's own cost
        (date(2027, 1, 11), 6, Verdict.FAILED),
        (date(2027, 1, 12), 5, Verdict.FAILED),  # Data Act art. 29(1): none at all
        (date(2027, 1, 12), 0, Verdict.DOCUMENTED),
    ],
)
def test_a_dated_check_counts_on_the_day_of_the_run(day: date, charged: float, verdict: Verdict) -> None:
    case = Case("COS-01")
    case.facts["cost.switching_charged_eur"] = charged
    case.measured_on = case.at = day

    assert said(case) is verdict
    assert len(case.verdict().answers) == 1


@pytest.mark.parametrize(
    ("days", "notice", "verdict"),
    [
        (30, False, Verdict.PROVEN),
        (31, False, Verdict.FAILED),
        (31, True, Verdict.PROVEN),
        (213, True, Verdict.PROVEN),
        (214, True, Verdict.FAILED),
    ],
)
def test_a_justified_infeasibility_stretches_30_days_to_seven_months(days: int, notice: bool, verdict: Verdict) -> None:
    case = Case("CLK-03")
    case.facts["contract.transition_days"] = days
    if notice:
        case.documents = [
            Received(id="infeasibility_notice", clause="CLK-03", read_by="x", read_on=RUN_DAY, accepts=True)
        ]

    assert said(case) is verdict
    [document] = case.verdict().documents
    assert document.required is (days > 30)


def test_a_document_with_a_condition_is_required_when_the_number_is_not_known() -> None:
    case = Case("CLK-03")
    case.facts.pop("contract.transition_days")
    [document] = case.verdict().documents

    assert document.status == "missing"


def test_a_check_that_only_reports_never_decides() -> None:
    assert said(Case("CLK-07").set("exit.throttled_seconds", 10**9)) is Verdict.PROVEN
    assert said(Case("CLK-07").lose("exit.throttled_seconds")) is Verdict.PROVEN
    assert said(Case("GOV-09")) is Verdict.DOCUMENTED


# --- 6. required document missing or not signed -> DOCUMENT_NEEDED -----------------------------------------------


def test_rule_6_a_missing_document_is_asked_for_by_name() -> None:
    case = Case("DAT-01")
    case.documents.clear()
    verdict = case.verdict()

    assert verdict.verdict is Verdict.DOCUMENT_NEEDED
    assert "annex_exportable" in reasons(case)
    assert (verdict.low, verdict.high) == (1, 1)


@pytest.mark.parametrize(
    "change",
    [
        {"read_by": " "},
        {"read_on": RUN_DAY - timedelta(days=366)},
        {"read_on": RUN_DAY + timedelta(days=2)},
        {"clause": "DAT-02"},
        {"id": "another"},
    ],
)
def test_rule_6_a_document_that_does_not_count_is_missing(change: dict[str, Any]) -> None:
    case = Case("DAT-01")
    case.documents = [replace(case.documents[0], **change)]

    assert said(case) is Verdict.DOCUMENT_NEEDED


def test_rule_6_a_welcome_document_is_not_asked_for() -> None:
    case = Case("DAT-08")
    case.documents.clear()

    assert said(case) is Verdict.PROVEN
    assert [one.status for one in case.verdict().documents] == ["not-required"]


# --- 7. no check taken by a machine is true -> DOCUMENTED --------------------------------------------------------


def test_rule_7_a_document_clause_is_documented_and_never_proven() -> None:
    for clause in CATALOGUE.clauses.values():
        if clause.kind == "document":
            assert said(Case(clause.id)) is Verdict.DOCUMENTED


def test_rule_7_typed_numbers_alone_are_documented() -> None:
    for name in ("CLK-02", "COS-01"):
        assert said(Case(name)) is Verdict.DOCUMENTED


def test_rule_7_an_optional_measurement_lifts_a_typed_number_to_proven() -> None:
    typed = Case("CLK-05").lose("retrieval.probe_last_ok_day")

    assert said(typed) is Verdict.DOCUMENTED
    assert said(Case("CLK-05")) is Verdict.PROVEN
    assert said(Case("CLK-05").set("retrieval.probe_last_ok_day", 31, coverage=0.5)) is Verdict.DOCUMENTED


def test_rule_7_documented_expires_with_the_document() -> None:
    case = Case("CLK-01")
    case.documents = [replace(case.documents[0], read_on=RUN_DAY - timedelta(days=30))]

    assert case.verdict().expires_on == RUN_DAY + timedelta(days=700)


def test_a_clause_behind_which_nothing_stands_is_not_tested() -> None:
    case = Case("DAT-10")
    case.criteria = ()

    assert said(case) is Verdict.NOT_TESTED


# --- 8. otherwise -> PROVEN --------------------------------------------------------------------------------------


def test_rule_8_everything_whole_is_proven() -> None:
    case = Case("DAT-03")
    verdict = case.verdict()

    assert verdict.verdict is Verdict.PROVEN
    assert verdict.shown is ProofLevel.N4
    assert "4 checks hold on the whole scope, at N4" in reasons(case)


# --- what comes in -----------------------------------------------------------------------------------------------


def test_a_finding_that_was_not_planned_is_an_error() -> None:
    finding = Case.finding("data.rows_missing", 0, "shop:table:z")

    with pytest.raises(EvidenceError, match="not planned"):
        Measurements(CATALOGUE, {("data.rows_missing", "shop:table:a")}, [finding], {})


def test_two_findings_for_one_planned_check_are_an_error() -> None:
    finding = Case.finding("data.rows_missing", 0)

    with pytest.raises(EvidenceError, match="two results"):
        Measurements(CATALOGUE, {("data.rows_missing", None)}, [finding, finding], {})


@pytest.mark.parametrize("coverage", [-0.1, 1.1, float("nan"), True, "1"])
def test_a_coverage_outside_0_and_1_is_an_error(coverage: Any) -> None:
    finding = Case.finding("data.rows_missing", 0, coverage=coverage)

    with pytest.raises(EvidenceError, match="coverage"):
        Measurements(CATALOGUE, {("data.rows_missing", None)}, [finding], {})


def test_a_typed_value_for_a_measured_metric_is_an_error() -> None:
    with pytest.raises(EvidenceError, match="is measured"):
        Measurements(CATALOGUE, set(), [], {"data.rows_missing": 0})


def test_a_planned_check_of_a_typed_metric_is_an_error() -> None:
    with pytest.raises(EvidenceError, match="typed by a person"):
        Measurements(CATALOGUE, {("contract.notice_days", None)}, [], {})


@pytest.mark.parametrize(("planned", "facts"), [({("data.rows", None)}, {}), (set(), {"contract.days": 1})])
def test_an_unknown_metric_is_an_error(planned: set[Any], facts: dict[str, Any]) -> None:
    with pytest.raises(EvidenceError, match="no metric"):
        Measurements(CATALOGUE, planned, [], facts)


# --- properties --------------------------------------------------------------------------------------------------

# From what was shown least to what was shown most; FAILED is apart, for it was measured.
RANK = {
    Verdict.NOT_TESTED: 0,
    Verdict.PARTIAL: 1,
    Verdict.DOCUMENT_NEEDED: 2,
    Verdict.DOCUMENTED: 3,
    Verdict.PROVEN: 4,
}
values = st.sampled_from([0, 1, 2, 5, 30, 100, 0.5, -1.0, True, False, None, float("nan"), float("inf"), "x"])


@st.composite
def cases(draw: st.DrawFn) -> Case:
    case = Case(draw(st.sampled_from(sorted(CATALOGUE.clauses))))
    case.level = draw(st.sampled_from(ProofLevel))
    case.simulated = draw(st.booleans())
    if draw(st.booleans()):
        case.documents.clear()
    for metric in draw(st.lists(st.sampled_from(sorted(TYPED)), unique=True)):
        case.facts.pop(metric)
    for metric in quoted(case.clause):
        match draw(st.sampled_from(["good", "lost", "other", "sampled", "tables"])):
            case "lost":
                case.lose(metric)
            case "other":
                case.set(metric, draw(values))
            case "sampled":
                case.set(
                    metric, good(case.clause, metric), coverage=draw(st.floats(0, 1)), projected=draw(st.booleans())
                )
            case "tables":
                case.on_tables(metric, good(case.clause, metric), draw(st.sampled_from([..., 0, 1])))
    return case


def answer_of(verdict: ClauseVerdict, criterion: Criterion) -> Status | None:
    return next((one.status for one in verdict.answers if one.criterion == criterion), None)


@settings(deadline=None, max_examples=300)
@given(cases())
def test_proven_means_every_required_check_is_met_whole_at_its_level(case: Case) -> None:
    verdict = case.verdict()
    if verdict.verdict is not Verdict.PROVEN:
        return

    assert all(one.status is Status.MET for one in verdict.answers if one.required)
    assert any(one.whole for one in verdict.answers)
    assert all(one.typed or one.whole for one in verdict.answers if one.required)
    assert case.clause.proof_level <= case.level
    assert not (case.simulated and case.clause.proof_level >= ProofLevel.N4)
    assert all(one.status == "accepted" for one in verdict.documents if one.required)
    assert (verdict.low, verdict.high) == (1, 1)


@settings(deadline=None, max_examples=300)
@given(cases(), st.data())
def test_removing_a_finding_never_improves_a_verdict(case: Case, data: st.DataObject) -> None:
    """A failure apart: without it there is nothing to fail, and its place is unanswered. Optional checks apart too:
    the catalogue gives them no effect while unmeasured."""
    required = {one.metric for one in case.criteria if one.required and one.decides}
    removable = sorted((key for key in case.findings if key[0] in required), key=str)
    if not removable:
        return
    before = case.verdict()
    case.lose(*data.draw(st.sampled_from(removable)))
    after = case.verdict()

    assert after.verdict not in (Verdict.PROVEN, Verdict.DOCUMENTED) or after.verdict is before.verdict
    if Verdict.FAILED not in (before.verdict, after.verdict) and not before.untested:
        assert RANK[after.verdict] <= RANK[before.verdict]
    assert after.low <= before.low


@settings(deadline=None, max_examples=300)
@given(cases(), st.data())
def test_a_failing_finding_never_raises_what_was_shown(case: Case, data: st.DataObject) -> None:
    metrics = [m for m in quoted(case.clause) if next(c for c in case.clause.checks if c.metric == m).value is not None]
    if not metrics:
        return
    before = case.verdict()
    metric = data.draw(st.sampled_from(metrics))
    check = next(one for one in case.clause.checks if one.metric == metric)
    off = (not check.value) if isinstance(check.value, bool) else -(10**6) if check.op == ">=" else 10**6
    case.planned = {pair for pair in case.planned if pair[0] != metric}
    case.findings = {key: value for key, value in case.findings.items() if key[0] != metric}
    after = case.set(metric, off).verdict()

    assert after.low <= before.low
    assert after.high <= before.high
    assert after.verdict is not Verdict.PROVEN


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(sorted(CATALOGUE.clauses)), st.sampled_from(ProofLevel), st.booleans())
def test_typed_numbers_and_documents_alone_never_prove(name: str, level: ProofLevel, notice: bool) -> None:
    case = Case(name)
    case.findings.clear()
    case.level = level
    if notice:
        case.planned.clear()

    assert said(case) is not Verdict.PROVEN


@settings(deadline=None, max_examples=200)
@given(cases())
def test_a_verdict_is_the_same_twice_and_within_its_range(case: Case) -> None:
    first, second = case.verdict(), case.verdict()

    assert first.to_json() == second.to_json()
    assert 0 <= first.low <= first.high <= 1
    assert first.reasons
    for reason in (*first.reasons, *(one.reason for one in first.answers if one.reason)):
        reason.text.format(**reason.facts)


# --- without a plan ----------------------------------------------------------------------------------------------


def test_a_bundle_alone_is_held_against_the_catalogues_own_thresholds() -> None:
    planned = frozenset({("data.rows_missing", one) for one in TABLES} | {("data.cells_different", TABLES[0])})
    findings = [
        Case.finding("data.rows_missing", 0, TABLES[0]),
        Case.finding("data.rows_missing", 3, TABLES[1], places=("b, id=17",)),
        Case.finding("data.cells_different", None, TABLES[0], error="garbage"),
    ]
    rows = {row["metric"]: row for row in settle(CATALOGUE, planned, findings)}

    assert set(rows) == {"data.rows_missing", "data.cells_different"}
    assert rows["data.rows_missing"]["status"] == "missed"
    assert rows["data.rows_missing"]["places"] == ["b, id=17"]
    assert (rows["data.rows_missing"]["value"], rows["data.rows_missing"]["assets"]) == (3, 2)
    assert rows["data.cells_different"]["status"] == "unanswered"


def test_a_bundle_of_which_nothing_was_asked_settles_nothing() -> None:
    assert settle(CATALOGUE, frozenset(), []) == []


def test_a_bad_mismatch_rate_counts_though_nothing_says_that_it_was_sampled() -> None:
    case = Case("DAT-04")
    case.set("data.mismatch_rate_ub95", 0.5)

    assert case.verdict().verdict is Verdict.FAILED


def test_a_check_that_no_clause_requires_leaves_no_bundle_inconclusive() -> None:
    from reversible.cli.verify import status_of

    model = "models:model:digits"
    planned = frozenset({("model.parameters_altered", model), ("model.error_ratio_max", model)})
    silent = Finding("model.parameters_altered", model, None, unit="count", error="they were not recorded")
    good, bad = (Finding("model.error_ratio_max", model, value, unit="ratio") for value in (4.0, 400.0))
    lost = Finding("model.parameters_altered", model, 2, unit="count")

    def status(*findings: Finding) -> int:
        return status_of(settle(CATALOGUE, planned, findings), refused=False)

    assert status(silent, good) == 0
    assert status(silent, bad) == 1
    assert status(lost, good) == 1  # whoever measured it and missed it fails
    unanswered = Finding("model.error_ratio_max", model, None, unit="ratio", error="no reference")
    assert status(lost, unanswered) == 1
    assert status(silent, unanswered) == 3
