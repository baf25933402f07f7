"""Which tiny pairs of tables must a comparison tell apart, and which must it call equal?

`PAIRS` are Arrow tables; `python tests/conformance/zoo.py` prints them as JSON (zoo.json beside this file), so that
any tool in any language can be run on them. The policy, in one paragraph:

A value is what its logical type says, whatever stores it: the width of an integer or a float, the scale and precision
of a decimal, dictionary encoding, large and view layouts, the unit of a timestamp, the label of its zone, the order of
rows, of columns and of a struct's fields never make a difference (the physical schema is compared apart, and noted).
All else does: the last digit, bit and nanosecond; -0.0 and 0.0; NaN, NULL, '' and 0; an integer, a float and a text
that print alike; a naive and a zoned timestamp; the number of times a row is there; names in another case. Text is
bytes: no trimming, no normalisation. Every NaN is one. Lists have an order.
"""

import datetime as dt
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

DIFFER, EQUAL = "differ", "equal"

# Types that a Parquet file cannot hold, or holds as another type: for these pairs there is no file.
NOT_IN_PARQUET = frozenset({"month_interval", "month_day_nano_interval", "run_end_encoded"})


@dataclass(frozen=True)
class Pair:
    """Two tables and what is true of them.

    `key` names the column that identifies a row on both sides, "" where none does. `parquet` is False when a type
    here has no Parquet form.
    """

    name: str
    verdict: str
    why: str
    left: pa.Table
    right: pa.Table
    key: str

    @property
    def parquet(self) -> bool:
        types = " ".join(str(one) for table in (self.left, self.right) for one in table.schema.types)
        return not any(one in types for one in NOT_IN_PARQUET)


PAIRS: list[Pair] = []


def tables(name: str, verdict: str, why: str, left: pa.Table, right: pa.Table, *, key: str = "id") -> None:
    PAIRS.append(Pair(name, verdict, why, left, right, key))


def column(
    name: str, verdict: str, why: str, left: Any, right: Any, kind: Any = None, other: Any = None, *, key: str = "id"
) -> None:
    """A pair of tables with an id from 1 and a column `v` of values, of type `kind` (right: `other`)."""
    pair = []
    for values, one in ((left, kind), (right, other or kind)):
        array = values if isinstance(values, (pa.Array, pa.ChunkedArray)) else pa.array(values, one)
        pair.append(pa.table({"id": pa.array(range(1, len(array) + 1), pa.int64()), "v": array}))
    tables(name, verdict, why, *pair, key=key)


def bits(*words: int) -> pa.Array:
    """Doubles by their bits."""
    return pa.array(np.array(words, np.uint64).view(np.float64))


def d(*texts: str | None) -> list[Decimal | None]:
    return [None if text is None else Decimal(text) for text in texts]


I64, F64, TEXT, BIN, US = pa.int64(), pa.float64(), pa.string(), pa.binary(), pa.timestamp("us")
UTC = pa.timestamp("us", "UTC")
NOW = 1_764_000_000_000_000  # 2025-11-24 16:00:00 in microseconds

# --- numbers ------------------------------------------------------------------------------------------------------
column("int_plus_one", DIFFER, "the plainest change", [1, 2, 3], [1, 2, 4], I64)
column("int_sign", DIFFER, "the sign is part of the number", [5], [-5], I64)
column("int_2_53", DIFFER, "both are 9007199254740992 as a float64", [2**53], [2**53 + 1], I64)
column("int_2_60", DIFFER, "an id of a modern platform; as a float64 they are one", [2**60], [2**60 + 1], I64)
column("int_last", DIFFER, "the two largest 64-bit integers", [2**63 - 1], [2**63 - 2], I64)
column("uint64_is_not_minus_one", DIFFER, "18446744073709551615 and -1 have the same 64 bits", [2**64 - 1], [-1],
       pa.uint64(), I64)  # fmt: skip
column("uint64_last", DIFFER, "beyond a signed 64-bit integer", [2**64 - 1], [2**64 - 2], pa.uint64())
column("int_zero_is_not_null", DIFFER, "nothing is not zero", [0, 1], [None, 1], I64)
column("decimal_cent", DIFFER, "one cent", d("10.00", "0.10"), d("10.00", "0.11"), pa.decimal128(15, 2))
column("decimal_17_digits", DIFFER, "more digits than a float64 has", d("12345678901234567.89"),
       d("12345678901234567.90"), pa.decimal128(19, 2))  # fmt: skip
