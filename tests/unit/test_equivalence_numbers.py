"""R, the noise floor, the rungs and the decisions: numbers on both sides of every edge."""

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reversible.equivalence import decisions, floor, ladder
from reversible.equivalence.ladder import Rung, Seen, stand
from reversible.equivalence.ratio import Ratios, Recording, error_ratio
from reversible.errors import BundleError

NAN, INF = float("nan"), float("inf")


def rows(*values: Any) -> Any:
    return np.array(values, dtype=np.float64)


# --- the floor ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("observed", "reference", "expected"),
    [
        ([[1.0, 2.0]], [[1.0, 2.0]], [0.0]),
        ([[1.0, 5.0]], [[1.0, 2.0]], [3 / math.sqrt(2)]),
        ([[NAN, 1.0]], [[NAN, 1.0]], [0.0]),
        ([[NAN]], [[1.0]], [INF]),
        ([[1.0]], [[NAN]], [INF]),
        ([[INF]], [[INF]], [0.0]),
        ([[INF]], [[1e39]], [0.0]),  # what float32 cannot hold is infinite in it
        ([[3.4e38]], [[1e39]], [INF]),
        ([[INF]], [[-1e39]], [INF]),
        ([[0.0]], [[-0.0]], [0.0]),
        ([[1.0, 2.0]], [[1.0]], [INF]),
        (np.zeros((2, 0)), np.zeros((2, 0)), [INF, INF]),
        (np.zeros((0, 3)), np.zeros((0, 3)), []),
    ],
)
def test_an_error_is_never_smaller_than_it_is(observed: Any, reference: Any, expected: list[float]) -> None:
    found = floor.rms_error(np.array(observed, np.float32), np.array(reference, np.float64))

    assert found.tolist() == pytest.approx(expected, rel=1e-6)


def test_a_position_that_does_not_count_says_nothing() -> None:
    observed, reference = rows([1, 99], [1, 99], [NAN, 2]), rows([1, 2], [1, 2], [1, 2])
    mask = np.array([[True, False], [False, False], [False, True]])

    found = floor.rms_error(observed, reference, mask)

    assert found[[0, 2]].tolist() == [0, 0]
    assert np.isnan(found[1])
    ratios = error_ratio(observed, reference, np.ones(3), mask=mask)
    assert (ratios.decided, ratios.undecided) == (2, 1)


def test_the_floor_is_the_largest_of_all_evaluations_and_never_below_the_last_bit() -> None:
    exact = rows([1.0], [1.0], [1.0], [0.0])
    legitimate = rows([1.0 + 1e-6], [1.0], [1.0], [0.0])
    drawn = rows([1.0], [1.0 - 3e-6], [1.0], [0.0])

    found = floor.noise_floor(exact, [legitimate], [drawn])

    assert found[:3].tolist() == pytest.approx([1e-6, 3e-6, 2.0**-23], rel=1e-6)
    assert 0 < found[3] < 1e-40


def test_where_legitimate_arithmetic_overflows_nothing_can_be_said() -> None:
    """A floor that is infinite would excuse everything."""
    exact = rows([1.0], [1.0])

    found = floor.noise_floor(exact, [rows([NAN], [1.0])])
    ratios = error_ratio(rows([5.0], [5.0]), exact, found)

    assert np.isnan(ratios.values[0])
    assert ratios.values[1] > 1e6


def test_roundings_are_those_of_float32_and_repeat_themselves() -> None:
    array = np.linspace(-3, 3, 5001)
    noise, again, other = floor.Roundings(7), floor.Roundings(7), floor.Roundings(8)

    found = noise("x", array)

    relative = np.abs(found / array - 1)[array != 0]
    assert 0.9 * floor.UNIT < relative.max() <= floor.UNIT * (1 + 1e-6)
    assert 0.4 * floor.UNIT < relative.mean() < 0.6 * floor.UNIT
    assert np.array_equal(found, again("x", array))
    assert not np.array_equal(found, other("x", array))
    assert not np.array_equal(noise("x", array), found)  # the next value has other roundings
    assert noise("ids", np.arange(3)).tolist() == [0, 1, 2]


