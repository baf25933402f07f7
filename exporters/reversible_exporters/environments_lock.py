"""Which packages, of which versions and with which digests, are an environment?

`python -m reversible_exporters.environments_lock NAME REQUIREMENT...` asks pip, for every Python that we run on and
both common machines, and prints the lock file. Run it when a framework is to be newer; read the difference first.
"""

import json
import subprocess
import sys
from collections import defaultdict

_PYTHONS = ("3.11", "3.12", "3.13")
_MACHINES = ("x86_64", "aarch64")
_GLIBC = ("2_28", "2_27", "2_17", "2014")


def lock(name: str, requirements: list[str]) -> str:
    """The lock file's text: one line per package and version, a marker where Pythons or machines differ."""
    found: dict[str, dict[tuple[str, str], tuple[str, str]]] = defaultdict(dict)
    places = [(python, machine) for python in _PYTHONS for machine in _MACHINES]
    for place in list(places):
        try:
            resolved = _resolved(requirements, *place)
        except subprocess.CalledProcessError:
            places.remove(place)  # pip has said why: there are no wheels for it
            continue
        for package, version, digest in resolved:
            found[package][place] = (version, digest)
    lines = [
        f"# environment {name}: {' '.join(requirements)}",
        f"# made by reversible_exporters.environments_lock for {', '.join(' on '.join(place) for place in places)}",
    ]
    for package in sorted(found):
        versions = sorted({version for version, _ in found[package].values()})
        for version in versions:
            here = {place for place, one in found[package].items() if one[0] == version}
            digests = sorted({one[1] for place, one in found[package].items() if place in here})
            marker = "" if len(here) == len(places) else f" ; {_marker(here)}"
            lines.append(f"{package}=={version}{marker}" + "".join(f" \\\n    --hash=sha256:{one}" for one in digests))
    return "\n".join(lines) + "\n"


def _marker(places: set[tuple[str, str]]) -> str:
    one = "(python_version == '{}' and platform_machine == '{}')"
    return " or ".join(one.format(*place) for place in sorted(places))


def _resolved(requirements: list[str], python: str, machine: str) -> list[tuple[str, str, str]]:
    platforms = [f"--platform=manylinux_{glibc}_{machine}" for glibc in _GLIBC[:-1]]
    command = [
        sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--dry-run", "--ignore-installed",
        "--quiet", "--report=-", "--only-binary=:all:", f"--python-version={python}", "--implementation=cp", *platforms,
        f"--platform=manylinux2014_{machine}", "--target=/nonexistent", *requirements,
    ]  # fmt: skip
    report = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    return [
        (
            one["metadata"]["name"].lower().replace("_", "-"),
            one["metadata"]["version"],
            one["download_info"]["archive_info"]["hashes"]["sha256"],
        )
        for one in report["install"]
    ]


if __name__ == "__main__":
    sys.stdout.write(lock(sys.argv[1], sys.argv[2:]))
