"""Which rows and cells of a copy differ from a source that is gone, and what did they hold there?

From the witness alone. The sketch names the differing rows and, cell by cell, the hashes that the source had; the
coarse grid does as much where one row of a bucket differs; and the sums of a column settle whether one damage, the
same in every row, explains it all. Nothing is claimed that a hash does not confirm.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reversible import fingerprint
from reversible.comparison import hypotheses, pairing
from reversible.comparison.classes import Explanation, Kind, Plain, explanations
from reversible.comparison.hashing import Positions, cell_hashes
from reversible.comparison.sentences import apart, said
from reversible.comparison.tables import Table, batches, cells_of, plain, shown
from reversible.fingerprint import Cells, Column, Differences, Image, Plan, TableFingerprint, sample
from reversible.fingerprint.sample import Matching

_MANY = 10  # buckets with changed rows from which one damage of a whole column is looked for
_MOST_GUESSED = 200  # cells whose source value is looked for among few guesses
_MOST_LISTED = 40  # buckets of one changed row that are looked into: a report shows fewer
_MOST_DRAWN = 400  # rows of a sample that are located, about as many as a sketch names
_WORD = 1 << 64
_MOST_THOROUGH = 2  # of these in each column, among millions of guesses: seconds each when none hits


class _Budget:
    """How many guesses a cell of a column still gets: the first ones all, the later ones few, the last ones none."""

    def __init__(self) -> None:
        self._cells = 0
        self._of_column: dict[str, int] = {}

    def guesses(self, column: str) -> int:
        self._cells += 1
        of_column = self._of_column[column] = self._of_column.get(column, 0) + 1
        if self._cells > _MOST_GUESSED:
            return 0
        return hypotheses.MOST if of_column <= _MOST_THOROUGH else hypotheses.FEW


@dataclass(frozen=True)
class Place:
    """One place where the copy is wrong. `column` is "" for a whole row; `row` is "" for a whole column.

    `explanation` is None where the source's value is not known; it never is a guess.
    """

    table: str
    column: str
    row: str
    said: str
    explanation: Explanation | None = None
    exact: bool = True

    def __str__(self) -> str:
        name = f"{self.table}.{self.column}" if self.column else self.table
        return f"{name}{f' [{self.row}]' if self.row else ''}{f': {self.said}' if self.said else ''}"


@dataclass(frozen=True)
class Located:
    """What could be located: never an estimate.

    `cells` maps a column to its places, `counted` to the exact number of its differing cells; `missing` and `extra`
    are rows, `rows` their numbers. `complete` says that nothing else differs.
    """

    cells: Mapping[str, Sequence[Place]] = field(default_factory=dict)
    missing: tuple[Place, ...] = ()
    extra: tuple[Place, ...] = ()
    counted: Mapping[str, int] = field(default_factory=dict)
    rows: tuple[int, int] = (0, 0)
    complete: bool = False


def locate(source: TableFingerprint, copy: TableFingerprint, found: Differences, table: Table) -> Located:
    """Look for every difference, by the surest way that applies.

    Args:
        source: The witness's fingerprint.
        copy: The files' fingerprint under the same plan.
        found: What `fingerprint.compare(source, copy)` said.
        table: The copy's files, read in the plan's columns and families.
    """
    if found.none:
        return Located(complete=True)
    if source.sketch is not None and copy.sketch is not None:
        decoded = source.sketch.subtract(copy.sketch).decode()
        if decoded.complete:
            return _Images(source.plan, table, decoded.images).located()
    uniform = _uniform(source, copy, found, table)
    single = _single_rows(source, copy, found, table, set(uniform))
    cells = {name: [place] for name, (place, _) in uniform.items()}
    for place in single:
        cells.setdefault(place.column, []).append(place)
    return Located(cells=cells, counted={name: count for name, (_, count) in uniform.items()})


def locate_drawn(looked: Matching, table: Table) -> tuple[Located, int]:
    """Where the rows of a sample differ in the copy, and how many of those that it lacks only changed.

    A row of the copy with the same key is what the row became; without one it is missing. The first `_MOST_DRAWN` are
    located: the result is complete, for the sample's own rows, when these are all.

    Args:
        looked: The sample, once all of the copy was looked through.
        table: The copy's files, read in the plan's columns and families.
    """
    drawn = looked.sample
    plan = drawn.plan
    lost = [sample.image_of(plan, drawn.words[place], "left") for place in looked.missing()]
    doubled = [sample.image_of(plan, drawn.words[place], "right", times) for place, times in looked.doubled().items()]
    keys, rows = {image.key for image in lost}, {image.row for image in lost}
    by_key = np.unique(np.array([sum(image.cells[n] for n in plan.key_places) % _WORD for image in lost], np.uint64))
    changed: dict[tuple[tuple[int, int], ...], Image] = {}
    for batch, count in table.batches() if lost else ():
        here = np.zeros(count, np.uint64)
        for place in plan.key_places:
            here += cell_hashes(plan.challenge, plan.columns[place], batch[plan.columns[place].name])
        at = sample.among(here, by_key)
        for words in sample.images(plan, sample.chosen(batch, at), len(at)) if len(at) else ():
            image = sample.image_of(plan, words, "right")
            if image.key in keys and image.row not in rows:
                changed.setdefault(image.key, image)
    first = lost[:_MOST_DRAWN]
    became = {image.key: changed[image.key] for image in first if image.key in changed}
    located = _Images(plan, table, [*first, *became.values(), *doubled[:_MOST_DRAWN]]).located()
    complete = max(len(lost), len(doubled)) <= _MOST_DRAWN
    return replace(located, complete=complete), sum(image.key in changed for image in lost)


# --- the sketch -------------------------------------------------------------------------------------------------


@dataclass
class _Row:
    """A row of the copy that an image names: how often it stands there, its values, where the first one stands."""

    values: dict[str, Plain]
    where: str
    times: int = 0


class _Images:
    """Turns the images of a complete sketch into places."""

    def __init__(self, plan: Plan, table: Table, images: Sequence[Image]) -> None:
        self._plan = plan
        self._table = table
        self._left = [image for image in images if image.side == "left"]
        self._right = [image for image in images if image.side == "right"]
        self._rows = _rows_by_hash(plan, table, {image.row for image in images})
        self._budget = _Budget()

    def located(self) -> Located:
        pairs, left, right = self._paired()
        cells: dict[str, list[Place]] = {}
        counted: dict[str, int] = {}
        for old, new in pairs:
            for place in self._cells(old, new):
                cells.setdefault(place.column, []).append(place)
                counted[place.column] = counted.get(place.column, 0) + min(old.times, new.times)
        missing = tuple(self._missing(image, times) for image, times in left)
        extra = tuple(self._extra(image, times) for image, times in right)
        rows = sum(times for _, times in left), sum(times for _, times in right)
        return Located(cells, missing, extra, counted, rows, complete=True)

    def _paired(self) -> tuple[list[tuple[Image, Image]], list[tuple[Image, int]], list[tuple[Image, int]]]:
        """Rows that changed, and what is left on either side with how many times."""
        left, right = self._as_rows(self._left), self._as_rows(self._right)
        if self._plan.key:
            numbers: dict[tuple[tuple[int, int], ...], int] = {}
            words = [
                np.array([numbers.setdefault(image.key, len(numbers)) for image in images], np.uint64)
                for images in (self._left, self._right)
            ]
            pairs = pairing.by_key(left, right, words[0], words[1])
        else:  # a row of the copy that the source has too, fewer times, is one more, not a changed one
            new = np.array([n for n, image in enumerate(self._right) if not self._elsewhere(image)], np.int64)
            some, _ = pairing.by_likeness(left, _some(right, new))
            pairs = pairing.from_pairs(some.left, new[some.right], len(self._left), len(self._right))
        chosen = [
            (self._left[a], self._right[b]) for a, b in zip(pairs.left.tolist(), pairs.right.tolist(), strict=True)
        ]
        lost = [(self._left[n], self._left[n].times) for n in pairs.left_alone.tolist()]
        gained = [(self._right[n], self._right[n].times) for n in pairs.right_alone.tolist()]
        for old, new in chosen:
            if old.times > new.times:
                lost.append((old, old.times - new.times))
            elif new.times > old.times:
                gained.append((new, new.times - old.times))
        return chosen, lost, gained

    def _elsewhere(self, image: Image) -> bool:
        """Whether the source has this row of the copy too, fewer times."""
        here = self._rows.get(image.row)
        return here is not None and here.times > image.times

    def _as_rows(self, images: Sequence[Image]) -> pairing.Rows:
        hashes = np.array([image.cells for image in images], np.uint64).reshape(len(images), len(self._plan.columns))
        return pairing.Rows(np.arange(len(images)), {}, hashes)

    def _cells(self, old: Image, new: Image) -> Iterator[Place]:
        here = self._rows.get(new.row)
        name = self._name(new) if here is None else self._named(here)
        differing = [n for n in range(len(self._plan.columns)) if old.cells[n] != new.cells[n]]
        for n in differing:
            column = self._plan.columns[n]
            if here is None:
                yield Place(self._table.name, column.name, name, "")
                continue
            yield _cell(self._plan, self._table.name, column, name, here.values, old.cells[n], self._budget)

    def _missing(self, image: Image, times: int) -> Place:
        here = self._rows.get(image.row)
        name = self._name(image) if here is None else self._named(here)
        left = "" if here is None else f", {here.times} of it left"
        what = "this row is missing" if times == 1 else f"this row is missing {times} times"
        return Place(self._table.name, "", name, what + left, Explanation(Kind.MISSING))

    def _extra(self, image: Image, times: int) -> Place:
        here = self._rows.get(image.row)
        name = self._name(image) if here is None else self._named(here)
        doubled = here is not None and here.times > times
        kind = Kind.DUPLICATE if doubled else Kind.EXTRA
        what = "this row is doubled" if doubled else "the source has no such row"
        return Place(self._table.name, "", name, what if times == 1 else f"{what}, {times} times", Explanation(kind))

    def _named(self, row: _Row) -> str:
        return _name(self._plan, row.values) or row.where

    def _name(self, image: Image) -> str:
        """The key as the sketch keeps it: a text's is only its hash."""
        shown_keys = []
        for n, (low, high) in zip(self._plan.key_places, image.key, strict=True):
            column = self._plan.columns[n]
            known, value = _from_words(self._plan.challenge, column, low, high, image.cells[n])
            shown_keys.append(f"{column.name}={shown(value, column.family, most=40) if known else '?'}")
        return ", ".join(shown_keys) or "its values are not in the sketch"


