"""What does onnxruntime answer, under each setting that nobody would call wrong?"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reversible.errors import BundleError
from reversible.wire import Field

Feeds = Mapping[str, NDArray[Any]]


# onnxruntime's names of types -> NumPy's. Strings are Python objects.
_TYPES = {
    "tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16,
    "tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(int16)": np.int16, "tensor(int8)": np.int8,
    "tensor(uint64)": np.uint64, "tensor(uint32)": np.uint32, "tensor(uint16)": np.uint16, "tensor(uint8)": np.uint8,
    "tensor(bool)": np.bool_, "tensor(string)": np.object_,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One legitimate way of running a model: `batch` rows at a time (None: as many as come), on `threads`, with the
    runtime's graph optimisations or without."""

    batch: int | None = None
    threads: int = 1
    optimised: bool = True


USUAL = Setting()
LEGITIMATE = (USUAL, Setting(batch=1, optimised=False), Setting(threads=2))


def session(path: Path, setting: Setting = USUAL) -> Any:
    """The file in onnxruntime, on the CPU.

    Raises:
        BundleError: it does not load.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = setting.threads
    options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # a thread that waits does not work
    if not setting.optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own exceptions derive from Exception alone
        raise BundleError(f"{path.name} cannot be run: {first_line(error)}") from error


def fields(values: Sequence[Any]) -> tuple[Field, ...]:
    """Inputs or outputs as a session lists them: names, types and shapes.

    Raises:
        BundleError: one is no tensor of a type that a request can carry.
    """
    for one in values:
        if one.type not in _TYPES:
            raise BundleError(f"{one.name} is a {one.type}, which no request can carry")
    return tuple(
        Field(one.name, _TYPES[one.type], tuple(dim if isinstance(dim, int) else None for dim in one.shape))
        for one in values
    )


def outputs(opened: Any) -> tuple[Field, ...]:
    """The outputs of a session that are tensors, in their order."""
    return fields([one for one in opened.get_outputs() if one.type in _TYPES])


def first_answers(opened: Any, feeds: Callable[[], Feeds]) -> dict[str, NDArray[Any]]:
    """All outputs by name; none at all where the runtime refuses: who asks in earnest says why."""
    try:
        return dict(zip([one.name for one in opened.get_outputs()], next(answers(opened, feeds())), strict=True))
    except BundleError:
        return {}


def ask(opened: Any, feeds: Feeds, *, batch: int | None = None, output: int = 0) -> NDArray[Any]:
    """The answers to rows of inputs, `batch` at a time.

    Args:
        opened: As `session` returns it.
        feeds: Each input, rows first.
        batch: Rows per call; None: all.
        output: Which output, by its place.

    Raises:
        BundleError: the runtime refuses.
    """
    return np.concatenate([one[output] for one in answers(opened, feeds, batch=batch)])


def answers(opened: Any, feeds: Feeds, *, batch: int | None = None) -> Iterator[list[NDArray[Any]]]:
    """All outputs, one batch after the other: no more than one batch is held. Raises as `ask`."""
    rows = len(next(iter(feeds.values())))
    size = batch or max(rows, 1)
    for first in range(0, max(rows, 1), size):
        try:
            yield opened.run(None, {name: array[first : first + size] for name, array in feeds.items()})
        except Exception as error:  # as above
            raise BundleError(f"it refuses a batch of {size}: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
