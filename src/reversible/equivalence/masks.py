"""Which positions of an answer mean something?

A batch of texts is filled up to the longest; what a model answers for the filling is nobody's answer, and good ports
differ there by any amount (research/models.md, section 2.1).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MASK = "attention_mask"


def counting(feeds: Mapping[str, NDArray[Any]], shape: Sequence[int | None]) -> NDArray[np.bool_] | None:
    """True where a position of the answer counts, shape (rows, ...); None: everywhere.

    Args:
        feeds: What the graph is given; `attention_mask`, (rows, length), is 0 at the filling.
        shape: Of the answer, rows first, a free dimension None. Only an answer per token, (rows, length, ...), is
            masked.
    """
    mask = feeds.get(_MASK)
    if mask is None or mask.ndim != 2 or len(shape) < 3 or shape[1] not in (None, mask.shape[1]):
        return None
    inner = shape[2:]
    if any(dim is None for dim in inner) or (mask != 0).all():
        return None
    full = (*mask.shape, *(int(dim) for dim in inner if dim is not None))
    return np.broadcast_to((mask != 0).reshape(*mask.shape, *[1] * len(inner)), full)
