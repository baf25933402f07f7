"""Which handwritten digits do the two nets learn from?

1,797 images of 8 x 8 pixels, values 0 to 16, in scikit-learn's own wheel (UCI "Optical Recognition of Handwritten
Digits", test part). Every third one is held out.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from reversible_samples.models.golden import Floats, Golden, digit_inputs
from reversible_samples.models.package import Trained, one_thread

if TYPE_CHECKING:
    import torch

LABELS = tuple(str(digit) for digit in range(10))
PROCESSING = {
    "input": "64 pixel values, row by row, 0 (white) to 16 (black)",
    "scaling": "value / 16, inside the model",
    "output": "one probability per digit, softmax inside the model",
}
PACKAGES = ("numpy", "scikit-learn", "torch")


def load() -> tuple[Floats, NDArray[np.int64], NDArray[np.bool_]]:
    """Pixels (1797, 64) float32, digits (1797,), and which rows are held out."""
    from sklearn.datasets import load_digits

    pixels, digits = load_digits(return_X_y=True)
    return pixels.astype(np.float32), digits.astype(np.int64), np.arange(len(digits)) % 3 == 0


def data() -> tuple[str, bytes]:
    from sklearn import __version__

    pixels, digits, _ = load()
    content = pixels.tobytes() + digits.tobytes()
    return f"scikit-learn {__version__}, sklearn.datasets.load_digits: float32 pixels then int64 labels", content


def golden(seed: int) -> Golden:
    return digit_inputs(*load(), seed=seed)


def fit(net: "torch.nn.Module", *, seed: int, epochs: int, rate: float, batch: int = 64) -> Trained:
    """Train a net (rows, 64) -> probabilities (rows, 10) with Adam on the rows that are not held out."""
    import torch

    pixels, digits, held_out = (torch.from_numpy(array) for array in load())
    known = torch.nonzero(~held_out).ravel()
    order = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(net.parameters(), lr=rate)
    with one_thread():
        net.train()
        for _ in range(epochs):
            for rows in known[torch.randperm(len(known), generator=order)].split(batch):
                optimiser.zero_grad()
                # The net ends in a softmax: its logarithm's negative log-likelihood is the cross-entropy.
                loss = torch.nn.functional.nll_loss(torch.log(net(pixels[rows]) + 1e-12), digits[rows])
                loss.backward()
                optimiser.step()
        net.eval()
        with torch.no_grad():
            right = (net(pixels[held_out]).argmax(dim=1) == digits[held_out]).double().mean().item()
    parameters = {"epochs": epochs, "learning_rate": rate, "batch_size": batch, "optimiser": "Adam"}

    def write(path: Path) -> None:
        rows = torch.export.Dim("batch", min=1, max=4096)
        example = torch.zeros(2, 64)  # a slice of the pixels would put all of them, whole, into the file
        program = torch.export.export(net, (example,), dynamic_shapes=({0: rows},))
        torch.export.save(program, str(path))

    return Trained(model=net, metrics={"accuracy": right}, parameters=parameters, write=write)
