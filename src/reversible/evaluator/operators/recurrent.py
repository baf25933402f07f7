"""RNN, GRU and LSTM."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from reversible.evaluator.node import Node
from reversible.evaluator.operators.shape import reversed_in_time
from reversible.evaluator.operators.special import sigmoid, softplus
from reversible.evaluator.registry import operator
from reversible.evaluator.types import Array

Function = Callable[[Array], Array]
# name: (function of x, alpha, beta), default alpha, default beta
_FUNCTIONS: dict[str, tuple[Callable[[Array, float, float], Array], float, float]] = {
    "relu": (lambda x, a, b: np.maximum(x, 0), 0, 0),
    "tanh": (lambda x, a, b: np.tanh(x), 0, 0),
    "sigmoid": (lambda x, a, b: sigmoid(x), 0, 0),
    "affine": (lambda x, a, b: a * x + b, 1.0, 0.0),
    "leakyrelu": (lambda x, a, b: np.where(x < 0, a * x, x), 0.01, 0),
    "thresholdedrelu": (lambda x, a, b: np.where(x > a, x, 0), 1.0, 0),
    "scaledtanh": (lambda x, a, b: a * np.tanh(b * x), 1.0, 1.0),
    "hardsigmoid": (lambda x, a, b: np.clip(a * x + b, 0, 1), 0.2, 0.5),
    "elu": (lambda x, a, b: np.where(x < 0, a * np.expm1(np.minimum(x, 0)), x), 1.0, 0),
    "softsign": (lambda x, a, b: x / (1 + np.abs(x)), 0, 0),
    "softplus": (lambda x, a, b: softplus(x), 0, 0),
}
_TAKES = {"affine": 2, "leakyrelu": 1, "thresholdedrelu": 1, "scaledtanh": 2, "hardsigmoid": 2, "elu": 1}


def _functions(node: Node, directions: int, usual: tuple[str, ...]) -> list[list[Function]]:
    """For each direction, its activation functions."""
    names = [one.lower() for one in node.get("activations") or usual * directions]
    names = names[: len(usual) * directions]  # RNN's default names two, for both directions
    if len(names) < len(usual) * directions or any(one not in _FUNCTIONS for one in names):
        raise ValueError(f"activations {names}")
    alphas, betas = list(node.get("activation_alpha") or ()), list(node.get("activation_beta") or ())
    found: list[Function] = []
    for name in names:
        call, a, b = _FUNCTIONS[name]
        alpha = alphas.pop(0) if alphas and _TAKES.get(name, 0) >= 1 else a
        beta = betas.pop(0) if betas and _TAKES.get(name, 0) == 2 else b
        found.append(_bound(call, alpha, beta))
    return [found[at : at + len(usual)] for at in range(0, len(found), len(usual))]


def _bound(call: Callable[[Array, float, float], Array], alpha: float, beta: float) -> Function:
    return lambda x: np.asarray(call(x, alpha, beta)).astype(x.dtype, copy=False)


@dataclass(frozen=True)
class Weights:
    """One direction's: w (gates * hidden, input), r (gates * hidden, hidden), biases of both, (gates * hidden,)."""

    w: Array
    r: Array
    w_bias: Array
    r_bias: Array
    peephole: Array | None
    functions: list[Function]
    clip: float | None

    def clipped(self, x: Array) -> Array:
        return x if self.clip is None else np.clip(x, -self.clip, self.clip)


Cell = Callable[[Weights, Array, list[Array]], list[Array]]


def _run(
    node: Node, cell: Cell, usual: tuple[str, ...], x: Array, w: Array, r: Array, b: Array | None,
    lengths: Array | None, states: list[Array | None], peephole: Array | None = None,
) -> tuple[Array, ...]:  # fmt: skip
    """All steps of all directions: Y (steps, directions, batch, hidden), then the last states."""
    batch_first = bool(node.get("layout"))
    x = np.swapaxes(x, 0, 1) if batch_first else x
    steps, batch = x.shape[:2]
    directions, hidden = w.shape[0], r.shape[2]
    wanted = node["direction"]
    if wanted not in ("forward", "reverse", "bidirectional") or directions != (2 if wanted == "bidirectional" else 1):
        raise ValueError(f"weights of {directions} directions for {wanted}")
    node.limits.room((steps, directions, batch, w.shape[1]), x.dtype.itemsize)
    known = np.full(batch, steps, np.int64) if lengths is None else np.minimum(lengths.astype(np.int64), steps)
    functions = _functions(node, directions, usual)
    y = np.zeros((steps, directions, batch, hidden), x.dtype)
    last: list[list[Array]] = []
    for at in range(directions):
        backwards = wanted == "reverse" or at == 1
        bias = np.zeros(2 * w.shape[1], x.dtype) if b is None else b[at]
        own = None if peephole is None else peephole[at]
        clip = node.get("clip") or None
        weights = Weights(w[at], r[at], bias[: w.shape[1]], bias[w.shape[1] :], own, functions[at], clip)
        begin = [
            np.zeros((batch, hidden), x.dtype) if one is None else (one[:, at] if batch_first else one[at])
            for one in states
        ]
        out, end = _steps(cell, weights, reversed_in_time(x, known) if backwards else x, known, begin)
        y[:, at] = reversed_in_time(out, known) if backwards else out
        last.append(end)
    finals = [np.stack([one[state] for one in last]) for state in range(len(states))]
    if batch_first:
        return (y.transpose(2, 0, 1, 3), *(np.swapaxes(one, 0, 1) for one in finals))
    return (y, *finals)