def test_a_single_whole_number_is_structure_and_stays() -> None:
    """x to the power of 2.0000001 is NaN for every negative x: Llama's normalisation squares so."""
    noise = floor.Roundings(1)

    assert noise("two", np.array(2.0)) == 2.0
    assert noise("sixteen", np.array([16.0])) == 16.0
    assert noise("half", np.array(0.5)) != 0.5
    assert (noise("pair", np.array([2.0, 2.0])) != 2.0).any()


def test_a_large_array_is_rounded_all_over() -> None:
    array = np.ones(3_000_001)

    found = floor.Roundings(1)("w", array) - 1

    assert abs(float(found.mean())) < floor.UNIT / 100
    assert (found != 0).mean() > 0.99


# --- R -----------------------------------------------------------------------------------------------------------


def test_r_does_not_depend_on_the_scale_of_the_outputs() -> None:
    draw = np.random.default_rng(0)
    exact = draw.normal(0, 1, (50, 10))
    good, bad = exact + draw.normal(0, 1e-7, exact.shape), exact + draw.normal(0, 1e-5, exact.shape)
    noise = exact + draw.normal(0, 1e-7, exact.shape)
    for scale in (1e-4, 1.0, 1e5):
        own = floor.noise_floor(exact * scale, [noise * scale])
        assert error_ratio(good * scale, exact * scale, own).within()
        assert not error_ratio(bad * scale, exact * scale, own).within()


def test_the_limits_hold_at_their_edges() -> None:
    assert Ratios(rows(3.0, 3.0, 10.0)).within()
    assert not Ratios(rows(3.0, 3.0, 10.01)).within()
    assert not Ratios(rows(3.01, 3.01, 10.0)).within()
    assert Ratios(rows(5.0, 20.0)).within(20, 30)
    assert not Ratios(rows(NAN, NAN)).within()
    assert not Ratios(rows(1.0, INF)).within()
    assert Ratios(rows(1.0, NAN, 7.0, INF)).worst(2) == [3, 2]
    assert np.isnan(Ratios(rows(1.0, NAN)).join(Ratios(rows(NAN, 1.0))).values).all()


@pytest.mark.parametrize(
    ("texts", "digits", "decimals"),
    [
        (["0.25", "0.125"], 3, 3),
        (["0.12345", "12.34567"], 7, 5),
        (["1.5e-7"], 2, 8),
        (["1e-05", "3"], 1, 5),
        (["-1.2500"], 3, 4),
        (["1200", "-7"], 2, 0),
        (["NaN", "Infinity"], 0, 0),
        (["0.1234567890123456789"], 17, 19),
    ],
)
def test_the_texts_of_numbers_say_how_finely_they_were_written(texts: list[str], digits: int, decimals: int) -> None:
    assert Recording.of(texts) == Recording(digits=digits, decimals=decimals)


@given(st.integers(3, 9), st.sampled_from([1e-4, 1.0, 1e5]), st.booleans())
def test_the_quantum_is_the_step_in_which_the_recording_was_rounded(kept: int, scale: float, fixed: bool) -> None:
    answers = np.random.default_rng(kept).normal(0, scale, (40, 8))
    decimals = kept - 1 - math.floor(math.log10(np.abs(answers).max()))
    written = [[f"{one:.{max(decimals, 0)}f}" if fixed else f"{one:.{kept}g}" for one in row] for row in answers]
    read = np.array(written, dtype=np.float64)

    recording = Recording.of(text for row in written for text in row)
    off = np.abs(read - answers)

    assert (off <= recording.quantum(read) * 0.5 * (1 + 1e-9)).all()
    if not fixed:
        assert recording.significant(read) == kept


