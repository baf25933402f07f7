"""Which columns does a fitted pipeline take: numbers or texts, in which type, and around which values?

Read from what the steps remember of their training: categories, thresholds, means. Nothing is run.
"""

from typing import Any

import numpy as np

from reversible.errors import SourceError
from reversible_exporters.sklearn_text import is_vectorizer
from reversible_exporters.tabular_model_check import Feature
from reversible_exporters.tabular_model_graph import DOUBLE, FLOAT, TEXT, Array

_SHOWN = 400  # examples per column
Source = int | None  # the column of the input that a column still is, as it came; None once computed


def features(model: Any, name: str) -> list[Feature]:
    """The columns of the input, in their order.

    Raises:
        SourceError: the model does not say how many there are: it is not fitted.
    """
    first = first_step(model)
    if is_vectorizer(first):
        return [Feature("text", TEXT, _sentences(first))]
    width = getattr(model, "n_features_in_", None)
    if width is None:
        raise SourceError(f"{name} holds a {type(model).__name__}, which is not a fitted scikit-learn model")
    names = getattr(model, "feature_names_in_", None)
    called = [f"column_{one}" for one in range(width)] if names is None else [str(one) for one in names]
    kind = FLOAT if _remembers_float32(model) else DOUBLE
    found = [Feature(one, kind, []) for one in called]
    _visit(model, list(range(width)), found)
    for one in found:
        if one.dtype != TEXT and one.examples:
            values = np.array(one.examples, dtype=float)
            values = values[np.isfinite(values)]
            if len(values):
                width_of = float(values.max() - values.min()) or 1.0
                one.low, one.high = float(values.min()) - 0.2 * width_of, float(values.max()) + 0.2 * width_of
    return found


def first_step(model: Any) -> Any:
    """The first thing that sees the input."""
    while hasattr(model, "steps"):
        model = model.steps[0][1]
    if type(model).__name__ == "FeatureUnion":
        return first_step(model.transformer_list[0][1])
    return first_step(model.best_estimator_) if hasattr(model, "best_estimator_") else model


def steps(model: Any) -> list[Any]:
    """Every estimator inside, the model itself first."""
    found, seen, waiting = [], set(), [model]
    while waiting:
        one = waiting.pop(0)
        if id(one) in seen or not hasattr(one, "get_params"):
            continue
        seen.add(id(one))
        found.append(one)
        waiting += [inner for _, inner in getattr(one, "steps", [])]
        waiting += [inner for _, inner, _ in getattr(one, "transformers_", [])]
        waiting += [inner for _, inner in getattr(one, "transformer_list", [])]
        for held in ("best_estimator_", "estimator", "estimator_"):
            waiting.append(getattr(one, held, None))
        members = getattr(one, "estimators_", [])
        waiting += np.ravel(np.array(members, dtype=object)).tolist()[:3]
        waiting += [inner.estimator for inner in getattr(one, "calibrated_classifiers_", [])]
    return found


def _remembers_float32(model: Any) -> bool:
    """Whether it was trained on float32: linear models and imputers keep the type of their training data."""
    for one in steps(model):
        for held in ("coef_", "_fit_dtype", "coefs_", "theta_"):
            value = getattr(one, held, None)
            if held == "coefs_" and value is not None:
                value = value[0]
            kind = value if isinstance(value, np.dtype) else getattr(value, "dtype", None)
            if kind == np.float32:
                return True
    return False


