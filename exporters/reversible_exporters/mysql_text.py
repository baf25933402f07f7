"""How does the server's own text become typed columns, without a value changing on the way?

The text protocol sends every value as its length and its text, or as NULL. All rows of a block are walked at once,
column by column. Where every length is one byte, that byte is overwritten with a separator that no value holds, and
Arrow's CSV reader takes the whole block; else each column is gathered and converted. What a type cannot hold is set
aside.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from reversible_exporters.mysql_protocol import Rows
from reversible_exporters.mysql_types import Column
from reversible_exporters.table_parts import Block

_NULL = 0xFB
_WIDTHS = {0xFC: 2, 0xFD: 3, 0xFE: 8}  # bytes of a length that follows its mark
_CLOCK = r"\d\d:\d\d:\d\d(\.\d{1,6})?"
_PLAIN = {
    "date": r"^\d{4}-\d\d-\d\d$",
    "moment": rf"^\d{{4}}-\d\d-\d\d {_CLOCK}$",
    "time": r"^([01]\d|2[0-3]):\d\d:\d\d(\.\d{1,6})?$",
    "decimal": r"^-?\d+(\.\d+)?$",
}
_FIRST_DAY = -719_162  # 0001-01-01: the year 0 is MySQL's, and not a date elsewhere
_TWO_GIGABYTES = (1 << 31) - 1
_SEPARATOR, _LINE_FEED, _CARRIAGE_RETURN, _FILL = 0x01, 0x0A, 0x0D, 0x30
_BEFORE = "before"  # the rest of a packet's header stands before the first field


def select_list(columns: Sequence[Column]) -> str:
    """What to ask for: each column, and after it what stands for the values that it does not tell."""
    asked = [
        column.sql(template) for column in columns for template in (column.stored.select, column.stored.odd) if template
    ]
    return ", ".join(asked)


def has_odd_bytes(columns: Sequence[Column]) -> bool:
    """Whether the query itself tells which texts utf8mb4 lacks."""
    return any(column.stored.odd_is_bytes for column in columns)


def blocks(answer: Iterable[Rows], columns: Sequence[Column]) -> Iterator[Block]:
    """Parse the rows of `SELECT select_list(columns)`.

    Raises:
        ValueError: the text is not what the catalog announces.
    """
    schema = pa.schema([column.field() for column in columns])
    for rows in answer:
        yield _parse(rows, columns, schema)


def _parse(rows: Rows, columns: Sequence[Column], schema: pa.Schema) -> Block:
    fields = sum(1 + bool(column.stored.odd) for column in columns)
    walk = _Walk(rows, fields)
    plain = _plainly(walk, columns)
    arrays: list[pa.Array] = []
    exceptions: list[tuple[int, str, str]] = []
    for column in columns:
        ready = None if plain is None else plain.get(column.name)
        values, found = (ready, []) if ready is not None else _converted(walk.values(), column)
        if ready is not None:
            walk.skip()
        if column.stored.odd:
            told = walk.values()
            odd = np.flatnonzero(told.is_valid().to_numpy(zero_copy_only=False))
            if len(odd):
                texts = told.take(pa.array(odd)).to_pylist()
                found = [
                    (int(row), "0x" + text.hex().upper() if column.stored.odd_is_bytes else text.decode())
                    for row, text in zip(odd, texts, strict=True)
                ]
                values = pc.if_else(told.is_valid(), pa.scalar(None, values.type), values)
        arrays.append(values)
        exceptions += [(row, column.name, text) for row, text in found]
    return Block(pa.RecordBatch.from_arrays(arrays, schema=schema), sorted(exceptions))


def _plainly(walk: "_Walk", columns: Sequence[Column]) -> dict[str, pa.Array] | None:
    """The columns that Arrow's CSV reader converts as they stand, by name; None when the block is not made for it."""
    text = walk.separated()
    if text is None:
        return None
    names: list[str] = [_BEFORE]
    types: dict[str, pa.DataType] = {}
    for n, column in enumerate(columns):
        names.append(str(n))
        types[str(n)] = pa.timestamp("us") if column.stored.text == "moment" else column.stored.arrow  # no zone is sent
        names += [f"{n} odd"] if column.stored.odd else []
    wanted = [str(n) for n, column in enumerate(columns) if column.stored.text != "time"]
    try:
        table = pyarrow.csv.read_csv(
            pa.py_buffer(text),
            read_options=pyarrow.csv.ReadOptions(column_names=names, block_size=len(text) + 1, use_threads=False),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=chr(_SEPARATOR), quote_char=False, double_quote=False, escape_char=False,
                newlines_in_values=False, ignore_empty_lines=False,
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=types, include_columns=wanted, null_values=[""], strings_can_be_null=False,
                timestamp_parsers=[pyarrow.csv.ISO8601],
            ),
        )  # fmt: skip
    except pa.ArrowInvalid:
        return None  # some value is not plain: the other way sets it aside
    if table.num_rows != walk.rows:
        return None
    found: dict[str, pa.Array] = {}
    for name, chunked in zip(table.column_names, table.columns, strict=True):
        column = columns[int(name)]
        values = chunked.chunk(0) if chunked.num_chunks == 1 else chunked.combine_chunks()
        null = walk.null(int(name) + sum(bool(one.stored.odd) for one in columns[: int(name)]))
        if column.stored.text in ("text", "binary"):
            values = values if null is None else pc.if_else(pa.array(null), pa.scalar(None, values.type), values)
        elif values.null_count != (0 if null is None else int(null.sum())):
            raise ValueError(f"column {column.name}: empty values that are not NULL")
        if column.stored.text == "moment":
            values = values.cast(pa.int64()).cast(column.stored.arrow)
        if column.stored.text not in ("date", "moment") or not _before_the_first_day(values):
            found[column.name] = values
    return found


