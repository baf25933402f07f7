"""Which code makes and adds up the hashes: numpy, or the compiled loops where they are worth their start?

Both give the same digests.
"""

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from reversible.fingerprint import compiled, families, mixing, scatter, texts
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
_BLOCK_CELLS = 1 << 20  # at a time: bounds the memory for their words
_CHUNK_WORDS, _CHUNK_ROWS = 3 << 10, 256  # of row images at a time: they stay in the processor's nearest cache
_FORMS = {
    **dict.fromkeys((pa.int32(), pa.date32()), compiled.INTS),
    **dict.fromkeys((pa.int64(), pa.time64("us"), pa.duration("us")), compiled.WORDS),
    **dict.fromkeys((pa.string(), pa.binary(), pa.large_string(), pa.large_binary()), compiled.WORDS),  # once hashed
}  # how Arrow's own memory can be read


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
    return "numba" if worth and compiled.loops() is not None else "numpy"


def sums(plan: Plan, engine: Literal["numpy", "numba"]) -> Sums:
    """An empty state of this engine.

    Raises:
        ModuleNotFoundError: numba was asked for and is not there, or has no safe place for its machine code.
    """
    return scatter.NumpySums(plan) if engine == "numpy" else _CompiledSums(plan, compiled.needed())


class _CompiledSums:
    def __init__(self, plan: Plan, loops: compiled.Loops) -> None:
        width, columns = Layout.of(plan).width, len(plan.columns)
        self.block_rows = max(_CHUNK_ROWS, min(1 << 16, _BLOCK_CELLS // max(1, columns)))
        self._plan, self._loops, self._width = plan, loops, width
        self._chunk = max(8, min(_CHUNK_ROWS, _CHUNK_WORDS // width))
        self._scratch = np.empty(self._chunk * (compiled.SCRATCH + width), np.uint64)
        self._columns = [_Describer(plan, n) for n in range(columns)]
        self._totals = np.zeros((1 + columns, LANES), np.uint64)
        self._grid = np.zeros((plan.buckets, 2), np.uint64)
        self._coarse = np.zeros((plan.buckets >> plan.coarse_shift, columns), np.uint64)
        self._sketch = np.zeros((plan.sketch, width), np.uint64)

    def add(self, block: Sequence[Column], rows: int) -> Words:
        about = np.zeros((len(block), compiled.FIELDS), np.uint64)
        kept = [one.describe(*column, row) for one, column, row in zip(self._columns, block, about, strict=True)]
        hashes = np.empty(rows, np.uint64)
        plan = self._plan
        self._loops.add(
            _at(about), len(block), bool(plan.key), 2 * len(plan.key), rows, plan.bits, plan.coarse_shift,
            plan.sketch // TABLES, self._width, self._chunk, _at(self._scratch), _at(self._totals), _at(hashes),
            _at(self._grid), _at(self._coarse), _at(self._sketch),
        )  # fmt: skip
        del kept  # until here `about` points to it
        return hashes

    def pieces(self) -> Pieces:
        counts, fine = self._grid[:, 0].astype(np.int64), self._grid[:, 1]
        return Pieces(self._totals[0], self._totals[1:], counts, fine, self._coarse, self._sketch)


class _Describer:
    """Says where one column's words lie, block after block."""

    def __init__(self, plan: Plan, place: int) -> None:
        column = plan.columns[place]
        self._family = parse(column.family)
        self._challenge = plan.challenge
        self._seeds = scatter.Seeds.of(plan.challenge, column)
        self._of_key = column.name in plan.key
        wanted = self._of_key and plan.sketch > 0
        self._key_at = 2 + len(plan.columns) + 2 * plan.key.index(column.name) if wanted else 0
        self._type: pa.DataType | None = None
        self._form: int | None = None
        self._dictionary: pa.Array | None = None
        self._hashed: list[Words] = []  # its entries' cells, both lanes, and then NULL's
        self._texts = (np.zeros(0, np.uint64), np.zeros(0, np.uint64))

    def describe(self, values: pa.Array, odd: Odd | None, about: Words) -> list[Any]:
        """Fill in what `kernels.add` reads, shape (FIELDS,). Gives the memory it points to, to be kept so long.

        Raises:
            ValueError: the values are of another family.
        """
        values = plain(values)
        if values.type != self._type:
            self._type, self._form = values.type, self._form_of(values.type)
        shown: Words | None = None
        if odd is None and self._form is not None:
            form, parts = self._form, self._as_it_lies(values, self._form)
        elif odd is None and not self._key_at and pa.types.is_dictionary(values.type):
            form, parts = self._looked_up(values)
        else:
            encoded = encode(values, self._family, self._challenge).with_odd(odd)
            if encoded.index is None and not encoded.odd:
                form, parts = compiled.WORDS, [encoded.low, encoded.high, encoded.null]
            else:
                form = compiled.CELLS
                parts = [*self._cells(encoded), _within(encoded.index, len(encoded.low))]
                shown = np.stack(encoded.shown()) if self._key_at else None
        at = [0 if one is None else _at(one) for one in (*parts, shown)]
        seeds = [*self._seeds.value, *self._seeds.null]
        about[:] = np.array([form, self._of_key, *at[:3], *seeds, self._key_at, at[3], len(values)], np.uint64)
        return [*parts, shown]

    def _form_of(self, kind: pa.DataType) -> int | None:
        """How the family's words lie in Arrow's own memory; None where they do not."""
        types, family = pa.types, self._family
        if types.is_decimal128(kind):
            return compiled.PAIRS if family.kind in ("int", "decimal") and kind.scale == family.scale else None
        form = compiled.WORDS if types.is_timestamp(kind) and kind.unit == "us" else _FORMS.get(kind)
        return form if form is not None and families.family(kind) == family.text else None

    def _as_it_lies(self, values: pa.Array, form: int) -> list[Any]:
        null = nulls(values)
        if form == compiled.PAIRS:
            return [raw(values, "<u8", 2), None, null]
        if form == compiled.INTS:
            return [raw(values, "<i4"), None, null]
        if self._family.kind not in ("text", "binary"):
            return [raw(values, "<u8"), None, null]
        if len(self._texts[0]) < len(values):  # the same memory for all blocks
            self._texts = (np.empty(len(values), np.uint64), np.empty(len(values), np.uint64))
        low, high = (one[: len(values)] for one in self._texts)
        texts.by_loops_into(values, mixing.bytes_seed(self._challenge), low, high)
        return [low, high, null]

    def _looked_up(self, values: pa.DictionaryArray) -> tuple[int, list[Any]]:
        """Both lanes of the dictionary's entries, hashed once for as long as it stays the same, and the index."""
        entries = values.dictionary
        if self._dictionary is None or not entries.equals(self._dictionary):
            cells = self._cells(encode(entries, self._family, self._challenge).expanded())
            self._hashed = [np.append(one, null) for one, null in zip(cells, self._seeds.null, strict=True)]
            self._dictionary = entries
        kind, null = values.indices.type, nulls(values)
        index = raw(values.indices, f"<{'u' if pa.types.is_unsigned_integer(kind) else 'i'}{kind.bit_width // 8}")
        form = compiled.CELLS32 if kind == pa.int32() and null is None else compiled.CELLS
        if null is not None:
            index = np.where(null, len(entries), index)
        if form == compiled.CELLS:
            index = index.astype(np.int64, copy=False)
        return form, [*self._hashed, _within(index, len(entries) + 1)]

    def _cells(self, encoded: Encoded) -> list[Words]:
        return [scatter.hashed(encoded, self._seeds, lane) for lane in range(LANES)]


def _within(index: npt.NDArray[Any] | None, count: int) -> npt.NDArray[Any] | None:
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
