"""Encodings, widths, units, engines and cuts never matter; a change of one value, at any depth, always does."""

import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reversible import fingerprint, machine_code
from reversible.fingerprint import Accumulator, Cells, Column, Plan, TableFingerprint, parquet, texts

STRUCT = pa.struct([("a", pa.int32()), ("b", pa.string())])
SWAPPED = pa.struct([("b", pa.large_string()), ("a", pa.int64())])


def lanes(values: pa.Array, family: str | None = None) -> list[list[int]]:
    column = Column("c", family or fingerprint.family(values.type))
    found: list[list[int]] = fingerprint.cell_hashes("challenge", column, Cells(values)).T.tolist()
    return found


SAME: list[tuple[str, pa.Array, pa.Array]] = [
    ("int", pa.array([5, -1, None], pa.int8()), pa.array([5, -1, None], pa.int64())),
    ("int", pa.array([5, 2**63], pa.uint64()), pa.array([Decimal(5), Decimal(2**63)], pa.decimal128(20, 0))),
    ("int", pa.array([5, 200], pa.uint8()), pa.array([Decimal(5), Decimal(200)], pa.decimal256(70, 0))),
    ("decimal:2", pa.array([Decimal("1.50"), Decimal("-2.00")], pa.decimal32(5, 2)),
     pa.array([Decimal("1.50"), Decimal("-2.00")], pa.decimal256(70, 2))),
    ("decimal:2", pa.array([Decimal("1.50")], pa.decimal64(10, 2)),
     pa.array([Decimal("1.5000")], pa.decimal128(20, 4))),
    ("decimal:2", pa.array([Decimal("3.00")], pa.decimal128(9, 2)), pa.array([3], pa.int16())),
    ("float", pa.array([1.5, None, -0.0], pa.float32()), pa.array([1.5, None, -0.0], pa.float64())),
    ("float", pa.array([np.float16(1.5)], pa.float16()), pa.array([1.5])),
    ("date", pa.array([20781], pa.int32()).cast(pa.date32()),
     pa.array([20781], pa.int32()).cast(pa.date32()).cast(pa.date64())),
    ("time", pa.array([5000], pa.int32()).cast(pa.time32("ms")), pa.array([5 * 10**9]).cast(pa.time64("ns"))),
    ("timestamp", pa.array([-7], pa.timestamp("s")), pa.array([-7 * 10**9], pa.timestamp("ns"))),
    ("timestamp", pa.array([-7, None], pa.timestamp("ms")), pa.array([-7000, None], pa.timestamp("us"))),
    ("timestamptz", pa.array([7], pa.timestamp("us", "UTC")), pa.array([7], pa.timestamp("us", "Europe/Paris"))),
    ("duration", pa.array([-7], pa.duration("ms")), pa.array([-7 * 10**6], pa.duration("ns"))),
    ("text", pa.array(["a", None, ""]), pa.array(["a", None, ""], pa.string_view())),
    ("text", pa.array(["a", None, "a"]), pa.array(["a", None, "a"]).dictionary_encode()),
    ("text", pa.array(["a", None]), pa.DictionaryArray.from_arrays(pa.array([1, 0]), pa.array([None, "a"]))),
    ("text", pa.array(["a", "a", "b"]),
     pa.RunEndEncodedArray.from_arrays(pa.array([2, 3], pa.int32()), pa.array(["a", "b"]))),
    ("binary", pa.array([b"ab"], pa.binary(2)), pa.array([b"ab"], pa.binary_view())),
    ("int", pa.array([7, 9, 7]), pa.array([7, 9, 7]).dictionary_encode()),
    ("list<int>", pa.array([[1, 2], [], None], pa.list_(pa.int64())),
     pa.array([[1, 2], [], None], pa.large_list(pa.int8()))),
    ("list<int>", pa.array([[1, 2], [3, 4]], pa.list_(pa.int64())),
     pa.array([[1, 2], [3, 4]], pa.list_(pa.int32(), 2))),
    ("list<int>", pa.array([[1, 2], None], pa.list_(pa.int64())), pa.array([[1, 2], None], pa.list_view(pa.int64()))),
    ('struct<"a":int,"b":text>', pa.array([{"a": 1, "b": "x"}, {}, None], STRUCT),
     pa.array([{"b": "x", "a": 1}, {}, None], SWAPPED)),
    ("map<text,int>", pa.array([[("k", 1)], [], None], pa.map_(pa.string(), pa.int64())),
     pa.array([[("k", 1)], [], None], pa.map_(pa.large_string(), pa.int8()))),
]  # fmt: skip


