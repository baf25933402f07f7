"""How does a TorchScript archive become ONNX, with nothing but the archive?

First the exporter that takes scripts as they are. What it refuses (control flow, state kept between calls) is run by
TorchScript's own interpreter while PyTorch notes the calls; what the interpreter decides on numbers cannot be noted,
and is refused. State that the script keeps in its attributes becomes inputs and outputs of the graph.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils import _pytree

from reversible.errors import SourceError
from reversible_exporters import torch_export, torch_signature
from reversible_exporters.torch_precision import Evaluations


def _convolution(*arguments: Any) -> Any:
    """A trace's convolution has four flags of its machine behind: the exporter knows the one without."""
    return torch.ops.aten.convolution.default(*arguments[:9])


_KNOWN = {torch.ops.aten._convolution.default: _convolution}


def convert(source: Path, target: Path) -> dict[str, Any]:
    """Write `target`; see `Converter`."""
    try:
        return _convert(source, target)
    except SourceError as error:
        raise SourceError(f"{source.name}: {error.message}", hint=error.hint) from error


def _convert(source: Path, target: Path) -> dict[str, Any]:
    torch._C._set_graph_executor_optimize(False)  # it compiles a script anew for each shape, for seconds
    net = _load(source)
    parameters = torch_signature.of_script(net)
    kept = {name: getattr(net, name) for name in _written(net)}

    def fresh(arguments: Sequence[Any]) -> Any:
        for name, value in kept.items():
            setattr(net, name, value)
        return net(*arguments)

    found = torch_signature.accepted(net, parameters, fresh, source)
    fresh(found.arguments)
    state = {name: getattr(net, name).clone() for name, value in kept.items() if isinstance(value, torch.Tensor)}
    fixed = [None if isinstance(one, torch.Tensor) else one for one in found.arguments]
    tensors = [one for one in found.arguments if isinstance(one, torch.Tensor)]
    needed = [one.name for one in parameters if one.needed]
    names = [name for name, one in zip(needed, found.arguments, strict=True) if isinstance(one, torch.Tensor)]
    below = [high for one, high in zip(found.arguments, found.below, strict=True) if isinstance(one, torch.Tensor)]
    step = _Step(fixed, len(tensors), tuple(state))
    arguments = [*tensors, *state.values()]
    names += [name.strip("_") + "_in" for name in state]
    inputs = torch_signature.inputs(names, arguments, [*below, *[1] * len(state)], lambda asked: step(net, asked))
    original = torch_export.Original(Evaluations(net, step, lambda: _load(source)), names)

    def noted() -> Any:
        from torch.fx.experimental.proxy_tensor import make_fx

        asked = torch_export.tensors(inputs.traced().feeds, names)
        step.settle(net, asked)
        with torch.no_grad():
            graph = make_fx(lambda *given: tuple(step.once(net, given)), _KNOWN)(*asked)
        return torch_export.exported(graph, inputs)

    attempts = [torch_export.dynamo(noted, "torch.onnx dynamo, of the calls that the interpreter made")]
    if not state and all(one is None for one in fixed):
        whole = len(needed) == len(parameters)
        asked_with = _NEEDED.get(len(needed))
        if whole or asked_with is not None:
            script = net if asked_with is None or whole else torch.jit.script(asked_with(net).eval())
            attempts.insert(0, torch_export.legacy(script, inputs))
    outputs = [*step.outputs(net, arguments), *(name.strip("_") + "_out" for name in state)]
    described = torch_export.first_that_holds(attempts, original, inputs, target, outputs=outputs)
    constants = {name: value for name, value in zip(needed, fixed, strict=True) if value is not None}
    return {
        **described,
        "form": "TorchScript archive",
        "pickled_members": [],
        "state": [
            {"attribute": name, "input": name.strip("_") + "_in", "output": name.strip("_") + "_out"} for name in state
        ],
        "constants": constants,
        "left_out": [f"{one.name} at other values than its default" for one in parameters if not one.needed]
        + [f"{name} at other values than {value}" for name, value in constants.items()],
    }


