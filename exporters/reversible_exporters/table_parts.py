"""How do the rows of a table become Parquet parts, with what a typed column cannot hold kept beside them?

Every database exporter writes through here, so that all bundles have one form (docs/bundle-format.md, "A table").
"""

import base64
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import IO, TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from reversible.assets import Asset

if TYPE_CHECKING:
    from reversible.bundle.writer import BundleWriter

_GROUP_ROWS = 1 << 17  # rows of a Parquet row group: a reader's unit of memory
_GROUP_BYTES = 64 << 20
_SAMPLE_ROWS, _REPEATS = 1 << 13, 4  # a column repeats itself when its first values occur four times on average
_EXCEPTIONS = pa.schema([("row", pa.int64()), ("column", pa.string()), ("text", pa.string())])


@dataclass(frozen=True)
class Block:
    """Some rows in a row: the typed batch, and its exceptions as (row in the batch, column, the source's text).

    The batch's columns are those of the table, in their order; a text may come as a dictionary.
    """

    batch: pa.RecordBatch
    exceptions: Sequence[tuple[int, str, str]] = ()


def write_parts(
    blocks: Iterable[Block], schema: pa.Schema, asset: Asset, into: "BundleWriter", *, part_rows: int
) -> int:
    """Stream the blocks into parts of `part_rows` rows, at least one part; return the number of rows."""
    pieces = Pieces(blocks, schema)
    rows = part = 0
    while part == 0 or pieces.more:
        rows += write_part(pieces, schema, f"{asset.folder}/part-{part:05d}", into, most=part_rows)
        part += 1
    return rows


def write_part(pieces: "Pieces", schema: pa.Schema, path: str, into: "BundleWriter", *, most: int | None = None) -> int:
    """Write `path`.parquet with up to `most` rows, and its sidecar where there are exceptions; return the rows.

    The sidecar is finished before its part is: a part that a killed run left whole never lacks its exceptions.
    """
    exceptions: list[tuple[int, str, str]] = []
    rows = 0
    with into.part(f"{path}.parquet") as stream:
        groups = _groups(pieces, most)
        first = next(groups, None)
        with _writer(stream, schema, first[0] if first else None) as writer:
            for group, odd in chain([first] if first else [], groups):
                exceptions += [(row + rows, name, text) for row, name, text in odd]
                writer.write_table(_fitted(group, writer.schema), row_group_size=max(1, group.num_rows))
                rows += group.num_rows
        if exceptions:
            table = pa.Table.from_arrays([pa.array(one) for one in zip(*exceptions, strict=True)], schema=_EXCEPTIONS)
            with into.part(f"{path}.exceptions.parquet") as sidecar:
                pq.write_table(table, sidecar, compression="zstd")
    return rows


def _groups(pieces: "Pieces", most: int | None) -> Iterator[tuple[pa.Table, list[tuple[int, str, str]]]]:
    rows = 0
    while pieces.more and (most is None or rows < most):
        group, odd = pieces.take(_GROUP_ROWS if most is None else min(_GROUP_ROWS, most - rows))
        rows += group.num_rows
        yield group, odd


def _table(batches: Sequence[pa.RecordBatch], schema: pa.Schema) -> pa.Table:
    """The batches as one table; a text stays a dictionary, one for all of them, where each batch has one."""
    columns = [
        _column([batch.column(number) for batch in batches], field.type) for number, field in enumerate(schema)
    ]  # fmt: skip
    fields = [field.with_type(column.type) for field, column in zip(schema, columns, strict=True)]
    return pa.Table.from_arrays(columns, schema=pa.schema(fields, schema.metadata))


def _column(arrays: Sequence[pa.Array], arrow: pa.DataType) -> pa.ChunkedArray:
    coded = [pa.types.is_dictionary(array.type) for array in arrays]
    if arrays and all(coded):
        return pa.chunked_array(arrays).unify_dictionaries()
    plain = [array.cast(arrow) if one else array for array, one in zip(arrays, coded, strict=True)]
    return pa.chunked_array(plain, arrow)


def _writer(stream: IO[bytes], schema: pa.Schema, sample: pa.Table | None) -> pq.ParquetWriter:
    """A dictionary pays only for columns that repeat themselves; decimals as integers are smaller and faster.

    Both follow from the data alone, so the same rows give the same bytes. Texts that come as dictionaries are written
    as such, and are texts to whoever reads the file.
    """
    repeating = [
        name
        for name, values in zip(schema.names, sample.columns if sample else (), strict=bool(sample))
        if not pa.types.is_boolean(values.type)
        and _distinct(values.slice(0, _SAMPLE_ROWS)) * _REPEATS <= min(len(values), _SAMPLE_ROWS)
    ]
    taken = [
        field.with_type(sample.field(number).type) if sample and field.name in repeating else field
        for number, field in enumerate(schema)
    ]
    writer = pq.ParquetWriter(
        stream, pa.schema(taken, schema.metadata), compression="zstd", store_decimal_as_integer=True,
        use_dictionary=repeating or False, store_schema=False,
    )  # fmt: skip
    said = base64.b64encode(schema.serialize().to_pybytes())  # as Arrow itself stores it, but without dictionaries
    writer.add_key_value_metadata({"ARROW:schema": said, **(schema.metadata or {})})
    return writer


def _distinct(values: pa.ChunkedArray) -> int:
    return int(pc.count_distinct(_plain(values)).as_py())


def _fitted(group: pa.Table, schema: pa.Schema) -> pa.Table:
    """The group as its writer takes it: a dictionary where the first group had one."""
    columns = [
        values if values.type == field.type
        else values.dictionary_encode() if pa.types.is_dictionary(field.type)
        else _plain(values)
        for values, field in zip(group.columns, schema, strict=True)
    ]  # fmt: skip
    return pa.Table.from_arrays(columns, schema=schema)


def _plain(values: pa.ChunkedArray) -> pa.ChunkedArray:
    return values.cast(values.type.value_type) if pa.types.is_dictionary(values.type) else values


class Pieces:
    """Recuts blocks into pieces of a given number of rows; holds one row group at most."""

    def __init__(self, blocks: Iterable[Block], schema: pa.Schema) -> None:
        self._blocks: Iterator[Block] = iter(blocks)
        self._schema = schema
        self._rest: Block | None = None
        self._advance()

    @property
    def more(self) -> bool:
        return self._rest is not None

    def take(self, rows: int) -> tuple[pa.Table, list[tuple[int, str, str]]]:
        """Up to `rows` rows, fewer when they are large, and their exceptions by row in the piece."""
        batches: list[pa.RecordBatch] = []
        exceptions: list[tuple[int, str, str]] = []
        taken = size = 0
        while self._rest is not None and taken < rows and size < _GROUP_BYTES:
            block = self._rest
            count = min(rows - taken, block.batch.num_rows)
            batches.append(block.batch.slice(0, count))
            exceptions += [(row + taken, name, text) for row, name, text in block.exceptions if row < count]
            taken, size = taken + count, size + block.batch.nbytes
            if count < block.batch.num_rows:
                later = [(row - count, name, text) for row, name, text in block.exceptions if row >= count]
                self._rest = Block(block.batch.slice(count), later)
            else:
                self._advance()
        return _table(batches, self._schema), exceptions

    def _advance(self) -> None:
        self._rest = next((block for block in self._blocks if block.batch.num_rows), None)
