"""Which rows does PostgreSQL itself draw of a large table, under a sealed seed, in the export's snapshot?

TABLESAMPLE BERNOULLI draws each row with the same chance, by a hash of its place in the file and the seed: as long as
the rows lie where they lay, the same seed draws the same rows. It reads the whole table at the server, like the count;
what it spares is sending and hashing all of them.
"""

import hashlib
import json
from collections.abc import Sequence
from contextlib import closing

import numpy as np

from reversible.errors import SourceError
from reversible.fingerprint import Plan, sample
from reversible.fingerprint.mixing import Words
from reversible.fingerprint.sample import Sample
from reversible_exporters import postgres_binary, postgres_ranges
from reversible_exporters.postgres_catalog import Table
from reversible_exporters.postgres_copy import Pace, copy
from reversible_exporters.postgres_pool import Pool
from reversible_exporters.postgres_ranges import Range
from reversible_exporters.postgres_session import Session
from reversible_exporters.postgres_types import Column
from reversible_exporters.table_sample import Sampling

_EXACT = 48  # bits of a seed, which PostgreSQL takes as a double
_WHOLE = 1 << 62  # bytes of a range: one for each heap


def percent(sampling: Sampling, population: int) -> float | None:
    """The chance of each row, as the server takes it; None where the table is small enough to be read whole."""
    chance = sampling.chance(population)
    found = 100.0 if chance is None else float(np.float32(100 * chance))
    return found if found < 100 else None


def heaps(session: Session, table: Table) -> list[Range]:
    """The files that are drawn from, each with a seed of its own; none where only the whole of them can be asked.

    One seed for all partitions would draw the rows at the same places of each, and damage has places too.
    """
    found = postgres_ranges.ranges(session, table, _WHOLE)
    return [] if table.kind == "p" and found[0].source == table.source else found


def draw(
    pool: Pool, table: Table, columns: Sequence[Column], found: Sequence[Range], plan: Plan, *, rows: int,
    percent: float, seed: str, hint: str,
) -> Sample:  # fmt: skip
    """The sample, read through COPY's binary format and decoded by our own code.

    Raises:
        SourceError: the server refused, went away, or drew far more or fewer rows than it was asked to.
    """
    subject = f"table {table.name}"
    select = postgres_binary.select_list(columns)

    def read(worker: Session, one: Range, pace: Pace) -> list[Words]:
        clause = f"TABLESAMPLE BERNOULLI ({percent!r}) REPEATABLE ({repeatable(seed, table.name, one.source)})"
        query = f"SELECT {select} FROM {one.source} {clause}"  # noqa: S608 - quoted names
        with closing(copy(worker, query, "binary", pace)) as chunks:
            return [sample.images(plan, cells, n) for cells, n in postgres_binary.batches(chunks, columns)]

    pieces = [words for one in pool.each(subject, hint, found, read) for words in one]
    try:
        return Sample.of(plan, pieces, population=rows, rate=percent / 100, seed=seed)
    except ValueError as error:
        raise SourceError(f"{subject}: {error}") from error


def repeatable(seed: str, table: str, source: str) -> int:
    """The number that REPEATABLE takes for one file of a table: the first 48 bits of SHA-256 of the three, as JSON."""
    digest = hashlib.sha256(json.dumps([seed, table, source]).encode()).digest()
    return int.from_bytes(digest[: _EXACT // 8], "big")
