"""Runs a program."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from reversible.errors import EvaluatorError
from reversible.evaluator.limits import Limits
from reversible.evaluator.program import Program, Step
from reversible.evaluator.types import Array, Precision, is_float, is_half

Perturb = Callable[[str, Array], Array]

_FAULTS = (ValueError, TypeError, LookupError, ArithmeticError, MemoryError, AttributeError, RecursionError)
_FIRST_ALONE = frozenset({"LayerNormalization", "BatchNormalization"})  # their statistics are float32, whatever x is


@dataclass
class State:
    """What one run keeps count of."""

    limits: Limits
    precision: Precision
    perturb: Perturb | None
    keep: Collection[str]
    kept: dict[str, Any] = field(default_factory=dict)
    steps: int = 0

    def noted(self, name: str, value: Any, *, steady: bool) -> Any:
        """The value as the rest of the graph sees it."""
        if self.perturb is not None and not steady and is_float(value):
            value = np.asarray(self.perturb(name, value)).astype(value.dtype, copy=False)
        if name in self.keep:
            self.kept[name] = value
        return value


@dataclass
class Scope:
    program: Program
    state: State
    outer: Scope | None
    prefix: str  # of the names inside a function: the call's name
    values: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        if name in self.values:
            return self.values[name]
        if name in self.program.constants:
            value = self.program.constants[name]
            self.values[name] = self.state.noted(self.prefix + name, value, steady=name in self.program.steady)
            return self.values[name]
        if self.outer is None:
            raise EvaluatorError(f"{self.program.name}: the value {name} is used and never produced")
        return self.outer[name]


def execute(
    program: Program, arguments: Sequence[Any], state: State, outer: Scope | None = None, prefix: str = ""
) -> list[Any]:
    """The program's outputs; each value is let go after its last use."""
    scope = Scope(program, state, outer, prefix)
    for name, value in zip(program.inputs, arguments, strict=False):
        steady = outer is not None or prefix != "" or name in program.steady
        scope.values[name] = state.noted(prefix + name, value, steady=steady)
    for step in program.steps:
        state.steps += 1
        if state.steps > state.limits.steps:
            raise EvaluatorError(f"{program.name}: stopped after {state.limits.steps} steps: a loop without an end?")
        for name, value in zip(step.node.outputs, _outputs(step, scope), strict=False):
            if name:
                steady = step.kernel.moves or step.kernel.control or name in program.steady
                scope.values[name] = state.noted(prefix + name, value, steady=steady)
        for name in step.dead:
            scope.values.pop(name, None)
    return [scope[name] if name else None for name in program.outputs]


def _outputs(step: Step, scope: Scope) -> tuple[Any, ...]:
    node, kernel, state = step.node, step.kernel, scope.state
    inputs = [scope[name] if name else None for name in node.inputs]

    def run(subgraph: str, *arguments: Any) -> list[Any]:
        program = node.subgraphs[subgraph]
        if subgraph == FUNCTION:
            return execute(program, arguments, state, None, f"{scope.prefix}{node.name or node.outputs[0]}/")
        return execute(program, arguments, state, scope, scope.prefix)

    try:
        if kernel.control:
            result = kernel.call(node, run, *inputs)
        elif state.precision.wide or kernel.typed or not any(is_half(one) for one in inputs):
            result = kernel.call(node, *inputs)
        else:
            result = _in_float32(step, inputs)
    except EvaluatorError as error:
        if error.message.startswith("node "):
            raise
        raise EvaluatorError(f"node {node.name or node.outputs[0]} ({node.op_type}): {error.message}") from error
    except _FAULTS as error:
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise EvaluatorError(f"node {node.name or node.outputs[0]} ({node.op_type}): {reason}") from error
    return result if isinstance(result, tuple) else (result,)


FUNCTION = "function"  # the key of a local function's body among its node's subgraphs


def call_function(node: Any, run: Callable[..., list[Any]], *inputs: Any) -> tuple[Any, ...]:
    body: Program = node.subgraphs[FUNCTION]
    return tuple(run(FUNCTION, *inputs, *(None for _ in body.inputs[len(inputs) :])))


def _in_float32(step: Step, inputs: list[Any]) -> tuple[Any, ...]:
    """Half precision as engines without half arithmetic do it: computed in float32, rounded once per operator."""
    result = step.kernel.call(step.node, *(one.astype(np.float32) if is_half(one) else one for one in inputs))
    outputs: tuple[Any, ...] = result if isinstance(result, tuple) else (result,)
    first = next(one for one in inputs if is_float(one))
    if not is_half(first):
        return outputs
    alone = step.node.op_type in _FIRST_ALONE
    return tuple(
        one.astype(first.dtype) if is_float(one) and not (alone and at > 0) else one for at, one in enumerate(outputs)
    )
