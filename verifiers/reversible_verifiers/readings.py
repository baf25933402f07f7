"""As if it read its texts in which other way does the endpoint answer?

A port may compute what its graph always computed, and still be given other numbers than the vendor's model was: the
vendor's service drops case or accents where the tokenizer that travels does not, or keeps them where it does. Each
such reading is tried on the inputs that are off; one that explains all of them is named.
"""

import copy
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reversible.equivalence import ratio, runtime
from reversible.errors import BundleError
from reversible.processing import terms
from reversible.processing.asked import Asked
from reversible.processing.raw import Processing
from reversible_verifiers.golden_answers import Golden

_MOST = 16  # inputs that are tried
_TOKENIZER = "tokenizer.json"


def explain(path: Path, golden: Golden, rows: NDArray[np.int64], floor: NDArray[np.float64]) -> str:
    """The reading that explains the endpoint's answers, in words; "" where none does.

    Args:
        path: The ONNX file.
        golden: The golden set.
        rows: The inputs that are off.
        floor: Of each of them.
    """
    if not any(one.field.is_text for one in golden.asked.columns) or golden.exact or not len(rows):
        return ""
    session = runtime.session(path)
    chosen = np.unique(np.linspace(0, len(rows) - 1, min(_MOST, len(rows))).astype(int))
    for words, asked in _readings(path.parent / "processing", golden, runtime.fields(session.get_inputs())):
        if all(_explains(session, golden, asked, int(rows[one]), float(floor[one])) for one in chosen):
            return words
    return ""


def _explains(session: Any, golden: Golden, asked: Asked, row: int, floor: float) -> bool:
    try:
        answer = session.run([golden.source.output], asked.feeds(np.array([row])))[0]
    except Exception:  # noqa: BLE001 - onnxruntime's own exceptions derive from Exception alone; this reading is none
        return False
    found = golden.source.of(np.asarray(answer)).reshape(1, -1).astype(golden.outputs.dtype)
    recorded = golden.outputs[row : row + 1]
    quantum = golden.recording.quantum(recorded)
    judged = ratio.error_ratio(recorded, found.astype(np.float64), np.array([floor]), quantum=quantum)
    return bool(judged.values[0] <= ratio.LARGEST)


def _readings(folder: Path, golden: Golden, takes: Any) -> Iterator[tuple[str, Asked]]:
    columns = golden.asked.columns
    fields = [one.field for one in columns]
    for words, change in _TEXTS.items():
        changed = [
            replace(one, values=_mapped(one.values, change)) if one.field.is_text else one for one in columns
        ]  # fmt: skip
        yield (
            f"processing: the endpoint answers as if texts were {words} first",
            Asked(changed, Processing(folder, takes, fields)),
        )
    for words, name, document in _rules(folder):
        try:
            processing = Processing(folder, takes, fields, changed={name: document})
        except BundleError:  # a tokenizer that cannot be changed so: no reading
            continue
        yield f"processing/{name}: the endpoint answers as if {words}", Asked(columns, processing)


def _rules(folder: Path) -> Iterator[tuple[str, str, Any]]:
    """Each file of rules with one of them the other way round."""
    for path, rules in terms.rules_in(folder):
        yield f"lowercase were {not rules['lowercase']}", path.name, {**rules, "lowercase": not rules["lowercase"]}
        other = None if rules["strip_accents"] else "unicode"
        yield f"strip_accents were {other}", path.name, {**rules, "strip_accents": other}
    path = folder / _TOKENIZER
    if not path.is_file():
        return
    document = Processing.document(path)
    normal = document.get("normalizer")
    if isinstance(normal, Mapping):
        for name in ("lowercase", "strip_accents"):
            if name in normal:
                changed = copy.deepcopy(document)
                changed["normalizer"][name] = not normal[name]
                yield f"{name} were {not normal[name]}", _TOKENIZER, changed


def _mapped(values: NDArray[Any], change: Callable[[str], str]) -> NDArray[Any]:
    found = np.empty(len(values), dtype=np.object_)
    found[:] = [None if one is None else change(one) for one in values.tolist()]
    return found


def _without_accents(text: str) -> str:
    return "".join(one for one in unicodedata.normalize("NFD", text) if not unicodedata.combining(one))


_TEXTS: dict[str, Callable[[str], str]] = {
    "lower-cased": str.lower,
    "stripped of accents": _without_accents,
    "lower-cased and stripped of accents": lambda text: _without_accents(text.lower()),
    "composed (NFC)": lambda text: unicodedata.normalize("NFC", text),
    "composed (NFKC)": lambda text: unicodedata.normalize("NFKC", text),
    "decomposed (NFD)": lambda text: unicodedata.normalize("NFD", text),
    "stripped of outer spaces": str.strip,
}
