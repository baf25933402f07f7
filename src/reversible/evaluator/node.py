"""What does an operator know of the place where it stands?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from reversible.errors import EvaluatorError
from reversible.evaluator.limits import Limits
from reversible.evaluator.types import Precision

Subgraph = Callable[..., list[Any]]


@dataclass(frozen=True, kw_only=True)
class Node:
    """One node of a graph, ready to run: its attributes hold the defaults of its schema."""

    op_type: str
    domain: str
    name: str
    since: int  # the version of the operator that its opset means
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    precision: Precision
    limits: Limits
    rounds: bool = False  # a Cast of a value that the graph declares float64 to float32: the rounding is meant
    subgraphs: Mapping[str, Any] = field(default_factory=dict)
    cache: dict[str, Any] = field(default_factory=dict)  # what an operator makes of its attributes once

    def __getitem__(self, attribute: str) -> Any:
        if attribute not in self.attributes:
            raise EvaluatorError(f"the attribute {attribute} is missing")
        return self.attributes[attribute]

    def get(self, attribute: str, default: Any = None) -> Any:
        return self.attributes.get(attribute, default)

    def wants(self, output: int) -> bool:
        """Whether somebody asks for this output."""
        return output < len(self.outputs) and self.outputs[output] != ""
