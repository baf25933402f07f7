"""The strong fingerprint stands for exactly the rows, duplicates counted, and its proofs cannot be bent."""

import hashlib
import json
import random
import re
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reversible.fingerprint import Cells, Column
from reversible.fingerprint.strong import RowDigests, StrongFingerprint, ranges_apart, strong
from reversible.fingerprint.strong_bytes import record, records
from reversible.fingerprint.strong_proof import Proof, verify_proof

COLUMNS = (Column("id", "int"), Column("name", "text"), Column("at", "timestamptz"), Column("price", "decimal:2"))
TYPES = (pa.int64(), pa.string(), pa.timestamp("us", "UTC"), pa.decimal128(20, 2))
DOC = Path(__file__).parents[2] / "docs/fingerprint-strong.md"

Row = tuple[int, str | None, int | None, Decimal | None]
rows_strategy = st.lists(
    st.tuples(
        st.integers(-(2**63), 2**63 - 1), st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
        st.none() | st.integers(-(10**15), 10**15),
        st.none() | st.integers(-(10**17), 10**17).map(lambda cents: Decimal(cents).scaleb(-2)),
    ),
    max_size=40,
)  # fmt: skip


def batches(rows: list[Row], cut: int = 10**9, **types: Any) -> Iterator[dict[str, Cells]]:
    for start in range(0, len(rows), cut):
        piece = rows[start : start + cut]
        yield {
            column.name: Cells(pa.array([row[n] for row in piece], types.get(column.name, TYPES[n])))
            for n, column in enumerate(COLUMNS)
        }


def some(count: int) -> list[Row]:
    draw = random.Random(3)
    return [(n, str(n % 7) if n % 5 else None, draw.randrange(10**15), Decimal(n).scaleb(-2)) for n in range(count)]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows_strategy, st.randoms(use_true_random=False), st.integers(1, 7), st.integers(1, 20))
def test_order_batches_and_runs_do_not_matter(
    tmp_path: Path, rows: list[Row], draw: Any, cut: int, run_rows: int
) -> None:
    shuffled = list(rows)
    draw.shuffle(shuffled)
    with RowDigests(COLUMNS[::-1], tmp_path, run_rows=run_rows) as digests:
        for batch in batches(shuffled, cut):
            digests.add(batch)
        found = digests.finish()

    assert found == strong(COLUMNS, batches(rows), folder=tmp_path)
    assert found.rows == len(rows)
    assert not list(tmp_path.iterdir())


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows_strategy)
def test_encodings_do_not_matter(tmp_path: Path, rows: list[Row]) -> None:
    expected = strong(COLUMNS, batches(rows), folder=tmp_path)
    dictionary = pa.dictionary(pa.int32(), pa.string())

    assert strong(COLUMNS, batches(rows, name=dictionary), folder=tmp_path) == expected
    assert (
        strong(COLUMNS, batches(rows, name=pa.string_view(), price=pa.decimal128(38, 4)), folder=tmp_path) == expected
    )
    sliced = ({name: Cells(one.values.slice(0)) for name, one in batch.items()} for batch in batches([*rows]))
    assert strong(COLUMNS, sliced, folder=tmp_path) == expected


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows_strategy.filter(bool), st.data())
def test_any_change_of_one_cell_changes_the_root(tmp_path: Path, rows: list[Row], data: st.DataObject) -> None:
    at, column = data.draw(st.integers(0, len(rows) - 1)), data.draw(st.integers(0, 3))
    other = data.draw(rows_strategy.filter(bool))[0][column]
    if other == rows[at][column]:
        return
    changed = list(rows)
    changed[at] = tuple(other if n == column else cell for n, cell in enumerate(rows[at]))  # type: ignore[assignment]

    before, after = (strong(COLUMNS, batches(one), folder=tmp_path) for one in (rows, changed))
    assert before.root != after.root
    assert before.differing(after)


def test_duplicates_count(tmp_path: Path) -> None:
    rows = some(50)
    roots = {
        strong(COLUMNS, batches(one), folder=tmp_path).root
        for one in (rows, [*rows, rows[0]], [*rows, rows[0], rows[0]], [*rows[1:], rows[7]])
    }

    assert len(roots) == 4


