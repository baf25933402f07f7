"""Do the compiled loops read COPY's text as it is meant, and refuse what the server does not write?"""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reversible.machine_code import Loop
from reversible_exporters import postgres_loops, postgres_text, table_parts
from reversible_exporters.postgres_copy import PADDING, Rows
from reversible_exporters.postgres_types import Column

ESCAPES = {"\\": r"\\", "\b": r"\b", "\f": r"\f", "\n": r"\n", "\r": r"\r", "\t": r"\t", "\v": r"\v"}


@pytest.fixture(scope="module")
def loops() -> Mapping[str, Loop]:
    found = postgres_loops.loops(1 << 40)
    assert found is not None
    return found


def column(base: str, typmod: int = -1, name: str = "c") -> Column:
    return Column(name=name, source_type=base, base=base, typmod=typmod)


def numeric(precision: int, scale: int) -> Column:
    return column("numeric", (precision << 16 | scale) + 4)


def message(fields: Sequence[str | None]) -> bytes:
    """A row as CopyOneRowTo writes it."""
    texts = [r"\N" if one is None else "".join(ESCAPES.get(letter, letter) for letter in one) for one in fields]
    return "\t".join(texts).encode() + b"\n"


def block(messages: Sequence[bytes]) -> Rows:
    """One block; what follows the last row is not zero, so that a loop that reads on is seen."""
    ends = np.cumsum([len(one) for one in messages])
    data = np.frombuffer(b"".join(messages) + b"7" * PADDING, np.uint8)
    return Rows(data, ends - [len(one) for one in messages], int(ends[-1]))


def read(loops: Mapping[str, Loop], columns: Sequence[Column], *blocks: Sequence[bytes]) -> list[table_parts.Block]:
    found = list(postgres_text.blocks([block(one) for one in blocks], columns, loops))
    for one in found:
        one.batch.validate(full=True)
    return found


def values(loops: Mapping[str, Loop], one: Column, texts: Sequence[str | None]) -> list[Any]:
    (found,) = read(loops, [one], [message([text]) for text in texts])
    assert found.exceptions == []
    plain = found.batch.column(0)
    return list((plain.dictionary_decode() if pa.types.is_dictionary(plain.type) else plain).to_pylist())


def edges(bits: int) -> list[int]:
    least = -(1 << bits - 1)
    return [
        0,
        1,
        -1,
        least,
        least + 1,
        -least - 1,
        *(sign * 10**n for n in range(len(str(-least))) for sign in (1, -1)),
    ]


@pytest.mark.parametrize(("base", "bits"), [("int2", 16), ("int4", 32), ("int8", 64)])
def test_whole_numbers_to_their_edges(loops: Mapping[str, Loop], base: str, bits: int) -> None:
    numbers = [*edges(bits), None]

    assert values(loops, column(base), [None if one is None else str(one) for one in numbers]) == numbers


@pytest.mark.parametrize(
    ("base", "text"),
    [
        *((f"int{bits // 8}", str(one)) for bits in (16, 32, 64) for one in (1 << bits - 1, -(1 << bits - 1) - 1)),
        *(("int8", one) for one in ("", "-", "+1", "1.0", "1 ", " 1", "0x1", "1a", "12345678a", "9" * 19, "9" * 20)),
        *(("int8", one) for one in ("123456789:", "/23456789", "\uff11", "1\\N", "--1")),
    ],
)  # fmt: skip
def test_no_other_text_is_a_whole_number(loops: Mapping[str, Loop], base: str, text: str) -> None:
    with pytest.raises(ValueError, match="is no value of"):
        read(loops, [column(base)], [message(["1"]), message([text])])


@given(st.integers(1, 18).flatmap(lambda p: st.tuples(st.just(p), st.integers(0, p))), st.data())
def test_decimals_of_every_precision(loops: Mapping[str, Loop], size: tuple[int, int], data: st.DataObject) -> None:
    precision, scale = size
    most = 10**precision - 1
    numbers = [*data.draw(st.lists(st.integers(-most, most), max_size=9)), most, -most, 0]
    decimals = [Decimal(one).scaleb(-scale) for one in numbers]

    assert values(loops, numeric(precision, scale), [f"{one:f}" for one in decimals]) == decimals


