"""How do Parquet parts go back to PostgreSQL, each value as its server wrote it?

As CSV for COPY: an unquoted empty field is NULL, all else is quoted. A typed column is written so that the server's
input function gives back the very value; a value of the exceptions sidecar takes its place in the column again.
"""

from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from reversible.errors import BundleError

_BATCH_ROWS = 1 << 15
_EMPTY_LINES = 1 << 16
_DIGITS = np.frombuffer(b"0123456789abcdef", np.uint8)


def copied(part: Path, names: Sequence[str]) -> Iterator[bytes]:
    r"""A part's rows as CSV; without columns, COPY's text form: one empty line a row.

    Args:
        part: part-NNNNN.parquet; its exceptions lie beside it.
        names: The columns that COPY takes, in that order.

    Raises:
        BundleError: an exception has no place in the part, or a column's type has no text of its own.
    """
    with pq.ParquetFile(part) as file:
        if not names:
            yield from _empty_lines(file.metadata.num_rows)
            return
        odd = exceptions(part, file.schema_arrow.names, file.metadata.num_rows)
        first = 0
        for batch in file.iter_batches(_BATCH_ROWS, columns=list(names)):
            arrays = [
                with_exceptions(text(batch.column(name)), odd.get(name, {}), first) for name in names
            ]  # fmt: skip
            yield _csv(arrays)
            first += batch.num_rows


def text(values: pa.Array) -> pa.Array:
    """Each value in a form that PostgreSQL's input function reads back as the same value.

    Floats: the shortest digits that give the same bits (pyarrow); decimals: all digits, perhaps with an exponent;
    times with microseconds; timestamps with zone end in Z; bytes in hex.

    Raises:
        BundleError: the type has no such form (a list, a struct).
    """
    kind = values.type
    if pa.types.is_dictionary(kind):
        return text(values.dictionary_decode())
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return values
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return hexed(values)
    if pa.types.is_nested(kind) or pa.types.is_duration(kind):
        raise BundleError(f"a column of type {kind} has no text that PostgreSQL reads")
    return values.cast(pa.string())


def hexed(values: pa.Array) -> pa.Array:
    r"""Bytes as bytea's hex form, `\x00ff`: large_string of shape (values,), NULL stays NULL."""
    filled = pc.fill_null(values, b"").cast(pa.large_binary())
    _, offsets_buffer, data_buffer = pa.concat_arrays([filled]).buffers()
    offsets = np.frombuffer(offsets_buffer, np.int64)[: len(values) + 1]
    content = np.frombuffer(data_buffer or b"", np.uint8)[offsets[0] : offsets[-1]]
    places = 2 * (offsets - offsets[0] + np.arange(len(offsets)))
    written = np.empty(int(places[-1]), np.uint8)
    digit = np.ones(len(written), np.bool_)
    digit[places[:-1]] = digit[places[:-1] + 1] = False
    written[places[:-1]], written[places[:-1] + 1] = ord("\\"), ord("x")
    written[digit] = np.stack((_DIGITS[content >> 4], _DIGITS[content & 15]), axis=1).ravel()
    buffers = [None, pa.py_buffer(places.astype(np.int64)), pa.py_buffer(written)]
    hex_text = pa.Array.from_buffers(pa.large_string(), len(values), buffers)
    return pc.if_else(values.is_valid(), hex_text, pa.scalar(None, pa.large_string()))


def _csv(arrays: Sequence[pa.Array]) -> bytes:
    table = pa.Table.from_arrays(list(arrays), names=[str(n) for n in range(len(arrays))])
    sink = BytesIO()
    options = pyarrow.csv.WriteOptions(include_header=False, quoting_style="all_valid")
    pyarrow.csv.write_csv(table, sink, options)
    return sink.getvalue()


def _empty_lines(rows: int) -> Iterator[bytes]:
    for start in range(0, rows, _EMPTY_LINES):
        yield b"\n" * min(_EMPTY_LINES, rows - start)


def exceptions(part: Path, names: Sequence[str], rows: int) -> Mapping[str, dict[int, str]]:
    """What the part's typed columns cannot hold: by column, the text of each row.

    Raises:
        BundleError: a row or a column is not in the part.
    """
    sidecar = part.with_name(part.name.removesuffix(".parquet") + ".exceptions.parquet")
    found: dict[str, dict[int, str]] = {}
    if sidecar.exists():
        for one in pq.read_table(sidecar).to_pylist():
            if not 0 <= one["row"] < rows:
                raise BundleError(f"{sidecar.name}: row {one['row']} is not in its part")
            found.setdefault(one["column"], {})[one["row"]] = one["text"]
    if unknown := sorted(found.keys() - set(names)):
        raise BundleError(f"{sidecar.name}: {unknown[0]!r} is not a column of its part")
    return found


def with_exceptions(values: pa.Array, odd: Mapping[int, str], first: int) -> pa.Array:
    """The column's texts with the exceptions in their places; `first` is the number of its first row in the part."""
    here = {row - first: said for row, said in odd.items() if first <= row < first + len(values)}
    if not here:
        return values
    rows = sorted(here)
    if values.take(pa.array(rows)).null_count < len(rows):
        raise BundleError(f"row {first + rows[0]} has both a value and an exception")
    mask = np.zeros(len(values), np.bool_)
    mask[rows] = True
    texts: Any = pa.array([here[row] for row in rows], values.type)
    return pc.replace_with_mask(values, pa.array(mask), texts)
