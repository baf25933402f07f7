"""How does a `torch.export` program (.pt2) become ONNX?"""

import copy
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils import _pytree

from reversible.errors import SourceError
from reversible_exporters import torch_export
from reversible_exporters.probes import Axis, Input, Inputs, Sizes
from reversible_exporters.torch_precision import Evaluations

_UNBOUND = 1 << 40  # where PyTorch writes infinity
# What passes an index on unchanged, on its way from an input to the table that it looks up.
_PASSES = (
    "_to_copy",
    "to",
    "view",
    "reshape",
    "unsqueeze",
    "squeeze",
    "expand",
    "clone",
    "alias",
    "slice",
    "contiguous",
)


def convert(source: Path, target: Path) -> dict[str, Any]:
    """Write `target`; see `Converter`."""
    program = _load(source)
    leaves, inputs = _inputs(source, program)
    spec = program.call_spec.in_spec

    def call(net: Any, arguments: Sequence[Any]) -> list[torch.Tensor]:
        given = iter(arguments)
        flat = [next(given) if leaf is _TENSOR else leaf for leaf in leaves]
        positional, named = _pytree.tree_unflatten(flat, spec)
        found = _pytree.tree_leaves(net(*positional, **named))
        return [one for one in found if isinstance(one, torch.Tensor)]

    net = program.module()
    original = torch_export.Original(
        Evaluations(net, call, lambda: copy.deepcopy(net)), [one.name for one in inputs.inputs]
    )

    class Placed(torch.nn.Module):
        """The program with its inputs by place, for the exporter that traces."""

        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, *arguments: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return tuple(call(self.net, arguments))

    attempts = [torch_export.dynamo(lambda: program), torch_export.legacy(Placed(), inputs)]
    try:
        described = torch_export.first_that_holds(attempts, original, inputs, target)
    except SourceError as error:
        raise SourceError(f"{source.name}: {error.message}", hint=error.hint) from error
    return {**described, "form": "torch.export program", "pickled_members": _pickled(source)}


class _Tensor:
    """The place of a tensor among the leaves of the program's arguments."""


_TENSOR = _Tensor()


def _load(source: Path) -> Any:
    try:
        return torch.export.load(str(source))
    except Exception as error:  # a damaged or hostile file may raise anything
        said = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise SourceError(f"{source.name} is not a whole torch.export archive: {said}") from error


def _pickled(source: Path) -> list[str]:
    """Members that PyTorch opens with pickle; the sample inputs of every .pt2 are one of them."""
    with zipfile.ZipFile(source) as archive:
        contents = {}
        for name in archive.namelist():
            with archive.open(name) as member:
                contents[name] = member.read(64)
    return sorted(name for name, start in contents.items() if start.startswith((b"PK\x03\x04", b"\x80")))


def _inputs(source: Path, program: Any) -> tuple[list[Any], Inputs]:
    """The leaves of the program's arguments (a mark for each tensor), and what the tensors are."""
    placeholders = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    leaves: list[Any] = []
    nodes = []
    for one in program.graph_signature.user_inputs:
        value = placeholders[one].meta["val"] if isinstance(one, str) and one in placeholders else one
        leaves.append(_TENSOR if isinstance(value, torch.Tensor) else value)
        if isinstance(value, torch.Tensor):
            nodes.append(placeholders[one])
    if not nodes:
        raise SourceError(f"{source.name} takes no tensor: there is nothing to ask it")
    first = nodes[0].meta["val"].shape
    if len(first) and isinstance(first[0], int):
        raise SourceError(
            f"{source.name} was traced for a batch of exactly {first[0]}",
            hint="export it again with dynamic_shapes={0: torch.export.Dim('batch')}",
        )
    examples = _examples(program, len(nodes))
    axes, names = _axes(program, nodes, examples)
    derived: dict[str, Callable[[Sizes], int]] = {}
    inputs = []
    for node, example in zip(nodes, examples, strict=True):
        value = node.meta["val"]
        shape = tuple(_dim(size, names, derived) for size in value.shape)
        highest = 1 if example is None or example.dtype.is_floating_point or not example.numel() else int(example.max())
        below = _table(program, node) or max(highest, 1) + 1
        dtype = str(value.dtype).removeprefix("torch.")
        if not hasattr(torch.empty(0, dtype=value.dtype), "numpy") or dtype == "bfloat16":
            raise SourceError(f"{source.name}: its input {node.name} is of {dtype}, which no numpy array holds")
        inputs.append(Input(name=node.name, dtype=dtype, shape=shape, below=below))
    return leaves, Inputs(inputs=tuple(inputs), axes=tuple(axes), derived=derived)


