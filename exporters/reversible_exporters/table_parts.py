"""How do the rows of a table become Parquet parts, with what a typed column cannot hold kept beside them?

Every database exporter writes through here, so that all bundles have one form (docs/bundle-format.md, "A table").
"""

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
    """Some rows in a row: the typed batch, and its exceptions as (row in the batch, column, the source's text)."""

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
                writer.write_table(group, row_group_size=max(1, group.num_rows))
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


def _writer(stream: IO[bytes], schema: pa.Schema, sample: pa.Table | None) -> pq.ParquetWriter:
    """A dictionary pays only for columns that repeat themselves; decimals as integers are smaller and faster.

    Both follow from the data alone, so the same rows give the same bytes.
    """
    repeating = [
        name
        for name, values in zip(schema.names, sample.columns if sample else (), strict=bool(sample))
        if not pa.types.is_boolean(values.type)
        and pc.count_distinct(values.slice(0, _SAMPLE_ROWS)).as_py() * _REPEATS <= min(len(values), _SAMPLE_ROWS)
    ]
    return pq.ParquetWriter(
        stream, schema, compression="zstd", store_decimal_as_integer=True, use_dictionary=repeating or False
    )


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
        return pa.Table.from_batches(batches, self._schema), exceptions

    def _advance(self) -> None:
        self._rest = next((block for block in self._blocks if block.batch.num_rows), None)
