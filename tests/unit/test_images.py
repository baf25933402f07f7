"""Does an image become the tensor that the vendor's own code made of it?"""

import io
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reversible.errors import BundleError, MissingSDKError
from reversible.processing import images, png


def written(rows: Any, *, colour: int, depth: int = 8, kinds: Any = None, palette: bytes = b"") -> bytes:
    """A PNG file whose lines are filtered by each filter in turn; a second writing of section 9, by hand."""
    height, stride = rows.shape
    step = max(1, {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour] * depth // 8)
    body = bytearray()
    above = [0] * stride
    for number, line in enumerate(rows.tolist()):
        kind = number % 5 if kinds is None else kinds[number % len(kinds)]
        body.append(kind)
        for at, value in enumerate(line):
            left = line[at - step] if at >= step else 0
            up, corner = above[at], above[at - step] if at >= step else 0
            guess = left + up - corner
            nearest = min((abs(guess - left), 0, left), (abs(guess - up), 1, up), (abs(guess - corner), 2, corner))[2]
            body.append((value - (0, left, up, (left + up) // 2, nearest)[kind]) & 255)
        above = line
    width = stride * 8 // (depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour])
    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))]
    parts += [(b"PLTE", palette)] if palette else []
    parts += [(b"IDAT", zlib.compress(bytes(body))[:7]), (b"IDAT", zlib.compress(bytes(body))[7:]), (b"IEND", b"")]
    return png.SIGNATURE + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in parts
    )


