"""What does the ONNX file take, and what does it answer?"""

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reversible import golden, onnx_graph
from reversible.assets import Asset
from reversible.equivalence import runtime
from reversible.errors import BundleError
from reversible.processing import answers
from reversible.processing.raw import Processing

if TYPE_CHECKING:
    from reversible.bundle.reader import Bundle


class ServedModel:
    """The model of one asset of a bundle, open in onnxruntime; several threads may ask it.

    Attributes:
        inputs: What a request holds: what the golden set's requests held where something must become numbers first,
            texts or images, and else what the graph takes.
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
        takes = runtime.fields(self._session.get_inputs())
        gives = runtime.outputs(self._session)
        self.inputs, self.outputs = takes, {one.name: one.name for one in gives}
        self._processing: Processing | None = None
        if (folder / "golden/manifest.json").exists():
            manifest = bundle.document(asset, "golden/manifest.json")
            given = [field for field, _ in golden.declared(manifest, "inputs")]
            if len(given) > 1 or given[0].is_text or given[0].is_bytes:
                self.inputs, self._processing = tuple(given), Processing(folder / "processing", takes, given)
            recorded = [field for field, _ in golden.declared(manifest, "outputs")]
            found = answers.sources(gives, recorded)
            if len(gives) > 1 and not any(one.decided for one in found.values()):
                self.outputs = {name: one.output for name, one in found.items()} or self.outputs

    def answer(self, given: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Its answers, by the names that the endpoint gave them.

        Raises:
            BundleError: the file refuses these inputs.
        """
        feeds = dict(given) if self._processing is None else self._processing.feeds(given)
        with self._one_at_a_time:
            try:
                found = self._session.run(list(self.outputs.values()), feeds)
            except Exception as error:  # onnxruntime's own exceptions derive from Exception alone
                raise BundleError(f"the model refuses it: {runtime.first_line(error)}") from error
        return dict(zip(self.outputs, map(np.asarray, found), strict=True))
