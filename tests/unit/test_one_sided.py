"""The source is gone, its witness is left: rows, columns and the source's values are named, and nothing is made up."""

import datetime as dt
import math
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from reversible import fingerprint
from reversible.comparison import one_sided, tables
from reversible.comparison.classes import Kind
from reversible.comparison.one_sided import Located
from reversible.fingerprint import Accumulator, Cells, Plan

ROWS = 400
NOON = dt.datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=dt.UTC)


def source() -> pa.Table:
    number = range(ROWS)
    return pa.table(
        {
            "id": pa.array(number, pa.int64()),
            "rang": pa.array([n % 7 for n in number], pa.int16()),
            "prix": pa.array([Decimal(n * 7 + 125) / 1000 for n in number], pa.decimal128(12, 3)),
            "poids": pa.array([n / 7 for n in number]),
            "nom": pa.array(["", "Zoé ", "Lyon", "naïve", None][n % 5] if n < 50 else f"ville {n}" for n in number),
            "passee_le": pa.array([NOON + dt.timedelta(hours=n) for n in number], pa.timestamp("us", "UTC")),
            "jour": pa.array([dt.date(2026, 1, 1) + dt.timedelta(days=n) for n in number]),
            "vrai": pa.array([[True, False, None][n % 3] for n in number]),
        }
    )  # fmt: skip


def locate(
    left: pa.Table, right: pa.Table, folder: Path, *, key: tuple[str, ...] = ("id",), sketch: int = 510
) -> Located:
    """The copy is `right`, in a file; of `left` there is a witness only."""
    pq.write_table(right, folder / "part-00000.parquet")
    table = replace(tables.open_table(str(folder)), name="boutique.ligne")
    columns = table.columns
    plan = Plan("challenge", columns, key, fingerprint.buckets_for(left.num_rows), sketch)
    witness = Accumulator(plan)
    witness.add({one.name: Cells(left[one.name].combine_chunks()) for one in columns}, left.num_rows)
    copy = Accumulator(plan)
    for batch, rows in table.batches():
        copy.add(batch, rows)
    one, other = witness.result(), copy.result()
    return one_sided.locate(one, other, fingerprint.compare(one, other), table)


def changed(table: pa.Table, column: str, at: int, value: Any) -> pa.Table:
    values = table[column].to_pylist()
    values[at] = value
    where = table.column_names.index(column)
    return table.set_column(where, table.field(column), pa.array(values, table.field(column).type))


def places(found: Located) -> list[str]:
    cells = [str(place) for listed in found.cells.values() for place in listed]
    return [*cells, *map(str, found.missing), *map(str, found.extra)]


CELLS: dict[str, tuple[str, int, Any, str]] = {
    "rounding": ("prix", 100, Decimal("0.83"), "0.830 instead of 0.825 (rounding, 2 digits)"),
    "ulp": ("poids", 10, math.nextafter(10 / 7, 2), f"{math.nextafter(10 / 7, 2)!r} instead of {10 / 7!r}"),
    "null for empty": ("nom", 5, None, "NULL instead of \"\" (null for empty)"),
    "empty for null": ("nom", 4, "", "\"\" instead of NULL (empty for null)"),
    "trimming": ("nom", 1, "Zoé", "Zoé instead of \"Zoé \" (trimming, -1 character)"),
    "mojibake": ("nom", 3, "naÃ¯ve", "naÃ¯ve instead of naïve (mojibake)"),
    "normalisation": ("nom", 3, "nai\u0308ve", "nai\u0308ve instead of naïve (unicode normalisation, NFD)"),
    "truncation": ("nom", 399, "ville 39", "ville 39 instead of ville 399 (truncation, -1 character)"),
    "case": ("nom", 2, "LYON", "LYON instead of Lyon (case)"),
    "time zone": ("passee_le", 0, NOON + dt.timedelta(hours=2), "14:00:00.123456+00 instead of 2026-01-01 12:00:00"),
    "sub-second": ("passee_le", 0, NOON.replace(microsecond=0), "instead of 2026-01-01 12:00:00.123456+00 (sub-second"),
    "day": ("jour", 0, dt.date(2025, 12, 31), "2025-12-31 instead of 2026-01-01 (day off by one, -1 d)"),
    "inverted": ("vrai", 0, False, "false instead of true (inverted)"),
    "value for null": ("vrai", 2, False, "false instead of NULL (value for null)"),
    "null": ("vrai", 0, None, "NULL instead of true (null for value)"),
}  # fmt: skip