def _visit(step: Any, sources: list[Source], found: list[Feature]) -> list[Source]:
    """Note what a step knows about columns that are still as they came; return what its output columns are."""
    kind = type(step).__name__
    if hasattr(step, "steps"):
        for _, inner in step.steps:
            sources = _visit(inner, sources, found)
        return sources
    if kind == "ColumnTransformer":
        kept: list[Source] = []
        for name, inner, _ in step.transformers_:
            chosen = [sources[int(one)] for one in step._transformer_to_input_indices[name]]
            if not (isinstance(inner, str) and inner == "drop"):
                kept += _visit(inner, chosen, found)
        return kept
    if kind == "FeatureUnion":
        return [one for _, inner in step.transformer_list for one in _visit(inner, sources, found)]
    if kind == "SimpleImputer":
        _note_imputer(step, sources, found)
        return sources
    if isinstance(step, str) or (kind == "FunctionTransformer" and step.func is None):
        return sources
    if is_vectorizer(step):
        _text(found[_first(sources)], _sentences(step))
    elif hasattr(step, "categories_"):
        for source, categories in zip(sources, step.categories_, strict=False):
            if source is not None:
                _note_categories(found[source], categories)
    elif hasattr(step, "mean_") and hasattr(step, "scale_") and step.mean_ is not None:
        spread = np.ones(len(step.mean_)) if step.scale_ is None else step.scale_
        _note_numbers(sources, found, np.stack([step.mean_ - 2 * spread, step.mean_, step.mean_ + 2 * spread]))
    elif hasattr(step, "data_min_"):
        _note_numbers(sources, found, np.stack([step.data_min_, step.data_max_]))
    elif getattr(step, "_preprocessor", None) is not None:
        encoder = step._preprocessor.named_transformers_["encoder"]
        _visit(encoder, [sources[one] for one in np.flatnonzero(step.is_categorical_).tolist()], found)
    else:
        _note_thresholds(step, sources, found)
    return [None] * 100_000


def _first(sources: list[Source]) -> int:
    if len(sources) != 1 or sources[0] is None:
        raise SourceError("a vectoriser is not given one column of raw texts")
    return sources[0]


def _note_categories(feature: Feature, categories: Array) -> None:
    listed = categories.tolist()
    if any(isinstance(one, str) for one in listed):
        _text(feature, [one if isinstance(one, str) else "" for one in listed])
    else:
        feature.examples += [float(one) for one in listed if one is not None][:_SHOWN]


def _text(feature: Feature, examples: list[str]) -> None:
    feature.dtype = TEXT
    feature.examples = [*(one for one in feature.examples if isinstance(one, str)), *examples][:_SHOWN]


def _note_imputer(step: Any, sources: list[Source], found: list[Feature]) -> None:
    for source, value in zip(sources, np.asarray(step.statistics_).tolist(), strict=False):
        if source is None:
            continue
        if isinstance(value, str):
            _text(found[source], [value])
        elif isinstance(value, float) and np.isfinite(value):
            found[source].examples.append(value)


def _note_numbers(sources: list[Source], found: list[Feature], values: Array) -> None:
    for source, column in zip(sources, values.T.tolist(), strict=False):
        if source is not None and found[source].dtype != TEXT:
            found[source].examples += column


def _note_thresholds(model: Any, sources: list[Source], found: list[Feature]) -> None:
    """Where trees split, when they see the input as it came."""
    for feature, threshold in _splits(model):
        source = sources[feature] if feature < len(sources) else None
        if source is not None and found[source].dtype != TEXT and len(found[source].examples) < _SHOWN:
            found[source].examples.append(threshold)


def _splits(model: Any) -> list[tuple[int, float]]:
    pairs: list[tuple[int, float]] = []
    for one in steps(model):
        tree = getattr(one, "tree_", None)
        if tree is not None:
            split = tree.children_left >= 0
            pairs += list(zip(tree.feature[split].tolist(), tree.threshold[split].tolist(), strict=True))
    for stage in getattr(model, "_predictors", [])[:20]:
        for grown in stage:
            nodes = grown.nodes[(grown.nodes["is_leaf"] == 0) & (grown.nodes["is_categorical"] == 0)]
            pairs += list(zip(nodes["feature_idx"].tolist(), nodes["num_threshold"].tolist(), strict=True))
    return pairs


def _sentences(step: Any) -> list[str]:
    """Texts of words that a vectoriser knows, by themselves and several together."""
    words = sorted(map(str, step.vocabulary_), key=lambda one: (len(one), one))
    words = words[:: max(1, len(words) // 60)]
    pairs = [" ".join(words[at : at + 4]) for at in range(0, len(words), 2)]
    return [*words, *pairs, *(one.upper() for one in pairs[:10]), *(f"{one}, l’{one} !" for one in words[:10])]
