"""Which bytes stand for a row, whatever engine, encoding and batch it came in? See docs/fingerprint-strong.md."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from reversible.fingerprint import Cells, Column
from reversible.fingerprint.families import Family, parse
from reversible.fingerprint.strong_values import Block, joined, offsets, stacked, values_of

ROW = b"\x00"  # the domain of a row, see docs/fingerprint-strong.md section 3
_ABSENT, _PRESENT, _EXCEPTION = 0, 1, 2
_HEAD = 5  # bytes before a cell's value: its state, and the value's length
_MOST = (1 << 32) - 1  # bytes of one value: what four bytes of length can say
_NOTHING = pa.scalar(b"", pa.large_binary())
_NULL_CELL = pa.scalar(bytes(_HEAD), pa.large_binary())

Piece: TypeAlias = "Block | pa.Array"  # some bytes of each row: of one width, or a binary array without NULL


def in_name_order(columns: Iterable[Column]) -> tuple[Column, ...]:
    """The columns in the order of their names' UTF-8 bytes, which is the order of the code points."""
    return tuple(sorted(columns, key=lambda column: column.name))


def records(columns: Sequence[Column], batch: Mapping[str, Cells], rows: int) -> tuple[memoryview, list[int]]:
    """Domain byte and canonical bytes of each row, one after the other, and the rows + 1 places where they begin.

    Raises:
        ValueError: a column is not as long as the batch, or a value is not of its family.
    """
    pieces: list[Piece] = [Block(ROW)]
    for column in in_name_order(columns):
        pieces += _column(batch[column.name], parse(column.family), column.name, rows)
    whole = _together(pieces, rows)
    return memoryview(whole.buffers()[2] or b""), offsets(whole).tolist()


def record(columns: Sequence[Column], batch: Mapping[str, Cells], row: int = 0) -> bytes:
    """The canonical bytes of one row, without the domain byte."""
    data, at = records(columns, batch, len(next(iter(batch.values())).values) if batch else row + 1)
    return bytes(data[at[row] + len(ROW) : at[row + 1]])


def _column(cells: Cells, family: Family, name: str, rows: int) -> list[Piece]:
    if len(cells.values) != rows:
        raise ValueError(f"column {name} has {len(cells.values)} values in a batch of {rows} rows")
    pieces = _cells(plain(cells.values), family)
    if cells.exceptions:
        mask = np.zeros(rows, np.bool_)
        mask[list(cells.exceptions)] = True
        texts = [cells.exceptions[row].encode() for row in sorted(cells.exceptions)]
        odd = pa.array([bytes([_EXCEPTION]) + len(one).to_bytes(4, "big") + one for one in texts], pa.large_binary())
        pieces = [pc.replace_with_mask(_together(pieces, rows), pa.array(mask), odd)]
    return pieces


def _cells(values: pa.Array, family: Family) -> list[Piece]:
    """State, length and bytes of each value."""
    rows = len(values)
    if pa.types.is_null(values.type):
        return [Block(bytes(_HEAD))]
    if family.kind in ("text", "binary"):
        return _variable(values, values.cast(pa.large_binary()))
    if family.kind in ("list", "map", "struct"):
        return _variable(values, _nested(values, family))
    narrow, wide = values_of(values, family)
    cells = _present(narrow)
    if wide is None and not values.null_count:
        return [cells]
    whole = stacked([cells], rows)
    if wide is not None:
        whole = pc.if_else(pa.array(wide[1]), stacked([_present(wide[0])], rows), whole)
    return [pc.if_else(values.is_null(), _NULL_CELL, whole)]


def _present(value: Block) -> Block:
    head = bytes([_PRESENT]) + len(value.pattern).to_bytes(4, "big")
    return Block(head + value.pattern, tuple((at + _HEAD, column) for at, column in value.columns))


def _variable(values: pa.Array, contents: pa.Array) -> list[Piece]:
    """Values of any length: a head of one width, then the contents."""
    if values.null_count:
        contents = pc.if_else(values.is_null(), _NOTHING, contents)
    sizes = np.diff(offsets(contents))
    if len(sizes) and sizes.max() > _MOST:
        raise ValueError(f"a value has {sizes.max()} bytes; {_MOST} are the most")
    states = values.is_valid().cast(pa.uint8()).to_numpy(zero_copy_only=False)
    return [Block(bytes(_HEAD), ((0, states), (1, sizes.astype(">u4")))), contents]


def plain(values: pa.Array) -> pa.Array:
    """One array without chunks, dictionaries, runs or extension types."""
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if isinstance(values, pa.ExtensionArray):
        return plain(values.storage)
    if pa.types.is_run_end_encoded(values.type):
        return plain(pc.run_end_decode(values))
    return plain(values.dictionary_decode()) if pa.types.is_dictionary(values.type) else values


# --- nested values ----------------------------------------------------------------------------------------------


def _nested(values: pa.Array, family: Family) -> pa.Array:
    """The cells inside: of a list and a map one after the other, of a struct in the order of the names.

    Raises:
        ValueError: the values are of another family.
    """
    kind = values.type
    if family.kind == "struct" and pa.types.is_struct(kind):
        names = [kind.field(n).name for n in range(kind.num_fields)]
        if sorted(names) == [name for name, _ in family.fields]:
            parts = [(values.field(names.index(name)), part) for name, part in family.fields]
            return _side_by_side(parts, len(values))
    elif family.kind == "map" and pa.types.is_map(kind):
        entries = values.values
        both = _side_by_side([(entries.field(n), part) for n, (_, part) in enumerate(family.fields)], len(entries))
        return _grouped(both, np.asarray(values.offsets, np.int64))
    elif family.kind == "list" and not pa.types.is_map(kind) and pa.types.is_nested(kind):
        sizes = np.asarray(pc.list_value_length(values).fill_null(0), np.int64)
        items = pc.list_flatten(values)  # leaves out what a NULL list hides
        inside = _side_by_side([(items, family.fields[0][1])], len(items))
        return _grouped(inside, np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)]))
    raise ValueError(f"{kind} is not of the family {family.text}")


def _side_by_side(parts: Sequence[tuple[pa.Array, Family]], rows: int) -> pa.Array:
    return _together([piece for values, family in parts for piece in _cells(plain(values), family)], rows)


def _grouped(cells: pa.Array, starts: npt.NDArray[np.int64]) -> pa.Array:
    """The cells from each start to the next, as one value: the same bytes under fewer offsets."""
    groups = pa.py_buffer(np.ascontiguousarray(offsets(cells)[starts])) if len(starts) else None
    return pa.Array.from_buffers(
        pa.large_binary(), max(0, len(starts) - 1), [None, groups, cells.buffers()[2] or pa.py_buffer(b"")]
    )  # fmt: skip


def _together(pieces: Sequence[Any], rows: int) -> pa.Array:
    """The pieces side by side, one value a row; neighbours of one width are stacked first."""
    arrays: list[pa.Array] = []
    blocks: list[Block] = []
    for piece in pieces:
        if isinstance(piece, Block):
            blocks.append(piece)
            continue
        if blocks:
            arrays.append(stacked(blocks, rows))
        arrays.append(piece)
        blocks = []
    if blocks or not arrays:
        arrays.append(stacked(blocks, rows))
    return joined(arrays)