@pytest.mark.parametrize("sketch", [510, 0], ids=["sketch", "grids"])
@pytest.mark.parametrize("name", CELLS)
def test_a_damaged_cell_is_named_with_the_value_that_the_source_held(name: str, sketch: int, tmp_path: Path) -> None:
    column, at, value, said = CELLS[name]

    found = locate(source(), changed(source(), column, at, value), tmp_path, sketch=sketch)

    assert len(places(found)) == 1
    assert places(found)[0].startswith(f"boutique.ligne.{column} [id={at}]: ")
    assert said in places(found)[0]


@pytest.mark.parametrize("sketch", [510, 0], ids=["sketch", "grids"])
def test_a_value_that_no_damage_explains_is_not_guessed(sketch: int, tmp_path: Path) -> None:
    found = locate(source(), changed(source(), "nom", 60, "tout autre chose"), tmp_path, sketch=sketch)

    assert places(found) == ["boutique.ligne.nom [id=60]: tout autre chose is not what the source holds"]
    assert next(iter(found.cells.values()))[0].explanation is None


def test_a_dropped_row_is_named_by_the_key_that_the_sketch_keeps(tmp_path: Path) -> None:
    copy = source().filter(pc.not_equal(source()["id"], 77))

    found = locate(source(), copy, tmp_path)

    assert places(found) == ["boutique.ligne [id=77]: this row is missing"]
    assert found.rows == (1, 0)
    assert found.complete


def test_a_composite_key_of_all_types_is_read_from_the_sketch(tmp_path: Path) -> None:
    key = ("id", "rang", "prix", "jour", "passee_le", "vrai")
    copy = source().filter(pc.not_equal(source()["id"], 77))

    found = locate(source(), copy, tmp_path, key=key)

    assert places(found) == [
        "boutique.ligne [id=77, rang=0, prix=0.664, jour=2026-03-19, passee_le=2026-01-04 17:00:00.123456+00, "
        "vrai=NULL]: this row is missing"
    ]


def test_a_dropped_row_whose_key_is_text_is_not_given_a_key(tmp_path: Path) -> None:
    copy = source().filter(pc.not_equal(source()["id"], 77))

    assert places(locate(source(), copy, tmp_path, key=("nom",))) == ["boutique.ligne [nom=?]: this row is missing"]


@pytest.mark.parametrize("key", [("id",), ()], ids=["keyed", "keyless"])
def test_a_doubled_row_beside_a_dropped_one_is_recognised(key: tuple[str, ...], tmp_path: Path) -> None:
    table = source()
    copy = pa.concat_tables([table.slice(1), table.slice(9, 1)])

    found = locate(table, copy, tmp_path, key=key)

    assert [place.explanation.kind for place in (*found.missing, *found.extra) if place.explanation] == [
        Kind.MISSING,
        Kind.DUPLICATE,
    ]
    assert str(found.extra[0]).endswith("this row is doubled")
    assert found.rows == (1, 1)
    assert not found.cells


def test_a_changed_row_without_a_key_is_a_changed_cell(tmp_path: Path) -> None:
    found = locate(source(), changed(source(), "prix", 3, Decimal("0.15")), tmp_path, key=())

    assert places(found) == [
        "boutique.ligne.prix [part-00000.parquet row=3]: 0.150 instead of 0.146 (rounding, 2 digits)"
    ]
    assert found.counted == {"prix": 1}


