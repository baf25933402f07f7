"""The fingerprint is the same for the same values however they are stored, and no single change escapes it."""

import math
from decimal import Decimal
from typing import Any

import fingerprint_by_hand
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reversible import fingerprint
from reversible.fingerprint import Cells, Column, Plan, TableFingerprint

FAMILIES: dict[str, pa.DataType] = {
    "int": pa.int64(), "bool": pa.bool_(), "float": pa.float64(), "decimal:2": pa.decimal128(20, 2),
    "date": pa.date32(), "time": pa.time64("us"), "timestamp": pa.timestamp("us"),
    "timestamptz": pa.timestamp("us", "UTC"), "text": pa.string(), "binary": pa.binary(),
}  # fmt: skip
COLUMNS = (Column("id", "int"), Column("name", "text"), Column("price", "decimal:2"), Column("ratio", "float"))

Row = tuple[int, str | None, Decimal | None, float | None]
money = st.integers(-(10**17), 10**17).map(lambda cents: Decimal(cents).scaleb(-2))
rows_strategy = st.lists(
    st.tuples(
        st.integers(-(2**63), 2**63 - 1), st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
        st.none() | money, st.none() | st.floats(),
    ),
    max_size=30,
)  # fmt: skip


def of(
    rows: list[Row], *, key: tuple[str, ...] = (), buckets: int = 8, cut: int = 10**9, **types: Any
) -> TableFingerprint:
    plan = Plan("challenge", COLUMNS, key, buckets)
    names = [column.name for column in COLUMNS]
    arrays = {
        name: pa.array([row[n] for row in rows], types.get(name, FAMILIES[COLUMNS[n].family]))
        for n, name in enumerate(names)
    }
    batches = [
        {name: Cells(values.slice(start, cut)) for name, values in arrays.items()} for start in range(0, len(rows), cut)
    ]
    return fingerprint.fingerprint(plan, batches)


@given(rows_strategy, st.randoms(use_true_random=False), st.integers(1, 7))
def test_order_and_batches_do_not_matter(rows: list[Row], draw: Any, cut: int) -> None:
    shuffled = list(rows)
    draw.shuffle(shuffled)

    assert of(rows).same_as(of(shuffled, cut=cut))


@given(rows_strategy)
def test_encodings_do_not_matter(rows: list[Row]) -> None:
    dictionary = pa.dictionary(pa.int32(), pa.string())

    assert of(rows).same_as(of(rows, name=dictionary))
    assert of(rows).same_as(of(rows, name=pa.large_string(), price=pa.decimal128(38, 2)))


@given(st.lists(st.integers(-(2**15), 2**15 - 1), min_size=1))
def test_the_width_of_an_integer_does_not_matter(values: list[int]) -> None:
    plan = Plan("c", (Column("n", "int"),))
    prints = [fingerprint.fingerprint(plan, [{"n": Cells(pa.array(values, width))}])
              for width in (pa.int16(), pa.int32(), pa.int64())]  # fmt: skip

    assert prints[0].same_as(prints[1])
    assert prints[0].same_as(prints[2])


@settings(max_examples=200)
@given(rows_strategy.filter(bool), st.data())
def test_any_change_of_one_cell_is_seen_in_its_column(rows: list[Row], data: st.DataObject) -> None:
    rows = [(n, *row[1:]) for n, row in enumerate(rows)]
    at = data.draw(st.integers(0, len(rows) - 1))
    column = data.draw(st.integers(1, 3))
    other = data.draw(st.sampled_from([None, "", "x", " "]) if column == 1 else (st.none() | money) if column == 2
                      else st.sampled_from([None, 0.0, -0.0, math.inf, math.nan, 5e-324]))  # fmt: skip
    before = rows[at][column]
    if same(before, other):
        return
    changed = list(rows)
    changed[at] = tuple(other if n == column else cell for n, cell in enumerate(rows[at]))  # type: ignore[assignment,call-overload]
    left, right = of(rows, key=("id",), buckets=64), of(changed, key=("id",), buckets=64)
    found = fingerprint.compare(left, right)

    assert (found.missing, found.extra, found.cells) == (0, 0, 1)
    assert found.columns[found.changed[0]] == (COLUMNS[column].name,) == found.columns_overall
    batch = {
        one.name: Cells(pa.array([row[n] for row in changed], FAMILIES[one.family])) for n, one in enumerate(COLUMNS)
    }
    assert int(fingerprint.bucket_of_rows(right.plan, batch)[at]) == found.changed[0]


def same(left: Any, right: Any) -> bool:
    if isinstance(left, float) and isinstance(right, float):
        return np.float64(left).tobytes() == np.float64(right).tobytes() or (math.isnan(left) and math.isnan(right))
    return bool(left == right) and (left is None) == (right is None)


@pytest.mark.parametrize("key", [(), ("id",)])
def test_a_dropped_row_is_seen_beside_a_duplicated_one(key: tuple[str, ...]) -> None:
    rows: list[Row] = [(n, str(n), Decimal(n), n / 3) for n in range(500)]
    found = fingerprint.compare(of(rows, key=key, buckets=512), of([*rows[1:], rows[7]], key=key, buckets=512))

    assert (found.missing, found.extra) == (1, 1)


def test_a_row_added_three_times_is_seen() -> None:
    rows: list[Row] = [(1, "a", None, None)]

    assert fingerprint.compare(of(rows), of(rows * 3)).extra == 2


