"""By which of PyTorch's exporters does a model become an ONNX file that answers as it does?

Each attempt is written and checked beside the original; what fails is kept with its reason, and the next one is tried.
"""

import inspect
import logging
import re
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from reversible.equivalence import epsilons, parameters_record
from reversible.equivalence.parameters import Fate
from reversible.equivalence.tensors import constants
from reversible.errors import SourceError
from reversible_exporters import onnx_file, onnx_names, original_answers, self_check
from reversible_exporters.probes import Array, Feeds, Inputs
from reversible_exporters.torch_precision import Evaluations

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnx

_LEGACY_OPSET = 18
_NUMPY = (
    torch.float32,
    torch.float64,
    torch.float16,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
    torch.bool,
)
_EPSILONS = ("eps", "epsilon", "variance_epsilon", "layer_norm_eps", "layer_norm_epsilon")
Counts = Callable[[Feeds, int, Sequence[int]], NDArray[np.bool_] | None]


class Original:
    """A PyTorch model as `self_check` asks it: feeds by name, arrays out.

    Args:
        evaluations: The model.
        names: Its inputs, in the order in which it takes them.
        counts: Which positions of an output mean something; None: all.
    """

    def __init__(self, evaluations: Evaluations, names: Sequence[str], counts: Counts | None = None) -> None:
        self._evaluations, self._names, self._counts = evaluations, tuple(names), counts

    def parameters(self) -> dict[str, Array]:
        """Weights and buffers as the model itself calls them; types that numpy does not have are left to the port."""
        held = self._evaluations.net.state_dict()
        return {
            name: one.numpy() for name, one in held.items() if isinstance(one, torch.Tensor) and one.dtype in _NUMPY
        }

    def epsilons(self) -> dict[str, float]:
        """What its normalisations add before they take a root, by module; of a graph by node."""
        found = {}
        for name, module in self._evaluations.net.named_modules():
            for field in _EPSILONS:
                value = getattr(module, field, None)
                if isinstance(value, float):
                    found[name] = value
            if isinstance(module, torch.fx.GraphModule):
                found |= {f"{name}.{node.name}": value for node in module.graph.nodes for value in _small(node)}
        return found

    def answer(self, feeds: Feeds) -> list[Array]:
        return _arrays(self._evaluations.plain(self._arguments(feeds)))

    def otherwise(self, feeds: Feeds) -> list[Array]:
        return _arrays(self._evaluations.otherwise(self._arguments(feeds)))

    def exact(self, feeds: Feeds) -> list[Array]:
        return _arrays(self._evaluations.exact(self._arguments(feeds)))

    def perturbed(self, feeds: Feeds, seed: int) -> list[Array]:
        return _arrays(self._evaluations.perturbed(self._arguments(feeds), seed))

    def counts(self, feeds: Feeds, output: int, shape: Sequence[int]) -> NDArray[np.bool_] | None:
        return None if self._counts is None else self._counts(feeds, output, shape)

    def _arguments(self, feeds: Feeds) -> list[torch.Tensor]:
        return tensors(feeds, self._names)


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One way to export.

    Attributes:
        name: What the report calls it: "torch.onnx dynamo".
        make: Gives the model, its inputs in the original's order.
    """

    name: str
    make: "Callable[[], onnx.ModelProto]"


def first_that_holds(
    attempts: Sequence[Attempt], original: Original, inputs: Inputs, target: Path, *, outputs: Sequence[str] = ()
) -> dict[str, Any]:
    """Write `target` by the first attempt that passes the self-check.

    Args:
        attempts: In the order in which they are tried.
        original: The model.
        inputs: What it takes.
        target: The .onnx file.
        outputs: Names for the outputs, in their order; the exporter's where there are none.

    Returns:
        What the report must know, with the attempts that were refused and why.

    Raises:
        SourceError: none holds; the message has the reason of each.
    """
    refused: list[dict[str, str]] = []
    for attempt in attempts:
        try:
            with _quiet():
                model = attempt.make()
            _name(model, inputs, outputs)
            onnx_file.write(model, target)
            checked = self_check.compare(target, original, inputs.probes())
        except SourceError as error:
            refused.append({"exporter": attempt.name, "reason": error.message})
        except Exception as error:  # noqa: BLE001 - exporters raise whatever the model makes them raise
            refused.append({"exporter": attempt.name, "reason": reason(error)})
        else:
            return {
                "framework": f"torch {torch.__version__}",
                "exporter": f"{attempt.name}, torch {torch.__version__}",
                "refused_attempts": refused,
                **onnx_file.describe(target),
                "self_check": checked,
                "parameters": _account(original, target),
                "answered_golden_inputs": original_answers.put(
                    target,
                    f"torch {torch.__version__}",
                    exact=original.exact,
                    evaluations={"as it is": original.answer, "other kernels": original.otherwise},
                ),
            }
        for left in (target, target.with_name(f"{target.name}.data")):
            left.unlink(missing_ok=True)
    told = "; ".join(f"{one['exporter']}: {one['reason']}" for one in refused)
    raise SourceError(f"it cannot be converted to ONNX: {told}")


def _account(original: Original, target: Path) -> dict[str, Any]:
    """Write `golden/parameters.*` beside the file; the share of the original's weights by what became of them."""
    import onnx

    model = onnx.load(str(target), load_external_data=False)
    tensors_held = constants(model, base_dir=str(target.parent))
    added = original.epsilons()
    explained = not epsilons.foreign(added, model, base_dir=str(target.parent))
    files, found = parameters_record.record(original.parameters(), tensors_held, added if explained else None)
    (target.parent / "golden").mkdir(exist_ok=True)
    for name, content in files.items():
        (target.parent / "golden" / name).write_bytes(content)
    return {fate.value: round(found.share(fate), 6) for fate in Fate if found.of(fate)}


