"""Do words become the same tokens at the destination, from tokenizer.json alone?"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from reversible.errors import BundleError, MissingSDKError
from reversible.processing.text import Tokenizer

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "ete", "a", "la", "creche", "##s", "!"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tokenizers = pytest.importorskip("tokenizers")
    made = tokenizers.Tokenizer(
        tokenizers.models.WordPiece({word: at for at, word in enumerate(WORDS)}, unk_token="[UNK]")
    )
    made.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=True, strip_accents=True)
    made.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    made.enable_padding(length=64)  # what a file says of padding is of its own day: texts are filled to the longest
    made.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"pad_token": "[PAD]", "model_max_length": 7}))
    return tmp_path


def test_accents_case_and_both_ways_to_write_them_are_the_tokenizers_own_affair(folder: Path) -> None:
    found = Tokenizer(folder).encode(["Été à la crèche", "e\u0301te\u0301 a la cre\u0300che", ""])

    assert found["input_ids"].tolist() == [[2, 4, 5, 6, 7, 3], [2, 4, 5, 6, 7, 3], [2, 3, 0, 0, 0, 0]]
    assert found["attention_mask"].tolist() == [[1] * 6, [1] * 6, [1, 1, 0, 0, 0, 0]]
    assert found["token_type_ids"].dtype == np.int64


def test_long_texts_are_cut_and_generation_is_filled_at_the_left(folder: Path) -> None:
    found = Tokenizer(folder, left=True).encode(["la " * 40, "la"])

    assert found["input_ids"].tolist() == [[2, 6, 6, 6, 6, 6, 3], [0, 0, 0, 0, 2, 6, 3]]


def test_sentence_transformers_limit_comes_first(folder: Path) -> None:
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 4}')

    assert Tokenizer(folder).encode(["la la la la la"])["input_ids"].shape == (1, 4)


@pytest.mark.parametrize(
    ("content", "said"), [(None, "tokenizer.json"), ("{}", "cannot be read"), ("{", "cannot be read")]
)
def test_what_is_no_tokenizer_is_refused(content: str | None, said: str, tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)

    with pytest.raises(BundleError, match=said):
        Tokenizer(tmp_path)


def test_without_the_extra_its_name_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)

    with pytest.raises(MissingSDKError, match="tokenizers") as refused:
        Tokenizer(tmp_path)

    assert "text" in refused.value.hint


def test_no_hub_and_no_framework_is_loaded(folder: Path) -> None:
    script = (
        f"import sys; from pathlib import Path; from reversible.processing.text import Tokenizer;"
        f"Tokenizer(Path({str(folder)!r})).encode(['la']);"
        "came = {'huggingface_hub', 'transformers', 'torch', 'httpx', 'requests'} & set(sys.modules);"
        "sys.exit(str(sorted(came)) if came else 0)"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