def test_the_quantum_widens_the_floor_by_what_rounding_adds() -> None:
    draw = np.random.default_rng(3)
    exact = draw.uniform(0.1, 1, (200, 4))
    rounded = np.round(exact, 5)

    narrow = error_ratio(rounded, exact, np.full(200, 1e-9))
    wide = error_ratio(rounded, exact, np.full(200, 1e-9), quantum=np.full(exact.shape, 1e-5))

    assert narrow.median > 1000
    assert 0.8 < wide.median < 1.2
    assert wide.largest < 3


# --- the rungs ---------------------------------------------------------------------------------------------------


def seen(**changes: Any) -> Seen:
    facts: dict[str, Any] = {
        "output": "p", "population": "golden set", "inputs_sha256": "0" * 64, "n": 3000, "identical": False,
        "distinct": 10, "ratios": Ratios(np.full(3000, 1.0)), "flips": 0,
    }  # fmt: skip
    return Seen(**{**facts, **changes})


@pytest.mark.parametrize(
    ("changes", "rung", "reason"),
    [
        ({}, Rung.NUMERICAL, ""),
        ({"identical": True}, Rung.BIT_IDENTICAL, ""),
        ({"ratios": None, "why": "not covered: Foo"}, Rung.UNDETERMINED, "not covered: Foo"),
        ({"ratios": None, "identical": True}, Rung.BIT_IDENTICAL, ""),  # equal bits need no reference
        ({"ratios": Ratios(np.full(3000, 50.0))}, Rung.DECISION, ""),
        ({"ratios": Ratios(np.full(3000, 50.0)), "flips": 1}, Rung.FAILED, "further off"),
        ({"ratios": Ratios(np.full(100, 50.0)), "n": 100}, Rung.FAILED, "further off"),  # shows no rate of 0.1 %
        ({"n": 19}, Rung.UNDETERMINED, "fewer than 20"),
        ({"n": 0, "ratios": None}, Rung.UNDETERMINED, "fewer than 20"),
        ({"distinct": 1, "identical": True}, Rung.UNDETERMINED, "same answer"),
        ({"deterministic": False, "identical": True}, Rung.UNDETERMINED, "different answers"),
        ({"unexplained": 1, "flips": 1, "identical": True}, Rung.FAILED, "other labels"),
        ({"digits": 5.0, "identical": True}, Rung.BIT_IDENTICAL, ""),  # whole numbers, halves: they are exact
        ({"digits": 5.0}, Rung.UNDETERMINED, "6 significant digits"),
        ({"digits": 6.0}, Rung.NUMERICAL, ""),
        ({"ratios": Ratios(np.r_[np.full(2900, 1.0), np.full(100, NAN)])}, Rung.NUMERICAL, ""),
        ({"ratios": Ratios(np.r_[np.full(2800, 1.0), np.full(200, NAN)])}, Rung.UNDETERMINED, "no finite"),
        ({"ratios": Ratios(np.full(3000, NAN)), "flips": 9}, Rung.UNDETERMINED, "no finite"),
    ],
)
def test_the_rung_follows_from_what_was_seen(changes: dict[str, Any], rung: Rung, reason: str) -> None:
    found = stand(seen(**changes))

    assert found.rung is rung
    assert reason in found.reason
    assert (found.reason == "") == (rung in (Rung.BIT_IDENTICAL, Rung.NUMERICAL, Rung.DECISION))


def test_d_is_asked_of_the_rate_that_was_stated() -> None:
    off = seen(ratios=Ratios(np.full(154, 2000.0)), n=154, flips=0)

    assert stand(off).rung is Rung.FAILED
    assert stand(off, flip_rate=0.02).rung is Rung.DECISION
    assert stand(off).flip_bound == pytest.approx(0.0193, abs=1e-4)  # research/models.md 3.4: below 1.9 %