@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([0, 2, 4, 6]), st.integers(0, 2**32 - 1))
def test_every_filter_and_colour_type_gives_back_the_pixels(height: int, width: int, colour: int, seed: int) -> None:
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, channels)).astype(np.uint8)

    found = png.decode(written(pixels.reshape(height, -1), colour=colour))

    shown = pixels[:, :, 0] if channels < 3 else pixels[:, :, :3]
    assert np.array_equal(found, shown)


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_narrow_greys_and_palettes(depth: int) -> None:
    values = np.arange(1 << depth, dtype=np.uint8)
    per_byte = 8 // depth
    line = np.resize(values, per_byte * 2)
    packed = np.array(
        [sum(int(line[at + one]) << (8 - depth * (one + 1)) for one in range(per_byte)) for at in (0, per_byte)]
    )
    colours = np.arange(3 << depth, dtype=np.uint8).reshape(-1, 3) * 5

    grey = png.decode(written(packed[None], colour=0, depth=depth))
    coloured = png.decode(written(packed[None], colour=3, depth=depth, palette=colours.tobytes()))

    assert grey.tolist() == [[int(one) * 255 // ((1 << depth) - 1) for one in line]]
    assert np.array_equal(coloured[0], colours[line])


WHOLE = written(np.arange(48, dtype=np.uint8).reshape(4, 12), colour=2)


@pytest.mark.parametrize(
    "body",
    [b"", b"\x89PNG\r\n\x1a\n", WHOLE[:-12], WHOLE[:60], WHOLE.replace(b"IDAT", b"IDAX", 1),
     WHOLE[:40] + b"\0" + WHOLE[41:], WHOLE.replace(struct.pack(">II", 4, 4), struct.pack(">II", 1 << 30, 1 << 30), 1)],
    ids=["empty", "its beginning", "no end", "cut", "another chunk", "damaged", "enormous"],
)  # fmt: skip
def test_what_is_no_whole_png_is_refused(body: bytes) -> None:
    with pytest.raises(BundleError):
        png.decode(body)


RULES = {
    "format": images.FORMAT, "mode": "RGB", "size": [4, 4], "scale": 1 / 255, "mean": [0.5, 0.4, 0.3],
    "std": [0.5, 0.2, 0.1], "layout": "NCHW",
}  # fmt: skip


def rules(folder: Path, name: str, document: Any) -> images.Rules:
    (folder / name).write_text(json.dumps(document), encoding="utf-8")
    found = images.rules_in(folder)
    assert found is not None
    return found[1]


def one(body: bytes) -> Any:
    found = np.empty(1, dtype=object)
    found[0] = body
    return found


def test_pixels_are_scaled_levelled_and_laid_out(tmp_path: Path) -> None:
    found = rules(tmp_path, "image.json", RULES).pixels(one(WHOLE))

    assert found.shape == (1, 3, 4, 4)
    assert found.dtype == np.float32
    assert found[0, 1, 2, 3] == np.float32(((2 * 12 + 3 * 3 + 1) / 255 - 0.4) / 0.2)
    flat = rules(tmp_path, "image.json", {**RULES, "layout": "flat", "mode": "L", "mean": None, "std": None})
    assert flat.pixels(one(WHOLE)).shape == (1, 16)


def test_hugging_faces_rules_mean_the_same(tmp_path: Path) -> None:
    theirs = {
        "do_resize": True, "size": {"height": 4, "width": 4}, "resample": 2, "do_rescale": True,
        "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": [0.5, 0.4, 0.3], "image_std": [0.5, 0.2, 0.1],
    }  # fmt: skip
    (tmp_path / "ours").mkdir()
    ours = rules(tmp_path / "ours", "image.json", RULES)

    found = rules(tmp_path, "preprocessor_config.json", theirs)
    assert np.array_equal(found.pixels(one(WHOLE)), ours.pixels(one(WHOLE)))


@pytest.mark.parametrize(
    ("name", "document"),
    [
        ("image.json", {**RULES, "mode": "CMYK"}), ("image.json", {**RULES, "resample": "lanczos"}),
        ("preprocessor_config.json", {"do_rescale": True, "do_resize": True, "size": {"shortest_edge": 8}}),
        ("preprocessor_config.json", {"do_rescale": True, "do_center_crop": True}),
    ],
)  # fmt: skip
def test_rules_that_are_not_known_are_refused(tmp_path: Path, name: str, document: Any) -> None:
    with pytest.raises(BundleError):
        rules(tmp_path, name, document)


def test_images_that_keep_their_sizes_are_no_batch(tmp_path: Path) -> None:
    kept = rules(tmp_path, "image.json", {**RULES, "size": None})
    both = np.empty(2, dtype=object)
    both[:] = [WHOLE, written(np.zeros((2, 6), np.uint8), colour=2)]

    with pytest.raises(BundleError, match="different sizes"):
        kept.pixels(both)


def test_without_the_extra_a_jpeg_names_it() -> None:
    try:
        import PIL  # noqa: F401
    except ModuleNotFoundError:
        with pytest.raises(MissingSDKError, match="pillow"):
            images.decoded(b"\xff\xd8\xff", "RGB")


def test_sizes_greys_and_jpegs_are_pillows_to_the_last_bit() -> None:
    image_module = pytest.importorskip("PIL.Image")
    draw = np.random.default_rng(4)
    for before, after in (((31, 47), (16, 12)), ((9, 5), (20, 33)), ((16, 16), (16, 7)), ((64, 64), (1, 1))):
        pixels = draw.integers(0, 256, (*before, 3)).astype(np.uint8)
        picture = image_module.fromarray(pixels)
        for name, number in (("bilinear", 2), ("bicubic", 3)):
            assert np.array_equal(images.resized(pixels, after, name), np.asarray(picture.resize(after[::-1], number)))
        stream = io.BytesIO()
        picture.save(stream, "PNG", optimize=True)
        assert np.array_equal(images.decoded(stream.getvalue(), "RGB"), pixels)
        assert np.array_equal(images.decoded(stream.getvalue(), "L"), np.asarray(picture.convert("L")))
        stream = io.BytesIO()
        picture.save(stream, "JPEG", quality=90)
        assert np.array_equal(images.decoded(stream.getvalue(), "RGB"), np.asarray(image_module.open(stream)))
