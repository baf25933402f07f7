"""A sample bounds the mismatch rate exactly, is the same for everybody, and never proves a clause."""

import math

import numpy as np
import pytest
import run_of_papers as papers

from reversible.comparison.sampling import Sample, clopper_pearson_bound, hypergeometric_bound, size_for
from reversible.judgement import judge_run

stats = pytest.importorskip("scipy.stats")


@pytest.mark.parametrize(("misses", "size"), [(0, 1), (0, 300), (0, 30_000), (1, 100), (10, 100), (99, 100), (7, 5000)])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.999])
def test_the_bound_is_clopper_and_pearsons(misses: int, size: int, confidence: float) -> None:
    expected = stats.beta.ppf(confidence, misses + 1, size - misses)

    assert clopper_pearson_bound(misses, size, confidence=confidence) == pytest.approx(expected, rel=1e-8)


def test_without_a_miss_it_is_the_rule_of_three() -> None:
    assert clopper_pearson_bound(0, 30_000) == pytest.approx(3 / 30_000, rel=0.002)
    assert clopper_pearson_bound(0, 30_000) < 0.0001  # what the catalogue says of 30,000 clean rows
    assert clopper_pearson_bound(5, 5) == 1.0


@pytest.mark.parametrize(
    ("misses", "size", "population"),
    [(0, 10, 50), (2, 10, 50), (0, 49, 50), (0, 3000, 6000), (4, 100, 1_000_000), (10, 10, 50)],
)
def test_drawn_without_replacement_the_bound_is_the_last_that_is_compatible(
    misses: int, size: int, population: int
) -> None:
    bad = round(hypergeometric_bound(misses, size, population) * population)

    assert stats.hypergeom.cdf(misses, population, bad, size) > 0.05
    if bad < population - (size - misses):
        assert stats.hypergeom.cdf(misses, population, bad + 1, size) <= 0.05


def test_a_whole_table_is_known_and_a_large_one_is_like_an_endless_one() -> None:
    assert hypergeometric_bound(3, 1000, 1000) == 3 / 1000
    assert hypergeometric_bound(0, 1000, 1000) == 0
    assert hypergeometric_bound(2, 3000, 10**9) == pytest.approx(clopper_pearson_bound(2, 3000), rel=1e-4)


@pytest.mark.parametrize(("misses", "size", "confidence"), [(-1, 5, 0.95), (6, 5, 0.95), (0, 0, 0.95), (0, 5, 1.0)])
def test_what_cannot_be_has_no_bound(misses: int, size: int, confidence: float) -> None:
    with pytest.raises(ValueError, match="no bound"):
        clopper_pearson_bound(misses, size, confidence=confidence)


def test_the_bound_holds_as_often_as_it_says() -> None:
    """4,000 samples of a table with 3 % mismatches: in at most 5 % the truth lies above the bound, give or take."""
    random = np.random.default_rng(3)
    seen = random.hypergeometric(30, 970, 200, 4000)
    above = sum(hypergeometric_bound(int(one), 200, 1000) < 0.03 for one in seen)

    assert above / 4000 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 4000)
    assert above > 0


def test_the_smallest_sample_for_a_bound_is_found() -> None:
    size = size_for(0.0001, 6_000_000)

    assert hypergeometric_bound(0, size, 6_000_000) <= 0.0001 < hypergeometric_bound(0, size - 1, 6_000_000)
    assert size_for(1e-9, 500) == 476  # one mismatch among 500 would stay out of 476 rows in 4.8 % of the draws


def test_a_sample_is_the_same_for_everybody_and_another_with_another_seed() -> None:
    rows = Sample(3_000_000, 1000, "sealed").positions()

    assert len(set(rows.tolist())) == 1000
    assert (np.diff(rows) > 0).all()
    assert rows[0] >= 0
    assert rows[-1] < 3_000_000
    assert rows.tolist() == Sample(3_000_000, 1000, "sealed").positions().tolist()
    assert rows[:4].tolist() == [14498, 15580, 20175, 20323]  # for whoever draws it with other code
    assert rows.tolist() != Sample(3_000_000, 1000, "other").positions().tolist()
    assert Sample(10, 10, "all").positions().tolist() == list(range(10))


def test_a_sample_spreads_over_the_table() -> None:
    rows = Sample(100_000, 10_000, "spread").positions()

    counts = np.bincount(rows // 10_000, minlength=10)

    assert stats.chisquare(counts).pvalue > 0.001


def test_a_clean_sample_makes_the_clause_partial_and_never_proven() -> None:
    sealed = papers.plan()
    whole = papers.results(sealed)
    sample = Sample(6_000_000, 30_000, "sealed before")
    drawn = {(one.metric, one.asset): one for one in sample.findings("shop:table:orders", misses=0, cells=0)}
    sampled = [
        {**drawn[key].to_json(), "status": "measured"} if (key := (line["metric"], line["asset"])) in drawn else line
        for line in whole
    ]

    assert len(drawn) == 2
    assert _dat04(sealed, whole) == "PROVEN"
    assert _dat04(sealed, sampled) == "PARTIAL"


@pytest.mark.parametrize(("size", "misses"), [(30_000, 1), (3_000, 0)])
def test_a_sample_with_a_miss_or_too_small_fails_the_clause(size: int, misses: int) -> None:
    sealed = papers.plan()
    sample = Sample(6_000_000, size, "sealed before")
    drawn = {(one.metric, one.asset): one for one in sample.findings("shop:table:orders", misses=misses, cells=misses)}
    lines = [
        {**drawn[key].to_json(), "status": "measured"} if (key := (line["metric"], line["asset"])) in drawn else line
        for line in papers.results(sealed)
    ]

    assert _dat04(sealed, lines) == "FAILED"


def _dat04(sealed: dict[str, object], lines: list[dict[str, object]]) -> str:
    document = judge_run(sealed, papers.inventory(), lines, papers.run(), papers.CATALOGUE)
    return next(row["verdict"] for row in document["clauses"] if row["id"] == "DAT-04")
