"""What is the reference of inputs that have different sizes?

Texts are of different lengths, and filling them up would ask the model something else. So inputs of one size are
asked together, and the answers put back in order.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reversible.equivalence import masks, reference, runtime
from reversible.equivalence.reference import Reference
from reversible.processing.answers import Source

Group = tuple[NDArray[np.int64], dict[str, NDArray[Any]]]  # rows of the golden set, and what the graph is given


def of_port(path: Path, groups: Iterable[Group], *, source: Source, **options: Any) -> Reference:
    """The black box of `reference`, of one output by its name.

    Args:
        path: The ONNX file.
        groups: Inputs of one size each.
        source: The output, and what is done to it.
        options: As `reference.of_groups` takes them. Filling does not count (`masks`).

    Raises:
        EvaluatorError: the engine does not cover an operator, or an input has another type.
        BundleError: the runtime refuses the file or an input, or answers have different sizes.
    """
    opened = runtime.session(path)
    gives = runtime.outputs(opened)
    place = [one.name for one in opened.get_outputs()].index(source.output)
    shape = next(one.shape for one in gives if one.name == source.output)
    shape = shape if source.plain else shape[:1]
    masked = ((rows, feeds, masks.counting(feeds, shape)) for rows, feeds in groups)
    return reference.of_groups(path, masked, output=place, post=source.of, **options)


def affordable(path: Path, budget: int, *, least: int, most: int) -> int:
    """How many inputs may be asked when each reads every weight once and `budget` bytes may be read in all."""
    files = (path, path.with_name(f"{path.name}.data"))
    size = sum(one.stat().st_size for one in files if one.exists())
    return int(min(most, max(least, budget // max(size, 1))))


def spread(rows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Some of the rows, evenly."""
    if len(rows) <= count:
        return rows
    return rows[np.unique(np.linspace(0, len(rows) - 1, count).astype(np.int64))]
