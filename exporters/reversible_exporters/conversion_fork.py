"""How do several models share the start of one framework?

Behind the fence, a process loads the framework, forks for each model, and hands their answers on: loading PyTorch and
its exporter takes as long as converting a small model. A child's answer comes over a pipe of its own; what the model
prints goes to standard error.
"""

import json
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Answer = Callable[[Path, Path], dict[str, Any]]


def each(prepare: Callable[[], None], answer: Answer, models: Sequence[tuple[Path, Path]]) -> dict[str, Any]:
    """Convert every model in a process of its own, all at once.

    Args:
        prepare: Loads the framework (`SharesStart`).
        answer: Converts one model, source to target.
        models: Their sources and targets.

    Returns:
        "answers": that of each model, None where its process ended without one; or "error", when the framework's
        threads forbid to fork.
    """
    prepare()
    if (count := _threads()) > 1:  # a lock that another thread holds would stay held in the child
        return {"error": f"{count} threads after loading the framework: no process can be forked", "hint": ""}
    children: list[tuple[int, int]] = []
    for source, target in models:
        children.append(_start(answer, source, target, others=[pipe for _, pipe in children]))
    return {"answers": [_heard(*child) for child in children]}


def _start(answer: Answer, source: Path, target: Path, *, others: Sequence[int]) -> tuple[int, int]:
    """A child's process id, and where its answer is read."""
    reading, writing = os.pipe()
    process = os.fork()
    if process:
        os.close(writing)
        return process, reading
    status = 1
    try:
        for pipe in (reading, *others):
            os.close(pipe)
        os.dup2(2, 1)
        said = json.dumps(answer(source, target), allow_nan=False)
        with os.fdopen(writing, "w", encoding="utf-8") as pipe_file:
            pipe_file.write(said + "\n")
        status = 0
    finally:  # a bug's traceback has no reader here: converted alone, the model shows it
        os._exit(status)


def _heard(process: int, reading: int) -> dict[str, Any] | None:
    """What a child said in one line; None when it ended in another way."""
    with os.fdopen(reading, encoding="utf-8") as pipe:
        line = pipe.readline()
    _, status = os.waitpid(process, 0)
    if status or not line.endswith("\n"):
        return None
    document = json.loads(line)
    return document if isinstance(document, dict) else None


def _threads() -> int:
    try:
        return len(list(Path("/proc/self/task").iterdir()))
    except FileNotFoundError:
        return threading.active_count()
