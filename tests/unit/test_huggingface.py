"""Do Hugging Face folders leave: encoders of text, image and sound, decoders with their cache; and the traps named?"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from reversible.errors import SourceError
from reversible_exporters import huggingface_files
from reversible_exporters.huggingface import HuggingFaceConverter

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


def folder(path: Path, model: Any) -> Path:
    model.eval().save_pretrained(path)
    return path


def seeded(made: Any) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return made()


def session(target: Path) -> Any:
    return onnxruntime.InferenceSession(str(target), providers=["CPUExecutionProvider"])


def bert(**other: Any) -> Any:
    config = transformers.BertConfig(
        vocab_size=90, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
        id2label={0: "négatif", 1: "positif"}, **other,
    )  # fmt: skip
    return seeded(lambda: transformers.BertForSequenceClassification(config))


def llama(**other: Any) -> Any:
    config = transformers.LlamaConfig(
        vocab_size=97, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        intermediate_size=64, max_position_embeddings=256, initializer_range=0.4, pad_token_id=0, bos_token_id=1,
        eos_token_id=None, **other,
    )  # fmt: skip
    return seeded(lambda: transformers.LlamaForCausalLM(config)).eval()


KINDS = {
    "vit": lambda: transformers.ViTForImageClassification(
        transformers.ViTConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
                               image_size=32, patch_size=8)
    ),
    "wav2vec2": lambda: transformers.Wav2Vec2ForCTC(
        transformers.Wav2Vec2Config(vocab_size=20, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
                                    intermediate_size=48, conv_dim=(16, 16), conv_stride=(5, 4), conv_kernel=(10, 8),
                                    num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4)
    ),
    "whisper": lambda: transformers.WhisperForConditionalGeneration(
        transformers.WhisperConfig(vocab_size=60, d_model=32, encoder_layers=2, decoder_layers=1, pad_token_id=0,
                                   encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=48,
                                   decoder_ffn_dim=48, num_mel_bins=20, max_source_positions=40, bos_token_id=1,
                                   eos_token_id=2, decoder_start_token_id=1)
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "shapes", "left"),
    [
        ("vit", [["batch", 3, 32, 32]], False),
        ("wav2vec2", [["batch", "length"]], False),
        ("whisper", [["batch", 20, 80]], True),
    ],
)
def test_images_and_sound_leave(kind: str, shapes: Any, left: bool, tmp_path: Path) -> None:
    described = HuggingFaceConverter().convert(folder(tmp_path / "m", seeded(KINDS[kind])), tmp_path / "model.onnx")

    assert [one["shape"] for one in described["inputs"]] == shapes
    assert described["self_check"]["ratio_max"] < 10
    assert any("decoder" in one for one in described["left_out"]) is left


@pytest.mark.slow
def test_a_classifier_of_text_leaves_in_shards_with_its_labels(tmp_path: Path) -> None:
    model = bert()
    model.eval().save_pretrained(tmp_path / "m", max_shard_size="20kB")
    assert (tmp_path / "m/model.safetensors.index.json").exists()

    described = HuggingFaceConverter().convert(tmp_path / "m", tmp_path / "model.onnx")

    assert set(described["parameters"]) == {"identical", "trivial"}  # biases of zeros: their bits say nothing
    assert json.loads((tmp_path / "processing/labels.json").read_text(encoding="utf-8")) == {
        "0": "négatif",
        "1": "positif",
    }
    draw = np.random.default_rng(0)
    ids, kept = draw.integers(0, 90, (5, 37)), np.tril(np.ones((37, 37), np.int64))[[36, 5, 20, 1, 12]]
    feeds = {"input_ids": ids, "attention_mask": kept, "token_type_ids": np.zeros_like(ids)}
    with torch.no_grad():
        expected = model(**{name: torch.from_numpy(one) for name, one in feeds.items()}).logits.numpy()
    assert np.abs(session(tmp_path / "model.onnx").run(None, feeds)[0] - expected).max() < 1e-6


def greedy(net: Any, prompt: list[int], count: int, *, cached: bool) -> list[int]:
    """Tokens by the port alone: the whole text again for each, or the last token with the past."""
    names = [one.name for one in net.get_inputs()]
    widths = [one.shape for one in net.get_inputs()][2:]
    past = [np.zeros((1, shape[1], 0, shape[3]), np.float32) for shape in widths]
    empty, tokens, new = list(past), list(prompt), list(prompt)
    for _ in range(count):
        given = [
            np.array([new if cached else tokens]),
            np.ones((1, len(tokens)), np.int64),
            *(past if cached else empty),
        ]
        logits, *past = net.run(None, dict(zip(names, given, strict=True)))
        new = [int(logits[0, -1].argmax())]
        tokens += new
    return tokens[len(prompt) :]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_decoder_says_the_same_with_and_without_cache_and_in_left_padded_batches(tmp_path: Path) -> None:
    model = llama()
    described = HuggingFaceConverter().convert(folder(tmp_path / "m", model), tmp_path / "model.onnx")
    net = session(tmp_path / "model.onnx")
    draw = np.random.default_rng(7)
    prompts = [draw.integers(2, 97, int(draw.integers(1, 24))).tolist() for _ in range(40)]

    assert described["cache"] == {"inputs": 4}
    said = set()
    for prompt in prompts:
        with torch.no_grad():
            whole = model.generate(
                torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.int64),
                max_new_tokens=40, do_sample=False,
            )  # fmt: skip
        expected = whole[0, len(prompt) :].tolist()
        assert greedy(net, prompt, 40, cached=False) == expected
        assert greedy(net, prompt, 40, cached=True) == expected
        said.add(tuple(expected))
    assert len(said) > 30  # a model that always says the same would show nothing

    longest = max(len(prompt) for prompt in prompts)
    ids = np.array([[0] * (longest - len(prompt)) + prompt for prompt in prompts])
    mask = np.array([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    past = [np.zeros((40, one.shape[1], 0, one.shape[3]), np.float32) for one in net.get_inputs()[2:]]
    names = [one.name for one in net.get_inputs()]
    together = net.run(None, dict(zip(names, [ids, mask, *past], strict=True)))[0]
    for row, prompt in enumerate(prompts):
        alone = net.run(
            None,
            dict(
                zip(
                    names,
                    [np.array([prompt]), np.ones((1, len(prompt)), np.int64), *(one[:1] for one in past)],
                    strict=True,
                )
            ),
        )[0]
        assert np.abs(together[row, longest - len(prompt) :] - alone[0]).max() < 1e-4


def edited(path: Path, **changes: Any) -> None:
    config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    (path / "config.json").write_text(json.dumps(config | changes), encoding="utf-8")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder(tmp_path_factory.mktemp("hf") / "m", bert())


def copied(plain: Path, into: Path) -> Path:
    into.mkdir()
    for path in plain.iterdir():
        (into / path.name).write_bytes(path.read_bytes())
    return into


TRAPS: dict[str, tuple[Any, str]] = {
    "code of its own": (lambda p: edited(p, auto_map={"AutoModel": "modeling_x.X"}), "code of its own"),
    "quantised": (lambda p: edited(p, quantization_config={"quant_method": "gptq"}), r"quantised \(gptq\)"),
    "unknown": (lambda p: edited(p, architectures=["NoSuchModel"]), "NoSuchModel, which transformers"),
    "no architecture": (lambda p: edited(p, architectures=None), "of nothing"),
    "not a model": (lambda p: edited(p, architectures=["AutoTokenizer"]), "."),
    "another layer": (lambda p: edited(p, num_hidden_layers=3), "of its weights are missing"),
    "another size": (lambda p: edited(p, intermediate_size=64), "its weights cannot be loaded"),
    "cut": (
        lambda p: (p / "model.safetensors").write_bytes((p / "model.safetensors").read_bytes()[:9000]),
        "its weights cannot be loaded",
    ),
    "shard outside": (
        lambda p: (p / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../../etc/passwd"}}'),
        "not a file of the folder",
    ),
    "shard lost": (
        lambda p: (p / "model.safetensors.index.json").write_text('{"weight_map": {"a": "lost.safetensors"}}'),
        "there is no such file",
    ),
    "no object": (lambda p: (p / "config.json").write_text("[]"), "not an object"),
    "no json": (lambda p: (p / "config.json").write_text("{"), "cannot be read"),
}


@pytest.mark.parametrize(("damage", "said"), TRAPS.values(), ids=TRAPS)
def test_a_trap_in_the_folder_is_refused_in_one_line(damage: Any, said: str, plain: Path, tmp_path: Path) -> None:
    package = copied(plain, tmp_path / "package")
    damage(package)

    with pytest.raises(SourceError, match=said) as refused:
        HuggingFaceConverter().convert(package, tmp_path / "model.onnx")

    assert "\n" not in refused.value.message


def test_weights_in_a_pickle_that_runs_code_are_refused(plain: Path, tmp_path: Path) -> None:
    import os
    import pickle

    class Shell:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {tmp_path}/was-here",)

    package = copied(plain, tmp_path / "package")
    (package / "model.safetensors").unlink()
    (package / "pytorch_model.bin").write_bytes(pickle.dumps(Shell(), protocol=2))

    with pytest.raises(SourceError, match="its weights cannot be loaded"):
        HuggingFaceConverter().convert(package, tmp_path / "model.onnx")

    assert not (tmp_path / "was-here").exists()


def test_a_folder_is_taken_by_its_names_alone() -> None:
    names = [
        "a/config.json",
        "a/model.safetensors",
        "b/config.json",
        "config.json",
        "pytorch_model.bin",
        "c/model.safetensors",
    ]

    assert HuggingFaceConverter().sources(names) == ["a", "."]


@pytest.mark.parametrize(
    ("modules", "modes", "words", "left"),
    [
        (
            ["Transformer", "Pooling", "Normalize"],
            {"pooling_mode_mean_tokens": True},
            "mean of the tokens, of length 1",
            (),
        ),
        (["Transformer", "Pooling"], {"pooling_mode_cls_token": True}, "first token", ()),
        (["Transformer", "Pooling"], {"pooling_mode_max_tokens": True}, None, ("the pooling pooling_mode_max_tokens",)),
        (["Transformer", "Pooling", "Dense"], {}, None, ("the steps Pooling, Dense of modules.json",)),
    ],
)
def test_how_a_sentence_becomes_a_vector_is_read_or_named_as_left_out(
    modules: list[str], modes: Any, words: str | None, left: tuple[str, ...], tmp_path: Path
) -> None:
    steps = [
        {"type": f"sentence_transformers.models.{kind}", "path": f"{at}_{kind}"} for at, kind in enumerate(modules)
    ]
    (tmp_path / "modules.json").write_text(json.dumps(steps), encoding="utf-8")
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling/config.json").write_text(json.dumps(modes), encoding="utf-8")

    pooling, unhandled = huggingface_files.pooling(tmp_path)

    assert (pooling and pooling.words) == words
    assert unhandled == left
