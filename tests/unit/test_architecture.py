"""What the import contracts cannot see: plugins loaded by name, packages that come along, documents gone stale."""

import subprocess
import sys
from pathlib import Path

from reversible import registry

ROOT = Path(__file__).parents[2]
VENDORS = (
    "boto3",
    "botocore",
    "psycopg",
    "torch",
    "sklearn",
    "skl2onnx",
    "joblib",
    "onnxscript",
    "reversible_exporters",
)


def test_loading_every_verifier_loads_no_vendor_package() -> None:
    script = (
        "import sys; from reversible import registry; registry.verifiers();"
        f"came = sorted(set({VENDORS!r}) & set(sys.modules)); sys.exit(str(came) if came else 0)"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


def test_loading_every_exporter_loads_no_sdk() -> None:
    script = (
        "import sys; from reversible import registry; [registry.exporter(kind) for kind in registry.exporter_kinds()];"
        "registry.converters();"
        f"came = sorted(set({VENDORS[:-1]!r}) & set(sys.modules)); sys.exit(str(came) if came else 0)"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


def test_no_two_verifiers_plan_the_same_check() -> None:
    planned = [(metric, kind) for one in registry.verifiers().values() for kind in one.kinds for metric in one.metrics]

    assert len(planned) == len(set(planned))


def test_every_verifier_and_every_exporter_stands_in_its_readme() -> None:
    verifiers = (ROOT / "verifiers/README.md").read_text(encoding="utf-8")
    exporters = (ROOT / "exporters/README.md").read_text(encoding="utf-8")

    for name, one in registry.verifiers().items():
        assert f"`{name}`" in verifiers
        for metric in one.metrics:
            assert f"`{metric}`" in verifiers, metric
    for kind in (*registry.exporter_kinds(), *registry.converters()):
        assert f"`{kind}`" in exporters


def test_every_exit_status_of_an_error_is_documented() -> None:
    from reversible import errors

    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, errors.ReversibleError):
            assert f"**{kind.exit_status}**" in readme
