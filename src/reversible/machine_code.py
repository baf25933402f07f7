"""How do loops that numba compiled once serve every later process, without numba's start of more than a second?

The machine code of a module of kernels lies in a folder that only its user may write, since what lies there is run. Its
name says all that it depends on. llvmlite alone loads it, in a tenth of a second; numba is imported where there is no
such file yet, and takes seconds then.
"""

import ctypes
import hashlib
import importlib
import importlib.util
import logging
import os
import platform
import stat
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

_DIGEST_BYTES = 32

Loop = Callable[..., int]


class Kernels:
    """The loops of one module, compiled: they take whole numbers of 64 bits, mostly addresses, and give one back.

    Args:
        module: Its name. Its `LOOPS` has the loops by name, and how many int64 each takes; only numba imports it.
        names: The names of its loops.
        sources: All files that the machine code follows from.
    """

    def __init__(self, module: str, names: Sequence[str], sources: Sequence[Path]) -> None:
        self._module = module
        self._names = names
        self._sources = sources
        self._lock = threading.Lock()
        self._loops: Mapping[str, Loop] | None = None
        self._tried = False

    def loops(self) -> Mapping[str, Loop] | None:
        """The compiled loops, compiled now if need be; None without numba or without a safe folder for the code."""
        with self._lock:
            if not self._tried:
                self._loops = self._found()
                self._tried = True
        return self._loops

    def loaded(self) -> Mapping[str, Loop] | None:
        """The same, if somebody has found them worth loading already."""
        return self._loops

    @cached_property
    def ready(self) -> bool:
        """Whether `loops` would not have to compile anything."""
        return self._path is not None and self._path.exists()

    def _found(self) -> Mapping[str, Loop] | None:
        path = self._path
        if path is None:
            return None
        code = read(path)
        if code is None:
            code = _compile(self._module)
            try:
                write(path, code)
            except OSError as error:
                log.warning("compiled loops serve this process only: %s", error)
        return _load(code, self._names)

    @cached_property
    def _path(self) -> Path | None:
        """Where the machine code lies for these sources, packages and this processor."""
        if any(importlib.util.find_spec(name) is None for name in ("numba", "llvmlite")):
            return None
        folder = private_folder()
        if folder is None:
            return None
        from importlib.metadata import version  # in the function: it is slow to import

        said = hashlib.sha256()
        for part in (
            version("numba"), version("llvmlite"), version("numpy"), platform.python_version(), platform.machine(),
            Path(__file__).read_text(), *(one.read_text() for one in self._sources), *_processor(),
        ):  # fmt: skip
            said.update(len(part).to_bytes(8, "big") + part.encode())
        return folder / f"{said.hexdigest()}.o"


def private_folder() -> Path | None:
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


def read(path: Path) -> bytes | None:
    """The machine code; None where there is no file, or a damaged one: LLVM would end the process over it."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    digest, code = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    return code if hashlib.sha256(code).digest() == digest else None


def write(path: Path, code: bytes) -> None:
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


def _compile(kernels: str) -> bytes:
    """Have numba compile the loops of a module.

    Raises:
        RuntimeError: the code needs something that llvmlite alone does not bring.
    """
    llvm = _llvm()
    numba: Any = importlib.import_module("numba")
    whole = llvm.parse_assembly("")
    for name, (loop, count) in importlib.import_module(kernels).LOOPS.items():
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


def _load(code: bytes, names: Sequence[str]) -> Mapping[str, Loop]:
    llvm = _llvm()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _machine())
    engine.add_object_file(llvm.object_file.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return {name: _callable(engine, name) for name in names}


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
