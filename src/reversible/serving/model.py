"""What does the ONNX file take, and what does it answer?"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reversible import onnx_graph
from reversible.assets import Asset
from reversible.equivalence import runtime
from reversible.errors import BundleError

if TYPE_CHECKING:
    from reversible.bundle.reader import Bundle

# onnxruntime's names of types -> NumPy's. Strings are Python objects.
_TYPES = {
    "tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16,
    "tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(int16)": np.int16, "tensor(int8)": np.int8,
    "tensor(uint64)": np.uint64, "tensor(uint32)": np.uint32, "tensor(uint16)": np.uint16, "tensor(uint8)": np.uint8,
    "tensor(bool)": np.bool_, "tensor(string)": np.object_,
}  # fmt: skip


@dataclass(frozen=True)
class Input:
    """One input: its name, its type, and its shape, rows first; a free dimension is None."""

    name: str
    dtype: Any
    shape: tuple[int | None, ...]


class ServedModel:
    """The model of one asset of a bundle, open in onnxruntime; several threads may ask it."""

    def __init__(self, bundle: "Bundle", asset: Asset) -> None:
        """Open it.

        Raises:
            BundleError: it cannot be run, keeps weights outside its folder, or takes something that JSON cannot carry.
        """
        path = bundle.folder(asset) / "model.onnx"
        onnx_graph.must_be_runnable(path)
        self.name = asset.name
        self._session = runtime.session(path)
        self._one_at_a_time = threading.Lock()
        self.inputs = tuple(_input(one) for one in self._session.get_inputs())
        self.outputs = tuple(str(one.name) for one in self._session.get_outputs())

    def answer(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """All outputs, by name.

        Raises:
            BundleError: the file refuses these inputs.
        """
        with self._one_at_a_time:
            try:
                answers = self._session.run(None, dict(feeds))
            except Exception as error:  # onnxruntime's own exceptions derive from Exception alone
                raise BundleError(f"the model refuses it: {runtime.first_line(error)}") from error
        return dict(zip(self.outputs, map(np.asarray, answers), strict=True))


def _input(one: Any) -> Input:
    if one.type not in _TYPES:
        raise BundleError(f"its input {one.name} is a {one.type}, which no request can carry")
    return Input(one.name, _TYPES[one.type], tuple(dim if isinstance(dim, int) else None for dim in one.shape))