@pytest.mark.parametrize(("family", "left", "right"), SAME, ids=[f"{one[0]}-{one[2].type}" for one in SAME])
def test_what_stores_a_value_does_not_matter(family: str, left: pa.Array, right: pa.Array) -> None:
    assert lanes(left, family) == lanes(right, family)
    padded = pa.concat_arrays([right, right]).slice(len(right)) if not pa.types.is_dictionary(right.type) else right
    assert lanes(left, family) == lanes(padded, family)


DIFFERENT: list[tuple[pa.Array, pa.Array]] = [
    (pa.array([2**63], pa.uint64()), pa.array([-(2**63)], pa.int64())),
    (pa.array([Decimal(2**70)], pa.decimal128(38, 0)), pa.array([Decimal(2**70 + 1)], pa.decimal128(38, 0))),
    (pa.array([Decimal(10**75)], pa.decimal256(76, 0)), pa.array([Decimal(10**75 + 1)], pa.decimal256(76, 0))),
    (pa.array([Decimal(10**75)], pa.decimal256(76, 0)), pa.array([Decimal(-(10**75))], pa.decimal256(76, 0))),
    (pa.array([0], pa.timestamp("ns")), pa.array([1], pa.timestamp("ns"))),
    (pa.array([0]).cast(pa.time64("ns")), pa.array([1]).cast(pa.time64("ns"))),
    (pa.array([2**62], pa.timestamp("s")), pa.array([2**62 - 1], pa.timestamp("s"))),
    (pa.array([pa.MonthDayNano([1, 0, 0])]), pa.array([pa.MonthDayNano([0, 30, 0])])),
    (pa.array([[]], pa.list_(pa.int64())), pa.array([None], pa.list_(pa.int64()))),
    (pa.array([[]], pa.list_(pa.int64())), pa.array([[None]], pa.list_(pa.int64()))),
    (pa.array([[1, 2]]), pa.array([[2, 1]])),
    (pa.array([[1, 1]]), pa.array([[1]])),
    (pa.array([[[1], []]]), pa.array([[[], [1]]])),
    (pa.array([{}], STRUCT), pa.array([None], STRUCT)),
    (pa.array([{"a": None, "b": ""}], STRUCT), pa.array([{"a": None, "b": None}], STRUCT)),
    (pa.array([[("k", 1), ("l", 2)]], pa.map_(pa.string(), pa.int64())),
     pa.array([[("l", 2), ("k", 1)]], pa.map_(pa.string(), pa.int64()))),
    (pa.array([[("k", 1), ("l", 2)]], pa.map_(pa.string(), pa.int64())),
     pa.array([[("k", 2), ("l", 1)]], pa.map_(pa.string(), pa.int64()))),
]  # fmt: skip


@pytest.mark.parametrize(("left", "right"), DIFFERENT, ids=[f"{n}-{one[0].type}" for n, one in enumerate(DIFFERENT)])
def test_a_difference_shows_in_both_lanes(left: pa.Array, right: pa.Array) -> None:
    first, second = lanes(left)[0], lanes(right, fingerprint.family(left.type))[0]

    assert first[0] != second[0]
    assert first[1] != second[1]


