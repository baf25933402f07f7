"""What do scikit-learn's classifiers and regressors answer, in its own order of operations?"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from reversible_exporters import sklearn_foreign, sklearn_neighbours, sklearn_trees
from reversible_exporters.sklearn_preprocessing import transform
from reversible_exporters.tabular_model_graph import DOUBLE, FLOAT, INT, Array, Graph, Tensor
from reversible_exporters.tabular_model_table import Table, UnknownStepError

PROBABILITIES, SCORES, VALUES = "probabilities", "scores", "values"


@dataclass(frozen=True)
class Answer:
    """What a model says: PROBABILITIES per class, SCORES of a classifier without them, or VALUES of a regressor."""

    kind: str
    value: Tensor


def answer(graph: Graph, model: Any, table: Table) -> Answer:
    """What `predict_proba`, or `decision_function`, or `predict` of a model says.

    Raises:
        UnknownStepError: the class is not one of those whose operations are known.
    """
    name = type(model).__name__
    if not type(model).__module__.startswith("sklearn."):
        raise UnknownStepError(f"no exact graph is known for {type(model).__module__}.{name}")
    if name not in _MODELS:
        return _foreign(graph, model, table)
    return _MODELS[name](graph, model, table)


def _foreign(graph: Graph, model: Any, table: Table) -> Answer:
    found = sklearn_foreign.outputs(graph, model, table)
    if not hasattr(model, "classes_"):
        if len(found) != 1:
            raise UnknownStepError(f"skl2onnx gives {type(model).__name__} several outputs")
        return Answer(VALUES, next(iter(found.values())))
    if "probabilities" not in found:
        raise UnknownStepError(f"skl2onnx gives {type(model).__name__} no probabilities")
    return Answer(PROBABILITIES if hasattr(model, "predict_proba") else SCORES, found["probabilities"])


def _pipeline(graph: Graph, model: Any, table: Table) -> Answer:
    for _, step in model.steps[:-1]:
        table = transform(graph, step, table)
    return answer(graph, model.steps[-1][1], table)


def sigmoid(graph: Graph, value: Tensor) -> Tensor:
    """1 / (1 + exp(-x)), in the type of x."""
    risen = graph.apply("Add", graph.one("Exp", graph.one("Neg", value)), 1.0)
    return graph.apply("Div", graph.constant(np.ones((1, 1), value.dtype)), risen)


def _linear(graph: Graph, model: Any, table: Table) -> Tensor:
    """X @ coef.T + intercept, (rows, outputs)."""
    coefficients = np.atleast_2d(np.asarray(model.coef_))
    value = graph.matmul(table.numbers(graph), np.ascontiguousarray(coefficients.T))
    return graph.apply("Add", value, np.atleast_2d(np.asarray(model.intercept_)))


def _linear_scores(graph: Graph, model: Any, table: Table) -> Answer:
    return Answer(SCORES, _linear(graph, model, table))


def _linear_values(graph: Graph, model: Any, table: Table) -> Answer:
    return Answer(VALUES, _linear(graph, model, table))


def _exp_values(graph: Graph, model: Any, table: Table) -> Answer:
    value = _linear(graph, model, table)
    link = type(model._base_loss.link).__name__
    if link not in ("LogLink", "IdentityLink"):
        raise UnknownStepError(f"{type(model).__name__} with a {link}")
    return Answer(VALUES, graph.one("Exp", value) if link == "LogLink" else value)


def _logistic(graph: Graph, model: Any, table: Table) -> Answer:
    decision = _linear(graph, model, table)
    if decision.width == 1:
        return Answer(PROBABILITIES, graph.two(sigmoid(graph, decision)))
    if len(model.classes_) == 2:
        raise UnknownStepError("LogisticRegression of two classes with two columns")
    return Answer(PROBABILITIES, graph.softmax(decision))


def _sgd(graph: Graph, model: Any, table: Table) -> Answer:
    decision = _linear(graph, model, table)
    if model.loss != "log_loss":
        return Answer(SCORES, decision)
    if decision.width == 1:
        return Answer(PROBABILITIES, graph.two(sigmoid(graph, decision)))
    return Answer(PROBABILITIES, _normalised(graph, sigmoid(graph, decision)))


def _normalised(graph: Graph, value: Tensor) -> Tensor:
    """Each row divided by its sum; one part each where the sum is 0."""
    summed = graph.sum(value)
    nothing = graph.apply("Equal", summed, 0.0)
    share = graph.apply("Div", value, graph.where(nothing, np.ones((1, 1), value.dtype), summed))
    return graph.where(nothing, np.full((1, 1), 1 / value.width, value.dtype), share)


def _forest(graph: Graph, model: Any, table: Table) -> Answer:
    if not hasattr(model, "classes_"):
        return Answer(VALUES, sklearn_trees.forest(graph, model, table))
    if model.n_outputs_ > 1:
        parts = [sklearn_trees.forest(graph, model, table, output=one) for one in range(model.n_outputs_)]
        if any(part.width != 2 for part in parts):
            raise UnknownStepError("a classifier of several outputs that are not all yes or no")
        return Answer(PROBABILITIES, graph.concat([graph.columns(part, [1]) for part in parts]))
    return Answer(PROBABILITIES, sklearn_trees.forest(graph, model, table))


def _boosting(graph: Graph, model: Any, table: Table) -> Answer:
    name = type(model).__name__
    raw = (sklearn_trees.histogram_boosting if name.startswith("Hist") else sklearn_trees.gradient_boosting)(
        graph, model, table
    )
    link = type(model._loss.link).__name__
    if hasattr(model, "classes_"):
        if link == "MultinomialLogit":
            return Answer(PROBABILITIES, graph.softmax(raw))
        if link == "HalfLogitLink":
            raw = graph.apply("Mul", raw, 2.0)
        elif link != "LogitLink":
            raise UnknownStepError(f"{name} with a {link}")
        return Answer(PROBABILITIES, graph.two(sigmoid(graph, raw)))
    if link not in ("IdentityLink", "LogLink"):
        raise UnknownStepError(f"{name} with a {link}")
    return Answer(VALUES, graph.one("Exp", raw) if link == "LogLink" else raw)


def _ada_classifier(graph: Graph, model: Any, table: Table) -> Answer:
    decision = sklearn_trees.ada_boost_decision(graph, model, table)
    if model.n_classes_ == 2:
        both = graph.concat([graph.one("Neg", decision), decision])
        return Answer(PROBABILITIES, graph.softmax(graph.apply("Div", both, 2.0)))
    return Answer(PROBABILITIES, graph.softmax(graph.apply("Div", decision, float(model.n_classes_ - 1))))


def _ada_regressor(graph: Graph, model: Any, table: Table) -> Answer:
    return Answer(VALUES, sklearn_trees.ada_boost_value(graph, model, table))


def _network(graph: Graph, model: Any, table: Table) -> Answer:
    """MLPClassifier, MLPRegressor: layer after layer."""
    value = table.numbers(graph)
    shapes: dict[str, Callable[[Tensor], Tensor]] = {
        "identity": lambda one: one,
        "logistic": lambda one: sigmoid(graph, one),
        "tanh": lambda one: graph.one("Tanh", one),
        "relu": lambda one: graph.one("Relu", one),
        "softmax": graph.softmax,
    }
    last = len(model.coefs_) - 1
    for number, (weights, bias) in enumerate(zip(model.coefs_, model.intercepts_, strict=True)):
        value = graph.apply("Add", graph.matmul(value, weights), bias[None, :])
        value = shapes[model.out_activation_ if number == last else model.activation](value)
    if not hasattr(model, "classes_"):
        return Answer(VALUES, value)
    return Answer(PROBABILITIES, graph.two(value) if value.width == 1 else value)


def _support_vectors(graph: Graph, model: Any, table: Table) -> Answer:
    """SVC, NuSVC without probabilities, SVR, NuSVR, OneClassSVM: libsvm's sums over the support vectors, in float64."""
    value = graph.cast(table.numbers(graph), DOUBLE)
    vectors = np.asarray(model.support_vectors_, dtype=np.float64)
    kernel = _kernel(graph, model, value, vectors)
    dual, intercept = np.asarray(model._dual_coef_), np.asarray(model._intercept_)
    if not hasattr(model, "classes_"):
        return Answer(VALUES, graph.apply("Add", graph.matmul(kernel, dual.T), intercept[None, :]))
    if getattr(model, "probability", False) is True:
        return _foreign(graph, model, table)  # libsvm couples its probabilities by iteration
    count = len(model.classes_)
    ends = np.cumsum([0, *model._n_support])
    columns = []
    for first in range(count):
        for second in range(first + 1, count):
            column = np.zeros(len(vectors))
            column[ends[first] : ends[first + 1]] = dual[second - 1, ends[first] : ends[first + 1]]
            column[ends[second] : ends[second + 1]] = dual[first, ends[second] : ends[second + 1]]
            columns.append(column)
    pairs = graph.apply("Add", graph.matmul(kernel, np.stack(columns, axis=1)), intercept[None, :])
    if count == 2:
        return Answer(SCORES, graph.one("Neg", pairs))
    if model.decision_function_shape != "ovr":
        return Answer(SCORES, pairs)
    return Answer(SCORES, _votes(graph, pairs, count))


