"""Four models of a vendor that take what real endpoints take: French texts, several values, images.

`write(folder)` makes each one's `model.tar.gz` and the inputs that its owner has; small, trained or drawn in a moment.
"""

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

LABELS = ["négatif", "neutre", "positif"]
_SUBJECTS = ["Le produit", "La livraison", "Le vendeur", "L’été", "Cette crème", "Mon café", "Le château", "La qualité"]
_JUDGED = {
    "positif": ["est génial", "était très agréable", "me plaît énormément", "est de qualité", "arrive en avance"],
    "négatif": ["est déçu et cassé", "était épouvantable", "ne fonctionne pas", "est abîmé", "arrive en retard"],
    "neutre": ["est correct", "fait son œuvre", "ressemble à la photo", "est comme prévu", "coûte douze euros"],
}  # fmt: skip
_ENDS = ["", " !", ", vraiment.", " ; à noter.", " pour ma mère", " (2e achat)"]


def reviews() -> tuple[list[str], list[int]]:
    """720 French sentences and what they say."""
    rows = [
        (f"{subject} {judged}{end}", LABELS.index(label))
        for label, all_judged in _JUDGED.items()
        for judged in all_judged
        for subject in _SUBJECTS
        for end in _ENDS
    ]
    return [text for text, _ in rows], [label for _, label in rows]


def write(folder: Path) -> dict[str, Path]:
    """Name -> the folder with `model.tar.gz` and, where its owner has inputs, `inputs.parquet`."""
    made: dict[str, Callable[[Path], dict[str, bytes]]] = {
        "avis": _vectorised, "avis-bert": _bert, "dossiers": _two_values, "tuiles": _images,
    }  # fmt: skip
    places = {}
    for name, make in made.items():
        place = folder / name
        place.mkdir(parents=True)
        with tarfile.open(place / "model.tar.gz", "w:gz") as tar:
            for member, content in make(place).items():
                entry = tarfile.TarInfo(member)
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
        places[name] = place
    return places


def _vectorised(place: Path) -> dict[str, bytes]:
    """TF-IDF of words and pairs of words with their accents, logistic regression."""
    import joblib
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    texts, labels = reviews()
    model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression(C=20.0, max_iter=300))
    model.fit(texts[::2], labels[::2])
    table = {
        "text": texts,
        "label": pa.array(labels, pa.int32()),
        "origin": ["held-out", "trained-on"] * (len(texts) // 2),
    }
    pq.write_table(pa.table(table), place / "inputs.parquet")
    stream = io.BytesIO()
    joblib.dump(model, stream)
    return {
        "model.joblib": stream.getvalue(), "labels.json": _json(LABELS),
        "serving.json": _json({"takes": "texts", "answers": "label and probabilities"}),
    }  # fmt: skip


def _bert(place: Path) -> dict[str, bytes]:
    """A small BERT with a tokenizer of its own that drops case and accents, behind Hugging Face's toolkit."""
    import tokenizers
    import torch
    import transformers
    from tokenizers import models, normalizers, pre_tokenizers, processors

    texts, _ = reviews()
    normal = normalizers.BertNormalizer(lowercase=True, strip_accents=True)
    words = sorted({word for text in texts for word in normal.normalize_str(text).replace("’", " ").split()})
    letters = [chr(one) for one in range(ord("a"), ord("z") + 1)]
    tokens = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        *words,
        *letters,
        *(f"##{one}" for one in letters),
        *"’.,!;()0123456789",
    ]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    tokenizer = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normal
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    folder = place / "hf"
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        model_max_length=64,
    ).save_pretrained(folder)  # fmt: skip
    torch.manual_seed(5)
    config = transformers.BertConfig(
        vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=64, initializer_range=0.4, id2label=dict(enumerate(LABELS)),
        label2id={label: number for number, label in enumerate(LABELS)},
    )  # fmt: skip
    transformers.BertForSequenceClassification(config).eval().save_pretrained(folder)
    how = {"takes": "texts", "answers": "label and score", "toolkit": True, "refuses_empty": True}
    return {path.name: path.read_bytes() for path in folder.iterdir()} | {
        "labels.json": _json(LABELS), "serving.json": _json(how)
    }  # fmt: skip


def _two_values(place: Path) -> dict[str, bytes]:
    """Codes and a mask in, scores and the place of the largest out."""
    import torch

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.codes = torch.nn.Embedding(40, 8)
            self.head = torch.nn.Linear(8, 4)

        def forward(self, codes: Any, known: Any) -> tuple[Any, Any]:
            kept = known.to(torch.float32).unsqueeze(-1)
            scores = self.head((self.codes(codes) * kept).sum(1) / (kept.sum(1) + 1.0))
            return torch.softmax(scores, dim=1), scores.argmax(dim=1)

    torch.manual_seed(3)
    batch = torch.export.Dim("batch", max=4096)
    example = (torch.zeros((3, 6), dtype=torch.int64), torch.ones((3, 6), dtype=torch.bool))
    torch.export.save(
        torch.export.export(Net().eval(), example, dynamic_shapes={"codes": {0: batch}, "known": {0: batch}}),
        place / "model.pt2",
    )
    inputs = [{"name": "codes", "type": "int64"}, {"name": "known", "type": "bool"}]
    how = {"takes": "objects", "inputs": inputs, "answers": "outputs", "outputs": ["scores", "first"]}
    return {"model.pt2": (place / "model.pt2").read_bytes(), "serving.json": _json(how)}


def _images(place: Path) -> dict[str, bytes]:
    """A small CNN on coloured tiles of 16 x 12 pixels, sent as PNG."""
    import torch

    torch.manual_seed(7)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 6, 3, padding=1), torch.nn.BatchNorm2d(6), torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d((2, 2)), torch.nn.Flatten(), torch.nn.Linear(24, 3), torch.nn.Softmax(dim=1),
    ).eval()  # fmt: skip
    with torch.no_grad():
        net[5].weight.mul_(8)
    batch = torch.export.Dim("batch", max=4096)
    example = (torch.zeros(3, 3, 16, 12),)
    torch.export.save(torch.export.export(net, example, dynamic_shapes={"input": {0: batch}}), place / "model.pt2")
    rules = {
        "format": "reversible-image/1", "mode": "RGB", "size": [16, 12], "scale": 1 / 255,
        "mean": [0.4, 0.45, 0.5], "std": [0.2, 0.25, 0.3], "layout": "NCHW",
    }  # fmt: skip
    how = {"takes": "image", "answers": "outputs", "outputs": ["probabilities"]}
    return {
        "model.pt2": (place / "model.pt2").read_bytes(), "preprocessing.json": _json(rules),
        "labels.json": _json(["mur", "toit", "arbre"]), "serving.json": _json(how),
    }  # fmt: skip


def _json(document: Any) -> bytes:
    return json.dumps(document, ensure_ascii=False, indent=1).encode()
