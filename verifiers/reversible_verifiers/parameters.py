"""Is every weight of the original in the file, as it was?

No answer shows a weight that no input uses. So the original's parameters, whose digests were recorded when the model
left, are looked for in the file by their bits; where one was folded into another layer, the fold is computed again.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from reversible import onnx_graph
from reversible.assets import Asset
from reversible.equivalence import epsilons, parameters, parameters_record, runtime, tensors, trees
from reversible.equivalence.parameters import Account, Fate, Traced
from reversible.equivalence.signatures import Signature
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
    missing = account.of(Fate.MISSING)
    places = [f"{one.name}, in {one.where}: {one.how}" for one in (*account.of(Fate.ALTERED), *account.of(Fate.CAST))]
    places += [f"{one.name}: it was in the file when the model left" for one in _lost(signatures, account)]
    places += [*_trees(folder), *_epsilons(folder)]
    facts = {
        "parameters": len(account.traced),
        "identical": len(account.of(Fate.IDENTICAL)) + len(account.of(Fate.TRIVIAL)),
        "folded": len(account.of(Fate.FOLDED)),
        "missing": len(missing),
    }
    values_of = {
        "model.parameters_altered": (len(places), tuple(places[:_SHOWN])),
        "model.parameters_found_pct": (
            100 * account.share(Fate.IDENTICAL, Fate.FOLDED, Fate.TRIVIAL),
            tuple(f"{one.name} ({one.size})" for one in missing[:_SHOWN]),
        ),
    }
    for metric, (value, where) in values_of.items():
        yield Finding(
            metric,
            asset.id,
            value,
            unit=UNITS[metric],
            seen="of {parameters} parameters of the original {identical} are there bit for bit, {folded} are folded "
            "into another layer, {missing} are not in the file",
            facts=facts,
            places=where,
            files=tuple(bundle.relative(folder / name) for name in ("model.onnx", f"golden/{parameters_record.JSON}")),
        )


def _lost(signatures: Sequence[Signature], account: Account) -> Iterator[Traced]:
    """What was there bit for bit, or folded, when the model left, and is nowhere now."""
    for before, now in zip(signatures, account.traced, strict=True):
        if now.fate is Fate.MISSING and before.found in (Fate.IDENTICAL, Fate.FOLDED):
            yield now


def _trees(folder: Path) -> list[str]:
    """Where the trees of the file ask something else than the original's."""
    import onnx

    recorded = trees.read(folder / "golden")
    if recorded is None:
        return []
    return trees.differences(recorded, onnx.load(str(folder / "model.onnx"), load_external_data=False))


def _epsilons(folder: Path) -> list[str]:
    """Where a normalisation of the file adds what none of the original's adds."""
    import onnx

    allowed = parameters_record.epsilons(folder / "golden")
    if allowed is None:
        return []
    model = onnx.load(str(folder / "model.onnx"), load_external_data=False)
    said = ", ".join(sorted({f"{value:g}" for value in allowed.values()})) or "none"
    foreign = epsilons.foreign(allowed, model, base_dir=str(folder))
    return [f"{place}: epsilon {value:g}, the original's: {said}" for place, value in foreign]


def _constants(path: Path) -> tuple[dict[str, NDArray[Any]] | None, str]:
    """What the file holds; or why that is not read."""
    import onnx

    graph = onnx_graph.read(path)
    if graph.escapes:
        return None, f"{path.name} is not read: it holds {', '.join(graph.escapes)}"
    try:
        model = onnx.load(str(path), load_external_data=False)
        numbers = tensors.constants(model, base_dir=str(path.parent))
        return {**numbers, **tensors.texts(model), **tensors.rules_in(path.parent / "processing")}, ""
    except (onnx.checker.ValidationError, OSError, ValueError, TypeError) as error:
        return None, f"{path.name} cannot be read whole: {runtime.first_line(error)}"
