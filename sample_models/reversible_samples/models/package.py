"""What does a vendor hold of a model?

`model.tar.gz` as SageMaker keeps it - the framework's file, the card, the labels, the processing, the recipe, the
environment - and, beside it, the inputs that its owner tests it with.
"""

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path
from typing import Any

from reversible_samples.models.golden import Golden

FILES = ("model.tar.gz", "model_card.json", "golden-inputs.parquet")
SEED = 20261124
_SELF = "package.py"
_LICENCE = """\
SPDX-License-Identifier: Apache-2.0
These weights may be used, changed and run anywhere, by anyone, under the Apache License, version 2.0:
https://www.apache.org/licenses/LICENSE-2.0
The training data is CC-BY-4.0 (UCI Machine Learning Repository) and ships inside scikit-learn.
"""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A model and what its training says of it. `write` puts the framework's own file at a path."""

    model: Any
    metrics: Mapping[str, float]
    parameters: Mapping[str, Any]
    write: Callable[[Path], None]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One model of the vendor: how it is trained, saved and asked.

    `data` names the training data outside the vendor and says how to read its bytes, for a digest.
    """

    name: str
    file: str
    recipe: tuple[str, ...]  # its modules, for their source
    title: str
    labels: tuple[str, ...]
    processing: Mapping[str, Any]
    packages: tuple[str, ...]
    data: Callable[[], tuple[str, bytes]]
    train: Callable[[int], Trained]
    golden: Callable[[int], Golden]

    def keep(self, into: Path, *, seed: int = SEED) -> None:
        """The files of `save`, made anew only where those of `into` were made by other code, packages or seed."""
        made_from = into / "made-from.json"
        now = _json(self._made_from(seed))
        if not made_from.is_file() or made_from.read_bytes() != now:
            made_from.unlink(missing_ok=True)
            self.save(into, seed=seed)
            made_from.write_bytes(now)

    def save(self, into: Path, *, seed: int = SEED) -> tuple[Path, ...]:
        """Train, and write `model.tar.gz`, `model_card.json` and `golden-inputs.parquet`; return their paths."""
        into.mkdir(parents=True, exist_ok=True)
        trained = self.train(seed)
        weights = into / self.file
        trained.write(weights)
        code = {f"code/{name}": resources.files(__package__).joinpath(name).read_bytes() for name in self.recipe}
        card = _json(self._card(trained, code, seed))
        members = {
            self.file: weights.read_bytes(),
            **code,
            "environment.lock": _lock(self.packages).encode(),
            "labels.json": _json(list(self.labels)),
            "LICENSE": _LICENCE.encode(),
            "model_card.json": card,
            "preprocessing.json": _json(dict(self.processing)),
        }
        weights.unlink()
        archive, beside, inputs = (into / name for name in FILES)
        with tarfile.open(archive, "w:gz", compresslevel=6) as tar:
            for name, content in members.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
        beside.write_bytes(card)
        self.golden(seed).save(inputs)
        return archive, beside, inputs

    def _made_from(self, seed: int) -> dict[str, Any]:
        sources = {name: resources.files(__package__).joinpath(name).read_bytes() for name in (*self.recipe, _SELF)}
        return {
            "seed": seed,
            "python": platform.python_version(),
            "packages": _lock(self.packages).splitlines(),
            "sources": {name: hashlib.sha256(text).hexdigest() for name, text in sources.items()},
        }

    def _card(self, trained: Trained, code: Mapping[str, bytes], seed: int) -> dict[str, Any]:
        reference, content = self.data()
        return {
            "name": self.name,
            "title": self.title,
            "version": "1.0.0",
            "owner": "Le Comptoir des Alpes SAS",
            "licence": "Apache-2.0",
            "labels": list(self.labels),
            "decision": "argmax",
            "training_data": {"reference": reference, "sha256": hashlib.sha256(content).hexdigest()},
            "code": [{"path": path, "sha256": hashlib.sha256(text).hexdigest()} for path, text in code.items()],
            "parameters": {"seed": seed, **trained.parameters},
            "environment_lock": "environment.lock",
            "declared_metrics": {
                name: {"value": round(value, 6), "on": "held-out"} for name, value in trained.metrics.items()
            },
        }


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch on one thread inside the block: the same sums in the same order, and one core left for the others."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _lock(packages: tuple[str, ...]) -> str:
    return "".join(f"{name}=={metadata.version(name)}\n" for name in sorted(packages))


def _json(document: Any) -> bytes:
    return (json.dumps(document, ensure_ascii=False, indent=1, sort_keys=True) + "\n").encode()
