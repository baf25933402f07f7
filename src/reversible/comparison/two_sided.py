"""Do two tables hold the same rows, and where not, what was each value and what has it become?

Fingerprints first: equal ones settle it. Else the row hashes of that first reading say which rows either side has
alone, and a second reading brings those rows only. Memory: 8 bytes per row and side, and `_MOST_ROWS` rows.
"""

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from reversible.comparison import pairing
from reversible.comparison.classes import Explanation, Kind, Plain, consensus, explanations, swapped
from reversible.comparison.fetching import rows_at
from reversible.comparison.hashing import Positions, Progress, Words, hashed, key_hashes, only_left, quiet
from reversible.comparison.pairing import Pairs, Rows
from reversible.comparison.results import ColumnSummary, Comparison, Difference
from reversible.comparison.tables import Table, plain
from reversible.errors import UsageError
from reversible.fingerprint import Column

_MOST_ROWS = 250_000  # rows of one side that are held in memory with all their cells
_MOST_CLASSIFIED = 200_000  # cells per column whose class is looked for; all are counted


def compare_tables(
    left: Table,
    right: Table,
    *,
    key: Sequence[str] = (),
    challenge: str | None = None,
    limit: int = 100,
    progress: Progress = quiet,
) -> Comparison:
    """Compare all rows and all columns of two tables.

    Args:
        left: The source.
        right: The copy.
        key: Columns that name a row; the left table's own key when empty. It need not be unique, and may be NULL.
        challenge: Any text, to get the same fingerprints as somebody else; drawn at random when None.
        limit: How many differences of each column, and rows of each class, are listed; all are counted.
        progress: Called as rows are read.

    Raises:
        UsageError: the key names a column that is not on both sides.
        BundleError: a file cannot be read.
    """
    challenge = challenge if challenge is not None else secrets.token_hex(32)
    schema = _common(left, right)
    shared = {column.name for column in schema.columns}
    key = tuple(key) or (left.key if set(left.key) <= shared else ())
    if not set(key) <= shared:
        raise UsageError(f"the key's columns are not on both sides: {', '.join(sorted(set(key) - shared))}")
    sides = left.only(schema.columns), right.only(schema.columns)
    one, other = hashed(sides[0], challenge, progress), hashed(sides[1], challenge, progress)
    found = Comparison(
        left=left.name, right=right.name, key=key, rows=(left.rows, right.rows),
        columns=tuple(column.name for column in schema.columns), challenge=challenge,
        digests=(one.digest, other.digest), other_columns=schema.one_sided,
        other_families=schema.families, not_compared=schema.not_compared, notes=schema.notes,
    )  # fmt: skip
    if left.rows == right.rows and np.array_equal(one.total, other.total):
        return found
    if not schema.columns:  # rows without a common column can only be counted
        found.missing, found.extra = max(0, left.rows - right.rows), max(0, right.rows - left.rows)
        return found
    unchanged = (one.columns == other.columns).all(axis=1)
    stable = tuple(column for column, same in zip(schema.columns, unchanged, strict=True) if same)
    _Search(sides, (one.rows, other.rows), found, limit, progress).run(stable)
    return found


@dataclass(frozen=True)
class _Schema:
    columns: tuple[Column, ...]
    one_sided: tuple[str, ...]
    families: dict[str, tuple[str, str]]
    not_compared: dict[str, str]
    notes: tuple[str, ...]


def _common(left: Table, right: Table) -> _Schema:
    """The columns that both sides have in one family; decimals of two scales are read at the larger one."""
    other = {column.name: column.family for column in right.columns}
    names = {column.name for column in left.columns} | set(left.strange)
    columns: list[Column] = []
    families: dict[str, tuple[str, str]] = {}
    notes: list[str] = []
    for name, mine in ((column.name, column.family) for column in left.columns if column.name in other):
        theirs = other[name]
        if mine.startswith("decimal:") and theirs.startswith("decimal:"):
            mine = theirs = f"decimal:{max(int(mine[8:]), int(theirs[8:]))}"
        if mine != theirs:
            families[name] = (left.types[name], right.types[name])
            continue
        columns.append(Column(name, mine))
        if left.types[name] != right.types[name]:
            notes.append(f"{name}: {left.types[name]} / {right.types[name]}")
    alone = tuple(column.name for column in left.columns if column.name not in other)
    alone += tuple(column.name for column in right.columns if column.name not in names)
    order = [column.name for column in left.columns], [column.name for column in right.columns]
    if not alone and order[0] != order[1]:
        notes.append("the columns stand in another order")
    strange = {**left.strange, **right.strange}
    alone = tuple(name for name in alone if name not in strange)
    return _Schema(tuple(columns), alone, families, strange, tuple(notes))


