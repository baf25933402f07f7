"""Evaluates an ONNX model in float64, with numpy."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from reversible.errors import EvaluatorError
from reversible.evaluator import operators  # noqa: F401 - importing registers them
from reversible.evaluator.compiler import Compiler
from reversible.evaluator.execution import State, execute
from reversible.evaluator.limits import Limits
from reversible.evaluator.registry import NEWEST
from reversible.evaluator.tensors import dimensions, read_model
from reversible.evaluator.types import Precision, declared, is_float

_LIMITS = Limits()
_MALFORMED = (ValueError, TypeError, LookupError, ArithmeticError, MemoryError, AttributeError)


@dataclass(frozen=True)
class Value:
    """An input or output as the model declares it; `dtype` and `shape` are None where it does not."""

    name: str
    dtype: np.dtype[Any] | None  # None for sequences, maps and optionals too
    shape: tuple[int | str | None, ...] | None


class Evaluator:
    """Evaluates an ONNX model in float64 with numpy.

    Floats are carried in float64 whatever the graph declares; integers, booleans, strings and floats of 8 bits or
    fewer as declared. A Cast between float16, bfloat16, float32 and float64 therefore rounds nothing, with one
    exception: from a value that the graph declares as float64 to float32, which is how a pipeline says that its next
    step takes float32.

    Args:
        model: A model, or the file that holds one. External data is read from the file's own folder alone.
        precision: `numpy.float32` evaluates as declared instead; halves are then computed in float32 and rounded once
            per operator.
        limits: What one run may take.

    Raises:
        EvaluatorError: The model cannot be read, has a cycle, or uses operators that are not covered: all are named.
    """

    def __init__(
        self, model: onnx.ModelProto | Path, *, precision: type = np.float64, limits: Limits = _LIMITS
    ) -> None:
        if precision not in (np.float64, np.float32):
            raise EvaluatorError(f"the precision is numpy.float64 or numpy.float32, not {precision.__name__}")
        folder = model.parent if isinstance(model, Path) else None
        proto = read_model(model) if isinstance(model, Path) else model
        if not proto.HasField("graph"):
            raise EvaluatorError("the file holds no graph")
        self._limits = limits
        self._precision = Precision(wide=precision is np.float64)
        compiler = Compiler(proto, folder, self._precision, limits)
        try:
            self._program = compiler.graph(proto.graph, closed=True)
        except RecursionError as error:
            raise EvaluatorError("graphs are nested too deep") from error
        except _MALFORMED as error:  # names that are no text, attributes of another type
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise EvaluatorError(f"the model is malformed: {reason}") from error
        if compiler.missing:
            newest = ", ".join(f"{domain or 'ai.onnx'} up to opset {one}" for domain, one in NEWEST.items())
            raise EvaluatorError(
                f"not covered: {', '.join(sorted(compiler.missing))}", hint=f"the second engine covers {newest}"
            )
        self._names = frozenset(compiler.names)
        given = {one.name for one in (*proto.graph.initializer,)} | {
            one.values.name for one in proto.graph.sparse_initializer
        }
        self.inputs: tuple[Value, ...] = tuple(_value(one) for one in proto.graph.input if one.name not in given)
        self.outputs: tuple[Value, ...] = tuple(_value(one) for one in proto.graph.output)

    def run(
        self,
        feeds: Mapping[str, Any],
        *,
        keep: Collection[str] = (),
        perturb: Callable[[str, NDArray[Any]], NDArray[Any]] | None = None,
    ) -> dict[str, Any]:
        """The outputs, and the intermediate values named in `keep`.

        Args:
            feeds: By name, an array for each of `inputs`; lists for sequences, None for an empty optional.
            keep: Values to return beside the outputs. Inside a local function they are named `call/value`, where the
                call's name is its node's, or its first output's. A value of a branch not taken is not returned; of a
                loop's body, the last one is.
            perturb: Called as `perturb(name, array)` on each float parameter and input, and on each float result of an
                operator that rounds; what it returns takes the value's place. Not on results of operators that only
                move or select values (Reshape, Gather, Max, Relu, ...), and not on values that are nothing but sizes or
                codes (scales of a Resize, numbers cast to integers, what a tree compares as it was given).

        Raises:
            EvaluatorError: A feed is missing, unknown or of another type or shape; a node cannot be computed; a limit
                is reached.
        """
        unknown = sorted(set(keep) - self._names - {one for one in keep if "/" in one})
        if unknown:
            raise EvaluatorError(f"no value is named {', '.join(unknown)}")
        state = State(self._limits, self._precision, perturb, frozenset(keep))
        arguments = list(self._arguments(feeds))
        with np.errstate(all="ignore"):
            outputs = execute(self._program, arguments, state)
        return {**state.kept, **dict(zip(self._program.outputs, outputs, strict=True))}

    def _arguments(self, feeds: Mapping[str, Any]) -> Iterator[Any]:
        missing = [one.name for one in self.inputs if one.name not in feeds]
        if missing:
            raise EvaluatorError(f"inputs are missing: {', '.join(missing)}")
        extra = sorted(set(feeds) - {one.name for one in self.inputs})
        if extra:
            raise EvaluatorError(f"the model has no input {', '.join(extra)}")
        for one in self.inputs:
            yield self._argument(one, feeds[one.name])

    def _argument(self, expected: Value, given: Any) -> Any:
        if given is None or isinstance(given, (list, dict)):
            return [self._precision.carry(np.asarray(one)) for one in given] if isinstance(given, list) else given
        array = np.asarray(given)
        if array.dtype.kind in "US":
            array = array.astype(object)
        if expected.dtype is None:
            return self._precision.carry(array)
        dtype = self._precision.widened(expected.dtype)
        floats = is_float(array) and is_float(np.empty(0, expected.dtype))
        if array.dtype != expected.dtype and not floats:
            raise EvaluatorError(f"the input {expected.name} is {expected.dtype}, not {array.dtype}")
        if expected.shape is not None and not _fits(array.shape, expected.shape):
            raise EvaluatorError(f"the input {expected.name} has shape {expected.shape}, not {array.shape}")
        return array.astype(dtype, copy=False)


def _value(info: onnx.ValueInfoProto) -> Value:
    tensor = info.type.tensor_type
    if not info.type.HasField("tensor_type") or not tensor.elem_type:
        return Value(info.name, None, None)
    shape = tuple(dimensions(tensor.shape)) if tensor.HasField("shape") else None
    try:
        return Value(info.name, declared(tensor.elem_type), shape)
    except ValueError as error:
        raise EvaluatorError(f"the value {info.name}: {error}") from error


def _fits(shape: tuple[int, ...], declared_shape: tuple[int | str | None, ...]) -> bool:
    return len(shape) == len(declared_shape) and all(
        not isinstance(two, int) or one == two for one, two in zip(shape, declared_shape, strict=True)
    )
