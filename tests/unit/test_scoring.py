"""Are the numbers those of the texts, and do they err on the side that shows less?"""

import itertools
import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reversible import clauses, scoring
from reversible.clauses import Verdict
from reversible.levels import ProofLevel
from reversible.scoring import lower_bound, upper_bound
from reversible.verdicts import ClauseVerdict, DocumentAnswer

CATALOGUE = clauses.load()
WEIGHTS = CATALOGUE.weights
BLOCKING = [one for one in CATALOGUE.clauses.values() if one.severity == "blocking"]
MAJOR = [one for one in CATALOGUE.clauses.values() if one.severity == "major"]
MINOR = [one for one in CATALOGUE.clauses.values() if one.severity == "minor"]
SHARES = {
    Verdict.PROVEN: (1.0, 1.0),
    Verdict.DOCUMENT_NEEDED: (1.0, 1.0),
    Verdict.PARTIAL: (0.0, 0.5),
    Verdict.NOT_TESTED: (0.0, 1.0),
}


def said(clause: clauses.Clause, verdict: Verdict, *, level: ProofLevel = ProofLevel.N0) -> ClauseVerdict:
    low, high = SHARES.get(verdict, (0.0, 0.0))
    measurable = verdict not in (Verdict.DOCUMENTED, Verdict.NOT_APPLICABLE)
    return ClauseVerdict(
        clause=clause, verdict=verdict, reasons=(), shown=level, low=low, high=high, measurable=measurable
    )


# --- levels ------------------------------------------------------------------------------------------------------


def test_proof_levels_are_ordered() -> None:
    ladder = [ProofLevel.N0, ProofLevel.N1, ProofLevel.N2, ProofLevel.N3, ProofLevel.N4, ProofLevel.N5]

    assert all(low < high for low, high in itertools.pairwise(ladder))
    assert ProofLevel.N3 < ProofLevel.N4 <= ProofLevel.N4
    assert str(ProofLevel.of("N3")) == "N3"


@pytest.mark.parametrize("name", ["N6", "n3", "", "3"])
def test_there_is_no_other_level(name: str) -> None:
    with pytest.raises(ValueError, match="known: N0"):
        ProofLevel.of(name)


def test_a_level_is_not_compared_with_a_number() -> None:
    with pytest.raises(TypeError):
        assert ProofLevel.N3 < 4  # type: ignore[operator] # the point of the test


# --- bounds ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("k", "n", "expected"),
    [
        (0, 3000, 0.000998079),  # 1 - 0.05 ** (1 / 3000)
        (0, 154, 0.019264823),
        (0, 1, 0.95),
        (1, 1, 1.0),
        (37, 154, 0.303653292),  # scipy.stats.beta.ppf(0.95, 38, 117)
        (1, 10, 0.394163302),  # Clopper and Pearson's table: 39.4 %
        (5, 10**9, 1.0513036e-08),  # Poisson: chi2.ppf(0.95, 12) / 2 / n
    ],
)
def test_the_upper_bound_is_the_known_one(k: int, n: int, expected: float) -> None:
    assert upper_bound(k, n) == pytest.approx(expected, rel=1e-6)


def test_three_over_n_when_nothing_was_off() -> None:
    for n in (100, 3_000, 1_000_000):
        assert upper_bound(0, n) == pytest.approx(3 / n, rel=0.02)
    assert upper_bound(0, 30_000) <= 1e-4  # the catalogue: 30 000 clean sampled rows
    assert lower_bound(3_000, 3_000) >= 0.999  # the catalogue: 3 000 agreeing inputs


def binomial_at_most(k: int, n: int, p: Fraction) -> Fraction:
    return sum((math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k + 1)), Fraction(0))


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_the_bounds_solve_the_exact_binomial_sum(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 60))
    k = data.draw(st.integers(0, n - 1))
    bound = upper_bound(k, n)

    assert float(binomial_at_most(k, n, Fraction(bound))) == pytest.approx(0.05, rel=1e-9)
    assert lower_bound(n - k, n) == pytest.approx(1 - bound, abs=1e-12)


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 10**8), st.floats(0, 1), st.sampled_from([0.5, 0.9, 0.95, 0.99, 0.999]))
def test_the_rate_seen_lies_between_the_bounds(n: int, share: float, confidence: float) -> None:
    k = min(n, int(share * n))
    low, high = lower_bound(k, n, confidence), upper_bound(k, n, confidence)

    assert 0 <= low <= high <= 1
    assert high >= k / n - 1e-12 or confidence == 0.5
    assert low <= k / n + 1e-12 or confidence == 0.5


@pytest.mark.parametrize(("k", "n"), [(-1, 10), (11, 10), (0, 0), (0, -1)])
def test_what_is_no_sample_has_no_bound(k: int, n: int) -> None:
    for bound in (upper_bound, lower_bound):
        with pytest.raises(ValueError, match="no count"):
            bound(k, n)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0, float("nan")])
def test_a_confidence_lies_within_0_and_1(confidence: float) -> None:
    with pytest.raises(ValueError, match="confidence"):
        upper_bound(0, 10, confidence)