def _rows_by_hash(plan: Plan, table: Table, wanted: set[int]) -> dict[int, _Row]:
    """The copy's rows with these hashes."""
    words = np.fromiter(wanted, np.uint64, len(wanted))
    found: dict[int, _Row] = {}
    start = 0
    for part in table.parts:
        first = start
        for batch, count in batches(part, table.columns):
            rows = fingerprint.row_hashes(plan.challenge, [(one, batch[one.name]) for one in plan.columns])
            for n in np.flatnonzero(np.isin(rows, words)).tolist():
                row = int(rows[n])
                if row not in found:
                    values = {one.name: plain(batch[one.name], one.family, [n])[0] for one in plan.columns}
                    found[row] = _Row(values, f"{part.name} row={start - first + n}")
                found[row].times += 1
            start += count
    return found


def _from_words(challenge: str, column: Column, low: int, high: int, cell: int) -> tuple[bool, Plain]:
    """The key's value from its two words, if it hashes to the key's cell."""
    signed = low - (1 << 64) if low >> 63 else low
    beyond = (high - (low >> 63)) % (1 << 64)
    wide = (beyond - (1 << 64) if beyond >> 63 else beyond) * (1 << 64) + low if high else signed
    kind = column.family.partition(":")[0]
    guesses: list[Plain] = [None]
    if kind == "decimal":
        guesses.append(Decimal(wide).scaleb(-int(column.family[8:])))
    elif (kind == "int" and -(1 << 63) <= wide < 1 << 63) or (
        kind in ("time", "timestamp", "timestamptz") and not high
    ):
        guesses.append(wide)
    elif kind == "date" and -(1 << 31) <= signed < 1 << 31:
        guesses.append(signed)
    elif kind == "bool":
        guesses.append(bool(low))
    elif kind == "float":
        guesses.append(float(np.uint64(low).view(np.float64)))
    for guess in guesses:
        if int(cell_hashes(challenge, column, cells_of([guess], column.family))[0]) == cell:
            return True, guess
    return False, None


