"""Is every weight of the original there, and which were changed?

No comparison of outputs sees a weight that no input uses: the embedding of a rare word, an unvisited leaf. So each
parameter is looked for in the ONNX file by its bits: as it is, transposed, as a piece or a concatenation, in half
precision, or folded into the layer before it. What is found as it was needs no trust in any input.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reversible.equivalence.folds import normalisations
from reversible.equivalence.signatures import SMALL, Arrays, Signature, as_bytes, chunks_of, digest_of, gated, versions

_ALIKE = 0.5  # the least share of equal numbers by which an altered parameter is known again
_GATES = "its gates in ONNX's order"
_TRIES = 64  # pieces of a tensor that are no parameter, before it is given up


class Fate(StrEnum):
    """What became of one parameter."""

    IDENTICAL = "identical"
    CAST = "cast"  # rounded to half precision: declared or not, never N
    FOLDED = "folded"
    ALTERED = "altered"
    MISSING = "missing"
    TRIVIAL = "trivial"  # one or two numbers, or all the same: its bits identify nothing


@dataclass(frozen=True, kw_only=True)
class Traced:
    """One parameter: what became of it, where, and how many of its elements differ (altered only)."""

    name: str
    size: int
    fate: Fate
    where: str = ""
    how: str = ""


@dataclass(frozen=True, kw_only=True)
class Account:
    """Every parameter of the original, in its order."""

    traced: tuple[Traced, ...]

    def of(self, fate: Fate) -> tuple[Traced, ...]:
        return tuple(one for one in self.traced if one.fate is fate)

    @property
    def elements(self) -> int:
        return sum(one.size for one in self.traced)

    def share(self, *fates: Fate) -> float:
        """The share of the elements with one of these fates, from 0 to 1; 1 for a model without parameters."""
        return sum(one.size for one in self.traced if one.fate in fates) / self.elements if self.elements else 1.0


def account(originals: Sequence[Signature], tensors: Arrays, values: Arrays | None = None) -> Account:
    """Look for each parameter of the original.

    Args:
        originals: The original's parameters.
        tensors: Every constant of the ONNX file, by name: initializers, and tensors inside nodes.
        values: The values of those originals that can be had; a fold can only be recognised where they are there.

    Returns:
        One line per parameter, in their order.
    """
    search = _Search(originals, tensors, values or {})
    return Account(traced=tuple(search.trace(one) for one in originals))


class _Search:
    def __init__(self, originals: Sequence[Signature], tensors: Arrays, values: Arrays) -> None:
        self._originals, self._tensors, self._values = originals, tensors, values
        self._found: dict[str, tuple[str, str]] = {}  # digest -> (tensor, how)
        sizes = {one.size * width for one in originals for width in (1, 2, 4, 8)}
        wanted = {one.digest for one in originals if not one.trivial}
        wanted |= {digest for one in originals if not one.trivial for digest in one.casts.values()}
        for name, array in tensors.items():
            for how, version in versions(array, sizes):
                digest = digest_of(version)
                if digest in wanted:
                    self._found.setdefault(digest, (name, how))
            for part in gated(array) if array.dtype.kind == "f" else ():
                digest = digest_of(as_bytes(part))
                if digest in wanted:
                    self._found.setdefault(digest, (name, _GATES))
        self._pieces()
        self._used = {name for name, _ in self._found.values()}
        recurrent = {name for name, how in self._found.values() if how == _GATES}
        self._gates = [  # of the other direction, the other bias: what is no parameter may be an altered one
            (name, part) for name in sorted(recurrent) for part in gated(tensors[name])
            if digest_of(as_bytes(part)) not in self._found
        ]  # fmt: skip

    def trace(self, one: Signature) -> Traced:
        def as_(fate: Fate, where: str = "", how: str = "") -> Traced:
            return Traced(name=one.name, size=one.size, fate=fate, where=where, how=how)

        if one.digest in self._found:
            return as_(Fate.IDENTICAL, *self._found[one.digest])
        if one.trivial:
            return as_(Fate.TRIVIAL)
        if (digest := one.casts.get("float32", "")) in self._found:
            return as_(Fate.IDENTICAL, self._found[digest][0], "rounded to float32")
        for kind, digest in one.casts.items():
            if digest in self._found:
                return as_(Fate.CAST, self._found[digest][0], f"rounded to {kind}")
        if folded := self._fold(one):
            return as_(Fate.FOLDED, *folded)
        if altered := self._altered(one):
            return as_(Fate.ALTERED, *altered)
        return as_(Fate.MISSING)

    def _pieces(self) -> None:
        """Concatenations: originals one after the other inside a tensor; splits: tensors one after the other."""
        left = [one for one in self._originals if not one.trivial and one.digest not in self._found]
        if not left:
            return
        by_size: dict[int, list[Signature]] = {}
        for one in left:
            by_size.setdefault(one.size_bytes, []).append(one)
        for name, array in self._tensors.items():
            for how, content in versions(array, None):
                self._inside(name, how, content, by_size)
        for one in left:
            if one.digest not in self._found:
                self._across(one)

    def _inside(self, name: str, how: str, content: bytes, by_size: Mapping[int, Sequence[Signature]]) -> None:
        smaller = sorted((size for size in by_size if size < len(content)), reverse=True)
        at, failed = 0, 0
        while smaller and at < len(content) and failed < _TRIES:
            for size in smaller:
                if at + size > len(content):
                    continue
                digest = digest_of(content[at : at + size])
                if any(one.digest == digest for one in by_size[size]):
                    self._found.setdefault(digest, (name, f"a piece{', ' + how if how else ''}"))
                    at += size
                    break
            else:
                at, failed = at + smaller[-1], failed + 1  # pieces have the sizes of parameters

    def _across(self, one: Signature) -> None:
        """The original cut along its first axis, or along another: its pieces in a row are its bytes."""
        if len(one.shape) < 1 or not one.chunks:
            return
        pieces = {
            name: array for name, array in self._tensors.items()
            if array.dtype.newbyteorder("<").str == one.dtype and array.nbytes < one.size_bytes and array.size > SMALL
            and one.size_bytes % array.nbytes == 0
        }  # fmt: skip
        groups: dict[tuple[int, ...], list[str]] = {}
        for name, array in pieces.items():
            groups.setdefault(array.shape, []).append(name)
        for shape, names in groups.items():
            count = one.size // math.prod(shape)
            if count > len(names) or count > 8:
                continue
            for chosen in itertools.islice(_runs(names, count), 64):
                for axis in range(len(shape)):
                    joined = np.concatenate([pieces[name] for name in chosen], axis=axis)
                    for how, content in versions(joined, {one.size_bytes}):
                        if digest_of(content) == one.digest:
                            self._found[one.digest] = (", ".join(chosen), f"split{', ' + how if how else ''}")
                            return

    def _fold(self, one: Signature) -> tuple[str, str] | None:
        """W g / sqrt(v + eps), and (b - m) g / sqrt(v + eps) + beta, recomputed in float64."""
        for fold in normalisations(self._values):
            if one.name not in fold.names:
                continue
            for name, array in self._tensors.items():
                if name not in self._used and fold.explains(array):
                    return name, f"with {', '.join(other for other in fold.names if other != one.name)}"
        return None

    def _altered(self, one: Signature) -> tuple[str, str] | None:
        """The tensor that it became: of its size, and nearly all of it the same, or of its name, or as large."""
        near: list[tuple[float, str, str]] = []
        unused = ((name, array) for name, array in self._tensors.items() if name not in self._used)
        for name, array in itertools.chain(unused, self._gates):
            if array.size != one.size or array.dtype.kind != np.dtype(one.dtype).kind:
                continue
            same, changed = self._likeness(one, array)
            named = _same_name(one.name, name)
            close = array.dtype.kind != "u" and _close(one.rms, array)  # any two texts are as large
            if same >= _ALIKE or named or close:
                near.append((same + named, name, changed))
        if not near:
            return None
        _, name, changed = max(near)
        return name, changed

    def _likeness(self, one: Signature, array: NDArray[Any]) -> tuple[float, str]:
        if one.name in self._values:
            mine = np.ascontiguousarray(self._values[one.name])
            off = mine.reshape(-1) != np.asarray(array).reshape(-1)
            first = int(np.argmax(off))
            place = np.unravel_index(first, mine.shape) if mine.ndim else ()
            text = f"{int(off.sum())} of {one.size} numbers differ, first at {[int(one) for one in place]}"
            return float(1 - off.mean()), text
        content = as_bytes(array)
        chunks = chunks_of(content, one.chunk_bytes)
        if len(chunks) != len(one.chunks):
            return 0.0, "another type"
        off_chunks = [at for at, (mine, theirs) in enumerate(zip(one.chunks, chunks, strict=True)) if mine != theirs]
        item = np.dtype(one.dtype).itemsize
        at = off_chunks[0] * one.chunk_bytes // item if off_chunks else 0
        width = one.shape[-1] if one.shape else 1
        text = f"{len(off_chunks)} of {len(chunks)} pieces differ, the first holds row {at // max(width, 1)}"
        return 1 - len(off_chunks) / len(chunks), text


def _runs(names: Sequence[str], count: int) -> Iterator[tuple[str, ...]]:
    """Neighbours first: what was split stands side by side."""
    for start in range(len(names) - count + 1):
        yield tuple(names[start : start + count])
    yield from itertools.permutations(names, count)


def _same_name(original: str, tensor: str) -> bool:
    return tensor == original or tensor.endswith((f".{original}", f"/{original}"))


def _close(rms: float, array: NDArray[Any]) -> bool:
    wide = np.asarray(array, dtype=np.float64)
    return bool(rms > 0 and abs(float(np.sqrt(np.mean(wide * wide))) / rms - 1) < 0.02)
