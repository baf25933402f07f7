"""Do two sets of rows, read by two programs in two orders, hold the same values?

The fingerprint "rv1" of Arrow batches: keyed sums of hashes, the same for every engine, encoding, order and cut into
batches. `docs/fingerprint.md` specifies it to the bit, so that a third party can compute it without this module.

Sums, never XOR: duplicated rows and uniform shifts do not cancel. The challenge is drawn after the export, so that
nobody can prepare rows that collide.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from itertools import pairwise
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

VERSION = "rv1"
MAX_BUCKETS = 1 << 16
_COARSE_BITS = 12  # at most 4,096 coarse buckets: one sum per column each
_LANES = 2

Words = npt.NDArray[np.uint64]
Counts = npt.NDArray[np.int64]

# splitmix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
_M1, _M2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_NAN_BITS = np.uint64(0x7FF8000000000000)  # the one NaN: quiet, positive, no payload


@dataclass(frozen=True)
class Column:
    """A column as its owner declares it.

    `family` is the logical type: "int", "bool", "float", "decimal:S" (S digits after the point), "date", "time",
    "timestamp" (no zone), "timestamptz" (an instant), "text", "binary".
    """

    name: str
    family: str


@dataclass(frozen=True)
class Cells:
    """One column's values in one batch.

    `exceptions` maps row numbers in the batch to the source's text, for values that the typed column cannot hold;
    `values` is NULL there.
    """

    values: pa.Array
    exceptions: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """What both sides must agree on before they hash.

    Args:
        challenge: Any text; the same on both sides, unknown when the data was written.
        columns: The columns, in any order: their names count, their order does not.
        key: Names of the columns that identify a row; empty when none do. Decides the buckets.
        buckets: A power of two from 1 to 65,536; `buckets_for(rows)` gives the usual one.
    """

    challenge: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    buckets: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.buckets <= MAX_BUCKETS or self.buckets & (self.buckets - 1):
            raise ValueError(f"buckets must be a power of two from 1 to {MAX_BUCKETS}: {self.buckets}")
        names = [column.name for column in self.columns]
        if len(set(names)) != len(names) or not set(self.key) <= set(names):
            raise ValueError("column names must be unique, and the key must name columns")

    @property
    def bits(self) -> int:
        return self.buckets.bit_length() - 1

    @property
    def coarse_shift(self) -> int:
        """How many low bits of a bucket's number the coarse grid drops: 4 for 65,536 buckets, 0 up to 4,096."""
        return max(0, self.bits - _COARSE_BITS)

    def to_json(self) -> dict[str, Any]:
        return {
            "fingerprint": VERSION,
            "challenge": self.challenge,
            "columns": [{"name": column.name, "family": column.family} for column in self.columns],
            "key": list(self.key),
            "buckets": self.buckets,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The plan of a witness.

        Raises:
            ValueError: another version of the fingerprint.
        """
        if document["fingerprint"] != VERSION:
            raise ValueError(f"fingerprint {document['fingerprint']!r} is not {VERSION}")
        columns = tuple(Column(one["name"], one["family"]) for one in document["columns"])
        return cls(document["challenge"], columns, tuple(document["key"]), document["buckets"])


@dataclass(frozen=True)
class TableFingerprint:
    """The sums of one table, or of a part of it: `merge` adds parts in any order.

    Shapes: `total` (2,), `columns` (columns, 2), `counts` and `sums` (buckets,),
    `coarse` (buckets >> coarse_shift, columns). All sums are modulo 2**64; two lanes make 128 bits.
    """

    plan: Plan
    rows: int
    total: Words
    columns: Words
    counts: Counts
    sums: Words
    coarse: Words

    @classmethod
    def empty(cls, plan: Plan) -> Self:
        width, coarse = len(plan.columns), plan.buckets >> plan.coarse_shift
        return cls(
            plan, 0, np.zeros(_LANES, np.uint64), np.zeros((width, _LANES), np.uint64),
            np.zeros(plan.buckets, np.int64), np.zeros(plan.buckets, np.uint64), np.zeros((coarse, width), np.uint64),
        )  # fmt: skip

    def merge(self, other: Self) -> Self:
        """The fingerprint of both sets of rows together."""
        if self.plan != other.plan:
            raise ValueError("two fingerprints of different plans cannot be added")
        return type(self)(
            self.plan, self.rows + other.rows, self.total + other.total, self.columns + other.columns,
            self.counts + other.counts, self.sums + other.sums, self.coarse + other.coarse,
        )  # fmt: skip

    def same_as(self, other: Self) -> bool:
        return (
            self.plan == other.plan
            and self.rows == other.rows
            and all(
                np.array_equal(getattr(self, name), getattr(other, name))
                for name in ("total", "columns", "counts", "sums", "coarse")
            )
        )

    @property
    def digest(self) -> str:
        """The rows' sum, both lanes, 32 hex digits."""
        return _hex(self.total)

    def to_json(self) -> dict[str, Any]:
        """The sums without the grids, which `to_tables` gives."""
        names = (column.name for column in self.plan.columns)
        sums = {name: _hex(lanes) for name, lanes in zip(names, self.columns, strict=True)}
        return {**self.plan.to_json(), "rows": self.rows, "total": self.digest, "column_sums": sums}

    def to_tables(self) -> dict[str, pa.Table]:
        """The two grids, for Parquet: "fine" has a row per bucket, "coarse" one column c0, c1, ... per column."""
        fine = pa.table({"count": pa.array(self.counts), "sum": pa.array(self.sums)})
        columns = {f"c{n}": pa.array(self.coarse[:, n]) for n in range(self.coarse.shape[1])}
        columns["bucket"] = pa.array(np.arange(len(self.coarse), dtype=np.uint32))
        return {"fine": fine, "coarse": pa.table(columns)}

    @classmethod
    def from_stored(cls, document: Mapping[str, Any], tables: Mapping[str, pa.Table]) -> Self:
        """What `to_json` and `to_tables` gave.

        Raises:
            ValueError: they do not fit together.
        """
        try:
            plan = Plan.from_json(document)
            sums = [_unhex(document["column_sums"][column.name]) for column in plan.columns]
            fine, coarse = tables["fine"], tables["coarse"]
            columns = [coarse[f"c{n}"].to_numpy() for n in range(len(plan.columns))]
            found = cls(
                plan, int(document["rows"]), _unhex(document["total"]),
                np.array(sums, np.uint64).reshape(len(sums), _LANES), fine["count"].to_numpy(),
                fine["sum"].to_numpy(), np.array(columns, np.uint64).reshape(len(columns), -1).T
                if columns else np.zeros((coarse.num_rows, 0), np.uint64),
            )  # fmt: skip
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a stored fingerprint: {error}") from error
        expected = cls.empty(plan)
        for name in ("counts", "sums", "coarse"):
            if getattr(found, name).shape != getattr(expected, name).shape:
                raise ValueError(f"the fingerprint's {name} do not fit its plan")
        if int(found.counts.sum()) != found.rows:
            raise ValueError("the fingerprint's buckets do not add up to its rows")
        return found


@dataclass(frozen=True)
class Differences:
    """What `compare` found. Row figures come from the buckets' counts, so a drop does not hide behind a duplicate.

    `changed` are buckets that hold as many rows on both sides, but others; `surplus` and `lacking` hold more or
    fewer rows on the right. `columns` maps each of these buckets to the columns whose values differ there (with
    over 4,096 buckets: in one of its 16 neighbours). `columns_overall` are columns whose sums over the table differ.
    """

    missing: int
    extra: int
    cells: int
    changed: tuple[int, ...]
    surplus: tuple[int, ...]
    lacking: tuple[int, ...]
    columns: Mapping[int, tuple[str, ...]]
    columns_overall: tuple[str, ...]

    @property
    def none(self) -> bool:
        return not (self.missing or self.extra or self.cells)


def buckets_for(rows: int) -> int:
    """The power of two from eight per row, from 1 to 65,536: in a small table a differing bucket names one row."""
    return min(MAX_BUCKETS, 1 << max(0, 8 * rows - 1).bit_length())


def fingerprint(
    plan: Plan, batches: Iterable[Mapping[str, Cells]], rows: Iterable[int] | None = None
) -> TableFingerprint:
    """The sum over the batches; each maps every column of the plan to its cells.

    Args:
        plan: What both sides agreed on.
        batches: The cells of each batch, by column name.
        rows: The rows of each batch, needed only when there are no columns.
    """
    found: TableFingerprint = TableFingerprint.empty(plan)
    if rows is not None:
        parts = (_of_batch(plan, batch, count) for batch, count in zip(batches, rows, strict=True))
    else:
        parts = (_of_batch(plan, batch, len(next(iter(batch.values())).values)) for batch in batches)
    return reduce(TableFingerprint.merge, parts, found)


def compare(left: TableFingerprint, right: TableFingerprint) -> Differences:
    """Where `right` (the copy) differs from `left` (the source).

    `cells` is a lower bound of the differing cells. With a key, a changed row stays in its bucket: each coarse
    bucket with equal counts differs in at least as many cells as it has differing fine buckets, or differing columns.
    Without a key a changed row is one row less and another more: these are paired.
    """
    if left.plan != right.plan:
        raise ValueError("fingerprints of different plans cannot be compared")
    plan, shift = left.plan, left.plan.coarse_shift
    gain = right.counts - left.counts
    changed = np.flatnonzero((gain == 0) & (left.sums != right.sums))
    surplus, lacking = np.flatnonzero(gain > 0), np.flatnonzero(gain < 0)
    missing, extra = int(-gain[lacking].sum()), int(gain[surplus].sum())
    differing = left.coarse != right.coarse
    names = [column.name for column in plan.columns]
    columns = {
        int(bucket): tuple(name for name, differs in zip(names, differing[bucket >> shift], strict=True) if differs)
        for bucket in (*changed, *surplus, *lacking)
    }
    overall = (left.columns != right.columns).any(axis=1)
    if plan.key:
        balanced = np.add.reduceat(gain != 0, np.arange(0, plan.buckets, 1 << shift)) == 0
        inside = np.bincount(changed >> shift, minlength=len(balanced))
        width = np.where(balanced, differing.sum(axis=1), 0)
        cells = int(np.maximum(inside, width).sum())
    else:
        pairs = min(missing, extra)
        cells = len(changed) + pairs
        if cells and missing == extra:
            cells = max(cells, int(overall.sum()))
    if not (cells or missing or extra) and not left.same_as(right):
        cells = 1  # the second lane alone saw it
    return Differences(
        missing, extra, cells, tuple(map(int, changed)), tuple(map(int, surplus)), tuple(map(int, lacking)), columns,
        tuple(name for name, differs in zip(names, overall, strict=True) if differs),
    )  # fmt: skip


def row_hashes(challenge: str, columns: Sequence[tuple[Column, Cells]]) -> Words:
    """One 64-bit hash per row over these columns, whose order does not count: equal rows, equal hashes."""
    total = np.zeros(len(columns[0][1].values), np.uint64)
    for column, cells in columns:
        total += _cells(challenge, column, cells)[0]
    return mix(total)


def bucket_of_rows(plan: Plan, batch: Mapping[str, Cells]) -> Words:
    """The bucket of each row of a batch that has all columns of the plan."""
    hashed = {column.name: _cells(plan.challenge, column, batch[column.name])[0] for column in plan.columns}
    rows = len(next(iter(hashed.values()))) if hashed else 0
    return _buckets(plan, hashed, mix(sum(hashed.values(), np.zeros(rows, np.uint64))))


def family(arrow_type: pa.DataType) -> str:
    """The family of an Arrow type as it stands in a file.

    Raises:
        ValueError: it has none: nested types are compared as text, and their reader must render it.
    """
    types = pa.types
    if types.is_dictionary(arrow_type):
        return family(arrow_type.value_type)
    if types.is_decimal(arrow_type):
        return f"decimal:{arrow_type.scale}"
    if types.is_timestamp(arrow_type):
        return "timestamp" if arrow_type.tz is None else "timestamptz"
    for name, belongs in _FAMILIES.items():
        if any(check(arrow_type) for check in belongs):
            return name
    raise ValueError(f"{arrow_type} has no family")


_FAMILIES = {
    "bool": (pa.types.is_boolean,),
    "int": (pa.types.is_integer,),
    "float": (pa.types.is_floating,),
    "date": (pa.types.is_date,),
    "time": (pa.types.is_time,),
    "text": (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view),
    "binary": (
        pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary, pa.types.is_binary_view,
    ),
}  # fmt: skip


# --- values to words --------------------------------------------------------------------------------------------


def words(values: pa.Array, name: str) -> tuple[Words, Words]:
    """Two canonical 64-bit words per value of the family `name`; whatever stands for a NULL counts for nothing."""
    if pa.types.is_dictionary(values.type) and name not in ("text", "binary"):
        values = values.dictionary_decode()
    if name in ("text", "binary"):
        return _words_of_bytes(values)
    if name.startswith("decimal:"):
        return _words_of_decimals(values, int(name.partition(":")[2]))
    if name == "float":
        bits = _numpy(values.cast(pa.float64()), np.float64).view(np.uint64)
        floats = bits.view(np.float64)
        one = np.where(np.isnan(floats), _NAN_BITS, bits)
    elif name == "bool":
        one = _numpy(values.cast(pa.uint8()), np.uint8).astype(np.uint64)
    elif name == "date":
        one = _numpy(values.cast(pa.date32()).cast(pa.int32()), np.int32).astype(np.int64).view(np.uint64)
    elif name == "time":
        one = _numpy(values.cast(pa.time64("us")).cast(pa.int64()), np.int64).view(np.uint64)
    elif name in ("timestamp", "timestamptz"):
        zone = "UTC" if name == "timestamptz" else None
        one = _numpy(values.cast(pa.timestamp("us", zone)).cast(pa.int64()), np.int64).view(np.uint64)
    elif name == "int":
        wide = pa.uint64() if pa.types.is_unsigned_integer(values.type) else pa.int64()
        whole = _numpy(values.cast(wide), np.uint64 if wide == pa.uint64() else np.int64)
        return whole.view(np.uint64), _sign(whole)
    else:
        raise ValueError(f"no such family: {name}")
    return one, np.zeros(len(values), np.uint64)


def mix(values: Words) -> Words:
    """splitmix64's finaliser after one step: a bijection of 64-bit words."""
    values = values + _GAMMA
    values = (values ^ (values >> np.uint64(30))) * _M1
    values = (values ^ (values >> np.uint64(27))) * _M2
    return values ^ (values >> np.uint64(31))


def seed(challenge: str, name: str, kind: str, lane: int) -> np.uint64:
    """The word that makes a cell of one column, family and lane unlike all others."""
    text = "\0".join((VERSION, challenge, name, kind, str(lane)))
    return np.uint64(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big"))


def _words_of_bytes(values: pa.Array) -> tuple[Words, Words]:
    """XXH3-128 of the bytes, in its canonical (big-endian) form; a repeated value is hashed once."""
    encoded = values if pa.types.is_dictionary(values.type) else pc.dictionary_encode(values)
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    distinct = encoded.dictionary.cast(pa.large_binary()).to_pylist()
    hashed = b"".join(xxhash.xxh3_128_digest(one or b"") for one in distinct) or bytes(16)
    table = np.frombuffer(hashed, ">u8").astype(np.uint64).reshape(-1, 2)
    at = _numpy(encoded.indices.cast(pa.int64()), np.int64)
    return table[at, 0], table[at, 1]


def _words_of_decimals(values: pa.Array, scale: int) -> tuple[Words, Words]:
    """The unscaled 128-bit integer at the declared scale: low word, high word."""
    if pa.types.is_integer(values.type) or values.type.scale != scale or values.type.bit_width != 128:
        values = values.cast(pa.decimal128(38, scale))  # ArrowInvalid when a value does not fit exactly
    raw = np.frombuffer(values.buffers()[1], "<u8") if len(values) else np.zeros(0, np.uint64)
    pairs = raw[2 * values.offset : 2 * (values.offset + len(values))].reshape(-1, 2)
    return pairs[:, 0].astype(np.uint64), pairs[:, 1].astype(np.uint64)


def _sign(whole: npt.NDArray[Any]) -> Words:
    """The high word of a 128-bit integer: so uint64 2**63 and int64 -2**63 differ."""
    return (
        np.where(whole < 0, np.uint64(2**64 - 1), np.uint64(0))
        if whole.dtype == np.int64
        else np.zeros(len(whole), np.uint64)
    )


def _numpy(values: pa.Array, dtype: Any) -> npt.NDArray[Any]:
    """The values with 0 in the place of a NULL."""
    filled = values.fill_null(0) if values.null_count else values
    array: npt.NDArray[Any] = filled.to_numpy(zero_copy_only=False)
    return np.ascontiguousarray(array, dtype=dtype)


# --- cells, rows, buckets ---------------------------------------------------------------------------------------


def _cells(challenge: str, column: Column, cells: Cells) -> Words:
    """Shape (2, rows): one hash per cell and lane."""
    values = cells.values.combine_chunks() if isinstance(cells.values, pa.ChunkedArray) else cells.values
    low, high = words(values, column.family)
    null = np.asarray(values.is_null().to_numpy(zero_copy_only=False)) if values.null_count else None
    hashed = np.empty((_LANES, len(values)), np.uint64)
    for lane in range(_LANES):
        hashed[lane] = _cell(low, high, seed(challenge, column.name, column.family, lane))
        if null is not None:
            nothing = np.zeros(1, np.uint64)
            hashed[lane][null] = _cell(nothing, nothing, seed(challenge, column.name, "null", lane))[0]
    if cells.exceptions:
        rows = np.fromiter(cells.exceptions.keys(), np.int64, len(cells.exceptions))
        low, high = _words_of_bytes(pa.array(list(cells.exceptions.values()), pa.string()))
        for lane in range(_LANES):
            hashed[lane][rows] = _cell(low, high, seed(challenge, column.name, "exception", lane))
    return hashed


def _cell(low: Words, high: Words, start: np.uint64) -> Words:
    return mix(mix(low ^ start) ^ high)


def _of_batch(plan: Plan, batch: Mapping[str, Cells], rows: int) -> TableFingerprint:
    shift = np.uint64(plan.coarse_shift)
    found: TableFingerprint = TableFingerprint.empty(plan)
    sums = np.zeros((_LANES, rows), np.uint64)
    hashed: dict[str, Words] = {}
    for n, column in enumerate(plan.columns):
        cells = _cells(plan.challenge, column, batch[column.name])
        if cells.shape[1] != rows:
            raise ValueError(f"column {column.name} has {cells.shape[1]} values in a batch of {rows} rows")
        sums += cells
        found.columns[n] = cells.sum(axis=1, dtype=np.uint64)
        hashed[column.name] = cells[0]
    lanes = mix(sums)
    buckets = _buckets(plan, hashed, lanes[0])
    np.add.at(found.sums, buckets, lanes[0])
    found.counts[:] = np.bincount(buckets.astype(np.int64), minlength=plan.buckets)
    for n, column in enumerate(plan.columns):
        np.add.at(found.coarse[:, n], buckets >> shift, hashed[column.name])
    return TableFingerprint(
        plan, rows, lanes.sum(axis=1, dtype=np.uint64), found.columns, found.counts, found.sums, found.coarse
    )


def _buckets(plan: Plan, hashed: Mapping[str, Words], row_hash: Words) -> Words:
    """By the key's hash, or the row's where there is no key: the high bits of one more mix."""
    if plan.bits == 0:
        return np.zeros(len(row_hash), np.uint64)
    by = sum((hashed[name] for name in plan.key), np.zeros(len(row_hash), np.uint64)) if plan.key else row_hash
    return mix(by) >> np.uint64(64 - plan.bits)


def _hex(lanes: Words) -> str:
    return "".join(f"{int(lane):016x}" for lane in lanes)


def _unhex(text: str) -> Words:
    return np.array([int(text[start:end], 16) for start, end in pairwise(range(0, 16 * _LANES + 1, 16))], np.uint64)
