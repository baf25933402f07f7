"""How does a scikit-learn pipeline (.joblib, .pkl) become ONNX that decides the same, to the last bit where it can?

Our own graphs first: scikit-learn's operations in its own order and types, trees by the leaf that each row reaches.
What they do not know is asked of skl2onnx, step by step, and every result is held against the original.
"""

import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reversible.errors import MissingSDKError, SourceError
from reversible.processing import terms
from reversible_exporters import (
    onnx_file,
    original_answers,
    sklearn_estimators,
    sklearn_parameters,
    sklearn_signature,
    sklearn_text,
    tabular_model_record,
)
from reversible_exporters import tabular_model_check as check
from reversible_exporters.probes import Feeds
from reversible_exporters.sklearn_estimators import PROBABILITIES, VALUES, Answer
from reversible_exporters.tabular_model_graph import FLOAT, TEXT, Array, Graph
from reversible_exporters.tabular_model_table import MISSING, Table

_SUFFIXES = (".joblib", ".pkl", ".pickle")
_TOLERANCE = {"float64": 1e-9, FLOAT: 2e-6}  # of the output; sums of another order stay a hundred times below


class SklearnConverter:
    """Unpickles the pipeline - that runs whatever code came with the file - and writes it operation by operation.

    The graph answers what the endpoint answers: a classifier its probabilities alone (its scores, where it has none), a
    regressor its prediction. Numbers come in as one matrix `input`; with texts among them, one input per column.
    """

    executes_vendor_code = True
    environment = "sklearn"

    def sources(self, names: Sequence[str]) -> Sequence[str]:
        """See `Converter`. Of several pickles the one that is called model or pipeline, where one is."""
        found = [name for name in names if name.endswith(_SUFFIXES)]
        called = [name for name in found if Path(name).stem in ("model", "pipeline")]
        return called if len(called) == 1 else found

    def convert(self, source: Path, target: Path) -> dict[str, Any]:
        """Write `target`, and beside it `processing/` where texts come in; see `Converter`."""
        try:
            import sklearn
        except ModuleNotFoundError as error:
            raise MissingSDKError(error.name or "scikit-learn", extra="sklearn") from error
        here = sklearn.__version__
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            model = _load(source)
        versions = {str(getattr(one.message, "original_sklearn_version", here)) for one in said} - {here}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # column names, deprecations inside the frameworks
            port = _Port(model, source.name)
            answer = port.write(target)
            checked = port.held_against(target, answer)
            exact = port.exact(answer)
            asked = exact is not None and original_answers.put(
                target, f"scikit-learn {here}", exact=exact, evaluations={}
            )
            parameters = tabular_model_record.put(target, port.graph, sklearn_parameters.fitted(model))
        classes = port.classes if answer.kind != VALUES else []
        return {
            "framework": f"scikit-learn {here}",
            "exporter": f"reversible, {port.exporter}",
            "classes": classes,
            "columns": [{"name": one.name, "dtype": one.dtype} for one in port.features],
            "missing_text": MISSING,
            "processing": [f"processing/{one['input']}.json" for one in port.graph.processing],
            "notes": [*port.notes, *(f"saved by scikit-learn {one}, opened by {here}" for one in sorted(versions))],
            "pickled_members": [source.name],
            **onnx_file.describe(target),
            "parameters": parameters,
            "answered_golden_inputs": asked,
            "self_check": checked,
        }


def _load(source: Path) -> Any:
    import joblib

    try:
        return joblib.load(source)
    except Exception as error:  # unpickling a damaged or hostile file may raise anything
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise SourceError(f"{source.name} is not a whole joblib file: {reason}") from error


def _with_none(texts: Array) -> Array:
    return np.array([None if one == MISSING else one for one in texts], dtype=object)


