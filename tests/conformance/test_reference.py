"""The slow implementation, written from the pages alone, agrees with the fast one, on the zoo and on drawn tables."""

import json
from decimal import Context, Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conformance import reference, zoo
from conformance.paths import batches, columns
from conformance.values import family, values
from reversible import fingerprint
from reversible.fingerprint import Cells, Column
from reversible.fingerprint.strong import strong

PUBLISHED = json.loads((Path(__file__).parent / "zoo.json").read_text())["pairs"]
TABLES = {one.name: one for one in zoo.PAIRS}


def plain(document: dict[str, Any]) -> tuple[list[reference.Column], list[reference.Row]]:
    """Columns and rows of a table in the zoo's JSON: nothing of pyarrow is left."""
    listed = [(one["name"], family(one["type"])) for one in document["columns"]]
    found = [values(one["type"], cells) for one, cells in zip(document["columns"], document["values"], strict=True)]
    names = [name for name, _ in listed]
    return listed, [dict(zip(names, row, strict=True)) for row in zip(*found, strict=True)]


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("pair", PUBLISHED, ids=lambda pair: pair["name"])
def test_the_families_are_read_alike(pair: dict[str, Any], side: str) -> None:
    listed, _ = plain(pair[side])

    assert listed == [(one.name, one.family) for one in columns(getattr(TABLES[pair["name"]], side))]


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("pair", PUBLISHED, ids=lambda pair: pair["name"])
def test_the_strong_roots_agree(pair: dict[str, Any], side: str, tmp_path: Path) -> None:
    table = getattr(TABLES[pair["name"]], side)

    assert reference.strong_root(*plain(pair[side])) == strong(columns(table), batches(table), folder=tmp_path).root


def flat(kind: pa.DataType, drawn: st.SearchStrategy[Any]) -> tuple[pa.DataType, st.SearchStrategy[Any]]:
    return kind, st.none() | drawn


INTEGERS = st.integers(-(2**63), 2**63 - 1)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)


def digits(precision: int, scale: int) -> st.SearchStrategy[Decimal]:
    exact, most = Context(prec=99), 10**precision - 1
    return st.integers(-most, most).map(lambda whole: Decimal(whole).scaleb(-scale, exact))


FLAT = [
    flat(pa.int64(), INTEGERS), flat(pa.uint64(), st.integers(0, 2**64 - 1)), flat(pa.int8(), st.integers(-128, 127)),
    flat(pa.bool_(), st.booleans()), flat(pa.float64(), st.floats()), flat(pa.float32(), st.floats(width=32)),
    flat(pa.decimal128(38, 0), st.decimals(allow_nan=False, allow_infinity=False, places=0, min_value=-(10**37),
                                           max_value=10**37)),
    flat(pa.decimal128(38, 7), digits(38, 7)), flat(pa.decimal256(76, 3), digits(76, 3)),
    flat(pa.date32(), st.integers(-(2**31), 2**31 - 1)), flat(pa.time64("ns"), st.integers(0, 86_400 * 10**9 - 1)),
    flat(pa.timestamp("ns"), INTEGERS), flat(pa.timestamp("us", "UTC"), INTEGERS),
    flat(pa.timestamp("s"), st.integers(-(10**12), 10**12)), flat(pa.duration("ns"), INTEGERS),
    flat(pa.month_day_nano_interval(), st.tuples(*[st.integers(-(2**31), 2**31 - 1)] * 2, INTEGERS)),
    flat(pa.string(), TEXTS), flat(pa.large_string(), TEXTS), flat(pa.binary(), st.binary(max_size=300)),
]  # fmt: skip


@st.composite
def kinds(draw: Any, depth: int = 2) -> tuple[pa.DataType, st.SearchStrategy[Any]]:
    """A type and a strategy for its values; nested ones to some depth."""
    which = draw(st.sampled_from(["flat", "flat", "list", "map", "struct"] if depth else ["flat"]))
    if which == "flat":
        return draw(st.sampled_from(FLAT))
    kind, drawn = draw(kinds(depth - 1))
    if which == "list":
        return flat(draw(st.sampled_from([pa.list_, pa.large_list]))(kind), st.lists(drawn, max_size=4))
    if which == "map":
        return flat(pa.map_(pa.string(), kind), st.lists(st.tuples(st.text("ab", max_size=2), drawn), max_size=3))
    other, more = draw(kinds(depth - 1))
    return flat(pa.struct([("y", kind), ("a", other)]), st.fixed_dictionaries({"y": drawn, "a": more}))