def _cell(
    plan: Plan, table: str, column: Column, row: str, values: Mapping[str, Plain], wanted: int, budget: _Budget
) -> Place:
    """The place of one cell, with the source's value where a guess hits."""
    copy = values[column.name]
    others = {one: values[one.name] for one in plan.columns if one.name != column.name}
    most = budget.guesses(column.name)
    hit, source = hypotheses.source_value(plan.challenge, column, copy, wanted, others, most=most)
    if not hit:
        text = shown(copy, column.family)
        return Place(table, column.name, row, f"{text} is not what the source holds")
    explanation = explanations(source, copy, column.family)[0]
    swap = next((one for one, value in others.items() if one.family == column.family and value == source), None)
    if explanation.kind is Kind.OTHER and swap is not None:
        explanation = Explanation(Kind.SWAPPED, swap.name)
    left, right = apart(shown(source, column.family, most=1 << 20), shown(copy, column.family, most=1 << 20))
    return Place(
        table, column.name, row, f"{right} instead of {left} ({said(explanation, form='{}, {}')})", explanation
    )


def _name(plan: Plan, values: Mapping[str, Plain]) -> str:
    families = {column.name: column.family for column in plan.columns}
    return ", ".join(f"{name}={shown(values[name], families[name], most=40)}" for name in plan.key)


