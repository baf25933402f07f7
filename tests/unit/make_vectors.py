"""Writes tests/golden/fingerprint-vectors.json from the implementation by hand: python tests/unit/make_vectors.py"""

import json
from pathlib import Path
from typing import Any

import fingerprint_by_hand as by_hand

PATH = Path(__file__).parents[1] / "golden/fingerprint-vectors.json"
CHALLENGE = "reversible-fingerprint/1 test vectors"
COLUMNS: list[tuple[str, list[Any]]] = [
    ("int", ["0", "5", "-1", "9223372036854775807", "-9223372036854775808", None]),
    ("int", ["9223372036854775808", "18446744073709551615", str(2**127 - 1), str(-(2**127))]),
    ("int", [str(2**127), str(-(2**127) - 1), str(10**76 - 1), str(1 - 10**76)]),
    ("decimal:0", ["5", "-1"]),
    ("decimal:2", ["0.00", "-0.01", "12345678901234567890.10", None]),
    ("decimal:4", ["1" * 60 + ".0001", "-" + "9" * 72 + ".9999"]),
    ("decimal:-2", ["1200"]),
    ("bool", [True, False, None]),
    ("float", ["3ff8000000000000", "0000000000000000", "8000000000000000", "7ff8000000000000", "fff8000000000001",
               "7ff0000000000000", "0000000000000001", None]),
    ("date", ["0001-01-01", "1969-12-31", "1970-01-01", "9999-12-31", None]),
    ("time", ["00:00:00", "23:59:59.999999", "00:00:00.000000001", None]),
    ("timestamp", ["2025-11-24T16:00:00", "1969-12-31T23:59:59.999999999", "0001-01-01T00:00:00",
                   "9999-12-31T23:59:59.999999", None]),
    ("timestamptz", ["2025-11-24T16:00:00Z", "2025-11-24T16:00:00.000000001Z"]),
    ("duration", ["0", "-1", "86400000000000"]),
    ("interval", [{"months": 0, "days": 0, "nanoseconds": "0"}, {"months": -1, "days": 31, "nanoseconds": "-5"}, None]),
    ("text", ["", "a", "Zoé 🙂", "Zoe\u0301", "x" * 17, "y" * 129, "z" * 241, None, {"exception": "a"}]),
    ("binary", ["", "00ff", None]),
    ("null", [None, None]),
    ("list<int>", [["1", "2"], ["2", "1"], [], [None], None]),
    ("list<list<text>>", [[["a"], []], [[], ["a"]], [None]]),
    ('struct<"a":int,"b":text>', [{"a": "1", "b": "x"}, {"a": None, "b": None}, None]),
    ('struct<"a,b<\\">":list<float>>', [{'a,b<">': ["3ff8000000000000"]}, {'a,b<">': None}]),
    ("map<text,int>", [[["k", "1"], ["l", None]], [["l", None], ["k", "1"]], [], None]),
    ("list<struct<\"at\":timestamp,\"tags\":map<text,list<decimal:2>>>>",
     [[{"at": "2025-11-24T16:00:00", "tags": [["t", ["1.00", None]]]}], []]),
]  # fmt: skip
TABLE = {
    "columns": [["id", "int"], ["name", "text"], ["price", "decimal:2"]],
    "rows": [["1", "a", "1.50"], ["2", None, "-0.01"], ["2", None, "-0.01"]],
}


def vectors() -> dict[str, Any]:
    columns = [
        {
            "family": family,
            "values": values,
            "words": [[kind, f"{low:016x}", f"{high:016x}"]
                      for kind, low, high in (by_hand.words(CHALLENGE, family, value) for value in values)],
            "cells": [[f"{by_hand.cell(CHALLENGE, 'c', family, value, lane):016x}" for lane in (0, 1)]
                      for value in values],
            "total": by_hand.total(CHALLENGE, [("c", family)], [[value] for value in values]),
        }
        for family, values in COLUMNS
    ]  # fmt: skip
    pairs = [(name, family) for name, family in TABLE["columns"]]
    rows = [[f"{by_hand.row_hash(CHALLENGE, pairs, row, lane):016x}" for lane in (0, 1)] for row in TABLE["rows"]]
    table = {**TABLE, "row_hashes": rows, "total": by_hand.total(CHALLENGE, pairs, TABLE["rows"])}
    return {
        "fingerprint": by_hand.VERSION, "challenge": CHALLENGE, "column": "c", "columns": columns, "table": table,
        "mix": [[f"{x:016x}", f"{by_hand.mix(x):016x}"] for x in (0, 1, by_hand.WORD)],
        "seed": {"column": "c", "family": "int", "lanes": [
            f"{by_hand.secret(CHALLENGE, 'c', 'int', str(lane)):016x}" for lane in (0, 1)]},
        "bytes_seed": f"{by_hand.secret(CHALLENGE, 'bytes'):016x}",
    }  # fmt: skip


if __name__ == "__main__":
    PATH.parent.mkdir(exist_ok=True)
    PATH.write_text(json.dumps(vectors(), indent=1, ensure_ascii=False) + "\n")
