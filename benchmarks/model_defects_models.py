"""The originals of `model_defects`: small, with weights drawn from a seed, in their own frameworks.

Each answers a batch of inputs in float32 as a vendor's endpoint would, and leaves as ONNX by torch's two exporters or,
for scikit-learn, by our own converter.
"""

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

Feeds = dict[str, NDArray[Any]]
INPUTS = 24  # per golden set: a rung needs 20
_WORDS = 200


@dataclass
class Original:
    """One model at the vendor's.

    Attributes:
        name: Of the architecture.
        feeds: The golden set's inputs, rows first.
        answer: Feeds -> what the endpoint answers, shape (rows, outputs).
        parameters: Name -> array; empty where our exporter records none (scikit-learn).
        export: (path, dynamo) -> writes the file.
        others: More inputs, of shapes never traced.
        module: The torch module, None for scikit-learn.
        unit: Its answers are the module's times this.
    """

    name: str
    feeds: Feeds
    answer: Callable[[Feeds], NDArray[Any]]
    parameters: dict[str, NDArray[Any]]
    export: Callable[[Path, bool], None]
    others: Feeds
    module: Any = None
    unit: float = 1.0


class Cnn(nn.Module):
    """Convolutions with BatchNorm, a residual, average pooling and a bilinear resize: 10 numbers of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm1 = nn.Conv2d(3, 12, 3, padding=1), nn.BatchNorm2d(12)
        self.second, self.norm2 = nn.Conv2d(12, 12, 3, padding=1), nn.BatchNorm2d(12)
        self.third, self.norm3 = nn.Conv2d(12, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        self.head = nn.Linear(32, 10)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        one = functional.relu(self.norm1(self.first(pixels)))
        two = functional.relu(self.norm2(self.second(one)) + one)
        half = functional.avg_pool2d(two, 3, stride=2, padding=1)
        large = functional.interpolate(half, scale_factor=2.0, mode="bilinear", align_corners=False)
        three = functional.relu(self.norm3(self.third(large)))
        return self.head(torch.cat([three.amax((2, 3)), three.mean((2, 3))], dim=1))


class Recurrent(nn.Module):
    """A bidirectional LSTM and a GRU; the classes' probabilities of a sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(8, 16, bidirectional=True, batch_first=True)
        self.gru = nn.GRU(32, 12, batch_first=True)
        self.head = nn.Linear(12, 5)

    def forward(self, sequence: torch.Tensor) -> torch.Tensor:
        states, _ = self.lstm(sequence)
        _, last = self.gru(states)
        return self.head(last[-1]).softmax(-1)


