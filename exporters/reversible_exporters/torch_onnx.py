"""How does a PyTorch model become ONNX?"""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from reversible.errors import MissingSDKError

_SAVED = (".pt", ".pth", ".jit", ".ts", ".torchscript")
_CODE = ("inference.py", "model.py")


class TorchConverter:
    """Takes what PyTorch writes: `torch.export` (.pt2), TorchScript, and a state dict with the code that it needs.

    A .pt2 is weights and a graph as data, but PyTorch falls back to `pickle` for sample inputs, constants and
    odd weights that are stored so; a TorchScript is a program; a state dict needs the vendor's Python. All can run
    code, and are opened in the fence alone.
    """

    executes_vendor_code = True

    def sources(self, names: Sequence[str]) -> Sequence[str]:
        """See `Converter`. Saved weights with code at their side are taken with it, as the folder that holds both."""
        programs = [name for name in names if name.endswith(".pt2")]
        saved = [name for name in names if name.endswith(_SAVED)]
        if programs or not saved:
            return programs
        paths = [PurePosixPath(name) for name in names]
        folders = {
            str(path.parent.parent if path.parent.name == "code" else path.parent)
            for path in paths
            if path.name in _CODE and len(path.parts) <= 2
        }
        return sorted(folders) if folders else saved

    def prepare(self) -> None:
        """See `SharesStart`. Exporting the smallest model loads what PyTorch puts off until its first export."""
        _framework()
        from reversible_exporters import torch_code, torch_program, torch_saved, torch_script  # noqa: F401 - for later
        from reversible_exporters.torch_export import export_smallest

        export_smallest()

    def convert(self, source: Path, target: Path) -> dict[str, Any]:
        """Write `target`; see `Converter`. The graph is left as it was built, no layer folded into another."""
        _framework()
        from reversible_exporters import torch_code, torch_program, torch_saved, torch_script

        if source.name.endswith(".pt2"):
            return torch_program.convert(source, target)
        saved = torch_saved.the_one(source) if source.is_dir() else source
        if torch_saved.is_script(saved):
            return torch_script.convert(saved, target)
        if source.is_dir():
            return torch_code.convert(source, saved, target)
        return torch_code.convert_module(saved, torch_saved.module(saved), target)


def _framework() -> None:
    try:
        import onnxscript  # noqa: F401 - the exporter needs it, and says so late
        import torch
    except ModuleNotFoundError as error:
        raise MissingSDKError(error.name or "torch", extra="torch") from error
    torch.set_num_threads(1)