def test_a_decimal_with_more_digits_than_declared_is_a_difference_and_no_error() -> None:
    fits, over = pa.array([Decimal("1.50")], pa.decimal128(9, 2)), pa.array([Decimal("1.505")], pa.decimal128(9, 3))

    assert lanes(fits, "decimal:2") != lanes(over, "decimal:2")


@pytest.mark.parametrize(
    ("family", "values"),
    [("int", pa.array(["5"])), ("text", pa.array([5])), ("date", pa.array([0], pa.timestamp("us"))),
     ("list<int>", pa.array([5])), ('struct<"a":int>', pa.array([{"b": 1}])), ("int", pa.array([5.0]))],
)  # fmt: skip
def test_values_of_another_family_are_refused(family: str, values: pa.Array) -> None:
    with pytest.raises(ValueError, match="is not of the family"):
        lanes(values, family)


def test_a_union_has_no_family_and_a_doubled_field_is_refused() -> None:
    with pytest.raises(ValueError, match="has no family"):
        fingerprint.family(pa.sparse_union([pa.field("a", pa.int64())]))
    with pytest.raises(ValueError, match="two fields of one name"):
        fingerprint.family(pa.struct([("a", pa.int64()), ("a", pa.int64())]))


@pytest.mark.parametrize(
    "text",
    ["", "ints", "decimal:", "decimal:02", "list<int", "list<int>>", "list<>", "list<int,int>", "map<int>", "int ",
     'struct<"b":int,"a":int>', 'struct<"a":int,"a":int>', "struct<a:int>", "struct<1:int>",
     "list<" * 99 + "int" + ">" * 99],
)  # fmt: skip
def test_a_family_in_another_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"family|fields of one name"):
        Plan("c", (Column("a", text),))


nested_type = st.recursive(
    st.sampled_from([pa.int64(), pa.string(), pa.timestamp("us"), pa.decimal128(20, 2), pa.bool_()]),
    lambda inside: st.one_of(
        inside.map(pa.list_),
        inside.map(lambda kind: pa.map_(pa.string(), kind)),
        st.lists(inside, min_size=1, max_size=3).map(
            lambda kinds: pa.struct([(f"f{n}", kind) for n, kind in enumerate(kinds)])
        ),
    ),
    max_leaves=4,
)


def value_of(kind: pa.DataType, draw: st.DataObject) -> Any:
    if draw.draw(st.integers(0, 5)) == 0:
        return None
    if pa.types.is_map(kind):
        return [
            (key, value_of(kind.item_type, draw)) for key in draw.draw(st.lists(st.sampled_from("klm"), max_size=3))
        ]
    if pa.types.is_list(kind):
        return [value_of(kind.value_type, draw) for _ in range(draw.draw(st.integers(0, 3)))]
    if pa.types.is_struct(kind):
        return {kind.field(n).name: value_of(kind.field(n).type, draw) for n in range(kind.num_fields)}
    small = draw.draw(st.integers(-3, 3))
    return {pa.string(): str(small), pa.bool_(): small > 0, pa.decimal128(20, 2): Decimal(small)}.get(kind, small)


@settings(max_examples=60, deadline=None)
@given(nested_type, st.data())
def test_nested_values_are_equal_exactly_when_their_hashes_are(kind: pa.DataType, draw: st.DataObject) -> None:
    values = pa.array([value_of(kind, draw) for _ in range(6)], kind)
    family = fingerprint.family(kind)
    whole = lanes(values)
    chunked = pa.chunked_array([values.slice(0, 2), values.slice(2)])

    assert fingerprint.arrow_type(family) is not None
    assert lanes(chunked, family) == whole
    assert lanes(pa.concat_arrays([values, values]).slice(3, 6)) == whole[3:] + whole[:3]
    texts_of = [str(one.as_py()) for one in values]
    for left in range(6):
        for right in range(6):
            assert (texts_of[left] == texts_of[right]) == (whole[left] == whole[right])


# --- engines and hashers ----------------------------------------------------------------------------------------


