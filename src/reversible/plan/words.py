"""Does the plan quote the catalogue rightly: profiles, flags, clauses, metrics, documents?

The shape is `model`'s; here stands what the shape cannot say. It looks at the plan as written, so that these faults
come in the same list as the others.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from reversible.plan.faults import Faults, describe, did_you_mean, not_one_of, printable
from reversible.plan.places import KeyPath
from reversible.plan.vocabulary import Vocabulary

_TYPES = {"number": "a number", "bool": "true or false", "string": "text in quotes", "set": "a list of texts"}


def check_words(document: Mapping[str, Any], faults: Faults, words: Vocabulary) -> None:
    """Note every word that the catalogue does not have, and every number of the wrong type."""
    clauses = _table(document.get("clauses"))
    _check_list(clauses.get("profiles"), words.profiles, ("clauses", "profiles"), faults)
    _check_list(clauses.get("flags"), words.flags, ("clauses", "flags"), faults)
    _check_criteria(clauses.get("criterion"), faults, words)
    _check_facts(_table(document.get("facts")), faults, words)
    _check_documents(document.get("document"), faults, words)


def _check_criteria(criteria: object, faults: Faults, words: Vocabulary) -> None:
    seen: set[tuple[object, object]] = set()
    for position, row in _rows(criteria):
        path: KeyPath = ("clauses", "criterion", position)
        clause, metric, value = row.get("clause"), row.get("metric"), row.get("value")
        measured = _measured(clause, path, faults, words)
        if measured is None or not isinstance(metric, str):
            continue
        if metric not in measured:
            faults.add((*path, "metric"), _not_measured(clause, metric, measured))
        elif "value" in row and not _fits(value, words.metrics[metric][1]):
            expected = _TYPES[words.metrics[metric][1]]
            faults.add((*path, "value"), f"found {describe((*path, 'value'), value)}; allowed: {expected}")
        if (clause, metric) in seen:
            faults.add((*path, "metric"), f"{metric} of {clause} is set twice; allowed: once")
        seen.add((clause, metric))


def _measured(clause: object, path: KeyPath, faults: Faults, words: Vocabulary) -> tuple[str, ...] | None:
    if not isinstance(clause, str):
        return None  # the shape's fault
    if clause not in words.measured:
        near = did_you_mean(clause, tuple(words.measured))
        faults.add((*path, "clause"), f"found {printable(clause)}; allowed: a clause of `reversible clauses`{near}")
        return None
    return words.measured[clause]


def _not_measured(clause: object, metric: str, measured: tuple[str, ...]) -> str:
    if not measured:
        return f"{clause} measures nothing: a document settles it"
    return not_one_of(("metric",), metric, measured)


def _check_facts(facts: Mapping[str, Any], faults: Faults, words: Vocabulary) -> None:
    for metric, value in facts.items():
        path: KeyPath = ("facts", metric)
        if metric not in words.metrics:
            near = did_you_mean(metric, words.facts)
            faults.add(path, f"unknown fact; allowed: {', '.join(words.facts)}{near}")
            continue
        producer, kind = words.metrics[metric]
        if producer != "contract":
            faults.add(path, f"{metric} is measured ({producer}), never typed; allowed: {', '.join(words.facts)}")
        elif not _fits(value, kind):
            faults.add(path, f"found {describe(path, value)}; allowed: {_TYPES[kind]}")


def _check_documents(documents: object, faults: Faults, words: Vocabulary) -> None:
    seen: set[tuple[object, object]] = set()
    for position, row in _rows(documents):
        path: KeyPath = ("document", position)
        clause, name = row.get("clause"), row.get("id")
        if not isinstance(clause, str) or not isinstance(name, str):
            continue  # the shape's fault
        if clause not in words.documents:
            near = did_you_mean(clause, tuple(words.documents))
            faults.add((*path, "clause"), f"found {printable(clause)}; allowed: a clause of `reversible clauses`{near}")
        elif name not in words.documents[clause]:
            asked = words.documents[clause]
            none = f"{clause} asks for no document"
            faults.add((*path, "id"), not_one_of((*path, "id"), name, asked) if asked else none)
        elif (clause, name) in seen:
            faults.add((*path, "id"), f"{name} of {clause} is named twice; allowed: once")
        seen.add((clause, name))


def _check_list(found: object, allowed: Iterable[str], path: KeyPath, faults: Faults) -> None:
    for position, word in enumerate(found if isinstance(found, list) else ()):
        if isinstance(word, str) and word not in allowed:
            faults.add((*path, position), not_one_of((*path, position), word, allowed))


def _fits(value: object, kind: str) -> bool:
    if kind == "bool":
        return isinstance(value, bool)
    if kind == "number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind == "set":
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    return isinstance(value, str)


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _rows(value: object) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for position, row in enumerate(value if isinstance(value, list) else ()):
        if isinstance(row, Mapping):
            yield position, row
