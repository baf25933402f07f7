"""Each class of damage is inflicted, and named; what nothing explains is "other"."""

import math
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from reversible.comparison.classes import Exceptional, Kind, consensus, explanations, same, swapped, ulps

HOUR = 3_600_000_000
NOON = 1_767_268_800_123_456  # 2026-01-01 12:00:00.123456
D = Decimal

CASES: list[tuple[str, Any, Any, Kind, str]] = [
    ("decimal:3", D("0.125"), D("0.130"), Kind.ROUNDING, "2 digits"),
    ("decimal:3", D("0.125"), D("0.120"), Kind.ROUNDING, "2 digits"),  # half to even
    ("decimal:3", D("0.129"), D("0.120"), Kind.TRUNCATION, "2 digits"),
    ("decimal:2", D("12345678901234567.89"), D("12345678901234568.00"), Kind.ROUNDING, "0 digits"),
    ("decimal:4", D("12345678901234.5678"), D("12345678901234.5684"), Kind.FLOAT, ""),
    ("decimal:2", D("10.01"), D("10.02"), Kind.UNIT, "+0.01"),
    ("text", "0.125", "0.13", Kind.ROUNDING, "2 digits"),
    ("text", "1.000", "1.0", Kind.ZEROS, ""),
    ("float", 0.1, math.nextafter(0.1, 1), Kind.ULP, "1"),
    ("float", 1.0, 1.0 + 5 * 2**-52, Kind.ULP, "5"),
    ("float", 0.1, float(np.float32(0.1)), Kind.FLOAT, "float32"),
    ("float", 1 / 3, 0.333333333333333, Kind.ROUNDING, "15 significant digits"),
    ("float", -0.0, 0.0, Kind.ZERO, ""),
    ("float", math.nan, None, Kind.NULL_FOR_NAN, ""),
    ("float", math.inf, None, Kind.EXCEPTION_LOST, "inf"),
    ("timestamp", Exceptional("infinity"), None, Kind.EXCEPTION_LOST, "infinity"),
    ("decimal:2", Exceptional("NaN"), None, Kind.NULL_FOR_NAN, "NaN"),
    ("date", Exceptional("infinity"), 2932896, Kind.EXCEPTION_LOST, "infinity"),
    ("int", 1 << 53 | 1, 1 << 53, Kind.FLOAT, "float64"),
    ("int", 1 << 31, -(1 << 31), Kind.OVERFLOW, "32 bits"),
    ("int", 5_000_000_000, (1 << 31) - 1, Kind.OVERFLOW, "cut at 32 bits"),
    ("int", 41, 42, Kind.UNIT, "+1"),
    ("bool", True, False, Kind.INVERTED, ""),
    ("bool", None, False, Kind.VALUE_FOR_NULL, ""),
    ("text", "", None, Kind.NULL_FOR_EMPTY, ""),
    ("binary", b"", None, Kind.NULL_FOR_EMPTY, ""),
    ("text", None, "", Kind.EMPTY_FOR_NULL, ""),
    ("text", "x", None, Kind.NULL_FOR_VALUE, ""),
    ("text", "Lyon  ", "Lyon", Kind.TRIMMING, "-2 characters"),
    ("text", " Lyon", "Lyon", Kind.TRIMMING, "-1 character"),
    ("text", "a\r\nb", "a\nb", Kind.TRIMMING, "line ends"),
    ("text", "Grenoble", "Grenobl", Kind.TRUNCATION, "-1 character"),
    ("binary", b"\x01\x02", b"\x01", Kind.TRUNCATION, "-1 byte"),
    ("text", "Zoe\u0301", "Zoé", Kind.NORMALISATION, "NFC"),
    ("text", "Zoé", "Zoe\u0301", Kind.NORMALISATION, "NFD"),
    ("text", "Émile", "ÉMILE", Kind.CASE, ""),
    ("text", "Zoé", "ZoÃ©", Kind.MOJIBAKE, ""),
    ("text", "ZoÃ©", "Zoé", Kind.MOJIBAKE, ""),
    ("text", "Zoé", "Zo?", Kind.MOJIBAKE, ""),
    ("text", "{b,a,c}", "{a,b,c}", Kind.ORDER, ""),
    ("text", '["b, x", "a"]', '["a", "b, x"]', Kind.ORDER, ""),
    ("timestamptz", NOON, NOON + HOUR, Kind.HOURS, "+1 h"),
    ("timestamptz", NOON, NOON - 2 * HOUR, Kind.HOURS, "-2 h"),
    ("timestamp", NOON, NOON + 5 * HOUR + HOUR // 2, Kind.HOURS, "+5:30 h"),
    ("time", 23 * HOUR, 0, Kind.HOURS, "+1 h"),
    ("timestamp", NOON, NOON // 1000 * 1000, Kind.SUB_SECOND, "ms"),
    ("timestamp", NOON, NOON // 1_000_000 * 1_000_000, Kind.SUB_SECOND, "s"),
    ("timestamp", NOON, NOON + 1, Kind.UNIT, "+1 us"),
    ("timestamp", NOON, NOON + 24 * HOUR, Kind.DAY, "+1 d"),
    ("timestamp", NOON, (NOON + HOUR) // 1_000_000 * 1_000_000, Kind.HOURS, "+1 h, and cut below a second"),
    ("date", 20_000, 19_999, Kind.DAY, "-1 d"),
    ("text", "rouge", "bleu", Kind.OTHER, ""),
    ("int", 7, 1234, Kind.OTHER, ""),
    ("date", 20_000, 19_000, Kind.OTHER, ""),
    ("timestamp", NOON, NOON + 17, Kind.OTHER, ""),
    ("float", 1.5, 700.25, Kind.OTHER, ""),
    ("decimal:2", D("10.00"), D("77.31"), Kind.OTHER, ""),
]


@pytest.mark.parametrize(("family", "left", "right", "kind", "detail"), CASES)
def test_each_class_of_damage_is_named(family: str, left: Any, right: Any, kind: Kind, detail: str) -> None:
    found = explanations(left, right, family)

    assert kind in {one.kind for one in found}
    if detail:
        assert detail in {one.detail for one in found if one.kind is kind}


@pytest.mark.parametrize(("family", "left", "right", "kind", "detail"), CASES)
def test_an_unexplained_difference_is_never_given_a_class(
    family: str, left: Any, right: Any, kind: Kind, detail: str
) -> None:
    found = {one.kind for one in explanations(left, right, family)}

    assert (Kind.OTHER in found) == (kind is Kind.OTHER)
    if kind is Kind.OTHER:
        assert found == {Kind.OTHER}


def test_the_class_that_explains_most_of_a_column_wins() -> None:
    """1.49 became 1.50: a rounding alone, but one cent more among others that are one cent more."""
    alone = explanations(D("1.49"), D("1.50"), "decimal:2")
    others = [explanations(D(f"{n}.11"), D(f"{n}.12"), "decimal:2") for n in range(5)]

    assert consensus([alone])[0].kind is Kind.ROUNDING
    assert {one.kind for one in consensus([alone, *others])} == {Kind.UNIT}


def test_two_values_that_changed_places_are_found() -> None:
    assert swapped([1, "a", 2], [2, "b", 1]) == [(0, 2)]
    assert swapped([1, 2], [3, 4]) == []
    assert swapped([1, True], [True, 1]) == [(0, 1)]


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (1, 1, True),
        (1, True, False),
        (0.0, -0.0, False),
        (math.nan, math.nan, True),
        (None, None, True),
        ("a", Exceptional("a"), False),
    ],
)
def test_sameness_is_by_type_and_bits(one: Any, other: Any, expected: bool) -> None:
    assert same(one, other) is expected


@pytest.mark.parametrize(
    ("left", "right", "apart"), [(1.0, 1.0, 0), (-5e-324, 5e-324, 2), (1.0, math.nextafter(1.0, 0), -1)]
)
def test_ulps_are_counted_across_zero(left: float, right: float, apart: int) -> None:
    assert ulps(left, right) == apart