def mixed(rows: int, seed: int) -> dict[str, Cells]:
    draw = np.random.default_rng(seed)
    numbers = draw.integers(-(2**62), 2**62, rows)
    texts_ = pa.array([None if n % 7 == 0 else os.fsdecode(bytes([97 + n % 26])) * int(n % 300) for n in range(rows)])
    return {
        "id": Cells(pa.array(numbers)),
        "near": Cells(pa.array(draw.integers(0, 50, rows))),
        "text": Cells(texts_, {0: "odd"} if rows else {}),
        "code": Cells(pa.array(draw.choice(["a", "b", ""], rows)).dictionary_encode()),
        "big": Cells(pa.array([Decimal(int(n)) * 10**9 for n in numbers], pa.decimal128(38, 0))),
        "gaps": Cells(pa.array([None if n % 3 else float(n) for n in range(rows)])),
        "list": Cells(pa.array([[int(n), None] if n % 2 else None for n in range(rows)], pa.list_(pa.int64()))),
    }


MIXED = tuple(
    Column(name, family) for name, family in [("id", "int"), ("near", "int"), ("text", "text"), ("code", "text"),
    ("big", "int"), ("gaps", "float"), ("list", "list<int>")]
)  # fmt: skip


@pytest.mark.parametrize("rows", [0, 1, 5, 3000])
@pytest.mark.parametrize(("key", "buckets", "sketch"), [((), 1, 510), (("id", "text"), 65_536, 510), (("id",), 64, 0)])
def test_both_engines_give_the_same(rows: int, key: tuple[str, ...], buckets: int, sketch: int) -> None:
    plan = Plan("c", MIXED, key, buckets, sketch)
    prints = []
    for engine in ("numpy", "numba"):
        found = Accumulator(plan, engine)  # type: ignore[arg-type]
        hashes = [found.add(mixed(rows, seed), rows) for seed in (1, 2)]
        prints.append((found.result(), np.concatenate(hashes)))

    assert prints[0][0].same_as(prints[1][0])
    assert np.array_equal(prints[0][1], prints[1][1])


STORED = [
    pa.int8(), pa.int32(), pa.int64(), pa.uint64(), pa.float32(), pa.float64(), pa.bool_(), pa.decimal128(30, 2),
    pa.decimal64(15, 2), pa.date32(), pa.date64(), pa.time32("s"), pa.time64("us"), pa.time64("ns"), pa.timestamp("us"),
    pa.timestamp("us", "UTC"), pa.timestamp("s"), pa.duration("us"), pa.string(), pa.large_string(), pa.string_view(),
    pa.binary(), pa.binary(3), pa.list_(pa.int32()), pa.null(),
]  # fmt: skip


def stored(kind: pa.DataType, rows: int, *, whole: bool) -> pa.Array:
    """Values of this type, NULLs among them unless `whole`, cut out of a longer array."""
    numbers = [n % 97 - (0 if pa.types.is_unsigned_integer(kind) else 40) for n in range(rows + 5)]
    if pa.types.is_list(kind):
        values: list[Any] = [[n, None] for n in numbers]
    elif fingerprint.family(kind) in ("text", "binary"):
        size = kind.byte_width if pa.types.is_fixed_size_binary(kind) else None
        values = [str(n).encode().ljust(3)[:size] * (1 if size else n * n % 60) for n in numbers]
    elif pa.types.is_boolean(kind):
        values = [n % 2 == 0 for n in numbers]
    elif pa.types.is_decimal(kind):
        values = [Decimal(n * 10**12 + n) / 100 for n in numbers]
    elif pa.types.is_date64(kind):
        values = [n * 86_400_000 for n in numbers]
    else:
        values = [abs(n) if pa.types.is_time(kind) else n for n in numbers]
    kept = [None if n % 5 == 2 and not whole else one for n, one in enumerate(values)]
    if pa.types.is_null(kind):
        return pa.nulls(rows)
    if fingerprint.family(kind) == "text":
        kept = [one and one.decode() for one in kept]
    return pa.array(kept, pa.int64() if pa.types.is_date64(kind) else kind).cast(kind).slice(3, rows)