@pytest.mark.parametrize("text", ["1000.00", "-1000.00", "1.0", "1.000", "12", "100000000000000000000.00"])
def test_a_decimal_that_its_column_cannot_hold_is_an_error(loops: Mapping[str, Loop], text: str) -> None:
    with pytest.raises(ValueError, match="is no value of"):
        read(loops, [numeric(5, 2)], [message([text])])


@pytest.mark.parametrize(
    ("one", "plain", "odd"),
    [
        (numeric(5, 2), "1.50", ["NaN", "1,50", "1.5e1", "", ".50", "1.", "-", "1.-5"]),
        (column("date"), "2026-11-26", ["infinity", "-infinity", "10000-01-01", "0044-03-15 BC", "2026/11/26"]),
        (column("timestamp"), "2026-11-26 01:02:03", ["infinity", "10000-01-01 00:00:00", "0044-03-15 01:02:03 BC"]),
        (column("timestamp"), "2026-11-26 01:02:03", ["2026-11-26T01:02:03", "2026-11-26 01:02:03+00"]),
        (column("timestamptz"), "2026-11-26 01:02:03+00", ["-infinity", "2026-11-26 01:02:03"]),
        (column("timestamptz"), "2026-11-26 01:02:03+00", ["2026-11-26 01:02:03+02", "2026-11-26 01:02:03+00:30"]),
    ],
)  # fmt: skip
def test_what_the_type_cannot_hold_is_set_aside(
    loops: Mapping[str, Loop], one: Column, plain: str, odd: list[str]
) -> None:
    rows = [message([str(n), text]) for n, text in enumerate([plain, *odd])]
    (found,) = read(loops, [column("int4", name="id"), one], rows)

    assert found.exceptions == [(n, "c", text) for n, text in enumerate(odd, 1)]
    assert found.batch.column(1).null_count == len(odd)
    assert found.batch.column(1)[0].is_valid


@given(st.lists(st.none() | st.dates(), min_size=1, max_size=50))
def test_days(loops: Mapping[str, Loop], days: list[date | None]) -> None:
    assert (
        values(loops, column("date"), [None if one is None else f"{one:%4Y-%m-%d}".rjust(10, "0") for one in days])
        == days
    )


def test_every_day_of_four_centuries_follows_the_one_before(loops: Mapping[str, Loop]) -> None:
    begin = date(1600, 1, 1)
    days = [begin + timedelta(n) for n in range(146_097)]

    assert values(loops, column("date"), [one.isoformat() for one in days]) == days


NO_DAYS = "2023-02-29", "1900-02-29", "2026-04-31", "2026-13-01", "2026-00-01", "2026-01-00", "2026-01-32", "0000-01-01"


@pytest.mark.parametrize("text", NO_DAYS)
def test_no_day_of_the_calendar_is_an_error(loops: Mapping[str, Loop], text: str) -> None:
    with pytest.raises(ValueError, match="is no value of"):
        read(loops, [column("date")], [message([text])])
    with pytest.raises(ValueError, match="is no value of"):
        read(loops, [column("timestamp")], [message([f"{text} 00:00:00"])])


@given(st.lists(st.datetimes(), min_size=1, max_size=50), st.booleans())
def test_moments(loops: Mapping[str, Loop], moments: list[datetime], zoned: bool) -> None:
    texts = []
    for one in moments:
        micros = f".{one.microsecond:06}".rstrip("0").rstrip(".")
        texts.append(f"{one.year:04}-{one:%m-%d %H:%M:%S}{micros}{'+00' if zoned else ''}")
    found = values(loops, column("timestamptz" if zoned else "timestamp"), texts)

    assert found == [one.replace(tzinfo=UTC) if zoned else one for one in moments]


@pytest.mark.parametrize("clock", ["24:00:00", "23:60:00", "23:59:60"])
def test_no_time_of_the_day_is_an_error(loops: Mapping[str, Loop], clock: str) -> None:
    with pytest.raises(ValueError, match="is no value of"):
        read(loops, [column("timestamp")], [message([f"2026-11-26 {clock}"])])


TEXTS = st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=90)
FEW = st.sampled_from(["", "N", r"\N", "A", "été", "a\tb", "line\nfeed", "back\\slash", "x" * 64, None])


