"""What does the ONNX file take, and what does it answer?"""

import threading
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reversible import golden, onnx_graph
from reversible.assets import Asset
from reversible.equivalence import runtime
from reversible.equivalence.decisions import decide
from reversible.errors import BundleError
from reversible.processing.answers import Source, label_of, sources
from reversible.processing.asked import Asked
from reversible.processing.raw import Processing

if TYPE_CHECKING:
    from reversible.bundle.reader import Bundle


class ServedModel:
    """The model of one asset of a bundle, open in onnxruntime; several threads may ask it.

    Attributes:
        inputs: What a request holds: what the golden set's requests held where something must become numbers first,
            texts or images, and else what the graph takes.
        bare: Whether the endpoint answered with a list, as Hugging Face's toolkit does, and not `{"predictions": ...}`.
    """

    def __init__(self, bundle: "Bundle", asset: Asset) -> None:
        """Open it.

        Raises:
            BundleError: it cannot be run, keeps weights outside its folder, or takes something that JSON cannot carry.
        """
        folder = bundle.folder(asset)
        onnx_graph.must_be_runnable(folder / "model.onnx")
        self.name = asset.name
        self._session = runtime.session(folder / "model.onnx")
        self._one_at_a_time = threading.Lock()
        self.inputs, gives = runtime.fields(self._session.get_inputs()), runtime.outputs(self._session)
        self.bare = False
        self._processing: Processing | None = None
        self._whole: set[str] = set()  # labels that are numbers
        self._deciding = [one.name for one in gives if not one.is_text and np.dtype(one.dtype).kind == "f"][:1]
        self._names = [one.name for one in gives]  # of what is answered, in its order
        self._sources = {name: Source(name) for name in self._names}
        if not (folder / "golden/manifest.json").exists():
            return
        document = bundle.document(asset, "model.json")
        self._rule, self._labels = str(document.get("decision") or "argmax"), list(document.get("labels") or [])
        manifest = bundle.document(asset, "golden/manifest.json")
        given = [field for field, _ in golden.declared(manifest, "inputs")]
        if len(given) > 1 or given[0].is_text or given[0].is_bytes:
            processing = Processing(folder / "processing", self.inputs, given)
            self.inputs, self._processing = tuple(given), processing
        recorded = golden.read(folder / "golden", manifest, "outputs")
        self.bare = manifest.get("signature", {}).get("answered_as") == "list"
        if len(recorded) > 1 or len(gives) > 1 or label_of(gives, recorded) is not None:
            self._names = [one.field.name for one in recorded]
            inputs = golden.read(folder / "golden", manifest, "inputs")
            asked = Asked(inputs, Processing(folder / "processing", runtime.fields(self._session.get_inputs()), given))
            first = partial(runtime.first_answers, self._session, partial(asked.feeds, np.array([0])))
            self._sources = sources(gives, recorded, folder / "processing", first)
            self._whole = {one.field.name for one in recorded if not one.field.is_text}

    def answer(self, given: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Its answers, by the names that the endpoint gave them; a text is the name of the class that is decided.

        Raises:
            BundleError: the file refuses these inputs.
        """
        feeds = dict(given) if self._processing is None else self._processing.feeds(given)
        wanted = list(dict.fromkeys(one.output for one in self._sources.values())) or self._deciding
        with self._one_at_a_time:
            try:
                found = dict(zip(wanted, self._session.run(wanted, feeds), strict=True))
            except Exception as error:  # onnxruntime's own exceptions derive from Exception alone
                raise BundleError(f"the model refuses it: {runtime.first_line(error)}") from error
        return {name: self._of(name, found) for name in self._names}

    def _of(self, name: str, found: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        if name in self._sources:
            source = self._sources[name]
            made = source.of(np.asarray(found[source.output]))
            return made[:, 0] if source.decided else made
        table = next(iter(found.values()))
        decided = decide(table.reshape(len(table), -1), self._rule)
        if name in self._whole:
            return decided
        named = [str(self._labels[one]) if one < len(self._labels) else f"#{one}" for one in decided.tolist()]
        return np.array(named, dtype=object)