@pytest.mark.parametrize("kind", STORED, ids=str)
@pytest.mark.parametrize("whole", [False, True])  # without NULL
@pytest.mark.parametrize("dictionary", [None, pa.int8(), pa.int32()])
def test_both_engines_read_every_way_in_which_arrow_stores_values(
    kind: pa.DataType, whole: bool, dictionary: pa.DataType | None
) -> None:
    values = stored(kind, 300, whole=whole)
    if dictionary is not None:
        if pa.types.is_null(kind):
            return
        index = [None if n % 7 == 1 and not whole else n % 60 for n in range(len(values))]
        values = pa.DictionaryArray.from_arrays(pa.array(index, dictionary), values[:60])
    ids = Cells(pa.array(range(len(values)), pa.int32()))
    columns = (Column("v", fingerprint.family(kind)), Column("id", "int"))
    for key in ((), ("v",), ("id", "v")):
        prints = []
        for engine in ("numpy", "numba"):
            found = Accumulator(Plan("c", columns, key, 256), engine)  # type: ignore[arg-type]
            hashes = [found.add({"v": Cells(values), "id": ids}), found.add({"v": Cells(values[7:200]), "id": Cells(
                ids.values[7:200])})]  # fmt: skip
            prints.append((found.result(), np.concatenate(hashes)))

        assert prints[0][0].same_as(prints[1][0])
        assert np.array_equal(prints[0][1], prints[1][1])


def test_the_choice_of_an_engine_in_the_middle_of_a_table_does_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Plan("c", MIXED, ("id",), 64)
    plain = Accumulator(plan, "numpy")
    monkeypatch.setattr(fingerprint.accelerator, "_WORTH_LOADING", 100 * len(MIXED))
    turned = Accumulator(plan)
    for seed in range(3):
        plain.add(mixed(60, seed))
        turned.add(mixed(60, seed))

    assert set(turned._states) == {"numpy", "numba"}
    assert turned.result().same_as(plain.result())


@pytest.mark.parametrize("seed", [0, 1, 2**63, 2**64 - 1, 0x123456789ABCDEF])
def test_both_ways_to_xxh3_agree_at_every_length(seed: int) -> None:
    data = [os.urandom(size) for size in (*range(260), 1000, 5000)]
    expected = [texts.hash_one(one, seed) for one in data]
    for kind in (pa.binary(), pa.large_binary(), pa.binary_view()):
        values = pa.concat_arrays([pa.array([None, b"x"], kind), pa.array(data, kind)]).slice(2)
        for hasher in (texts.by_xxhash, texts.by_loops):
            low, high = hasher(values, seed)
            assert list(zip(low.tolist(), high.tolist(), strict=True)) == expected