class _Search:
    """Finds, pairs and classifies the differing rows of two tables into one `Comparison`."""

    def __init__(
        self, sides: tuple[Table, Table], hashes: tuple[Words, Words], found: Comparison, limit: int, progress: Progress
    ) -> None:
        self._sides = sides
        self._hashes = hashes
        self._found = found
        self._limit = limit
        self._progress = progress
        self._families = {column.name: column.family for column in sides[0].columns}
        self._listed: dict[tuple[str, Kind | None], int] = {}
        left, left_known = only_left(hashes[0], hashes[1])
        right, right_known = only_left(hashes[1], hashes[0])
        self._positions = left, right
        self._known = (
            dict(zip(left.tolist(), left_known.tolist(), strict=True)),
            dict(zip(right.tolist(), right_known.tolist(), strict=True)),
        )

    def run(self, stable: Sequence[Column]) -> None:
        """Piece by piece where the rows are many: by the key, or by the columns that did not change (`stable`)."""
        by = [column for column in self._sides[0].columns if column.name in self._found.key] or list(stable)
        most = max(len(one) for one in self._positions)
        pieces = -(-most // _MOST_ROWS)
        if pieces > 1 and by:
            keys = [self._keys(side, at, by) for side, at in zip(self._sides, self._positions, strict=True)]
            for piece in range(pieces):
                chosen = [
                    at[(words % np.uint64(pieces)) == piece]
                    for at, words in zip(self._positions, keys, strict=True)
                ]  # fmt: skip
                self._compare(chosen[0], chosen[1])
        elif pieces > 1:
            self._count_only()
        else:
            self._compare(*self._positions)
        self._found.differences.sort(key=lambda one: (one.column == "", one.column))

    def _keys(self, side: Table, positions: Positions, by: Sequence[Column]) -> Words:
        parts = [
            key_hashes(self._found.challenge, by, batch, len(at))
            for batch, at in rows_at(side.only(by), positions, self._found.challenge)
        ]
        return np.concatenate([np.zeros(0, np.uint64), *parts])

    def _count_only(self) -> None:
        """Too many differing rows, and neither a key nor an unchanged column to take them apart by."""
        found = self._found
        left, right = (len(one) for one in self._positions)
        doubled = sum(self._known[1].values())
        found.missing += left
        found.duplicated += doubled
        found.extra += right - doubled
        found.unpaired += min(left, right)
        found.listed_all = False

    def _compare(self, left_at: Positions, right_at: Positions) -> None:
        left, right = (
            pairing.load(side, at, self._found.challenge, hashes[at])
            for side, at, hashes in zip(self._sides, (left_at, right_at), self._hashes, strict=True)
        )
        by = [column for column in self._sides[0].columns if column.name in self._found.key]
        if not len(left_at) or not len(right_at):
            none = np.zeros(0, np.int64)
            pairs = pairing.from_pairs(none, none, len(left_at), len(right_at))
        elif by:
            keys = [key_hashes(self._found.challenge, by, one.cells, len(one.positions)) for one in (left, right)]
            pairs = pairing.by_key(left, right, keys[0], keys[1])
        else:
            pairs = self._by_likeness(left, right)
        self._rows_alone(left, pairs.left_alone, side=0)
        self._rows_alone(right, pairs.right_alone, side=1)
        self._found.changed += len(pairs.left)
        self._cells(left, right, pairs)

    def _by_likeness(self, left: Rows, right: Rows) -> Pairs:
        """Exact copies of a row that both sides have are doubled rows, never changed ones."""
        new = [
            np.flatnonzero([not known[position] for position in one.positions.tolist()])
            for one, known in zip((left, right), self._known, strict=True)
        ]
        some, skipped = pairing.by_likeness(_some(left, new[0]), _some(right, new[1]))
        self._found.unpaired += skipped
        return pairing.from_pairs(new[0][some.left], new[1][some.right], len(left.positions), len(right.positions))

    def _rows_alone(self, rows: Rows, alone: Positions, *, side: int) -> None:
        for n in alone.tolist():
            doubled = side == 1 and self._known[side][int(rows.positions[n])]
            kind = Kind.DUPLICATE if doubled else Kind.EXTRA if side else Kind.MISSING
            self._found.missing += kind is Kind.MISSING
            self._found.extra += kind is Kind.EXTRA
            self._found.duplicated += kind is Kind.DUPLICATE
            if self._may_list("", kind):
                names = self._names(rows, [n])[0]
                self._found.differences.append(
                    Difference(names, "", None, None, Explanation(kind), families=self._families)
                )

    def _cells(self, left: Rows, right: Rows, pairs: Pairs) -> None:
        differs = left.hashes[pairs.left] != right.hashes[pairs.right]
        several = differs.sum(axis=1) > 1
        cells: list[_Cell] = []
        for n, column in enumerate(self._sides[0].columns):
            at = np.flatnonzero(differs[:, n])
            if not len(at):
                continue
            summary = self._found.summaries.setdefault(column.name, ColumnSummary(column.name))
            summary.cells += len(at)
            at = at[: max(0, _MOST_CLASSIFIED - summary.classified)]
            summary.classified += len(at)
            olds = plain(left.cells[column.name], column.family, pairs.left[at].tolist())
            news = plain(right.cells[column.name], column.family, pairs.right[at].tolist())
            chosen = consensus([explanations(old, new, column.family) for old, new in zip(olds, news, strict=True)])
            cells += map(_Cell, at.tolist(), [column] * len(at), olds, news, chosen)
        for cell in _with_swaps(cells, several):
            self._found.summaries[cell.column.name].kinds[cell.explanation] += 1
            if self._may_list(cell.column.name, None):
                names = self._names(left, [int(pairs.left[cell.pair])])[0]
                self._found.differences.append(
                    Difference(names, cell.column.name, cell.left, cell.right, cell.explanation, self._families)
                )
        if any(one.cells > one.classified for one in self._found.summaries.values()):
            self._found.listed_all = False

    def _may_list(self, column: str, kind: Kind | None) -> bool:
        count = self._listed.get((column, kind), 0)
        if count >= self._limit:
            self._found.listed_all = False
            return False
        self._listed[column, kind] = count + 1
        return True

    def _names(self, rows: Rows, at: Sequence[int]) -> list[dict[str, Plain]]:
        """What names these rows: the key, or all their values where there is none."""
        names = self._found.key or self._found.columns
        values = {name: plain(rows.cells[name], self._families[name], at) for name in names}
        return [{name: values[name][n] for name in names} for n in range(len(at))]


@dataclass(frozen=True)
class _Cell:
    pair: int
    column: Column
    left: Plain
    right: Plain
    explanation: Explanation


def _with_swaps(cells: Sequence[_Cell], several: npt.NDArray[np.bool_]) -> Iterator[_Cell]:
    """The cells, those that changed places within their row marked so."""
    of_row: dict[int, list[int]] = {}
    for n, cell in enumerate(cells):
        if several[cell.pair]:
            of_row.setdefault(cell.pair, []).append(n)
    partner: dict[int, int] = {}
    for numbers in of_row.values():
        here = [cells[n] for n in numbers]
        for a, b in swapped([cell.left for cell in here], [cell.right for cell in here]):
            if here[a].column.family == here[b].column.family:
                partner[numbers[a]], partner[numbers[b]] = numbers[b], numbers[a]
    for n, cell in enumerate(cells):
        if n in partner:
            yield replace(cell, explanation=Explanation(Kind.SWAPPED, cells[partner[n]].column.name))
        else:
            yield cell


def _some(rows: Rows, chosen: Positions) -> Rows:
    return Rows(rows.positions[chosen], {}, rows.hashes[chosen])
