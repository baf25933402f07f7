"""What arrays does a NumPy archive (.npz) hold?

Twice: by NumPy, and by the published layout of the format (NEP 1, "A Simple File Format for NumPy Arrays": a magic
word, a version, the length of a header, a Python literal, the numbers), read without NumPy. Neither unpickles.
"""

import ast
import hashlib
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

Arrays = dict[str, tuple[str, tuple[int, ...], bool, str]]  # name -> type, shape, Fortran order, SHA-256 of the numbers
_MAGIC = b"\x93NUMPY"
_LENGTHS = {1: "<H", 2: "<I", 3: "<I"}  # of the header, by the format's version


def by_numpy(path: Path) -> Arrays:
    """As NumPy reads it. Raises ValueError for pickled objects and damage."""
    found: Arrays = {}
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        for name in archive.files:
            array = archive[name]
            fortran = array.flags.f_contiguous and not array.flags.c_contiguous
            numbers = array.tobytes(order="F" if fortran else "C")
            found[name] = (array.dtype.str, array.shape, fortran, hashlib.sha256(numbers).hexdigest())
    return found


def by_layout(path: Path) -> Arrays:
    """As its layout says. Raises ValueError where a member is not laid out so; zipfile checks each member's CRC-32."""
    found: Arrays = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.namelist():
            name, _, suffix = member.rpartition(".")
            if suffix != "npy":
                raise ValueError(f"{member} is no array")
            found[name] = _array(member, archive.read(member))
    return found


def _array(member: str, content: bytes) -> tuple[str, tuple[int, ...], bool, str]:
    length = _LENGTHS.get(content[6]) if content.startswith(_MAGIC) and len(content) > 8 else None
    if length is None:
        raise ValueError(f"{member} is no array")
    start = 8 + struct.calcsize(length)
    end = start + int(struct.unpack_from(length, content, 8)[0])
    header: dict[str, Any] = ast.literal_eval(content[start:end].decode("utf-8" if content[6] == 3 else "latin-1"))
    if set(header) != {"descr", "fortran_order", "shape"} or "O" in str(header["descr"]):
        raise ValueError(f"{member} holds objects, or no array")
    shape = tuple(int(size) for size in header["shape"])
    fortran = bool(header["fortran_order"])
    return str(header["descr"]), shape, fortran, hashlib.sha256(content[end:]).hexdigest()
