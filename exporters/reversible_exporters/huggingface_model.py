"""Which graph is a Hugging Face model, and what does it take and give?

The original is asked as its owner asks it, never in a form patched for export: a fault of the export has nowhere to
hide.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from reversible.errors import SourceError
from reversible_exporters import huggingface_cache, huggingface_files, torch_export, torch_signature
from reversible_exporters.probes import Axis, Feeds, Input, Inputs, padded
from reversible_exporters.torch_precision import Evaluations

_BATCH = Axis.of("batch", 3)
_LENGTHS = (1, 10, 19, 100)
_SAMPLES = 4000  # of sound: a quarter of a second at 16 kHz
_IMAGE = 224


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is exported of a model.

    Attributes:
        net: Takes its inputs by place, gives a tuple of tensors.
        inputs: What it takes.
        outputs: Their names.
        counts: Which positions of the outputs mean something.
        left_out: What of the folder's model is not in the graph.
    """

    net: Any
    inputs: Inputs
    outputs: tuple[str, ...]
    counts: torch_export.Counts | None = None
    left_out: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


def convert(source: Path, config: Mapping[str, Any], target: Path) -> dict[str, Any]:
    """Write `target`, and `processing/` beside it; see `Converter`."""
    model, unused = _load(source, config)
    refused: list[str] = []
    for task in _tasks(model, source):
        net, inputs = task.net, task.inputs
        original = torch_export.Original(
            Evaluations(net, _in_order, partial(copy.deepcopy, net)), [one.name for one in inputs.inputs], task.counts
        )
        attempts = [
            torch_export.dynamo(partial(torch_export.exported, net, inputs)), torch_export.legacy(net, inputs)
        ]  # fmt: skip
        try:
            described = torch_export.first_that_holds(attempts, original, inputs, target, outputs=task.outputs)
        except SourceError as error:
            refused.append(error.message)
            continue
        return {
            **described,
            "framework": f"transformers {transformers.__version__}, torch {torch.__version__}",
            "form": "Hugging Face folder",
            "architecture": type(model).__name__,
            "weights_dtype": str(config.get("dtype") or config.get("torch_dtype") or "float32"),
            "unused_weights": unused,
            "pickled_members": sorted(path.name for path in source.glob("*.bin")),
            "left_out": [*task.left_out, *(f"a graph with a cache: {one}" for one in refused)],
            "processing": huggingface_files.copy_processing(source, config, target.parent / "processing"),
            **task.facts,
        }
    raise SourceError(f"{type(model).__name__}: {'; '.join(refused)}")