def _steps(cell: Cell, weights: Weights, x: Array, lengths: Array, states: list[Array]) -> tuple[Array, list[Array]]:
    steps, batch = x.shape[:2]
    y = np.zeros((steps, batch, weights.r.shape[1]), x.dtype)
    inputs = x @ weights.w.T + weights.w_bias
    shortest = int(lengths.min()) if lengths.size else 0
    for step in range(steps):
        new = cell(weights, inputs[step], states)
        if step < shortest:
            y[step] = new[0]
            states = new
        else:  # a sequence that has ended keeps its state, and gives zeros
            going = (step < lengths)[:, None]
            y[step] = np.where(going, new[0], 0)
            states = [np.where(going, one, two) for one, two in zip(new, states, strict=True)]
    return y, states


@operator("RNN")
def rnn(node: Node, x: Array, w: Array, r: Array, b: Array | None = None, lengths: Array | None = None,
        start: Array | None = None) -> Any:  # fmt: skip
    def cell(one: Weights, inputs: Array, states: list[Array]) -> list[Array]:
        return [one.functions[0](one.clipped(inputs + states[0] @ one.r.T + one.r_bias))]

    return _run(node, cell, ("tanh",), x, w, r, b, lengths, [start])


@operator("GRU")
def gru(node: Node, x: Array, w: Array, r: Array, b: Array | None = None, lengths: Array | None = None,
        start: Array | None = None) -> Any:  # fmt: skip
    size = r.shape[2]
    after = bool(node.get("linear_before_reset"))

    def cell(one: Weights, inputs: Array, states: list[Array]) -> list[Array]:
        f, g = one.functions
        gates = inputs[:, : 2 * size] + states[0] @ one.r[: 2 * size].T + one.r_bias[: 2 * size]
        both = f(one.clipped(gates))
        update, reset = both[:, :size], both[:, size:]
        if after:
            within = reset * (states[0] @ one.r[2 * size :].T + one.r_bias[2 * size :])
        else:
            within = (reset * states[0]) @ one.r[2 * size :].T + one.r_bias[2 * size :]
        new = g(one.clipped(inputs[:, 2 * size :] + within))
        return [(1 - update) * new + update * states[0]]

    return _run(node, cell, ("sigmoid", "tanh"), x, w, r, b, lengths, [start])


@operator("LSTM")
def lstm(
    node: Node, x: Array, w: Array, r: Array, b: Array | None = None, lengths: Array | None = None,
    start: Array | None = None, start_cell: Array | None = None, peephole: Array | None = None,
) -> Any:  # fmt: skip
    size = r.shape[2]
    coupled = bool(node.get("input_forget"))

    def cell(one: Weights, inputs: Array, states: list[Array]) -> list[Array]:
        f, g, h = one.functions
        hidden, memory = states
        gates = inputs + hidden @ one.r.T + one.r_bias
        i, o, forget, c = (gates[:, at * size : (at + 1) * size] for at in range(4))  # iofc, as ONNX orders them
        p = None if one.peephole is None else [one.peephole[at * size : (at + 1) * size] for at in range(3)]  # iof
        i = f(one.clipped(i if p is None else i + p[0] * memory))
        forget = 1 - i if coupled else f(one.clipped(forget if p is None else forget + p[2] * memory))
        new = forget * memory + i * g(one.clipped(c))
        o = f(one.clipped(o if p is None else o + p[1] * new))
        return [o * h(new), new]

    return _run(node, cell, ("sigmoid", "tanh", "tanh"), x, w, r, b, lengths, [start, start_cell], peephole)