class _One(torch.nn.Module):  # type: ignore[misc]
    """A script asked with its first input alone, for the exporter that wants a value for every parameter."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net

    def forward(self, a: torch.Tensor):  # type: ignore[no-untyped-def]
        return self.net(a)


class _Two(_One):
    """With two."""

    def forward(self, a: torch.Tensor, b: torch.Tensor):  # type: ignore[no-untyped-def, override]
        return self.net(a, b)


class _Three(_One):
    """With three."""

    def forward(self, a: torch.Tensor, b: torch.Tensor, c: torch.Tensor):  # type: ignore[no-untyped-def, override]
        return self.net(a, b, c)


_NEEDED: dict[int, type[_One]] = {1: _One, 2: _Two, 3: _Three}


class _Step:
    """One call of the script with its state given and taken back.

    Args:
        fixed: The arguments that are no tensors, None where a tensor stands.
        count: How many tensors it takes beside its state.
        state: The attributes that it writes.
    """

    def __init__(self, fixed: Sequence[Any], count: int, state: Sequence[str]) -> None:
        self._fixed, self._count, self._state = tuple(fixed), count, tuple(state)

    def __call__(self, net: Any, arguments: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """The outputs, then the state after it. Numbers that it remembers (a batch size) are of the same sizes."""
        self.settle(net, arguments)
        return self.once(net, arguments)

    def settle(self, net: Any, arguments: Sequence[torch.Tensor]) -> None:
        """Call it once, so that what it remembers of sizes is of these."""
        if self._state:
            self.once(net, arguments)

    def once(self, net: Any, arguments: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """One call with what it remembers."""
        for name, value in zip(self._state, arguments[self._count :], strict=True):
            setattr(net, name, value)
        found = [one for one in _pytree.tree_leaves(self._ask(net, arguments)) if isinstance(one, torch.Tensor)]
        after = [getattr(net, name) for name in self._state]
        for name, before, now in zip(self._state, arguments[self._count :], after, strict=True):
            if before.shape != now.shape:
                raise ValueError(f"{name} is {tuple(before.shape)} before the call and {tuple(now.shape)} after it")
        return [*found, *after]

    def outputs(self, net: Any, arguments: Sequence[torch.Tensor]) -> list[str]:
        with torch.no_grad():
            count = len(self(net, arguments)) - len(self._state)
        return ["output"] if count == 1 else [f"output_{number}" for number in range(count)]

    def _ask(self, net: Any, arguments: Sequence[torch.Tensor]) -> Any:
        given = iter(arguments[: self._count])
        return net(*(next(given) if one is None else one for one in self._fixed))


def _load(source: Path) -> Any:
    try:
        return torch.jit.load(str(source), map_location="cpu").eval()
    except Exception as error:  # a damaged or hostile file may raise anything
        said = torch_export.reason(error)
        raise SourceError(f"it is not a whole TorchScript archive: {said[:200]}") from error


def _written(net: Any) -> list[str]:
    """The attributes of the script that `forward` writes, in their order.

    Raises:
        SourceError: it keeps some where they cannot be given back: inside a part of it, or as text or list.
    """
    graph = net.inlined_graph  # the nodes live as long as it does
    own = next(iter(graph.inputs())).debugName()
    written: dict[str, str] = {}
    for node in graph.findAllNodes("prim::SetAttr"):
        owner, value = list(node.inputs())
        if owner.debugName() != own:
            raise SourceError(f"a part of it keeps state between calls ({node.s('name')}): it cannot be given back")
        written[node.s("name")] = str(value.type())
    odd = [name for name, kind in written.items() if kind not in ("Tensor", "int", "bool", "float")]
    if odd:
        raise SourceError(f"it keeps {odd[0]} between calls, a {written[odd[0]]}: it cannot be given back")
    return list(written)
