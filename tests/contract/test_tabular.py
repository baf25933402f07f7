"""Does a file in a bucket become Parquet with nothing bent, and is everything that does not fit named?"""

# ruff: noqa: DTZ001 - timestamps without a zone are what is tested
import io
import json
import math
import random
import zipfile
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import fastavro
import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openpyxl.utils import datetime as excel_dates
from pyarrow import orc

from reversible import registry
from reversible.bundle.reader import Bundle
from reversible.cli.main import _status
from reversible.errors import SourceError, UsageError
from reversible_exporters import tabular, tabular_schema, tabular_text
from reversible_exporters.tabular_schema import ColumnType, Declared
from reversible_exporters.tabular_values import Held, Nanoseconds, Number, Written, hold

GOOD = {"format.open_pct": 100.0, "format.two_readers_ok_pct": 100.0}


def converted(tmp_path: Path, content: bytes | Path, name: str, schema: str) -> tuple[int, Bundle, dict[str, Any]]:
    """Run the command as a user does; the status, the bundle and its conversion.json."""
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    (tmp_path / "schema.toml").write_text(schema, encoding="utf-8")
    into = tmp_path / "out"
    status = _status(["convert", str(path), "--schema", str(tmp_path / "schema.toml"), "--into", str(into)])
    bundle = Bundle.open(into)
    return status, bundle, bundle.document(bundle.assets[0], "conversion.json")


