"""What is a model asked when its owner gives no file?

Inputs that fit what it takes, drawn from a recorded seed: numbers of several sizes, zeros and extremes, every id of an
embedding, every word of a vocabulary, every category that the graph names, lengths that it was never traced with,
images. They show whether two copies of the model answer the same; they are no sample of anybody's use, and the report
says what they are.
"""

import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reversible.equivalence import runtime, sweeps
from reversible.golden import DRAWN, inputs_sha256
from reversible.processing import images, terms
from reversible.processing.text import Tokenizer
from reversible.wire import Field
from reversible_exporters import golden_probes
from reversible_exporters.golden_questions import Questions

if TYPE_CHECKING:
    import onnx

SEED = 20261127
_SCALES = (1.0, 1.0, 0.0, 30.0, 1e-3, 1.0, -1.0, 1e3)  # of the rows of a float input, in turn
_LENGTHS = (9, 1, 2, 17, 33)  # of a free dimension, in turn; each for one batch
_TOKENS = ("input_ids", "attention_mask", "token_type_ids")
_IMAGE = (32, 48)  # height and width, where the rules keep each image as it comes
_WORDS = 8  # of a text


def made(
    folder: Path, *, count: int, batch_size: int, form: str = "", probes: bool = True, seed: int = SEED
) -> Questions:
    """Inputs for the model of a folder, and probes behind them.

    Args:
        folder: Holds `model.onnx` and perhaps `processing/`.
        count: How many, probes not counted.
        batch_size: Inputs that are asked together have one size.
        form: How they are asked; "": by what they are.
        probes: Whether extremes and unusual texts stand behind them.
        seed: Of the draws.

    Raises:
        BundleError: the file cannot be read, or takes something that no request carries.
    """
    import onnx

    takes = runtime.fields(runtime.session(folder / "model.onnx").get_inputs())
    model = onnx.load(str(folder / "model.onnx"))
    draw = np.random.default_rng(seed)
    values, plan = _values(folder, model, takes, count, batch_size, draw)
    questions = Questions.of(
        values, labels=(None,) * count, origins=(DRAWN,) * count, sha256="",
        plan=f"no file was given: {plan}, by numpy's PCG64, seed {seed}", **({"form": form} if form else {}),
    )  # fmt: skip
    if probes:
        questions = golden_probes.add(_extremes(questions))
    return Questions(**{**vars(questions), "sha256": inputs_sha256(questions.columns)})


def _values(
    folder: Path, model: "onnx.ModelProto", takes: Sequence[Field], count: int, batch: int, draw: np.random.Generator
) -> tuple[dict[str, NDArray[Any]], str]:
    words = vocabulary(folder / "processing", takes)
    image = images.rules_in(folder / "processing")
    if image is not None and len(takes) == 1:
        return {"image": _objects(list(_images(image[1].size or _IMAGE, count, draw)))}, f"{count} drawn images"
    found: dict[str, NDArray[Any]] = {}
    plan = [f"{count} rows that fit what the model takes"]
    from_text = set(words)
    for column, listed in dict(words.values()).items():
        found[column] = _objects(list(_sentences(listed, count, draw)))
        plan.append(f"texts of the {len(listed)} words that it knows")
    tables = {one.input: one.rows for one in sweeps.embeddings(model) if one.input}
    categories = _categories(model)
    for one in takes:
        if one.name in from_text:
            continue
        if one.is_text:
            found[one.name] = _objects([categories[at] for at in draw.integers(0, len(categories), count)])
            plan.append(f"{one.name} of {len(categories)} categories and unknown ones")
        else:
            found[one.name] = _numbers(one, tables.get(one.name), count, batch, draw)
    for name, rows in tables.items():
        if name in found and found[name].dtype.kind in "iuO":
            plan.append(f"every one of the {rows} ids of {name} that {count} rows have room for")
    return found, "; ".join(plan)


def vocabulary(folder: Path, takes: Sequence[Field]) -> dict[str, tuple[str, list[str]]]:
    """Graph's input -> the column of texts that it is made of, and the words that its rules know."""
    found: dict[str, tuple[str, list[str]]] = {}
    names = {one.name for one in takes}
    for _, rules in terms.rules_in(folder):
        if rules["input"] in names:
            found[str(rules["input"])] = (str(rules["column"]), [str(one) for one in rules["vocabulary"]])
    tokens = [name for name in _TOKENS if name in names]
    if tokens and (folder / "tokenizer.json").is_file():
        found |= dict.fromkeys(tokens, ("text", Tokenizer(folder).words()))
    return found


def _sentences(words: Sequence[str], count: int, draw: np.random.Generator) -> Iterator[str]:
    """Every word once, as far as there is room, then drawn ones; of one to twice the usual number of words."""
    order = draw.permutation(len(words)).tolist()
    for _ in range(count):
        size = int(draw.integers(1, 2 * _WORDS))
        chosen, order = order[:size], order[size:]
        chosen += draw.integers(0, len(words), size - len(chosen)).tolist()
        text = ""
        for at in chosen:
            piece = words[at]
            text += piece[2:] if piece.startswith("##") else f" {piece}"
        yield text.strip()


