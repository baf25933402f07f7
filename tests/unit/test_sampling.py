"""A sample bounds the mismatch rate exactly, holds its rows as a multiset, and never proves a clause."""

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import run_of_papers as papers
from reversible import fingerprint
from reversible.comparison.sampling import hypergeometric_bound
from reversible.findings import Finding
from reversible.fingerprint import Cells, Column, Plan
from reversible.fingerprint.sample import Matching, Sample, chosen, images
from reversible.judgement import judge_run
from reversible.scoring import upper_bound

stats = pytest.importorskip("scipy.stats")

PLAN = Plan("challenge", (Column("id", "int"), Column("at", "date"), Column("name", "text")), ("id",))
EVERY = list(range(1, 2001))
DRAWN = EVERY[::4]


# --- the bound --------------------------------------------------------------------------------------------------


def test_thirty_thousand_clean_rows_bound_one_in_ten_thousand() -> None:
    assert hypergeometric_bound(0, 30_000, 10**10) <= 0.0001  # what the catalogue says of 30,000 clean rows
    assert hypergeometric_bound(5, 5, 10) == 1.0
    assert hypergeometric_bound(0, 0, 10) == 1.0


@pytest.mark.parametrize(
    ("misses", "size", "population"),
    [(0, 10, 50), (2, 10, 50), (0, 49, 50), (9, 49, 50), (0, 3000, 6000), (4, 100, 1_000_000), (10, 10, 50),
     (300, 30_000, 40_000), (29_000, 30_000, 10**6)],
)  # fmt: skip
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
    for misses in (0, 2, 700):
        endless = upper_bound(misses, 3000)
        assert hypergeometric_bound(misses, 3000, 10**12) == pytest.approx(endless, rel=1e-7)


@pytest.mark.parametrize(
    ("misses", "size", "population", "confidence"),
    [(-1, 5, 9, 0.95), (6, 5, 9, 0.95), (0, 10, 9, 0.95), (0, 5, 9, 1.0), (0, 5, 9, 0.0)],
)
def test_what_cannot_be_has_no_bound(misses: int, size: int, population: int, confidence: float) -> None:
    with pytest.raises(ValueError, match="no bound"):
        hypergeometric_bound(misses, size, population, confidence=confidence)


def test_the_bound_holds_as_often_as_it_says() -> None:
    """4,000 samples of a table with 3 % mismatches: in at most 5 % the truth lies above the bound, give or take."""
    random = np.random.default_rng(3)
    seen = random.hypergeometric(30, 970, 200, 4000)
    above = sum(hypergeometric_bound(int(one), 200, 1000) < 0.03 for one in seen)

    assert above / 4000 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 4000)
    assert above > 0


# --- the rows ---------------------------------------------------------------------------------------------------


def batch(ids: list[int]) -> dict[str, Cells]:
    """Rows by number: an infinite date in every seventh, NULL in every fifth, an empty text in every third."""
    names = [None if n % 5 == 0 else "" if n % 3 == 0 else f"n{n}" for n in ids]
    days = pa.array([None if n % 7 == 0 else n for n in ids], pa.int32()).cast(pa.date32())
    odd = {row: "infinity" for row, n in enumerate(ids) if n % 7 == 0}
    return {"name": Cells(pa.array(names, pa.string())), "at": Cells(days, odd), "id": Cells(pa.array(ids, pa.int64()))}


def sample(ids: list[int] = DRAWN, **changes: Any) -> Sample:
    drawn = {"population": len(EVERY), "rate": 0.25, "seed": "sealed", **changes}
    return Sample.of(PLAN, [images(PLAN, batch(ids), len(ids))], **drawn)


def looked(drawn: Sample, *batches: list[int]) -> Matching:
    found = Matching(drawn)
    for ids in batches:
        found.add(batch(ids), len(ids))
    return found


def ids_of(drawn: Sample, places: list[int]) -> set[int]:
    return {drawn.words[place, 5].item() for place in places}  # the low word of an integer key


def test_a_row_has_the_two_hashes_of_the_fingerprint() -> None:
    """Against the sums of `reversible-fingerprint/1`, which have vectors and a second implementation."""
    found = images(PLAN, batch(EVERY), len(EVERY))
    whole = fingerprint.fingerprint(PLAN, [batch(EVERY)])

    assert found.shape == (len(EVERY), 2 + 3 + 2)
    assert found[:, :2].sum(axis=0, dtype=np.uint64).tolist() == whole.total.tolist()
    assert found[:, 2:5].sum(axis=0, dtype=np.uint64).tolist() == whole.columns[:, 0].tolist()
    assert found[:, 5].tolist() == EVERY


def test_rows_are_found_in_any_order_and_cut_into_any_batches() -> None:
    order = np.random.default_rng(1).permutation(EVERY).tolist()
    for batches in ([EVERY], [order[:777], order[777:]], [[], order]):
        found = looked(sample(), *batches)
        assert (found.missing(), found.doubled(), found.rows) == ([], {}, len(EVERY))