def test_a_fraction_is_no_count() -> None:
    with pytest.raises(TypeError):
        upper_bound(0.5, 10)  # type: ignore[arg-type] # the point of the test


# --- indices -----------------------------------------------------------------------------------------------------


def test_the_index_weighs_blocking_5_major_2_minor_1() -> None:
    index = scoring.measured_index(
        [said(BLOCKING[0], Verdict.PROVEN), said(MAJOR[0], Verdict.NOT_TESTED), said(MINOR[0], Verdict.FAILED)], WEIGHTS
    )

    assert (index.low, index.high, index.cap) == (100 * 5 / 8, 100 * 7 / 8, None)


def test_a_blocking_failure_caps_the_index_at_49_and_an_untested_one_at_79() -> None:
    proven = [said(one, Verdict.PROVEN) for one in MAJOR]

    failed = scoring.measured_index([*proven, said(BLOCKING[0], Verdict.FAILED)], WEIGHTS)
    untested = scoring.measured_index([*proven, said(BLOCKING[0], Verdict.NOT_TESTED)], WEIGHTS)
    both = scoring.measured_index(
        [*proven, said(BLOCKING[0], Verdict.NOT_TESTED), said(BLOCKING[1], Verdict.FAILED)], WEIGHTS
    )
    major = scoring.measured_index([*proven[1:], said(MAJOR[0], Verdict.FAILED)], WEIGHTS)

    assert (failed.low, failed.high, failed.cap) == (49, 49, 49)
    assert (untested.low, untested.high, untested.cap) == (79, 79, 79)
    assert both.cap == 49
    assert major.cap is None


def test_documents_and_typed_numbers_are_not_in_the_measured_index() -> None:
    proven = [said(BLOCKING[0], Verdict.PROVEN)]

    with_paper = [*proven, said(MAJOR[0], Verdict.DOCUMENTED), said(MAJOR[1], Verdict.NOT_APPLICABLE)]

    assert scoring.measured_index(with_paper, WEIGHTS) == scoring.measured_index(proven, WEIGHTS)


def test_nothing_to_measure_is_an_index_of_0() -> None:
    index = scoring.measured_index([said(MAJOR[0], Verdict.DOCUMENTED)], WEIGHTS)

    assert (index.low, index.high) == (0, 0)


@given(st.lists(st.tuples(st.integers(0, 57), st.sampled_from(Verdict)), unique_by=lambda pair: pair[0]))
def test_the_index_is_a_range_within_its_cap(drawn: list[tuple[int, Verdict]]) -> None:
    every = list(CATALOGUE.clauses.values())

    index = scoring.measured_index([said(every[position], verdict) for position, verdict in drawn], WEIGHTS)

    assert 0 <= index.low <= index.high <= (100 if index.cap is None else index.cap)


def test_the_dossier_index_counts_required_documents_only() -> None:
    documents = (
        DocumentAnswer(id="a", status="accepted", required=True),
        DocumentAnswer(id="b", status="missing", required=True),
        DocumentAnswer(id="c", status="contradicts", required=True),
        DocumentAnswer(id="d", status="accepted", required=False),
        DocumentAnswer(id="e", status="not-required", required=False),
    )
    verdict = ClauseVerdict(clause=MAJOR[0], verdict=Verdict.FAILED, reasons=(), documents=documents)

    found = scoring.dossier_index([verdict])

    assert (found.accepted, found.required, found.value) == (1, 3, pytest.approx(100 / 3))
    assert scoring.dossier_index([]).value is None


# --- headline ----------------------------------------------------------------------------------------------------


def test_the_headline_is_the_lowest_level_of_a_blocking_clause() -> None:
    found = scoring.headline(
        [
            said(BLOCKING[0], Verdict.PROVEN, level=ProofLevel.N3),
            said(BLOCKING[1], Verdict.PARTIAL, level=ProofLevel.N3),
            said(BLOCKING[2], Verdict.DOCUMENTED),
            said(BLOCKING[3], Verdict.NOT_APPLICABLE),
            said(MAJOR[0], Verdict.FAILED),
        ]
    )

    assert found.level is ProofLevel.N3
    assert found.blocking == {
        Verdict.PROVEN: 1, Verdict.PARTIAL: 1, Verdict.DOCUMENTED: 1, Verdict.NOT_APPLICABLE: 1
    }  # fmt: skip


@pytest.mark.parametrize("verdict", [Verdict.FAILED, Verdict.NOT_TESTED, Verdict.PARTIAL])
def test_one_blocking_clause_that_does_not_hold_is_a_headline_of_n0(verdict: Verdict) -> None:
    proven = [said(one, Verdict.PROVEN, level=ProofLevel.N4) for one in BLOCKING[1:]]

    assert scoring.headline([*proven, said(BLOCKING[0], verdict)]).level is ProofLevel.N0


def test_a_headline_of_documents_alone_is_n1_and_of_nothing_n0() -> None:
    assert scoring.headline([said(BLOCKING[0], Verdict.DOCUMENTED)]).level is ProofLevel.N1
    assert scoring.headline([said(BLOCKING[0], Verdict.NOT_APPLICABLE)]).level is ProofLevel.N0
    assert scoring.headline([]).level is ProofLevel.N0