def _votes(graph: Graph, pairs: Tensor, count: int) -> Tensor:
    """`_ovr_decision_function(dec < 0, -dec, n_classes)`: votes, and the sums of confidences for ties."""
    graph.leaps = True
    signs, order = np.zeros((pairs.width, count)), 0
    wins = np.zeros((2, pairs.width, count))
    for first in range(count):
        for second in range(first + 1, count):
            signs[order, first], signs[order, second] = 1.0, -1.0  # confidence of a pair is -dec
            wins[0, order, first], wins[1, order, second] = 1.0, 1.0
            order += 1
    negative = graph.cast(graph.apply("Less", pairs, 0.0), DOUBLE)
    rest = graph.apply("Sub", graph.constant(np.ones((1, 1))), negative)
    votes = graph.apply("Add", graph.matmul(rest, wins[0]), graph.matmul(negative, wins[1]))
    summed = graph.matmul(pairs, signs)
    scaled = graph.apply("Div", summed, graph.apply("Mul", graph.apply("Add", graph.one("Abs", summed), 1.0), 3.0))
    return graph.apply("Add", votes, scaled)


def _kernel(graph: Graph, model: Any, value: Tensor, vectors: Array) -> Tensor:
    products = graph.matmul(value, np.ascontiguousarray(vectors.T))
    if model.kernel == "linear":
        return products
    if model.kernel == "rbf":
        own = graph.sum(graph.apply("Mul", value, value))
        other = (vectors**2).sum(axis=1)[None, :]
        distance = graph.apply("Sub", graph.apply("Add", own, other), graph.apply("Mul", products, 2.0))
        return graph.one("Exp", graph.apply("Mul", distance, -float(model._gamma)))
    inner = graph.apply("Add", graph.apply("Mul", products, float(model._gamma)), float(model.coef0))
    if model.kernel == "sigmoid":
        return graph.one("Tanh", inner)
    if model.kernel == "poly":
        return graph.apply("Pow", inner, float(model.degree))
    raise UnknownStepError(f"{type(model).__name__} with the kernel {model.kernel!r}")


