"""The sketch names the rows that differ, or says that it cannot; it never invents one."""

import random
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reversible import fingerprint
from reversible.fingerprint import Cells, Column, Plan, Sketch, TableFingerprint

COLUMNS = (Column("id", "int"), Column("name", "text"), Column("ratio", "float"))
Row = tuple[int, str | None, float | None]


def of(rows: list[Row], key: tuple[str, ...] = ("id",), sketch: int = 510) -> TableFingerprint:
    plan = Plan("challenge", COLUMNS, key, 64, sketch)
    types = (pa.int64(), pa.string(), pa.float64())
    columns = [pa.array([row[n] for row in rows], kind) for n, kind in enumerate(types)]
    return fingerprint.fingerprint(
        plan, [{one.name: Cells(values) for one, values in zip(COLUMNS, columns, strict=True)}]
    )


def difference(left: list[Row], right: list[Row], key: tuple[str, ...] = ("id",), sketch: int = 510) -> Sketch:
    one, other = of(left, key, sketch).sketch, of(right, key, sketch).sketch
    assert one is not None
    assert other is not None
    return one.subtract(other)


def rows_of(count: int, start: int = 0) -> list[Row]:
    return [(n, f"name {n}", n / 7) for n in range(start, start + count)]


def hashes(rows: list[Row]) -> list[int]:
    types = (pa.int64(), pa.string(), pa.float64())
    columns = [(one, Cells(pa.array([row[n] for row in rows], types[n]))) for n, one in enumerate(COLUMNS)]
    found: list[int] = fingerprint.row_hashes("challenge", columns).tolist()
    return found


@pytest.mark.parametrize("count", [0, 1, 10, 100, 300])
def test_missing_rows_are_named(count: int) -> None:
    rows = rows_of(1000)
    found = difference(rows, rows[count:]).decode()

    assert found.complete
    assert [image.key for image in found.images] == [((n, 0),) for n in range(count)]
    assert {image.side for image in found.images} <= {"left"}
    assert sorted(image.row for image in found.images) == sorted(hashes(rows[:count]))


def test_changed_rows_are_two_images_each_and_their_cells_tell_the_column() -> None:
    rows = rows_of(1000)
    copy = [(n, f"{name}!" if n % 10 == 0 else name, ratio) for n, name, ratio in rows]
    found = difference(rows, copy).decode()
    sides = {side: {one.key: one for one in found.images if one.side == side} for side in ("left", "right")}

    assert found.complete
    assert len(sides["left"]) == len(sides["right"]) == 100
    for key, image in sides["left"].items():
        other = sides["right"][key]
        assert [a == b for a, b in zip(image.cells, other.cells, strict=True)] == [True, False, True]


def test_ten_thousand_differences_are_said_to_be_too_many() -> None:
    rows = rows_of(10_000)
    found = difference(rows, []).decode()

    assert not found.complete
    assert {image.row for image in found.images} <= set(hashes(rows))


def test_a_larger_sketch_reads_them() -> None:
    found = difference(rows_of(10_000), [], sketch=16_500).decode()

    assert found.complete
    assert len(found.images) == 10_000


@pytest.mark.parametrize("key", [(), ("id",), ("name", "id")])
@pytest.mark.parametrize(("left", "right"), [(3, 1), (1, 3), (2, 0), (0, 7), (9, 1), (257, 1), (300, 0)])
def test_rows_that_are_there_several_times_are_counted(key: tuple[str, ...], left: int, right: int) -> None:
    rows = rows_of(50)
    found = difference(rows + [rows[7]] * left, rows + [rows[7]] * right, key).decode()

    assert found.complete
    (image,) = found.images
    assert (image.side, image.times) == ("left" if left > right else "right", abs(left - right))
    assert image.row == hashes([rows[7]])[0]
    cells = [fingerprint.cell_hashes("challenge", one, Cells(pa.array([rows[7][n]])))[0][0]
             for n, one in enumerate(COLUMNS)]  # fmt: skip
    assert list(image.cells) == [int(cell) for cell in cells]


def test_a_count_that_loses_too_many_bits_is_incomplete() -> None:
    found = difference(rows_of(1) * 512, []).decode()

    assert not found.complete
    assert not found.images


def test_a_key_of_text_and_null_is_given_by_its_words() -> None:
    rows: list[Row] = [(1, "a", None), (2, None, 0.5)]
    found = difference(rows, [], ("name",)).decode()
    low, high = fingerprint.words(pa.array(["a", None]), "text", "challenge")

    assert {image.key[0] for image in found.images} == set(zip(low.tolist(), high.tolist(), strict=True))


def test_sketches_add_up() -> None:
    rows = rows_of(300)
    whole, one, other = of(rows).sketch, of(rows[:100]).sketch, of(rows[100:]).sketch
    assert whole is not None
    assert one is not None
    assert other is not None

    assert one.add(other).same_as(whole)
    assert of(rows[:100]).merge(of(rows[100:])).same_as(of(rows))
    with pytest.raises(ValueError, match="different plans"):
        one.subtract(replace(other, plan=Plan("another", COLUMNS)))


def test_a_plan_without_a_sketch_has_none() -> None:
    found = of(rows_of(5), sketch=0)

    assert found.sketch is None
    assert set(found.to_tables()) == {"fine", "coarse"}
    assert TableFingerprint.from_stored(found.to_json(), found.to_tables()).same_as(found)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 10**9), st.integers(1, 12))
def test_damage_ends_incomplete_and_invents_no_row(missing: int, extra: int, seed: int, damages: int) -> None:
    """Flipped bits, swapped cells, another's words: every image named is a row of one of the two tables."""
    rows, more = rows_of(missing), rows_of(extra, 1000)
    true = difference(rows, more)
    draw = random.Random(seed)
    words = true.words.copy()
    for _ in range(damages):
        place, field = draw.randrange(len(words)), draw.randrange(words.shape[1])
        kind = draw.randrange(4)
        if kind == 0:
            words[place, field] ^= np.uint64(1 << draw.randrange(64))
        elif kind == 1:
            words[place] = words[draw.randrange(len(words))]
        elif kind == 2:
            words[place] *= np.uint64(draw.randrange(2**64))
        else:
            words[place] = [draw.randrange(2**64) for _ in range(words.shape[1])]
    found = Sketch(true.plan, words).decode()
    known = set(hashes(rows + more)) if rows or more else set()

    assert {image.row for image in found.images} <= known
    assert found.complete == np.array_equal(words, true.words)


few_rows = st.lists(st.sampled_from([(1, "a", 0.0), (1, "b", 0.0), (2, "a", None), (3, None, 1.0)]), max_size=12)


@settings(max_examples=40, deadline=None)
@given(few_rows, few_rows)
def test_the_multiset_difference_is_exact(left: list[Row], right: list[Row]) -> None:
    found = difference(left, right, ()).decode()
    expected: dict[tuple[str, int], int] = {}
    for row in {*left, *right}:
        gain = left.count(row) - right.count(row)
        if gain:
            expected["left" if gain > 0 else "right", hashes([row])[0]] = abs(gain)

    assert found.complete
    assert {(image.side, image.row): image.times for image in found.images} == expected
