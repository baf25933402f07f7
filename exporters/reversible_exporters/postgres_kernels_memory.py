"""How do the loops of `postgres_kernels.py` call C functions, move bytes and look for one? What numba lacks."""

from typing import Any

import numpy as np

from reversible.fingerprint.kernels_memory import intrinsic, ints_at, ir, numba, part

_POINTER, _BYTE, _INT, _LONG = ir.IntType(8).as_pointer(), ir.IntType(8), ir.IntType(32), ir.IntType(64)


def _call(builder: Any, address: Any, kinds: Any, arguments: Any) -> Any:
    function = builder.inttoptr(address, ir.FunctionType(_INT, kinds).as_pointer())
    return builder.sext(builder.call(function, arguments), _LONG)


@intrinsic
def call1(context, function, pointer):  # type: ignore[no-untyped-def]
    """`int function(void *)`; where it returns nothing, what comes has no meaning."""

    def generate(target, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return _call(builder, arguments[0], (_POINTER,), [builder.inttoptr(arguments[1], _POINTER)])

    return numba.int64(numba.int64, numba.int64), generate


@intrinsic
def call3(context, function, first, second, third):  # type: ignore[no-untyped-def]
    """`int function(void *, void *, int)`."""

    def generate(target, builder, signature, arguments):  # type: ignore[no-untyped-def]
        pointers = [builder.inttoptr(one, _POINTER) for one in arguments[1:3]]
        kinds = (_POINTER, _POINTER, _INT)
        return _call(builder, arguments[0], kinds, [*pointers, builder.trunc(arguments[3], _INT)])

    return numba.int64(*[numba.int64] * 4), generate


@intrinsic
def move(context, to, source, size):  # type: ignore[no-untyped-def]
    """Copy bytes between places that do not overlap."""

    def generate(target, builder, signature, arguments):  # type: ignore[no-untyped-def]
        copy = builder.module.declare_intrinsic("llvm.memcpy", [_POINTER, _POINTER, _LONG])
        pointers = [builder.inttoptr(one, _POINTER) for one in arguments[:2]]
        builder.call(copy, [*pointers, arguments[2], ir.IntType(1)(0)])
        return target.get_dummy_value()

    return numba.none(numba.int64, numba.int64, numba.int64), generate


@intrinsic
def write64(context, address, word):  # type: ignore[no-untyped-def]
    """A little-endian word to any address."""

    def generate(target, builder, signature, arguments):  # type: ignore[no-untyped-def]
        builder.store(arguments[1], builder.inttoptr(arguments[0], _LONG.as_pointer()), align=1)
        return target.get_dummy_value()

    return numba.none(numba.int64, numba.uint64), generate


@intrinsic
def among64(context, address, byte):  # type: ignore[no-untyped-def]
    """Which of the 64 bytes at an address are this one: bit n for byte n."""

    def generate(target, builder, signature, arguments):  # type: ignore[no-untyped-def]
        kind = ir.VectorType(_BYTE, 64)
        found = builder.load(builder.inttoptr(arguments[0], kind.as_pointer()), align=1)
        one = builder.insert_element(kind(ir.Undefined), builder.trunc(arguments[1], _BYTE), _INT(0))
        every = builder.shuffle_vector(one, kind(ir.Undefined), ir.VectorType(_INT, 64)([0] * 64))
        return builder.bitcast(builder.icmp_unsigned("==", found, every), _LONG)

    return numba.uint64(numba.int64, numba.int64), generate


@intrinsic
def lowest(context, word):  # type: ignore[no-untyped-def]
    """The number of the lowest bit that is set; 64 when none is."""

    def generate(target, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.cttz(arguments[0], ir.IntType(1)(0))

    return numba.int64(numba.uint64), generate


@intrinsic
def bits(context, word):  # type: ignore[no-untyped-def]
    """How many bits are set."""

    def generate(target, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.ctpop(arguments[0])

    return numba.int64(numba.uint64), generate


@part
def borders(starts, before, ends):  # type: ignore[no-untyped-def]
    """Where a column's fields begin and end; the first is to be moved by the third: over the separator before it."""
    if before != 0:
        return ints_at(before), ints_at(ends), np.int64(1)
    return ints_at(starts), ints_at(ends), np.int64(0)


@part
def is_null(data, at, end):  # type: ignore[no-untyped-def]
    """`\\N`: 92 and 78."""
    return end - at == 2 and data[at] == 92 and data[at + 1] == 78
