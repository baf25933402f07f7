"""Do two tables hold the same rows, shown by SHA-256 alone, and was this record among them?

SHA-256 of each row's canonical bytes, sorted, below a Merkle tree of 65,536 leaf ranges. No challenge: nobody can
prepare rows that collide. Duplicates count. `docs/fingerprint-strong.md` gives every byte, so that a third party
checks a root or a proof with nothing but a hash function.
"""

import hashlib
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa

from reversible.fingerprint import Cells, Column
from reversible.fingerprint import strong_runs as runs
from reversible.fingerprint.strong_bytes import ROW, in_name_order, records
from reversible.fingerprint.strong_proof import LEVELS, RANGES, Proof, node, range_hash, root_hash
from reversible.fingerprint.strong_runs import WIDTH, Digests

FORMAT = "reversible-strong/1"
RUN_ROWS = 1 << 20  # digests that are sorted in memory: 32 MiB, and as much again while they are sorted


@dataclass(frozen=True)
class StrongFingerprint:
    """What the rows of a table come to.

    Attributes:
        columns: In the order of their names.
        rows: How many, each duplicate counted.
        ranges: The digest's first 16 bits -> (rows, hash of the range); a range without rows is left out.
    """

    columns: tuple[Column, ...]
    rows: int
    ranges: Mapping[int, tuple[int, bytes]]

    @property
    def root(self) -> str:
        """The one hash that stands for all, 64 hex digits."""
        named = [(column.name, column.family) for column in self.columns]
        return root_hash(named, self.rows, _tree(self._hashes())[LEVELS].get(0, _empty()[LEVELS])).hex()

    def path(self, at: int) -> tuple[bytes, ...]:
        """The hashes beside range `at`, from the ranges up to below the top."""
        levels = _tree(self._hashes())
        return tuple(levels[n].get((at >> n) ^ 1, _empty()[n]) for n in range(LEVELS))

    def differing(self, other: Self) -> tuple[int, ...]:
        """The ranges of digests in which the two tables do not hold the same rows."""
        every = {*self.ranges, *other.ranges}
        return tuple(sorted(at for at in every if self.ranges.get(at) != other.ranges.get(at)))

    def to_json(self) -> dict[str, Any]:
        """The witness fact "strong"."""
        return {"format": FORMAT, "root": self.root, "rows": self.rows}

    def to_table(self) -> pa.Table:
        """The witness table "strong": a row per range that holds rows, in order."""
        at = sorted(self.ranges)
        return pa.table({
            "range": pa.array(at, pa.uint32()),
            "count": pa.array([self.ranges[one][0] for one in at], pa.int64()),
            "hash": pa.array([self.ranges[one][1] for one in at], pa.binary(WIDTH)),
        })  # fmt: skip

    @classmethod
    def from_stored(cls, columns: Iterable[Column], document: Mapping[str, Any], table: pa.Table) -> Self:
        """What `to_json` and `to_table` gave.

        Raises:
            ValueError: they contradict each other, or are of another format.
        """
        try:
            if document["format"] != FORMAT:
                raise ValueError(f"strong fingerprint {document['format']!r} is not {FORMAT}")
            at, counts, hashes = (table[name].to_pylist() for name in ("range", "count", "hash"))
            found = cls(in_name_order(columns), int(document["rows"]), dict(zip(at, zip(counts, hashes, strict=True),
                                                                                 strict=True)))  # fmt: skip
            if len(found.ranges) != len(at) or any(not 0 <= one < RANGES for one in at) or min(counts, default=1) < 1:
                raise ValueError("the strong fingerprint's ranges are not ranges")
            if sum(counts) != found.rows or found.root != document["root"]:
                raise ValueError("the strong fingerprint's ranges do not give its root")
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a stored strong fingerprint: {error}") from error
        return found

    def _hashes(self) -> dict[int, bytes]:
        return {at: hashed for at, (_, hashed) in self.ranges.items()}


