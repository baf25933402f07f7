"""How does a text become numbers: the rules as data, the arithmetic as graph?"""

import unicodedata
from typing import Any

import numpy as np

from reversible.processing.terms import FORMAT
from reversible_exporters.tabular_model_graph import DOUBLE, FLOAT, TEXT, Graph, Tensor
from reversible_exporters.tabular_model_table import Table, UnknownStepError

VECTORIZERS = ("CountVectorizer", "TfidfVectorizer")


def is_vectorizer(step: Any) -> bool:
    return type(step).__name__ in VECTORIZERS and type(step).__module__.startswith("sklearn.")


def rules(step: Any, *, column: str, name: str) -> dict[str, Any]:
    """What `reversible.processing.terms` must know of a vectoriser.

    Raises:
        UnknownStepError: it calls functions of the vendor's.
    """
    for option in ("preprocessor", "tokenizer"):
        if getattr(step, option) is not None:
            raise UnknownStepError(f"{type(step).__name__} has a {option} of its own, which is code and cannot travel")
    if callable(step.analyzer) or callable(step.strip_accents):
        raise UnknownStepError(f"{type(step).__name__} has an analyzer of its own, which is code and cannot travel")
    stop = step.get_stop_words() if step.analyzer == "word" else None
    places = {term: int(number) for term, number in step.vocabulary_.items()}
    return {
        "format": FORMAT, "input": name, "column": column, "lowercase": bool(step.lowercase),
        "strip_accents": step.strip_accents, "analyzer": step.analyzer, "token_pattern": step.token_pattern,
        "ngram_range": [int(one) for one in step.ngram_range], "stop_words": None if stop is None else sorted(stop),
        "binary": bool(step.binary), "unicode": unicodedata.unidata_version,
        "vocabulary": sorted(places, key=places.__getitem__),
    }  # fmt: skip


def vectorizer(graph: Graph, step: Any, table: Table) -> Table:
    """Counts come in as a matrix of their own; `graph.processing` remembers the rules that make them."""
    (text,) = table.parts
    if text.dtype != TEXT or text.width != 1:
        raise UnknownStepError(f"{type(step).__name__} is not given one column of texts")
    name = f"{text.name}_terms" if not graph.processing else f"{text.name}_terms_{len(graph.processing)}"
    graph.processing.append(rules(step, column=text.name, name=name))
    counts = graph.input(name, FLOAT, len(step.vocabulary_))
    kind = np.dtype(step.dtype).name
    value = graph.cast(counts, kind if kind in (FLOAT, DOUBLE) else DOUBLE)
    return Table((weighted(graph, step._tfidf, value) if type(step).__name__ == "TfidfVectorizer" else value,))


def transformer(graph: Graph, step: Any, table: Table) -> Table:
    """TfidfTransformer on its own."""
    return Table((weighted(graph, step, table.numbers(graph)),))


def weighted(graph: Graph, step: Any, value: Tensor) -> Tensor:
    """Term frequencies by their weights, each row by its norm."""
    if step.sublinear_tf:
        risen = graph.apply("Add", graph.one("Log", value), 1.0)
        nothing = graph.apply("Equal", value, 0.0)
        value = graph.where(nothing, np.zeros((1, 1), value.dtype), risen)
    if step.use_idf:
        value = graph.apply("Mul", value, step.idf_.astype(value.dtype)[None, :])
    if step.norm is None:
        return value
    if step.norm == "l1":
        norm = graph.sum(graph.one("Abs", value))
    else:
        norm = graph.one("Sqrt", graph.sum(graph.apply("Mul", value, value)))
    empty = graph.apply("Equal", norm, 0.0)
    return graph.apply("Div", value, graph.where(empty, np.ones((1, 1), value.dtype), norm))
