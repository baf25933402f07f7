"""Which code makes and adds up the hashes: numpy, or the compiled loops where they are worth their start?

Both give the same digests.
"""

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from reversible.fingerprint import compiled, scatter, texts
from reversible.fingerprint.families import parse
from reversible.fingerprint.mixing import LANES, Words
from reversible.fingerprint.plan import Plan
from reversible.fingerprint.scatter import Pieces
from reversible.fingerprint.sketch import TABLES, Layout
from reversible.fingerprint.words import Encoded, Odd, encode, nulls, plain, raw

Choice = Literal["auto", "numpy", "numba"]
Column = tuple[pa.Array, Odd | None]  # one column's values in a block of rows, and what stands in place of some

_WORTH_LOADING = 1 << 20  # cells from which a tenth of a second is earned back
_WORTH_COMPILING = 1 << 25  # and seconds
_CHUNK_BYTES = 24 << 10  # of row images at a time: they stay in the processor's nearest cache


class Sums(Protocol):
    """All sums of a table in the making."""

    @property
    def block_rows(self) -> int:
        """The most rows that `add` takes."""
        ...

    def add(self, block: Sequence[Column], rows: int) -> Words:
        """Hash rows and add them up; the plan's columns in order. Gives the rows' hashes in lane 0, shape (rows,)."""
        ...

    def pieces(self) -> Pieces:
        """The sums so far."""
        ...


def choose(plan: Plan, cells: int, choice: Choice) -> Literal["numpy", "numba"]:
    """The code to use for a table of which so many cells were seen."""
    if choice != "auto":
        return choice
    if not plan.columns or cells < _WORTH_LOADING:
        return "numpy"
    worth = compiled.loaded() is not None or cells >= _WORTH_COMPILING or compiled.ready()
    if worth and compiled.loops() is not None:
        return "numba"
    if any(parse(column.family).kind in ("text", "binary") for column in plan.columns):
        texts.polars_hasher()  # from now on it hashes the texts
    return "numpy"


def sums(plan: Plan, engine: Literal["numpy", "numba"]) -> Sums:
    """An empty state of this engine.

    Raises:
        ModuleNotFoundError: numba was asked for and is not there, or has no safe place for its machine code.
    """
    return scatter.NumpySums(plan) if engine == "numpy" else _CompiledSums(plan, compiled.needed())