def _bayes(graph: Graph, model: Any, table: Table) -> Answer:
    value, name = graph.cast(table.numbers(graph), DOUBLE), type(model).__name__
    if name == "GaussianNB":
        columns = []
        for number in range(len(model.classes_)):
            prior = np.log(model.class_prior_[number]) - 0.5 * np.sum(np.log(2.0 * np.pi * model.var_[number]))
            away = graph.apply("Sub", value, model.theta_[number][None, :])
            away = graph.apply("Div", graph.apply("Mul", away, away), model.var_[number][None, :])
            half = graph.apply("Mul", graph.sum(away), -0.5)
            columns.append(graph.apply("Add", half, float(prior)))
        joint = graph.concat(columns)
    elif name == "BernoulliNB":
        if model.binarize is not None:
            value = graph.cast(graph.apply("Greater", value, float(model.binarize)), DOUBLE)
        never = np.log(1 - np.exp(model.feature_log_prob_))
        joint = graph.matmul(value, (model.feature_log_prob_ - never).T)
        joint = graph.apply("Add", joint, (model.class_log_prior_ + never.sum(axis=1))[None, :])
    else:
        joint = graph.matmul(value, model.feature_log_prob_.T)
        if name == "MultinomialNB" or len(model.classes_) == 1:
            joint = graph.apply("Add", joint, model.class_log_prior_[None, :])
    return Answer(PROBABILITIES, graph.softmax(joint))


def _calibrated(graph: Graph, model: Any, table: Table) -> Answer:
    summed: Tensor | None = None
    for member in model.calibrated_classifiers_:
        one = _calibrated_member(graph, member, table)
        summed = one if summed is None else graph.apply("Add", summed, one)
    assert summed is not None  # noqa: S101 - a fitted one has members
    return Answer(PROBABILITIES, graph.apply("Div", summed, float(len(model.calibrated_classifiers_))))


