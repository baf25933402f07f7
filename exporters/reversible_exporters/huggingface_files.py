"""What lies in a Hugging Face folder beside the weights: tokenizer, preprocessing, labels, pooling."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from reversible.errors import SourceError

_PROCESSING = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.txt",
    "vocab.json", "merges.txt", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model", "chat_template.jinja",
    "preprocessor_config.json", "processor_config.json", "feature_extractor_config.json", "generation_config.json",
    "sentence_bert_config.json", "modules.json", "config_sentence_transformers.json", "config.json",
)  # fmt: skip
_LARGEST = 1 << 28  # bytes of one such file


def copy_processing(source: Path, config: Mapping[str, Any], into: Path) -> list[str]:
    """Copy what turns raw input into tensors and answers into names, as it is; labels as `labels.json`."""
    into.mkdir(parents=True, exist_ok=True)
    found = []
    for name in _PROCESSING:
        path = source / name
        if path.is_file() and not path.is_symlink() and path.stat().st_size <= _LARGEST:
            shutil.copyfile(path, into / name)
            found.append(f"processing/{name}")
    labels = config.get("id2label")
    if isinstance(labels, dict) and labels:
        (into / "labels.json").write_text(json.dumps(labels, ensure_ascii=False, indent=1), encoding="utf-8")
        found.append("processing/labels.json")
    return found


@dataclass(frozen=True, kw_only=True)
class Pooling:
    """How sentence-transformers makes one vector of a sentence: its tokens' mean or the first, of length 1 or not."""

    mean: bool
    normalised: bool

    @property
    def words(self) -> str:
        return f"{'mean of the tokens' if self.mean else 'first token'}{', of length 1' if self.normalised else ''}"

    def __call__(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(batch, length, width), (batch, length) -> (batch, width)."""
        if self.mean:
            counts = mask.unsqueeze(-1).to(tokens.dtype)
            vector = (tokens * counts).sum(1) / counts.sum(1).clamp(min=1e-9)
        else:
            vector = tokens[:, 0]
        return torch.nn.functional.normalize(vector, p=2, dim=1) if self.normalised else vector


def pooling(source: Path) -> tuple[Pooling | None, tuple[str, ...]]:
    """What `modules.json` of sentence-transformers says is done to the tokens, and what of it is not handled."""
    if not (source / "modules.json").is_file():
        return None, ()
    steps = [
        (str(one.get("type", "")).rsplit(".", 1)[-1], str(one.get("path", "")))
        for one in _read(source / "modules.json")
    ]
    names = [kind for kind, _ in steps]
    if names[:1] != ["Transformer"] or names[1:] not in (["Pooling"], ["Pooling", "Normalize"]):
        return None, (f"the steps {', '.join(names[1:])} of modules.json",)
    place = steps[1][1]
    if ".." in place.split("/") or place.startswith("/"):
        raise SourceError(f"modules.json points out of the folder: {place!r}")
    modes = _read(source / place / "config.json")
    chosen = sorted(name for name, value in modes.items() if name.startswith("pooling_mode_") and value is True)
    if chosen not in (["pooling_mode_mean_tokens"], ["pooling_mode_cls_token"]):
        return None, (f"the pooling {', '.join(chosen) or 'of no mode'}",)
    return Pooling(mean=chosen == ["pooling_mode_mean_tokens"], normalised="Normalize" in names), ()


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SourceError(f"{path.name} cannot be read: {error}") from error