class _CompiledSums:
    block_rows = 1 << 16

    def __init__(self, plan: Plan, loops: compiled.Loops) -> None:
        width, columns = Layout.of(plan).width, len(plan.columns)
        self._plan, self._loops, self._width = plan, loops, width
        self._chunk = max(8, _CHUNK_BYTES // 8 // width)
        self._scratch = np.empty(self._chunk * (3 + width), np.uint64)
        self._keys = plan.key_places if plan.sketch else ()
        self._columns = [_Describer(plan, n) for n in range(columns)]
        self._totals = np.zeros((1 + columns, LANES), np.uint64)
        self._counts = np.zeros(plan.buckets, np.int64)
        self._fine = np.zeros(plan.buckets, np.uint64)
        self._coarse = np.zeros((plan.buckets >> plan.coarse_shift, columns), np.uint64)
        self._sketch = np.zeros((plan.sketch, width), np.uint64)

    def add(self, block: Sequence[Column], rows: int) -> Words:
        about = np.empty((len(block), compiled.FIELDS), np.uint64)
        keys = np.empty((2 * len(self._keys), rows), np.uint64)
        kept: list[Any] = []  # the memory that `about` points to
        for n, (values, odd) in enumerate(block):
            memory, encoded = self._columns[n].describe(values, odd, about[n])
            kept.append(memory)
            if encoded is not None and n in self._keys:
                place = 2 * self._keys.index(n)
                keys[place], keys[place + 1] = encoded.shown()
        hashes = np.empty(rows, np.uint64)
        plan = self._plan
        self._loops.add(
            _at(about), len(block), bool(plan.key), rows, _at(keys), len(keys), plan.bits, plan.coarse_shift,
            plan.sketch // TABLES, self._width, self._chunk, _at(self._scratch), _at(self._totals), _at(hashes),
            _at(self._counts), _at(self._fine), _at(self._coarse), _at(self._sketch),
        )  # fmt: skip
        return hashes

    def pieces(self) -> Pieces:
        return Pieces(self._totals[0], self._totals[1:], self._counts, self._fine, self._coarse, self._sketch)


class _Describer:
    """Says where one column's words lie, block after block."""

    def __init__(self, plan: Plan, place: int) -> None:
        column = plan.columns[place]
        self._family = parse(column.family)
        self._challenge = plan.challenge
        self._seeds = scatter.Seeds.of(plan.challenge, column)
        self._of_key = column.name in plan.key
        self._words_wanted = self._of_key and plan.sketch > 0
        self._dictionary: pa.Array | None = None
        self._hashed: list[Words] = []  # its entries' cells, both lanes, and then NULL's

    def describe(self, values: pa.Array, odd: Odd | None, about: Words) -> tuple[list[Any], Encoded | None]:
        """Fill in what `kernels.add` reads, shape (FIELDS,). Gives the memory it points to, to be kept so long, and
        the words where the sketch wants them.

        Raises:
            ValueError: the values are of another family.
        """
        values = plain(values)
        encoded: Encoded | None = None
        parts: list[Any]
        if odd is None and not self._words_wanted and pa.types.is_dictionary(values.type):
            form, parts = compiled.CELLS, self._looked_up(values)
        elif odd is None and not self._words_wanted and self._lies_ready(values.type):
            form, parts = compiled.PAIRS, [raw(values, "<u8", 2), None, nulls(values)]
        else:
            encoded = encode(values, self._family, self._challenge).with_odd(odd)
            if encoded.index is None and not encoded.odd:
                form, parts = compiled.WORDS, [encoded.low, encoded.high, encoded.null]
            else:
                form, parts = compiled.CELLS, [*self._cells(encoded), _within(encoded.index, len(encoded.low))]
        seeds = [*self._seeds.value, *self._seeds.null]
        at = [0 if one is None else _at(one) for one in parts]
        about[:] = np.array([form, self._of_key, *at, *seeds], np.uint64)
        return parts, encoded

    def _lies_ready(self, kind: pa.DataType) -> bool:
        """Whether these are 128-bit decimals whose memory holds the family's words."""
        same = self._family.kind in ("int", "decimal") and pa.types.is_decimal128(kind)
        return same and bool(kind.scale == self._family.scale)

    def _looked_up(self, values: pa.DictionaryArray) -> list[Any]:
        """Both lanes of the dictionary's entries, hashed once for as long as it stays the same, and the index."""
        entries = values.dictionary
        if self._dictionary is None or not entries.equals(self._dictionary):
            cells = self._cells(encode(entries, self._family, self._challenge).expanded())
            self._hashed = [np.append(one, null) for one, null in zip(cells, self._seeds.null, strict=True)]
            self._dictionary = entries
        kind = values.indices.type
        index = raw(values.indices, f"<{'u' if pa.types.is_unsigned_integer(kind) else 'i'}{kind.bit_width // 8}")
        index, null = index.astype(np.int64, copy=False), nulls(values)
        if null is not None:
            index = np.where(null, len(entries), index)
        return [*self._hashed, _within(index, len(entries) + 1)]

    def _cells(self, encoded: Encoded) -> list[Words]:
        return [scatter.hashed(encoded, self._seeds, lane) for lane in range(LANES)]


def _within(index: npt.NDArray[np.int64] | None, count: int) -> npt.NDArray[np.int64] | None:
    """An index that names entries: the loops do not look where they read.

    Raises:
        ValueError: it names others.
    """
    if index is not None and len(index) and not 0 <= int(index.min()) <= int(index.max()) < count:
        raise ValueError("a value's index lies outside its dictionary")
    return index


def _at(array: npt.NDArray[Any]) -> int:
    """Where an array begins in memory."""
    return int(array.ctypes.data)
