"""What does the original itself answer, in float64, and in float32 by more than one way?

The white box. Where the model's own framework is at hand, in the converter's process, the reference need not be the
port: a fault that sits in the port is then not in the reference. `golden/original.npz` keeps the original's answers by
the digests of the inputs; `against` puts them in the place of the port's.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reversible.equivalence import archives
from reversible.equivalence.floor import APART, noise_floor
from reversible.equivalence.reference import ORIGINAL, Reference

NPZ = "original.npz"
Digests = NDArray[np.uint8]  # (rows, 16): BLAKE2b-128 of each input


@dataclass(frozen=True, kw_only=True)
class OriginalAnswers:
    """The answers of the original, output by output in the graph's order, each (rows, ...).

    Attributes:
        engine: The framework and its version.
        inputs: Their digests.
        exact: In float64.
        evaluations: In float32, by what is special about each: "as it is", "other kernels".
    """

    engine: str
    inputs: Digests
    exact: Sequence[NDArray[Any]]
    evaluations: Mapping[str, Sequence[NDArray[Any]]]


def write(answers: OriginalAnswers) -> bytes:
    """As `golden/original.npz`."""
    arrays: dict[str, Any] = {f"exact {number}": array for number, array in enumerate(answers.exact)}
    for how, found in answers.evaluations.items():
        arrays |= {f"{how} {number}": array for number, array in enumerate(found)}
    stream = io.BytesIO()
    np.savez_compressed(
        stream, engine=np.array(answers.engine), inputs=answers.inputs, ways=np.array(list(answers.evaluations)),
        **arrays,
    )  # fmt: skip
    return stream.getvalue()


def read(folder: Path) -> OriginalAnswers | None:
    """What a `golden/` folder holds; None when it holds none.

    Raises:
        BundleError: it is damaged.
    """
    path = folder / NPZ
    if not path.exists():
        return None
    with archives.opened(path) as archive:
        count = sum(name.startswith("exact ") for name in archive.files)
        ways = [str(one) for one in archive["ways"]]
        return OriginalAnswers(
            engine=str(archive["engine"]), inputs=archive["inputs"],
            exact=[archive[f"exact {number}"] for number in range(count)],
            evaluations={how: [archive[f"{how} {number}"] for number in range(count)] for how in ways},
        )  # fmt: skip


def against(
    port: Reference,
    answers: OriginalAnswers,
    inputs: Digests,
    *,
    output: int,
    post: Callable[[NDArray[Any]], NDArray[Any]] = np.asarray,
) -> Reference | None:
    """The reference with the original's answers in the place of the port's.

    The floor is that of the port's arithmetic and the last bit, widened by the error of the original's own float32
    evaluations: nobody would call the vendor's own kernels wrong. They widen it to `APART` times at most, as the port's
    own do: an original that answers as if drawn at random must not excuse everything.

    Args:
        port: The black box of the same inputs.
        answers: The original's.
        inputs: The digests of the inputs that `port` is about, in its order.
        output: Which output, by its place in the graph.
        post: What is done to every answer (rows, ...) before it is one.

    Returns:
        None where the original was not asked one of them, or answers in another shape.
    """
    places = {one.tobytes(): place for place, one in enumerate(answers.inputs)}
    found = [places.get(one.tobytes()) for one in inputs]
    if any(one is None for one in found) or output >= len(answers.exact):
        return None
    rows = np.array(found, dtype=np.int64)
    exact = _table(post(answers.exact[output][rows]))
    if exact.shape != port.answers.shape:
        return None
    evaluations = [_table(post(one[output][rows])) for one in answers.evaluations.values()]
    about = {**port.about, "engine": answers.engine, "evaluations": [*port.about["evaluations"], *answers.evaluations]}
    wide = noise_floor(exact, evaluations)
    widened = np.where(np.isfinite(wide), np.minimum(wide, APART * port.floor), wide)
    return replace(port, answers=exact, floor=np.maximum(port.floor, widened), source=ORIGINAL, about=about)


def _table(answers: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(answers, dtype=np.float64).reshape(len(answers), -1)