@dataclass
class _Port:
    """One model on its way: the graph, its columns, and how the original is asked."""

    model: Any
    name: str

    def __post_init__(self) -> None:
        self.notes: list[str] = []
        self.exporter = "exact graph"
        self.graph = Graph()
        if not hasattr(self.model, "get_params"):
            held = type(self.model).__name__
            raise SourceError(f"{self.name} holds a {held}, which is not a fitted scikit-learn model")
        self.features = sklearn_signature.features(self.model, self.name)
        self.apart = any(one.dtype == TEXT for one in self.features)

    @property
    def classes(self) -> list[str]:
        found = getattr(self.model, "classes_", [])
        return [str(one) for one in found] if not isinstance(found, list) else []

    def write(self, target: Path) -> Answer:
        """Write the file and what must happen before it."""
        table = self._inputs()
        try:
            answer = sklearn_estimators.answer(self.graph, self.model, table)
        except SourceError as error:
            raise SourceError(f"{self.name} cannot be converted to ONNX: {error.message}", hint=error.hint) from error
        if self.graph.foreign:
            self.exporter = f"exact graph, and {', '.join(self.graph.foreign)}"
        onnx_file.write(self.graph.model([(answer.kind, answer.value)], name="sklearn"), target)
        for rules in self.graph.processing:
            place = target.parent / "processing" / f"{rules['input']}.json"
            place.parent.mkdir(exist_ok=True)
            place.write_text(json.dumps(rules, ensure_ascii=False), encoding="utf-8")
        return answer

    def _inputs(self) -> Table:
        if not self.apart:
            return Table((self.graph.input("input", self.features[0].dtype, len(self.features)),))
        return Table(tuple(self.graph.input(one.name, one.dtype, 1) for one in self.features))

    def held_against(self, target: Path, answer: Answer) -> dict[str, Any]:
        """Ask both sides; see `tabular_model_check`."""
        original, tolerance = self._original(answer), _TOLERANCE[answer.value.dtype]
        columns, refused = check.asked(original, check.probes(self.features))
        decides = answer.kind != VALUES and not self._multilabel()
        if self.graph.leaps:  # votes and ranks of equals leap between two floats: not at the same two on every machine
            columns = [column[self._ordinary(columns)] for column in columns]
            decides = False
        for decided in () if self.graph.leaps else (False, True) if decides else (False,):
            pairs = check.boundaries(original, columns, decided=decided)
            columns = [np.concatenate([one, more]) for one, more in zip(columns, pairs, strict=True)]
        self._note_type(columns, original, tolerance)
        if decides:
            self._note_rule(columns, original, tolerance)
        return check.compare(
            target,
            original,
            columns,
            self.feeds,
            tolerance=tolerance,
            decides=decides,
            refused=refused,
        )

    def _ordinary(self, columns: check.Columns) -> Array:
        """Rows without numbers far outside: there all distances are equal once they are rounded."""
        numbers = [
            (column >= one.low - 10) & (column <= one.high + 10)
            for one, column in zip(self.features, columns, strict=True)
            if one.dtype != TEXT
        ]
        usual: Array = np.all(numbers, axis=0) if numbers else np.ones(len(columns[0]), bool)
        return usual

    def _multilabel(self) -> bool:
        return isinstance(getattr(self.model, "classes_", None), list) or bool(
            getattr(self.model, "multilabel_", False)
        )

    def _note_type(self, columns: check.Columns, original: check.Ask, tolerance: float) -> None:
        """Say it when the original, asked in float32, computes something else: whoever serves it must know."""
        if self.apart or any(one.dtype == FLOAT for one in self.features):
            return
        narrow, _ = check.asked(original, [column.astype(np.float32) for column in columns])
        wide = [column.astype(np.float64) for column in narrow]
        off = np.abs(np.asarray(original(narrow)) - np.asarray(original(wide))) > max(tolerance, _TOLERANCE[FLOAT])
        if off.any():
            count = f"{int(off.reshape(len(off), -1).any(axis=1).sum())} of {len(off)}"
            self.notes.append(
                f"computes in float64; asked in float32, the original answers otherwise in {count} probes"
            )

    def _note_rule(self, columns: check.Columns, original: check.Ask, tolerance: float) -> None:
        """Say it when `predict` does not name the class with the largest output."""
        said = np.asarray(self.model.predict(self._given(columns)))
        outputs = np.asarray(original(columns))
        if said.ndim > 1 or len(self.model.classes_) != max(2, outputs.shape[1]):
            return
        decided = (outputs[:, 0] > 0).astype(int) if outputs.shape[1] == 1 else outputs.argmax(axis=1)
        other = (np.asarray(self.model.classes_)[decided] != said) & ~check.undecided(outputs, tolerance)
        if other.any():
            count = f"{int(other.sum())} of {len(said)}"
            self.notes.append(f"predict names another class than the largest output in {count} probes")

    def _original(self, answer: Answer) -> check.Ask:
        method = {PROBABILITIES: "predict_proba", VALUES: "predict"}.get(answer.kind, "decision_function")
        ask = getattr(self.model, method)

        def original(columns: check.Columns) -> Array:
            said = ask(self._given(columns))
            if isinstance(said, list):  # several outputs, each yes or no: the probability of yes
                said = np.stack([one[:, 1] for one in said], axis=1)
            made: Array = np.asarray(said).reshape(len(columns[0]), -1)
            return made

        return original

    def exact(self, answer: Answer) -> Callable[[Feeds], list[Array]] | None:
        """The original in float64, given what its graph takes; None where words come in.

        Given float32 it may compute in float32, where a scaler moves numbers across the thresholds behind it: that is
        not the noise that a float64 graph may have.
        """
        if self.apart or self.graph.processing:
            return None
        original = self._original(answer)

        def ask(feeds: Feeds) -> list[Array]:
            rows = feeds["input"].astype(np.float64)
            return [np.asarray(original([rows[:, one] for one in range(rows.shape[1])]), dtype=np.float64)]

        return ask

    def _given(self, columns: check.Columns) -> Any:
        """The input as the original takes it: a list of texts, a matrix, or a data frame."""
        if sklearn_text.is_vectorizer(sklearn_signature.first_step(self.model)):
            return columns[0].tolist()
        names = getattr(self.model, "feature_names_in_", None)
        if not self.apart and names is None:
            return np.stack(columns, axis=1)
        filled = [_with_none(column) if column.dtype == object else column for column in columns]
        if names is None:
            return np.stack([column.astype(object) for column in filled], axis=1)
        try:
            import pandas as pd
        except ModuleNotFoundError as error:
            raise MissingSDKError("pandas", extra="sklearn") from error
        return pd.DataFrame(dict(zip(names, filled, strict=True)))

    def feeds(self, columns: check.Columns) -> dict[str, Array]:
        """What the graph is given for the same rows."""
        if not self.apart:
            return {"input": np.stack(columns, axis=1)}
        by_name = {one.name: column for one, column in zip(self.features, columns, strict=True)}
        fed = {
            one.name: by_name[one.name].astype(object if one.dtype == TEXT else one.dtype)[:, None]
            for one in self.features
        }
        for rules in self.graph.processing:
            texts = by_name[rules["column"]].tolist()
            fed[rules["input"]] = terms.counts(rules, texts)
        return {one: fed[one] for one in self._wanted(fed)}

    def _wanted(self, fed: dict[str, Array]) -> list[str]:
        return [one for one in fed if one in self.graph.given]
