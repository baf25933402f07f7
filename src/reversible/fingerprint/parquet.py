"""What is the fingerprint of a Parquet file, in memory that does not grow with the file?

Batches of a fixed number of rows; the file is read, not mapped, and no column is fetched ahead. Texts that the file
keeps in dictionaries stay in them, so that a repeated text is hashed once.
"""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from reversible.fingerprint.accumulator import Accumulator
from reversible.fingerprint.families import family
from reversible.fingerprint.plan import Cells, Column, Plan
from reversible.fingerprint.sums import TableFingerprint

BATCH_ROWS = 1 << 16


def columns(path: Path) -> tuple[Column, ...]:
    """The file's columns by the families of their types.

    Raises:
        ValueError: a column has no family.
    """
    return tuple(Column(field.name, family(field.type)) for field in pq.read_schema(path))


def batches(path: Path, *, rows: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
    """The file's rows, so many at a time, texts of few values as dictionaries."""
    with closing(pq.ParquetFile(path, memory_map=False, pre_buffer=False)) as file:
        few = _of_few_values(file)
    with closing(pq.ParquetFile(path, memory_map=False, pre_buffer=False, read_dictionary=few)) as file:
        yield from file.iter_batches(rows, use_threads=False)


def fingerprint_parquet(path: Path, plan: Plan) -> TableFingerprint:
    """The fingerprint of one file that holds the plan's columns as their families say.

    Raises:
        ValueError: a column is missing, or of another family.
    """
    found = Accumulator(plan)
    for batch in batches(path):
        missing = {column.name for column in plan.columns} - set(batch.schema.names)
        if missing:
            raise ValueError(f"{path.name} lacks the columns {sorted(missing)}")
        found.add({column.name: Cells(batch.column(column.name)) for column in plan.columns}, batch.num_rows)
    return found.result()


def _of_few_values(file: pq.ParquetFile) -> list[str]:
    """Columns of texts or bytes, at the top of the schema, that the file encodes by dictionaries alone and densely."""
    found = []
    for n in range(len(file.schema)):
        column = file.schema.column(n)
        if column.physical_type != "BYTE_ARRAY" or "." in column.path or column.max_repetition_level:
            continue
        if family(file.schema_arrow.field(column.path).type) in ("text", "binary"):
            chunks = [file.metadata.row_group(group).column(n) for group in range(file.metadata.num_row_groups)]
            if chunks and all(_dense(chunk) for chunk in chunks):
                found.append(column.path)
    return found


def _dense(chunk: pq.ColumnChunkMetaData) -> bool:
    """Whether a column chunk takes a byte per value at most, dictionary included: it holds few values."""
    if not chunk.has_dictionary_page or not {"RLE_DICTIONARY", "PLAIN_DICTIONARY"} & set(chunk.encodings):
        return False
    return bool(chunk.total_uncompressed_size <= chunk.num_values)
