"""What is our own wheel in a kit? The verifying side as it is installed here, and nothing that touches a vendor.

Made again from the installed files, byte for byte the same each time: so a kit's digest says which code it holds,
and whoever has the same version installed can make the same wheel and compare.
"""

import base64
import csv
import hashlib
import importlib.util
import io
import re
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

PACKAGES = ("reversible", "reversible_verifiers")
_DISTRIBUTION = "reversible-toolkit"
_GROUPS = ("console_scripts", "reversible.verifiers")  # the other groups name plugins of the exporting side
_LONG_AGO = (1980, 1, 1, 0, 0, 0)  # the first moment that a zip file can hold


def own_wheel(folder: Path) -> Path:
    """Write the wheel into `folder`; its version ends in +kit, for it holds less than the published one."""
    own = distribution(_DISTRIBUTION)
    version = f"{own.version}+kit"
    info = f"reversible_toolkit-{version}.dist-info"
    members = dict(_code())
    members[f"{info}/METADATA"] = _metadata(own, version).encode()
    members[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: reversible\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    members[f"{info}/entry_points.txt"] = _entry_points(own).encode()
    members[f"{info}/RECORD"] = _record(members, f"{info}/RECORD").encode()
    path = folder / f"reversible_toolkit-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(members):
            one = zipfile.ZipInfo(name, _LONG_AGO)
            one.external_attr = 0o644 << 16
            one.compress_type = zipfile.ZIP_STORED  # the same bytes whatever zlib is here
            archive.writestr(one, members[name])
    return path


def requirements() -> list[str]:
    """What the default install needs, without extras."""
    found = distribution(_DISTRIBUTION).requires or []
    return [one for one in found if not re.search(r"\bextra\s*==", one)]


def _code() -> Iterator[tuple[str, bytes]]:
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        assert spec is not None and spec.origin is not None  # noqa: S101, PT018 - both are in this distribution
        root = Path(spec.origin).parent
        for path in sorted(root.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc":
                yield f"{package}/{path.relative_to(root).as_posix()}", path.read_bytes()


def _metadata(own: Distribution, version: str) -> str:
    kept = ["Metadata-Version: 2.4", f"Name: {_DISTRIBUTION}", f"Version: {version}"]
    kept += [f"Requires-Python: {own.metadata['Requires-Python']}", f"License-Expression: {_licence(own)}"]
    return "\n".join([*kept, *(f"Requires-Dist: {one}" for one in requirements()), ""])


def _licence(own: Distribution) -> str:
    return str(own.metadata["License-Expression"] or "Apache-2.0")


def _entry_points(own: Distribution) -> str:
    lines = []
    for group in _GROUPS:
        lines += [f"[{group}]", *sorted(f"{one.name} = {one.value}" for one in own.entry_points if one.group == group)]
    return "\n".join([*lines, ""])


def _record(members: dict[str, bytes], own: str) -> str:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    for name in sorted(members):
        digest = base64.urlsafe_b64encode(hashlib.sha256(members[name]).digest()).rstrip(b"=").decode()
        rows.writerow((name, f"sha256={digest}", len(members[name])))
    rows.writerow((own, "", ""))
    return text.getvalue()