def _examples(program: Any, count: int) -> list[torch.Tensor | None]:
    try:
        found = [one for one in _pytree.tree_leaves(program.example_inputs) if isinstance(one, torch.Tensor)]
    except Exception:  # noqa: BLE001 - sample inputs are pickled apart, and may be damaged alone
        found = []
    return [*found] if len(found) == count else [None] * count


def _axes(
    program: Any, nodes: Sequence[Any], examples: Sequence[torch.Tensor | None]
) -> tuple[list[Axis], dict[Any, str]]:
    """One axis per free symbol, named by where it stands first."""
    names: dict[Any, str] = {}
    traced: dict[Any, int] = {}
    for node, example in zip(nodes, examples, strict=True):
        shape = node.meta["val"].shape
        for place, size in enumerate(shape):
            if isinstance(size, int):
                continue
            expression = size.node.expr
            for symbol in sorted(expression.free_symbols, key=str):
                if symbol not in names:
                    names[symbol] = _unused(_role(place, len(shape)), names.values())
            if expression.is_Symbol and example is not None:
                traced.setdefault(expression, int(example.shape[place]))
    axes = []
    for symbol, name in names.items():
        span = program.range_constraints.get(symbol)
        least = 1 if span is None else max(1, int(span.lower))
        most = None if span is None or span.upper > _UNBOUND else int(span.upper)
        usual = traced.get(symbol, max(3, least))
        axes.append(Axis.of(name, max(usual, least, 2) if most != 1 else 1, least=least, most=most))
    return axes, names


def _role(place: int, rank: int) -> str:
    if place == 0:
        return "batch"
    if rank >= 4 and place >= rank - 2:
        return ("height", "width")[place - rank + 2]
    return "length"


def _unused(name: str, names: Any) -> str:
    taken = set(names)
    return name if name not in taken else next(f"{name}_{n}" for n in range(2, 1000) if f"{name}_{n}" not in taken)


def _dim(size: Any, names: dict[Any, str], derived: dict[str, Callable[[Sizes], int]]) -> int | str:
    if isinstance(size, int):
        return size
    expression = size.node.expr
    if expression.is_Symbol:
        return names[expression]
    text = str(expression.subs({symbol: _symbol(name) for symbol, name in names.items()}))

    def value(sizes: Sizes) -> int:
        return int(expression.subs({symbol: sizes[name] for symbol, name in names.items()}))

    derived[text] = value
    return text


def _symbol(name: str) -> Any:
    import sympy

    return sympy.Symbol(name)


def _table(program: Any, node: Any) -> int | None:
    """How many rows the table has that this input looks up; None when it looks up none."""
    seen, stack = set(), [node]
    while stack:
        one = stack.pop()
        if one in seen:
            continue
        seen.add(one)
        for user in one.users:
            name = getattr(user.target, "__name__", str(user.target)).split(".")[0]
            if name in ("embedding", "index_select", "gather", "index") and user.args[0] is not one:
                rows = user.args[0].meta["val"].shape[0 if name != "gather" else user.args[1]]
                return int(rows) if isinstance(rows, int) else None
            if name in _PASSES:
                stack.append(user)
    return None