def test_only_the_ranges_of_differing_rows_differ(tmp_path: Path) -> None:
    rows = some(5000)
    changed = [(-1, None, None, None), *rows[1:]]
    before, after = (strong(COLUMNS, batches(one), folder=tmp_path) for one in (rows, changed))
    digests = [hashlib.sha256(b"\0" + record(COLUMNS, next(batches([row])))).digest() for row in (rows[0], changed[0])]

    assert before.differing(after) == tuple(sorted({int.from_bytes(one[:2], "big") for one in digests}))


def test_parts_hashed_apart_add_up(tmp_path: Path) -> None:
    rows = some(3000)
    runs = []
    for n, piece in enumerate((rows[:700], rows[700:701], [], rows[701:])):
        with RowDigests(COLUMNS, tmp_path, run_rows=500) as part:
            for batch in batches(piece, 90):
                part.add(batch)
            runs.append(tmp_path / f"part-{n}")
            part.write(runs[-1])
    with RowDigests(COLUMNS, tmp_path) as whole:
        for run in reversed(runs):
            whole.read(run)

        assert whole.finish() == strong(COLUMNS, batches(rows), folder=tmp_path)
        assert sum(run.stat().st_size for run in runs) == 32 * len(rows)


@pytest.mark.parametrize("damage", ["cut", "unsorted"])
def test_a_broken_run_is_refused(tmp_path: Path, damage: str) -> None:
    run = tmp_path / "run"
    with RowDigests(COLUMNS, tmp_path) as part:
        part.add(next(batches(some(100))))
        part.write(run)
        content = run.read_bytes()
        run.write_bytes(content[:-1] if damage == "cut" else content[32:] + content[:32])

        with pytest.raises(ValueError, match="run"):
            part.read(run)


def test_digests_that_share_64_bits_are_sorted(tmp_path: Path) -> None:
    digests = [bytes(8) + bytes([n]) * 24 for n in (9, 1, 255, 1)]
    with RowDigests(COLUMNS, tmp_path) as part:
        part._take(b"".join(digests), 4)
        part.write(tmp_path / "run")

        assert (tmp_path / "run").read_bytes() == b"".join(sorted(digests))
        assert len(part.finish().ranges) == 1


def test_columns_are_part_of_the_root(tmp_path: Path) -> None:
    values = Cells(pa.array([1, 2]))
    renamed, others = (strong([Column(*one)], [{one[0]: values}], folder=tmp_path)
                       for one in (("a", "int"), ("b", "int")))  # fmt: skip
    days = strong([Column("a", "date")], [{"a": Cells(pa.array([1, 2], pa.date32()))}], folder=tmp_path)

    assert len({renamed.root, others.root, days.root}) == 3
    assert renamed.ranges == others.ranges  # the rows are the same; the names are not


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (Cells(pa.array([None], pa.string())), Cells(pa.array([""]))),
        (Cells(pa.array(["x"])), Cells(pa.array([None], pa.string()), {0: "x"})),
        (Cells(pa.array([None], pa.string())), Cells(pa.array([None], pa.string()), {0: ""})),
        (Cells(pa.array(["\u00e9"])), Cells(pa.array(["e\u0301"]))),
        (Cells(pa.array(["a"])), Cells(pa.array(["a "]))),
    ],
)
def test_texts_that_look_alike_differ(left: Cells, right: Cells) -> None:
    columns = [Column("t", "text")]

    assert record(columns, {"t": left}) != record(columns, {"t": right})


def test_exceptions_stand_in_their_own_rows() -> None:
    columns = [Column("d", "date"), Column("t", "text")]
    batch = {"d": Cells(pa.array([1, None, None], pa.date32()), {2: "infinity"}), "t": Cells(pa.array(["a", "b", "c"]))}
    data, at = records(columns, batch, 3)
    found = [bytes(data[at[n] : at[n + 1]]) for n in range(3)]

    assert found == [
        b"\0\1\0\0\0\10\0\0\0\0\0\0\0\1\1\0\0\0\1a", b"\0\0\0\0\0\0\1\0\0\0\1b", b"\0\2\0\0\0\10infinity\1\0\0\0\1c",
    ]  # fmt: skip


def test_a_value_that_is_not_of_its_family_is_refused(tmp_path: Path) -> None:
    with pytest.raises((ValueError, pa.ArrowInvalid)):
        strong([Column("n", "int")], [{"n": Cells(pa.array([1.5]))}], folder=tmp_path)
    with pytest.raises((ValueError, pa.ArrowInvalid)):
        strong([Column("n", "decimal:2")], [{"n": Cells(pa.array([Decimal("0.001")]))}], folder=tmp_path)