def _some(rows: pairing.Rows, chosen: Positions) -> pairing.Rows:
    return pairing.Rows(rows.positions[chosen], {}, rows.hashes[chosen])


# --- one row of a bucket ----------------------------------------------------------------------------------------


def _single_rows(
    source: TableFingerprint, copy: TableFingerprint, found: Differences, table: Table, settled: set[str]
) -> Iterator[Place]:
    """Changed rows that are alone in their coarse bucket: its sums then are the source's cells less the copy's.

    A guess that hits proves it. Without a hit, a bucket that holds a single row still names row and columns.
    """
    plan, shift = source.plan, source.plan.coarse_shift
    if not plan.key:
        return
    parents = Counter(bucket >> shift for bucket in found.changed)
    moved = {bucket >> shift for bucket in (*found.surplus, *found.lacking)}
    alone = [one for one in found.changed if parents[one >> shift] == 1 and one >> shift not in moved]
    apart_by = source.coarse - copy.coarse
    budget = _Budget()
    for bucket, rows in _rows_in(plan, table, set(alone[:_MOST_LISTED])).items():
        for n, column in enumerate(plan.columns):
            gap = int(apart_by[bucket >> shift, n])
            if gap and column.name not in settled:
                yield _in_bucket(plan, table.name, column, rows, gap, budget)


def _in_bucket(
    plan: Plan, table: str, column: Column, rows: Sequence[Mapping[str, Plain]], gap: int, budget: _Budget
) -> Place:
    for values in rows:
        name = _name(plan, values)
        cell = int(cell_hashes(plan.challenge, column, cells_of([values[column.name]], column.family))[0])
        place = _cell(plan, table, column, name, values, (cell + gap) % (1 << 64), budget)
        if place.explanation is not None or len(rows) == 1:
            return place
    return Place(table, column.name, " | ".join(_name(plan, values) for values in rows[:4]), "", exact=False)


def _rows_in(plan: Plan, table: Table, buckets: set[int]) -> dict[int, list[dict[str, Plain]]]:
    wanted = np.zeros(plan.buckets, np.bool_)
    wanted[list(buckets)] = True
    found: dict[int, list[dict[str, Plain]]] = {}
    if not buckets:
        return found
    for batch, _ in table.batches():
        at = fingerprint.bucket_of_rows(plan, batch).astype(np.int64)
        for n in np.flatnonzero(wanted[at]).tolist():
            values = {one.name: plain(batch[one.name], one.family, [n])[0] for one in plan.columns}
            found.setdefault(int(at[n]), []).append(values)
    return found


# --- one damage in every row ------------------------------------------------------------------------------------

Undo = Callable[[pa.Array], pa.Array]


def _uniform(
    source: TableFingerprint, copy: TableFingerprint, found: Differences, table: Table
) -> dict[str, tuple[Place, int]]:
    """Columns that one damage explains as a whole: undone on every value, both lanes of the column's sum are right.

    The guesses are tried on the rows of one coarse bucket, and the one that fits there on all rows.
    """
    if source.rows != copy.rows or len(found.changed) < _MANY:
        return {}
    settled: dict[str, tuple[Place, int]] = {}
    for column, (trial, wanted) in _trials(source, copy, found, table).items():
        for explanation, undo in _undoings(column.family):
            guess = cell_hashes(source.plan.challenge, column, Cells(undo(trial.values), trial.exceptions))
            if int(guess.sum(dtype=np.uint64)) != wanted:
                continue
            changed = _proven(source, table, column, undo)
            if changed is not None:
                text = f"{changed:,} cells, all: {said(explanation)}"
                settled[column.name] = (Place(table.name, column.name, "", text, explanation), changed)
                break
    return settled


