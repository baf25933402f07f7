"""What are the canonical words of a value, whatever stores it? See docs/fingerprint.md, section 2."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from reversible.fingerprint import families, mixing, texts
from reversible.fingerprint.families import Family
from reversible.fingerprint.mixing import Words

_NAN_BITS = np.uint64(0x7FF8000000000000)  # the one NaN: quiet, positive, no payload
_TOP = np.uint64(63)
_MS_PER_DAY = 86_400_000
_US_PER = {"s": 1_000_000, "ms": 1_000, "us": 1}


@dataclass(frozen=True)
class Odd:
    """Values outside their family's usual form, all of one kind: where they stand, and their words; shape (values,)."""

    kind: str
    places: npt.NDArray[np.int64]
    low: Words
    high: Words

    @classmethod
    def of_texts(cls, texts_by_place: Mapping[int, str], challenge: str) -> "Odd":
        """What the source wrote where the typed column cannot hold the value."""
        found = pa.array(texts_by_place.values(), pa.string())
        places = np.fromiter(texts_by_place.keys(), np.int64, len(texts_by_place))
        return cls("exception", places, *texts.hash_values(found, mixing.bytes_seed(challenge)))

    @classmethod
    def wide(cls, integers: Mapping[int, int], challenge: str) -> "Odd":
        """Integers beyond 128 bits: the hash of their shortest two's complement, big-endian."""
        found = pa.array([_shortest_bytes(one) for one in integers.values()], pa.binary())
        places = np.fromiter(integers.keys(), np.int64, len(integers))
        return cls("wide", places, *texts.hash_values(found, mixing.bytes_seed(challenge)))

    def chosen(self, which: npt.NDArray[Any]) -> "Odd":
        """Those that this mask or index names."""
        return Odd(self.kind, self.places[which], self.low[which], self.high[which])

    def cut(self, start: int, count: int) -> "Odd":
        """Those among so many values, numbered from there."""
        inside = self.chosen((self.places >= start) & (self.places < start + count))
        return Odd(inside.kind, inside.places - start, inside.low, inside.high)


@dataclass(frozen=True)
class Encoded:
    """The words of the values of an array, shape (values,) each.

    `high` None means 0 everywhere; `null` None means no NULL; what stands for a NULL counts for nothing. `odd` holds
    the values outside their family's usual form; of two at one place the later counts. With `index`, the words are a
    dictionary's and `index` says which entry each value is.
    """

    low: Words
    high: Words | None = None
    null: npt.NDArray[np.bool_] | None = None
    odd: tuple[Odd, ...] = ()
    index: npt.NDArray[np.int64] | None = None

    def expanded(self) -> "Encoded":
        """The same without a dictionary."""
        if self.index is None:
            return self
        at = self.index
        odd = []
        for one in self.odd:
            entry = np.full(len(self.low), -1, np.int64)  # which odd one each entry of the dictionary is
            entry[one.places] = np.arange(len(one.places))
            rows = np.flatnonzero(entry[at] >= 0)
            odd.append(replace(one.chosen(entry[at[rows]]), places=rows))
        high, null = (None if one is None else one[at] for one in (self.high, self.null))
        return Encoded(self.low[at], high, null, tuple(odd))  # type: ignore[arg-type]  # null stays an array of bool

    def with_odd(self, one: Odd | None) -> "Encoded":
        """The same with these values put in their places, NULL before or not."""
        if one is None or not len(one.places):
            return self
        full = self.expanded()
        null = None if full.null is None else full.null.copy()
        if null is not None:
            null[one.places] = False
        return Encoded(full.low, full.high, null, (*full.odd, one))

    def shown(self) -> tuple[Words, Words]:
        """Both words of every value, without a dictionary: 0 and 0 for NULL."""
        full = self.expanded()
        if full.null is None and not full.odd and full.high is not None:
            return full.low, full.high
        high = np.zeros(len(full.low), np.uint64) if full.high is None else full.high.copy()
        if full.null is None and not full.odd:
            return full.low, high
        low = full.low.copy()
        for one in full.odd:
            low[one.places], high[one.places] = one.low, one.high
        if full.null is not None:
            low[full.null] = high[full.null] = 0
        return low, high


def words(values: pa.Array, family: str, challenge: str) -> tuple[Words, Words]:
    """Two canonical 64-bit words per value; 0 and 0 for NULL."""
    return encode(values, families.parse(family), challenge).shown()