@st.composite
def drawn_tables(draw: Any) -> pa.Table:
    names = draw(st.lists(st.text('abÀ "<,', min_size=1, max_size=3), unique=True, min_size=1, max_size=4))
    rows = draw(st.integers(0, 6))
    listed = {}
    for name in names:
        kind, drawn = draw(kinds())
        listed[name] = pa.array(draw(st.lists(drawn, min_size=rows, max_size=rows)), kind)
    return pa.table(listed)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(drawn_tables())
def test_strong_roots_of_drawn_tables_agree(tmp_path: Path, table: pa.Table) -> None:
    listed, rows = plain(zoo._table(table))
    data = strong(columns(table), batches(table), folder=tmp_path)

    assert data.rows == len(rows)
    assert reference.strong_root(listed, rows) == data.root


# --- the additive fingerprint ----------------------------------------------------------------------------------------


def agree(table: pa.Table, document: dict[str, Any], key: str, buckets: int) -> None:
    """Totals, column sums, both grids and the sketch, word for word."""
    keys = [key] if key else []
    plan = fingerprint.Plan("c\u00e9", columns(table), tuple(keys), buckets)
    fast = fingerprint.fingerprint(plan, batches(table))
    listed, rows = plain(document)
    slow = reference.Additive(plan.challenge, listed, rows, key=keys, buckets=buckets, sketch=plan.sketch)
    tables = fast.to_tables()
    fine, coarse, sketch = tables["fine"], tables["coarse"], tables["sketch"]

    assert fast.to_json()["total"] == "".join(f"{lane:016x}" for lane in slow.totals)
    sums = {name: "".join(f"{lane:016x}" for lane in lanes) for name, lanes in slow.column_sums.items()}
    assert fast.to_json()["column_sums"] == sums
    found = zip(fine["count"].to_pylist(), fine["sum"].to_pylist(), strict=True)
    assert {n: one for n, one in enumerate(found) if one[0]} == slow.fine
    for n, (name, _) in enumerate(listed):
        for bucket, total in zip(coarse["bucket"].to_pylist(), coarse[f"c{n}"].to_pylist(), strict=True):
            assert total == slow.coarse.get((bucket, name), 0)
    words = [sketch[f"w{n}"].to_pylist() for n in range(sketch.num_columns)]
    assert [list(cell) for cell in zip(*words, strict=True)] == slow.sketch


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("pair", PUBLISHED, ids=lambda pair: pair["name"])
def test_the_sums_grids_and_sketches_agree(pair: dict[str, Any], side: str) -> None:
    table = getattr(TABLES[pair["name"]], side)
    key = pair["key"] if pair["key"] in table.schema.names else ""

    agree(table, pair[side], key, fingerprint.buckets_for(table.num_rows))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(drawn_tables(), st.booleans(), st.sampled_from([1, 16, 8192]))
def test_sums_of_drawn_tables_agree(table: pa.Table, keyed: bool, buckets: int) -> None:
    agree(table, zoo._table(table), table.schema.names[0] if keyed else "", buckets)


@pytest.mark.parametrize("key", [[], ["d"]])
def test_exceptions_agree(key: list[str], tmp_path: Path) -> None:
    odd = {1: "infinity", 3: "-infinity"}
    days = [1, None, None, None, 0]
    batch = {"d": Cells(pa.array(days, pa.date32()), odd), "t": Cells(pa.array(["infinity", "", None, "x", "y"]))}
    listed = [("d", "date"), ("t", "text")]
    rows = [
        {"d": reference.Odd(odd[n]) if n in odd else day, "t": text}
        for n, (day, text) in enumerate(zip(days, batch["t"].values.to_pylist(), strict=True))
    ]
    plan = fingerprint.Plan("c", tuple(Column(*one) for one in listed), tuple(key), 64)
    fast = fingerprint.fingerprint(plan, [batch])
    slow = reference.Additive("c", listed, rows, key=key, buckets=64, sketch=plan.sketch)

    assert fast.to_json()["total"] == "".join(f"{lane:016x}" for lane in slow.totals)
    assert strong(plan.columns, [batch], folder=tmp_path).root == reference.strong_root(listed, rows)


def test_the_published_table_has_the_published_total() -> None:
    """docs/fingerprint.md, section 7."""
    listed = [("id", "int"), ("name", "text"), ("price", "decimal:2")]
    rows = [{"id": 1, "name": "a", "price": Decimal("1.50")}, *[{"id": 2, "name": None, "price": Decimal("-0.01")}] * 2]
    challenge = "reversible-fingerprint/1 test vectors"
    found = reference.Additive(challenge, listed, rows, key=[], buckets=1, sketch=0)
    page = (Path(__file__).parents[2] / "docs/fingerprint.md").read_text()

    assert f"`{''.join(f'{lane:016x}' for lane in found.totals)}`" in page
