"""How are many short texts hashed at the machine's speed? XXH3-128 with a seed, for numba, up to 128 bytes.

After the specification of XXH3 (https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md, section "XXH3"), names
as there; tests compare every length with the `xxhash` package, which hashes what is longer.
"""

import importlib
from typing import Any

import numpy as np

MOST = 128  # bytes

numba: Any = importlib.import_module("numba")  # not typed alike in all its versions
ir: Any = importlib.import_module("llvmlite.ir")
intrinsic: Any = importlib.import_module("numba.extending").intrinsic

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
_compiled: Any = numba.njit
_part: Any = numba.njit(nogil=True)  # compiled within its callers only, so that their cache spares it
_word = numba.uint64
_pair = numba.types.UniTuple(_word, 2)
_bytes = numba.types.Array(numba.uint8, 1, "C", readonly=True)
_offsets = numba.types.Array(numba.int64, 1, "C", readonly=True)


def _reader(bits: int) -> Any:
    """A little-endian word at any place among bytes, in one load; a loop over the bytes is five times slower."""

    @intrinsic
    def read(context, data, at):  # type: ignore[no-untyped-def]
        def generate(target, builder, signature, arguments):  # type: ignore[no-untyped-def]
            array = target.make_array(signature.args[0])(target, builder, arguments[0])
            place = builder.gep(array.data, [arguments[1]])
            word = builder.load(builder.bitcast(place, ir.IntType(bits).as_pointer()), align=1)
            return word if bits == 64 else builder.zext(word, ir.IntType(64))

        return numba.uint64(data, numba.int64), generate

    return read


_read64, _read32 = _reader(64), _reader(32)


@_part
def _swap32(x):  # type: ignore[no-untyped-def]
    return (x & _U(0xFF)) << _U(24) | (x & _U(0xFF00)) << _U(8) | (x >> _U(8)) & _U(0xFF00) | (x >> _U(24)) & _U(0xFF)


@_part
def _swap64(x):  # type: ignore[no-untyped-def]
    return _swap32(x & _LOW32) << _U(32) | _swap32(x >> _U(32))


@_part
def _multiply(left, right):  # type: ignore[no-untyped-def]
    """The 128-bit product: low word, high word."""
    low_low = (left & _LOW32) * (right & _LOW32)
    high_low = (left >> _U(32)) * (right & _LOW32)
    low_high = (left & _LOW32) * (right >> _U(32))
    high_high = (left >> _U(32)) * (right >> _U(32))
    cross = (low_low >> _U(32)) + (high_low & _LOW32) + low_high
    return left * right, (high_low >> _U(32)) + (cross >> _U(32)) + high_high


@_part
def _avalanche(x):  # type: ignore[no-untyped-def]
    x = (x ^ (x >> _U(37))) * _MX1
    return x ^ (x >> _U(32))


@_part
def _avalanche64(x):  # type: ignore[no-untyped-def]
    x = (x ^ (x >> _U(33))) * _P2
    x = (x ^ (x >> _U(29))) * _P3
    return x ^ (x >> _U(32))


@_part
def _mix16(data, at, secret, seed):  # type: ignore[no-untyped-def]
    low, high = _multiply(
        _read64(data, at) ^ (_SECRET[secret] + seed), _read64(data, at + 8) ^ (_SECRET[secret + 1] - seed)
    )
    return low ^ high


@_part
def _up_to_16(data, at, size, seed):  # type: ignore[no-untyped-def]
    if size > 8:
        low, high = _read64(data, at), _read64(data, at + size - 8)
        one, two = _multiply(low ^ high ^ ((_SECRET[4] ^ _SECRET[5]) - seed), _P1)
        one += _U(size - 1) << _U(54)
        high ^= (_SECRET[6] ^ _SECRET[7]) + seed
        two += high + (high & _LOW32) * (_P32_2 - _U(1))
        one ^= _swap64(two)
        low, high = _multiply(one, _P2)
        return _avalanche(low), _avalanche(high + two * _P2)
    if size >= 4:
        seed ^= _swap32(seed & _LOW32) << _U(32)
        word = _read32(data, at) | _read32(data, at + size - 4) << _U(32)
        low, high = _multiply(word ^ ((_SECRET[2] ^ _SECRET[3]) + seed), _P1 + (_U(size) << _U(2)))
        high += low << _U(1)
        low ^= high >> _U(3)
        low = (low ^ (low >> _U(35))) * _MX2
        return low ^ (low >> _U(28)), _avalanche(high)
    if size > 0:
        low = (
            _U(data[at]) << _U(16) | _U(data[at + (size >> 1)]) << _U(24) | _U(data[at + size - 1]) | _U(size) << _U(8)
        )
        high = _swap32(low)
        high = (high << _U(13) | high >> _U(19)) & _LOW32
        first, second = _SECRET[0], _SECRET[1]
        low ^= ((first & _LOW32) ^ (first >> _U(32))) + seed
        high ^= ((second & _LOW32) ^ (second >> _U(32))) - seed
        return _avalanche64(low), _avalanche64(high)
    return _avalanche64(seed ^ _SECRET[8] ^ _SECRET[9]), _avalanche64(seed ^ _SECRET[10] ^ _SECRET[11])


@_compiled(numba.int64(_bytes, _offsets, _word, numba.uint64[::1], numba.uint64[::1]), cache=True, nogil=True)
def xxh3_128(data, offsets, seed, lows, highs):  # type: ignore[no-untyped-def]
    """The words of each value of up to 128 bytes; returns how many were longer. Shape (values,), offsets one more."""
    longer = 0
    for n in range(len(lows)):
        at, size = offsets[n], offsets[n + 1] - offsets[n]
        if size <= 16:
            lows[n], highs[n] = _up_to_16(data, at, size, seed)
        elif size <= MOST:
            low, high = _U(size) * _P1, _U(0)
            for step in range((size - 1) // 32, -1, -1):
                left, right = at + 16 * step, at + size - 16 * (step + 1)
                low += _mix16(data, left, 4 * step, seed)
                low ^= _read64(data, right) + _read64(data, right + 8)
                high += _mix16(data, right, 4 * step + 2, seed)
                high ^= _read64(data, left) + _read64(data, left + 8)
            lows[n] = _avalanche(low + high)
            highs[n] = _U(0) - _avalanche(low * _P1 + high * _P4 + (_U(size) - seed) * _P2)
        else:
            longer += 1
    return longer