def calls(work: Any) -> int:
    """How many Python functions it calls."""
    count = 0

    def seen(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(seen)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("engine", ["numpy", "numba"])
@pytest.mark.parametrize("dictionary", [False, True])
def test_cells_beside_their_family_are_hashed_together(engine: Any, dictionary: bool) -> None:
    plan = Plan("c", (Column("d", "date"),), (), 64)
    dates = pa.array([None] * 3000, pa.date32())
    few, many = (
        Cells(dates.dictionary_encode() if dictionary else dates, {n: f"{n % 50} BC" for n in range(count)})
        for count in (3, 3000)
    )
    found = Accumulator(plan, engine)
    found.add({"d": few})

    assert calls(lambda: found.add({"d": many})) < calls(lambda: found.add({"d": few})) + 200


def test_an_odd_value_in_a_dictionary_counts_in_every_row_that_has_it() -> None:
    wide = pa.array([Decimal(2**200), Decimal(1)], pa.decimal256(70, 0))
    rows = pa.DictionaryArray.from_arrays(pa.array([0, 1, 0, None, 0]), wide)

    assert lanes(rows, "int") == lanes(rows.cast(wide.type), "int")
    assert len({tuple(one) for one in lanes(rows, "int")}) == 3


@pytest.mark.parametrize("engine", ["numpy", "numba"])
def test_an_index_outside_its_dictionary_is_an_error(engine: Any) -> None:
    broken = pa.DictionaryArray.from_arrays(pa.array([0, 7]), pa.array(["a"]), safe=False)

    with pytest.raises((ValueError, IndexError)):
        Accumulator(Plan("c", (Column("t", "text"),)), engine).add({"t": Cells(broken)})


def test_machine_code_that_was_damaged_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "loops.o"
    machine_code.write(path, b"machine code")

    assert machine_code.read(path) == b"machine code"
    path.write_bytes(path.read_bytes()[:-1])
    assert machine_code.read(path) is None
    assert machine_code.read(tmp_path / "none.o") is None


def test_the_loops_are_loaded_without_numba(tmp_path: Path) -> None:
    code = (
        "import sys; from reversible.fingerprint import compiled\n"
        "loops = compiled.needed(); print(compiled.ready(), 'numba' in sys.modules)"
    )
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    seen = [
        subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]

    assert seen == ["True True\n", "True False\n"]  # compiled, then loaded


def test_a_cache_that_others_may_write_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    assert machine_code.private_folder() == tmp_path / "reversible/numba"
    (tmp_path / "reversible/numba").chmod(0o777)
    assert machine_code.private_folder() is None
    (tmp_path / "reversible/numba").rmdir()
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "reversible/numba").symlink_to(tmp_path / "elsewhere")
    assert machine_code.private_folder() is None


# --- sums -------------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(4)), st.integers(1, 40))
def test_parts_add_up_in_any_order_and_grouping(order: list[int], cut: int) -> None:
    plan = Plan("c", MIXED, ("id",), 16)
    parts = [fingerprint.fingerprint(plan, [mixed(20 + n, n)]) for n in range(4)]
    a, b, c, d = (parts[n] for n in order)
    whole = fingerprint.fingerprint(plan, [mixed(20 + n, n) for n in range(4)])

    assert a.merge(b).merge(c.merge(d)).same_as(whole)
    assert d.merge(c.merge(b.merge(a))).same_as(whole)
    pieces = Accumulator(plan)
    batch = mixed(41, 9)
    for start in range(0, 41, cut):
        size = min(cut, 41 - start)
        pieces.add({
            name: Cells(one.values.slice(start, size), {row - start: text for row, text in one.exceptions.items()
                                                        if start <= row < start + size})
            for name, one in batch.items()
        })  # fmt: skip
    assert pieces.result().same_as(fingerprint.fingerprint(plan, [batch]))


def test_many_rows_in_one_batch_are_as_many_batches() -> None:
    values = np.arange(150_000)
    plan = Plan("c", (Column("id", "int"),), ("id",), 65_536)
    whole = fingerprint.fingerprint(plan, [{"id": Cells(pa.array(values))}])
    cut = fingerprint.fingerprint(plan, [{"id": Cells(pa.array(one))} for one in np.array_split(values, 7)])

    assert whole.same_as(cut)
    assert whole.rows == 150_000


DAMAGES: list[tuple[str, Any]] = [
    ("rows", 3), ("rows", True), ("rows", "2"), ("rows", None), ("total", "0" * 32), ("total", "g" * 32),
    ("total", "1_0" + "0" * 29), ("total", 5), ("total", "00"), ("column_sums", {}), ("column_sums", None),
    ("column_sums", {"id": "0" * 32}), ("columns", "id"), ("columns", [{"name": "id"}]), ("columns", [5]),
    ("columns", [{"name": "id", "family": "list<" * 5000}]), ("key", ["nobody"]), ("key", 5), ("buckets", 3),
    ("buckets", "8"), ("buckets", 10**30), ("buckets", True), ("sketch", 7), ("sketch", -3), ("sketch", 10**18),
    ("sketch", 0.0), ("fingerprint", "rv1"), ("challenge", 5), ("challenge", "\ud800"), ("challenge", None),
]  # fmt: skip


