"""How are more digests than fit in memory kept in order? Sorted runs, cut by the first 16 bits of a digest."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from reversible.fingerprint.strong_proof import range_hash

WIDTH = 32  # bytes of a SHA-256

Digests = npt.NDArray[np.uint8]  # shape (rows, 32)


def mapped(path: Path) -> Digests:
    size = path.stat().st_size
    if size % WIDTH:
        raise ValueError(f"{path.name} is not a run of digests")
    return np.memmap(path, np.uint8, "r").reshape(-1, WIDTH) if size else np.zeros((0, WIDTH), np.uint8)


def _words(digests: Digests) -> npt.NDArray[np.uint64]:
    """Shape (rows, 4): each digest as four big-endian words."""
    return np.ascontiguousarray(digests).view(">u8").astype(np.uint64)


def order(digests: Digests) -> npt.NDArray[np.intp]:
    """The places that sort the digests."""
    words = _words(digests)
    order = np.argsort(words[:, 0])
    first = words[order]
    tied = (first[1:, 0] == first[:-1, 0]) & (first[1:] != first[:-1]).any(axis=1)
    if tied.any():  # two different rows share 64 bits
        order = np.lexsort((words[:, 3], words[:, 2], words[:, 1], words[:, 0]))
    return order


def in_order(digests: Digests) -> bool:
    words = _words(digests)
    smaller = np.zeros(max(0, len(words) - 1), np.bool_)
    for n in reversed(range(words.shape[1])):
        above, below = words[:-1, n], words[1:, n]
        smaller = (below < above) | ((below == above) & smaller)
    return not smaller.any()


def windows(run: Digests) -> Iterator[Digests]:
    """The run in pieces that overlap by one digest."""
    for start in range(0, len(run), 1 << 16):
        yield run[start : start + (1 << 16) + 1]


def cut(run: Digests, low: int, high: int) -> Digests:
    """The digests of the ranges from `low` to below `high` of a sorted run, found by bisection."""
    return run[_place(run, low) : _place(run, high)]


def _place(run: Digests, at: int) -> int:
    low, high = 0, len(run)
    while low < high:
        middle = (low + high) // 2
        if int(run[middle, 0]) << 8 | int(run[middle, 1]) < at:
            low = middle + 1
        else:
            high = middle
    return low


def multiset(digests: Digests) -> tuple[Digests, npt.NDArray[np.int64]]:
    """Each different digest of sorted ones, and how many times it is there."""
    words = _words(digests)
    starts = np.flatnonzero(np.concatenate([[len(words) > 0], (words[1:] != words[:-1]).any(axis=1)]))
    return digests[starts], np.diff(starts, append=len(digests)).astype(np.int64)


def ranges(digests: Digests) -> dict[int, tuple[int, bytes]]:
    """Range -> rows and hash, of sorted digests that hold whole ranges."""
    different, counts = multiset(digests)
    entries = np.hstack([different, counts.astype(">u8").view(np.uint8).reshape(-1, 8)])
    at = entries[:, 0].astype(np.int64) << 8 | entries[:, 1]
    starts = np.flatnonzero(np.concatenate([[len(at) > 0], at[1:] != at[:-1]]))
    rows = np.add.reduceat(counts, starts).tolist() if len(starts) else []
    ends = pairwise([*starts.tolist(), len(at)])
    return {
        int(at[start]): (count, range_hash(entries[start:end].tobytes()))
        for count, (start, end) in zip(rows, ends, strict=True)
    }
