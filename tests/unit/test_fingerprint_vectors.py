"""The published vectors hold: for the implementation by hand, and for each engine, encoding and Arrow type."""

import json
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import fingerprint_by_hand as by_hand
import make_vectors
import numpy as np
import pyarrow as pa
import pytest

from reversible import fingerprint
from reversible.fingerprint import Accumulator, Cells, Column, Plan
from reversible.fingerprint.families import Family, parse

GOLDEN: dict[str, Any] = json.loads(make_vectors.PATH.read_text())
CHALLENGE: str = GOLDEN["challenge"]
ENGINES = ("numpy", "numba")


def arrow_type(family: Family, values: list[Any]) -> pa.DataType:
    """A type that holds these values: nanoseconds where there are any, 256 bits where needed."""
    if family.kind == "int":
        wide = [value for value in values if value is not None and not -(2**63) <= int(value) < 2**63]
        return pa.decimal256(76, 0) if wide else pa.int64()
    if family.kind == "decimal":
        return pa.decimal256(76, family.scale)
    return fingerprint.arrow_type(family.text)


def python_value(family: Family, value: Any) -> Any:
    """What pyarrow takes: exact, through integers where Python's own types are too narrow."""
    if value is None or (isinstance(value, dict) and set(value) == {"exception"} and family.kind != "struct"):
        return None
    if family.kind in ("int", "decimal"):
        return Decimal(value)
    if family.kind == "float":
        return float(np.array([int(value, 16)], np.uint64).view(np.float64)[0])
    if family.kind == "date":
        return date.fromisoformat(value)
    if family.kind in ("time", "timestamp", "timestamptz", "duration"):
        return by_hand.nanoseconds(family.kind, value) // 1000
    if family.kind == "interval":
        return pa.MonthDayNano([value["months"], value["days"], int(value["nanoseconds"])])
    if family.kind == "binary":
        return bytes.fromhex(value)
    if family.kind == "struct":
        return {name: python_value(part, value[name]) for name, part in family.fields}
    if family.kind == "list":
        return [python_value(family.fields[0][1], one) for one in value]
    if family.kind == "map":
        return [tuple(python_value(part, one) for (_, part), one in zip(family.fields, entry, strict=True))
                for entry in value]  # fmt: skip
    return value


def array_of(family: Family, values: list[Any]) -> pa.Array:
    exact = [python_value(family, value) for value in values]
    kind = arrow_type(family, values)
    if family.kind == "int" and pa.types.is_integer(kind):
        return pa.array([None if one is None else int(one) for one in exact], kind)
    if family.kind in ("time", "timestamp", "timestamptz", "duration"):
        ticks = [None if one is None else by_hand.nanoseconds(family.kind, one) for one in values]
        if any(one % 1000 for one in ticks if one is not None):
            kind = {"time": pa.time64("ns"), "duration": pa.duration("ns"), "timestamp": pa.timestamp("ns"),
                    "timestamptz": pa.timestamp("ns", "UTC")}[family.kind]  # fmt: skip
            return pa.array(ticks, pa.int64()).cast(kind)
        return pa.array(exact, pa.int64()).cast(kind)
    if family.kind == "float":  # NaN bits survive only as bits
        bits = np.array([0 if value is None else int(value, 16) for value in values], np.uint64)
        return pa.array(bits.view(np.float64), mask=np.array([value is None for value in values]), from_pandas=False)
    return pa.array(exact, kind)


def test_the_file_is_what_the_implementation_by_hand_gives() -> None:
    assert json.loads(json.dumps(make_vectors.vectors())) == GOLDEN


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("vector", GOLDEN["columns"], ids=lambda one: f"{one['family']}-{len(str(one['values']))}")
def test_each_family_gives_its_words_cells_and_total(vector: dict[str, Any], engine: Any) -> None:
    family = parse(vector["family"])
    sub_microsecond = family.kind == "timestamp"  # years 1 to 9999 and nanoseconds fit no one Arrow type
    pairs = list(zip(vector["values"], vector["words"], vector["cells"], strict=True))
    for wanted in (False, True) if sub_microsecond else (False,):
        chosen = [one for one in pairs if not sub_microsecond or
                  (one[0] is not None and len(one[0].partition(".")[2]) > 6) is wanted]  # fmt: skip
        values = array_of(family, [one[0] for one in chosen])
        odd = {n: one[0]["exception"] for n, one in enumerate(chosen)
               if isinstance(one[0], dict) and set(one[0]) == {"exception"}}  # fmt: skip
        column, cells = Column("c", vector["family"]), Cells(values, odd)
        lanes = fingerprint.cell_hashes(CHALLENGE, column, cells)

        assert [[f"{one:016x}" for one in pair] for pair in lanes.T.tolist()] == [one[2] for one in chosen]
    if not sub_microsecond:
        low, high = fingerprint.words(values, vector["family"], CHALLENGE)
        stated = [one[1][1:] if one[1][0] != "exception" else ["0" * 16] * 2 for one in chosen]
        found = Accumulator(Plan(CHALLENGE, (column,)), engine)
        found.add({"c": cells})

        assert [[f"{a:016x}", f"{b:016x}"] for a, b in zip(low.tolist(), high.tolist(), strict=True)] == stated
        assert found.result().digest == vector["total"]


@pytest.mark.parametrize("engine", ENGINES)
def test_the_table_gives_its_rows_and_total(engine: Any) -> None:
    table = GOLDEN["table"]
    columns = tuple(Column(name, family) for name, family in table["columns"])
    batch = {
        one.name: Cells(array_of(parse(one.family), [row[n] for row in table["rows"]])) for n, one in enumerate(columns)
    }
    found = Accumulator(Plan(CHALLENGE, columns), engine)
    hashes = found.add(batch)

    assert [f"{one:016x}" for one in hashes.tolist()] == [lanes[0] for lanes in table["row_hashes"]]
    assert found.result().digest == table["total"]


def test_the_page_describes_the_file() -> None:
    page = (Path(__file__).parents[2] / "docs/fingerprint.md").read_text()

    assert GOLDEN["table"]["total"] in page
    assert GOLDEN["fingerprint"] in page
    for vector in GOLDEN["columns"]:
        assert f"`{parse(vector['family']).kind}" in page
