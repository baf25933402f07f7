"""Where may a sequence of the bundle stand, when the source's went on during the export?"""

import pytest

from reversible_verifiers.next_values import astray

UP = {"before": 10, "next": 16, "increment": 3, "cycles": False}
STILL = {"before": 10, "next": 10, "increment": 3, "cycles": False}
DOWN = {"before": -10, "next": -16, "increment": -3, "cycles": False}
SET = {"before": 10, "next": 17, "increment": 3, "cycles": False}
BACK = {"before": 16, "next": 10, "increment": 3, "cycles": False}
ROUND = {"before": 16, "next": 10, "increment": 3, "cycles": True}


@pytest.mark.parametrize(
    ("seen", "passes"),
    [
        (UP, {10, 13, 16}),
        (STILL, {10}),
        (DOWN, {-10, -13, -16}),
        (SET, set(range(10, 18))),  # somebody set it: any step may have been
        (BACK, set()),
        (ROUND, {*range(-20, 11), *range(16, 21)}),
        ({**UP, "increment": 0}, set(range(10, 17))),
        ({"before": 1 << 62, "next": (1 << 62) + 2, "increment": 2, "cycles": False}, set()),
    ],
)
def test_only_what_lies_on_its_way_passes(seen: dict[str, int], passes: set[int]) -> None:
    kept = {
        value: [{"name": "s", "last_value": value, "increment": seen["increment"]}] for value in range(-20, 21)
    }  # fmt: skip

    assert {value for value, one in kept.items() if not list(astray({"s": seen}, one, "mariadb"))} == passes


@pytest.mark.parametrize(
    ("last", "start", "here"),
    [
        (7, None, "10 next"),
        (6, None, ""),
        (None, 9, ""),
        (None, 8, "8 next"),
        (None, None, "None next"),
        (9, 9, "12 next"),
    ],
)
def test_a_sequence_of_postgresql_is_used_or_not(last: int | None, start: int | None, here: str) -> None:
    seen = {"s": {"before": 9, "next": 9, "increment": 3, "cycles": False}}
    said = list(astray(seen, [{"name": "s", "last_value": last, "start": start, "increment": 3}], "postgresql"))

    assert said == ([f"s: {here}, at the source 9"] if here else [])


def test_a_sequence_that_is_not_there_or_steps_otherwise_is_named() -> None:
    assert list(astray({"s": UP}, [], "mariadb")) == ["s: not in the bundle, at the source 10 .. 16"]
    other = [{"name": "s", "last_value": 10, "increment": 1}]
    assert list(astray({"s": UP}, other, "mariadb")) == ["s: increment 1, at the source 3"]