def _trials(
    source: TableFingerprint, copy: TableFingerprint, found: Differences, table: Table
) -> dict[Column, tuple[Cells, int]]:
    """For each column that differs its cells in the smallest coarse bucket that shows it, and the source's sum."""
    plan, width = source.plan, source.plan.buckets >> source.plan.coarse_shift
    chosen: dict[Column, int] = {}
    rows = copy.counts.reshape(width, -1).sum(axis=1)
    balanced = (copy.counts == source.counts).reshape(width, -1).all(axis=1)
    for n, column in enumerate(plan.columns):
        shows = np.flatnonzero((source.coarse[:, n] != copy.coarse[:, n]) & balanced & (rows > 0))
        if column.name in found.columns_overall and len(shows) and plan.key:
            chosen[column] = int(shows[rows[shows].argmin()])
    pieces: dict[Column, list[Cells]] = {column: [] for column in chosen}
    for batch, _ in table.batches() if chosen else ():
        at = fingerprint.bucket_of_rows(plan, batch).astype(np.int64) >> plan.coarse_shift
        for column, bucket in chosen.items():
            here = np.flatnonzero(at == bucket).tolist()
            if here:
                pieces[column].append(cells_of(plain(batch[column.name], column.family, here), column.family))
    names = [column.name for column in plan.columns]
    return {
        column: (_joined(pieces[column]), int(source.coarse[bucket, names.index(column.name)]))
        for column, bucket in chosen.items()
        if pieces[column]
    }


def _joined(pieces: Sequence[Cells]) -> Cells:
    odd: dict[int, str] = {}
    start = 0
    for cells in pieces:
        odd |= {row + start: text for row, text in cells.exceptions.items()}
        start += len(cells.values)
    return Cells(pa.concat_arrays([cells.values for cells in pieces]), odd)


def _proven(source: TableFingerprint, table: Table, column: Column, undo: "Undo") -> int | None:
    """How many values the damage changed, when undoing it everywhere gives the source's sums; else None."""
    total, changed = np.zeros(2, np.uint64), 0
    for batch, _ in table.only([column]).batches():
        cells = batch[column.name]
        undone = undo(cells.values)
        changed += _changed(undone, cells.values)
        lanes = fingerprint.cell_hashes(source.plan.challenge, column, Cells(undone, cells.exceptions))
        total += lanes.sum(axis=1, dtype=np.uint64)
    place = [one.name for one in source.plan.columns].index(column.name)
    return changed if np.array_equal(total, source.columns[place]) else None


def _changed(one: pa.Array, other: pa.Array) -> int:
    if pa.types.is_dictionary(other.type):
        other = other.dictionary_decode()
    return int(pc.sum(pc.fill_null(pc.not_equal(one, other), False)).as_py() or 0)


def _undoings(family: str) -> Iterator[tuple[Explanation, Undo]]:
    """Damage that can be undone in every row alike: what it is called, and the way back."""
    if family in ("timestamp", "timestamptz"):
        for quarters in sorted(range(-4 * 14, 4 * 14 + 1), key=lambda one: (one % 4 != 0, abs(one))):
            if quarters:
                moved = quarters * 900_000_000
                explanation = explanations(0, moved, family)[0]
                yield explanation, lambda values, moved=moved: _moved(values, -moved)  # type: ignore[misc]
        yield Explanation(Kind.DAY, "+1 d"), lambda values: _moved(values, -86_400_000_000)
        yield Explanation(Kind.DAY, "-1 d"), lambda values: _moved(values, 86_400_000_000)
    elif family == "date":
        for days in (1, -1):
            yield (
                Explanation(Kind.DAY, f"{days:+d} d"),
                lambda values, days=days: pc.subtract(  # type: ignore[misc]
                    values.cast(pa.int32()), pa.scalar(days, pa.int32())
                ).cast(pa.date32()),
            )
    elif family == "bool":
        yield Explanation(Kind.INVERTED), pc.invert
    elif family == "text":
        yield Explanation(Kind.MOJIBAKE), _reread


def _moved(values: pa.Array, microseconds: int) -> pa.Array:
    return pc.add(values.cast(pa.timestamp("us", values.type.tz)), pa.scalar(microseconds, pa.duration("us")))


def _reread(values: pa.Array) -> pa.Array:
    """Latin-1 read as what it was: UTF-8."""
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()

    def again(text: str | None) -> str | None:
        if text is None or text.isascii():
            return text
        try:
            return text.encode("latin-1").decode("utf-8")
        except UnicodeError:
            return text

    return pa.array([again(one) for one in values.to_pylist()], pa.string())