@given(st.lists(st.lists(st.tuples(TEXTS, FEW), min_size=1, max_size=30), min_size=1, max_size=3))
def test_texts_with_all_that_must_be_escaped(
    loops: Mapping[str, Loop], blocks: list[list[tuple[str | None, str | None]]]
) -> None:
    columns = [column("text", name="many"), column("text", name="few"), column("varchar", name="last")]
    found = read(loops, columns, *([message([many, few, many]) for many, few in one] for one in blocks))

    for one, rows in zip(found, blocks, strict=True):
        many, few, last = one.batch.columns
        assert pa.types.is_dictionary(few.type)
        assert few.to_pylist() == [value for _, value in rows]
        assert many.to_pylist() == last.to_pylist() == [value for value, _ in rows]


def test_a_dictionary_grows_and_is_given_up_when_there_are_too_many_values(loops: Mapping[str, Loop]) -> None:
    texts = [[f"value {n % 200}" for n in range(1000)], [f"value {n}" for n in range(255)], ["value 7", "one too many"]]
    found = read(loops, [column("text")], *([message([one]) for one in block] for block in texts))

    assert [pa.types.is_dictionary(one.batch.column(0).type) for one in found] == [True, True, False]
    assert [one.batch.column(0).to_pylist() for one in found] == texts


def test_texts_that_differ_only_in_their_middle_are_two_entries(loops: Mapping[str, Loop]) -> None:
    texts = [f"beginning{middle}the ending" for middle in ("a", "b", "bb", "ab")]
    coded = read(loops, [column("text")], [message([one]) for one in texts])[0].batch.column(0)

    assert coded.to_pylist() == texts
    assert len(coded.dictionary) == len(set(texts))


@pytest.mark.parametrize("base", ["text", "bytea"])  # as a dictionary, and as a text
@pytest.mark.parametrize("raw", [rb"\q", b"\\", rb"a\N", rb"\x41", b"\xff", b"\xc3", b"\xed\xa0\x80"])
def test_what_copy_does_not_write_is_an_error(loops: Mapping[str, Loop], base: str, raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"backslash|UTF-?8|utf-8|hex form"):
        read(loops, [column(base), column("int4", name="n")], [raw + b"\t1\n"])


@pytest.mark.parametrize(
    "messages",
    [
        [b"1\t2\n", b"1\n"],
        [b"1\t2\n", b"1\t2\t3\n"],
        [b"1\t2\n", b"1\t2"],
        [b"1\t2\n", b"1\n2\n"],  # a line feed instead of a tab
        [b"1\t2\t", b"1\t2\n"],
        [b"1\t2\n1\t2\n", b"1\t2\n"],  # two rows in one message
        [b"1\t", b"2\n1\t2\n"],  # as many fields, but not where the messages end
        [b"\n", b"1\t2\n1\t2\n"],
        [b"1\t2\n" * 40, b"1\t2\n"],
    ],
)
def test_a_row_with_other_fields_is_an_error(loops: Mapping[str, Loop], messages: list[bytes]) -> None:
    with pytest.raises(ValueError, match="rows were sent"):
        read(loops, [column("int4", name="a"), column("int4", name="b")], messages)


def test_booleans_floats_and_bytes(loops: Mapping[str, Loop]) -> None:
    floats = ["NaN", "Infinity", "-Infinity", "-0", "5e-324", "1.7976931348623157e+308", "0.1", None]
    expected = [float(one) if one else None for one in floats]

    assert list(map(repr, values(loops, column("float8"), floats))) == list(map(repr, expected))
    assert values(loops, column("bool"), ["t", "f", None]) == [True, False, None]
    assert values(loops, column("bool"), [None]) == [None]
    assert values(loops, column("bytea"), [r"\x", r"\x00ff", None]) == [b"", b"\x00\xff", None]
    with pytest.raises(ValueError, match="neither t nor f"):
        read(loops, [column("bool")], [message(["t"]), message(["true"])])


@pytest.mark.parametrize("count", [1, 63, 64, 65, 4096])
@pytest.mark.parametrize("width", [1, 2, 70])
def test_rows_of_every_length_around_a_word(loops: Mapping[str, Loop], count: int, width: int) -> None:
    columns = [column("text", name=str(n)) for n in range(width)]
    rows = [["x" * ((row * 7 + n) % 70) for n in range(width)] for row in range(count)]
    (found,) = read(loops, columns, [message(row) for row in rows])

    assert [list(one) for one in zip(*(array.to_pylist() for array in found.batch.columns), strict=True)] == rows