def test_the_digest_of_the_inputs_depends_on_name_type_shape_and_bits() -> None:
    array = np.arange(6, dtype=np.float32)
    digests = {
        ladder.inputs_sha256(feeds)
        for feeds in (
            {"x": array},
            {"y": array},
            {"x": array.reshape(2, 3)},
            {"x": array.astype(np.int64)},
            {"x": array + np.float32(1e-6)},
            {"x": array, "z": array},
            {"x": array.astype(object)},
        )
    }

    assert len(digests) == 7
    assert ladder.inputs_sha256({"x": array}) == ladder.inputs_sha256({"x": array.astype(">f4")})


# --- decisions ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ["softmax", "threshold:", "threshold:x", ""])
def test_an_unknown_rule_is_refused(rule: str) -> None:
    with pytest.raises(BundleError, match="rule"):
        decisions.decide(np.zeros((1, 2)), rule)
    with pytest.raises(BundleError, match="rule"):
        decisions.margins(np.zeros((1, 2)), rule)


def test_margins_are_the_distance_to_another_decision() -> None:
    answers = rows([0.1, 0.7, 0.2], [0.4, 0.4, 0.2])

    assert decisions.margins(answers, "argmax").tolist() == pytest.approx([0.5, 0.0])
    assert decisions.margins(answers, "threshold:0.5").tolist() == pytest.approx([0.3, 0.3])
    assert decisions.margins(rows([0.3]), "argmax").tolist() == [INF]


def test_a_certificate_counts_what_no_error_of_that_size_can_flip() -> None:
    reference = rows([0.9, 0.1], [0.51, 0.49], [0.6, 0.4])
    observed = reference + rows([0.001, -0.001], [0.01, -0.011], [0.3, -0.3])

    found = decisions.certificate(observed, reference, "argmax")

    assert (found.certified, found.n) == (1, 3)
    assert found.smallest_margin == pytest.approx(0.02)
    assert found.largest_error == pytest.approx(0.3)


def linear(bias: float) -> Any:
    weights = np.random.default_rng(1).normal(0, 1, (6, 3))

    def answer(inputs: Any) -> Any:
        return inputs.astype(np.float64) @ weights + np.array([bias, 0, 0])

    return answer


def test_a_boundary_search_sees_a_defect_that_a_sample_does_not() -> None:
    inputs = np.random.default_rng(2).normal(0, 1, (400, 6)).astype(np.float32)
    exact, port, defect = linear(0), lambda rows: linear(0)(rows).astype(np.float32), linear(1e-4)
    assert (decisions.decide(defect(inputs), "argmax") == decisions.decide(exact(inputs), "argmax")).all()

    good = decisions.boundary_search(exact, port, inputs, "argmax")
    bad = decisions.boundary_search(exact, defect, inputs, "argmax")

    assert good is not None
    assert bad is not None
    assert good.probes == 91 * 22
    assert good.widest_flipped < 2e-6
    assert 5e-5 < bad.widest_flipped <= 1.01e-4
    assert good.narrowest < 1e-6
    assert decisions.boundary_search(exact, defect, inputs, "argmax") == bad


def test_without_two_classes_there_is_no_boundary() -> None:
    inputs = np.zeros((5, 6), np.float32)

    assert decisions.boundary_search(linear(1), linear(1), inputs, "argmax") is None


def test_everything_that_a_rung_says_can_be_written_down() -> None:
    assert json.dumps(str(stand(seen()).rung)) == '"N"'


def test_where_nothing_decides_no_port_is_decision_equivalent() -> None:
    far = Ratios(np.full(3000, 1e6))

    assert stand(seen(ratios=far)).rung is Rung.DECISION
    assert stand(seen(ratios=far, decides=False)).rung is Rung.FAILED
    assert stand(seen(decides=False)).rung is Rung.NUMERICAL
    assert stand(seen(decides=False)).flip_bound == stand(seen()).flip_bound  # of numbers that are off, then
