"""How much may one evaluation take?"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from reversible.errors import EvaluatorError


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What stops a hostile or a wrong model before it stops the machine."""

    array_bytes: int = 4 << 30  # of one value
    steps: int = 20_000_000  # evaluations of a node in one run, loops and functions included
    text_bytes: int = 1 << 26  # of one string tensor that an operator makes longer

    def room(self, shape: Iterable[int], item_bytes: int = 8) -> None:
        """Before a value is made: raises EvaluatorError when it would be larger than one value may be."""
        dims = [int(one) for one in shape]
        if any(one < 0 for one in dims):
            raise EvaluatorError(f"a shape of {dims} was asked for")
        size = math.prod(dims) * item_bytes
        if size > self.array_bytes:
            raise EvaluatorError(f"a value of shape {dims} takes {size} bytes; the limit is {self.array_bytes}")