@dataclass
class RowDigests:
    """The digests of a table's rows, or of a part of it, in sorted runs: 32 bytes a row, beyond `run_rows` on disk.

    Args:
        columns: The columns, in any order.
        folder: Where runs go when they no longer fit in memory; they are gone after `close`.
        run_rows: Digests that may be in memory at once.
    """

    columns: Sequence[Column]
    folder: Path
    run_rows: int = RUN_ROWS
    rows: int = field(init=False, default=0)
    _pending: list[bytes] = field(init=False, default_factory=list)
    _held: int = field(init=False, default=0)
    _runs: list[Digests] = field(init=False, default_factory=list)
    _spill: "tempfile.TemporaryDirectory[str] | None" = field(init=False, default=None)

    def add(self, batch: Mapping[str, Cells], rows: int | None = None) -> None:
        """Hash a batch; `rows` is needed only where there are no columns."""
        count = len(next(iter(batch.values())).values) if rows is None else rows
        self._take(row_digests(self.columns, batch, count), count)

    def write(self, path: Path) -> None:
        """One sorted run, for `read` on any machine: a part that is hashed apart."""
        with path.open("wb") as file:
            for piece in self._sorted():
                file.write(piece.tobytes())

    def read(self, path: Path) -> None:
        """Add the run of another part of the table.

        Raises:
            ValueError: it is not a sorted run.
        """
        run = runs.mapped(path)
        if not all(runs.in_order(one) for one in runs.windows(run)):
            raise ValueError(f"{path.name} is not a sorted run of digests")
        self._runs.append(run)
        self.rows += len(run)

    def finish(self) -> StrongFingerprint:
        """The fingerprint of all that was added so far."""
        found: dict[int, tuple[int, bytes]] = {}
        for piece in self._sorted():
            found |= runs.ranges(piece)
        return StrongFingerprint(in_name_order(self.columns), self.rows, found)

    def prove(self, record: bytes) -> Proof:
        """That the row with these canonical bytes is there so many times, or, with `times` 0, that it is not."""
        found, digest = self.finish(), hashlib.sha256(ROW + record).digest()
        at = int.from_bytes(digest[:2], "big")
        kept = np.concatenate([runs.cut(run, at, at + 1) for run in (*self._runs, self._in_memory())])
        different, counts = runs.multiset(kept[runs.order(kept)])
        entries = tuple((one.tobytes(), count) for one, count in zip(different, counts.tolist(), strict=True))
        named = tuple((column.name, column.family) for column in found.columns)
        return Proof(named, found.rows, record, entries, found.path(at))

    def close(self) -> None:
        self._runs.clear()
        if self._spill is not None:
            self._spill.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _take(self, digests: bytes, count: int) -> None:
        self._pending.append(digests)
        self._held += count
        self.rows += count
        if self._held >= self.run_rows:
            self._flush()

    def _flush(self) -> None:
        if self._spill is None:
            self._spill = tempfile.TemporaryDirectory(prefix="reversible-strong-", dir=self.folder)
        path = Path(self._spill.name, f"run-{len(self._runs)}")
        self._in_memory().tofile(path)
        self._runs.append(runs.mapped(path))
        self._pending, self._held = [], 0

    def _in_memory(self) -> Digests:
        """What is not in a run yet, sorted."""
        digests = np.frombuffer(b"".join(self._pending), np.uint8).reshape(-1, WIDTH)
        return np.asarray(digests[runs.order(digests)])

    def _sorted(self) -> Iterator[Digests]:
        """All digests in order, some ranges at a time: as much memory as one run."""
        every = [*self._runs, self._in_memory()]
        pieces = max(1, min(RANGES, 1 << (4 * self.rows // self.run_rows).bit_length()))
        for low, high in pairwise(range(0, RANGES + 1, RANGES // pieces)):
            piece = np.concatenate([runs.cut(run, low, high) for run in every])
            yield piece[runs.order(piece)]


def strong(
    columns: Sequence[Column],
    batches: Iterable[Mapping[str, Cells]],
    rows: Iterable[int] | None = None,
    *,
    folder: Path,
) -> StrongFingerprint:
    """The strong fingerprint of the batches, as `reversible.fingerprint.fingerprint` takes them."""
    with RowDigests(columns, folder) as digests:
        if rows is None:
            for batch in batches:
                digests.add(batch)
        else:
            for batch, count in zip(batches, rows, strict=True):
                digests.add(batch, count)
        return digests.finish()


def ranges_apart(
    columns: Sequence[Column],
    facts: Mapping[str, Any],
    tables: Mapping[str, pa.Table],
    batches: Iterable[tuple[Mapping[str, Cells], int]],
    *,
    folder: Path,
) -> tuple[int, ...]:
    """The ranges in which these batches, with their rows, are not what a witness's strong fingerprint says.

    Args:
        columns: As the source declares them.
        facts: The witness's facts; without "strong" there is nothing to compare, and nothing is.
        tables: The witness's tables.
        batches: The copy's cells, as the source's columns, and their rows.
        folder: Where digests go that do not fit in memory.

    Raises:
        ValueError: the witness contradicts itself.
    """
    if "strong" not in facts:
        return ()
    if "strong" not in tables:
        raise ValueError("the witness has a strong root without its ranges")
    expected = StrongFingerprint.from_stored(columns, facts["strong"], tables["strong"])
    with RowDigests(columns, folder) as digests:
        for batch, count in batches:
            digests.add(batch, count)
        return digests.finish().differing(expected)


def row_digests(columns: Sequence[Column], batch: Mapping[str, Cells], rows: int) -> bytes:
    """SHA-256 of each row's record, in the batch's order, 32 bytes each."""
    data, offsets = records(columns, batch, rows)
    sha256 = hashlib.sha256
    return b"".join([sha256(data[start:end]).digest() for start, end in pairwise(offsets)])


# --- the tree above the ranges ----------------------------------------------------------------------------------


def _empty() -> list[bytes]:
    """The hash of nothing but empty ranges, per level."""
    return reduce(lambda levels, _: [*levels, node(levels[-1], levels[-1])], range(LEVELS), [range_hash(b"")])


def _tree(ranges: Mapping[int, bytes]) -> list[dict[int, bytes]]:
    """Level 0 are the ranges, level 16 is the top; places with nothing but empty ranges below are left out."""
    empty, levels = _empty(), [dict(ranges)]
    for n in range(LEVELS):
        below = levels[-1]
        levels.append({
            at: node(below.get(2 * at, empty[n]), below.get(2 * at + 1, empty[n])) for at in {one >> 1 for one in below}
        })  # fmt: skip
    return levels