NESTED = (
    pa.list_(pa.int64()), pa.large_list(pa.int64()), pa.list_view(pa.int64()), pa.large_list_view(pa.int64()),
    pa.list_(pa.int32(), 2),
)  # fmt: skip


@pytest.mark.parametrize("form", NESTED, ids=str)
def test_every_form_of_a_list_is_one_and_what_a_null_hides_counts_for_nothing(form: pa.DataType) -> None:
    columns = [Column("l", "list<int>")]
    values = pa.array([[7, 7], [1, None], None, [3, 4]], form).slice(1)
    found = [record(columns, {"l": Cells(values)}, row) for row in range(3)]

    one, nothing, three, four = (b"\1\0\0\0\10" + n.to_bytes(8, "big") if n else bytes(5) for n in (1, 0, 3, 4))
    assert found == [b"\1\0\0\0\x12" + one + nothing, bytes(5), b"\1\0\0\0\x1a" + three + four]


def test_structs_and_maps_sliced_and_nested() -> None:
    kind = pa.map_(pa.string(), pa.struct([("b", pa.list_(pa.string())), ("a", pa.float32())]))
    rows = [[("x", {"b": ["1"], "a": 1.5})], None, [("k", {"b": None, "a": 0.5}), ("l", None)], []]
    columns = [Column("m", 'map<text,struct<"a":float,"b":list<text>>>')]
    whole, cut = pa.array(rows, kind), pa.array(rows, kind).slice(2)

    def cell(content: bytes | None) -> bytes:
        return bytes(5) if content is None else b"\1" + len(content).to_bytes(4, "big") + content

    inside = cell(struct.pack(">d", 0.5)) + cell(None)
    expected = cell(cell(b"k") + cell(inside) + cell(b"l") + cell(None))
    assert record(columns, {"m": Cells(whole)}, 2) == record(columns, {"m": Cells(cut)}, 0) == expected
    assert record(columns, {"m": Cells(cut)}, 1) == cell(b"")
    assert record(columns, {"m": Cells(whole)}, 1) == cell(None)


@pytest.mark.parametrize(
    ("family", "values"),
    [
        ("int", pa.array([1.0])), ("text", pa.array([1])), ("timestamp", pa.array([1], pa.timestamp("us", "UTC"))),
        ("timestamptz", pa.array([1], pa.timestamp("us"))), ("date", pa.array([1], pa.date64())),
        ("list<int>", pa.array([1])), ("list<int>", pa.array([[1.5]])), ("map<text,int>", pa.array([["a"]])),
        ('struct<"a":int>', pa.array([{"b": 1}])), ("timestamp", pa.array([2**62], pa.timestamp("s"))),
    ],
)  # fmt: skip
def test_what_is_of_another_family_is_no_fingerprint(family: str, values: pa.Array) -> None:
    with pytest.raises((ValueError, pa.ArrowException)):
        record([Column("c", family)], {"c": Cells(values)})


def test_rows_without_columns_are_counted(tmp_path: Path) -> None:
    roots = [strong([], [{}, {}], counts, folder=tmp_path).root for counts in ([2, 3], [5, 0], [2, 2])]

    assert roots[0] == roots[1] != roots[2]


# --- stored ----------------------------------------------------------------------------------------------------------


def test_it_survives_storage(tmp_path: Path) -> None:
    before = strong(COLUMNS, batches(some(300)), folder=tmp_path)

    assert StrongFingerprint.from_stored(COLUMNS, before.to_json(), before.to_table()) == before


@pytest.mark.parametrize("damage", ["root", "rows", "format", "range", "count", "hash", "columns", "dropped"])
def test_a_stored_one_that_contradicts_itself_is_refused(tmp_path: Path, damage: str) -> None:
    before = strong(COLUMNS, batches(some(300)), folder=tmp_path)
    document, table, columns = before.to_json(), before.to_table(), COLUMNS
    if damage in document:
        document[damage] = {"root": "0" * 64, "rows": 301, "format": "reversible-strong/0"}[damage]
    elif damage == "columns":
        columns = COLUMNS[1:]
    elif damage == "dropped":
        table = table.slice(1)
    else:
        n = table.schema.get_field_index(damage)
        first = {"range": 65_536, "count": 7, "hash": bytes(32)}[damage]
        table = table.set_column(
            n, table.schema.field(n), pa.array([first, *table[n].to_pylist()[1:]], table.schema.types[n])
        )

    with pytest.raises(ValueError, match="strong fingerprint"):
        StrongFingerprint.from_stored(columns, document, table)


