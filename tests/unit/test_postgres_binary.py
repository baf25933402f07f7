"""Is a COPY binary stream that is not whole, or not what the catalogs announce, refused?"""

import struct
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reversible_exporters import postgres_binary
from reversible_exporters.postgres_copy import PADDING, Rows
from reversible_exporters.postgres_types import Column

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
COLUMNS = [
    Column(name="id", source_type="bigint", base="int8", typmod=-1),
    Column(name="texte", source_type="text", base="text", typmod=-1),
]


def row(id_: int, text: str | None, *, text_length: int | None = None, more: bytes = b"", fields: int = 2) -> bytes:
    value = b"" if text is None else text.encode()
    length = (-1 if text is None else len(value)) if text_length is None else text_length
    return struct.pack(">hiqi", fields, 8, id_, length) + value + more


def block(messages: Sequence[bytes]) -> Rows:
    sizes = np.array([len(one) for one in messages], np.int64)
    data = np.frombuffer(b"".join(messages) + b"\x7f" * PADDING, np.uint8)
    return Rows(data, np.cumsum(sizes) - sizes, int(sizes.sum()))


def read(*blocks: Sequence[bytes]) -> list[tuple[int | None, str | None]]:
    found: list[tuple[int | None, str | None]] = []
    for cells, count in postgres_binary.batches(map(block, blocks), COLUMNS):
        rows = list(zip(cells["id"].values.to_pylist(), cells["texte"].values.to_pylist(), strict=True))
        assert len(rows) == count
        found += rows
    return found


A, B, C = row(1, "a" * 300), row(2, None), row(-3, "")
ALL = [(1, "a" * 300), (2, None), (-3, "")]


def test_rows_are_read_however_they_are_cut_into_blocks() -> None:
    whole = [HEADER + A, B, C, TRAILER]

    assert read(whole) == ALL
    assert read(*([one] for one in whole)) == ALL
    assert read([HEADER + TRAILER]) == []


@pytest.mark.parametrize(
    ("blocks", "said"),
    [
        ([[HEADER + A, B, C]], "ended without its trailer"),
        ([], "ended without its trailer"),
        ([[A, B, C, TRAILER]], "signature is missing"),
        ([[HEADER[:7]]], "signature is missing"),
        ([[HEADER + A, TRAILER], [B, TRAILER]], "went on after its trailer"),
        ([[HEADER + A, TRAILER, B]], "does not have 2 fields"),
        ([[HEADER + A, row(2, "b", fields=3), TRAILER]], "does not have 2 fields"),
        ([[HEADER + A, row(2, "b", more=b"\0"), TRAILER]], "does not end with its last field"),
        ([[HEADER + A, row(2, "b", text_length=0), TRAILER]], "does not end with its last field"),
        ([[HEADER + A, row(2, "b", text_length=2), TRAILER]], "does not end inside its row"),
        ([[HEADER + A, row(2, "b", text_length=1 << 30), TRAILER]], "does not end inside its row"),
        ([[HEADER + A, row(2, None, text_length=-2), TRAILER]], "does not end inside its row"),
        ([[HEADER + A, row(2, "b")[:9], TRAILER]], "does not end inside its row"),
        ([[HEADER + A, b"\0\2", TRAILER]], "does not end inside its row"),
    ],
)
def test_bytes_that_are_not_what_was_announced_are_refused(blocks: list[list[bytes]], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read(*blocks)


def test_rows_without_columns_are_counted() -> None:
    nothing = struct.pack(">hi", 1, -1)

    assert [count for _, count in postgres_binary.batches([block([HEADER + nothing, nothing, TRAILER])], [])] == [2]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.none(), st.integers(0, 900).map(lambda n: "é" * n)), min_size=1, max_size=8))
def test_long_and_short_texts_are_gathered_alike(texts: list[str | None]) -> None:
    """Above and below the average length from which on fields are copied one by one."""
    rows = [row(number, text) for number, text in enumerate(texts)]

    assert read([HEADER + rows[0], *rows[1:], TRAILER]) == list(enumerate(texts))
