"""Special functions that numpy lacks."""

from __future__ import annotations

import numpy as np

from reversible.evaluator.types import Array

# W. J. Cody, Rational Chebyshev approximations for the error function, Math. Comp. 23 (1969), as in CALERF (netlib).
_A = (1.85777706184603153e-1, 3.16112374387056560e0, 1.13864154151050156e2, 3.77485237685302021e2,
      3.20937758913846947e3)  # fmt: skip
_B = (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3)
_C = (2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594e0, 6.61191906371416295e1,
      2.98635138197400131e2, 8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3,
      1.23033935479799725e3)  # fmt: skip
_D = (1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2, 1.62138957456669019e3,
      3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3, 1.23033935480374942e3)  # fmt: skip
_P = (1.63153871373020978e-2, 3.05326634961232344e-1, 3.60344899949804439e-1, 1.25781726111229246e-1,
      1.60837851487422766e-2, 6.58749161529837803e-4)  # fmt: skip
_Q = (1.0, 2.56852019228982242e0, 1.87295284992346725e0, 5.27905102951428412e-1, 6.05183413124413191e-2,
      2.33520497626869185e-3)  # fmt: skip


def _ratio(top: tuple[float, ...], bottom: tuple[float, ...], x: Array) -> Array:
    """P(x) / Q(x), in place: three arrays in all."""
    numerator, denominator = np.full_like(x, top[0]), np.full_like(x, bottom[0])
    for one in top[1:]:
        numerator *= x
        numerator += one
    for one in bottom[1:]:
        denominator *= x
        denominator += one
    numerator /= denominator
    return numerator


_BLOCK = 1 << 13  # elements at a time: what is computed with stays in the processor's cache


def erf(x: Array) -> Array:
    """The error function, elementwise, shape and type kept.

    Returns:
        Within 1e-15 of the true value, relatively (tested against math.erf); odd, NaN for NaN; computed in float64.
    """
    flat = np.ascontiguousarray(x, np.float64).reshape(-1)
    out = np.empty_like(flat)
    for first in range(0, flat.size, _BLOCK):
        _erf(flat[first : first + _BLOCK], out[first : first + _BLOCK])
    return out.reshape(np.shape(x)).astype(x.dtype, copy=False)


def _erf(x: Array, out: Array) -> None:
    size = np.abs(x)
    np.sign(x, out=out)  # beyond 6 the rest is below half an ulp; NaN stays
    near = np.flatnonzero(size <= 0.46875)
    if near.size:
        z = x[near]
        out[near] = z * _ratio(_A, _B, z * z)
    middle = np.flatnonzero((size > 0.46875) & (size <= 4.0))
    if middle.size:
        y = size[middle]
        out[middle] = np.copysign(1 - np.exp(-y * y) * _ratio(_C, _D, y), x[middle])
    far = np.flatnonzero((size > 4.0) & (size < 6.0))
    if far.size:
        y = size[far]
        z = 1 / (y * y)
        tail = (5.6418958354775628695e-1 - z * _ratio(_P, _Q, z)) / y  # 1 / sqrt(pi)
        out[far] = np.copysign(1 - np.exp(-y * y) * tail, x[far])


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), without overflow and exact to rounding on both sides of 0."""
    small = np.exp(-np.abs(x))
    return np.asarray(np.where(x >= 0, 1, small) / (1 + small)).astype(x.dtype, copy=False)


def softplus(x: Array) -> Array:
    """log(1 + exp(x)), without overflow."""
    return np.asarray(np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))).astype(x.dtype, copy=False)


def softmax(x: Array, axis: int = -1) -> Array:
    """exp(x) / sum(exp(x)) along the axis."""
    out = x - np.max(x, axis=axis, keepdims=True, initial=-np.inf)
    np.exp(out, out=out)
    out /= np.sum(out, axis=axis, keepdims=True)
    return out


def log_softmax(x: Array, axis: int = -1) -> Array:
    """log(softmax(x)) along the axis."""
    out = x - np.max(x, axis=axis, keepdims=True, initial=-np.inf)
    return np.asarray(out - np.log(np.sum(np.exp(out), axis=axis, keepdims=True)))


def inverse_normal(p: Array) -> Array:
    """The standard normal distribution's quantiles: Acklam's approximation, then two steps of Newton's method."""
    p = np.asarray(p, np.float64)
    tail = np.minimum(p, 1 - p)
    t = np.sqrt(-2 * np.log(tail))
    # Abramowitz & Stegun 26.2.23: within 4.5e-4, enough for Newton to converge in a few steps.
    x = t - (2.515517 + t * (0.802853 + t * 0.010328)) / (1 + t * (1.432788 + t * (0.189269 + t * 0.001308)))
    x = np.where(p < 0.5, -x, x)
    for _ in range(4):
        x = x - (0.5 * (1 + erf(x / np.sqrt(2.0))) - p) * np.sqrt(2 * np.pi) * np.exp(x * x / 2)
    return np.asarray(x)
