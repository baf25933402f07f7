"""How is a vendor's model opened without trusting it?

In a process of its own, behind the fence: no network, none of our environment's variables, an empty home. What
came with the file may run there, and can take nothing from here. `python -m reversible_exporters.conversion NAME
IN OUT` is that process; `convert` starts it. With several IN OUT the process loads the framework once and forks for
each model; `convert_together` starts that.
"""

import importlib
import json
import os
import resource
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from reversible import fence, registry
from reversible.errors import ReversibleError, SourceError, UsageError
from reversible_exporters import conversion_fork, environments

_TIME_S = 900.0
_TIME_PER_BYTE_S = 10e-6  # every weight is read some fifty times: a model of 90 MB took 500 s on a busy machine
_MEMORY = 12 << 30  # address space of a framework with its threads, of which it uses a tenth
_MEMORY_PER_BYTE = 12  # the original in float32 and float64, the graph, its file and a session
_WRITTEN = 1 << 30  # bytes in one file beside what the model itself takes
_WRITTEN_PER_BYTE = 3
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


def source_in(names: Sequence[str], where: str) -> tuple[str, str]:
    """The one model of a package: its file or folder, and the name of the converter that takes it.

    A folder that is one model as a whole stands for all that is in it; of two converters that take the same, the one
    that runs no vendor code is asked.

    Args:
        names: Every file of the package.
        where: What the package is called, for the message.

    Raises:
        SourceError: no converter takes any of it, or there are several models and nobody said which.
    """
    taken: dict[str, str] = {}
    for name, converter in registry.converters().items():
        for source in converter.sources(names):
            if source not in taken or not converter.executes_vendor_code:
                taken[source] = name
    whole = {source: name for source, name in taken.items() if not any(_covers(other, source) for other in taken)}
    if len(whole) != 1:
        count = f"{len(whole)} models" if whole else "nothing"
        held = ", ".join(list(whole or names)[:8])
        raise SourceError(
            f"{where}: {count} in it can be converted to ONNX; it holds {held}", hint="reversible exporters"
        )
    return next(iter(whole.items()))


def _covers(folder: str, source: str) -> bool:
    return folder != source and (folder == "." or source.startswith(f"{folder}/"))


def convert(
    name: str, source: Path, target: Path, *, stop: threading.Event | None = None, time_s: float | None = None
) -> Conversion:
    """Run one converter behind the fence, until `stop` is set.

    Args:
        name: The converter's entry point.
        source: The file or folder.
        target: The .onnx file to write; what else the model needs comes beside it.
        stop: Ends the conversion when another thread sets it.
        time_s: Wall-clock seconds that it may take; None: by its size.

    Raises:
        SourceError: the model cannot be converted; the message says why.
    """
    limit_s = _limit_s(_size(source)) if time_s is None else time_s
    done = _run(name, [(source, target)], stop=stop, time_s=limit_s)
    answer = _last_json(done.stdout)
    if answer is not None and "error" in answer:
        raise SourceError(answer["error"], hint=answer["hint"])
    if done.returncode != 0 or answer is None:
        late = "was stopped" if stop is not None and stop.is_set() else "took too long"
        how = late if done.returncode is None else f"ended with status {done.returncode}"
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise SourceError(f"{source.name}: its conversion {how}: {last[:300]}")
    return _conversion(name, answer, done)


def convert_together(
    name: str, models: Sequence[tuple[Path, Path]], *, stop: threading.Event | None = None
) -> list[Conversion | SourceError | None]:
    """Run one converter for several models behind one fence, where it can load its framework once for all of them.

    What was tried behind the fence must be known of each model alone: when anything was, nothing is returned.

    Args:
        name: The converter's entry point.
        models: Source and target of each, as in `convert`.
        stop: As in `convert`.

    Returns:
        For each model what became of it; None where nobody can say, and it must be converted alone.
    """
    from reversible.interfaces import SharesStart  # pydantic: an environment of one framework has none

    if len(models) < 2 or not isinstance(registry.converters()[name], SharesStart):
        return [None] * len(models)
    done = _run(name, models, stop=stop, time_s=sum(_limit_s(_size(source)) for source, _ in models))
    answers = (_last_json(done.stdout) or {}).get("answers")
    if done.returncode != 0 or done.attempts or not isinstance(answers, list) or len(answers) != len(models):
        return [None] * len(models)
    return [_outcome(name, answer, done) for answer in answers]