def refused(tmp_path: Path, content: bytes, name: str, schema: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What the command says when it refuses; it leaves no bundle."""
    (tmp_path / name).write_bytes(content)
    (tmp_path / "schema.toml").write_text(schema, encoding="utf-8")
    into = tmp_path / "out"
    status = _status(["convert", str(tmp_path / name), "--schema", str(tmp_path / "schema.toml"), "--into", str(into)])
    said = capsys.readouterr().err
    assert status in (2, 4), said
    assert said.startswith("error: ")
    assert "Traceback" not in said
    assert not into.exists()
    return said


def complaints(bundle: Bundle) -> list[str]:
    (asset,) = bundle.assets
    return [
        f"{one.metric}: {one.places}"
        for verifier in registry.verifiers().values()
        if asset.kind in verifier.kinds
        for one in verifier.verify(asset, bundle)
        if one.value != GOOD.get(one.metric, 0)
    ]


def table(bundle: Bundle) -> list[dict[str, Any]]:
    rows = pq.read_table(bundle.parts(bundle.assets[0], "part-?????.parquet")).to_pylist()
    assert isinstance(rows, list)
    return rows


def aside(document: dict[str, Any]) -> dict[tuple[int, str], tuple[str, str]]:
    return {(one["row"], one["column"]): (one["text"], one["why"]) for one in document["first_set_aside"]}


def sidecar(bundle: Bundle) -> list[dict[str, Any]]:
    path = bundle.folder(bundle.assets[0]) / "part-00000.exceptions.parquet"
    return pq.read_table(path).to_pylist() if path.exists() else []  # type: ignore[no-any-return]


# --- one value ---------------------------------------------------------------------------------------------------

CASES: list[tuple[str, Any, Any]] = [
    ("int64", Written("5"), 5), ("int64", Written("-0"), None), ("int64", Written("007"), None),
    ("int64", Written("5.0"), None), ("int64", Written(" 5"), None), ("int64", Written("+5"), None),
    ("int64", Written("9223372036854775807"), 2**63 - 1), ("int64", Written("9223372036854775808"), None),
    ("int64", Written("9" * 5000), None), ("int64", Number("1e3"), None), ("int64", "5", None), ("int64", True, None),
    ("int64", 5.0, 5), ("int64", 5.5, None), ("int64", -0.0, None), ("int64", math.nan, None),
    ("int16", 40000, None), ("int64", Written("٣"), None),
    ("float64", Written("0.1"), 0.1), ("float64", Written("1e400"), None), ("float64", Written("1e-400"), None),
    ("float64", Number("0.1000000000000000055"), None), ("float64", Written("9007199254740993"), None),
    ("float64", 2**53, 2.0**53), ("float64", 2**53 + 1, None), ("float64", Written("NaN"), None),
    ("float64", Decimal("0.1"), 0.1), ("float64", Written("01.5"), None), ("float64", Written("0.0"), 0.0),
    ("float64", 10**400, None), ("float64", Number("-0.0"), -0.0),
    ("decimal(5,2)", Written("1.5"), Decimal("1.50")), ("decimal(5,2)", Written("999.99"), Decimal("999.99")),
    ("decimal(5,2)", Written("1000"), None), ("decimal(5,2)", Written("1.505"), None),
    ("decimal(5,2)", Written("1e1"), Decimal("10.00")), ("decimal(5,2)", Written("1e999999999"), None),
    ("decimal(38,0)", Written("9" * 38), Decimal("9" * 38)),
    ("decimal(38,38)", Written("0." + "9" * 38), Decimal("0." + "9" * 38)),
    ("decimal(5,2)", 0.1, None),
    ("decimal(5,2)", Written("0.00"), Decimal("0.00")),
    ("decimal(5,2)", Written("-0"), None),
    ("decimal(5,2)", Written("0e999999999"), Decimal("0.00")),
    ("bool", Written("true"), True), ("bool", Written("True"), None), ("bool", 1, None), ("bool", False, False),
    ("date", Written("2024-02-29"), date(2024, 2, 29)), ("date", Written("2023-02-29"), None),
    ("date", Written("20240229"), None), ("date", Written("29/02/2024"), None), ("date", datetime(2024, 1, 1, 1), None),
    ("date", datetime(2024, 1, 1), date(2024, 1, 1)), ("date", Number("20240101"), None),
    ("time", Written("23:59:59.5"), time(23, 59, 59, 500000)), ("time", Written("24:00:00"), None),
    ("time", Nanoseconds(1), None),
    ("timestamp", Written("2024-01-01T00:00:00"), datetime(2024, 1, 1)),
    ("timestamp", Written("2024-01-01 00:00"), datetime(2024, 1, 1)),
    ("timestamp", Written("2024-01-01T00:00:00Z"), None), ("timestamp", Written("2024-01-01T00:00:00.1234567"), None),
    ("timestamp", Written("2024-01-01T00:00:00.1234560"), datetime(2024, 1, 1, 0, 0, 0, 123456)),
    ("timestamptz", Written("2024-01-01T02:00:00+02:00"), datetime(2024, 1, 1, tzinfo=UTC)),
    ("timestamptz", Written("2024-01-01T02:00:00"), None), ("timestamptz", Written("0001-01-01T00:00:00+02:00"), None),
    ("text", Written("a "), "a "),
    ("text", "", ""),
    ("text", Number("5"), None),
    ("text", "\ud800", None),
    ("text", 5, None),
    ("binary", b"\x00", b"\x00"), ("binary", "x", None),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "expected"), CASES)
def test_a_value_is_held_exactly_or_not_at_all(name: str, value: Any, expected: Any) -> None:
    held = hold(value, ColumnType(type=name))

    assert (held.value, bool(held.why)) == (expected, expected is None)
    assert repr(held.value) == repr(expected)


def test_a_declared_form_is_taken_only_where_it_writes_the_same_text_again() -> None:
    day = ColumnType(type="date", format="%d/%m/%Y")

    assert hold(Written("03/04/2024"), day) == Held(date(2024, 4, 3))
    assert hold(Written("3/4/2024"), day).why
    assert hold(Written("13/13/2024"), day).why
    assert hold(Written("O"), ColumnType(type="bool", true="O", false="N")) == Held(True)
    stamp = ColumnType(type="timestamptz", format="%d/%m/%Y %H:%M %z")
    assert hold(Written("01/01/2024 02:00 +0200"), stamp).value == datetime(2024, 1, 1, tzinfo=UTC)
    assert hold(Written("01/01/2024 02:00 +0200"), ColumnType(type="timestamp", format=stamp.format)).why


@given(
    st.text(st.sampled_from("0123456789.eE+- \u0663"), max_size=14),
    st.sampled_from(["int64", "float64", "decimal(12,4)"]),
)
def test_a_held_number_is_the_number_that_was_written(text: str, name: str) -> None:
    held = hold(Written(text), ColumnType(type=name))

    if not held.why:
        exact = Decimal(repr(held.value)) if name == "float64" else Decimal(held.value)
        assert exact == Decimal(text)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_that_python_writes_is_held(value: float) -> None:
    held = hold(Number(repr(value)), ColumnType(type="float64"))

    assert repr(held.value) == repr(value)


# --- CSV ---------------------------------------------------------------------------------------------------------

CSV = '''id,amount,paid_on,name,open
1,1.50,03/04/2024,Zoé,O
007,1e400,2024-04-03, trailing ,N
3,,01/01/2024,"",O
4,2.5,01/01/2024,,X
5,"1,5",01/01/2024,"two
lines ""quoted""",N
6,1.5,01/01/2024
7,1.5,01/01/2024,a,O,extra,"and, more"
'''
CSV_SCHEMA = """[columns]
id = "int64"
amount = "decimal(12,2)"
paid_on = { type = "date", format = "%d/%m/%Y" }
name = "text"
open = { type = "bool", true = "O", false = "N" }
"""


def test_every_cell_of_a_csv_that_does_not_fit_is_named_and_kept(tmp_path: Path) -> None:
    status, bundle, document = converted(tmp_path, CSV.encode(), "orders.csv", CSV_SCHEMA)

    assert status == 1
    assert aside(document) == {
        (2, "id"): ("007", "leading zeros"),
        (2, "amount"): ("1e400", "beyond decimal(12,2)"),
        (2, "paid_on"): ("2024-04-03", "not written as %d/%m/%Y"),
        (4, "open"): ("X", "neither of the two words"),
        (5, "amount"): ("1,5", "not a number"),
        (6, "name"): ("", "the row has fewer fields"),
        (6, "open"): ("", "the row has fewer fields"),
        (7, "open"): ('["O", "extra", "and, more"]', "the row has more fields"),
    }
    assert {(one["row"] + 1, one["column"]): one["text"] for one in sidecar(bundle)} == {
        place: text for place, (text, _) in aside(document).items()
    }
    rows = table(bundle)
    assert [row["name"] for row in rows] == ["Zoé", " trailing ", "", None, 'two\nlines "quoted"', None, "a"]
    assert document["columns"]["name"]["missing"] == 1
    assert document["columns"]["amount"]["respelled"] == 3
    assert document["disagreements"] == 0
    assert complaints(bundle) == []


def test_a_clean_csv_is_exact_and_the_bundle_verifies(tmp_path: Path) -> None:
    content = b"id;when;x\r\n1;2024-01-01T00:00:00Z;0.1\r\n2;;1e22"
    schema = 'delimiter = ";"\n[columns]\nid = "int32"\nwhen = "timestamptz"\nx = "float64"\n'
    status, bundle, document = converted(tmp_path, content, "a.csv", schema)

    assert (status, document["exact"], document["rows"]) == (0, True, 2)
    assert table(bundle)[0] == {"id": 1, "when": datetime(2024, 1, 1, tzinfo=UTC), "x": 0.1}
    bundle.check()
    assert complaints(bundle) == []


def test_the_verifiers_notice_a_changed_cell_and_a_changed_exception(tmp_path: Path) -> None:
    _, bundle, _ = converted(tmp_path, CSV.encode(), "orders.csv", CSV_SCHEMA)
    folder = bundle.folder(bundle.assets[0])
    path = folder / "part-00000.exceptions.parquet"
    odd = pq.read_table(path)
    pq.write_table(odd.set_column(2, "text", pa.array(["7", *odd["text"].to_pylist()[1:]])), path)

    assert any("data.cells_different" in said or "data.rows" in said for said in complaints(bundle))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"), (b"\xff\xfe", "is not utf-8"), (b"id\n\xe9", "byte 3 is not utf-8"), (b'id\n"1', "quote"),
        (b'id\n1"2"', "quote"), (b'id\n"1"2', "quote"), (b"id,id\n1,2", "two columns"), (b"other\n1", "not declared"),
        (b"\n1\n", "not declared"), (b"id,more\n1,2", "'more' is not declared"),
    ],
)  # fmt: skip
def test_what_is_no_such_csv_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, why: str
) -> None:
    assert why in refused(tmp_path, content, "x.csv", '[columns]\nid = "text"\n', capsys)


def test_encodings_and_a_byte_order_mark_are_said(tmp_path: Path) -> None:
    content = "nom\nZo\x92é".encode("latin-1")
    _, bundle, document = converted(tmp_path, content, "l.csv", 'encoding = "latin-1"\n[columns]\nnom = "text"\n')

    assert table(bundle) == [{"nom": "Zo\x92é"}]
    assert any("windows-1252" in note for note in document["notes"])
    other = tmp_path / "bom"
    other.mkdir()
    _, bundle, document = converted(other, b"\xef\xbb\xbfnom\nx", "b.csv", '[columns]\nnom = "text"\n')
    assert table(bundle) == [{"nom": "x"}]
    assert any("byte-order mark" in note for note in document["notes"])


def test_a_column_left_out_is_not_exact(tmp_path: Path) -> None:
    status, bundle, document = converted(
        tmp_path, b"a,b\n1,2\n", "x.csv", 'leave_out = ["b"]\n[columns]\na = "int64"\n'
    )

    assert (status, document["left_out"], document["exact"]) == (1, ["b"], False)
    assert table(bundle) == [{"a": 1}]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.lists(st.text(st.sampled_from('ab",\n\r é\0'), max_size=5) | st.none(), min_size=2, max_size=2), max_size=6
    )
)
def test_any_table_written_as_rfc_4180_is_read_back_by_both_readers(
    tmp_path: Path, rows: list[list[str | None]]
) -> None:
    lines = [",".join("" if one is None else '"' + one.replace('"', '""') + '"' for one in row) for row in rows]
    (tmp_path / "x.csv").write_bytes("\r\n".join(["x,y", *lines, ""]).encode())
    declared = Declared.model_validate({"columns": {"x": "text", "y": "text"}})
    for reader in (tabular_text.csv_by_us, tabular_text.csv_by_arrow):
        names, found = reader(tmp_path / "x.csv", declared)

        assert names == ["x", "y"]
        assert list(found) == rows


# --- JSON --------------------------------------------------------------------------------------------------------

JSON = (
    r'{"id": 1, "x": 1.5, "t": "a", "d": "2024-01-01"}' "\n"
    r'{"id": 12345678901234567890, "x": 1e400, "t": 5, "d": null}' "\n"
    r'{"id": 1, "id": 2, "x": 0.10, "t": {"k": [1.0, "é"]}}' "\n"
    r'{"id": 3, "x": "1.5", "t": "\ud83d\ude00 \ud800", "d": "01/02/2024"}' "\n"
)  # fmt: skip
JSON_SCHEMA = '[columns]\nid = "int64"\nx = "float64"\nt = "text"\nd = "date"\n'


@pytest.mark.parametrize("array", [False, True])
def test_every_json_value_that_does_not_fit_is_named_and_kept(tmp_path: Path, array: bool) -> None:
    content = "[" + ",".join(JSON.splitlines()) + "]" if array else JSON
    name = "x.json" if array else "x.ndjson"
    status, bundle, document = converted(tmp_path, content.encode(), name, JSON_SCHEMA)

    assert status == 1
    assert aside(document) == {
        (2, "id"): ("12345678901234567890", "beyond int64"),
        (2, "x"): ("1e400", "beyond float64"),
        (2, "t"): ("5", "another type than declared"),
        (3, "id"): ("[1, 2]", "the key stands there several times"),
        (3, "t"): ('{"k": [1.0, "é"]}', "a nested value"),
        (4, "x"): ("1.5", "another type than declared"),
        (4, "t"): ("😀 \\ud800", "half of a surrogate pair"),
        (4, "d"): ("01/02/2024", "not a date YYYY-MM-DD"),
    }
    assert document["columns"]["d"]["missing"] == 2
    assert document["disagreements"] == 0
    assert complaints(bundle) == []


@pytest.mark.parametrize(
    "content",
    [
        b"", b"[]", b"{}", b"[1]", b'{"id": 1}',
        b'[{"id": NaN, "x": 1, "t": 1, "d": 1}]', b'[{"id": 1,}]', b"[" * 100_000,
        b'[{"id": 01, "x": 1, "t": 1, "d": 1}]', b'\xff[{"id": 1}]', b'[{"id": "\x01", "x": 1, "t": 1, "d": 1}]',
    ],
)  # fmt: skip
def test_what_is_no_array_of_objects_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    refused(tmp_path, content, "x.json", JSON_SCHEMA, capsys)


JSON_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3), max_leaves=8,
)  # fmt: skip


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.dictionaries(st.text(max_size=3), JSON_VALUE, max_size=4), max_size=4), st.booleans())
def test_our_json_reader_says_what_pythons_says(tmp_path: Path, items: list[dict[str, Any]], escaped: bool) -> None:
    (tmp_path / "x.json").write_text(json.dumps(items, ensure_ascii=escaped), encoding="utf-8", errors="surrogatepass")
    declared = Declared.model_validate({"columns": {"x": "text"}})
    try:
        expected = tabular_text.json_by_python(tmp_path / "x.json", declared, lines=False)
    except SourceError:
        return  # half of a surrogate pair, not escaped: no UTF-8
    found = tabular_text.json_by_us(tmp_path / "x.json", declared, lines=False)

    assert found[0] == expected[0]
    assert repr(list(found[1])) == repr(list(expected[1]))


# --- binary formats ----------------------------------------------------------------------------------------------


def test_parquet_values_that_the_declared_type_cannot_hold_are_kept(tmp_path: Path) -> None:
    nanos = pa.array([0, 1_001, None], pa.timestamp("ns"))
    source = pa.table(
        {
            "n": pa.array([1, 2**63, None], pa.uint64()), "f": pa.array([1.5, math.nan, 1e22]), "t": nanos,
            "l": pa.array([[1], None, [2, None]]), "d": pa.array([Decimal("1.50"), Decimal("-0.25"), None]),
        }
    )  # fmt: skip
    pq.write_table(source, tmp_path / "p.parquet")
    schema = '[columns]\nn = "int64"\nf = "float64"\nt = "timestamp"\nl = "text"\nd = "decimal(9,1)"\n'
    status, bundle, document = converted(tmp_path, tmp_path / "p.parquet", "p.parquet", schema)

    assert status == 1
    assert set(aside(document)) == {(2, "n"), (2, "t"), (1, "l"), (3, "l"), (2, "d")}
    assert aside(document)[2, "t"] == ("1001 ns", "finer than a microsecond")
    assert [row["t"] for row in table(bundle)] == [datetime(1970, 1, 1), None, None]
    assert document["disagreements"] == 0
    assert complaints(bundle) == []


def test_avro_unions_and_logical_types(tmp_path: Path) -> None:
    fields: list[Any] = [
        {"name": "u", "type": ["null", "long", "string"]},
        {"name": "d", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 3}},
        {"name": "day", "type": {"type": "int", "logicalType": "date"}},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "b", "type": "bytes"}, {"name": "m", "type": {"type": "map", "values": "int"}},
    ]  # fmt: skip
    records = [
        {"u": 5, "d": Decimal("1.500"), "day": date(2024, 1, 1),
         "at": datetime(2024, 1, 1, tzinfo=UTC), "b": b"\0", "m": {}},
        {"u": "x", "d": Decimal("1.505"), "day": date(1, 1, 1),
         "at": datetime(1969, 1, 1, tzinfo=UTC), "b": b"", "m": {"k": 1}},
        {"u": None, "d": Decimal(0), "day": date(9999, 12, 31),
         "at": datetime(2024, 1, 1, 0, 0, 0, 1, UTC), "b": b"z", "m": {}},
    ]  # fmt: skip
    with (tmp_path / "a.avro").open("wb") as stream:
        fastavro.writer(stream, {"type": "record", "name": "r", "fields": fields}, records)
    schema = '[columns]\nu = "int64"\nd = "decimal(9,2)"\nday = "date"\nat = "timestamptz"\nb = "binary"\nm = "text"\n'
    status, bundle, document = converted(tmp_path, tmp_path / "a.avro", "a.avro", schema)

    assert status == 1
    assert set(aside(document)) == {(2, "u"), (2, "d"), (1, "m"), (2, "m"), (3, "m")}
    assert document["disagreements"] == 0, document["first_disagreements"]
    assert [row["at"] for row in table(bundle)] == [one["at"] for one in records]
    assert complaints(bundle) == []


def test_orc_has_one_reader_and_says_so(tmp_path: Path) -> None:
    orc.write_table(pa.table({"a": pa.array([1, None]), "c": pa.array(["x ", "y"])}), tmp_path / "o.orc")
    status, bundle, document = converted(tmp_path, tmp_path / "o.orc", "o.orc", '[columns]\na = "int64"\nc = "text"\n')

    assert (status, document["exact"], document["set_aside"]) == (3, False, 0)
    assert "only reader" in document["notes"][0]
    assert [row["c"] for row in table(bundle)] == ["x ", "y"]
    assert complaints(bundle) == []


@pytest.mark.parametrize("epoch", [excel_dates.WINDOWS_EPOCH, excel_dates.MAC_EPOCH])
def test_excel_dates_text_errors_and_formulas(tmp_path: Path, epoch: datetime) -> None:
    book = openpyxl.Workbook()
    book.epoch = epoch
    sheet = book.active
    assert sheet is not None
    rows: list[list[Any]] = [
        ["id", "day", "at", "name", "x"],
        [1, date(2024, 2, 29), datetime(2024, 1, 1, 12, 30), "a ", 0.1],
        ["2", date(1904, 1, 2), None, 5, "=A2+1"],
        [3, "29/02/2024", datetime(2024, 1, 1, 0, 0, 1), None, "#N/A"],
    ]  # fmt: skip
    for row in rows:
        sheet.append(row)
    book.save(tmp_path / "e.xlsx")
    schema = '[columns]\nid = "int64"\nday = "date"\nat = "timestamp"\nname = "text"\nx = "float64"\n'
    status, bundle, document = converted(tmp_path, tmp_path / "e.xlsx", "e.xlsx", schema)

    assert status == 1
    assert {place: text for place, (text, _) in aside(document).items()} == {
        (2, "id"): "2", (2, "name"): "5", (2, "x"): "=A2+1", (3, "day"): "29/02/2024", (3, "x"): "#N/A",
    }  # fmt: skip
    assert document["disagreements"] == 0, document["first_disagreements"]
    assert [row["day"] for row in table(bundle)] == [date(2024, 2, 29), date(1904, 1, 2), None]
    assert [row["at"] for row in table(bundle)] == [rows[1][2], None, rows[3][2]]
    assert complaints(bundle) == []


def test_a_day_that_excel_alone_counts_is_no_day(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(["day"])
    for serial in (1, 59, 60, 61):
        sheet.append([serial])
        sheet.cell(sheet.max_row, 1).number_format = "yyyy-mm-dd"
    book.save(tmp_path / "e.xlsx")
    _, bundle, _ = converted(tmp_path, tmp_path / "e.xlsx", "e.xlsx", '[columns]\nday = "date"\n')

    assert [row["day"] for row in table(bundle)] == [None, None, None, date(1900, 3, 1)]
    assert len(sidecar(bundle)) == 3


# --- garbage -----------------------------------------------------------------------------------------------------


def _sample(name: str) -> bytes:
    stream = io.BytesIO()
    if name == "avro":
        fields = [{"name": "x", "type": ["null", "long"]}, {"name": "y", "type": "string"}]
        schema = fastavro.parse_schema({"type": "record", "name": "r", "fields": fields})
        fastavro.writer(stream, schema, [{"x": 1, "y": "a"}] * 20)
    elif name == "xlsx":
        book = openpyxl.Workbook()
        assert book.active is not None
        for row in (["x", "y"], [1, "a"], [2, "b"]):
            book.active.append(row)
        book.save(stream)
    else:
        table = pa.table({"x": list(range(20)), "y": ["abc"] * 20})
        pq.write_table(table, stream) if name == "parquet" else orc.write_table(table, stream)
    return stream.getvalue()


@pytest.mark.parametrize("name", ["csv", "json", "ndjson", "parquet", "avro", "orc", "xlsx"])
@pytest.mark.parametrize("seed", range(25))
def test_garbage_gives_one_clear_error_or_the_truth(tmp_path: Path, name: str, seed: int) -> None:
    chance = random.Random(f"{name}{seed}")
    if name in ("csv", "json", "ndjson"):
        raw = bytearray(
            b'x,y\n1,"a"\n' if name == "csv" else b'[{"x": 1, "y": "a"}]' if name == "json" else b'{"x": 1, "y": "a"}'
        )
    else:
        raw = bytearray(_sample(name))
    if seed % 5 == 0:
        raw = bytearray(chance.randbytes(200))
    elif seed % 5 == 1:
        raw = raw[: chance.randrange(len(raw))]
    else:
        for _ in range(chance.randint(1, 8)):
            raw[chance.randrange(len(raw))] = chance.randrange(256)
    path = tmp_path / f"x.{name}"
    path.write_bytes(raw)
    declared = Declared.model_validate({"columns": {"x": "int64", "y": "text"}})
    said = ""
    try:
        witness = tabular.witness(path, declared)
    except SourceError as error:
        said = error.message
    if said:
        assert "\n" not in said
        return
    assert witness.facts["rows"] > 0 or name == "csv"


def test_a_zip_that_unpacks_to_more_than_memory_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tabular, "_LARGEST", 1 << 16)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", b" " * (1 << 20))

    assert "when unpacked" in refused(tmp_path, stream.getvalue(), "z.xlsx", '[columns]\nx = "text"\n', capsys)


@pytest.mark.parametrize(
    "schema", ["", "[columns]\n", '[columns]\nx = "varchar"\n', "[columns", '[columns]\nx = "decimal(39,2)"\n',
               'encoding = "klingon"\n[columns]\nx = "text"\n', 'wrong = 1\n[columns]\nx = "text"\n'],
)  # fmt: skip
def test_a_schema_that_says_nothing_sound_is_a_usage_error(tmp_path: Path, schema: str) -> None:
    path = tmp_path / "s.toml"
    path.write_text(schema, encoding="utf-8")

    with pytest.raises(UsageError):
        tabular_schema.load(path)


def test_readers_that_disagree_are_not_exact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lying(path: Path, declared: Declared) -> Any:
        names, rows = tabular_text.csv_by_arrow(path, declared)
        return names, ([Written("6") if one == "5" else one for one in row] for row in rows)

    monkeypatch.setitem(tabular.READERS, "csv", (("ours", tabular_text.csv_by_us), ("a liar", lying)))
    status, bundle, document = converted(tmp_path, b"x\n5\n", "x.csv", '[columns]\nx = "int64"\n')

    assert (status, document["disagreements"]) == (1, 1)
    assert document["first_disagreements"] == [{"row": 1, "column": "x", "first": "5", "second": "6"}]
    assert any("data." in said for said in complaints(bundle))


def test_another_sheet_with_content_is_left_out_and_said(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.title = "A"
    book.active.append(["a"])
    book.active.append([1])
    book.create_sheet("vide")
    book.create_sheet("B").append([42])
    book.save(tmp_path / "a.xlsx")
    status, bundle, document = converted(
        tmp_path, tmp_path / "a.xlsx", "a.xlsx", 'format = "xlsx"\nsheet = "A"\n[columns]\na = "int64"\n'
    )

    assert status == 1
    assert not document["exact"]
    assert document["left_out"] == ["sheet 'B'"]
    assert not complaints(bundle)


def test_more_columns_in_a_sheet_without_a_header_than_are_declared_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    book = openpyxl.Workbook()
    book.active.append([1, 2, 3])
    book.save(tmp_path / "b.xlsx")
    schema = 'format = "xlsx"\nheader = false\n[columns]\na = "int64"\nb = "int64"\n'
    said = refused(tmp_path, (tmp_path / "b.xlsx").read_bytes(), "a.xlsx", schema, capsys)

    assert "3 columns hold values, and 2 are declared" in said


def test_two_columns_of_one_name_are_refused_whatever_the_readers_say(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    twice = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    orc.write_table(twice, str(tmp_path / "b.orc"))
    said = refused(tmp_path, (tmp_path / "b.orc").read_bytes(), "a.orc", '[columns]\na = "int64"\n', capsys)

    assert "two columns are called 'a'" in said
