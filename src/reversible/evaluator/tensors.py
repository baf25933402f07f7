"""Which numbers does a tensor of a model file hold?"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped] # it has no types
from onnx import TensorProto, numpy_helper

from reversible.errors import EvaluatorError
from reversible.evaluator.limits import Limits
from reversible.evaluator.types import Array, declared

_MALFORMED = (ValueError, TypeError, KeyError, OverflowError, MemoryError, AttributeError)


def read_model(path: Path) -> onnx.ModelProto:
    """The model in a file, its external data not yet read."""
    try:
        model = onnx.load_model(str(path), load_external_data=False)
    except (OSError, DecodeError, *_MALFORMED) as error:
        raise EvaluatorError(f"{path.name} is not a readable ONNX file: {_line(error)}") from error
    return model


def read_tensor(tensor: TensorProto, folder: Path | None, limits: Limits) -> Array:
    """The tensor's numbers, decoded exactly, in its declared type.

    External data is read from inside `folder`, the model's own, and nowhere else.
    """
    name = tensor.name or "a constant"
    try:
        dtype = declared(tensor.data_type)
        limits.room(tensor.dims, dtype.itemsize)
        if tensor.data_location == TensorProto.EXTERNAL:
            inside = TensorProto()
            inside.CopyFrom(tensor)
            inside.ClearField("external_data")
            inside.data_location = TensorProto.DEFAULT
            inside.raw_data = _external(tensor, folder)
            tensor = inside
        array = np.asarray(numpy_helper.to_array(tensor))
    except _MALFORMED as error:
        raise EvaluatorError(f"the tensor {name} is malformed: {_line(error)}") from error
    if array.dtype.kind in "SU":
        array = array.astype(object)
    return array


def read_sparse(sparse: onnx.SparseTensorProto, folder: Path | None, limits: Limits) -> Array:
    """A sparse tensor, made dense."""
    values = read_tensor(sparse.values, folder, limits)
    indices = read_tensor(sparse.indices, folder, limits)
    limits.room(sparse.dims, values.dtype.itemsize)
    dense = np.zeros(tuple(sparse.dims), values.dtype)
    try:
        if indices.ndim == 2:
            dense[tuple(indices.T)] = values
        else:
            dense.reshape(-1)[indices] = values
    except (IndexError, ValueError) as error:
        raise EvaluatorError(f"the sparse tensor {sparse.values.name} is malformed: {_line(error)}") from error
    return dense


def _external(tensor: TensorProto, folder: Path | None) -> bytes:
    entries = {one.key: one.value for one in tensor.external_data}
    location = entries.get("location", "")
    if folder is None:
        raise EvaluatorError(f"the tensor {tensor.name} lies in {location!r}, and the model was not read from a file")
    root = folder.resolve()
    file = (root / location).resolve()
    if not location or not file.is_relative_to(root):
        raise EvaluatorError(f"the tensor {tensor.name} lies in {location!r}, outside the model's folder")
    if not file.is_file():
        raise EvaluatorError(f"the tensor {tensor.name} lies in {location!r}, which is not a file")
    offset = int(entries.get("offset", "0"))
    needed = math.prod(tensor.dims) * _bits(tensor.data_type) // 8 + (
        math.prod(tensor.dims) * _bits(tensor.data_type) % 8 > 0
    )
    length = int(entries.get("length", str(needed)))
    if offset < 0 or length != needed or offset + length > file.stat().st_size:
        raise EvaluatorError(f"the tensor {tensor.name} does not fit into {location!r}")
    with file.open("rb") as stream:
        stream.seek(offset)
        return stream.read(length)


def _bits(elem_type: int) -> int:
    name = TensorProto.DataType.Name(elem_type)
    if name.startswith("FLOAT4") or name in ("INT4", "UINT4"):
        return 4
    if name in ("INT2", "UINT2"):
        return 2
    return int(declared(elem_type).itemsize) * 8


def _line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def attribute_value(attribute: onnx.AttributeProto) -> Any:
    """Plain Python values of the simple attribute types; tensors and graphs are for the caller."""
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if attribute.type == onnx.AttributeProto.STRINGS:
        return tuple(one.decode("utf-8") for one in value)
    if attribute.type in (onnx.AttributeProto.INTS, onnx.AttributeProto.FLOATS):
        return tuple(value)
    return value


def dimensions(shape: onnx.TensorShapeProto) -> Iterator[int | str | None]:
    """The dimensions as declared: a number, a name, or None."""
    for one in shape.dim:
        yield one.dim_value if one.HasField("dim_value") else one.dim_param or None
