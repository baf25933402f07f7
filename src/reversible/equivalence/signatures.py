"""What identifies an array without its values?

Digests of its bytes: as it is, rounded, piece by piece, and in every order of its axes.
"""

import hashlib
import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]

_CHUNK = 4096  # bytes whose digest is kept, so that a changed row is found inside a large table
_CHUNKS = 512  # at most, of one parameter: larger ones have larger chunks
_MOST_AXES = 5  # of an array whose transpositions are tried: 120 of them
SMALL = 2  # elements: scalars and flags are everywhere, so finding their bits says nothing


@dataclass(frozen=True, kw_only=True)
class Signature:
    """What identifies a parameter without its values.

    Attributes:
        name: As the original calls it.
        shape: Its shape.
        dtype: Its numpy type, "<f4".
        digest: Of its bytes, little-endian, in C order.
        casts: Digests of the same rounded to half precision, kept so or as float32 again, and, from float64, of the
            same rounded to float32.
        chunk_bytes: Length of a piece.
        chunks: Digests of its bytes, `chunk_bytes` at a time; the last may be shorter.
        rms: Root mean square of its values.
        uniform: Whether all its values are the same.
        found: What became of it when the model left (`parameters.Fate`); "" where nobody said.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    digest: str
    casts: Mapping[str, str] = field(default_factory=dict)
    chunk_bytes: int = _CHUNK
    chunks: tuple[str, ...] = ()
    rms: float = 0.0
    uniform: bool = False
    found: str = ""

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def size_bytes(self) -> int:
        return self.size * np.dtype(self.dtype).itemsize

    @property
    def trivial(self) -> bool:
        return self.size <= SMALL or self.uniform


def sign(name: str, array: NDArray[Any]) -> Signature:
    """The signature of one array."""
    content = as_bytes(array)
    kind = array.dtype.kind
    casts = {}
    if kind == "f":
        half, brain = _half(array), _brain(array)
        casts = {
            "float16": digest_of(as_bytes(half)),
            "bfloat16": digest_of(as_bytes(brain)),
            "float16, kept as float32": digest_of(as_bytes(half.astype(np.float32))),
            "bfloat16, kept as float32": digest_of(as_bytes((brain.astype(np.uint32) << 16).view(np.float32))),
        }
        if array.dtype.itemsize > 4:
            casts["float32"] = digest_of(as_bytes(array.astype(np.float32)))
    width = max(_CHUNK, -(-len(content) // _CHUNKS))
    wide = np.asarray(array, dtype=np.float64) if kind in "fiub" else np.zeros(1)
    return Signature(
        name=name,
        shape=tuple(array.shape),
        dtype=array.dtype.newbyteorder("<").str,
        digest=digest_of(content),
        casts=casts,
        chunk_bytes=width,
        chunks=chunks_of(content, width),
        rms=float(np.sqrt(np.mean(wide * wide))) if wide.size else 0.0,
        uniform=bool(wide.size == 0 or np.all(wide == wide.flat[0])),
    )


def versions(array: NDArray[Any], sizes: set[int] | None) -> Iterator[tuple[str, bytes]]:
    """The bytes of an array in each order of its axes; only the given sizes, where some are given."""
    if array.dtype.kind not in "fiub" or (sizes is not None and array.nbytes not in sizes):
        return
    yield "", as_bytes(array)
    true_axes = [axis for axis, length in enumerate(array.shape) if length > 1]
    if not 2 <= len(true_axes) <= _MOST_AXES:
        return
    squeezed = array.reshape([array.shape[axis] for axis in true_axes])
    for order in itertools.permutations(range(squeezed.ndim)):
        if list(order) != sorted(order):
            yield "transposed", as_bytes(squeezed.transpose(order))


_GATES = ((0, 2, 3, 1), (1, 0, 2))  # where torch's i, f, g, o stand in ONNX's i, o, f, c; r, z, n in z, r, h


def gated(array: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """What torch's LSTM and GRU call parameters, from the tensors that ONNX's take.

    Args:
        array: W or R, shape (directions, gates x hidden, ...), or B, (directions, 2 x gates x hidden).

    Returns:
        Each direction (and each of its two biases) with the gates in torch's order, as if it were an LSTM's and as if
        it were a GRU's; nothing for an array of another shape.

    Source:
        The ONNX operators LSTM (iofc) and GRU (zrh); torch.nn.LSTM (ifgo) and GRU (rzn).
    """
    if array.ndim not in (2, 3) or array.shape[0] not in (1, 2):
        return
    biases = 2 if array.ndim == 2 else 1
    for order in _GATES:
        if array.shape[1] and array.shape[1] % (biases * len(order)) == 0:
            for part in (half for direction in array for half in np.split(direction, biases)):
                gates = np.split(part, len(order))
                yield np.concatenate([gates[at] for at in order])


def _half(array: NDArray[Any]) -> NDArray[Any]:
    with np.errstate(over="ignore"):
        return array.astype(np.float16)


def _brain(array: NDArray[Any]) -> NDArray[Any]:
    """The bits of bfloat16: the upper half of float32, to nearest, ties to even."""
    bits = np.ascontiguousarray(array.astype("<f4")).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


def chunks_of(content: bytes, width: int) -> tuple[str, ...]:
    return tuple(digest_of(content[at : at + width]) for at in range(0, len(content), width))


def as_bytes(array: NDArray[Any]) -> bytes:
    return np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def digest_of(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()
