"""Sums, counts and ends of a column are exact, whatever stores it."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pyarrow as pa
import pytest

from reversible.fingerprint import Cells
from reversible_exporters import tabular
from reversible_verifiers.tallies import Tally

MOST = 10**38 - 1


def figures(family: str, *batches: pa.Array, of: Any = Tally) -> dict[str, Any]:
    tally = of(family)
    for one in batches:
        tally.add(Cells(one))
    found: dict[str, Any] = tally.figures()
    return found


@pytest.mark.parametrize("of", [Tally, tabular.Tally], ids=["verifier", "exporter"])
@pytest.mark.parametrize(
    ("family", "kind", "values"),
    [
        ("int", pa.int64(), [2**63 - 1] * 5),
        ("int", pa.int64(), [-(2**63)] * 5 + [2**63 - 1, 0, -1, 1]),
        ("int", pa.int16(), [-5, None, 7]),
        ("decimal:0", pa.decimal128(38, 0), [Decimal(MOST)] * 7),
        ("decimal:0", pa.decimal128(38, 0), [Decimal(-MOST), None, Decimal(MOST - 1)]),
        ("decimal:2", pa.decimal128(36, 2), [Decimal(10**34 - 1)] * 20),
        ("decimal:2", pa.decimal128(9, 2), [Decimal("1.50"), Decimal("-0.25"), None]),
        ("decimal:0", pa.decimal256(60, 0), [Decimal(10**59)] * 5),
    ],
)
def test_sums_are_exact(family: str, kind: pa.DataType, values: list[Any], of: Any) -> None:
    found = figures(family, pa.array(values, kind), pa.array(values[:1], kind), of=of)
    present = [Fraction(one) for one in (*values, values[0]) if one is not None]  # decimals would be rounded

    assert str(found["present"]) == str(len(present))
    for name, expected in (("sum", sum(present)), ("min", min(present)), ("max", max(present))):
        assert Fraction(str(found[name])) == expected


def test_a_dictionary_is_summed_as_its_values() -> None:
    values = pa.array(["a", None, "abc", "a", ""])

    assert figures("text", values.dictionary_encode()) == figures("text", values)
    assert figures("text", values)["sum"] == "5"


def test_nothing_has_no_sum() -> None:
    assert figures("int", pa.array([None], pa.int64())) == {"present": "0", "sum": None, "min": None, "max": None}
