"""Which tensors does the graph take, of what the endpoint was given?

A request holds texts, images or plain rows; a graph takes numbers. What lies between travels in `processing/`: a
tokenizer, a vectoriser's rules, how an image becomes a tensor. Here it is done again, with nothing of the vendor's.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reversible.errors import BundleError
from reversible.processing import terms
from reversible.processing.images import rules_in
from reversible.processing.text import Tokenizer
from reversible.wire import Field

Arrays = Mapping[str, NDArray[Any]]
_TOKENS = ("input_ids", "attention_mask", "token_type_ids")


class Processing:
    """From the values of a request to the graph's inputs.

    Args:
        folder: The model's `processing/`; it need not be there.
        inputs: What the graph takes.
        given: What a request holds.
        changed: Other rules in the place of a file's, by its name.

    Attributes:
        steps: For each input of the graph, in words, where it comes from.

    Raises:
        BundleError: an input of the graph comes from nowhere, or the rules cannot be read.
        MissingSDKError: a package that reads them is not installed; the message names the extra.
    """

    def __init__(
        self,
        folder: Path,
        inputs: Sequence[Field],
        given: Sequence[Field],
        *,
        changed: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self._changed = changed or {}
        self._inputs = {one.name: one for one in inputs}
        self._makers: dict[str, Callable[[Arrays], NDArray[Any]]] = {}
        self.steps: dict[str, str] = {}
        self._one_size = False
        self._tokens: tuple[Tokenizer, str] | None = None
        self._by_name(given)
        self._by_terms(folder, given)
        self._by_tokens(folder, given)
        self._by_images(folder, given)
        self._by_elimination(given)
        missing = [one for one in self._inputs if one not in self.steps]
        if missing:
            had = ", ".join(one.name for one in given)
            raise BundleError(
                f"model.onnx takes {len(inputs)} inputs, and {missing[0]} comes from nowhere: a request holds {had}, "
                "and processing/ does not say how it is made"
            )

    def feeds(self, given: Arrays) -> dict[str, NDArray[Any]]:
        """What the graph takes for the values of one batch, rows first; texts are filled to the longest among them.

        Raises:
            BundleError: a value cannot be what the graph takes.
        """
        found = {name: make(given) for name, make in self._makers.items()}
        if self._tokens is not None:
            tokenizer, source = self._tokens
            encoded = tokenizer.encode(["" if text is None else text for text in given[source].reshape(-1).tolist()])
            found |= {name: value for name, value in encoded.items() if name in self._inputs and name not in found}
        made = {}
        for name, one in self._inputs.items():
            value = found[name]
            if one.is_text:
                value = _present(value)
            made[name] = _as_taken(value, one)
        return made

    @staticmethod
    def document(path: Path) -> dict[str, Any]:
        """A file of rules.

        Raises:
            BundleError: it cannot be read.
        """
        try:
            document = json.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            raise BundleError(f"processing/{path.name} cannot be read: {error}") from error
        return document if isinstance(document, dict) else {}

    @property
    def alone(self) -> bool:
        """Whether what one row becomes depends on the others of its batch: texts are filled to the longest."""
        return self._tokens is None

    @property
    def one_size(self) -> bool:
        """Whether images of any size become tensors of one."""
        return self._one_size

    def _take(self, name: str, source: str, words: str, make: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
        self._makers[name] = lambda given: make(given[source])
        self.steps[name] = words

    def _by_name(self, given: Sequence[Field]) -> None:
        for one in given:
            taken = self._inputs.get(one.name)
            if taken is not None and not one.is_bytes and (taken.is_text or not one.is_text):
                self._take(one.name, one.name, "as it is", np.asarray)

    def _by_terms(self, folder: Path, given: Sequence[Field]) -> None:
        texts = [one.name for one in given if one.is_text]
        for path, kept in terms.rules_in(folder):
            rules = self._changed.get(path.name, kept)
            name = str(rules.get("input"))
            if name not in self._inputs:
                continue
            column = str(rules.get("column"))
            source = column if column in texts else texts[0] if len(texts) == 1 else ""
            if source:
                self._take(name, source, f"{path.name}: the terms of {source}", _counter(rules))

    def _by_tokens(self, folder: Path, given: Sequence[Field]) -> None:
        texts = [one.name for one in given if one.is_text]
        wanted = [name for name in _TOKENS if name in self._inputs and name not in self.steps]
        if wanted and len(texts) == 1 and (folder / "tokenizer.json").is_file():
            self._tokens = (Tokenizer(folder, rules=self._changed.get("tokenizer.json")), texts[0])
            self.steps |= dict.fromkeys(wanted, f"tokenizer.json: the tokens of {texts[0]}")

    def _by_images(self, folder: Path, given: Sequence[Field]) -> None:
        sources = [one.name for one in given if one.is_bytes]
        left = [name for name in self._inputs if name not in self.steps]
        found = rules_in(folder)
        if len(sources) != 1 or found is None:
            return
        path, rules = found
        name = rules.input if rules.input in self._inputs else left[0] if len(left) == 1 else ""
        if name and name not in self.steps:
            self._take(name, sources[0], f"{path.name}: the pixels of {sources[0]}", rules.pixels)
            self._one_size = rules.size is not None

    def _by_elimination(self, given: Sequence[Field]) -> None:
        """The one input that is left takes the one value that is left: names differ where nobody says them."""
        left = [one for name, one in self._inputs.items() if name not in self.steps]
        unused = [one for one in given if one.name not in self.steps and not one.is_bytes]
        if len(left) == len(unused) == 1 and len(given) == len(self._inputs) and left[0].is_text == unused[0].is_text:
            self._take(left[0].name, unused[0].name, f"{unused[0].name} as it is", np.asarray)


def _present(texts: NDArray[Any]) -> NDArray[Any]:
    """A missing text is the empty one, as the converters say it (`missing_text`)."""
    found = texts.copy()
    for place in np.ndindex(found.shape):
        found[place] = "" if found[place] is None else found[place]
    return found


def _counter(rules: Mapping[str, Any]) -> Callable[[NDArray[Any]], NDArray[Any]]:
    def count(texts: NDArray[Any]) -> NDArray[Any]:
        return terms.counts(rules, ["" if text is None else text for text in texts.reshape(-1).tolist()])

    return count


def _as_taken(value: NDArray[Any], one: Field) -> NDArray[Any]:
    """In the graph's type, with or without a last dimension of 1; any other shape is for the graph to refuse.

    A whole number must not be cut to fit; a float may be rounded to the graph's type, as the vendor's was.
    """
    if value.ndim == len(one.shape) - 1 and one.shape[-1] in (1, None):
        value = value.reshape(*value.shape, 1)
    elif value.ndim == len(one.shape) + 1 and value.shape[-1] == 1:
        value = value.reshape(value.shape[:-1])
    with np.errstate(invalid="ignore", over="ignore"):
        made = value.astype(one.dtype)
    if value.dtype.kind in "fiub" and made.dtype.kind in "iub" and not np.array_equal(made, value):
        raise BundleError(f"model.onnx: {one.name} takes whole numbers of {made.dtype.name}, and was given others")
    return np.ascontiguousarray(made)
