"""What did `torch.save` or `torch.jit.save` write, and can it be opened without running anything?"""

import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import torch

from reversible.errors import SourceError

_WHOLE = (".pt", ".pth", ".jit", ".ts", ".torchscript", ".bin")
_STATE = "holds weights by name, and not how they are connected: no architecture, no model"
_FIX = (
    "torch.export.save(torch.export.export(model, ...), 'model.pt2'), or put code/inference.py with model_fn beside it"
)


def the_one(folder: Path) -> Path:
    """The one saved file of a folder.

    Raises:
        SourceError: there are several.
    """
    found = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix in _WHOLE)
    if len(found) != 1:
        held = ", ".join(path.name for path in found[:8])
        raise SourceError(f"{len(found)} files of weights lie beside the code, and nothing says which it loads: {held}")
    return found[0]


def is_script(path: Path) -> bool:
    """Whether it is a TorchScript archive, judged by the names of its members.

    Raises:
        SourceError: it is neither a zip archive nor a pickle, or it is cut.
    """
    with path.open("rb") as file:
        start = file.read(2)
    if start != b"PK":
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise SourceError(f"{path.name} is not a whole archive of PyTorch: {error}") from error
    return any(name.split("/", 1)[-1] == "constants.pkl" for name in names)


def content(path: Path) -> Any:
    """What was saved: tensors and plain values, and modules of PyTorch's own; nothing of the file's is run.

    Raises:
        SourceError: it needs code to be opened, or it is damaged.
    """
    try:
        with torch.serialization.safe_globals(_modules()):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise SourceError(f"{path.name} is refused: {_wanted(str(error))}", hint=_FIX) from error
    except Exception as error:  # a damaged file may raise anything
        said = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise SourceError(f"{path.name} is not a whole file of PyTorch: {said}") from error


def module(path: Path) -> Any:
    """The module that was saved whole, made of PyTorch's own layers alone.

    Raises:
        SourceError: it is a state dict, something else, or not to be opened without running code.
    """
    held = content(path)
    if isinstance(held, torch.nn.Module):
        return held.eval()
    inner = next(
        (held[key] for key in ("state_dict", "model_state_dict", "model") if isinstance(held, dict) and key in held),
        held,
    )
    if isinstance(inner, dict) and any(isinstance(one, torch.Tensor) for one in inner.values()):
        raise SourceError(f"{path.name} {_STATE}", hint=_FIX)
    raise SourceError(f"{path.name} holds a {type(held).__name__}, which is no model", hint=_FIX)


def _modules() -> list[Any]:
    """PyTorch's own layers: opening them sets attributes and runs nothing else."""
    found = [one for one in vars(torch.nn).values() if isinstance(one, type) and issubclass(one, torch.nn.Module)]
    return [*found, set]


def _wanted(said: str) -> str:
    """What the pickle asked for, out of PyTorch's long explanation (which advises to run it)."""
    if named := re.search(r"GLOBAL ([\w.]+)", said):
        return f"opening it would run {named[1]}, which came with the file"
    told = re.search(r"WeightsUnpickler error: (.+)", said)
    return told[1][:200] if told else "it is no file of weights"
