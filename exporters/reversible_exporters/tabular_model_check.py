"""Does the graph answer what the original answers, where a table of random numbers would not look?

Beside the original, in the same process: drawn rows, every category, unknown ones, missing and extreme values, and
pairs of neighbouring floats found by bisection, between which the original changes its mind: the graph must change its
mind between the same two.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reversible.equivalence.runtime import first_line
from reversible.errors import SourceError
from reversible_exporters import onnx_file
from reversible_exporters.tabular_model_graph import FLOAT, TEXT, Array

_DRAWN, _PAIRS, _SEED = 160, 48, 20261126
_TEXTS = (
    "", " ", "é", "e\u0301", "Ça été très bien, à refaire !", "COEUR cœur Œuvre ŒUVRE", "l’été d'hiver", "🙂🙂 génial",
    "naïve\u00a0façade — 42 ans", "ſtraße STRASSE ẞ İı", "\ufb01n\u2009du\tmonde\r\n\r\nfin", "a" * 5000,
    "日本語 テスト", "très bon produit " * 200, "À bientôt, Zoé", "\u200bzéro\u00adlargeur",
)  # fmt: skip


@dataclass
class Feature:
    """One column that the original is asked with.

    `examples` are values that matter: categories, and thresholds; `low` and `high` where numbers usually lie.
    """

    name: str
    dtype: str
    examples: list[Any]
    low: float = -3.0
    high: float = 3.0


Columns = list[Array]
Ask = Callable[[Columns], Array]


def probes(features: Sequence[Feature], texts: Sequence[str] = ()) -> Columns:
    """One array per feature, all of one length."""
    draw = np.random.default_rng(_SEED)
    rows = [_drawn(feature, draw, _DRAWN) for feature in features]
    special: list[list[Any]] = [[] for _ in features]
    for number, feature in enumerate(features):
        for value in _special(feature, texts, draw):
            for other, column in enumerate(rows):
                special[other].append(value if other == number else column[int(draw.integers(_DRAWN))])
    for kind in (np.nan, 0.0, -0.0, 1e-30, -1e30, 1e30, np.inf):
        for number, feature in enumerate(features):
            special[number].append("" if feature.dtype == TEXT else kind)
    return [
        np.array([*column, *more], dtype=object if feature.dtype == TEXT else feature.dtype)
        for feature, column, more in zip(features, rows, special, strict=True)
    ]


def _drawn(feature: Feature, draw: np.random.Generator, count: int) -> list[Any]:
    if feature.dtype == TEXT:
        return [
            feature.examples[int(draw.integers(len(feature.examples)))] if feature.examples else ""
            for _ in range(count)
        ]
    values = draw.uniform(feature.low, feature.high, count)
    if feature.examples:
        values = np.where(draw.random(count) < 0.5, draw.choice(np.array(feature.examples, dtype=float), count), values)
    drawn: list[Any] = values.astype(feature.dtype).tolist()
    return drawn


def _special(feature: Feature, texts: Sequence[str], draw: np.random.Generator) -> list[Any]:
    listed = list(dict.fromkeys(feature.examples))
    if len(listed) > 200:
        listed = [listed[int(one)] for one in draw.choice(len(listed), 200, replace=False)]
    if feature.dtype == TEXT:
        words = [one for one in listed if isinstance(one, str)]
        return [
            *words,
            "never seen",
            *_TEXTS,
            *texts,
            *(word.upper() for word in words[:5]),
            *(f"{word} " for word in words[:5]),
        ]
    kind = np.dtype(feature.dtype).type
    with np.errstate(over="ignore"):
        near = [kind(one) for one in listed]
        return [
            *near, *(np.nextafter(one, kind(end)) for one in near for end in (np.inf, -np.inf)),
            np.nan, 0.0, -1.0, 1.5, -0.5, 255.0, 256.0, 1e9, -1e9, np.inf, -np.inf,
        ]  # fmt: skip


def asked(original: Ask, columns: Columns) -> tuple[Columns, int]:
    """The rows that the original answers, and how many it refuses.

    Raises:
        SourceError: it refuses them all; the message says how.
    """
    kept, reason = _answered(original, columns, np.arange(len(columns[0])))
    if not len(kept):
        raise SourceError(f"the original refuses every input that was tried: {reason}")
    return [column[kept] for column in columns], len(columns[0]) - len(kept)


def _answered(original: Ask, columns: Columns, rows: Array) -> tuple[Array, str]:
    """Those of `rows` that the original answers, found by halves, and the last reason why it refused one."""
    try:
        original([column[rows] for column in columns])
    except Exception as error:  # noqa: BLE001 - whatever the original raises is its refusal: it is counted
        if len(rows) == 1:
            return rows[:0], first_line(error)
    else:
        return rows, ""
    middle = len(rows) // 2
    first, second = (_answered(original, columns, half) for half in (rows[:middle], rows[middle:]))
    return np.concatenate([first[0], second[0]]), second[1] or first[1]


def boundaries(original: Ask, columns: Columns, *, decided: bool) -> Columns:
    """Pairs of rows that differ by one unit in the last place of one number, and that the original tells apart.

    Bisection between two rows that differ in one number, over the ordered bits of the float; `decided`: until the
    decision changes, else until any output does.
    """
    numeric = [number for number, column in enumerate(columns) if column.dtype.kind == "f"]
    if not numeric:
        return [column[:0] for column in columns]
    draw = np.random.default_rng(_SEED + decided)
    usable = np.flatnonzero(np.all([np.abs(columns[one]) < 1e9 for one in numeric], axis=0))
    if not len(usable):
        return [column[:0] for column in columns]
    first, second = draw.choice(usable, 4 * _PAIRS), draw.choice(usable, 4 * _PAIRS)
    which = draw.choice(numeric, 4 * _PAIRS)
    low = np.array([_bits(columns[one][row]) for one, row in zip(which, first, strict=True)])
    high = np.array([_bits(columns[one][row]) for one, row in zip(which, second, strict=True)])

    def rows_at(place: Array, chosen: Array) -> Columns:
        made = [column[first[chosen]].copy() for column in columns]
        for at, one in enumerate(chosen):
            made[which[one]][at] = _float(int(place[one]), columns[which[one]].dtype)
        return made

    def said(place: Array, chosen: Array) -> Array:
        answers = _matrix(original(rows_at(place, chosen)))
        return answers.argmax(axis=1)[:, None] if decided else answers

    everything = np.arange(4 * _PAIRS)
    begins = said(low, everything)
    chosen = everything[(begins != said(high, everything)).any(axis=1)][:_PAIRS]
    try:
        said((low >> 1) + (high >> 1), chosen)
    except Exception:  # noqa: BLE001 - it takes only numbers that it knows: nothing lies between two of them
        return [column[:0] for column in columns]
    begins = begins[chosen]
    while len(chosen):
        middle = (low >> 1) + (high >> 1) + (low & high & 1)  # their mean, rounded down, without overflow
        open_ones = (middle != low) & (middle != high)
        if not open_ones[chosen].any():
            break
        same = (said(middle, chosen) == begins).all(axis=1)
        low[chosen] = np.where(same, middle[chosen], low[chosen])
        high[chosen] = np.where(same, high[chosen], middle[chosen])
    return [
        np.concatenate([one, other]) for one, other in zip(rows_at(low, chosen), rows_at(high, chosen), strict=True)
    ]


def _bits(value: Any) -> int:
    """The place of a float among all floats of its type, in their order."""
    signed = np.int32 if value.dtype == np.float32 else np.int64
    place = int(np.asarray(value).view(signed))
    return place if place >= 0 else int(np.iinfo(signed).min) - place


def _float(place: int, kind: Any) -> Any:
    signed = np.int32 if kind == np.float32 else np.int64
    return np.array(place if place >= 0 else int(np.iinfo(signed).min) - place, dtype=signed).view(kind)


def compare(
    target: Path,
    original: Ask,
    columns: Columns,
    feeds: Callable[[Columns], Mapping[str, Array]],
    *,
    tolerance: float,
    decides: bool,
    refused: int = 0,
) -> dict[str, Any]:
    """Ask the file what the original was asked: one by one, in threes, all at once.

    Args:
        target: The ONNX file; its first output is the answer.
        original: Columns to answers, in the original framework.
        columns: Rows that the original answers.
        feeds: Columns to the inputs of the graph.
        tolerance: Allowed difference, relative to the larger of 1 and the original's output.
        decides: Whether the largest output is a decision.
        refused: How many probes the original refused.

    Returns:
        What was compared, and how far the answers are apart.

    Raises:
        SourceError: the file is not valid, does not load, or answers something else; the message counts the rows.
    """
    session = onnx_file.opened(target)
    expected = _matrix(original(columns))
    count, worst = len(columns[0]), 0.0
    for size in (count, 3, 1):
        rows = np.arange(count if size == count else min(count, 24))
        try:
            parts = [
                session.run(None, dict(feeds([column[rows[at : at + size]] for column in columns])))[0]
                for at in range(0, len(rows), size)
            ]
        except Exception as error:  # onnxruntime's own exceptions derive from Exception alone
            raise SourceError(f"the converted model refuses a batch of {size}: {first_line(error)}") from error
        answers = np.concatenate([_matrix(part) for part in parts])
        off, largest = _off(answers, expected[rows], tolerance)
        if off.any():
            raise SourceError(
                f"the converted model answers otherwise in {int(off.sum())} of {len(rows)} rows, off by {largest:.3g}"
            )
        if decides and (flips := _flips(answers, expected[rows], tolerance)):
            raise SourceError(f"the converted model decides otherwise in {flips} of {len(rows)} rows")
        worst = max(worst, largest)
    return {
        "inputs": count, "batch_sizes": [1, 3, count], "max_abs_diff": worst, "tolerance": tolerance, "rows_off": 0,
        "decided_by_less_than_the_tolerance": int(undecided(expected, tolerance).sum()) if decides else 0,
        "refused_by_the_original": refused,
    }  # fmt: skip


def _off(answers: Array, expected: Array, tolerance: float) -> tuple[Array, float]:
    if answers.shape != expected.shape:
        raise SourceError(f"the converted model answers {answers.shape}, the original {expected.shape}")
    with np.errstate(invalid="ignore"):
        difference = np.abs(answers - expected)
    same = (answers == expected) | (np.isnan(answers) & np.isnan(expected))
    difference = np.where(same, 0.0, np.where(np.isfinite(difference), difference, np.inf))
    scale = np.maximum(1.0, np.nan_to_num(np.abs(expected), nan=1.0, posinf=1.0))
    off: Array = (difference > tolerance * scale).any(axis=1)
    return off, float(difference.max(initial=0.0))


def _flips(answers: Array, expected: Array, tolerance: float) -> int:
    """How many rows decide otherwise; a tie of the original within the tolerance is no decision."""
    clear = ~undecided(expected, tolerance)
    if expected.shape[1] == 1:
        return int(((answers > 0) != (expected > 0))[clear].sum())
    return int((answers.argmax(axis=1) != expected.argmax(axis=1))[clear].sum())


def undecided(expected: Array, tolerance: float) -> Array:
    """Which rows the original decides by less than the tolerance."""
    if expected.shape[1] == 1:
        tied: Array = np.abs(expected[:, 0]) <= tolerance
        return tied
    ordered = np.sort(expected, axis=1)
    near: Array = ordered[:, -1] - ordered[:, -2] <= 2 * tolerance * np.maximum(1.0, np.abs(ordered[:, -1]))
    return near


def _matrix(answer: Any) -> Array:
    value = np.asarray(answer)
    if value.dtype.kind not in "fiub":
        raise SourceError(f"an answer is no table of numbers: {value.dtype}")
    return value.reshape(len(value), -1).astype(np.float64)


__all__ = ["FLOAT", "Ask", "Columns", "Feature", "asked", "boundaries", "compare", "probes"]
