"""What are the two words of a text or of bytes? XXH3-128, seeded; two ways to it, one result.

One by one through `xxhash`, or many at once through our compiled loops, where somebody found them worth loading.
"""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import xxhash

from reversible.fingerprint import compiled
from reversible.fingerprint.mixing import Words

_WORD = (1 << 64) - 1
_SAMPLE = 256  # values that tell whether many are alike
_LARGE = (pa.types.is_large_string, pa.types.is_large_binary)  # their offsets have 64 bits


def hash_one(data: bytes, seed: int) -> tuple[int, int]:
    """XXH3-128 of the bytes: its low 64 bits, its high 64 bits."""
    digest = int(xxhash.xxh3_128_intdigest(data, seed=seed))
    return digest & _WORD, digest >> 64


def hash_values(values: pa.Array, seed: int) -> tuple[Words, Words]:
    """The words of each text or binary value of a plain array; what stands for a NULL counts for nothing."""
    return by_xxhash(values, seed) if compiled.loaded() is None else by_loops(values, seed)


def by_xxhash(values: pa.Array, seed: int) -> tuple[Words, Words]:
    """One value after the other; where many are alike, each distinct one once."""
    plain = values.cast(pa.large_binary())
    if len(plain[:_SAMPLE].unique()) > _SAMPLE // 2:
        return _each(plain.to_pylist(), seed)
    encoded = plain.dictionary_encode()
    low, high = _each(encoded.dictionary.to_pylist(), seed)
    at = np.asarray(encoded.indices.fill_null(0).to_numpy(zero_copy_only=False), np.int64)
    return (low[at], high[at]) if len(low) else (np.zeros(len(values), np.uint64), np.zeros(len(values), np.uint64))


def by_loops(values: pa.Array, seed: int) -> tuple[Words, Words]:
    """Up to 128 bytes by our own compiled loop, longer values one by one.

    Raises:
        ModuleNotFoundError: there is no numba, or no safe place for its machine code.
    """
    low, high = np.empty(len(values), np.uint64), np.empty(len(values), np.uint64)
    by_loops_into(values, seed, low, high)
    return low, high


def by_loops_into(values: pa.Array, seed: int, low: Words, high: Words) -> None:
    """The same into memory that is there, shape (values,)."""
    loops = compiled.needed()
    if not any(check(values.type) for check in (pa.types.is_string, pa.types.is_binary, *_LARGE)):
        values = values.cast(pa.large_binary())
    _, places, data = values.buffers()
    if places is None or not len(values):
        low[:] = high[:] = 0
        return
    kind = np.dtype("<i8" if any(check(values.type) for check in _LARGE) else "<i4")
    offsets = np.frombuffer(places, kind, len(values) + 1, values.offset * kind.itemsize)
    octets = np.frombuffer(data, np.uint8) if data is not None and data.size else np.zeros(0, np.uint8)
    at = [one.ctypes.data for one in (octets, offsets, low, high)]
    if loops.xxh3_128(*at[:2], kind.itemsize, len(values), seed, *at[2:]):
        for n in np.flatnonzero(np.diff(offsets) > compiled.SHORT):
            low[n], high[n] = hash_one(octets[offsets[n] : offsets[n + 1]].tobytes(), seed)


def _each(data: Iterable[bytes | None], seed: int) -> tuple[Words, Words]:
    digest = xxhash.xxh3_128_digest
    hashed = b"".join(digest(one or b"", seed=seed) for one in data)
    pairs = np.frombuffer(hashed, ">u8").astype(np.uint64).reshape(-1, 2)
    return np.ascontiguousarray(pairs[:, 1]), np.ascontiguousarray(pairs[:, 0])
