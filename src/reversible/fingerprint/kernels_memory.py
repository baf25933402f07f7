"""How do the loops of `kernels.py` read memory at an address? Pointers and single words, for numba.

Arrow's buffers and numpy's arrays come as addresses, so that the compiled code knows no type of either.
"""

import importlib
from typing import Any

numba: Any = importlib.import_module("numba")  # not typed alike in all its versions
ir: Any = importlib.import_module("llvmlite.ir")
intrinsic: Any = importlib.import_module("numba.extending").intrinsic

part: Any = numba.njit(no_cpython_wrapper=True, no_cfunc_wrapper=True)  # a helper, compiled into its callers


def _pointer(kind: Any) -> Any:
    """The array of this kind that begins at an address."""

    @intrinsic
    def at(context, address):  # type: ignore[no-untyped-def]
        def generate(target, builder, signature, arguments):  # type: ignore[no-untyped-def]
            return builder.inttoptr(arguments[0], ir.IntType(kind.bitwidth).as_pointer())

        return numba.types.CPointer(kind)(numba.int64), generate

    return at


def _reader(bits: int) -> Any:
    """A little-endian word at any address, in one load; a loop over the bytes is five times slower."""

    @intrinsic
    def read(context, address):  # type: ignore[no-untyped-def]
        def generate(target, builder, signature, arguments):  # type: ignore[no-untyped-def]
            word = builder.load(builder.inttoptr(arguments[0], ir.IntType(bits).as_pointer()), align=1)
            return word if bits == 64 else builder.zext(word, ir.IntType(64))

        return numba.uint64(numba.int64), generate

    return read


@intrinsic
def fetch(context, address):  # type: ignore[no-untyped-def]
    """Have the processor bring what lies at an address into its nearest cache, without waiting for it."""

    def generate(target, builder, signature, arguments):  # type: ignore[no-untyped-def]
        kinds = [ir.IntType(8).as_pointer(), *[ir.IntType(32)] * 3]
        function = builder.module.declare_intrinsic("llvm.prefetch", (kinds[0],), ir.FunctionType(ir.VoidType(), kinds))
        hints = [ir.IntType(32)(one) for one in (1, 3, 1)]  # to write, close by, data
        builder.call(function, [builder.inttoptr(arguments[0], kinds[0]), *hints])
        return target.get_dummy_value()

    return numba.none(numba.int64), generate


words_at, counts_at = _pointer(numba.uint64), _pointer(numba.int64)
ints_at, flags_at = _pointer(numba.int32), _pointer(numba.uint8)
read64, read32, read8 = _reader(64), _reader(32), _reader(8)
