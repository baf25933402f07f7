"""What does a model take that does not say so?

A TorchScript and a module loaded by the vendor's code name their inputs and not their shapes. The weights of the first
layers say which sizes are likely; the model itself is asked which it takes, and which of their dimensions are free.
"""

import inspect
import itertools
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from reversible.errors import SourceError
from reversible_exporters import torch_export
from reversible_exporters.probes import Axis, Input, Inputs

Call = Callable[[Sequence[torch.Tensor]], Sequence[torch.Tensor]]

_BATCH, _LENGTH = 3, 7  # sizes that no layer is likely to have
_TRIES = 4000
_LAYERS = 4  # of the first tables of weights are looked at
_SIDES = (32, 28, 64, 224, 8, 16, 96, 128, 256, 299, 384, 512)
_LENGTHS = (512, 256, 1024, 400, 16000, 100, 576, 4096, 8000, 32, 64, 128)
_WHOLE_NUMBERS = (16000, 8000, 1, 0, 2, 22050, 44100)
_STEPS = (1, 2, 4, 8, 16, 32, 64)
_EXAMPLE = "example_inputs.npz"


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One parameter of `forward`: a tensor, or a value that stays the same."""

    name: str
    kind: str  # "Tensor", "int", "float", "bool"
    needed: bool


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """Arguments that the model takes: tensors, and values for what is no tensor."""

    arguments: tuple[Any, ...]
    below: tuple[int, ...]  # of integer tensors, by place


def of_script(net: Any) -> list[Parameter]:
    """The parameters of a script's `forward`."""
    found = []
    for one in net.forward.schema.arguments[1:]:
        kind = str(one.type).removeprefix("Optional[").removesuffix("]").removesuffix("?")
        found.append(Parameter(name=one.name, kind=kind, needed=not one.has_default_value()))
    return found


def of_module(net: torch.nn.Module) -> list[Parameter]:
    """The parameters of a module's `forward`; what has no annotation is taken for a tensor."""
    found = []
    for one in inspect.signature(net.forward).parameters.values():
        if one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD):
            continue
        kind = next(
            (name for name in ("int", "float", "bool") if one.annotation in (name, getattr(__builtins__, name, name))),
            "Tensor",
        )
        found.append(Parameter(name=one.name, kind=kind, needed=one.default is one.empty))
    return found


def names_of(net: Any) -> list[str]:
    """The names of the parameters of a module's `forward`."""
    return list(inspect.signature(net.forward).parameters)


def accepted(net: Any, parameters: Sequence[Parameter], call: Callable[[Sequence[Any]], Any], beside: Path) -> Accepted:
    """Arguments that `call` answers, needed ones only: the example that the vendor gave, else found by asking.

    Args:
        net: The model; its first layers say what is likely.
        parameters: Of its `forward`.
        call: Asks it.
        beside: The model's file; `example_inputs.npz` in its folder is the example, one array per needed input.

    Raises:
        SourceError: the example, or all of the likely ones, are refused.
    """
    weights = [one.detach() for one in itertools.chain(net.parameters(), net.buffers()) if one.dim() > 0]
    wanted = [one for one in parameters if one.needed]
    odd = [one for one in wanted if one.kind not in ("Tensor", "int", "float", "bool")]
    if odd:
        raise SourceError(f"its input {odd[0].name} is a {odd[0].kind}: only tensors and numbers are handled")
    last = "nothing was tried"
    example = beside.parent / _EXAMPLE
    choices = [_given(example, wanted)] if example.is_file() else itertools.islice(_choices(wanted, weights), _TRIES)
    for choice in choices:
        arguments = [value for value, _ in choice]
        try:
            with torch.no_grad():
                call(arguments)
        except Exception as error:  # noqa: BLE001 - a model refuses a shape with whatever it likes
            last = torch_export.reason(error)
            continue
        return Accepted(arguments=tuple(arguments), below=tuple(below for _, below in choice))
    named = ", ".join(f"{one.name}: {one.kind}" for one in wanted)
    tried = f"it refuses {_EXAMPLE}" if example.is_file() else f"no input was found that it takes ({named}); the last"
    raise SourceError(
        f"{tried}: {last}", hint=f"put {_EXAMPLE} beside it, with an array for each of its inputs in a batch of 3"
    )