class _Walk:
    """Goes through the fields of all rows of a block, one column after the other.

    Raises:
        ValueError: a row is shorter or longer than its fields.
    """

    def __init__(self, rows: Rows, fields: int) -> None:
        # A length after the end can be asked for before it is seen that a row is too short.
        self._bytes = np.concatenate([rows.buffer, np.zeros(16, np.uint8)])
        self.rows = len(rows.starts)
        self._begins = rows.starts
        self._starts: list[npt.NDArray[np.int64]] = []
        self._ends: list[npt.NDArray[np.int64]] = []
        self._null: list[npt.NDArray[np.bool_] | None] = []
        self._short = True
        self._next = 0
        at = rows.starts
        for _ in range(fields):
            if (at >= rows.ends).any():
                raise ValueError("a row ends before its last column")
            at = self._field(at)
        if (at != rows.ends).any():
            raise ValueError("a row is not as long as its columns")

    def values(self) -> pa.Array:
        """The next field of each row, as bytes; NULL where the server says so."""
        self._next += 1
        n = self._next - 1
        return self._gathered(self._starts[n], self._ends[n], self._null[n])

    def skip(self) -> None:
        self._next += 1

    def null(self, field: int) -> npt.NDArray[np.bool_] | None:
        """Where the field is NULL; None when it is nowhere."""
        return self._null[field]

    def separated(self) -> npt.NDArray[np.uint8] | None:
        """The rows as lines whose fields, and an empty one before them, are set apart by a sign that no value holds."""
        if not self._short or not self.rows:
            return None
        text = self._bytes[: self._ends[-1][-1]].copy()
        head = self._begins - 4
        text[head] = _LINE_FEED
        for n in range(1, 4):
            text[head + n] = _FILL
        for starts in self._starts:
            text[starts - 1] = _SEPARATOR
        first = head[0]
        text = text[first + 1 :]  # the first line needs no line feed before it
        separators = len(self._starts) * self.rows
        if (
            np.count_nonzero(text == _SEPARATOR) != separators
            or np.count_nonzero(text == _LINE_FEED) != self.rows - 1
            or (text == _CARRIAGE_RETURN).any()
        ):
            return None
        return text

    def _field(self, at: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        marks = self._bytes[at]
        ends = starts = at + 1
        null = None
        if (marks >= _NULL).any():
            null = marks == _NULL
            lengths = np.where(null, 0, marks.astype(np.int64))
            for mark, width in _WIDTHS.items():
                self._long(np.flatnonzero(marks == mark), width, starts, lengths)
            if (lengths < 0).any():
                raise ValueError("a value of a negative length")
            ends = starts + lengths
        else:
            ends = starts + marks
        self._starts.append(starts)
        self._ends.append(ends)
        self._null.append(null if null is not None and null.any() else None)
        if len(ends) and ends.max() > len(self._bytes) - 16:
            raise ValueError("a value is longer than its row")
        return ends

    def _long(
        self, rows: npt.NDArray[np.int64], width: int, starts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]
    ) -> None:
        if len(rows):
            self._short = False
            lengths[rows] = 0
            for n in range(width):
                lengths[rows] |= self._bytes[starts[rows] + n].astype(np.int64) << (8 * n)
            starts[rows] += width

    def _gathered(
        self, starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64], null: npt.NDArray[np.bool_] | None
    ) -> pa.Array:
        """The stretches as an Arrow array. They lie in order: an array of stretches and gaps over the same bytes."""
        bounds = np.empty(2 * len(starts), np.int64)
        bounds[0::2], bounds[1::2] = starts, ends
        wide = len(self._bytes) > _TWO_GIGABYTES
        offsets = pa.py_buffer(bounds if wide else bounds.astype(np.int32))
        kind = pa.large_binary() if wide else pa.binary()
        both = pa.Array.from_buffers(kind, len(bounds) - 1, [None, offsets, pa.py_buffer(self._bytes)])
        index = np.arange(0, len(bounds), 2, dtype=np.int64)
        found = both.take(pa.array(index, mask=null))
        return found.cast(pa.binary()) if wide else found


