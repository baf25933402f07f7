"""Which inputs show whether two copies of a model are the same?

At least 3,200 distinct ones per model: 2,995 agreeing inputs are what a lower bound of 0.999 at 95 % takes. Real
samples, then seeded variations as a user would send them, then probes that ask what no sample asks: zeros, single
pixels, extremes, missing values.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
ENOUGH = 3_240

HELD_OUT, TRAINED_ON, VARIATION, PROBE = "held-out", "trained-on", "variation", "probe"


@dataclass(frozen=True)
class Golden:
    """Inputs (rows, width) float32, their class where it is known (-1 where not), and where each comes from."""

    inputs: Floats
    labels: NDArray[np.int64]
    origins: tuple[str, ...]

    def save(self, path: Path) -> Path:
        """One Parquet file: `input` fixed-size list of float32, `label` nullable int, `origin` text."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        width = self.inputs.shape[1]
        table = pa.table(
            {
                "input": pa.FixedSizeListArray.from_arrays(pa.array(self.inputs.ravel()), width),
                "label": pa.array([None if label < 0 else int(label) for label in self.labels], pa.int32()),
                "origin": pa.array(self.origins),
            }
        )
        pq.write_table(table, path, compression="zstd")
        return path


def distinct(groups: Iterator[tuple[str, Floats, Any]]) -> Golden:
    """Join groups of (origin, inputs, labels or None); of equal inputs only the first stays."""
    seen: set[bytes] = set()
    inputs: list[Floats] = []
    labels: list[int] = []
    origins: list[str] = []
    for origin, rows, known in groups:
        for row, label in zip(rows, [-1] * len(rows) if known is None else known, strict=True):
            key = row.tobytes()
            if key not in seen:
                seen.add(key)
                inputs.append(row)
                labels.append(int(label))
                origins.append(origin)
    return Golden(np.stack(inputs), np.array(labels), tuple(origins))


def digit_inputs(pixels: Floats, labels: NDArray[np.int64], held_out: NDArray[np.bool_], *, seed: int) -> Golden:
    """Digits (rows, 64), values 0 to 16: every sample, shifted and noisy ones, probes."""
    draw = np.random.default_rng(seed)
    wanted = ENOUGH - len(pixels)
    chosen = draw.integers(0, len(pixels), wanted)
    return distinct(
        iter(
            [
                (HELD_OUT, pixels[held_out], labels[held_out]),
                (TRAINED_ON, pixels[~held_out], labels[~held_out]),
                (VARIATION, _shifted(pixels[chosen], draw), labels[chosen]),
                (PROBE, _pixel_probes(draw), None),
            ]
        )
    )


def tumour_inputs(cells: Floats, labels: NDArray[np.int64], held_out: NDArray[np.bool_], *, seed: int) -> Golden:
    """Measurements (rows, 30): every sample, noisy ones, ones with missing values, probes."""
    draw = np.random.default_rng(seed)
    wanted = ENOUGH - len(cells)
    chosen = draw.integers(0, len(cells), wanted)
    noisy = (cells[chosen] * draw.normal(1.0, 0.05, (wanted, cells.shape[1]))).astype(np.float32)
    missing = draw.random(noisy.shape) < 0.1
    noisy[::3][missing[::3]] = np.nan
    return distinct(
        iter(
            [
                (HELD_OUT, cells[held_out], labels[held_out]),
                (TRAINED_ON, cells[~held_out], labels[~held_out]),
                (VARIATION, noisy, labels[chosen]),
                (PROBE, _cell_probes(cells), None),
            ]
        )
    )


def _shifted(pixels: Floats, draw: np.random.Generator) -> Floats:
    """Each digit moved by at most one pixel and made noisy, as a bad scan is."""
    images = pixels.reshape(-1, 8, 8)
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    rows, columns = draw.integers(0, 3, (2, len(images)))
    moved = np.stack([image[r : r + 8, c : c + 8] for image, r, c in zip(padded, rows, columns, strict=True)])
    noisy = moved + draw.normal(0.0, 0.8, moved.shape)
    return np.clip(noisy, 0, 16).astype(np.float32).reshape(-1, 64)


def _pixel_probes(draw: np.random.Generator) -> Floats:
    checks = np.indices((8, 8)).sum(axis=0) % 2 * 16.0
    rows = [
        np.zeros(64), np.full(64, 16.0), np.full(64, 1e-3), np.full(64, 1e4), np.full(64, -16.0),
        checks.ravel(), 16 - checks.ravel(), np.linspace(0, 16, 64), np.linspace(16, 0, 64),
        *(16.0 * np.eye(64)), *draw.uniform(0, 16, (16, 64)),
    ]  # fmt: skip
    return np.array(rows, dtype=np.float32)


def _cell_probes(cells: Floats) -> Floats:
    middle = np.median(cells, axis=0)
    one_missing = np.where(np.eye(len(middle), dtype=bool), np.nan, middle)
    one_extreme = np.where(np.eye(len(middle), dtype=bool), cells.max(axis=0) * 100, middle)
    rows = [
        np.full_like(middle, np.nan), np.zeros_like(middle), middle, cells.max(axis=0), cells.min(axis=0),
        middle * 1e3, middle * 1e-3, -middle, *one_missing, *one_extreme,
    ]  # fmt: skip
    return np.array(rows, dtype=np.float32)
