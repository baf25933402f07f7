"""What are the words of a list, a map or a struct? The sums of what is inside, as a table is the sum of its rows.

Word low comes from lane 0 and word high from lane 1 of what is inside, so that 128 bits stay 128 bits at each level.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from reversible.fingerprint import families
from reversible.fingerprint.families import Family
from reversible.fingerprint.mixing import LANES, Words, cell, mix, one_cell, seed
from reversible.fingerprint.words import Encoded, encode, plain


def words(values: pa.Array, family: Family, challenge: str) -> tuple[Words, Words]:
    """Shape (values,) each: a struct without regard to the order of its fields, a list and a map in order.

    Raises:
        ValueError: the values are of another family.
    """
    found = plain(values)
    if families.family(found.type).partition("<")[0] != family.kind:
        raise ValueError(f"{values.type} is not of the family {family.text}")
    both = _structs(found, family, challenge) if family.kind == "struct" else _lists(found, family, challenge)
    return both[0], both[1]


def cells(encoded: Encoded, challenge: str, name: str, family: Family) -> list[Words]:
    """One keyed hash per value and lane: the definition, in its plainest form (docs/fingerprint.md, section 3)."""
    found = encoded.expanded()
    lanes = []
    for lane in range(LANES):
        one = cell(found.low, found.high, seed(challenge, name, family.seeded, lane))
        for odd in found.odd:
            one[odd.places] = cell(odd.low, odd.high, seed(challenge, name, odd.kind, lane))
        if found.null is not None:
            one[found.null] = one_cell(0, 0, seed(challenge, name, "null", lane))
        lanes.append(one)
    return lanes


def _structs(values: pa.StructArray, family: Family, challenge: str) -> list[Words]:
    names = [values.type.field(n).name for n in range(values.type.num_fields)]
    if sorted(names) != [name for name, _ in family.fields]:
        raise ValueError(f"{values.type} is not of the family {family.text}")
    lanes = [np.zeros(len(values), np.uint64) for _ in range(LANES)]
    for name, part in family.fields:
        inside = encode(values.field(names.index(name)), part, challenge)
        for total, one in zip(lanes, cells(inside, challenge, f"field {name}", part), strict=True):
            np.add(total, one, out=total)
    return [mix(total) for total in lanes]


def _lists(values: pa.Array, family: Family, challenge: str) -> list[Words]:
    items, starts, lengths = _items(values)
    if family.kind == "map":
        entries = [(name, part, items.field(n)) for n, (name, part) in enumerate(family.fields)]
    else:
        entries = [("item", family.fields[0][1], items)]
    places = mix((np.arange(len(items), dtype=np.int64) - np.repeat(starts, lengths)).view(np.uint64))
    sums = [np.zeros(len(items), np.uint64) for _ in range(LANES)]
    for name, part, inside in entries:
        hashed = cells(encode(inside, part, challenge), challenge, name, part)
        for total, one in zip(sums, hashed, strict=True):
            np.add(total, one, out=total)
    lanes = []
    for total in sums:
        running = np.concatenate([np.zeros(1, np.uint64), np.cumsum(mix(total ^ places), dtype=np.uint64)])
        lanes.append(mix(running[starts + lengths] - running[starts]))
    return lanes


def _items(values: pa.Array) -> tuple[pa.Array, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """All items in order, and where each list begins among them and how long it is."""
    if pa.types.is_fixed_size_list(values.type):
        size = values.type.list_size
        lengths = np.full(len(values), size, np.int64)
        items = values.values.slice(values.offset * size, len(values) * size)
        return items, np.arange(len(values), dtype=np.int64) * size, lengths
    if pa.types.is_list_view(values.type) or pa.types.is_large_list_view(values.type):
        # Not by cast to a list: pyarrow 26 gives offsets that fall (0, 2, 2, 0) where a list view has a NULL.
        lengths = np.asarray(pc.list_value_length(values).fill_null(0), np.int64)
        return pc.list_flatten(values), np.cumsum(lengths) - lengths, lengths
    offsets = np.asarray(values.offsets.to_numpy(zero_copy_only=False), np.int64)
    if not len(values):
        offsets = np.zeros(1, np.int64)
    items = values.values.slice(int(offsets[0]), int(offsets[-1] - offsets[0]))
    return items, offsets[:-1] - offsets[0], np.diff(offsets)