# --- proofs ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def proven(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, int, Proof, Proof]:
    """Root, rows, a proof that a row is there twice, a proof that another is not there; ranges hold several rows."""
    rows = [*some(200_000), some(1)[0]]
    with RowDigests(COLUMNS, tmp_path_factory.mktemp("runs"), run_rows=60_000) as digests:
        for batch in batches(rows, 50_000):
            digests.add(batch)
        there, absent = (
            digests.prove(record(COLUMNS, next(batches([row])))) for row in (rows[0], (-1, None, None, None))
        )
        return digests.finish().root, len(rows), there, absent


def test_a_record_is_proven_there_or_absent(proven: tuple[str, int, Proof, Proof]) -> None:
    root, rows, there, absent = proven

    assert verify_proof(root, rows, there.record, Proof.from_json(json.loads(json.dumps(there.to_json())))) == 2
    assert verify_proof(root, rows, absent.record, absent) == 0


BENT = {
    "another count": lambda one: replace(one, digests=tuple((digest, count + 1) for digest, count in one.digests)),
    "left out": lambda one: replace(one, digests=tuple(e for e in one.digests if e[0] != sha(one.record))),
    "none at all": lambda one: replace(one, digests=()),
    "doubled": lambda one: replace(one, digests=one.digests * 2),
    "another path": lambda one: replace(one, path=(bytes(32), *one.path[1:])),
    "short path": lambda one: replace(one, path=one.path[:-1]),
    "long path": lambda one: replace(one, path=(*one.path, bytes(32))),
    "another family": lambda one: replace(one, columns=(("at", "timestamp"), *one.columns[1:])),
    "a column less": lambda one: replace(one, columns=one.columns[1:]),
    "other rows": lambda one: replace(one, rows=one.rows - 1),
    "another record": lambda one: replace(one, record=one.record[:-1] + b"\x7f"),
    "no entry's count": lambda one: replace(one, digests=tuple((digest, 0) for digest, _ in one.digests)),
}  # fmt: skip


def sha(content: bytes) -> bytes:
    return hashlib.sha256(b"\0" + content).digest()


@pytest.mark.parametrize("bend", BENT)
def test_a_bent_proof_is_refused(proven: tuple[str, int, Proof, Proof], bend: str) -> None:
    root, rows, there, _ = proven
    with pytest.raises(ValueError, match="proof"):
        verify_proof(root, rows, there.record, BENT[bend](there))
    with pytest.raises(AssertionError):
        from_the_page()["check"](BENT[bend](there).to_json(), root)


def test_a_proof_for_one_record_says_nothing_of_another(proven: tuple[str, int, Proof, Proof]) -> None:
    root, rows, there, absent = proven
    with pytest.raises(ValueError, match="another record"):
        verify_proof(root, rows, absent.record, there)
    with pytest.raises(ValueError, match="range"):
        verify_proof(root, rows, absent.record, replace(there, record=absent.record))


def from_the_page() -> dict[str, Any]:
    """What the Python on docs/fingerprint-strong.md defines."""
    (code,) = re.findall(r"```python\n(.*?)```", DOC.read_text(), re.DOTALL)
    space: dict[str, Any] = {"__name__": "page"}
    exec(code, space)  # noqa: S102 - our own page
    return space


