"""How do the original's parameters travel, so that they can be accounted for without the original?

`golden/parameters.json` holds what identifies each: name, shape, type and digests, never its values. Only parameters
that the port does not hold bit for bit (folded into another layer, or lost) keep their values, in
`golden/parameters.npz`. Both are written in the converter's process, where the original is open; whoever verifies
needs neither the original nor its framework.
"""

import io
import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reversible.equivalence.parameters import Account, Fate, account
from reversible.equivalence.signatures import Arrays, Signature, sign
from reversible.errors import BundleError

FORMAT = "reversible-parameters/1"
JSON, NPZ = "parameters.json", "parameters.npz"
_LIMIT = 1 << 28  # bytes of one file
_KEPT = 1 << 28  # bytes of values


def record(
    originals: Arrays, tensors: Arrays, epsilons: Mapping[str, float] | None = None
) -> tuple[dict[str, bytes], Account]:
    """The files, and what became of each parameter.

    Args:
        originals: Name -> array, as the original's framework calls them.
        tensors: Every constant of the port (`tensors.constants`).
        epsilons: What the original's normalisations add, by module, where that explains every epsilon of the port.

    Returns:
        File name -> content, for the bundle's `golden/` folder; and the account.
    """
    signatures = [sign(name, array) for name, array in originals.items()]
    found = account(signatures, tensors, originals)
    absent = {one.name for one in (*found.of(Fate.FOLDED), *found.of(Fate.ALTERED), *found.of(Fate.MISSING))}
    kept = _needed(originals, absent)
    signed = [replace(one, found=str(line.fate)) for one, line in zip(signatures, found.traced, strict=True)]
    document: dict[str, Any] = {"format": FORMAT, "parameters": [asdict(one) for one in signed]}
    if epsilons is not None:
        document["epsilons"] = dict(epsilons)
    files = {JSON: json.dumps(document, allow_nan=False).encode()}
    if kept:
        stream = io.BytesIO()
        named: dict[str, Any] = {f"p{at}": array for at, array in enumerate(kept.values())}
        np.savez_compressed(stream, names=np.array(list(kept)), **named)
        files[NPZ] = stream.getvalue()
    return files, found


def read(folder: Path) -> tuple[list[Signature], dict[str, NDArray[Any]]] | None:
    """The signatures and the values in a `golden/` folder; None when none were recorded.

    Raises:
        BundleError: they are damaged, or a value is not the one that its digest says.
    """
    path = folder / JSON
    if not path.exists():
        return None
    try:
        if path.stat().st_size > _LIMIT:
            raise BundleError(f"{JSON} is larger than {_LIMIT} bytes")
        document = json.loads(path.read_bytes())
        signatures = [_signature(one) for one in document["parameters"]]
        if document["format"] != FORMAT:
            raise BundleError(f"{JSON} is not of the format {FORMAT}")
        values = _values(folder / NPZ)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise BundleError(f"{JSON} or {NPZ} cannot be read: {error}") from error
    digests = {one.name: one.digest for one in signatures}
    for name, array in values.items():
        if digests.get(name) != sign(name, array).digest:
            raise BundleError(f"{NPZ}: {name} is not the parameter that {JSON} describes")
    return signatures, values


def epsilons(folder: Path) -> dict[str, float] | None:
    """What the original's normalisations add, by module; None where nobody said.

    Raises:
        BundleError: it is damaged.
    """
    path = folder / JSON
    if not path.exists():
        return None
    try:
        found = json.loads(path.read_bytes()).get("epsilons")
        return None if found is None else {str(name): float(value) for name, value in found.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise BundleError(f"{JSON} cannot be read: {error}") from error


def _needed(originals: Arrays, absent: set[str]) -> dict[str, NDArray[Any]]:
    """The absent ones, and what a fold of theirs needs: a normalisation's parameters, small, found or not."""
    beside = {name for name in originals if name.rpartition(".")[0] in {one.rpartition(".")[0] for one in absent}}
    kept: dict[str, NDArray[Any]] = {}
    total = 0
    for name in sorted(absent | beside, key=lambda one: originals[one].nbytes):
        if originals[name].dtype.kind in "fiub" and total + originals[name].nbytes <= _KEPT:
            kept[name] = np.ascontiguousarray(originals[name])
            total += originals[name].nbytes
    return kept


def _values(path: Path) -> dict[str, NDArray[Any]]:
    if not path.exists():
        return {}
    if path.stat().st_size > _LIMIT:
        raise BundleError(f"{NPZ} is larger than {_LIMIT} bytes")
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        names: Sequence[str] = [str(one) for one in archive["names"]]
        return {name: archive[f"p{at}"] for at, name in enumerate(names)}


def _signature(one: Mapping[str, Any]) -> Signature:
    return Signature(
        name=str(one["name"]), shape=tuple(int(axis) for axis in one["shape"]), dtype=np.dtype(one["dtype"]).str,
        digest=str(one["digest"]), casts={str(k): str(v) for k, v in one["casts"].items()},
        chunk_bytes=max(1, int(one["chunk_bytes"])), chunks=tuple(str(chunk) for chunk in one["chunks"]),
        rms=float(one["rms"]), uniform=bool(one["uniform"]), found=str(one.get("found", "")),
    )  # fmt: skip


def load(path: Path) -> dict[str, NDArray[Any]]:
    """The parameters in a `.safetensors` or `.npz` file: data alone, nothing is executed.

    Types that numpy does not have (BF16, F8_*) come as their bits.

    Raises:
        BundleError: it is no such file, or it is damaged.
    """
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files}
        return dict(_safetensors(path))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{path.name} is not a whole file of parameters: {error}") from error


_TYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "F8_E4M3": "u1", "F8_E5M2": "u1",
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U8": "u1",
    "U16": "<u2", "U32": "<u4", "U64": "<u8", "BOOL": "?",
}  # fmt: skip


def _safetensors(path: Path) -> Mapping[str, NDArray[Any]]:
    """Eight bytes of length, a JSON header, the tensors one after the other.

    Source: https://github.com/huggingface/safetensors, README, "Format".
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(size - 8, 100_000_000):
            raise ValueError(f"its header says that it has {length} bytes")
        header = json.loads(file.read(length))
    if not isinstance(header, dict):
        raise ValueError("its header names no tensors")
    body = np.memmap(path, dtype=np.uint8, mode="r", offset=8 + length) if size > 8 + length else np.zeros(0, np.uint8)
    found = {}
    for name, one in header.items():
        if name == "__metadata__":
            continue
        start, end = one["data_offsets"]
        if not 0 <= start <= end <= len(body):
            raise ValueError(f"{name} lies outside the file")
        found[name] = body[start:end].view(_TYPES[one["dtype"]]).reshape(one["shape"])
    return found
