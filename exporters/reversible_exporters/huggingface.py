"""How does a Hugging Face folder (config.json with model.safetensors) become ONNX?"""

import json
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from reversible.errors import MissingSDKError, SourceError

_WEIGHTS = (
    "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json",
)  # fmt: skip


class HuggingFaceConverter:
    """Builds the architecture that config.json names from the installed transformers, and loads the weights into it.

    Weights are read as data (safetensors, or `weights_only`). A folder whose architecture is code of its own
    (`auto_map`) is refused: that code is not run here.
    """

    executes_vendor_code = False

    def sources(self, names: Sequence[str]) -> Sequence[str]:
        """See `Converter`: folders with a config.json and weights beside it."""
        held = set(names)
        folders = [PurePosixPath(name).parent for name in names if PurePosixPath(name).name == "config.json"]
        return [str(one) for one in folders if any(str(one / weights) in held for weights in _WEIGHTS)]

    def convert(self, source: Path, target: Path) -> dict[str, Any]:
        """Write `target`; see `Converter`."""
        try:
            import onnxscript  # noqa: F401 - the exporter needs it, and says so late
            import torch
            import transformers
        except ModuleNotFoundError as error:
            raise MissingSDKError(error.name or "transformers", extra="transformers") from error
        torch.set_num_threads(1)
        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
        from reversible_exporters import huggingface_model

        config = _config(source)
        _refuse_traps(source, config)
        described: dict[str, Any] = huggingface_model.convert(source, config, target)
        return described


def _config(source: Path) -> dict[str, Any]:
    try:
        config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SourceError(f"config.json cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise SourceError("config.json is not an object")
    return config


def _refuse_traps(source: Path, config: dict[str, Any]) -> None:
    """What would need the vendor's code, files outside the folder, or numbers that float32 does not hold."""
    if config.get("auto_map"):
        named = ", ".join(sorted(str(one) for one in dict(config["auto_map"]).values()))
        raise SourceError(
            f"its architecture is code of its own ({named[:200]}), which is not run here",
            hint="where that code is trusted: torch.export.save(torch.export.export(model, ...), 'model.pt2')",
        )
    quantised = config.get("quantization_config")
    if quantised:
        method = quantised.get("quant_method", "unknown") if isinstance(quantised, dict) else "unknown"
        raise SourceError(f"its weights are quantised ({method}): they are computed with by kernels that no graph has")
    for index in source.glob("*.index.json"):
        try:
            shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise SourceError(f"{index.name} names no shards: {error}") from error
        for shard in sorted(str(one) for one in shards):
            if PurePosixPath(shard).name != shard:
                raise SourceError(f"{index.name} names {shard!r}, which is not a file of the folder")
            if not (source / shard).is_file():
                raise SourceError(f"{index.name} names {shard}, and there is no such file")