def _given(path: Path, wanted: Sequence[Parameter]) -> tuple[tuple[Any, int], ...]:
    """The vendor's example: arrays by the names of the inputs, numbers as arrays without dimensions."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            held = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise SourceError(f"{path.name} cannot be read: {error}") from error
    lost = [one.name for one in wanted if one.name not in held]
    if lost:
        raise SourceError(f"{path.name} has no array for {', '.join(lost)}; it holds {', '.join(sorted(held))}")
    found: list[tuple[Any, int]] = []
    for one in wanted:
        array = held[one.name]
        whole = array.dtype.kind in "iu"
        below = int(array.max(initial=1)) + 1 if whole else 1
        found.append((torch.from_numpy(array), below) if one.kind == "Tensor" else (array.item(), 0))
    return tuple(found)


def inputs(names: Sequence[str], arguments: Sequence[torch.Tensor], below: Sequence[int], call: Call) -> Inputs:
    """Which dimensions of the tensors are free: those that the model itself takes at other sizes.

    Args:
        names: Of the tensors.
        arguments: Tensors that `call` takes.
        below: Integers of each tensor are below this.
        call: The original, the tensors by place.
    """
    places = [(number, place) for number, one in enumerate(arguments) for place in range(one.dim())]
    shapes: list[list[int | str]] = [list(one.shape) for one in arguments]
    axes: list[Axis] = []
    settled: set[tuple[int, int]] = set()
    for where in places:
        if where in settled:
            continue
        size = arguments[where[0]].shape[where[1]]
        others = [
            one for one in places if one not in settled and arguments[one[0]].shape[one[1]] == size and one != where
        ]
        # A role first (all batches together), then this one alone, then with each other dimension of the same size.
        alike = [one for one in others if one[0] != where[0]]
        groups = [[where, *some] for some in _subsets(alike)] + [
            [where, other] for other in others if other not in alike
        ]
        for group in groups:
            step = _step(arguments, below, group, call)
            if step is not None:
                name = _unused(_role(arguments[where[0]], where[1]), [axis.name for axis in axes])
                least = step if _takes(arguments, below, group, step, call) else size
                axes.append(Axis.of(name, size, least=least, step=step))
                for number, place in group:
                    shapes[number][place] = name
                settled |= set(group)
                break
    if not any(axis.name == "batch" for axis in axes):
        raise SourceError(f"it takes a batch of exactly {arguments[0].shape[0]}: no other size is answered")
    found = tuple(
        Input(
            name=name, dtype=str(one.dtype).removeprefix("torch."), shape=tuple(shape), below=high,
        )
        for name, one, shape, high in zip(names, arguments, shapes, below, strict=True)
    )  # fmt: skip
    return Inputs(inputs=found, axes=tuple(axes))


def _subsets(others: Sequence[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
    """All of them, none, then each number between, larger sets first; few are ever tried."""
    sizes = [len(others), *range(len(others) - 1, 0, -1), 0] if others else [0]
    for size in sizes:
        yield from (list(one) for one in itertools.islice(itertools.combinations(others, size), 16))


def _step(
    arguments: Sequence[torch.Tensor], below: Sequence[int], group: Sequence[tuple[int, int]], call: Call
) -> int | None:
    """The step in which the model takes other sizes of these dimensions together; None when it takes none."""
    size = arguments[group[0][0]].shape[group[0][1]]
    for step in _STEPS:
        if all(_takes(arguments, below, group, size + more, call) for more in (step, 2 * step, 3 * step)):
            return step
    return None


def _takes(
    arguments: Sequence[torch.Tensor], below: Sequence[int], group: Sequence[tuple[int, int]], size: int, call: Call
) -> bool:
    asked = list(arguments)
    for number, place in group:
        shape = list(asked[number].shape)
        shape[place] = size
        asked[number] = _drawn(shape, asked[number].dtype, below[number])
    try:
        with torch.no_grad():
            call(asked)
    except Exception:  # noqa: BLE001 - as above
        return False
    return True


def _drawn(shape: Sequence[int], dtype: torch.dtype, below: int) -> torch.Tensor:
    draw = np.random.default_rng(0)
    if dtype.is_floating_point:
        return torch.from_numpy(np.asarray(draw.normal(0, 1, tuple(shape)))).to(dtype)
    return torch.from_numpy(np.asarray(draw.integers(0, below, tuple(shape)))).to(dtype)


def _choices(wanted: Sequence[Parameter], weights: Sequence[torch.Tensor]) -> Iterator[tuple[tuple[Any, int], ...]]:
    """Likely arguments, likeliest first; several inputs take likely values in every combination."""
    candidates = list(_tensors(weights))
    kinds = []
    for one in wanted:
        if one.kind == "Tensor":
            kinds.append(candidates)
        elif one.kind == "int":
            kinds.append([(value, 0) for value in _WHOLE_NUMBERS])
        else:
            kinds.append([(one.kind == "bool", 0)] if one.kind == "bool" else [(1.0, 0)])
    return itertools.product(*kinds) if len(wanted) < 3 else _diagonal(kinds)


def _diagonal(kinds: Sequence[Sequence[Any]]) -> Iterator[tuple[Any, ...]]:
    """Three and more inputs mostly have the same shape: equal ones first, then every combination."""
    longest = max(len(one) for one in kinds)
    for turn in range(longest):
        yield tuple(one[min(turn, len(one) - 1)] for one in kinds)
    yield from itertools.product(*kinds)


def _tensors(weights: Sequence[torch.Tensor]) -> Iterator[tuple[torch.Tensor, int]]:
    shapes: dict[tuple[tuple[int, ...], int], None] = {}
    tables = [one for one in weights if one.dim() > 1][:_LAYERS]
    for table in tables:
        rows, width = int(table.shape[0]), int(table.shape[1])
        if table.dim() == 2:
            shapes |= {((_BATCH, width), 0): None, ((_BATCH, _LENGTH, width), 0): None}
            shapes |= {((_BATCH, _LENGTH), rows): None}
        elif table.dim() == 3:
            shapes |= {((_BATCH, width, length), 0): None for length in _LENGTHS}
            shapes |= {((_BATCH, length), 0): None for length in _LENGTHS}
        else:
            sides = table.dim() - 2
            shapes |= {((_BATCH, width, *[side] * sides), 0): None for side in _SIDES}
    for vector in [one for one in weights if one.dim() == 1][:1]:
        width = int(vector.shape[0])
        shapes |= {((_BATCH, width), 0): None, ((_BATCH, width, _LENGTH), 0): None}
        shapes |= {((_BATCH, width, side, side), 0): None for side in _SIDES[:3]}
    shapes |= {((_BATCH, length), 0): None for length in _LENGTHS}
    shapes |= {((_BATCH, _LENGTH), 2): None}
    for shape, below in shapes:
        yield _drawn(shape, torch.int64 if below else torch.float32, below or 1), below


def _role(tensor: torch.Tensor, place: int) -> str:
    if place == 0:
        return "batch"
    if tensor.dim() >= 4 and place >= tensor.dim() - 2:
        return ("height", "width")[place - tensor.dim() + 2]
    return "length"


def _unused(name: str, names: Sequence[str]) -> str:
    return name if name not in names else next(f"{name}_{n}" for n in range(2, 1000) if f"{name}_{n}" not in names)