def _calibrated_member(graph: Graph, member: Any, table: Table) -> Tensor:
    inner = answer(graph, member.estimator, table)
    if member.method not in ("sigmoid", "isotonic"):
        raise UnknownStepError(f"CalibratedClassifierCV by {member.method}")
    count = len(member.classes)
    said = inner.value
    if inner.kind == PROBABILITIES:  # scikit-learn prefers decision_function where there is one
        if hasattr(member.estimator, "decision_function"):
            said = _decision(graph, member.estimator, table)
        elif count == 2:
            said = graph.columns(said, [1])
    columns = [_calibrator(graph, one, graph.columns(said, [number])) for number, one in enumerate(member.calibrators)]
    if count == 2:
        return graph.two(graph.cast(columns[0], DOUBLE))
    places = np.searchsorted(member.classes, member.estimator.classes_).tolist()
    if places != list(range(count)):
        raise UnknownStepError("CalibratedClassifierCV over a classifier that saw fewer classes")
    return _normalised(graph, graph.cast(graph.concat(columns), DOUBLE))


def _calibrator(graph: Graph, calibrator: Any, value: Tensor) -> Tensor:
    if type(calibrator).__name__ == "_SigmoidCalibration":
        inner = graph.apply("Add", graph.apply("Mul", value, float(calibrator.a_)), float(calibrator.b_))
        return sigmoid(graph, graph.one("Neg", inner))
    x, y = np.asarray(calibrator.X_thresholds_), np.asarray(calibrator.y_thresholds_)
    value = graph.cast(value, x.dtype.name)
    if len(y) == 1:
        return graph.apply("Add", graph.apply("Mul", value, 0.0), float(y[0]))
    low, high = np.full((1, 1), x[0]), np.full((1, 1), x[-1])
    value = graph.where(graph.apply("Less", value, float(x[0])), low, value)
    value = graph.where(graph.apply("Greater", value, float(x[-1])), high, value)
    above = graph.sum(graph.cast(graph.apply("Greater", value, x[None, :]), INT))  # searchsorted, side left
    place = graph.apply("Max", graph.apply("Min", above, np.array([[len(x) - 1]])), np.array([[1]]))
    slope = (y[1:] - y[:-1]) / (x[1:] - x[:-1])
    before = graph.apply("Sub", place, np.array([[1]]))
    risen = graph.apply("Mul", graph.gather(slope, before), graph.apply("Sub", value, graph.gather(x, before)))
    return graph.apply("Add", risen, graph.gather(y, before))


def _decision(graph: Graph, model: Any, table: Table) -> Tensor:
    """`decision_function` of a classifier that also knows probabilities."""
    name = type(model).__name__
    if name == "Pipeline":
        for _, step in model.steps[:-1]:
            table = transform(graph, step, table)
        return _decision(graph, model.steps[-1][1], table)
    if name in ("LogisticRegression", "LogisticRegressionCV", "SGDClassifier", "LinearDiscriminantAnalysis"):
        return _linear(graph, model, table)
    if name in ("GradientBoostingClassifier", "HistGradientBoostingClassifier"):
        raw = sklearn_trees.gradient_boosting if name.startswith("Gradient") else sklearn_trees.histogram_boosting
        return raw(graph, model, table)
    if name == "AdaBoostClassifier":
        return sklearn_trees.ada_boost_decision(graph, model, table)
    raise UnknownStepError(f"no exact graph is known for the scores of {name}")


def _voting(graph: Graph, model: Any, table: Table) -> Answer:
    classifies = hasattr(model, "classes_")
    if classifies and model.voting != "soft":
        raise UnknownStepError("VotingClassifier that counts votes")
    weights = model._weights_not_none or [1.0] * len(model.estimators_)
    summed: Tensor | None = None
    for one, weight in zip(model.estimators_, weights, strict=True):
        said = answer(graph, one, table)
        if said.kind != (PROBABILITIES if classifies else VALUES):
            raise UnknownStepError("a vote without probabilities")
        part = graph.apply("Mul", graph.cast(said.value, DOUBLE), float(weight))
        summed = part if summed is None else graph.apply("Add", summed, part)
    assert summed is not None  # noqa: S101 - a fitted one has members
    return Answer(PROBABILITIES if classifies else VALUES, graph.apply("Div", summed, float(np.sum(weights))))


def _one_against_rest(graph: Graph, model: Any, table: Table) -> Answer:
    columns = []
    for one in model.estimators_:
        said = answer(graph, one, table)
        if said.kind != PROBABILITIES:
            raise UnknownStepError(f"OneVsRestClassifier over {type(one).__name__}")
        columns.append(graph.columns(said.value, [1]))
    if model.multilabel_:
        return Answer(PROBABILITIES, graph.concat(columns))
    if len(columns) == 1:
        return Answer(PROBABILITIES, graph.two(columns[0]))
    value = graph.concat(columns)
    return Answer(PROBABILITIES, graph.apply("Div", value, graph.sum(value)))