@pytest.mark.parametrize(("field", "value"), DAMAGES, ids=[f"{n}-{one[0]}" for n, one in enumerate(DAMAGES)])
def test_a_damaged_document_is_refused_with_a_value_error(field: str, value: Any) -> None:
    stored = fingerprint.fingerprint(Plan("c", MIXED[:1], ("id",), 8), [{"id": mixed(5, 1)["id"]}])
    for document in ({**stored.to_json(), field: value}, {k: v for k, v in stored.to_json().items() if k != field}):
        with pytest.raises(ValueError):  # noqa: PT011 - any ValueError, and nothing else
            TableFingerprint.from_stored(document, stored.to_tables())


@pytest.mark.parametrize("name", ["fine", "coarse", "sketch"])
@pytest.mark.parametrize("damage", ["gone", "short", "text", "null", "flipped"])
def test_a_damaged_grid_is_refused_with_a_value_error(name: str, damage: str) -> None:
    plan = Plan("c", MIXED[:2], ("id",), 8)
    stored = fingerprint.fingerprint(plan, [{one: mixed(5, 1)[one] for one in ("id", "near")}])
    tables = stored.to_tables()
    table, column = tables.pop(name), {"fine": "sum", "coarse": "c1", "sketch": "w1"}[name]
    at = table.column_names.index(column)
    values = table[column].to_pylist()
    if damage == "short":
        tables[name] = table.slice(1)
    elif damage != "gone":
        other = {"text": [str(one) for one in values], "null": [None, *values[1:]],
                 "flipped": [values[0] ^ 1 << 40, *values[1:]]}[damage]  # fmt: skip
        kind = pa.string() if damage == "text" else table[column].type
        tables[name] = table.set_column(at, column, pa.array(other, kind))
    with pytest.raises(ValueError):  # noqa: PT011 - any ValueError, and nothing else
        TableFingerprint.from_stored(stored.to_json(), tables)


def test_mix_cancels_no_more_often_than_chance() -> None:
    """Four values in a row under two million seeds: 16 bits of mix(a)-mix(b)-mix(c)+mix(d) are 0 as by chance."""
    count = 2_000_000
    seeds = np.random.default_rng(7).integers(0, 2**64, count, np.uint64)
    for step in (1, 1 << 32, 1 << 62, 10_000, 86_400_000_000):
        values = [fingerprint.mix(seeds + np.uint64(n * step % 2**64)) for n in range(4)]
        total = values[0] - values[1] - values[2] + values[3]
        for shift in (0, 24, 48):
            zero = int((total >> np.uint64(shift) & np.uint64(0xFFFF) == 0).sum())
            assert abs(zero - count / 65_536) < 6 * (count / 65_536) ** 0.5


# --- files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_a_parquet_file_has_the_fingerprint_of_its_rows(tmp_path: Path, compression: str) -> None:
    batch = mixed(3000, 1)
    table = pa.table({name: batch[name].values for name in ("id", "text", "code", "gaps", "list")})
    pq.write_table(table, tmp_path / "t.parquet", compression=compression, row_group_size=700)
    columns = parquet.columns(tmp_path / "t.parquet")
    plan = Plan("c", columns, ("id",), 64)
    expected = fingerprint.fingerprint(plan, [{name: Cells(table[name]) for name in table.column_names}])
    kinds = {str(one.schema.field("code").type) for one in parquet.batches(tmp_path / "t.parquet")}

    assert parquet.fingerprint_parquet(tmp_path / "t.parquet", plan).same_as(expected)
    assert any("dictionary" in kind for kind in kinds)


def test_a_parquet_file_without_a_column_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "t.parquet")

    with pytest.raises(ValueError, match="lacks the columns"):
        parquet.fingerprint_parquet(tmp_path / "t.parquet", Plan("c", (Column("b", "int"),)))