column("decimal_38_last", DIFFER, "the last of 38 digits", d("9" * 38), d("9" * 37 + "8"), pa.decimal128(38, 0))
column("decimal_76_last", DIFFER, "the last of 76 digits", d("9" * 76), d("9" * 75 + "8"), pa.decimal256(76, 0))
column("decimal_scale_lost", DIFFER, "rounded to two digits", d("1.2345"), d("1.2300"), pa.decimal128(18, 4))
column("decimal_zero_is_not_null", DIFFER, "nothing is not zero", d("0.00"), d(None), pa.decimal128(10, 2))
column("float_ulp", DIFFER, "one unit in the last place", [1.1], [1.1000000000000003], F64)
column("float_sum", DIFFER, "0.1 + 0.2 is not 0.3", [0.1 + 0.2], [0.3], F64)
column("float_minus_zero", DIFFER, "1 / -0.0 is another infinity: a program can tell", [-0.0], [0.0], F64)
column("float_nan_is_not_null", DIFFER, "a result and no result", [float("nan"), 1.0], [None, 1.0], F64)
column("float_nan_is_not_infinity", DIFFER, "not a number, and too large a one", [float("nan")], [float("inf")], F64)
column("float_infinities", DIFFER, "the sign of infinity", [float("inf")], [float("-inf")], F64)
column("float_largest_is_not_infinity", DIFFER, "an overflow", [1.7976931348623157e308], [float("inf")], F64)
column("float_tiny_is_not_zero", DIFFER, "below any tolerance, not zero", [1e-300], [0.0], F64)
column("float_subnormal", DIFFER, "the smallest subnormal, flushed to zero", [5e-324], [0.0], F64)
column("float_through_float32", DIFFER, "0.1 that passed through 32 bits", [0.1], [0.10000000149011612], F64)
column("int_is_not_float", DIFFER, "5 and 5.0: another logical type", [5], [5.0], I64, F64)
column("int_is_not_text", DIFFER, "5 and '5': another logical type", [5], ["5"], I64, TEXT)
column("decimal_is_not_float", DIFFER, "1.50 and 1.5: another logical type", d("1.50"), [1.5], pa.decimal128(5, 2), F64)
column("decimal_is_not_text", DIFFER, "1.50 and '1.50'", d("1.50"), ["1.50"], pa.decimal128(5, 2), TEXT)
column("bool_flipped", DIFFER, "true and false", [True, False], [True, True], pa.bool_())
column("bool_null", DIFFER, "false and unknown", [False], [None], pa.bool_())
column("bool_is_not_int", DIFFER, "true and 1: another logical type", [True], [1], pa.bool_(), I64)
column("int_width", EQUAL, "an integer is its value", [1, -2, None], [1, -2, None], pa.int32(), I64)
column("int_unsigned", EQUAL, "an integer is its value", [1, 200], [1, 200], pa.uint8(), I64)
column("int_uint64", EQUAL, "an integer is its value", [1, 2**63 - 1], [1, 2**63 - 1], pa.uint64(), I64)
column("float_width", EQUAL, "0.5 is the same number in 32 and in 64 bits", [0.5, -2.0, None], [0.5, -2.0, None],
       pa.float32(), F64)  # fmt: skip
column(
    "float_half", EQUAL, "0.5 is the same number in 16 bits", pa.array(np.array([0.5], np.float16)), [0.5], None, F64
)
column("float_nans", EQUAL, "every NaN is one, whatever its sign and payload", bits(0x7FF8000000000000),
       bits(0xFFF8000000000001))  # fmt: skip
column("decimal_scale", EQUAL, "the same amounts in decimal(15,2) and decimal(18,4); a note about the schema",
       d("1.50", "-0.01", None), d("1.5000", "-0.0100", None), pa.decimal128(15, 2), pa.decimal128(18, 4))  # fmt: skip
column("decimal_width", EQUAL, "128 and 256 bits", d("1.50", "-0.01"), d("1.50", "-0.01"), pa.decimal128(15, 2),
       pa.decimal256(40, 2))  # fmt: skip

# --- times --------------------------------------------------------------------------------------------------------
column("timestamp_microsecond", DIFFER, "one microsecond", [NOW], [NOW + 1], US)
column("timestamp_nanosecond", DIFFER, "one nanosecond", [NOW * 1000], [NOW * 1000 + 1], pa.timestamp("ns"))
column("timestamp_nanoseconds_cut", DIFFER, "123 ns cut off by a store of microseconds", [NOW * 1000 + 123], [NOW],
       pa.timestamp("ns"), US)  # fmt: skip