def _converted(raw: pa.Array, column: Column) -> tuple[pa.Array, list[tuple[int, str]]]:
    """The column as its Arrow type, and the exceptions as (row, text)."""
    stored = column.stored
    if stored.text == "binary":
        return raw, []
    try:
        texts = raw.cast(pa.string())
    except pa.ArrowInvalid:
        return _not_unicode(raw)
    if stored.text in ("text",):
        return texts, []
    if stored.text in ("int", "float"):
        return texts.cast(stored.arrow), []
    try:
        typed = _typed(texts, column)
        if stored.text == "decimal" or not _before_the_first_day(typed):
            return typed, []
    except pa.ArrowInvalid:
        pass  # some value is not plain: set it aside
    odd = _not_plain(texts, stored.text)
    rows = np.flatnonzero(odd.to_numpy(zero_copy_only=False))
    said = texts.take(pa.array(rows)).to_pylist()
    kept = pc.if_else(odd, pa.scalar(None, pa.string()), texts)
    return _typed(kept, column), [(int(row), text) for row, text in zip(rows, said, strict=True)]


def _typed(texts: pa.Array, column: Column) -> pa.Array:
    stored = column.stored
    if stored.text == "time":
        moments = pc.binary_join_element_wise("1970-01-01", texts, " ").cast(pa.timestamp("us"))
        return moments.cast(pa.int64()).cast(pa.time64("us"))
    if stored.text == "moment":
        return texts.cast(pa.timestamp("us")).cast(pa.int64()).cast(stored.arrow)
    return texts.cast(stored.arrow)


def _before_the_first_day(values: pa.Array) -> bool:
    if pa.types.is_time(values.type):
        return False
    days = values if pa.types.is_date(values.type) else values.cast(pa.int64()).cast(pa.timestamp("us"))
    first = pc.min(days.cast(pa.date32(), safe=False).cast(pa.int32())).as_py()
    return first is not None and first < _FIRST_DAY


def _not_plain(texts: pa.Array, kind: str) -> pa.Array:
    """Which values their type cannot hold: of another form, no day of the calendar, or the year 0."""
    odd = pc.invert(pc.match_substring_regex(texts, _PLAIN[kind]))
    if kind in ("date", "moment"):
        days = pc.strptime(pc.utf8_slice_codeunits(texts, 0, 10), "%Y-%m-%d", "s", error_is_null=True)
        again = pc.equal(pc.strftime(days, "%Y-%m-%d"), pc.utf8_slice_codeunits(texts, 0, 10))
        calendar = pc.and_(pc.fill_null(again, False), pc.invert(pc.starts_with(texts, "0000")))
        odd = pc.or_(odd, pc.invert(calendar))
    return pc.fill_null(odd, False)


def _not_unicode(raw: pa.Array) -> tuple[pa.Array, list[tuple[int, str]]]:
    """Bytes that a text column holds and that are no UTF-8: set aside as they are."""
    kept: list[str | None] = []
    odd: list[tuple[int, str]] = []
    for row, value in enumerate(raw.to_pylist()):
        try:
            kept.append(None if value is None else value.decode())
        except UnicodeDecodeError:
            kept.append(None)
            odd.append((row, "0x" + value.hex().upper()))
    return pa.array(kept, pa.string()), odd
