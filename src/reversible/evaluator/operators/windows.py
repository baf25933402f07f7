"""Where do a convolution's or a pooling's windows lie?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from reversible.evaluator.node import Node
from reversible.evaluator.types import Array


@dataclass(frozen=True)
class Windows:
    """Along each spatial axis: the kernel's size, stride, dilation, the pads, and how many windows there are."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    counts: tuple[int, ...]

    def padded(self, x: Array, fill: float) -> Array:
        """x of shape (n, c, *spatial), long enough for every window; what is beyond the last one is cut off."""
        spatial = x.shape[2:]
        needed = [
            (count - 1) * stride + (size - 1) * dilation + 1
            for count, stride, size, dilation in zip(
                self.counts, self.strides, self.kernel, self.dilations, strict=True
            )
        ]
        widths = [
            (before, max(0, need - before - have))
            for before, need, have in zip(self.before, needed, spatial, strict=True)
        ]
        if any(one != (0, 0) for one in widths):
            x = np.pad(x, [(0, 0), (0, 0), *widths], constant_values=fill)
        return x

    def offsets(self) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...]]]:
        """Each place in the kernel, and the slices of the padded input that it sees, one element for each window."""
        for place in product(*(range(one) for one in self.kernel)):
            yield (
                place,
                tuple(
                    slice(at * dilation, at * dilation + (count - 1) * stride + 1, stride)
                    for at, dilation, count, stride in zip(
                        place, self.dilations, self.counts, self.strides, strict=True
                    )
                ),
            )


def windows(node: Node, spatial: Sequence[int], kernel: Sequence[int]) -> Windows:
    """From the attributes strides, dilations, pads, auto_pad and ceil_mode."""
    rank = len(kernel)
    strides = tuple(node.get("strides") or (1,) * rank)
    dilations = tuple(node.get("dilations") or (1,) * rank)
    pads = tuple(node.get("pads") or (0,) * 2 * rank)
    if len(spatial) != rank or not len(strides) == len(dilations) == rank or len(pads) != 2 * rank:
        raise ValueError(
            f"a kernel of shape {tuple(kernel)} does not fit spatial axes {tuple(spatial)} or its attributes"
        )
    if min((*strides, *dilations, *kernel), default=1) < 1 or min(pads, default=0) < 0:
        raise ValueError("strides, dilations and kernels are at least 1, pads at least 0")
    before, after = list(pads[:rank]), list(pads[rank:])
    auto = node.get("auto_pad", "NOTSET") or "NOTSET"
    counts = []
    for at, size in enumerate(spatial):
        extent = (kernel[at] - 1) * dilations[at] + 1
        if auto in ("SAME_UPPER", "SAME_LOWER"):
            count = -(-size // strides[at])
            total = max(0, (count - 1) * strides[at] + extent - size)
            before[at] = total // 2 if auto == "SAME_UPPER" else total - total // 2
            after[at] = total - before[at]
        else:
            if auto == "VALID":
                before[at] = after[at] = 0
            room = size + before[at] + after[at] - extent
            if room < 0:
                raise ValueError(f"a window of {extent} does not fit an axis of {size} and its pads")
            count = room // strides[at] + 1
            if node.get("ceil_mode"):
                count = -(-room // strides[at]) + 1
                if (count - 1) * strides[at] >= size + before[at]:  # a window begins inside the input or its left pad
                    count -= 1
        counts.append(count)
    return Windows(tuple(kernel), strides, dilations, tuple(before), tuple(after), tuple(counts))
