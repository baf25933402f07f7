"""Is every weight of the original in the file, as it was?

No answer shows a weight that no input uses. So the original's parameters, whose digests were recorded when the model
left, are looked for in the file by their bits; where one was folded into another layer, the fold is computed again.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from reversible import onnx_graph
from reversible.assets import Asset
from reversible.equivalence import parameters, parameters_record, runtime, tensors
from reversible.equivalence.parameters import Fate
from reversible.findings import Finding

if TYPE_CHECKING:
    from reversible.bundle.reader import Bundle

UNITS = {"model.parameters_altered": "count", "model.parameters_found_pct": "percent"}
_SHOWN = 10


def findings(asset: Asset, bundle: "Bundle") -> Iterator[Finding]:
    """Two findings per model, without a value where the original's parameters were not recorded.

    Raises:
        BundleError: what was recorded is damaged, or the file is no ONNX file.
    """
    folder = bundle.folder(asset)
    recorded = parameters_record.read(folder / "golden")
    constants, error = _constants(folder / "model.onnx")
    if recorded is None:
        error = "the original's parameters were not recorded when the model left"
    if recorded is None or constants is None:
        for metric, unit in UNITS.items():
            yield Finding(metric, asset.id, None, unit=unit, error=error)
        return
    signatures, values = recorded
    account = parameters.account(signatures, constants, values)
    altered = (*account.of(Fate.ALTERED), *account.of(Fate.CAST))
    missing = account.of(Fate.MISSING)
    facts = {
        "parameters": len(account.traced),
        "identical": len(account.of(Fate.IDENTICAL)) + len(account.of(Fate.TRIVIAL)),
        "folded": len(account.of(Fate.FOLDED)),
        "missing": len(missing),
    }
    values_of = {
        "model.parameters_altered": (
            len(altered),
            tuple(f"{one.name}, in {one.where}: {one.how}" for one in altered[:_SHOWN]),
        ),
        "model.parameters_found_pct": (
            100 * account.share(Fate.IDENTICAL, Fate.FOLDED, Fate.TRIVIAL),
            tuple(f"{one.name} ({one.size})" for one in missing[:_SHOWN]),
        ),
    }
    for metric, (value, places) in values_of.items():
        yield Finding(
            metric,
            asset.id,
            value,
            unit=UNITS[metric],
            seen="of {parameters} parameters of the original {identical} are there bit for bit, {folded} are folded "
            "into another layer, {missing} are not in the file",
            facts=facts,
            places=places,
            files=tuple(bundle.relative(folder / name) for name in ("model.onnx", f"golden/{parameters_record.JSON}")),
        )


def _constants(path: Path) -> tuple[dict[str, NDArray[Any]] | None, str]:
    """What the file holds; or why that is not read."""
    import onnx

    graph = onnx_graph.read(path)
    if graph.escapes:
        return None, f"{path.name} is not read: it holds {', '.join(graph.escapes)}"
    try:
        return tensors.constants(onnx.load(str(path), load_external_data=False), base_dir=str(path.parent)), ""
    except (onnx.checker.ValidationError, OSError, ValueError, TypeError) as error:
        return None, f"{path.name} cannot be read whole: {runtime.first_line(error)}"
