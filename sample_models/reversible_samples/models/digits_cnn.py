"""Which digit is this? A convolutional net with batch normalisation, in PyTorch."""

from typing import TYPE_CHECKING

from reversible_samples.models import digits
from reversible_samples.models.package import Sample, Trained, one_thread

if TYPE_CHECKING:
    import torch


def build() -> "torch.nn.Module":
    """(rows, 64) pixels 0 to 16 -> (rows, 10) probabilities."""
    import torch
    from torch import nn

    class DigitsCNN(nn.Module):  # type: ignore[misc]  # torch is Any to the type checker
        def __init__(self) -> None:
            super().__init__()
            self.features = nn.Sequential(
                nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
                nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
            )  # fmt: skip
            self.head = nn.Linear(32 * 4 * 4, 10)

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            image = (pixels / 16.0).reshape(-1, 1, 8, 8)
            return torch.softmax(self.head(self.features(image).flatten(1)), dim=1)

    return DigitsCNN()


def train(seed: int) -> Trained:
    """A few seconds on one core; the same seed gives the same weights on the same machine."""
    import torch

    with one_thread(), torch.random.fork_rng():
        torch.manual_seed(seed)
        return digits.fit(build(), seed=seed, epochs=6, rate=2e-3)


SAMPLE = Sample(
    name="digits-cnn", file="model.pt2", recipe=("digits_cnn.py", "digits.py", "golden.py"),
    title="Handwritten digits, convolutional net",
    labels=digits.LABELS, processing=digits.PROCESSING, packages=digits.PACKAGES,
    data=digits.data, train=train, golden=digits.golden,
)  # fmt: skip
