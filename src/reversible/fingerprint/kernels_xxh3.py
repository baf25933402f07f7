"""How are many short texts hashed at the machine's speed? XXH3-128 with a seed, up to 128 bytes; see `kernels.py`.

After the specification of XXH3 (https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md, section "XXH3"), names
as there; tests compare every length with the `xxhash` package, which hashes what is longer.
"""

import numpy as np

from reversible.fingerprint.compiled import SHORT
from reversible.fingerprint.kernels_memory import counts_at, ints_at, part, read8, read32, read64, words_at

_P32_2 = np.uint64(0x85EBCA77)
_P1, _P2, _P3, _P4 = map(
    np.uint64, (0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63)
)  # fmt: skip
_MX1, _MX2 = np.uint64(0x165667919E3779F9), np.uint64(0x9FB21C651E98DF25)
_SECRET = np.frombuffer(
    bytes.fromhex(
        "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671fcb79e64eccc0e578825ad07dccff7221"
        "b8084674f743248ee03590e6813a264c3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8"
        "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364"
    ),
    "<u8",
).copy()  # the first 128 bytes of the default secret, as words
_U = np.uint64
_LOW32 = _U(0xFFFFFFFF)


@part
def _swap32(x):  # type: ignore[no-untyped-def]
    return (x & _U(0xFF)) << _U(24) | (x & _U(0xFF00)) << _U(8) | (x >> _U(8)) & _U(0xFF00) | (x >> _U(24)) & _U(0xFF)


@part
def _swap64(x):  # type: ignore[no-untyped-def]
    return _swap32(x & _LOW32) << _U(32) | _swap32(x >> _U(32))


@part
def _multiply(left, right):  # type: ignore[no-untyped-def]
    """The 128-bit product: low word, high word."""
    low_low = (left & _LOW32) * (right & _LOW32)
    high_low = (left >> _U(32)) * (right & _LOW32)
    low_high = (left & _LOW32) * (right >> _U(32))
    high_high = (left >> _U(32)) * (right >> _U(32))
    cross = (low_low >> _U(32)) + (high_low & _LOW32) + low_high
    return left * right, (high_low >> _U(32)) + (cross >> _U(32)) + high_high


@part
def _avalanche(x):  # type: ignore[no-untyped-def]
    x = (x ^ (x >> _U(37))) * _MX1
    return x ^ (x >> _U(32))


@part
def _avalanche64(x):  # type: ignore[no-untyped-def]
    x = (x ^ (x >> _U(33))) * _P2
    x = (x ^ (x >> _U(29))) * _P3
    return x ^ (x >> _U(32))


@part
def _mix16(at, secret, seed):  # type: ignore[no-untyped-def]
    low, high = _multiply(read64(at) ^ (_SECRET[secret] + seed), read64(at + 8) ^ (_SECRET[secret + 1] - seed))
    return low ^ high


@part
def _up_to_16(at, size, seed):  # type: ignore[no-untyped-def]
    if size > 8:
        low, high = read64(at), read64(at + size - 8)
        one, two = _multiply(low ^ high ^ ((_SECRET[4] ^ _SECRET[5]) - seed), _P1)
        one += _U(size - 1) << _U(54)
        high ^= (_SECRET[6] ^ _SECRET[7]) + seed
        two += high + (high & _LOW32) * (_P32_2 - _U(1))
        one ^= _swap64(two)
        low, high = _multiply(one, _P2)
        return _avalanche(low), _avalanche(high + two * _P2)
    if size >= 4:
        seed ^= _swap32(seed & _LOW32) << _U(32)
        word = read32(at) | read32(at + size - 4) << _U(32)
        low, high = _multiply(word ^ ((_SECRET[2] ^ _SECRET[3]) + seed), _P1 + (_U(size) << _U(2)))
        high += low << _U(1)
        low ^= high >> _U(3)
        low = (low ^ (low >> _U(35))) * _MX2
        return low ^ (low >> _U(28)), _avalanche(high)
    if size > 0:
        low = read8(at) << _U(16) | read8(at + (size >> 1)) << _U(24) | read8(at + size - 1) | _U(size) << _U(8)
        high = _swap32(low)
        high = (high << _U(13) | high >> _U(19)) & _LOW32
        first, second = _SECRET[0], _SECRET[1]
        low ^= ((first & _LOW32) ^ (first >> _U(32))) + seed
        high ^= ((second & _LOW32) ^ (second >> _U(32))) - seed
        return _avalanche64(low), _avalanche64(high)
    return _avalanche64(seed ^ _SECRET[8] ^ _SECRET[9]), _avalanche64(seed ^ _SECRET[10] ^ _SECRET[11])


def xxh3_128(data, offsets, size_of_offset, count, seed, lows, highs):  # type: ignore[no-untyped-def]
    """The words of each value of up to 128 bytes; returns how many were longer. All are addresses, but three.

    Shapes: `offsets` (count + 1,) into `data`, of 4 or 8 bytes each; `lows`, `highs` (count,).
    """
    longer = 0
    wide, narrow, low_words, high_words = counts_at(offsets), ints_at(offsets), words_at(lows), words_at(highs)
    for n in range(count):
        start, end = np.int64(narrow[n]), np.int64(narrow[n + 1])
        if size_of_offset == 8:
            start, end = wide[n], wide[n + 1]
        at, size = data + start, end - start
        if size <= 16:
            low_words[n], high_words[n] = _up_to_16(at, size, _U(seed))
        elif size <= SHORT:
            word, low, high = _U(seed), _U(size) * _P1, _U(0)
            for step in range((size - 1) // 32, -1, -1):
                left, right = at + 16 * step, at + size - 16 * (step + 1)
                low += _mix16(left, 4 * step, word)
                low ^= read64(right) + read64(right + 8)
                high += _mix16(right, 4 * step + 2, word)
                high ^= read64(left) + read64(left + 8)
            low_words[n] = _avalanche(low + high)
            high_words[n] = _U(0) - _avalanche(low * _P1 + high * _P4 + (_U(size) - word) * _P2)
        else:
            longer += 1
    return longer
