"""How do loops that numba compiled once serve every later process, without numba's start of more than a second?

The machine code of `kernels.py` lies in a folder that only its user may write, since what lies there is run. Its name
says all that it depends on. llvmlite alone loads it, in a tenth of a second; numba is imported where there is no such
file yet, and takes seconds then.
"""

import ctypes
import hashlib
import importlib
import importlib.util
import logging
import os
import platform
import stat
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

# The forms in which a column comes: addresses of low words, high words, flags of NULLs; of pairs of words and flags;
# of 32-bit integers, nothing, and flags; of cells in lanes 0 and 1, and an index of 64 or 32 bits.
WORDS, PAIRS, INTS, CELLS, CELLS32 = 0, 1, 2, 3, 4
FIELDS = 12  # of a column: form, of the key or not, three addresses, four seeds; where the key's words go, lie, count
SCRATCH = 8  # words for each row at work, beside its image
SHORT = 128  # bytes: `xxh3_128` leaves longer values out

log = logging.getLogger(__name__)

_SOURCES = ("compiled", "kernels", "kernels_memory", "kernels_xxh3", "mixing", "sketch")
_DIGEST_BYTES = 32

Loop = Callable[..., int]


@dataclass(frozen=True)
class Loops:
    """The loops of `kernels.py`: they take whole numbers of 64 bits, mostly addresses, and give one back."""

    add: Loop
    xxh3_128: Loop


@lru_cache(maxsize=1)
def loops() -> Loops | None:
    """The compiled loops, compiled now if need be; None without numba or without a safe folder for the machine code."""
    path = _path()
    if path is None:
        return None
    code = _read(path)
    if code is None:
        code = _compile()
        try:
            _write(path, code)
        except OSError as error:
            log.warning("compiled loops serve this process only: %s", error)
    return _load(code)


def needed() -> Loops:
    """The compiled loops.

    Raises:
        ModuleNotFoundError: there is no numba, or no safe place for its machine code.
    """
    found = loops()
    if found is None:
        raise ModuleNotFoundError("numba is not installed (extra `fast`), or has no folder that only we may write")
    return found


def loaded() -> Loops | None:
    """The same, if somebody has found them worth loading already."""
    return loops() if loops.cache_info().currsize else None


@lru_cache(maxsize=1)
def ready() -> bool:
    """Whether `loops` would not have to compile anything."""
    path = _path()
    return path is not None and path.exists()


@lru_cache(maxsize=1)
def _path() -> Path | None:
    """Where the machine code lies for these sources, packages and this processor."""
    if any(importlib.util.find_spec(name) is None for name in ("numba", "llvmlite")):
        return None
    folder = _private_folder()
    if folder is None:
        return None
    from importlib.metadata import version  # in the function: it is slow to import

    said = hashlib.sha256()
    for part in (
        version("numba"), version("llvmlite"), version("numpy"), platform.python_version(), platform.machine(),
        *(Path(__file__).with_name(f"{name}.py").read_text() for name in _SOURCES), *_processor(),
    ):  # fmt: skip
        said.update(len(part).to_bytes(8, "big") + part.encode())
    return folder / f"{said.hexdigest()}.o"


def _private_folder() -> Path | None:
    """A folder of ours that nobody else may write; None when there cannot be one."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path("~/.cache").expanduser())
    folder = Path(base) / "reversible" / "numba"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except (OSError, RuntimeError):
        return None
    safe = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022
    return folder if safe and os.access(folder, os.W_OK) else None


def _read(path: Path) -> bytes | None:
    """The machine code; None where there is no file, or a damaged one: LLVM would end the process over it."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    digest, code = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    return code if hashlib.sha256(code).digest() == digest else None


def _write(path: Path, code: bytes) -> None:
    """Other processes see the whole file or none."""
    partial = path.with_suffix(f".{os.getpid()}")
    try:
        partial.write_bytes(hashlib.sha256(code).digest() + code)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


# --- LLVM -------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _llvm() -> Any:
    llvm: Any = importlib.import_module("llvmlite.binding")
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm


def _processor() -> tuple[str, str]:
    """Its name and what it can do, as LLVM sees it."""
    llvm = _llvm()
    return llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()


def _machine() -> Any:
    llvm, (name, features) = _llvm(), _processor()
    target = llvm.Target.from_triple(llvm.get_process_triple())
    return target.create_target_machine(cpu=name, features=features, opt=3, jit=True)


def _compile() -> bytes:
    """Have numba compile the loops.

    Raises:
        RuntimeError: the code needs something that llvmlite alone does not bring.
    """
    llvm = _llvm()
    numba: Any = importlib.import_module("numba")
    whole = llvm.parse_assembly("")
    for name, (loop, count) in importlib.import_module("reversible.fingerprint.kernels").LOOPS.items():
        signature = numba.int64(*[numba.int64] * count)
        compiled = numba.njit(signature, no_cpython_wrapper=True, no_cfunc_wrapper=True)(loop)
        module = llvm.parse_assembly(compiled.inspect_llvm(compiled.signatures[0]))
        outside = llvm.Linkage.external  # its helpers are not
        (found,) = (one for one in module.functions if not one.is_declaration and one.linkage == outside)
        found.name = f"reversible_{name}"
        whole.link_in(module)
    foreign = [one.name for one in whole.functions if one.is_declaration and not one.name.startswith("llvm.")]
    if foreign:
        raise RuntimeError(f"the compiled loops call {', '.join(foreign)}")
    code: bytes = _machine().emit_object(whole)
    return code


def _load(code: bytes) -> Loops:
    llvm = _llvm()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _machine())
    engine.add_object_file(llvm.object_file.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return Loops(*(_callable(engine, name) for name in Loops.__dataclass_fields__))


def _callable(engine: Any, name: str) -> Loop:
    """A loop as numba calls it: where to put what it gives and an error, then its arguments; gives a status."""
    function = ctypes.CFUNCTYPE(ctypes.c_int32)(engine.get_function_address(f"reversible_{name}"))

    def call(*arguments: int) -> int:
        found, error = ctypes.c_int64(), ctypes.c_void_p()
        status = function(ctypes.byref(found), ctypes.byref(error), *map(ctypes.c_int64, arguments))
        if status:
            raise RuntimeError(f"the compiled loop {name} ended with status {status}")
        return found.value

    call.engine = engine  # type: ignore[attr-defined]  # its memory goes with it
    return call
