"""What is a table between two steps: columns of several types side by side."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reversible.errors import SourceError
from reversible_exporters.tabular_model_graph import DOUBLE, FLOAT, TEXT, Graph, Tensor

MISSING = ""  # a missing text: ONNX has no None


class UnknownStepError(SourceError):
    """No exact graph is known for a class of scikit-learn's."""


@dataclass(frozen=True)
class Table:
    """Columns of several types side by side, as a data frame: some matrices, one after the other."""

    parts: tuple[Tensor, ...]

    @property
    def width(self) -> int:
        return sum(part.width for part in self.parts)

    def select(self, graph: Graph, indexes: Sequence[int]) -> "Table":
        """Some columns, in the order given; neighbours of one matrix stay together."""
        ends = np.cumsum([part.width for part in self.parts])
        runs: list[tuple[int, list[int]]] = []
        for index in indexes:
            part = int(np.searchsorted(ends, index, side="right"))
            within = index - (int(ends[part - 1]) if part else 0)
            if runs and runs[-1][0] == part:
                runs[-1][1].append(within)
            else:
                runs.append((part, [within]))
        return Table(tuple(graph.columns(self.parts[part], within) for part, within in runs))

    def matrix(self, graph: Graph) -> Tensor:
        """All columns as one matrix of numbers.

        Raises:
            SourceError: some are texts.
        """
        if any(part.dtype == TEXT for part in self.parts) and not all(part.dtype == TEXT for part in self.parts):
            raise SourceError("a step takes texts and numbers as one matrix")
        return graph.concat(self.parts)

    def numbers(self, graph: Graph) -> Tensor:
        """As `matrix`, float32 or float64: whole numbers and truth values are widened as `check_array` does."""
        value = self.matrix(graph)
        if value.dtype == TEXT:
            raise SourceError("a step takes texts for numbers")
        return value if value.dtype in (FLOAT, DOUBLE) else graph.cast(value, DOUBLE)