def test_what_the_copy_lacks_or_doubles_is_told_as_a_multiset() -> None:
    drawn = sample()
    found = looked(drawn, [n for n in EVERY if n not in (5, 9, 2)], [13, 13, 14])

    assert ids_of(drawn, found.missing()) == {5, 9}  # 2 was not drawn
    assert {drawn.words[place, 5].item(): times for place, times in found.doubled().items()} == {13: 2}
    twice = sample([*DRAWN, 5])
    assert ids_of(twice, looked(twice, EVERY).missing()) == {5}
    assert looked(twice, EVERY, [5]).missing() == []


def test_a_changed_cell_an_exception_included_is_a_row_that_is_not_there() -> None:
    drawn = sample()
    other = batch(EVERY)
    other["at"].exceptions[20] = "-infinity"  # type: ignore[index]  # id 21
    found = Matching(drawn)
    found.add(other, len(EVERY))

    assert ids_of(drawn, found.missing()) == {21}


def test_chosen_rows_keep_their_exceptions() -> None:
    some = chosen(batch(EVERY), np.array([6, 0, 13]))

    assert some["id"].values.to_pylist() == [7, 1, 14]
    assert some["at"].exceptions == {0: "infinity", 2: "infinity"}


# --- stored -----------------------------------------------------------------------------------------------------


def test_a_sample_comes_back_as_it_was_stored_whatever_the_order_of_its_pieces() -> None:
    pieces = [images(PLAN, batch(ids), len(ids)) for ids in (DRAWN[300:], [], DRAWN[:300])]
    drawn = Sample.of(PLAN, pieces, population=len(EVERY), rate=0.25, seed="sealed")
    again = Sample.from_stored(json.loads(json.dumps(drawn.to_json())), drawn.to_table())

    assert np.array_equal(again.words, sample().words)
    assert replace(again, words=drawn.words).to_json() == drawn.to_json()
    assert again.share == len(DRAWN) / len(EVERY)


DAMAGE: dict[str, dict[str, Any]] = {
    "fewer rows said": {"rows": len(DRAWN) - 1},
    "a rate that does not fit": {"rate": 0.9},
    "a rate that is no number": {"rate": float("nan")},
    "a rate that is whole": {"rate": 1},
    "a larger population": {"population": 100 * len(EVERY)},
    "a population that is true": {"population": True},
    "no population": {"population": 0},
    "no seed": {"seed": ""},
    "no key": {"key": []},
    "another version": {"fingerprint": "reversible-fingerprint/9"},
    "buckets": {"buckets": 2},
    "no columns": {"columns": []},
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_stored_sample_that_does_not_fit_is_refused(name: str) -> None:
    drawn = sample()

    with pytest.raises(ValueError, match=r"sample|fingerprint|column|rows"):
        Sample.from_stored({**drawn.to_json(), **DAMAGE[name]}, drawn.to_table())


def test_rows_that_contradict_their_cells_are_refused() -> None:
    drawn = sample()
    words = drawn.words.copy()
    words[7, 3] += np.uint64(1)

    with pytest.raises(ValueError, match="sums of their cells"):
        Sample.from_stored(drawn.to_json(), replace(drawn, words=words).to_table())
    with pytest.raises(ValueError, match="does not hold"):
        Sample.from_stored(drawn.to_json(), drawn.to_table().slice(0, 40))


def test_a_sample_of_everything_still_is_a_sample() -> None:
    assert sample(EVERY, rate=0.999).share < 1


# --- judged -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "misses", "verdict"), [(30_000, 0, "PARTIAL"), (30_000, 1, "FAILED"), (3_000, 0, "FAILED")]
)
def test_a_clean_sample_makes_the_clause_partial_and_another_fails_it(size: int, misses: int, verdict: str) -> None:
    sealed = papers.plan()
    whole = papers.results(sealed)
    rate = hypergeometric_bound(misses, size, 6_000_000)
    drawn = {
        metric: Finding(
            metric, "shop:table:orders", value, unit="count", coverage=size / 6_000_000, facts={"sampled": True}
        )
        for metric, value in (("data.cells_different", misses), ("data.mismatch_rate_ub95", rate))
    }
    sampled = [
        {**drawn[line["metric"]].to_json(), "status": "measured"}
        if line["metric"] in drawn and line["asset"] == "shop:table:orders"
        else line
        for line in whole
    ]

    assert _dat04(sealed, whole) == "PROVEN"
    assert _dat04(sealed, sampled) == verdict


def _dat04(sealed: dict[str, object], lines: list[dict[str, object]]) -> str:
    document = judge_run(sealed, papers.inventory(), lines, papers.run(), papers.CATALOGUE)
    return next(row["verdict"] for row in document["clauses"] if row["id"] == "DAT-04")
