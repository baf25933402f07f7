"""Which of the graph's outputs did the endpoint answer with?

An endpoint answers with some of them, under names of its own, and often with a label beside: the name of the class
that was decided. Hugging Face's toolkit answers `{"label": ..., "score": ...}`, the score being that of the label.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reversible.wire import Field

_SCORE = "score"


@dataclass(frozen=True)
class Source:
    """Where a recorded number comes from.

    Attributes:
        output: The graph's output.
        decided: It is not the whole output but its largest number: the score of the class that was decided.
    """

    output: str
    decided: bool = False

    def of(self, answer: NDArray[Any]) -> NDArray[Any]:
        """The recorded number's counterpart, of the graph's answer (rows, ...)."""
        return np.max(answer.reshape(len(answer), -1), axis=1) if self.decided else answer


def sources(graph: Sequence[Field], recorded: Sequence[Field]) -> dict[str, Source]:
    """For each recorded number the output that it is held against: the one of its name; else one of its shape that no
    other has; else the first. Texts are labels, and have none.

    Args:
        graph: The outputs of the ONNX file, in their order.
        recorded: What was recorded at the endpoint.
    """
    named = {one.name for one in graph}
    numbers = [one for one in recorded if not one.is_text]
    found = {one.name: Source(one.name) for one in numbers if one.name in named}
    labelled = any(one.is_text for one in recorded)
    for one in numbers:
        if one.name in found:
            continue
        free = [other for other in graph if not other.is_text and other.name not in {s.output for s in found.values()}]
        fitting = [other for other in free if _fits(other, one)]
        chosen = next(iter(fitting or free or [other for other in graph if not other.is_text] or graph))
        decided = one.name == _SCORE and labelled and not fitting
        found[one.name] = Source(chosen.name, decided)
    return found


def _fits(graph: Field, recorded: Field) -> bool:
    mine, theirs = graph.shape[1:], recorded.shape[1:]
    if mine == (1,) and theirs == ():
        return True
    return len(mine) == len(theirs) and all(None in (a, b) or a == b for a, b in zip(mine, theirs, strict=True))