def test_the_page_s_own_lines_check_a_proof(proven: tuple[str, int, Proof, Proof], tmp_path: Path) -> None:
    root, _, there, absent = proven
    (code,) = re.findall(r"```python\n(.*?)```", DOC.read_text(), re.DOTALL)
    (tmp_path / "check.py").write_text(code)
    (tmp_path / "proof.json").write_text(json.dumps(there.to_json()))
    said = subprocess.run(
        [sys.executable, "-I", "check.py", "proof.json", root], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout

    assert said.splitlines()[-1] == "2 rows are this record"
    assert from_the_page()["check"](absent.to_json(), root) == 0
    assert sum(bool(line.strip()) for line in code.splitlines()) <= 40


# --- vectors: docs/fingerprint-strong.md prints these ----------------------------------------------------------------

VECTORS: list[tuple[str, pa.Array, str]] = [
    ("int", pa.array([Decimal(-1), Decimal(2**63), None], pa.decimal128(38, 0)), "-1, 9223372036854775808, NULL"),
    ("bool", pa.array([True, False]), "true, false"),
    ("float", pa.array([1.5, -0.0, float("nan")]), "1.5, -0.0, NaN"),
    ("decimal:2", pa.array([Decimal("-0.01"), None], pa.decimal128(38, 2)), "-0.01, NULL"),
    ("date", pa.array([-719162, 20781], pa.int32()).cast(pa.date32()), "0001-01-01, 2026-11-24"),
    ("time", pa.array([1], pa.int64()).cast(pa.time64("us")), "00:00:00.000001"),
    ("timestamp", pa.array([-1], pa.timestamp("ns")), "1969-12-31 23:59:59.999999999"),
    ("timestamptz", pa.array([1_764_000_000_000_000], pa.timestamp("us", "UTC")), "2025-11-24 16:00:00 UTC"),
    ("text", pa.array(["", "Zoé 🙂", None]), '"", "Zoé 🙂" (NFC), NULL'),
    ("binary", pa.array([b"\x00\xff"]), "00 ff"),
    ("duration", pa.array([-1], pa.duration("ns")), "-1 ns"),
    ("interval", pa.array([(1, -2, 3)], pa.month_day_nano_interval()), "1 month, -2 days, 3 ns"),
    ("list<int>", pa.array([[1, None], []], pa.list_(pa.int64())), "[1, NULL], []"),
    ("map<text,int>", pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())), "{a: 1}"),
    ('struct<"a":bool,"b":text>', pa.array([{"b": "x", "a": True}]), "{b: x, a: true}"),
]


def vector_row(family: str, values: pa.Array, shown: str, folder: Path) -> str:
    columns, batch = [Column("c", family)], {"c": Cells(values)}
    data, at = records(columns, batch, len(values))
    found = [bytes(data[at[n] + 1 : at[n + 1]]) for n in range(len(values))]
    root = strong(columns, [batch], folder=folder).root
    texts = "<br>".join(f"`{one.hex()}`" for one in found)
    return f"| `{family}` | {shown} | {texts} | `{sha(found[0]).hex()}` | `{root}` |"


@pytest.mark.parametrize(("family", "values", "shown"), VECTORS, ids=[vector[0] for vector in VECTORS])
def test_the_page_prints_the_vectors(family: str, values: pa.Array, shown: str, tmp_path: Path) -> None:
    assert vector_row(family, values, shown, tmp_path) in DOC.read_text().splitlines()


def test_the_page_prints_the_root_of_nothing(tmp_path: Path) -> None:
    assert f"`{strong([], [], [], folder=tmp_path).root}`" in DOC.read_text()


def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    import tracemalloc

    def peak(rows: int) -> int:
        with RowDigests([Column("n", "int")], tmp_path, run_rows=1 << 14) as digests:
            tracemalloc.start()
            for start in range(0, rows, 4096):
                digests.add({"n": Cells(pa.array(np.arange(start, start + 4096)))})
            for _ in digests._sorted():
                pass
            highest = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        return highest

    assert peak(1 << 18) < 1.5 * peak(1 << 16)


# --- what a verifier asks --------------------------------------------------------------------------------------------


def apart(facts: dict[str, Any], tables: dict[str, pa.Table], rows: list[Row], folder: Path) -> tuple[int, ...]:
    pairs = ((batch, len(batch["id"].values)) for batch in batches(rows, 70))
    return ranges_apart(COLUMNS, facts, tables, pairs, folder=folder)


def test_a_copy_is_compared_with_what_the_witness_says(tmp_path: Path) -> None:
    rows = some(300)
    witness = strong(COLUMNS, batches(rows), folder=tmp_path)
    facts, tables = {"strong": witness.to_json()}, {"strong": witness.to_table()}

    assert apart(facts, tables, rows[::-1], tmp_path) == ()
    assert len(apart(facts, tables, rows[1:], tmp_path)) == 1
    assert len(apart(facts, tables, [*rows[1:], rows[7]], tmp_path)) == 2
    assert apart({}, {}, rows, tmp_path) == ()  # no strong witness: nothing is said, and nothing is passed
    with pytest.raises(ValueError, match="ranges"):
        apart(facts, {}, rows, tmp_path)
    with pytest.raises(ValueError, match="ranges"):
        apart({"strong": {**facts["strong"], "root": "0" * 64}}, tables, rows, tmp_path)
