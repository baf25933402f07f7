"""In which numpy type does a value travel?"""

from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto

Array = npt.NDArray[Any]

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
_HALVES = frozenset({np.dtype(np.float16), BFLOAT16})
_FLOATS = _HALVES | {np.dtype(np.float32), np.dtype(np.float64)}
_COMPLEX = frozenset({np.dtype(np.complex64), np.dtype(np.complex128)})


def declared(elem_type: int) -> np.dtype[Any]:
    """The numpy type of an ONNX element type: 8-bit floats and smaller by ml_dtypes, strings as objects."""
    if elem_type == TensorProto.STRING:
        return np.dtype(object)
    try:
        return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(elem_type))
    except KeyError as error:
        raise ValueError(f"there is no element type {elem_type}") from error


def is_float(value: object) -> bool:
    """A tensor of float16, bfloat16, float32 or float64; floats of 8 bits or fewer are codes, not computed with."""
    return isinstance(value, np.ndarray) and value.dtype in _FLOATS


def largest(dtype: np.dtype[Any]) -> float:
    """The largest finite number of a float type, of ml_dtypes' too."""
    return float(ml_dtypes.finfo(dtype).max)  # type: ignore[no-untyped-call] # it has no types


def integer_ends(dtype: np.dtype[Any]) -> tuple[int, int]:
    """The smallest and the largest number of an integer type, of ml_dtypes' too."""
    info = ml_dtypes.iinfo(dtype)  # type: ignore[no-untyped-call] # it has no types
    return int(info.min), int(info.max)


def is_half(value: object) -> bool:
    return isinstance(value, np.ndarray) and value.dtype in _HALVES


class Precision:
    """How floats are carried: float64 whatever the graph declares, or as declared."""

    def __init__(self, wide: bool) -> None:
        self.wide = wide

    def carried(self, elem_type: int) -> np.dtype[Any]:
        """The numpy type in which values of an ONNX element type travel."""
        return self.widened(declared(elem_type))

    def widened(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        if self.wide and dtype in _FLOATS:
            return np.dtype(np.float64)
        if self.wide and dtype in _COMPLEX:
            return np.dtype(np.complex128)
        return dtype

    def carry(self, array: Array) -> Array:
        """The same numbers, exactly, in the type in which they travel."""
        return array.astype(self.widened(array.dtype), copy=False)
