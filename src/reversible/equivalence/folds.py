"""Is a weight what a layer becomes when a batch normalisation is folded into it?"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reversible.equivalence.floor import UNIT
from reversible.equivalence.signatures import Arrays

_ROUNDINGS = 8.0  # of a fold: a square root, a division, a product and two sums in float32, with room
_EPSILONS = (1e-5, 1e-3, 1e-6, 1e-4, 1e-12)  # the defaults of the frameworks


@dataclass(frozen=True, kw_only=True)
class Normalisation:
    """A batch normalisation after a layer.

    `expected` are what the layer's weights and bias become, each with the size of the terms it was summed from: the
    roundings of a sum are those of its terms.
    """

    names: tuple[str, ...]
    expected: tuple[tuple[NDArray[np.float64], NDArray[np.float64]], ...]

    def explains(self, array: NDArray[Any]) -> bool:
        return any(_rounded(array, value, terms) for value, terms in self.expected)


def normalisations(values: Arrays) -> Iterator[Normalisation]:
    """Every layer whose outputs a batch normalisation could follow, with every epsilon in use."""
    for name, variance in values.items():
        prefix, _, tail = name.rpartition(".")
        if tail not in ("running_var", "moving_variance"):
            continue
        mean = values.get(f"{prefix}.running_mean", values.get(f"{prefix}.moving_mean"))
        if mean is None:
            continue
        gamma = values.get(f"{prefix}.weight", values.get(f"{prefix}.gamma", np.ones_like(variance)))
        beta = values.get(f"{prefix}.bias", values.get(f"{prefix}.beta", np.zeros_like(variance))).astype(np.float64)
        own = tuple(one for one in values if one.rpartition(".")[0] == prefix)
        for layer, weight in values.items():
            base, _, last = layer.rpartition(".")
            if last not in ("weight", "kernel") or base == prefix or weight.ndim < 2 or len(weight) != variance.size:
                continue
            bias = values.get(f"{base}.bias", np.zeros_like(variance)).astype(np.float64)
            names = (layer, *([f"{base}.bias"] if f"{base}.bias" in values else []), *own)
            for epsilon in _EPSILONS:
                scale = gamma.astype(np.float64) / np.sqrt(variance.astype(np.float64) + epsilon)
                folded = weight.astype(np.float64) * scale.reshape(-1, *(1 for _ in weight.shape[1:]))
                turned = (folded.T, np.abs(folded.T)) if folded.ndim == 2 else (folded, np.abs(folded))
                terms = (np.abs(bias) + np.abs(mean)) * np.abs(scale) + np.abs(beta)
                yield Normalisation(
                    names=names, expected=((folded, np.abs(folded)), turned, ((bias - mean) * scale + beta, terms))
                )


def _rounded(array: NDArray[Any], expected: NDArray[np.float64], terms: NDArray[np.float64]) -> bool:
    """Whether they are the same but for float32 roundings of the terms."""
    if array.size != expected.size or array.dtype.kind != "f":
        return False
    found = np.asarray(array, dtype=np.float64).reshape(expected.shape)
    return bool(np.all(np.abs(found - expected) <= _ROUNDINGS * UNIT * terms))
