"""Which terms does a text hold, counted as the vendor's vectoriser counted them?

ONNX has no regular expression that knows accents, so what stands between a raw text and the model's first number
travels as data: `processing/*.json` holds the rules and the vocabulary, and this module, without any package but NumPy,
is what they mean. The same text gives the same counts as scikit-learn's CountVectorizer and TfidfVectorizer; the
numbers after that (logarithms, weights, norms) are in the graph.

Format `reversible-text/1`, one JSON object: `input` (the graph's input: (rows, terms) float32), `column` (the name of
the column with the text), `lowercase`, `strip_accents` (null, "ascii", "unicode"), `analyzer` ("word", "char",
"char_wb"), `token_pattern`, `ngram_range` [from, to], `stop_words`, `binary`, `vocabulary` (the terms in the order of
the input's columns), `unicode` (the version of the Unicode tables of the machine that recorded it).
"""

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reversible.errors import BundleError

FORMAT = "reversible-text/1"
_LARGEST = 1 << 28  # bytes of one file of rules
_OTHERS = ("tokenizer", "vocab", "config", "special_tokens", "added_tokens")  # large files of Hugging Face's
_SPACES = re.compile(r"\s\s+")


def rules_in(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The rules of a `processing/` folder, each with its file.

    Raises:
        BundleError: a file of rules cannot be read.
    """
    for path in sorted(folder.glob("*.json")):
        if path.name.startswith(_OTHERS) or path.stat().st_size > _LARGEST:
            continue
        try:
            document = json.loads(path.read_bytes())
        except ValueError as error:
            raise BundleError(f"processing/{path.name} is not JSON: {error}") from error
        if isinstance(document, dict) and document.get("format") == FORMAT:
            yield path, document


def counts(rules: Mapping[str, Any], texts: Sequence[str]) -> NDArray[np.float32]:
    """How often each term of the vocabulary stands in each text: (texts, terms), whole numbers.

    Raises:
        BundleError: the rules are not of a format that this code knows.
    """
    if rules.get("format") != FORMAT or rules.get("analyzer") not in ("word", "char", "char_wb"):
        raise BundleError(f"the rules for texts are not {FORMAT}: {str(rules.get('format'))[:40]}")
    place = {term: number for number, term in enumerate(rules["vocabulary"])}
    found = np.zeros((len(texts), len(place)), dtype=np.float32)
    for row, text in enumerate(texts):
        for term in terms(rules, text):
            column = place.get(term)
            if column is not None:
                found[row, column] += 1
    return np.minimum(found, 1) if rules["binary"] else found


def terms(rules: Mapping[str, Any], text: str) -> Iterator[str]:
    """Every term of one text, in no order that matters."""
    text = _plain(rules, text)
    first, last = rules["ngram_range"]
    if rules["analyzer"] == "word":
        stop = frozenset(rules["stop_words"] or ())
        tokens = [token for token in re.findall(rules["token_pattern"], text) if token not in stop]
        for size in range(first, last + 1):
            for at in range(len(tokens) - size + 1):
                yield " ".join(tokens[at : at + size])
        return
    text = _SPACES.sub(" ", text)
    if rules["analyzer"] == "char":
        for size in range(first, last + 1):
            for at in range(len(text) - size + 1):
                yield text[at : at + size]
        return
    for word in text.split():
        padded = f" {word} "
        for size in range(first, last + 1):
            yield padded[:size]
            for at in range(1, len(padded) - size + 1):
                yield padded[at : at + size]
            if len(padded) <= size:
                break  # a short word is counted once


def _plain(rules: Mapping[str, Any], text: str) -> str:
    if rules["lowercase"]:
        text = text.lower()
    if rules["strip_accents"] is None or (rules["strip_accents"] == "unicode" and text.isascii()):
        return text
    apart = unicodedata.normalize("NFKD", text)
    if rules["strip_accents"] == "ascii":
        return apart.encode("ascii", "ignore").decode("ascii")
    return "".join(one for one in apart if not unicodedata.combining(one))
