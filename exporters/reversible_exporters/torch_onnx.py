"""How does a PyTorch program (`torch.export`, .pt2) become ONNX?"""

import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from reversible.errors import MissingSDKError, SourceError
from reversible_exporters import onnx_file


class TorchConverter:
    """Reads a .pt2 with `torch.export.load` and writes it with PyTorch's own exporter.

    A .pt2 is weights and a graph as data, but PyTorch falls back to `pickle` for sample inputs, constants and
    odd weights that are stored so: the file can run code, and is opened in the fence like any other.
    """

    executes_vendor_code = True

    def sources(self, names: Sequence[str]) -> Sequence[str]:
        """See `Converter`."""
        return [name for name in names if name.endswith(".pt2")]

    def convert(self, source: Path, target: Path) -> dict[str, Any]:
        """Write `target`; see `Converter`. The graph is left as it was built, no layer folded into another."""
        try:
            import onnxscript  # noqa: F401 - the exporter needs it, and says so late
            import torch
        except ModuleNotFoundError as error:
            raise MissingSDKError(error.name or "torch", extra="torch") from error
        torch.set_num_threads(1)
        program = _load(source)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecations inside PyTorch
            try:
                exported = torch.onnx.export(program, dynamo=True, optimize=False, external_data=False, verbose=False)
            except torch.onnx.errors.OnnxExporterError as error:
                reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
                raise SourceError(f"{source.name} cannot be converted to ONNX: {reason.strip()[:300]}") from error
        assert exported is not None  # noqa: S101 - dynamo=True always returns the program
        onnx_file.write(exported.model_proto, target)
        net = program.module()

        def original(rows: onnx_file.Floats) -> onnx_file.Floats:
            with torch.no_grad():
                answer: onnx_file.Floats = net(torch.from_numpy(rows)).numpy()
            return answer

        described = onnx_file.describe(target)
        return {
            "framework": f"torch {torch.__version__}",
            "exporter": f"torch.onnx {torch.__version__}, dynamo, not optimised",
            "pickled_members": _pickled(source),
            **described,
            "self_check": onnx_file.compare(target, original, _rows(source, described["inputs"])),
        }


def _load(source: Path) -> Any:
    import torch

    try:
        return torch.export.load(str(source))
    except Exception as error:  # a damaged or hostile file may raise anything
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise SourceError(f"{source.name} is not a whole torch.export archive: {reason}") from error


def _pickled(source: Path) -> list[str]:
    """Members that PyTorch opens with pickle; the sample inputs of every .pt2 are one of them."""
    with zipfile.ZipFile(source) as archive:
        contents = {name: archive.read(name)[:64] for name in archive.namelist()}
    return sorted(name for name, start in contents.items() if start.startswith((b"PK\x03\x04", b"\x80")))


def _rows(source: Path, inputs: list[dict[str, Any]]) -> onnx_file.Floats:
    """Seeded inputs for the self-check: eight rows of the shape that the graph declares."""
    if len(inputs) != 1 or inputs[0]["dtype"] != "float":
        found = ", ".join(f"{one['name']} ({one['dtype']})" for one in inputs)
        raise SourceError(f"{source.name}: only models with one float32 input are handled; it has {found}")
    width = list(inputs[0]["shape"][1:])
    if isinstance(inputs[0]["shape"][0], int):
        raise SourceError(
            f"{source.name} was traced for a batch of exactly {inputs[0]['shape'][0]}",
            hint="export it again with dynamic_shapes={0: torch.export.Dim('batch')}",
        )
    if not all(isinstance(dim, int) for dim in width):
        raise SourceError(f"{source.name}: its input has a free dimension beside the batch: {inputs[0]['shape']}")
    return np.random.default_rng(0).uniform(0, 1, (8, *width)).astype(np.float32)
