"""Which of the graph's outputs did the endpoint answer with, and what was done to it first?

An endpoint answers with some of them, under names of its own, and often with a label beside: the name of the class
that was decided. Hugging Face's toolkit makes probabilities of a classifier's logits, as `config.json` says it, and
answers `{"label": ..., "score": ...}`, the score being that of the label.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reversible.errors import BundleError
from reversible.golden import Column
from reversible.wire import Arrays, Field

_SCORE, _LOGITS = "score", "logits"
_CLASSIFIERS = ("ForSequenceClassification", "ForImageClassification", "ForAudioClassification")


@dataclass(frozen=True)
class Source:
    """Where a recorded number comes from.

    Attributes:
        output: The graph's output.
        activation: What is done to it: "softmax", "sigmoid", or nothing.
        decided: Of that the largest number alone: the score of the class that was decided.
    """

    output: str
    activation: str = ""
    decided: bool = False

    @property
    def plain(self) -> bool:
        """Whether the output is the recorded number as it is."""
        return not self.activation and not self.decided

    def of(self, answer: NDArray[Any]) -> NDArray[Any]:
        """The recorded number's counterpart, of the graph's answer (rows, ...), in the answer's own precision."""
        if self.activation == "softmax":
            risen = np.exp(answer - answer.max(axis=-1, keepdims=True))
            answer = risen / risen.sum(axis=-1, keepdims=True)
        elif self.activation == "sigmoid":
            with np.errstate(over="ignore"):
                answer = 1 / (1 + np.exp(-answer))
        return np.max(answer.reshape(len(answer), -1), axis=1, keepdims=True) if self.decided else answer


def label_of(graph: Sequence[Field], recorded: Sequence[Column]) -> Column | None:
    """The recorded value that names the class: a text, or the whole number that a classifier's `predict` gives.

    A whole number is one where no output of the graph gives whole numbers and one gives a number per class.
    """
    texts = [one for one in recorded if one.field.is_text]
    if texts:
        return texts[0]
    kinds = {one.name: np.dtype(one.dtype).kind for one in graph if not one.is_text}
    classes = any(kinds.get(one.name) == "f" and len(one.shape) == 2 and one.shape[1] != 1 for one in graph)
    whole = [one for one in recorded if one.values.dtype.kind in "iu" and one.values.ndim == 1]
    if not classes or "i" in kinds.values():
        return None
    return next((one for one in whole if one.field.name not in kinds), None)


def said(label: Column, names: Sequence[str]) -> tuple[str, ...]:
    """The names of the classes that were said: of a whole number the name at its place, where it is none itself."""
    plain = [str(one) for one in label.values.tolist()]
    if label.field.is_text or set(plain) <= set(names):
        return tuple(plain)
    return tuple(names[int(one)] if one.isdigit() and int(one) < len(names) else one for one in plain)


def sources(
    graph: Sequence[Field], recorded: Sequence[Column], processing: Path, first: Callable[[], Arrays] = dict
) -> dict[str, Source]:
    """For each recorded number the output that it is held against: the one of its name; else one of its shape that no
    other has, of several the one whose answer to the first input is nearest; else the first. A label has none.

    Args:
        graph: The outputs of the ONNX file, in their order.
        recorded: What was recorded at the endpoint.
        processing: The model's folder of that name.
        first: Gives the graph's answers to the first input, by name; asked only where several outputs would do.

    Raises:
        BundleError: its config.json cannot be read.
    """
    named = {one.name for one in graph}
    label = label_of(graph, recorded)
    numbers = [one for one in recorded if not one.field.is_text and one is not label]
    found = {one.field.name: Source(one.field.name) for one in numbers if one.field.name in named}
    for one in numbers:
        name = one.field.name
        if name not in found:
            taken = {source.output for source in found.values()}
            free = [other for other in graph if not other.is_text and other.name not in taken]
            fitting = [other for other in free if _fits(other, one.field)]
            if len(fitting) > 1:
                fitting = sorted(fitting, key=partial(_distance, one, first()))
            chosen = next(iter(fitting or free or [other for other in graph if not other.is_text] or graph))
            found[name] = Source(chosen.name, decided=name == _SCORE and label is not None and not fitting)
        source = found[name]
        if source.output == _LOGITS and name != _LOGITS and _are_shares(one.values):
            found[name] = Source(source.output, _activation(processing), source.decided)
    return found


def _fits(graph: Field, recorded: Field) -> bool:
    mine, theirs = graph.shape[1:], recorded.shape[1:]
    if mine == (1,) and theirs == ():
        return True
    return len(mine) == len(theirs) and all(None in (a, b) or a == b for a, b in zip(mine, theirs, strict=True))


def _distance(recorded: Column, answers: Arrays, output: Field) -> float:
    """How far an output's answer to the first input is from what was recorded; infinity where that cannot be said."""
    found, wanted = answers.get(output.name), np.asarray(recorded.values[0], dtype=np.float64).reshape(-1)
    if found is None or np.asarray(found).size != wanted.size or np.asarray(found).dtype.kind not in "fiub":
        return math.inf
    return float(np.nan_to_num(np.abs(np.asarray(found, dtype=np.float64).reshape(-1) - wanted), nan=np.inf).max())


def _are_shares(values: NDArray[Any]) -> bool:
    """Whether every number lies between 0 and 1, as logits do not."""
    return values.dtype != np.object_ and bool(np.all((values >= 0) & (values <= 1)))


def _activation(processing: Path) -> str:
    """As Hugging Face's pipelines choose it."""
    path = processing / "config.json"
    if not path.is_file():
        return ""
    try:
        config = json.loads(path.read_bytes())
        kinds = [str(one) for one in config.get("architectures") or ()]
    except (ValueError, AttributeError, TypeError) as error:
        raise BundleError(f"processing/config.json cannot be read: {error}") from error
    if not any(one.endswith(_CLASSIFIERS) for one in kinds):
        return ""
    labels = config.get("id2label")
    single = isinstance(labels, dict) and len(labels) == 1
    return "sigmoid" if single or config.get("problem_type") == "multi_label_classification" else "softmax"