def encode(values: pa.Array, family: Family, challenge: str) -> Encoded:
    """The words of the values of one column.

    Raises:
        ValueError: the values are of another family (pyarrow's ArrowInvalid and ArrowNotImplementedError are too).
    """
    values = plain(values)
    if pa.types.is_dictionary(values.type):
        return _of_dictionary(values, family, challenge)
    null = nulls(values)
    if pa.types.is_null(values.type):
        return Encoded(np.zeros(len(values), np.uint64), None, np.ones(len(values), np.bool_))
    if family.kind in ("list", "map", "struct"):
        from reversible.fingerprint import nested  # in the function: nested values hold flat ones, and these nested

        low, high = nested.words(values, family, challenge)
        return Encoded(low, high, null)
    if families.parse(families.family(values.type)).kind not in _ACCEPTS.get(family.kind, (family.kind,)):
        raise ValueError(f"{values.type} is not of the family {family.text}")
    found = _ENCODERS[family.kind](values, family, challenge)
    odd = found.odd if null is None else tuple(one.chosen(~null[one.places]) for one in found.odd)
    return Encoded(found.low, found.high, null, odd)


def plain(values: pa.Array) -> pa.Array:
    """One array without chunks, extension types, runs or list views."""
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
        if isinstance(values, pa.ChunkedArray):  # no chunk at all, in some versions of pyarrow
            values = pa.concat_arrays(values.chunks) if values.num_chunks else pa.nulls(0, values.type)
    if isinstance(values, pa.ExtensionArray):
        return plain(values.storage)
    if pa.types.is_run_end_encoded(values.type):
        import pyarrow.compute as pc  # in the function: costs as much as hashing a small table

        return plain(pc.run_end_decode(values))
    return values


def raw(values: pa.Array, dtype: str, per_value: int = 1) -> npt.NDArray[Any]:
    """The array's own memory, shape (values * per_value,); anything may stand where a value is NULL."""
    buffer, count = values.buffers()[1], len(values) * per_value
    if buffer is None or not count:
        return np.zeros(count, dtype)
    return np.frombuffer(buffer, dtype, count, values.offset * per_value * np.dtype(dtype).itemsize)


def nulls(values: pa.Array) -> npt.NDArray[np.bool_] | None:
    """Which values are NULL; None where none is."""
    return np.asarray(values.is_null().to_numpy(zero_copy_only=False), np.bool_) if values.null_count else None


def _of_dictionary(values: pa.DictionaryArray, family: Family, challenge: str) -> Encoded:
    """The words of the dictionary's entries. A value is NULL by its index or by its entry."""
    entries = encode(values.dictionary, family, challenge).expanded()
    width = values.indices.type.bit_width // 8
    at = raw(values.indices, f"<{'u' if pa.types.is_unsigned_integer(values.indices.type) else 'i'}{width}")
    null = nulls(values)
    if null is None and len(entries.low):
        return Encoded(entries.low, entries.high, entries.null, entries.odd, at.astype(np.int64))
    one_more = len(entries.low)  # an entry of our own that stands for NULL
    at = np.where(False if null is None else null, one_more, at.astype(np.int64))
    missing = np.zeros(one_more, np.bool_) if entries.null is None else entries.null
    high = None if entries.high is None else np.append(entries.high, np.uint64(0))
    return Encoded(np.append(entries.low, np.uint64(0)), high, np.append(missing, True), entries.odd, at)


# --- one encoder per family -------------------------------------------------------------------------------------

_ACCEPTS = {"int": ("int", "decimal"), "decimal": ("decimal", "int")}


def _integers(values: pa.Array, family: Family, challenge: str) -> Encoded:
    if pa.types.is_decimal(values.type):
        return _decimals(values, family, challenge)
    kind = "u" if pa.types.is_unsigned_integer(values.type) else "i"
    whole = raw(values, f"<{kind}{values.type.bit_width // 8}")
    if kind == "i":
        return Encoded(whole.astype(np.int64, copy=False).view(np.uint64))
    low = whole.astype(np.uint64, copy=False)
    return Encoded(low, low >> _TOP if values.type.bit_width == 64 else None)