def _in_order(net: Any, arguments: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
    found: tuple[torch.Tensor, ...] = net(*arguments)
    return found


def _load(source: Path, config: Mapping[str, Any]) -> tuple[Any, list[str]]:
    """The model in float32, and the weights that it does not use.

    Raises:
        SourceError: the architecture is not known, or weights of it are missing: they would be random numbers.
    """
    named = config.get("architectures") or []
    kind = getattr(transformers, str(named[0]), None) if len(named) == 1 else None
    if kind is None or not hasattr(kind, "from_pretrained"):
        raise SourceError(
            f"config.json names the architecture {', '.join(map(str, named)) or 'of nothing'}, which transformers"
            f" {transformers.__version__} does not know"
        )
    safe = bool(list(source.glob("*.safetensors")))
    options: dict[str, Any] = {
        "local_files_only": True, "trust_remote_code": False, "dtype": torch.float32, "output_loading_info": True,
        "use_safetensors": safe, "weights_only": True,
    }  # fmt: skip
    try:
        model, info = kind.from_pretrained(str(source), **options)
        missing = sorted(info["missing_keys"])
        if missing and all("pooler" in key for key in missing):
            model, info = kind.from_pretrained(str(source), add_pooling_layer=False, **options)
            missing = sorted(info["missing_keys"])
    except Exception as error:  # a damaged or hostile file may raise anything
        raise SourceError(f"its weights cannot be loaded: {torch_export.reason(error)}") from error
    if missing:
        shown = ", ".join(str(key) for key in missing[:3])
        raise SourceError(f"{len(missing)} of its weights are missing ({shown}, ...): they would be random numbers")
    return model.eval(), sorted(str(key) for key in info["unexpected_keys"])


def _tasks(model: Any, source: Path) -> list[Task]:
    """What to export, the fullest first."""
    config = model.config
    if config.is_encoder_decoder:
        left = f"the decoder of {type(model).__name__}, and its loop"
        encoder = model.get_encoder()
        return [_of_input(encoder, model.main_input_name, config, source, left_out=(left,))]
    if model.can_generate() and model.main_input_name == "input_ids":
        return [_with_cache(model), _of_text(model, config, source, causal=True)]
    return [_of_input(model, model.main_input_name, config, source)]


def _of_input(model: Any, name: str, config: Any, source: Path, left_out: tuple[str, ...] = ()) -> Task:
    taken = set(torch_signature.names_of(model))
    if name == "input_ids" and "pixel_values" not in taken and "input_features" not in taken:
        return _of_text(model, config, source, left_out=left_out)
    shape: tuple[int, ...]
    if name == "pixel_values" and "input_ids" not in taken:
        side = getattr(config, "image_size", _IMAGE)
        height, width = side if isinstance(side, list | tuple) else (side, side)
        shape = (3, int(getattr(config, "num_channels", 3)), int(height), int(width))
    elif name == "input_values":
        shape = (3, _SAMPLES)
    elif name == "input_features" and hasattr(config, "num_mel_bins") and hasattr(config, "max_source_positions"):
        shape = (3, int(config.num_mel_bins), 2 * int(config.max_source_positions))
    else:
        raise SourceError(f"{type(model).__name__} takes {name}, among {', '.join(sorted(taken))}: it is not handled")
    net = Asked(model, (name,))
    example = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    inputs = torch_signature.inputs([name], [example], [1], lambda arguments: net(*arguments))
    return Task(net=net, inputs=inputs, outputs=net.outputs([example]), left_out=left_out)


def _of_text(model: Any, config: Any, source: Path, *, left_out: tuple[str, ...] = (), causal: bool = False) -> Task:
    taken = torch_signature.names_of(model)
    types = int(getattr(config, "type_vocab_size", 0) or 0)
    most = getattr(config, "max_position_embeddings", None)
    if most is not None and getattr(config, "model_type", "") in (
        "roberta",
        "xlm-roberta",
        "camembert",
        "mpnet",
        "longformer",
    ):
        most -= (config.pad_token_id or 0) + 1  # their positions begin behind the padding's
    inputs = [
        Input(name="input_ids", dtype="int64", shape=("batch", "length"), below=int(config.vocab_size)),
        Input(name="attention_mask", dtype="int64", shape=("batch", "length"), padding=True),
    ]
    if "token_type_ids" in taken and types > 1:
        inputs.append(Input(name="token_type_ids", dtype="int64", shape=("batch", "length"), below=types))
    length = Axis(name="length", traced=9, others=tuple(one for one in _LENGTHS if most is None or one <= most))
    pooling, unhandled = (None, ()) if causal else huggingface_files.pooling(source)
    net = Asked(model, tuple(one.name for one in inputs), pooling)
    given = Inputs(inputs=tuple(inputs), axes=(_BATCH, length))
    example = torch_export.tensors(given.traced().feeds, [one.name for one in inputs])
    return Task(
        net=net, inputs=given, outputs=net.outputs(example), counts=_masked, left_out=(*left_out, *unhandled),
        facts={"pooling": pooling and pooling.words},
    )  # fmt: skip


def _with_cache(model: Any) -> Task:
    """A decoder: each layer's keys and values of the past come in, and go out with the new ones behind."""
    net = huggingface_cache.Cached(model)
    length = Axis(name="length", traced=7, others=(1, 8, 15))
    past = Axis(name="past", traced=5, others=(0, 6, 11))
    both = "past + length"
    inputs = [
        Input(name="input_ids", dtype="int64", shape=("batch", "length"), below=int(model.config.vocab_size)),
        Input(
            name="attention_mask", dtype="int64", shape=("batch", both),
            draw=lambda draw, shape, _sizes: padded(draw, shape, left=True),
        ),
    ]  # fmt: skip
    inputs += [
        Input(name=name, dtype="float32", shape=("batch", heads, "past", width), draw=_normal)
        for name, heads, width in net.past()
    ]
    given = Inputs(
        inputs=tuple(inputs), axes=(_BATCH, length, past),
        derived={both: lambda sizes: sizes["past"] + sizes["length"]},
    )  # fmt: skip
    return Task(
        net=net, inputs=given, outputs=net.outputs(), counts=_cached, facts={"cache": {"inputs": len(inputs) - 2}}
    )


class Asked(torch.nn.Module):
    """A model asked by name, its tensors taken in order; a sentence's vector last, where the folder describes one."""

    def __init__(self, model: Any, names: tuple[str, ...], pooling: "huggingface_files.Pooling | None" = None) -> None:
        super().__init__()
        self.model, self._names, self._pooling = model, names, pooling

    def forward(self, *arguments: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(self._answers(arguments).values())

    def outputs(self, arguments: Sequence[torch.Tensor]) -> tuple[str, ...]:
        """The names of what it gives."""
        with torch.no_grad():
            return tuple(self._answers(arguments))

    def _answers(self, arguments: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
        given = dict(zip(self._names, arguments, strict=True))
        options = {"use_cache": False} if getattr(self.model.config, "use_cache", False) and self._generates else {}
        answer = self.model(**given, **options, return_dict=True)
        found = {name: value for name, value in answer.items() if isinstance(value, torch.Tensor)}
        if self._pooling is not None:
            found["sentence_embedding"] = self._pooling(found["last_hidden_state"], given["attention_mask"])
        return found

    @property
    def _generates(self) -> bool:
        return "use_cache" in torch_signature.names_of(self.model)


def _masked(feeds: Feeds, output: int, shape: Sequence[int]) -> NDArray[np.bool_] | None:
    """Of an answer per token, padding means nothing."""
    mask = feeds["attention_mask"] != 0
    if tuple(shape[:2]) != mask.shape or len(shape) < 3:
        return None
    return np.broadcast_to(mask.reshape(*mask.shape, *[1] * (len(shape) - 2)), tuple(shape))


def _cached(feeds: Feeds, output: int, shape: Sequence[int]) -> NDArray[np.bool_] | None:
    """Of logits (batch, length, words) and of keys and values (batch, heads, past + length, width)."""
    mask = feeds["attention_mask"] != 0
    if output == 0:
        return np.broadcast_to(mask[:, -shape[1] :, None], tuple(shape))
    return np.broadcast_to(mask[:, None, :, None], tuple(shape))


def _normal(draw: np.random.Generator, shape: tuple[int, ...], _sizes: Mapping[str, int]) -> NDArray[Any]:
    return draw.normal(0, 1, shape).astype(np.float32)
