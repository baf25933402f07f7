"""How does a state dict become ONNX, with the vendor's own code at its side?

SageMaker's convention: `code/inference.py` has `model_fn(model_dir)`, which returns the model. It is the vendor's
program, run in the fence and recorded as such. What it does before and after the model (`input_fn`, `predict_fn`,
`output_fn`) stays code, and is named.
"""

import copy
import importlib.util
import inspect
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils import _pytree

from reversible.errors import SourceError
from reversible_exporters import torch_export, torch_saved, torch_signature
from reversible_exporters.torch_precision import Evaluations

_AROUND = ("input_fn", "predict_fn", "output_fn", "transform_fn")
_FIX = "give model_fn(model_dir) in code/inference.py, or export the model with torch.export.save"


def convert(folder: Path, saved: Path, target: Path) -> dict[str, Any]:
    """Write `target`; see `Converter`."""
    code = next(
        folder / where / name
        for name in ("inference.py", "model.py") for where in ("code", "") if (folder / where / name).is_file()
    )  # fmt: skip
    ran = str(code.relative_to(folder))
    module = _run(code)
    if callable(getattr(module, "model_fn", None)):
        net = _the_module(module.model_fn(str(folder)), ran)
    else:
        net = _made(module, saved, ran)
    described = convert_module(saved, net, target)
    around = [name for name in _AROUND if callable(getattr(module, name, None))]
    return {
        **described, "form": "state dict with code", "vendor_code": [ran],
        "left_out": [f"{name} of {ran}: what it does around the model stays code" for name in around],
    }  # fmt: skip


def convert_module(saved: Path, net: torch.nn.Module, target: Path) -> dict[str, Any]:
    """Write `target` from a module in memory."""
    net = net.float().eval()
    try:
        parameters = [one for one in torch_signature.of_module(net) if one.needed]
        found = torch_signature.accepted(net, parameters, lambda arguments: net(*arguments), saved)
        tensors = [one for one in found.arguments if isinstance(one, torch.Tensor)]
        if len(tensors) != len(found.arguments):
            raise SourceError("its forward takes numbers beside tensors: no graph has them")
        names = [one.name for one in parameters]

        def call(one: Any, arguments: Sequence[torch.Tensor]) -> list[torch.Tensor]:
            return [leaf for leaf in _pytree.tree_leaves(one(*arguments)) if isinstance(leaf, torch.Tensor)]

        inputs = torch_signature.inputs(names, tensors, found.below, lambda asked: call(net, asked))
        original = torch_export.Original(Evaluations(net, call, lambda: copy.deepcopy(net)), names)
        attempts = [
            torch_export.dynamo(lambda: torch_export.exported(net, inputs)), torch_export.legacy(net, inputs)
        ]  # fmt: skip
        described = torch_export.first_that_holds(attempts, original, inputs, target)
    except SourceError as error:
        raise SourceError(f"{saved.name}: {error.message}", hint=error.hint) from error
    return {**described, "form": "saved module", "pickled_members": [saved.name]}


def _run(code: Path) -> Any:
    """Import the vendor's file, its folder and what lies in it importable."""
    sys.path.insert(0, str(code.parent))
    spec = importlib.util.spec_from_file_location("vendor_" + code.stem, code)
    assert spec is not None and spec.loader is not None  # noqa: S101, PT018 - a .py file has both
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # the vendor's code may raise anything
        raise SourceError(f"{code.name}, the vendor's code, failed: {torch_export.reason(error)}") from error
    return module


def _the_module(made: Any, ran: str) -> torch.nn.Module:
    """What `model_fn` returns is a model, or holds one."""
    held = made.values() if isinstance(made, dict) else made if isinstance(made, tuple | list) else [made]
    found = [one for one in held if isinstance(one, torch.nn.Module)]
    if len(found) != 1:
        raise SourceError(
            f"model_fn of {ran} returns a {type(made).__name__} with {len(found)} PyTorch modules", hint=_FIX
        )
    return found[0]


def _made(module: Any, saved: Path, ran: str) -> torch.nn.Module:
    """Without `model_fn`: the one class of the file whose weights these are."""
    state = torch_saved.content(saved)
    state = next(
        (state[key] for key in ("state_dict", "model_state_dict", "model") if isinstance(state, dict) and key in state),
        state,
    )
    refused = []
    for name, kind in vars(module).items():
        if not (inspect.isclass(kind) and issubclass(kind, torch.nn.Module) and kind.__module__ == module.__name__):
            continue
        try:
            net: Any = kind()
            net.load_state_dict(state)
        except Exception as error:  # noqa: BLE001 - another class may fit
            refused.append(f"{name}: {torch_export.reason(error)}")
        else:
            return net
    said = "; ".join(refused)[:300] or "it defines no module"
    raise SourceError(f"no class of {ran} takes the weights of {saved.name}: {said}", hint=_FIX)