def dynamo(program: Callable[[], Any], name: str = "torch.onnx dynamo") -> Attempt:
    """By the exporter that stands on `torch.export`; the graph is left as it was built, no layer folded."""

    def make() -> "onnx.ModelProto":
        exported = torch.onnx.export(program(), dynamo=True, optimize=False, external_data=False, verbose=False)
        assert exported is not None  # noqa: S101 - dynamo=True always returns the program
        return exported.model_proto

    return Attempt(name=name, make=make)


def legacy(net: Any, inputs: Inputs, name: str = "torch.onnx legacy") -> Attempt:
    """By the exporter that stands on TorchScript: it traces a module, and takes a script as it is.

    Args:
        net: An `nn.Module` or a `ScriptModule`, its inputs by place.
        inputs: What it takes.
    """

    def make() -> "onnx.ModelProto":
        import onnx

        names = [one.name for one in inputs.inputs]
        with tempfile.TemporaryDirectory() as folder, torch.no_grad():
            written = Path(folder) / "legacy.onnx"
            torch.onnx.export(
                net, tuple(tensors(inputs.traced().feeds, names)), str(written), dynamo=False,
                input_names=names, dynamic_axes=_axes(inputs.free()),
                opset_version=_LEGACY_OPSET, do_constant_folding=False, training=torch.onnx.TrainingMode.PRESERVE,
            )  # fmt: skip
            return onnx.load(str(written))  # with the weights beyond 2 GiB that lie beside it

    return Attempt(name=name, make=make)


def export_smallest() -> None:
    """Export one small layer, so that this process has loaded all that PyTorch puts off until its first export."""
    torch.hub.tqdm.monitor_interval = 0  # its progress bar would leave a thread
    with _quiet():
        program = torch.export.export(torch.nn.ReLU(), (torch.zeros(1),), strict=False)
        dynamo(lambda: program).make()


def exported(net: torch.nn.Module, inputs: Inputs) -> Any:
    """`torch.export` of a module whose inputs come by place, every axis of `inputs` free."""
    arguments = tuple(tensors(inputs.traced().feeds, [one.name for one in inputs.inputs]))
    free = inputs.free()
    shapes = [dict.fromkeys(free[one.name], torch.export.Dim.DYNAMIC) for one in inputs.inputs]
    try:
        with torch.no_grad():
            return torch.export.export(net, arguments, dynamic_shapes=_by_parameter(net, shapes), strict=False)
    except torch._dynamo.exc.UserError as error:
        fixed = _fixed(str(error), arguments, inputs)
        if not fixed:
            raise
        raise SourceError(f"the dimension {', '.join(fixed)} would be fixed at its traced size") from error