column("timestamp_fraction_cut", DIFFER, "the fraction of the second", [NOW + 900_000], [NOW], US)
column("timestamp_before_1970", DIFFER, "a fraction below zero rounded towards zero", [-1], [0], US)
column(
    "timestamp_last", DIFFER, "the last microsecond of the year 9999", [253402300799999999], [253402300799999998], US
)
column("timestamp_first", DIFFER, "the first microsecond of the year 1", [-62135596800000000], [-62135596799999999], US)
column("timestamp_first_is_not_null", DIFFER, "0001-01-01 as a stand-in for NULL", [-62135596800000000], [None], US)
column("timestamp_naive_is_not_zoned", DIFFER, "a wall clock without a zone is no instant", [NOW], [NOW], US, UTC)
column(
    "timestamp_other_instant", DIFFER, "one hour, as when a zone is applied twice", [NOW], [NOW + 3_600_000_000], UTC
)
column("timestamp_is_not_date", DIFFER, "midnight and the day", [NOW // 86_400_000_000 * 86_400_000_000],
       [NOW // 86_400_000_000], US, pa.date32())  # fmt: skip
column("timestamp_is_not_text", DIFFER, "a time and what prints like it", [NOW], ["2025-11-24 16:00:00"], US, TEXT)
column("date_day", DIFFER, "one day", [20_000], [20_001], pa.date32())
column("date_before_1970", DIFFER, "the last day of 1969", [-1], [0], pa.date32())
column("time_microsecond", DIFFER, "one microsecond", [1], [2], pa.time64("us"))
column("time_nanosecond", DIFFER, "one nanosecond", [1], [2], pa.time64("ns"))
column("time_midnight_is_not_null", DIFFER, "00:00 and unknown", [0], [None], pa.time64("us"))
column("duration_microsecond", DIFFER, "one microsecond", [NOW], [NOW + 1], pa.duration("us"))
column("interval_month_is_not_30_days", DIFFER, "they add to a date in two ways", [(1, 0, 0)], [(0, 30, 0)],
       pa.month_day_nano_interval())  # fmt: skip
column("interval_day_is_not_24_hours", DIFFER, "not on the day when the clocks change", [(0, 1, 0)],
       [(0, 0, 86_400 * 10**9)], pa.month_day_nano_interval())  # fmt: skip
column("timestamp_unit", EQUAL, "the same instant counted in milliseconds", [NOW, None], [NOW // 1000, None], US,
       pa.timestamp("ms"))  # fmt: skip
column("timestamp_unit_ns", EQUAL, "the same instant counted in nanoseconds", [NOW, -1], [NOW * 1000, -1000], US,
       pa.timestamp("ns"))  # fmt: skip
column("timestamp_zone_label", EQUAL, "an instant is the same seen from Paris; a note about the schema", [NOW], [NOW],
       UTC, pa.timestamp("us", "Europe/Paris"))  # fmt: skip
column("time_unit", EQUAL, "the same time of day", [1000], [1_000_000], pa.time32("ms"), pa.time64("us"))
column("date_unit", EQUAL, "the same day", [20_000], [20_000 * 86_400_000], pa.date32(), pa.date64())

# --- text and bytes -----------------------------------------------------------------------------------------------
column("text_empty_is_not_null", DIFFER, "Oracle's habit", ["", "a"], [None, "a"], TEXT)
column("text_null_word", DIFFER, "the text NULL is a text", ["NULL"], [None], TEXT)
column("text_null_datacompy", DIFFER, "a tool's own stand-in for NULL", ["DATACOMPY_NULL"], [None], TEXT)
column("text_null_dvt", DIFFER, "a tool's own stand-in for NULL", ["DEFAULT_REPLACEMENT_STRING"], [None], TEXT)
column("text_null_recon", DIFFER, "a tool's own stand-in for NULL", ["_null_recon_"], [None], TEXT)
column("text_null_slash_n", DIFFER, r"COPY's own \N, in the data", [r"\N"], [None], TEXT)
column("text_trailing_space", DIFFER, "trimmed", ["a "], ["a"], TEXT)
column("text_leading_space", DIFFER, "trimmed", [" a"], ["a"], TEXT)
column("text_only_spaces", DIFFER, "trimmed to nothing", ["   "], [""], TEXT)
column("text_case", DIFFER, "upper and lower case", ["Zoe"], ["zoe"], TEXT)
column("text_nfc_nfd", DIFFER, "é as one code point and as two", ["caf\u00e9"], ["cafe\u0301"], TEXT)
column("text_compatibility", DIFFER, "the ligature fi and the letters", ["\ufb01"], ["fi"], TEXT)
column("text_non_breaking_space", DIFFER, "French typography", ["1\u00a0000"], ["1 000"], TEXT)
column("text_zero_width", DIFFER, "a character that nobody sees", ["a\u200bb"], ["ab"], TEXT)
column("text_byte_order_mark", DIFFER, "a mark that a reader ate", ["\ufeffa"], ["a"], TEXT)
column("text_nul", DIFFER, "cut at the first NUL, as C does", ["a\0b"], ["a"], TEXT)
column("text_line_ends", DIFFER, "Windows and Unix", ["a\r\nb"], ["a\nb"], TEXT)
column("text_tab", DIFFER, "a tab and spaces", ["a\tb"], ["a    b"], TEXT)
column("text_mojibake", DIFFER, "UTF-8 read as Latin-1", ["é"], ["Ã©"], TEXT)
column("text_replacement", DIFFER, "what could not be converted", ["é"], ["\ufffd"], TEXT)
column("text_emoji", DIFFER, "beyond the first 65,536 code points", ["\U0001f600"], ["\U0001f601"], TEXT)
column("text_cut_at_256", DIFFER, "the 257th character", ["x" * 256 + "a"], ["x" * 256 + "b"], TEXT)
column("text_cut_at_4000", DIFFER, "the last of 4,001 characters lost", ["x" * 4001], ["x" * 4000], TEXT)
column("text_leading_zero", DIFFER, "a postcode that became a number", ["01000"], ["1000"], TEXT)
column("text_number", DIFFER, "1.10 and 1.1 are two texts", ["1.10"], ["1.1"], TEXT)
column("text_json", DIFFER, "JSON rewritten: the same document, another text", ['{"a": 1}'], ['{"a":1}'], TEXT)
column("text_is_not_bool", DIFFER, "'true' and true", ["true"], [True], TEXT, pa.bool_())
column("text_quotes", DIFFER, "a quote that CSV doubled", ['a"b'], ['a""b'], TEXT)
column("binary_last_byte", DIFFER, "not UTF-8 on either side", [b"\xff\xfe\x00"], [b"\xff\xfe\x01"], BIN)
column("binary_empty_is_not_null", DIFFER, "no bytes and nothing", [b""], [None], BIN)
column("binary_is_not_text", DIFFER, "the same bytes, another logical type", [b"abc"], ["abc"], BIN, TEXT)
column("binary_hex_is_not_binary", DIFFER, "bytes written as text", [b"\xab"], ["\\xab"], BIN, TEXT)
column("binary_trailing_nul", DIFFER, "padding cut off", [b"a\0"], [b"a"], BIN)
column("text_dictionary", EQUAL, "dictionary encoding is storage", ["a", "b", "a", None], ["a", "b", "a", None],
       pa.dictionary(pa.int32(), TEXT), TEXT)  # fmt: skip
column("text_other_dictionary", EQUAL, "another dictionary, with an entry that nobody uses",
       pa.DictionaryArray.from_arrays(pa.array([0, 1, 0]), pa.array(["a", "b"])),
       pa.DictionaryArray.from_arrays(pa.array([2, 0, 2]), pa.array(["b", "unused", "a"])))  # fmt: skip
column("text_large", EQUAL, "64-bit offsets are storage", ["a", "é", None, ""], ["a", "é", None, ""], TEXT,
       pa.large_string())  # fmt: skip
column("text_view", EQUAL, "views are storage", ["a", "more than twelve bytes", None],
       ["a", "more than twelve bytes", None], TEXT, pa.string_view())  # fmt: skip
column("text_runs", EQUAL, "run-end encoding is storage", ["a", "a", "b"],
       pc.run_end_encode(pa.array(["a", "a", "b"])), TEXT)  # fmt: skip
column("binary_fixed", EQUAL, "bytes of a fixed width", [b"ab", b"\xff\x00"], [b"ab", b"\xff\x00"], BIN, pa.binary(2))
column("binary_large", EQUAL, "64-bit offsets are storage", [b"\xff", None], [b"\xff", None], BIN, pa.large_binary())
column("dictionary_value", DIFFER, "one entry of the dictionary",
       pa.DictionaryArray.from_arrays(pa.array([0, 1, 0]), pa.array(["a", "b"])),
       pa.DictionaryArray.from_arrays(pa.array([0, 1, 0]), pa.array(["a", "c"])))  # fmt: skip
column("dictionary_index", DIFFER, "the same dictionary, another choice",
       pa.DictionaryArray.from_arrays(pa.array([0, 1, 0]), pa.array(["a", "b"])),
       pa.DictionaryArray.from_arrays(pa.array([0, 1, 1]), pa.array(["a", "b"])))  # fmt: skip
column("dictionary_null", DIFFER, "a NULL index and the text ''",
       pa.DictionaryArray.from_arrays(pa.array([0, None], pa.int32()), pa.array(["", "b"])),
       pa.DictionaryArray.from_arrays(pa.array([0, 0], pa.int32()), pa.array(["", "b"])))  # fmt: skip

# --- columns ------------------------------------------------------------------------------------------------------
ONE = pa.array([1], I64)


def named(**values: Sequence[Any]) -> pa.Table:
    return pa.table({name: pa.array(one) for name, one in values.items()})


tables("columns_boundary", DIFFER, "ab|c and a|bc: the same text when joined without a separator",
       named(id=[1], a=["ab"], b=["c"]), named(id=[1], a=["a"], b=["bc"]))  # fmt: skip
tables("columns_separator", DIFFER, "a separator in the data: a|b,c and a,b|c",
       named(id=[1], a=["a|b"], b=["c"]), named(id=[1], a=["a"], b=["b|c"]))  # fmt: skip
tables("columns_null_beside", DIFFER, "NULL left out of the joined text",
       pa.table({"id": ONE, "a": pa.array([None], TEXT), "b": ["x"]}),
       pa.table({"id": ONE, "a": ["x"], "b": pa.array([None], TEXT)}))  # fmt: skip
tables("columns_swapped", DIFFER, "two values in each other's column",
       named(id=[1, 2], a=["x", "y"], b=["y", "x"]), named(id=[1, 2], a=["y", "x"], b=["x", "y"]))  # fmt: skip
tables("columns_contents_exchanged", DIFFER, "net and gross under each other's name",
       named(id=[1], net=[100], gross=[120]), named(id=[1], net=[120], gross=[100]))  # fmt: skip
tables("column_renamed", DIFFER, "a name is part of the data", named(id=[1], v=[1]), named(id=[1], w=[1]))
tables("column_case", DIFFER, "names that differ in case", named(id=[1], v=[1]), named(id=[1], V=[1]))
tables("column_names_case_exchanged", DIFFER, "v and V are two columns",
       named(id=[1], v=[1], V=[2]), named(id=[1], v=[2], V=[1]))  # fmt: skip
tables("column_missing", DIFFER, "one column was not exported", named(id=[1], v=[1], w=[2]), named(id=[1], v=[1]))
tables("column_extra", DIFFER, "one column too many", named(id=[1], v=[1]), named(id=[1], v=[1], w=[2]))
tables("column_of_nulls_missing", DIFFER, "a column without values is a column",
       pa.table({"id": ONE, "v": pa.array([None], TEXT)}), pa.table({"id": ONE}))  # fmt: skip
tables("columns_order", EQUAL, "columns have names", named(id=[1, 2], v=["a", "b"]), named(v=["a", "b"], id=[1, 2]))

# --- rows ---------------------------------------------------------------------------------------------------------
TEN = named(id=list(range(10)), v=[f"row {n}" for n in range(10)])


def rows(table: pa.Table, *which: int) -> pa.Table:
    return table.take(pa.array(which, I64))


tables("rows_dropped", DIFFER, "one row missing", TEN, rows(TEN, *range(9)))
tables("rows_first_dropped", DIFFER, "a reader that skipped the first row as a header", TEN, rows(TEN, *range(1, 10)))
tables("rows_all_dropped", DIFFER, "nothing arrived", TEN, TEN.slice(0, 0))
tables("rows_doubled", DIFFER, "one row twice", TEN, rows(TEN, *range(10), 3), key="")
tables("rows_dropped_and_doubled", DIFFER, "the count stays the same", TEN, rows(TEN, *range(1, 10), 9), key="")
tables("rows_page_twice", DIFFER, "a page read twice and one not at all", TEN, rows(TEN, 0, 1, 2, 3, 4, 0, 1, 2, 3, 4),
       key="")  # fmt: skip
tables(
    "rows_tripled", DIFFER, "one row three times: two more cancel under XOR", TEN, rows(TEN, *range(10), 3, 3), key=""
)
tables("rows_foreign_twice", DIFFER, "a foreign row added twice cancels under XOR", TEN,
       pa.concat_tables([TEN, *[named(id=[99], v=["foreign"])] * 2]), key="")  # fmt: skip
tables("rows_all_doubled", DIFFER, "an export that ran twice", TEN, pa.concat_tables([TEN, TEN]), key="")
tables("rows_multiplicity", DIFFER, "the same different rows, other numbers of each",
       named(v=["a", "a", "b"]), named(v=["a", "b", "b"]), key="")  # fmt: skip
tables("rows_xor_pairs", DIFFER, "two pairs of equal rows exchanged for two others: both XOR to nothing",
       named(v=["a", "a", "b", "b"]), named(v=["c", "c", "d", "d"]), key="")  # fmt: skip
tables("rows_of_null_doubled", DIFFER, "a row of nothing but NULL, twice",
       pa.table({"v": pa.array([None, None], I64)}), pa.table({"v": pa.array([None], I64)}), key="")  # fmt: skip
tables("rows_empty_is_not_null_row", DIFFER, "no row, and a row of NULL",
       pa.table({"v": pa.array([], I64)}), pa.table({"v": pa.array([None], I64)}), key="")  # fmt: skip
tables("rows_null_key_changed", DIFFER, "the row whose key is NULL has another value",
       named(id=[1, None], v=["a", "b"]), named(id=[1, None], v=["a", "c"]))  # fmt: skip
tables("rows_null_key_dropped", DIFFER, "the row whose key is NULL is gone",
       named(id=[1, None], v=["a", "b"]), named(id=[1], v=["a"]))  # fmt: skip
tables("rows_values_exchanged", DIFFER, "each column holds the same values, in other rows: no total shows it",
       named(id=[1, 2], v=[10, 20]), named(id=[1, 2], v=[20, 10]))  # fmt: skip
tables("rows_sums_kept", DIFFER, "one more here, one less there: count, sum, min and max are the same",
       named(id=[1, 2, 3, 4], v=[0, 10, 20, 99]), named(id=[1, 2, 3, 4], v=[0, 11, 19, 99]))  # fmt: skip
HOUR = 3_600_000_000
MOVED = pa.array(range(NOW, NOW + 1000 * 60_000_000, 60_000_000))
THOUSAND = pa.array(range(1000), I64)
tables("rows_all_moved_one_hour", DIFFER, "1,000 rows one hour later; CRC32 under XOR does not see it",
       pa.table({"id": THOUSAND, "v": MOVED.cast(UTC)}),
       pa.table({"id": THOUSAND, "v": pc.add(MOVED, HOUR).cast(UTC)}))  # fmt: skip
tables("rows_all_other_currency", DIFFER, "1,000 rows EUR to USD; CRC32 under XOR does not see it",
       pa.table({"id": THOUSAND, "v": ["EUR"] * 1000}), pa.table({"id": THOUSAND, "v": ["USD"] * 1000}))  # fmt: skip
tables("rows_four_moved", DIFFER, "four rows 11:22 to 11:32: the rows of pingcap/tidb-tools issue 703",
       named(id=[1, 2, 3, 4], v=["2022-05-01 11:22:00"] * 4),
       named(id=[1, 2, 3, 4], v=["2022-05-01 11:32:00"] * 4))  # fmt: skip
tables("rows_one_of_a_thousand", DIFFER, "one cell of a thousand rows",
       pa.table({"id": THOUSAND, "v": THOUSAND}),
       pa.table({"id": THOUSAND, "v": [*range(999), -1]}))  # fmt: skip
tables("identical", EQUAL, "the same table", TEN, TEN)
tables("rows_order", EQUAL, "a table is a set of rows, each so many times", TEN, rows(TEN, *reversed(range(10))))
tables("rows_order_with_duplicates", EQUAL, "duplicates in another order",
       named(v=["a", "b", "a", None]), named(v=[None, "a", "a", "b"]), key="")  # fmt: skip
tables("rows_chunks", EQUAL, "cut into other batches", TEN, pa.concat_tables([TEN.slice(0, 3), TEN.slice(3)]))
tables("rows_slice", EQUAL, "a window on a longer array", TEN.slice(2, 5), rows(TEN, 2, 3, 4, 5, 6))
tables("rows_null_key_order", EQUAL, "a NULL key, in another order",
       named(id=[None, 1], v=["b", "a"]), named(id=[1, None], v=["a", "b"]))  # fmt: skip

# --- no rows ------------------------------------------------------------------------------------------------------
NONE = pa.table({"id": pa.array([], I64), "v": pa.array([], TEXT)})
tables("empty_other_name", DIFFER, "no rows, other columns", NONE, NONE.rename_columns(["id", "w"]))
tables("empty_other_type", DIFFER, "no rows, another logical type", NONE,
       pa.table({"id": pa.array([], I64), "v": pa.array([], F64)}))  # fmt: skip
tables("empty_other_zone", DIFFER, "no rows, naive and zoned",
       pa.table({"id": pa.array([], I64), "v": pa.array([], US)}),
       pa.table({"id": pa.array([], I64), "v": pa.array([], UTC)}))  # fmt: skip
tables("empty", EQUAL, "no rows on either side", NONE, NONE)
tables("empty_width", EQUAL, "no rows, the same logical types", NONE,
       pa.table({"id": pa.array([], pa.int32()), "v": pa.array([], pa.large_string())}))  # fmt: skip

# --- nested -------------------------------------------------------------------------------------------------------
LIST = pa.list_(I64)
column("list_order", DIFFER, "a list has an order", [[1, 2]], [[2, 1]], LIST)
column("list_null_is_not_empty", DIFFER, "no list and an empty one", [None], [[]], LIST)
column("list_of_null_is_not_empty", DIFFER, "one NULL and nothing", [[None]], [[]], LIST)
column("list_null_left_out", DIFFER, "a NULL inside dropped", [[1, None, 2]], [[1, 2]], LIST)
column("list_doubled", DIFFER, "one element twice", [[1, 2]], [[1, 2, 2]], LIST)
column("list_boundary", DIFFER, "the same elements, cut elsewhere", [[1], [2, 3]], [[1, 2], [3]], LIST)
column("list_nested_boundary", DIFFER, "the same elements, nested otherwise", [[[1], [2]]], [[[1, 2], []]],
       pa.list_(LIST))  # fmt: skip
column("list_text_boundary", DIFFER, "ab,c and a,bc", [["ab", "c"]], [["a", "bc"]], pa.list_(TEXT))
column("list_text_comma", DIFFER, "a comma in the data", [["a,b"]], [["a", "b"]], pa.list_(TEXT))
column("list_float_minus_zero", DIFFER, "exact inside too", [[-0.0]], [[0.0]], pa.list_(F64))
column("list_nan_is_not_null", DIFFER, "exact inside too", [[float("nan")]], [[None]], pa.list_(F64))
POINT = pa.struct([("x", I64), ("y", TEXT)])
column("struct_field", DIFFER, "one field of a struct", [{"x": 1, "y": "a"}], [{"x": 1, "y": "b"}], POINT)
column("struct_null_is_not_nulls", DIFFER, "no struct, and a struct of NULLs", [None], [{"x": None, "y": None}], POINT)
column("struct_field_names", DIFFER, "names inside are part of the data", [{"x": 1}], [{"z": 1}],
       pa.struct([("x", I64)]), pa.struct([("z", I64)]))  # fmt: skip
column("struct_fields_exchanged", DIFFER, "two fields exchange their values", [{"x": 1, "y": 2}], [{"x": 2, "y": 1}],
       pa.struct([("x", I64), ("y", I64)]))  # fmt: skip
column("struct_deep_cent", DIFFER, "one cent in a list of structs in a struct",
       [{"lines": [{"price": Decimal("1.10")}, {"price": None}]}],
       [{"lines": [{"price": Decimal("1.11")}, {"price": None}]}],
       pa.struct([("lines", pa.list_(pa.struct([("price", pa.decimal128(20, 2))])))]))  # fmt: skip
MAP = pa.map_(TEXT, I64)
column("map_value", DIFFER, "one value of a map", [[("a", 1), ("b", 2)]], [[("a", 1), ("b", 3)]], MAP)
column("map_key", DIFFER, "one key of a map", [[("a", 1)]], [[("b", 1)]], MAP)
column("map_null_is_not_empty", DIFFER, "no map and an empty one", [None], [[]], MAP)
column("map_null_value", DIFFER, "a key without a value, and no key", [[("a", None)]], [[]], MAP)
column("list_large", EQUAL, "64-bit offsets are storage", [[1, None], None, []], [[1, None], None, []], LIST,
       pa.large_list(I64))  # fmt: skip
column("list_fixed", EQUAL, "lists of two", [[1, 2], None], [[1, 2], None], LIST, pa.list_(I64, 2))
column("list_view", EQUAL, "views are storage", [[1, 2], None, [3]], [[1, 2], None, [3]], LIST, pa.list_view(I64))
column("list_width_inside", EQUAL, "an integer is its value inside too", [[1, 2]], [[1, 2]], LIST, pa.list_(pa.int16()))
column("struct_field_order", EQUAL, "fields have names", [{"x": 1, "y": "a"}, None], [{"x": 1, "y": "a"}, None], POINT,
       pa.struct([("y", TEXT), ("x", I64)]))  # fmt: skip
HIDDEN = pa.ListArray.from_arrays(pa.array([0, 1, 3, 4], pa.int32()), pa.array([1, 7, 7, 3]),
                                  mask=pa.array([False, True, False]))  # fmt: skip
column("list_hidden", EQUAL, "what stands below a NULL counts for nothing", HIDDEN, [[1], None, [3]], LIST, LIST)
column("null_hidden", EQUAL, "what stands below a NULL counts for nothing",
       pa.Array.from_buffers(I64, 2, [pa.py_buffer(b"\1"), pa.py_buffer(np.array([1, 99]))]), [1, None], I64, I64,
       )  # fmt: skip


# --- the same as plain JSON ---------------------------------------------------------------------------------------


def document() -> dict[str, Any]:
    """All pairs: see `format` in it for how values are written."""
    return {
        "name": "reversible conformance pairs",
        "policy": (__doc__ or "").split("\n\n")[2].replace("\n", " ").strip(),
        "format": {
            "type": "as Apache Arrow writes it",
            "int, decimal": "decimal digits as text",
            "float": "IEEE 754 bits, hex: 16, 8 or 4 digits",
            "date, time, timestamp, duration": "number of units since 1970-01-01 or midnight, as text",
            "interval": "[months, days, nanoseconds]",
            "binary": "hex",
            "list, map": "array; a map of [key, value]",
            "struct": "object",
            "NULL": "null",
        },
        "pairs": [
            {"name": one.name, "verdict": one.verdict, "why": one.why, "key": one.key, "left": _table(one.left),
             "right": _table(one.right)}
            for one in PAIRS
        ],
    }  # fmt: skip


def _table(table: pa.Table) -> dict[str, Any]:
    return {
        "columns": [{"name": field.name, "type": str(field.type)} for field in table.schema],
        "values": [list(_cells(one.combine_chunks())) for one in table.columns],
    }


def _cells(values: pa.Array) -> Iterator[Any]:
    """The values as JSON."""
    if isinstance(values, pa.ChunkedArray):
        values = pa.concat_arrays(values.chunks) if values.num_chunks else pa.nulls(0, values.type)
    kind = values.type
    if pa.types.is_dictionary(kind):
        values = values.dictionary_decode()
    elif pa.types.is_run_end_encoded(kind):
        values = pc.run_end_decode(values)
    elif pa.types.is_temporal(kind) and not pa.types.is_interval(kind):
        values = values.cast(pa.int32() if kind.bit_width == 32 else I64)
    elif pa.types.is_floating(kind):
        width = kind.bit_width // 8
        raw = np.frombuffer(values.buffers()[1], f"<u{width}")[values.offset : values.offset + len(values)]
        for bits_, valid in zip(raw, values.is_valid().to_pylist(), strict=True):
            yield f"{int(bits_):0{2 * width}x}" if valid else None
        return
    for scalar in values:
        yield _cell(scalar)


def _cell(scalar: pa.Scalar) -> Any:
    if not scalar.is_valid:
        return None
    kind = scalar.type
    if pa.types.is_map(kind):
        return [list(pair) for pair in zip(*(_cells(scalar.values.field(n)) for n in (0, 1)), strict=True)]
    if pa.types.is_struct(kind):
        names = [kind.field(n).name for n in range(kind.num_fields)]
        return {name: next(_cells(pa.repeat(scalar[n], 1))) for n, name in enumerate(names)}
    if pa.types.is_nested(kind):
        return list(_cells(scalar.values))
    value = scalar.as_py()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, (dt.date, dt.time, dt.timedelta)):
        raise TypeError(f"{kind} is written as a number")
    if isinstance(value, tuple):
        return list(value)
    return value if isinstance(value, (bool, str)) else format(value, "f") if isinstance(value, Decimal) else str(value)


def as_json() -> str:
    """One pair a line, so that a change shows as a line."""
    whole = document()
    pairs = ",\n".join("  " + json.dumps(pair, ensure_ascii=False) for pair in whole.pop("pairs"))
    return json.dumps(whole, ensure_ascii=False, indent=1)[:-2] + ',\n "pairs": [\n' + pairs + "\n ]\n}\n"


if __name__ == "__main__":
    sys.stdout.write(as_json())