def _outcome(name: str, answer: Any, done: fence.Fenced) -> Conversion | SourceError | None:
    if not isinstance(answer, dict):
        return None
    if "error" in answer:
        return SourceError(answer["error"], hint=answer["hint"])
    return _conversion(name, answer, done)


def _conversion(name: str, answer: dict[str, Any], done: fence.Fenced) -> Conversion:
    return Conversion(
        converter=name,
        executed_vendor_code=registry.converters()[name].executes_vendor_code,
        described=answer,
        fence=done.kind,
        attempts=tuple(f"{one.proto} {one.host}:{one.port}" for one in done.attempts if not one.allowed),
        counted=done.counted,
    )


def _run(
    name: str, models: Sequence[tuple[Path, Path]], *, stop: threading.Event | None, time_s: float
) -> fence.Fenced:
    """The process behind the fence, to its end."""
    home = Path.home()
    hidden = [home / entry for entry in _HIDDEN if (home / entry).exists()]
    paths = [str(path) for pair in models for path in pair]
    largest = max(_size(source) for source, _ in models)
    with tempfile.TemporaryDirectory(prefix="reversible-convert-") as empty:
        environment = {
            **{name: os.environ[name] for name in _KEPT if name in os.environ},
            "HOME": empty, "TMPDIR": empty, "LANG": "C.UTF-8",
            "USER": "reversible", "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1",
            "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1",
        }  # fmt: skip
        packages = Path(empty) / "packages"
        packages.mkdir()
        python, called, variables = environments.interpreter(registry.converters()[name], packages)
        try:
            return fence.run(
                [python, "-m", "reversible_exporters.conversion", called or name, *paths],
                env=environment | variables, cwd=Path(empty), timeout_s=time_s, hide=hidden, stop=stop,
                memory_bytes=_MEMORY + _MEMORY_PER_BYTE * largest,
            )  # fmt: skip
        except OSError as error:
            raise SourceError(f"{models[0][0].name}: {error}") from error


def _limit_s(size: int) -> float:
    return _TIME_S + _TIME_PER_BYTE_S * size


def _size(source: Path) -> int:
    files = [source] if source.is_file() else [path for path in source.rglob("*") if path.is_file()]
    return sum(path.stat().st_size for path in files)


def _last_json(stdout: str) -> dict[str, Any] | None:
    """The last line is ours; what a model prints while it is opened comes before it."""
    try:
        document = json.loads((stdout.splitlines() or [""])[-1])
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def main(name: str, *paths: str) -> int:
    """The inside of the fence: one line of JSON on standard output."""
    models = [(Path(source), Path(target)) for source, target in zip(paths[::2], paths[1::2], strict=True)]
    try:
        converter = _converter(name)
    except UsageError as error:
        answer: dict[str, Any] = {"error": error.message, "hint": error.hint}
    else:
        one = partial(_answer, converter)
        answer = one(*models[0]) if len(models) == 1 else conversion_fork.each(converter.prepare, one, models)
    print(json.dumps(answer, allow_nan=False), flush=True)
    return 1 if "error" in answer else 0


def _answer(converter: Any, source: Path, target: Path) -> dict[str, Any]:
    largest = _WRITTEN + _WRITTEN_PER_BYTE * _size(source)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
    try:
        answer: dict[str, Any] = converter.convert(source, target)
    except ReversibleError as error:
        return {"error": error.message, "hint": error.hint}
    return answer


def _converter(name: str) -> Any:
    """By its entry point, or as "module:class" in an environment that knows no entry points of ours."""
    module, _, attribute = name.partition(":")
    if attribute:
        return getattr(importlib.import_module(module), attribute)()
    converters = registry.converters()
    if name not in converters:
        raise UsageError(f"no converter is called {name!r}")
    return converters[name]


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