class Image(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        settings = transformers.ViTConfig(
            hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96, image_size=32,
            patch_size=8, attn_implementation="eager",
        )  # fmt: skip
        self.vit, self.head = transformers.ViTModel(settings, add_pooling_layer=False), nn.Linear(48, 10)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.head(self.vit(pixel_values=pixels).last_hidden_state[:, 0])


class Text(nn.Module):
    """BERT's encoder, mean-pooled where the mask says so."""

    def __init__(self) -> None:
        super().__init__()
        settings = transformers.BertConfig(
            vocab_size=_WORDS, hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96,
            max_position_embeddings=64, attn_implementation="eager",
        )  # fmt: skip
        self.bert, self.head = transformers.BertModel(settings, add_pooling_layer=False), nn.Linear(48, 6)
        self.attends_by_mask, self.pools_by_mask = True, True

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        seen = mask if self.attends_by_mask else torch.ones_like(mask)
        states = self.bert(input_ids=ids, attention_mask=seen).last_hidden_state
        counts = (mask if self.pools_by_mask else torch.ones_like(mask)).unsqueeze(-1).to(states.dtype)
        return self.head((states * counts).sum(1) / counts.sum(1)).tanh()


class Decoder(nn.Module):
    """Llama: the next token's logits after a left-padded sequence."""

    def __init__(self) -> None:
        super().__init__()
        settings = transformers.LlamaConfig(
            vocab_size=_WORDS, hidden_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
            intermediate_size=96, max_position_embeddings=64, attn_implementation="eager", use_cache=False,
        )  # fmt: skip
        self.llama = transformers.LlamaForCausalLM(settings)
        self.attends_by_mask, self.shift = True, 0

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        places = (mask.cumsum(-1) - 1).clamp(min=0) + self.shift
        seen = mask if self.attends_by_mask else torch.ones_like(mask)
        return self.llama(input_ids=ids, attention_mask=seen, position_ids=places).logits[:, -1]


class Sound(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        settings = transformers.Wav2Vec2Config(
            hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96, conv_dim=(24, 24, 24),
            conv_kernel=(10, 3, 3), conv_stride=(5, 2, 2), num_feat_extract_layers=3, conv_bias=True,
            num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4, attn_implementation="eager",
        )  # fmt: skip
        self.sound, self.head = transformers.Wav2Vec2Model(settings), nn.Linear(48, 8)

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        return self.head(self.sound(samples).last_hidden_state.mean(1))


def _drawn(module: nn.Module, seed: int) -> nn.Module:
    """Every parameter and running statistic drawn, so that each bias and scale matters."""
    made = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in [*module.named_parameters(), *module.named_buffers()]:
            if name.endswith("running_var"):
                value.copy_(0.5 + torch.rand(value.shape, generator=made))
            elif value.is_floating_point() and "inv_freq" not in name:
                drawn = torch.randn(value.shape, generator=made)
                scale = value.ndim == 1 and name.endswith("weight")
                value.copy_(1 + 0.1 * drawn if scale else (0.1 if value.ndim == 1 else 0.15) * drawn)
    return module.eval()


def _centred(module: Any, feeds: Feeds) -> None:
    """The head's bias, so that every class is somebody's: decisions could not flip otherwise."""
    if hasattr(module, "head"):
        seen: list[torch.Tensor] = []
        hook = module.head.register_forward_hook(lambda layer, given, answer: seen.append(answer))
        with torch.no_grad():
            module(*(torch.from_numpy(one) for one in feeds.values()))
            module.head.bias -= seen[0].mean(0)
        hook.remove()


def _tokens(draw: np.random.Generator, count: int, length: int, *, left: bool) -> Feeds:
    """Ids of all words but the rare ones (190 and above), padded at one side."""
    mask = np.zeros((count, length), np.int64)
    for row in mask:
        kept = int(draw.integers(length // 2, length + 1))
        row[length - kept :] = 1 if left else row[length - kept :]
        row[:kept] = row[:kept] if left else 1
    return {"ids": draw.integers(1, _WORDS - 10, (count, length)) * mask, "mask": mask}


def _numbers(name: str, *shape: int) -> Callable[[np.random.Generator, int], Feeds]:
    return lambda draw, count: {name: draw.normal(0, 1, (count, *shape)).astype(np.float32)}


_MODULES: dict[str, tuple[type[nn.Module], Callable[..., Feeds], Callable[..., Feeds], tuple[dict[int, str], ...]]] = {
    "CNN": (Cnn, _numbers("pixels", 3, 16, 24), _numbers("pixels", 3, 24, 16), ({0: "n", 2: "h", 3: "w"},)),
    "LSTM and GRU": (Recurrent, _numbers("sequence", 12, 8), _numbers("sequence", 17, 8), ({0: "n", 1: "t"},)),
    "ViT": (Image, _numbers("pixels", 3, 32, 32), _numbers("pixels", 3, 32, 32), ({0: "n"},)),
    "BERT": (
        Text, lambda draw, count: _tokens(draw, count, 12, left=False),
        lambda draw, count: _tokens(draw, count, 19, left=False), ({0: "n", 1: "t"}, {0: "n", 1: "t"}),
    ),
    "Llama": (
        Decoder, lambda draw, count: _tokens(draw, count, 12, left=True),
        lambda draw, count: _tokens(draw, count, 19, left=True), ({0: "n", 1: "t"}, {0: "n", 1: "t"}),
    ),
    "wav2vec2": (Sound, _numbers("samples", 800), _numbers("samples", 1100), ({0: "n", 1: "t"},)),
}  # fmt: skip
TORCH = tuple(_MODULES)


def torch_original(name: str, change: Callable[[Any], None] = lambda module: None) -> Original:
    """A model of torch's or transformers'; `change` is what happens to the module before it leaves."""
    kind, golden, others, dynamic = _MODULES[name]
    seed = list(_MODULES).index(name)
    draw = np.random.default_rng(seed)
    feeds, more = golden(draw, INPUTS), others(draw, INPUTS + 5)
    module = _drawn(kind(), seed)
    _centred(module, feeds)
    change(module)

    def answer(asked: Feeds) -> NDArray[Any]:
        with torch.no_grad():
            return np.asarray(module(*(torch.from_numpy(one) for one in asked.values())).float().numpy())

    def export(path: Path, dynamo: bool) -> None:
        given = tuple(torch.from_numpy(one[:3]) for one in feeds.values())
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            logging.getLogger("torch.onnx").setLevel(logging.ERROR)
            if dynamo:
                torch.onnx.export(
                    module, given, str(path), dynamo=True, external_data=False, verbose=False,
                    input_names=list(feeds), output_names=["answer"], dynamic_shapes=dynamic,
                )  # fmt: skip
            else:
                torch.onnx.export(
                    module, given, str(path), dynamo=False, opset_version=18, input_names=list(feeds),
                    output_names=["answer"], dynamic_axes=dict(zip(feeds, dynamic, strict=True)),
                )  # fmt: skip

    kept = {key: value.numpy().copy() for key, value in module.state_dict().items() if value.is_floating_point()}
    return Original(name, feeds, answer, kept, export, more, module)


def sklearn_original(name: str) -> Original:
    """A forest behind a scaler, a gradient boosting, or French texts through TF-IDF and a logistic regression."""
    import joblib
    from sklearn.ensemble import GradientBoostingRegressor, RandomForestClassifier
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from reversible_exporters.sklearn_onnx import SklearnConverter

    draw = np.random.default_rng(40)
    table = draw.integers(-6, 7, (400, 6)) / 2  # halves: many rows lie exactly on a threshold
    target = table[:, 0] * table[:, 1] + table[:, 2]
    texts: Sequence[str] = ()
    if name == "TF-IDF":
        words = ["été", "Noël", "facture", "impayée", "Élan", "ŒUVRE", "garçon", "maïs", "le", "une", "très"]
        texts = [" ".join(draw.choice(words, 6)) for _ in range(200)]
        model = make_pipeline(TfidfVectorizer(), LogisticRegression())
        model.fit(texts, draw.integers(0, 3, 200))
    elif name == "random forest":
        model = make_pipeline(StandardScaler(), RandomForestClassifier(8, max_depth=5, random_state=0))
        model.fit(table + draw.normal(0, 0.3, table.shape), (target > 0).astype(int))
    else:
        model = GradientBoostingRegressor(n_estimators=20, max_depth=3, random_state=0)
        model.fit(table + draw.normal(0, 0.3, table.shape), target)

    def export(path: Path, dynamo: bool) -> None:
        with tempfile.TemporaryDirectory() as folder:
            joblib.dump(model, Path(folder) / "model.joblib")
            SklearnConverter().convert(Path(folder) / "model.joblib", path)  # texts: processing/ beside it

    def answer(asked: Feeds) -> NDArray[Any]:
        (values,) = asked.values()
        given = model.predict_proba(values) if hasattr(model, "predict_proba") else model.predict(values)
        return np.asarray(given, np.float64).reshape(len(values), -1)

    if texts:
        asked = {"text": np.array(texts[: INPUTS * 2], dtype=object)}
        return Original(name, asked, answer, {}, export, {"text": np.array(texts[60:100], dtype=object)})
    feeds = {"input": draw.normal(0, 2, (200, 6))}
    return Original(name, feeds, answer, {}, export, {"input": draw.normal(0, 3, (231, 6))})


SKLEARN = ("random forest", "gradient boosting", "TF-IDF")
