"""How does a word become a keyed hash?

Everything here is on unsigned 64-bit words, modulo 2^64. `docs/fingerprint.md` section 3 gives the same formulas.
"""

import hashlib
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

VERSION = "reversible-fingerprint/1"
LANES = 2

Words = npt.NDArray[np.uint64]
Counts = npt.NDArray[np.int64]

# splitmix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014; the constants of its
# finaliser are Stafford's variant 13 of MurmurHash3's.
GAMMA = 0x9E3779B97F4A7C15
M1 = 0xBF58476D1CE4E5B9
M2 = 0x94D049BB133111EB
_GAMMA, _M1, _M2 = np.uint64(GAMMA), np.uint64(M1), np.uint64(M2)
_S30, _S27, _S31 = np.uint64(30), np.uint64(27), np.uint64(31)


def mix(values: Words) -> Words:
    """One step of splitmix64: a bijection of 64-bit words."""
    return mix_into(np.array(values, np.uint64), None)


def mix_into(values: Words, scratch: Words | None) -> Words:
    """`mix` in place, with a scratch array of the same shape: no allocation in the inner loop."""
    spare = np.empty_like(values) if scratch is None else scratch
    np.add(values, _GAMMA, out=values)
    for shift, factor in ((_S30, _M1), (_S27, _M2)):
        np.right_shift(values, shift, out=spare)
        np.bitwise_xor(values, spare, out=values)
        np.multiply(values, factor, out=values)
    np.right_shift(values, _S31, out=spare)
    np.bitwise_xor(values, spare, out=values)
    return values


@lru_cache(maxsize=4096)
def seed(challenge: str, name: str, kind: str, lane: int) -> np.uint64:
    """The word that makes a cell of one column, kind and lane unlike all others."""
    return _secret(challenge, name, kind, str(lane))


@lru_cache(maxsize=64)
def bytes_seed(challenge: str) -> int:
    """The seed of XXH3 for texts and binary values, so that nobody can prepare two that collide."""
    return int(_secret(challenge, "bytes"))


def _secret(*parts: str) -> np.uint64:
    """Parts are length-prefixed: a name that holds a separator imitates no other name."""
    hashed = hashlib.sha256(VERSION.encode())
    for part in parts:
        data = part.encode()
        hashed.update(len(data).to_bytes(8, "big") + data)
    return np.uint64(int.from_bytes(hashed.digest()[:8], "big"))


def cell(low: Words, high: Words | None, start: np.uint64, out: Words | None = None) -> Words:
    """mix(low + start), mixed once more with the high word where that is not 0."""
    found = np.add(low, start, out=out)
    mix_into(found, None)
    if high is not None:
        rows = np.flatnonzero(high)
        if len(rows) == len(found):
            np.bitwise_xor(found, high, out=found)
            mix_into(found, None)
        elif len(rows):
            found[rows] = mix_into(found[rows] ^ high[rows], None)
    return found


def one_cell(low: int, high: int, start: np.uint64) -> np.uint64:
    """The same for one value."""
    found: Any = cell(np.array([low], np.uint64), np.array([high], np.uint64), start)[0]
    return np.uint64(found)
