"""Which rows differ, told from a few kilobytes when the source is long gone?

An invertible Bloom lookup table (Goodrich, Mitzenmacher, "Invertible Bloom lookup tables", Allerton 2011; Eppstein,
Goodrich, Uyeda, Varghese, "What's the difference?", SIGCOMM 2011) of row images. Each row is added to one cell of each
of three tables. The difference of two sketches holds only the rows that differ; a cell with one distinct image left
is read, taken out of its other cells, and so on. docs/fingerprint.md, section 5.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import pyarrow as pa

from reversible.fingerprint import mixing
from reversible.fingerprint.families import parse
from reversible.fingerprint.mixing import Words, one_cell, seed
from reversible.fingerprint.plan import Plan

TABLES = 3
SLICE_BITS = 21  # bits of the row's hash that choose a cell in each table
TOP_SHIFT = 56  # the byte of each word that is also summed apart, so that twice a row can be halved
TOPS = 7  # such bytes in a word
_WORD = 1 << 64
_HALVINGS = 64 - TOP_SHIFT  # an image that is there n times is read when 2**9 does not divide n


@dataclass(frozen=True)
class Image:
    """One row, or several equal ones, that one side has more often than the other.

    Args:
        side: The side that has it more often.
        key: Per key column its two canonical words, (low, high).
        row: The row's hash in lane 0.
        cells: The cells' hashes in lane 0, in the order of the plan's columns.
        times: How many times more.
    """

    side: Literal["left", "right"]
    key: tuple[tuple[int, int], ...]
    row: int
    cells: tuple[int, ...]
    times: int = 1


@dataclass(frozen=True)
class Decoded:
    """The images that could be read; `complete` when nothing is left unread. Never a guess: each image is checked."""

    images: tuple[Image, ...]
    complete: bool


@dataclass(frozen=True)
class Layout:
    """What the words of a sketch's cell are: count, row, one per column, two per key column, then the tops."""

    columns: int
    keys: int

    @classmethod
    def of(cls, plan: Plan) -> Self:
        return cls(len(plan.columns), len(plan.key))

    @property
    def values(self) -> int:
        """Words of an image: the row, its cells, its key's words."""
        return 1 + self.columns + 2 * self.keys

    @property
    def width(self) -> int:
        return 1 + self.values + -(-self.values // TOPS)


@dataclass(frozen=True)
class Sketch:
    """Shape of `words`: (plan.sketch, width of its layout). It adds and subtracts, modulo 2**64."""

    plan: Plan
    words: Words

    @classmethod
    def empty(cls, plan: Plan) -> Self:
        return cls(plan, np.zeros((plan.sketch, Layout.of(plan).width), np.uint64))

    def add(self, other: Self) -> Self:
        """The sketch of both sets of rows together."""
        return self._with(other, self.words + other.words)

    def subtract(self, other: Self) -> Self:
        """What is here and not there, and the reverse."""
        return self._with(other, self.words - other.words)

    def _with(self, other: Self, words: Words) -> Self:
        if self.plan != other.plan:
            raise ValueError("sketches of different plans cannot be combined")
        return type(self)(self.plan, words)

    def same_as(self, other: Self) -> bool:
        return self.plan == other.plan and np.array_equal(self.words, other.words)

    def to_table(self) -> pa.Table:
        """For Parquet: a row per cell, columns w0, w1, ..."""
        return pa.table({f"w{n}": pa.array(self.words[:, n]) for n in range(self.words.shape[1])})

    @classmethod
    def from_table(cls, plan: Plan, table: pa.Table) -> Self:
        """What `to_table` gave.

        Raises:
            ValueError: it does not fit the plan.
        """
        expected = cls.empty(plan)
        names = [f"w{n}" for n in range(expected.words.shape[1])]
        if table.num_rows != plan.sketch or table.column_names != names:
            raise ValueError("the sketch does not fit its plan")
        for n, name in enumerate(names):
            column = table[name]
            if column.type != pa.uint64() or column.null_count:
                raise ValueError(f"the sketch's column {name} is not of uint64 without NULL")
            expected.words[:, n] = column.to_numpy()
        return expected

    def decode(self) -> Decoded:
        """Peel the difference of two sketches.

        An image is read from a cell only where the count divides every sum, the row's hash lies in that cell, the
        cells' hashes add up to the row's hash, and the key's words hash to the key's cells: a chance of 2**-64 to
        take a mixture for an image. Damaged input ends as `complete=False`.
        """
        return _Peeling(self).run()


def places(row: Words, cells: int) -> Iterator[Words]:
    """The cell of each row in each table, numbered through all of them."""
    size = cells // TABLES
    for table in range(TABLES):
        part = row >> np.uint64(table * SLICE_BITS) & np.uint64((1 << SLICE_BITS) - 1)
        yield (part * np.uint64(size) >> np.uint64(SLICE_BITS)) + np.uint64(table * size)


class _Peeling:
    """The state of one decoding: the words that are left, the cells to look at, and what was read."""

    def __init__(self, sketch: Sketch) -> None:
        self._plan = sketch.plan
        self._left = sketch.words.copy()
        self._layout = Layout.of(sketch.plan)
        self._found: dict[int, Image] = {}
        self._sound = True

    def run(self) -> Decoded:
        waiting = [int(place) for place in np.flatnonzero(self._left.any(axis=1))]
        while waiting and self._sound:
            waiting += self._peel(waiting.pop())
        complete = self._sound and not self._left.any()
        ordered = sorted(self._found.values(), key=lambda image: (image.key, image.side, image.row))
        return Decoded(tuple(ordered), complete)

    def _peel(self, place: int) -> list[int]:
        """Take the image of this cell out of all its cells; the others are worth a look then."""
        cell = [int(word) for word in self._left[place]]
        image = self._read(cell, place)
        if image is None:
            return []
        if image.row in self._found:  # a true difference holds each image once: this input is damaged
            del self._found[image.row]
            self._sound = False
            return []
        self._found[image.row] = image
        at = self._cells_of(image.row)
        self._left[at] -= np.array(cell, np.uint64)
        return [other for other in at if other != place]

    def _read(self, cell: list[int], place: int) -> Image | None:
        times = cell[0] - _WORD if cell[0] >> 63 else cell[0]
        values = _divided(cell[1:], times, self._layout.values)
        if values is None or place not in self._cells_of(values[0]):
            return None
        end = 1 + self._layout.columns
        row, cells, rest = values[0], values[1:end], values[end:]
        key = tuple(zip(rest[::2], rest[1::2], strict=True))
        total = np.array([sum(cells) % _WORD], np.uint64)
        if int(mixing.mix(total)[0]) != row or not self._key_fits(key, cells):
            return None
        return Image("left" if times > 0 else "right", key, row, tuple(cells), abs(times))

    def _cells_of(self, row: int) -> list[int]:
        return [int(one[0]) for one in places(np.array([row], np.uint64), self._plan.sketch)]

    def _key_fits(self, key: tuple[tuple[int, int], ...], cells: list[int]) -> bool:
        """The key's words give the key's cells: as a value, a NULL, or one of the two that stand beside a family."""
        for (low, high), place in zip(key, self._plan.key_places, strict=True):
            column = self._plan.columns[place]
            kinds = (parse(column.family).seeded, "null", "exception", "wide")
            starts = (seed(self._plan.challenge, column.name, kind, 0) for kind in kinds)
            if cells[place] not in {int(one_cell(low, high, start)) for start in starts}:
                return False
        return True


def _divided(sums: list[int], times: int, values: int) -> list[int] | None:
    """The words that, taken `times` times, give these sums modulo 2**64; None when there are none.

    Division by an odd number is exact modulo 2**64. By 2**v it loses the v top bits of each word, which is why the
    top bytes are summed apart, seven in a word, where they cannot overflow.
    """
    if times == 0:
        return None
    halvings = (times & -times).bit_length() - 1
    if halvings > _HALVINGS:
        return None
    inverse = pow(times >> halvings, -1, _WORD)
    shares = [word * inverse % _WORD for word in sums]
    if any(share % (1 << halvings) for share in shares):
        return None
    shares = [share >> halvings for share in shares]
    tops = [share >> 8 * n & 0xFF for share in shares[values:] for n in range(TOPS)]
    if any(share >> TOP_SHIFT for share in shares[values:]):
        return None
    known = (1 << (64 - halvings)) - 1
    found = []
    for share, top in zip(shares[:values], tops, strict=False):
        word = share & ((1 << TOP_SHIFT) - 1) | top << TOP_SHIFT
        if word & known != share:
            return None
        found.append(word)
    return found if not any(tops[values:]) else None