def _several_outputs(graph: Graph, model: Any, table: Table) -> Answer:
    said = [answer(graph, one, table) for one in model.estimators_]
    if all(one.kind == VALUES for one in said):
        return Answer(VALUES, graph.concat([one.value for one in said]))
    if any(one.kind != PROBABILITIES or one.value.width != 2 for one in said):
        raise UnknownStepError("a classifier of several outputs that are not all yes or no")
    return Answer(PROBABILITIES, graph.concat([graph.columns(one.value, [1]) for one in said]))


def _stacking(graph: Graph, model: Any, table: Table) -> Answer:
    """The members' answers side by side, one column each for two classes, then the last model."""
    parts = []
    for one, method in zip(model.estimators_, model.stack_method_, strict=True):
        said = answer(graph, one, table)
        if {PROBABILITIES: "predict_proba", SCORES: "decision_function", VALUES: "predict"}[said.kind] != method:
            raise UnknownStepError(f"stacking asks {type(one).__name__} for {method}")
        pair = method == "predict_proba" and said.value.width == 2
        parts.append(graph.columns(said.value, [1]) if pair else said.value)
    if model.passthrough:
        parts += table.parts
    return answer(graph, model.final_estimator_, Table(tuple(parts)))


def _neighbours(graph: Graph, model: Any, table: Table) -> Answer:
    graph.leaps = True
    kind = PROBABILITIES if hasattr(model, "classes_") else VALUES
    return Answer(kind, sklearn_neighbours.neighbours(graph, model, table))


def _search(graph: Graph, model: Any, table: Table) -> Answer:
    return answer(graph, model.best_estimator_, table)


def _discriminant(graph: Graph, model: Any, table: Table) -> Answer:
    decision = _linear(graph, model, table)
    if decision.width == 1:
        return Answer(PROBABILITIES, graph.two(sigmoid(graph, decision)))
    return Answer(PROBABILITIES, graph.softmax(decision))


_MODELS: dict[str, Callable[[Graph, Any, Table], Answer]] = {
    "Pipeline": _pipeline, "GridSearchCV": _search, "RandomizedSearchCV": _search,
    "LogisticRegression": _logistic, "LogisticRegressionCV": _logistic, "SGDClassifier": _sgd,
    "LinearDiscriminantAnalysis": _discriminant,
    **dict.fromkeys(("LinearSVC", "RidgeClassifier", "RidgeClassifierCV", "Perceptron"), _linear_scores),
    **dict.fromkeys(
        ("LinearRegression", "Ridge", "RidgeCV", "Lasso", "LassoCV", "ElasticNet", "ElasticNetCV", "Lars", "LassoLars",
         "BayesianRidge", "ARDRegression", "HuberRegressor", "TheilSenRegressor", "QuantileRegressor", "LinearSVR",
         "SGDRegressor", "MultiTaskLasso", "OrthogonalMatchingPursuit"), _linear_values,
    ),
    **dict.fromkeys(("PoissonRegressor", "GammaRegressor", "TweedieRegressor"), _exp_values),
    **dict.fromkeys(
        ("DecisionTreeClassifier", "DecisionTreeRegressor", "ExtraTreeClassifier", "ExtraTreeRegressor",
         "RandomForestClassifier", "RandomForestRegressor", "ExtraTreesClassifier", "ExtraTreesRegressor"), _forest,
    ),
    **dict.fromkeys(
        ("GradientBoostingClassifier", "GradientBoostingRegressor", "HistGradientBoostingClassifier",
         "HistGradientBoostingRegressor"), _boosting,
    ),
    "AdaBoostClassifier": _ada_classifier, "AdaBoostRegressor": _ada_regressor,
    **dict.fromkeys(("MLPClassifier", "MLPRegressor"), _network),
    **dict.fromkeys(("SVC", "NuSVC", "SVR", "NuSVR"), _support_vectors),
    **dict.fromkeys(("GaussianNB", "BernoulliNB", "MultinomialNB", "ComplementNB"), _bayes),
    "CalibratedClassifierCV": _calibrated,
    **dict.fromkeys(("VotingClassifier", "VotingRegressor"), _voting),
    **dict.fromkeys(("StackingClassifier", "StackingRegressor"), _stacking),
    **dict.fromkeys(("KNeighborsClassifier", "KNeighborsRegressor"), _neighbours),
    "OneVsRestClassifier": _one_against_rest,
    **dict.fromkeys(("MultiOutputClassifier", "MultiOutputRegressor"), _several_outputs),
}  # fmt: skip
__all__ = ["FLOAT", "PROBABILITIES", "SCORES", "VALUES", "Answer", "answer", "sigmoid"]
