"""Does the re-run import anything of the vendor's?

Installed before any verifier is loaded: an import of a vendor package fails, as it would on a host that never
had it, and is written down with the file that asked. Looking whether one is installed
(`importlib.util.find_spec`) is answered "no" and noted apart: nothing was used.
"""

import importlib.abc
import importlib.util
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from types import ModuleType

# Packages of a vendor's platform, of the training frameworks, and our own exporting side. What belongs to the
# open formats (pyarrow, onnx, onnxruntime, numpy) is what the re-run stands on.
VENDOR_PACKAGES = (
    "aiobotocore", "anthropic", "asyncpg", "azure", "azureml", "boto3", "botocore", "catboost", "databricks",
    "google.auth", "google.cloud", "googleapiclient", "huggingface_hub", "joblib", "keras", "lightgbm", "mlflow",
    "onnxscript", "openai", "oracledb", "psycopg", "psycopg2", "psycopg_binary", "pymssql", "pyodbc",
    "reversible_exporters", "reversible_samples", "s3fs", "s3transfer", "sagemaker", "skl2onnx", "sklearn",
    "snowflake", "tensorflow", "torch", "torchvision", "transformers", "vertexai", "xgboost",
)  # fmt: skip


def vendor_package(module: str, packages: Iterable[str] = VENDOR_PACKAGES) -> str | None:
    """The vendor package that a module belongs to: "google.cloud" for "google.cloud.storage"."""
    return next((one for one in packages if module == one or module.startswith(f"{one}.")), None)


_ask = importlib.util.find_spec  # the real one


@dataclass(frozen=True)
class RefusedImport:
    """One refused import: the module, the verifier at work, the file that asked."""

    module: str
    package: str
    during: str
    by: str
    probe: bool  # only asked whether it is installed


class ImportGuard(importlib.abc.MetaPathFinder):
    """Refuses and records the imports of vendor packages; `during` says what is at work."""

    def __init__(self) -> None:
        self.refused: list[RefusedImport] = []
        self.during = "start"

    def install(self) -> None:
        """Stand before every other finder, and before `importlib.util.find_spec`."""
        sys.meta_path.insert(0, self)

        def find_spec(name: str, package: str | None = None) -> ModuleSpec | None:
            whole = importlib.util.resolve_name(name, package) if name.startswith(".") else name
            if vendor := vendor_package(whole):
                self._note(whole, vendor, probe=True)
                return None
            return _ask(name, package)

        importlib.util.find_spec = find_spec

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        vendor = vendor_package(fullname)
        if vendor is None:
            return None
        self._note(fullname, vendor, probe=_is_question())
        raise ModuleNotFoundError(f"{fullname} is a vendor's package: the re-run does not import it", name=fullname)

    def loaded(self) -> tuple[str, ...]:
        """Vendor packages that are in the process all the same: read from it, not from what was refused."""
        return tuple(sorted({found for name in list(sys.modules) if (found := vendor_package(name))}))

    def _note(self, module: str, package: str, *, probe: bool) -> None:
        entry = RefusedImport(module, package, self.during, _importer(), probe)
        if entry not in self.refused:
            self.refused.append(entry)


def _is_question() -> bool:
    """Whether the import system is asked by `importlib.util.find_spec`, held from before the guard was there."""
    frame = sys._getframe(2)
    while frame is not None and "importlib" in frame.f_code.co_filename:
        if frame.f_code is _ask.__code__:
            return True
        frame = frame.f_back  # type: ignore[assignment] # typeshed: Optional only on the attribute
    return False


def _importer() -> str:
    """The file that holds the import statement: the first frame that is neither ours nor the import system's."""
    frame = sys._getframe()
    while frame is not None:
        name = frame.f_code.co_filename
        if name != __file__ and "importlib" not in name:
            return "/".join(name.replace("\\", "/").rsplit("/", 2)[-2:])
        frame = frame.f_back  # type: ignore[assignment] # typeshed: Optional only on the attribute
    return ""
