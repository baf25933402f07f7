"""Which digit is this? A small transformer that reads the eight rows of the image, in PyTorch."""

import math
from typing import TYPE_CHECKING

from reversible_samples.models import digits
from reversible_samples.models.package import Sample, Trained, one_thread

if TYPE_CHECKING:
    import torch

_WIDTH, _HEADS, _LAYERS = 32, 4, 2


def build() -> "torch.nn.Module":
    """(rows, 64) pixels 0 to 16 -> (rows, 10) probabilities."""
    import torch
    from torch import nn

    class Encoder(nn.Module):  # type: ignore[misc]  # torch is Any to the type checker
        """Pre-norm attention and feed-forward; written with plain operators so that any exporter reads it."""

        def __init__(self) -> None:
            super().__init__()
            self.before_attention, self.before_feed = nn.LayerNorm(_WIDTH), nn.LayerNorm(_WIDTH)
            self.projections = nn.Linear(_WIDTH, 3 * _WIDTH)
            self.join = nn.Linear(_WIDTH, _WIDTH)
            self.feed = nn.Sequential(nn.Linear(_WIDTH, 2 * _WIDTH), nn.GELU(), nn.Linear(2 * _WIDTH, _WIDTH))

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            split = self.projections(self.before_attention(tokens)).reshape(-1, 8, 3, _HEADS, _WIDTH // _HEADS)
            query, key, value = split.permute(2, 0, 3, 1, 4).unbind(0)
            weights = torch.softmax(query @ key.transpose(-2, -1) / math.sqrt(_WIDTH / _HEADS), dim=-1)
            mixed = (weights @ value).transpose(1, 2).reshape(-1, 8, _WIDTH)
            tokens = tokens + self.join(mixed)
            return tokens + self.feed(self.before_feed(tokens))

    class DigitsTransformer(nn.Module):  # type: ignore[misc]  # torch is Any to the type checker
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Linear(8, _WIDTH)
            self.position = nn.Parameter(torch.randn(8, _WIDTH) * 0.1)
            self.encoders = nn.Sequential(*(Encoder() for _ in range(_LAYERS)))
            self.norm = nn.LayerNorm(_WIDTH)
            self.head = nn.Linear(8 * _WIDTH, 10)

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            tokens = self.embed((pixels / 16.0).reshape(-1, 8, 8)) + self.position
            return torch.softmax(self.head(self.norm(self.encoders(tokens)).flatten(1)), dim=1)

    return DigitsTransformer()


def train(seed: int) -> Trained:
    """A few seconds on one core; the same seed gives the same weights on the same machine."""
    import torch

    with one_thread(), torch.random.fork_rng():
        torch.manual_seed(seed)
        return digits.fit(build(), seed=seed, epochs=15, rate=2e-3)


SAMPLE = Sample(
    name="digits-transformer", file="model.pt2", recipe=("digits_transformer.py", "digits.py", "golden.py"),
    title="Handwritten digits, transformer over the rows", labels=digits.LABELS, processing=digits.PROCESSING,
    packages=digits.PACKAGES, data=digits.data, train=train, golden=digits.golden,
)  # fmt: skip
