"""How does the server's own text become typed columns, without a value changing on the way?

COPY ... (FORMAT csv): an unquoted empty field is NULL, "" is the empty string. pyarrow parses each column as its
type; where a value does not fit (an infinite date, NaN in a decimal), the block is read again as text, and what the
type cannot hold is set aside.
"""

import re
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from reversible_exporters.postgres_copy import Rows
from reversible_exporters.postgres_types import Column
from reversible_exporters.table_parts import Block

_DATE = r"^\d{4}-\d\d-\d\d$"
_CLOCK = r"\d\d:\d\d:\d\d(\.\d{1,6})?"
_PLAIN = {
    "date": _DATE,
    "time": r"^([01]\d|2[0-3]):\d\d:\d\d(\.\d{1,6})?$",
    "timestamp": rf"^\d{{4}}-\d\d-\d\d {_CLOCK}$",
    "timestamptz": rf"^\d{{4}}-\d\d-\d\d {_CLOCK}\+00$",
    "decimal": r"^-?\d+(\.\d+)?$",
}


def blocks(chunks: Iterable[Rows], columns: Sequence[Column]) -> Iterator[Block]:
    """Parse COPY's CSV; each message holds exactly one row, as the protocol guarantees for COPY TO.

    Raises:
        ValueError: the text is not what the catalogs announce.
    """
    with_exceptions: set[str] = set()  # columns that turned out to need their text
    for rows in chunks:
        block = _parse(pa.py_buffer(rows.data[: rows.size]), columns, with_exceptions)
        if block.batch.num_rows != len(rows):
            raise ValueError(f"{len(rows)} rows were sent and {block.batch.num_rows} understood")
        with_exceptions |= {name for _, name, _ in block.exceptions}
        yield block


def _parse(text: pa.Buffer, columns: Sequence[Column], with_exceptions: set[str]) -> Block:
    as_text = {column.name for column in columns if column.stored.csv in ("text", "bytea", "time")} | with_exceptions
    try:
        arrays = _read(text, columns, as_text)
    except pa.ArrowInvalid:  # some value does not fit: which one, the text will tell
        as_text |= {column.name for column in columns if column.stored.csv != "direct"}
        arrays = _read(text, columns, as_text)
    exceptions: list[tuple[int, str, str]] = []
    typed: list[pa.Array] = []
    for column, values in zip(columns, arrays, strict=True):
        if column.name in as_text:
            plain, found = set_aside(values, column)
            exceptions += found
            typed.append(convert(plain, column))
        else:
            typed.append(values)
    schema = pa.schema([column.field() for column in columns])
    return Block(pa.RecordBatch.from_arrays(typed, schema=schema), sorted(exceptions))


def _read(text: pa.Buffer, columns: Sequence[Column], as_text: set[str]) -> list[pa.Array]:
    names = [str(n) for n in range(len(columns))]  # a source may have names that a CSV reader would not take
    types = {
        name: pa.string() if column.name in as_text else column.stored.arrow
        for name, column in zip(names, columns, strict=True)
    }
    table = pyarrow.csv.read_csv(
        pa.BufferReader(text),
        read_options=pyarrow.csv.ReadOptions(column_names=names, block_size=text.size + 1, use_threads=False),
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=types, null_values=[""], true_values=["t"], false_values=["f"],
            strings_can_be_null=True, quoted_strings_can_be_null=False,
        ),
    )  # fmt: skip
    return [_whole(values, types[name]) for name, values in zip(names, table.columns, strict=True)]


def _whole(values: pa.ChunkedArray, arrow: pa.DataType) -> pa.Array:
    if values.num_chunks == 1:
        return values.chunk(0)
    return pa.concat_arrays(values.chunks) if values.num_chunks else pa.array([], arrow)


def set_aside(values: pa.Array, column: Column) -> tuple[pa.Array, list[tuple[int, str, str]]]:
    """The values with NULL in the place of each exception, and the exceptions."""
    pattern = _PLAIN.get(column.stored.csv)
    if pattern is None:
        return values, []
    odd = pc.fill_null(pc.invert(pc.match_substring_regex(values, pattern)), False)
    if not pc.any(odd).as_py():
        return values, []
    rows = np.flatnonzero(odd.to_numpy(zero_copy_only=False))
    texts = values.take(pa.array(rows)).to_pylist()
    found = [(int(row), column.name, text) for row, text in zip(rows, texts, strict=True)]
    return pc.if_else(odd, pa.scalar(None, pa.string()), values), found


def is_plain(text: str, column: Column) -> bool:
    """Whether the column's type should hold the value."""
    pattern = _PLAIN.get(column.stored.csv)
    return pattern is None or re.fullmatch(pattern, text, re.ASCII) is not None


def convert(values: pa.Array, column: Column) -> pa.Array:
    """The column's type, from texts of it that are plain.

    Raises:
        ValueError: the text is not what the catalogs announce.
    """
    stored = column.stored
    if stored.csv == "text":
        return values
    if stored.family == "bool":
        true, false = pc.equal(values, "t"), pc.equal(values, "f")
        if pc.any(pc.equal(true, false)).as_py():
            raise ValueError("a boolean is neither t nor f")
        return true
    if stored.csv == "bytea":
        return unhex(values)
    if stored.csv == "time":
        moments = pc.binary_join_element_wise("1970-01-01", values, " ").cast(pa.timestamp("us"))
        return moments.cast(pa.int64()).cast(pa.time64("us"))
    return values.cast(stored.arrow)


def unhex(values: pa.Array) -> pa.Array:
    r"""bytea's hex form, `\x00ff`, as bytes.

    Raises:
        ValueError: a value is not in that form.
    """
    if not len(values):
        return pa.array([], pa.binary())
    filled = pc.fill_null(values, "\\x")
    if not pc.all(pc.starts_with(filled, "\\x")).as_py():
        raise ValueError("a bytea is not in the hex form")
    _, offsets_buffer, data_buffer = pa.concat_arrays([filled.cast(pa.large_binary())]).buffers()
    offsets = np.frombuffer(offsets_buffer, np.int64)[: len(values) + 1]
    kept = np.ones(offsets[-1], np.bool_)
    kept[offsets[:-1]] = kept[offsets[:-1] + 1] = False  # "\x"
    nibbles = _NIBBLES[np.frombuffer(data_buffer, np.uint8)[: offsets[-1]][kept]]
    ends = offsets - 2 * np.arange(len(offsets))
    if offsets[0] or (ends % 2).any() or (nibbles > 15).any():
        raise ValueError("a bytea is not in the hex form")
    content = (nibbles[0::2] << 4 | nibbles[1::2]).astype(np.uint8)
    halved = pa.py_buffer((ends // 2).astype(np.int32))
    valid = pc.is_valid(values).buffers()[1]
    return pa.Array.from_buffers(pa.binary(), len(values), [valid, halved, pa.py_buffer(content)])


_NIBBLES = np.full(256, 255, np.uint8)
for _n, _digit in enumerate(b"0123456789abcdef"):
    _NIBBLES[_digit] = _n
