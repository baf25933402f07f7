"""How do words become the integers that a model takes?

A model of Hugging Face's travels with its `tokenizer.json`: rules and vocabulary as data. The `tokenizers` package
(extra `[text]`) reads that file alone: it needs no transformers, no framework and no network.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reversible.errors import BundleError, MissingSDKError

_NEVER = 1 << 20  # transformers writes 10^30 where a tokenizer has no limit


class Tokenizer:
    """The tokenizer of a model's `processing/` folder.

    Args:
        folder: Holds `tokenizer.json`, and perhaps `tokenizer_config.json` and `sentence_bert_config.json`.
        left: Whether shorter texts are filled at their beginning, as generation needs it.
        rules: Other content of `tokenizer.json`; None: what the folder holds.

    Raises:
        BundleError: the folder holds no tokenizer that can be read.
        MissingSDKError: the extra `[text]` is not installed.
    """

    def __init__(self, folder: Path, *, left: bool = False, rules: Mapping[str, Any] | None = None) -> None:
        try:
            import tokenizers
        except ModuleNotFoundError as error:
            raise MissingSDKError("tokenizers", extra="text") from error
        path = folder / "tokenizer.json"
        try:
            content = path.read_text(encoding="utf-8") if rules is None else json.dumps(rules)
            self._tokenizer = tokenizers.Tokenizer.from_str(content)
        except OSError as error:
            raise BundleError(f"{path.name}: {error.strerror}") from error
        except Exception as error:  # tokenizers raises a bare Exception
            raise BundleError(f"{path.name} cannot be read: {str(error)[:200]}") from error
        self.most = _limit(folder)
        token, number = self._padding(_document(folder / "tokenizer_config.json").get("pad_token"))
        self._tokenizer.enable_padding(direction="left" if left else "right", pad_id=number, pad_token=token)
        if self.most is not None:
            self._tokenizer.enable_truncation(self.most)

    def encode(self, texts: Sequence[str]) -> dict[str, NDArray[np.int64]]:
        """Texts as `input_ids`, `attention_mask` and `token_type_ids`, each (texts, tokens of the longest), int64."""
        found = self._tokenizer.encode_batch(list(texts))
        return {
            "input_ids": np.array([one.ids for one in found], dtype=np.int64).reshape(len(found), -1),
            "attention_mask": np.array([one.attention_mask for one in found], dtype=np.int64).reshape(len(found), -1),
            "token_type_ids": np.array([one.type_ids for one in found], dtype=np.int64).reshape(len(found), -1),
        }

    def words(self) -> list[str]:
        """What it knows, in the order of its numbers: pieces of words as "##s", and no marks like "[CLS]"."""
        vocabulary = self._tokenizer.get_vocab(with_added_tokens=False)
        plain = [(number, token.lstrip("\u0120\u2581")) for token, number in vocabulary.items()]
        return [token for _, token in sorted(plain) if token and token[0] + token[-1] not in ("[]", "<>")]

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of some tokens, without those that mark beginning and end."""
        return str(self._tokenizer.decode(list(tokens)))

    def _padding(self, declared: Any) -> tuple[str, int]:
        """The token that fills; where none is declared, the one that the file fills with, or the first of all."""
        token = declared.get("content") if isinstance(declared, dict) else declared
        before = self._tokenizer.padding
        number = self._tokenizer.token_to_id(token) if isinstance(token, str) else None
        if number is not None:
            return str(token), int(number)
        if before is not None:
            return str(before["pad_token"]), int(before["pad_id"])
        return str(self._tokenizer.id_to_token(0)), 0


def _limit(folder: Path) -> int | None:
    """The most tokens of a text, as sentence-transformers says it, else as transformers does."""
    for name, key in (("sentence_bert_config.json", "max_seq_length"), ("tokenizer_config.json", "model_max_length")):
        value = _document(folder / name).get(key)
        if isinstance(value, int | float) and 0 < value < _NEVER:
            return int(value)
    return None


def _document(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BundleError(f"{path.name} cannot be read: {error}") from error
    return document if isinstance(document, dict) else {}
