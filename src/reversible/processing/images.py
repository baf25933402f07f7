"""How does an image become the tensor that a model takes?

By rules that travel as data: `reversible-image/1`, or Hugging Face's `preprocessor_config.json`. PNG is decoded here;
JPEG, whose pixels depend on the decoder, by Pillow (extra `[image]`), as most vendors do. Sizes are changed as Pillow
changes them, with the same fixed-point numbers.

Format `reversible-image/1`, one JSON object: `input` (of the graph; "" where it has but one), `mode` ("RGB" or "L"),
`size` ([height, width], or null: as it comes), `resample` ("bilinear", "bicubic"), `scale` (of each pixel, 1/255),
`mean` and `std` (per channel, after scaling), `layout` ("NCHW", "NHWC", or "flat": rows of numbers).
"""

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reversible.errors import BundleError, MissingSDKError
from reversible.processing import png

FORMAT = "reversible-image/1"
_HUGGING_FACE = "preprocessor_config.json"
_RESAMPLE = {2: "bilinear", 3: "bicubic"}  # Pillow's numbers
_BITS = 22  # of the fixed-point weights: 32 - 8 - 2, as in Pillow's Resample.c
_GREY = np.array([19595, 38470, 7471])  # of 65536: ITU-R 601, as in Pillow's Convert.c


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What is done to one image; see the format above."""

    input: str
    mode: str
    size: tuple[int, int] | None
    resample: str
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    layout: str

    def pixels(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Images as bytes (rows,) -> the tensor, rows first.

        Raises:
            BundleError: one is no image, or they have different sizes and the rules keep them.
        """
        made = [self._one(decoded(body, self.mode)) for body in images.tolist()]
        if len({one.shape for one in made}) > 1:
            raise BundleError("images of different sizes cannot be one batch: the rules keep each as it comes")
        return np.asarray(np.stack(made), dtype=np.float32)

    def _one(self, image: png.Pixels) -> NDArray[np.float32]:
        if self.size is not None and image.shape[:2] != self.size:
            image = resized(image, self.size, self.resample)
        wide = image.reshape(*image.shape[:2], -1).astype(np.float64) * self.scale
        level: NDArray[np.float32] = np.asarray((wide - np.array(self.mean)) / np.array(self.std), dtype=np.float32)
        if self.layout == "flat":
            return level.reshape(-1)
        return np.ascontiguousarray(level.transpose(2, 0, 1)) if self.layout == "NCHW" else level


def rules_in(folder: Path) -> tuple[Path, Rules] | None:
    """The rules of a `processing/` folder, and their file; None where there are none.

    Raises:
        BundleError: they cannot be read, or ask for what is not known here.
    """
    for path in sorted(folder.glob("*.json")):
        ours = path.name.startswith("image") or path.name == "preprocessing.json"
        document = _document(path) if ours else {}
        if document.get("format") == FORMAT:
            return path, _read(path, _ours, document)
    path = folder / _HUGGING_FACE
    document = _document(path) if path.is_file() else {}
    if "image_mean" in document or "do_rescale" in document:
        return path, _read(path, _hugging_face, document)
    return None


def decoded(body: bytes, mode: str) -> png.Pixels:
    """The pixels of one image, (height, width, 3) for RGB, (height, width) for L.

    Raises:
        BundleError: it cannot be read.
        MissingSDKError: it is no PNG, and Pillow is not installed.
    """
    if not body.startswith(png.SIGNATURE):
        return _by_pillow(body, mode)
    image = png.decode(body)
    if mode == "RGB":
        return np.repeat(image[:, :, None], 3, axis=2) if image.ndim == 2 else image
    return image if image.ndim == 2 else ((image.astype(np.int64) @ _GREY + 0x8000) >> 16).astype(np.uint8)


def resized(image: png.Pixels, size: tuple[int, int], resample: str) -> png.Pixels:
    """The image in another (height, width), with the filter widened where it shrinks, first along the lines.

    Source: Pillow, Resample.c: weights in fixed point, each pass rounded to a byte.
    """
    wide = image.reshape(*image.shape[:2], -1)
    if size[1] != wide.shape[1]:
        wide = _pass(wide.swapaxes(0, 1), size[1], resample).swapaxes(0, 1)
    if size[0] != wide.shape[0]:
        wide = _pass(wide, size[0], resample)
    return wide.reshape(*size, *image.shape[2:])


