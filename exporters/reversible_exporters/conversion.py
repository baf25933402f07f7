"""How is a vendor's model file opened without trusting it?

In a process of its own, behind the fence: no network, none of our environment's variables, an empty home. What
came with the file may run there, and can take nothing from here. `python -m reversible_exporters.conversion NAME
IN OUT` is that process; `convert` starts it.
"""

import json
import os
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reversible import fence, registry
from reversible.errors import ReversibleError, SourceError, UsageError

_TIME_S = 900.0
_KEPT = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH")  # where programs are: no secret, and nothing works without
_HIDDEN = (".aws", ".ssh", ".config", ".netrc", ".pgpass", ".docker", ".kube", ".reversible")  # where secrets lie


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """What the converter said, and what the fence saw.

    `attempts` are the addresses that the model's code tried to reach; without `counted` nobody watched, and an
    empty list means nothing.
    """

    converter: str
    executed_vendor_code: bool
    described: dict[str, Any]
    fence: str
    attempts: tuple[str, ...]
    counted: bool


def converter_for(path: str) -> str | None:
    """The name of the installed converter that takes a file, by its suffix."""
    for name, converter in registry.converters().items():
        if any(path.endswith(suffix) for suffix in converter.suffixes):
            return name
    return None


def convert(name: str, source: Path, target: Path, *, stop: threading.Event | None = None) -> Conversion:
    """Run one converter behind the fence, until `stop` is set.

    Raises:
        SourceError: the file cannot be converted; the message says why.
    """
    home = Path.home()
    hidden = [home / entry for entry in _HIDDEN if (home / entry).exists()]
    with tempfile.TemporaryDirectory(prefix="reversible-convert-") as empty:
        environment = {
            **{name: os.environ[name] for name in _KEPT if name in os.environ},
            "HOME": empty, "TMPDIR": empty, "LANG": "C.UTF-8",
            "USER": "reversible", "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1",
        }  # fmt: skip
        command = [sys.executable, "-m", "reversible_exporters.conversion", name, str(source), str(target)]
        try:
            done = fence.run(command, env=environment, cwd=Path(empty), timeout_s=_TIME_S, hide=hidden, stop=stop)
        except OSError as error:
            raise SourceError(f"{source.name}: {error}") from error
    answer = _last_json(done.stdout)
    if answer is not None and "error" in answer:
        raise SourceError(answer["error"], hint=answer["hint"])
    if done.returncode != 0 or answer is None:
        late = "was stopped" if stop is not None and stop.is_set() else "took too long"
        how = late if done.returncode is None else f"ended with status {done.returncode}"
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise SourceError(f"{source.name}: its conversion {how}: {last[:300]}")
    tried = tuple(f"{one.proto} {one.host}:{one.port}" for one in done.attempts if not one.allowed)
    return Conversion(
        converter=name,
        executed_vendor_code=registry.converters()[name].executes_vendor_code,
        described=answer,
        fence=done.kind,
        attempts=tried,
        counted=done.counted,
    )


def _last_json(stdout: str) -> dict[str, Any] | None:
    """The last line is ours; what a model prints while it is opened comes before it."""
    try:
        document = json.loads((stdout.splitlines() or [""])[-1])
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def main(name: str, source: str, target: str) -> int:
    """The inside of the fence: one line of JSON on standard output."""
    converters = registry.converters()
    try:
        if name not in converters:
            raise UsageError(f"no converter is called {name!r}")
        answer: dict[str, Any] = converters[name].convert(Path(source), Path(target))
    except ReversibleError as error:
        print(json.dumps({"error": error.message, "hint": error.hint}), flush=True)
        return error.exit_status
    print(json.dumps(answer, allow_nan=False), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
