"""What did scikit-learn learn? Every fitted array of a pipeline, by its place in it.

Attributes that end in an underscore are what `fit` left behind. Trees are not here: `tabular_model_trees` records them
question by question.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from reversible.equivalence.tensors import text_bytes
from reversible_exporters.tabular_model_graph import Array
from reversible_exporters.tabular_model_table import MISSING

# Left behind by the training and read by no prediction.
_NOT_ASKED = frozenset(
    {
        "feature_names_in_", "n_features_in_", "n_samples_seen_", "n_iter_", "data_min_", "data_max_",
        "data_range_", "loss_curve_", "validation_scores_", "train_score_", "validation_score_", "oob_score_",
        "oob_improvement_", "explained_variance_ratio_", "singular_values_", "class_count_", "support_",
        "estimator_errors_", "vocabulary_", "stop_words_", "bin_edges_internal_", "classes_", "feature_importances_",
    }
)  # fmt: skip
_PRIVATE = ("_fit_X", "_y")  # what neighbours look among
_HOLD_OTHERS = ("steps", "transformer_list", "calibrators", "estimator", "_tfidf", "_scaler", "_preprocessor")
_DEEPEST = 12


def fitted(model: Any) -> dict[str, Array]:
    """Path -> array: "steps.scaler.mean_". Texts come as `text_bytes` makes arrays of them."""
    return {path: array for path, array in _walk(model, "", 0) if array.size and array.nbytes}


def _walk(value: Any, path: str, depth: int) -> Iterator[tuple[str, Array]]:
    if depth > _DEEPEST:
        return
    if isinstance(value, np.ndarray) and value.dtype != object:
        if value.dtype.kind in "fiub":
            yield path, value
        elif value.dtype.kind == "U":
            yield path, text_bytes(value.ravel().tolist())
    elif isinstance(value, np.ndarray) and all(isinstance(one, str | float | None) for one in value.flat):
        yield path, text_bytes(one if isinstance(one, str) else MISSING for one in value.flat)
    elif isinstance(value, list | tuple | np.ndarray):
        for number, one in enumerate(value):
            named = isinstance(one, tuple) and len(one) >= 2 and isinstance(one[0], str)
            inner, place = (one[1], one[0]) if named else (one, str(number))
            yield from _walk(inner, f"{path}.{place}" if path else place, depth + 1)
    elif type(value).__module__.startswith("sklearn.") and hasattr(value, "__dict__"):
        for name, one in vars(value).items():
            fit = name.endswith("_") and not name.startswith("_") and name not in _NOT_ASKED
            fit = (fit or name in _PRIVATE) and not (name == "var_" and hasattr(value, "scale_"))
            if fit or name in _HOLD_OTHERS:
                place = name if fit else ""
                yield from _walk(one, ".".join(part for part in (path, place) if part), depth + 1)