def _pass(image: NDArray[Any], size: int, resample: str) -> NDArray[Any]:
    weights = _weights(image.shape[0], size, resample)
    flat = image.reshape(image.shape[0], -1).astype(np.float64)
    total = (weights @ flat).astype(np.int64) + (1 << (_BITS - 1))  # whole numbers below 2^53: exact
    made: png.Pixels = np.clip(total >> _BITS, 0, 255).astype(np.uint8)
    return made.reshape(size, *image.shape[1:])


def _weights(before: int, after: int, resample: str) -> NDArray[np.float64]:
    filtered, support = _FILTERS[resample]
    scale = before / after
    wider = max(scale, 1.0)
    found = np.zeros((after, before))
    for place in range(after):
        centre = (place + 0.5) * scale
        first = max(int(centre - support * wider + 0.5), 0)
        end = min(int(centre + support * wider + 0.5), before)
        line = filtered((np.arange(first, end) - centre + 0.5) / wider)
        line = line / line.sum()
        found[place, first:end] = np.trunc(line * (1 << _BITS) + np.where(line < 0, -0.5, 0.5))
    return found


def _bilinear(x: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(np.maximum(1.0 - np.abs(x), 0.0))


def _bicubic(x: NDArray[Any]) -> NDArray[Any]:
    a, far = -0.5, np.abs(x)
    near = ((a + 2.0) * far - (a + 3.0)) * far * far + 1.0
    wide = (((far - 5.0) * far + 8.0) * far - 4.0) * a
    return np.where(far < 1.0, near, np.where(far < 2.0, wide, 0.0))


_FILTERS: dict[str, tuple[Callable[[NDArray[Any]], NDArray[Any]], float]] = {
    "bilinear": (_bilinear, 1.0), "bicubic": (_bicubic, 2.0),
}  # fmt: skip


def _by_pillow(body: bytes, mode: str) -> png.Pixels:
    try:
        from PIL import Image, UnidentifiedImageError
    except ModuleNotFoundError as error:
        raise MissingSDKError("pillow", extra="image") from error
    try:
        with Image.open(io.BytesIO(body), formats=("JPEG",)) as image:
            return np.asarray(image.convert(mode))
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
        raise BundleError(f"it is no image that can be read: {error}") from error


def _read(path: Path, read: Callable[[Mapping[str, Any]], Rules], document: Mapping[str, Any]) -> Rules:
    try:
        rules = read(document)
        known = rules.mode in ("RGB", "L") and rules.resample in _FILTERS and rules.layout in ("NCHW", "NHWC", "flat")
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"processing/{path.name} does not say how an image becomes a tensor: {error!r}") from error
    if not known:
        raise BundleError(f"processing/{path.name} asks for {rules.mode}, {rules.resample}, {rules.layout}: not known")
    return rules


def _ours(document: Mapping[str, Any]) -> Rules:
    size = document.get("size")
    return Rules(
        input=str(document.get("input") or ""), mode=str(document["mode"]),
        size=None if size is None else (int(size[0]), int(size[1])), resample=str(document.get("resample", "bilinear")),
        scale=float(document.get("scale", 1.0)), mean=_numbers(document.get("mean"), 0.0),
        std=_numbers(document.get("std"), 1.0), layout=str(document.get("layout", "NCHW")),
    )  # fmt: skip


def _hugging_face(document: Mapping[str, Any]) -> Rules:
    """`preprocessor_config.json`, where it says each step itself."""
    size = document.get("size")
    if document.get("do_center_crop") or document.get("do_pad") or (isinstance(size, dict) and "height" not in size):
        raise ValueError("a crop, a frame, or a size of one edge alone")
    both: Any = (size["height"], size["width"]) if isinstance(size, dict) else (size, size)
    sides = both if document["do_resize"] and size is not None else None
    normal = bool(document["do_normalize"])
    return Rules(
        input="pixel_values", mode="RGB", size=None if sides is None else (int(sides[0]), int(sides[1])),
        resample=_RESAMPLE[int(document.get("resample", 2))],
        scale=float(document.get("rescale_factor", 1 / 255)) if document["do_rescale"] else 1.0,
        mean=_numbers(document["image_mean"] if normal else None, 0.0),
        std=_numbers(document["image_std"] if normal else None, 1.0), layout="NCHW",
    )  # fmt: skip


def _numbers(given: Any, usual: float) -> tuple[float, ...]:
    if given is None:
        return (usual,)
    return tuple(float(one) for one in given) if isinstance(given, list) else (float(given),)


def _document(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_bytes())
    except ValueError as error:
        raise BundleError(f"processing/{path.name} is not JSON: {error}") from error
    return document if isinstance(document, dict) else {}