def test_values_swapped_between_columns_are_seen() -> None:
    plan = Plan("c", (Column("a", "text"), Column("b", "text"), Column("id", "int")), ("id",), 4)
    a, b, ids = pa.array(["x", "y"]), pa.array(["y", "x"]), pa.array([1, 2])
    left = fingerprint.fingerprint(plan, [{"a": Cells(a), "b": Cells(b), "id": Cells(ids)}])
    right = fingerprint.fingerprint(plan, [{"a": Cells(b), "b": Cells(a), "id": Cells(ids)}])
    found = fingerprint.compare(left, right)

    assert found.cells >= 2
    assert left.columns[0].tolist() == right.columns[0].tolist()  # the column holds the same values, elsewhere
    assert {name for names in found.columns.values() for name in names} == {"a", "b"}


def test_a_shift_of_all_rows_by_a_constant_is_seen() -> None:
    plan = Plan("c", (Column("at", "timestamptz"),), buckets=1024)
    at = pa.array(range(0, 10**9, 10**6), pa.timestamp("us", "UTC"))
    moved = pa.array(range(3_600_000_000, 3_600_000_000 + 10**9, 10**6), pa.timestamp("us", "UTC"))
    left, right = (fingerprint.fingerprint(plan, [{"at": Cells(one)}]) for one in (at, moved))

    assert fingerprint.compare(left, right).cells > 500  # a lower bound: rows that share a bucket may pair up


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (Cells(pa.array([None], pa.string())), Cells(pa.array([""]))),
        (Cells(pa.array(["a"])), Cells(pa.array(["a "]))),
        (Cells(pa.array(["\u00e9"])), Cells(pa.array(["e\u0301"]))),
        (Cells(pa.array([None], pa.string())), Cells(pa.array([None], pa.string()), {0: ""})),
        (Cells(pa.array(["x"])), Cells(pa.array([None], pa.string()), {0: "x"})),
    ],
)
def test_texts_that_look_alike_differ(left: Cells, right: Cells) -> None:
    plan = Plan("c", (Column("t", "text"),))

    assert not fingerprint.fingerprint(plan, [{"t": left}]).same_as(fingerprint.fingerprint(plan, [{"t": right}]))


def test_a_naive_time_is_not_an_instant() -> None:
    values = pa.array([0], pa.timestamp("us"))
    naive, zoned = (Plan("c", (Column("t", family),)) for family in ("timestamp", "timestamptz"))
    left = fingerprint.fingerprint(naive, [{"t": Cells(values)}])
    right = fingerprint.fingerprint(zoned, [{"t": Cells(values.cast(pa.timestamp("us", "UTC")))}])

    assert left.digest != right.digest
    with pytest.raises(ValueError, match="different plans"):
        fingerprint.compare(left, right)


def test_every_nan_is_one_and_minus_zero_is_not_zero() -> None:
    nans = np.array([0x7FF8000000000000, 0xFFF8000000000001], np.uint64).view(np.float64)
    hashes = fingerprint.row_hashes("c", [(Column("f", "float"), Cells(pa.array([*nans, 0.0, -0.0])))])

    assert hashes[0] == hashes[1]
    assert hashes[2] != hashes[3]


@given(rows_strategy)
def test_it_survives_storage(rows: list[Row]) -> None:
    before = of(rows, key=("id",), buckets=16)
    after = TableFingerprint.from_stored(before.to_json(), before.to_tables())

    assert after.same_as(before)


@pytest.mark.parametrize("damage", ["rows", "total", "buckets"])
def test_a_stored_fingerprint_that_contradicts_itself_is_refused_or_differs(damage: str) -> None:
    before = of([(1, "a", None, 1.0), (2, "b", None, 2.0)])
    document = {**before.to_json(), damage: {"rows": 3, "total": "0" * 32, "buckets": 4}[damage]}
    try:
        after = TableFingerprint.from_stored(document, before.to_tables())
    except ValueError:
        return

    assert fingerprint.compare(before, after).cells


def test_the_challenge_changes_every_sum() -> None:
    plans = [Plan(challenge, (Column("n", "int"),)) for challenge in ("a", "b")]
    left, right = (fingerprint.fingerprint(plan, [{"n": Cells(pa.array([1]))}]) for plan in plans)

    assert left.digest != right.digest


def test_rows_without_columns_are_counted() -> None:
    found = fingerprint.fingerprint(Plan("c", ()), [{}, {}], [2, 3])

    assert found.rows == 5
    assert found.total.tolist() == [5 * int(fingerprint.mix(np.zeros(1, np.uint64))[0]) % 2**64] * 2


@pytest.mark.parametrize(("rows", "buckets"), [(0, 1), (1, 8), (3, 32), (8192, 65_536), (10**9, 65_536)])
def test_buckets_are_a_power_of_two_above_the_rows(rows: int, buckets: int) -> None:
    assert fingerprint.buckets_for(rows) == buckets


def test_a_slow_and_plain_implementation_agrees() -> None:
    rows: list[Row] = [(1, "a", Decimal("1.50"), None), (-2, None, None, -0.0)]
    plain = [["1", "a", "1.50", None], ["-2", None, None, "8000000000000000"]]
    columns = [(column.name, column.family) for column in COLUMNS]

    assert of(rows).digest == fingerprint_by_hand.total("challenge", columns, plain)