def _fixed(said: str, arguments: Sequence[torch.Tensor], inputs: Inputs) -> list[str]:
    """The free dimensions that `torch.export` says it had to fix: "L['x'].size()[0] = 2"."""
    sizes = {int(one) for one in re.findall(r"size\(\)\[\d+\]\D+(\d+)", said)}
    places = {int(one) for one in re.findall(r"size\(\)\[(\d+)\]", said)}
    found = {
        dim
        for one, argument in zip(inputs.inputs, arguments, strict=True)
        for place, dim in enumerate(one.shape)
        if isinstance(dim, str) and place in places and (not sizes or argument.shape[place] in sizes)
    }
    return sorted(found)


def tensors(feeds: Feeds, names: Sequence[str]) -> list[torch.Tensor]:
    """The named arrays in order, as tensors of their own."""
    return [torch.from_numpy(np.array(feeds[name])) for name in names]


def reason(error: BaseException) -> str:
    """The line that says what is wrong, of the first cause: the first one, of TorchScript's interpreter the last."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if lines and "TorchScript interpreter" in lines[0]:
        places = [place for place, line in enumerate(lines) if re.match(r"[\w.]*(Error|Exception):", line)]
        lines = [lines[-1]] if not places else [" ".join(lines[places[-1] : places[-1] + 2])]
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__


def _arrays(found: Sequence[torch.Tensor]) -> list[Array]:
    return [one.detach().cpu().numpy() for one in found]


def _small(node: Any) -> list[float]:
    """The small numbers that a call of a graph is given: of a normalisation, or added to a tensor."""
    called = str(node.target)
    if node.op != "call_function" or not ("norm" in called or "add" in called):
        return []
    return [one for one in (*node.args, *node.kwargs.values()) if isinstance(one, float) and 0 < one <= 1e-2]


def _axes(free: Mapping[str, Mapping[int, str]]) -> dict[str, dict[int, str]]:
    """Axis names that ONNX takes as identifiers."""
    return {name: {place: _plain(dim) for place, dim in dims.items()} for name, dims in free.items() if dims}


def _plain(dim: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "_ +-*/()" else "_" for letter in dim)


def _by_parameter(net: torch.nn.Module, shapes: Sequence[Any]) -> tuple[Any, ...]:
    """One entry per parameter of `forward`; `*inputs` takes all that are left as one tuple."""
    found: list[Any] = []
    left = list(shapes)
    for parameter in inspect.signature(net.forward).parameters.values():
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            return (*found, tuple(left))
        if left:
            found.append(left.pop(0))
    return tuple(found)


def _name(model: "onnx.ModelProto", inputs: Inputs, outputs: Sequence[str]) -> None:
    """Give inputs, outputs and free dimensions the names that the report uses."""
    if len(model.graph.input) != len(inputs.inputs):
        kept = ", ".join(value.name for value in model.graph.input)
        raise SourceError(
            f"it takes {len(inputs.inputs)} inputs, and {len(model.graph.input)} are left in its graph: {kept}"
        )
    dims = {}
    for value, one in zip(model.graph.input, inputs.inputs, strict=True):
        for place, dim in enumerate(value.type.tensor_type.shape.dim):
            wanted = one.shape[place]
            if isinstance(wanted, str) and not dim.dim_param:
                raise SourceError(
                    f"the dimension {wanted} of {one.name} became {dim.dim_value}: it is fixed in the graph"
                )
            if isinstance(wanted, str):
                dims[dim.dim_param] = _plain(wanted)
    names = {value.name: one.name for value, one in zip(model.graph.input, inputs.inputs, strict=True)}
    if len(outputs) == len(model.graph.output):
        names |= {value.name: name for value, name in zip(model.graph.output, outputs, strict=True)}
    onnx_names.rename(model, values=names, dims=dims)


@contextmanager
def _quiet() -> "Iterator[None]":
    """Exporters talk; what they say of importance they raise."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
