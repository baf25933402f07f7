"""What are the two words of a text or of bytes? XXH3-128, seeded; three ways to it, one result.

One by one through `xxhash`; many at once through our compiled loops, or through polars-hash (extra `fast`), where
somebody found them worth loading.
"""

import importlib
import importlib.util
from collections.abc import Callable, Iterable
from functools import lru_cache

import numpy as np
import pyarrow as pa
import xxhash

from reversible.fingerprint import compiled
from reversible.fingerprint.mixing import Words

_WORD = (1 << 64) - 1
_LARGE = (pa.types.is_large_string, pa.types.is_large_binary)  # their offsets have 64 bits
_PROBES = (b"", b"a", b"sixteen bytes 16", b"x" * 17, b"y" * 129, b"z" * 241, b"w" * 1025)

Hasher = Callable[[pa.Array, int], tuple[Words, Words]]


def hash_one(data: bytes, seed: int) -> tuple[int, int]:
    """XXH3-128 of the bytes: its low 64 bits, its high 64 bits."""
    digest = int(xxhash.xxh3_128_intdigest(data, seed=seed))
    return digest & _WORD, digest >> 64


def hash_values(values: pa.Array, seed: int) -> tuple[Words, Words]:
    """The words of each text or binary value of a plain array; what stands for a NULL counts for nothing."""
    if compiled.loaded() is not None:
        return by_loops(values, seed)
    hasher = polars_hasher() if polars_hasher.cache_info().currsize else None
    return (hasher or by_xxhash)(values, seed)


def by_xxhash(values: pa.Array, seed: int) -> tuple[Words, Words]:
    """One value after the other, each distinct one once."""
    encoded = values.cast(pa.large_binary()).dictionary_encode()
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


@lru_cache(maxsize=1)
def polars_hasher() -> Hasher | None:
    """polars-hash, when it is installed and gives what `xxhash` gives."""
    if importlib.util.find_spec("polars_hash") is None:
        return None
    polars, polars_hash = (importlib.import_module(name) for name in ("polars", "polars_hash"))

    def hash_many(values: pa.Array, seed: int) -> tuple[Words, Words]:
        series = polars.from_arrow(values.cast(pa.large_binary()))
        digest = polars_hash.col("v").nchash.xxh3_128(seed=seed)
        hashed = series.alias("v").to_frame().select(digest)
        upper = polars.col("v") // polars.lit(1 << 64, dtype=polars.UInt128)
        found = hashed.select(
            low=polars.col("v").cast(polars.UInt64, wrap_numerical=True), high=upper.cast(polars.UInt64)
        ).fill_null(0)
        return found["low"].to_numpy(), found["high"].to_numpy()

    probes = pa.array([*_PROBES, None], pa.large_binary())
    for seed in (0, 1, _WORD):
        low, high = hash_many(probes, seed)
        expected = [hash_one(data, seed) for data in _PROBES]
        if list(zip(low.tolist(), high.tolist(), strict=True))[:-1] != expected:
            return None  # another version with another meaning: the slower way is right
    return hash_many


def _each(data: Iterable[bytes | None], seed: int) -> tuple[Words, Words]:
    digest = xxhash.xxh3_128_digest
    hashed = b"".join(digest(one or b"", seed=seed) for one in data)
    pairs = np.frombuffer(hashed, ">u8").astype(np.uint64).reshape(-1, 2)
    return np.ascontiguousarray(pairs[:, 1]), np.ascontiguousarray(pairs[:, 0])
