"""Which inputs show whether a conversion holds?

Every free dimension is tried at sizes that the conversion never saw, alone and with the others; the values are drawn
from a seed and hold what random draws rarely do: zeros, large and tiny numbers, padding.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Feeds = Mapping[str, Array]
Sizes = Mapping[str, int]

_SCALES = (1.0, 1.0, 0.0, 30.0, 1e-3, 1.0, -1.0, 1.0)  # of the rows of a float input, in turn
_LARGEST = 1 << 24  # elements of one input: a probe must not fill the memory


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A free dimension, by the name that it shall have in the file.

    Attributes:
        name: "batch", "length", "height".
        traced: Its size when the model is converted, at least 2.
        others: Sizes that are never traced.
    """

    name: str
    traced: int
    others: tuple[int, ...]

    @classmethod
    def of(cls, name: str, traced: int, *, least: int = 1, most: int | None = None, step: int = 1) -> "Axis":
        """An axis whose other sizes lie between `least` and `most`, multiples of `step`: the least, the next, twice."""
        wanted = (least, traced + step, 2 * traced + step)
        fitting = [max(least, -(-one // step) * step) for one in wanted]
        kept = dict.fromkeys(one for one in fitting if one != traced and (most is None or one <= most))
        return cls(name=name, traced=traced, others=tuple(kept))


@dataclass(frozen=True, kw_only=True)
class Input:
    """One input of a model.

    Attributes:
        name: Its name in the file.
        dtype: Its numpy type, "float32".
        shape: Sizes, names of axes, or expressions of them ("2*length", see `Inputs.derived`).
        below: Integers are drawn from 0 to below it.
        padding: Integers are 1, and 0 at the left end of some rows: an attention mask.
        draw: Gives the values instead: (generator, shape, sizes) -> array.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    below: int = 2
    padding: bool = False
    draw: Callable[[np.random.Generator, tuple[int, ...], Sizes], Array] | None = None


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Inputs of one set of sizes.

    Attributes:
        sizes: Of every axis.
        varied: The axes whose size was never traced; empty for the traced sizes.
        feeds: The values, by the names of the inputs.
    """

    sizes: Sizes
    varied: tuple[str, ...]
    feeds: Feeds

    @property
    def words(self) -> str:
        return ", ".join(f"{name} {size}" for name, size in self.sizes.items()) or "the traced sizes"


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """All inputs of a model in the order in which it takes them, and the axes that are free.

    Attributes:
        derived: What the expressions in shapes mean, by their text.
    """

    inputs: tuple[Input, ...]
    axes: tuple[Axis, ...]
    derived: Mapping[str, Callable[[Sizes], int]] = field(default_factory=dict)

    def traced(self, seed: int = 0) -> Probe:
        """The inputs to convert with."""
        return self._probe({axis.name: axis.traced for axis in self.axes}, seed)

    def probes(self, *, rounds: int = 3, seed: int = 1) -> Iterator[Probe]:
        """At the traced sizes, with each axis alone at each other size, and with all at once; `rounds` of the first."""
        usual = {axis.name: axis.traced for axis in self.axes}
        plan = [usual] * rounds
        plan += [{**usual, axis.name: other} for axis in self.axes for other in axis.others]
        if len(self.axes) > 1:
            longest = max(len(axis.others) for axis in self.axes)
            for turn in range(longest):
                plan.append({axis.name: axis.others[turn % len(axis.others)] for axis in self.axes if axis.others})
                plan[-1] = {**usual, **plan[-1]}
        for number, sizes in enumerate(plan):
            probe = self._probe(sizes, seed + number)
            if all(array.size <= _LARGEST for array in probe.feeds.values()):
                yield probe

    def free(self) -> dict[str, dict[int, str]]:
        """Per input the free dimensions: place -> name."""
        return {
            one.name: {place: dim for place, dim in enumerate(one.shape) if isinstance(dim, str)} for one in self.inputs
        }

    def _probe(self, sizes: Sizes, seed: int) -> Probe:
        draw = np.random.default_rng(seed)
        feeds = {}
        for one in self.inputs:
            shape = tuple(dim if isinstance(dim, int) else self._size(dim, sizes) for dim in one.shape)
            feeds[one.name] = one.draw(draw, shape, sizes) if one.draw is not None else _values(one, shape, draw)
        usual = {axis.name: axis.traced for axis in self.axes}
        varied = tuple(name for name, size in sizes.items() if size != usual[name])
        return Probe(sizes=dict(sizes), varied=varied, feeds=feeds)

    def _size(self, dim: str, sizes: Sizes) -> int:
        return sizes[dim] if dim in sizes else self.derived[dim](sizes)


def _values(one: Input, shape: tuple[int, ...], draw: np.random.Generator) -> Array:
    if one.dtype.startswith("float"):
        values = draw.normal(0, 1, shape)
        if shape and draw.integers(4) == 0:
            values = draw.uniform(0, 1, shape)
        if len(shape) > 1:
            scales = np.array(list(itertools.islice(itertools.cycle(_SCALES), shape[0])))
            values = values * scales.reshape(-1, *[1] * (len(shape) - 1))
        return values.astype(one.dtype)
    if one.padding:
        return padded(draw, shape).astype(one.dtype)
    if one.dtype == "bool":
        return draw.integers(0, 2, shape).astype(np.bool_)
    return draw.integers(0, one.below, shape).astype(one.dtype)


def padded(draw: np.random.Generator, shape: Sequence[int], *, left: bool = False) -> Array:
    """A mask of ones whose rows, but for the first, end (or begin) with up to half their length of zeros: int64."""
    rows, length = shape[0], shape[-1]
    empty = draw.integers(0, max(1, length // 2 + 1), rows)
    empty[:1] = 0
    place = np.arange(length)
    kept = place[None, :] >= empty[:, None] if left else place[None, :] < length - empty[:, None]
    return np.broadcast_to(kept.reshape(rows, *[1] * (len(shape) - 2), length), tuple(shape)).astype(np.int64)