def _numbers(one: Field, ids: int | None, count: int, batch: int, draw: np.random.Generator) -> NDArray[Any]:
    """Rows of one input; those of one batch have one size."""
    parts = []
    sweep = iter(draw.permutation(ids).tolist()) if ids else iter(())
    for number, first in enumerate(range(0, count, batch)):
        rows = min(batch, count - first)
        free = _LENGTHS[number % len(_LENGTHS)]
        shape = (rows, *(free if dim is None else dim for dim in one.shape[1:]))
        parts.append(_part(one, shape, ids, sweep, draw))
    if len({part.shape[1:] for part in parts}) == 1:
        return np.concatenate(parts)
    return _objects([row for part in parts for row in part])


def _part(
    one: Field, shape: tuple[int, ...], ids: int | None, sweep: Iterator[int], draw: np.random.Generator
) -> NDArray[Any]:
    if one.dtype is np.bool_:
        return draw.integers(0, 2, shape).astype(np.bool_)
    if np.issubdtype(one.dtype, np.floating):
        scales = np.resize(_SCALES, shape[0]).reshape(-1, *[1] * (len(shape) - 1))
        return np.asarray(draw.normal(0, 1, shape) * scales, dtype=one.dtype)
    if one.name == "attention_mask" and len(shape) == 2:
        kept = shape[1] - draw.integers(0, shape[1] // 2 + 1, shape[0])
        return (np.arange(shape[1])[None, :] < kept[:, None]).astype(one.dtype)
    found = draw.integers(0, ids or 2, shape)
    flat = found.reshape(-1)
    for place, value in zip(range(flat.size), sweep, strict=False):
        flat[place] = value
    return found.astype(one.dtype)


def _categories(model: "onnx.ModelProto") -> list[str]:
    """Every text that the graph holds, and some that it does not."""
    import onnx

    found = dict.fromkeys(("", "inconnu", "Œ"))
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.STRING:
            found |= dict.fromkeys(one.decode("utf-8", "replace") for one in tensor.string_data)
    for node in model.graph.node:
        for attribute in node.attribute:
            found |= dict.fromkeys(one.decode("utf-8", "replace") for one in attribute.strings)
            if attribute.HasField("t") and attribute.t.data_type == onnx.TensorProto.STRING:
                found |= dict.fromkeys(one.decode("utf-8", "replace") for one in attribute.t.string_data)
    return list(found)


def _extremes(questions: Questions) -> Questions:
    """With probes of float columns behind: zeros, large and tiny numbers, a missing one in each place."""
    numbers = [one for one in questions.columns if one.values.dtype.kind == "f"]
    if not numbers or any(one.values.dtype == np.object_ for one in questions.columns):
        return questions
    kinds: list[tuple[str, Any]] = [
        ("zeros", lambda row: row * 0), ("ones", lambda row: row * 0 + 1), ("large", lambda row: row * 0 + 1e6),
        ("tiny", lambda row: row * 0 + 1e-6), ("negative", lambda row: row * 0 - 1),
        ("missing", lambda row: row + np.nan),
    ]  # fmt: skip
    added = {one.field.name: [one.values[0]] * 0 for one in questions.columns}
    origins = []
    for kind, change in kinds:
        origins.append(f"probe: {kind}")
        for one in questions.columns:
            row = one.values[0]
            added[one.field.name].append(change(row).astype(row.dtype) if one in numbers else row)
    joined = {
        one.field.name: np.concatenate([one.values, np.stack(added[one.field.name])]) for one in questions.columns
    }
    return Questions.of(
        joined, labels=(None,) * (questions.count + len(origins)), origins=(*questions.origins, *origins),
        sha256="", form=questions.form, probes=len(origins), plan=f"{questions.plan}; then {len(origins)} probes",
    )  # fmt: skip


def _images(size: tuple[int, int], count: int, draw: np.random.Generator) -> Iterator[bytes]:
    """PNG files: noise, gradients, single colours, black and white, grey ones."""
    height, width = size
    for number in range(count):
        kind = number % 4
        if kind == 0:
            pixels = draw.integers(0, 256, (height, width, 3))
        elif kind == 1:
            ends = draw.integers(0, 256, (2, 3))
            pixels = np.linspace(ends[0], ends[1], width)[None].repeat(height, axis=0)
        elif kind == 2:
            pixels = np.broadcast_to(draw.integers(0, 256, 3), (height, width, 3))
        else:
            blocks = draw.integers(0, 256, (-(-height // 8), -(-width // 8), 1)).repeat(8, axis=0).repeat(8, axis=1)
            pixels = blocks[:height, :width]
        yield png(pixels.astype(np.uint8))


def png(pixels: NDArray[np.uint8]) -> bytes:
    """A PNG file of (height, width, 1 or 3) pixels."""
    height, width, channels = pixels.shape
    lines = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, -1)], axis=1)
    header = struct.pack(">IIBBBBB", width, height, 8, 0 if channels == 1 else 2, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes())), (b"IEND", b"")]
    chunks = [
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _objects(rows: list[Any]) -> NDArray[Any]:
    found = np.empty(len(rows), dtype=np.object_)
    for place, row in enumerate(rows):
        found[place] = row
    return found