def _decimals(values: pa.Array, family: Family, challenge: str) -> Encoded:
    if pa.types.is_integer(values.type):
        if not family.scale:
            return _integers(values, family, challenge)
        values = values.cast(pa.decimal128(20, 0))
    if values.type.scale != family.scale:
        return _rescaled(values, family, challenge)
    width = values.type.bit_width
    if width < 128:
        return Encoded(raw(values, f"<i{width // 8}").astype(np.int64, copy=False).view(np.uint64))
    parts = raw(values, "<u8", width // 64).reshape(-1, width // 64)
    low = np.ascontiguousarray(parts[:, 0])
    high = (low >> _TOP) + parts[:, 1]
    odd = {}
    if width == 256:
        sign = (parts[:, 1].astype(np.int64) >> 63).astype(np.uint64)
        for place in np.flatnonzero((parts[:, 2] != sign) | (parts[:, 3] != sign)):
            odd[int(place)] = int.from_bytes(parts[place].tobytes(), "little", signed=True)
    return Encoded(low, high if high.any() else None, None, (Odd.wide(odd, challenge),) if odd else ())


def _rescaled(values: pa.Array, family: Family, challenge: str) -> Encoded:
    """Decimals of another scale, exactly: a value with more digits than the family has is set aside as text."""
    low, high = np.zeros(len(values), np.uint64), np.zeros(len(values), np.uint64)
    wide: dict[int, int] = {}
    longer: dict[int, str] = {}
    for place, value in enumerate(values.to_pylist()):
        if value is None:
            continue
        sign, digits, exponent = value.as_tuple()
        whole = int("".join(map(str, digits))) * (-1 if sign else 1)
        shift = int(exponent) + family.scale
        if shift >= 0:
            whole *= 10**shift
        elif whole % 10**-shift:
            longer[place] = _shortest(value)
            continue
        else:
            whole //= 10**-shift
        if -(1 << 127) <= whole < 1 << 127:
            low[place] = whole & 0xFFFF_FFFF_FFFF_FFFF
            high[place] = ((whole >> 64) + (whole >> 63 & 1)) & 0xFFFF_FFFF_FFFF_FFFF
        else:
            wide[place] = whole
    odd = (Odd.wide(wide, challenge), Odd.of_texts(longer, challenge)) if wide or longer else ()
    return Encoded(low, high if high.any() else None, None, odd)


def _shortest(value: Decimal) -> str:
    """In digits, without an exponent or trailing zeros after the point: 1.230 and 1.23 are one."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _shortest_bytes(whole: int) -> bytes:
    size = ((whole if whole >= 0 else ~whole).bit_length() + 8) // 8
    return whole.to_bytes(size, "big", signed=True)


def _floats(values: pa.Array, family: Family, challenge: str) -> Encoded:
    floats = raw(values, f"<f{values.type.bit_width // 8}").astype(np.float64, copy=False)
    bits = floats.view(np.uint64)
    nan = np.isnan(floats)
    return Encoded(np.where(nan, _NAN_BITS, bits) if nan.any() else bits)


def _booleans(values: pa.Array, family: Family, challenge: str) -> Encoded:
    return Encoded(raw(values.cast(pa.uint8()), "u1").astype(np.uint64))


def _dates(values: pa.Array, family: Family, challenge: str) -> Encoded:
    if pa.types.is_date32(values.type):
        return Encoded(raw(values, "<i4").astype(np.int64, copy=False).view(np.uint64))
    days, rest = np.divmod(raw(values, "<i8"), _MS_PER_DAY)
    return Encoded(days.view(np.uint64), rest.view(np.uint64) if rest.any() else None)


def _moments(values: pa.Array, family: Family, challenge: str) -> Encoded:
    """Times, timestamps, durations: whole microseconds, and the nanoseconds left over (0 to 999)."""
    unit = values.type.unit
    ticks = raw(values, f"<i{values.type.bit_width // 8}").astype(np.int64, copy=False)
    if unit == "ns":
        whole, rest = np.divmod(ticks, 1000)
        return Encoded(whole.view(np.uint64), rest.view(np.uint64) if rest.any() else None)
    factor = _US_PER[unit]
    most = ((1 << 63) - 1) // factor
    beyond = np.flatnonzero((ticks > most) | (ticks < -most)) if factor > 1 else ()
    odd = {int(place): int(ticks[place]) * factor for place in beyond}
    low = (ticks if factor == 1 else ticks * np.int64(factor)).view(np.uint64)
    return Encoded(low, None, None, (Odd.wide(odd, challenge),) if odd else ())


def _intervals(values: pa.Array, family: Family, challenge: str) -> Encoded:
    parts = raw(values, "<u8", 2).reshape(-1, 2)
    months, days = parts[:, 0] & np.uint64(0xFFFF_FFFF), parts[:, 0] >> np.uint64(32)
    return Encoded(np.ascontiguousarray(parts[:, 1]), months << np.uint64(32) | days)


def _bytes(values: pa.Array, family: Family, challenge: str) -> Encoded:
    return Encoded(*texts.hash_values(values, mixing.bytes_seed(challenge)))


_ENCODERS: dict[str, Callable[[pa.Array, Family, str], Encoded]] = {
    "int": _integers, "decimal": _decimals, "float": _floats, "bool": _booleans, "date": _dates, "time": _moments,
    "timestamp": _moments, "timestamptz": _moments, "duration": _moments, "interval": _intervals, "text": _bytes,
    "binary": _bytes,
}  # fmt: skip