def test_columns_that_changed_places_in_a_row_are_named(tmp_path: Path) -> None:
    table = source().append_column("autre", pc.add(source()["id"], 1_000_000))
    copy = changed(changed(table, "rang", 5, 5), "autre", 5, 5)
    copy = changed(copy, "id", 5, 5)
    swapped = changed(changed(table, "autre", 5, 5), "id", 5, 1_000_005)

    found = locate(table, swapped, tmp_path, key=("rang",))

    assert {place.explanation.kind for one in found.cells.values() for place in one if place.explanation} == {
        Kind.SWAPPED
    }


UNIFORM: dict[str, tuple[str, Callable[[pa.Array], pa.Array], str]] = {
    "time zone": (
        "passee_le",
        lambda values: pc.add(values, pa.scalar(dt.timedelta(hours=1))).cast(pa.timestamp("us", "UTC")),
        "400 cells, all: time zone +1 h",
    ),
    "half an hour": (
        "passee_le",
        lambda values: pc.subtract(values, pa.scalar(dt.timedelta(hours=5, minutes=30))).cast(
            pa.timestamp("us", "UTC")
        ),
        "400 cells, all: time zone -5:30 h",
    ),
    "day": (
        "jour",
        lambda values: pc.add(values.cast(pa.int32()), pa.scalar(1, pa.int32())).cast(pa.date32()),
        "400 cells, all: day off by one (+1 d)",
    ),
    "inverted": ("vrai", pc.invert, "267 cells, all: inverted"),
    "mojibake": (
        "nom",
        lambda values: pa.array([v and v.encode().decode("latin-1") for v in values.to_pylist()]),
        "20 cells, all: mojibake",
    ),
}


@pytest.mark.parametrize("name", UNIFORM)
def test_one_damage_in_every_row_is_said_once_for_the_column(name: str, tmp_path: Path) -> None:
    column, damage, said = UNIFORM[name]
    table = source()
    where = table.column_names.index(column)
    copy = table.set_column(where, column, damage(table[column].combine_chunks()))

    found = locate(table, copy, tmp_path, sketch=12)

    assert [str(place) for place in found.cells[column]] == [f"boutique.ligne.{column}: {said}"]
    assert not found.complete


def test_more_damage_than_the_sketch_holds_is_not_claimed_to_be_complete(tmp_path: Path) -> None:
    table = source()
    copy = table.set_column(4, "nom", pa.array([f"{n * 7919 % 1009} autre" for n in range(ROWS)]))

    found = locate(table, copy, tmp_path, sketch=12)

    assert not found.complete
    assert not found.counted
    known = [place for listed in found.cells.values() for place in listed if place.explanation]
    truth = table["nom"].to_pylist()
    assert len(known) < ROWS / 4
    for place in known:  # only what was NULL or empty can be guessed here, and it was
        row = int(place.row.removeprefix("id="))
        assert (truth[row], str(place.explanation and place.explanation.kind)) in [
            (None, "value for null"),
            ("", "other"),
        ]


def test_equal_tables_have_no_place(tmp_path: Path) -> None:
    found = locate(source(), source(), tmp_path)

    assert places(found) == []
    assert found.complete


def test_a_missing_and_an_extra_row_of_one_bucket_are_rows_and_not_cells(tmp_path: Path) -> None:
    """Counts by bucket cannot see it: what the sketch says must reach the figures."""
    table = source()
    copy = changed(table, "id", 5, 123_456)

    found = locate(table, copy, tmp_path)

    assert found.rows == (1, 1)
    assert not found.cells


def test_a_guess_with_more_digits_than_the_column_holds_is_hashed_all_the_same() -> None:
    """12345678901234567890123456789 with ten digits after the point has 39 digits: decimal128 ends at 38."""
    guesses = [Decimal("12345678901234567890123456789"), Decimal("0.5")]
    hashed = fingerprint.cell_hashes("c", fingerprint.Column("x", "decimal:10"), tables.cells_of(guesses, "decimal:10"))
    narrow = fingerprint.Cells(pa.array([Decimal("0.5")], pa.decimal128(38, 10)))

    assert hashed.shape == (2, 2)
    assert (hashed[:, 1] == fingerprint.cell_hashes("c", fingerprint.Column("x", "decimal:10"), narrow)[:, 0]).all()
