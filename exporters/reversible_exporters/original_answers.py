"""What does the original answer, beside its conversion, to what its endpoint is asked?

Before a conversion the questions are laid beside the file that it writes; after it, in the same process, the original
answers them in float64 and in float32. Whoever records the golden set then has a reference that is not the port.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from reversible.equivalence import groups, original, runtime
from reversible.equivalence.ladder import FEWEST
from reversible.errors import BundleError, MissingSDKError
from reversible.golden import Column
from reversible.processing.asked import Asked
from reversible.processing.raw import Processing
from reversible_exporters.probes import Array, Feeds

log = logging.getLogger(__name__)

ASKED = "asked.npz"
BUDGET = 1 << 35  # bytes of weights read for one reference: 376 inputs of a MiniLM, every input of a small model
_BATCH = 64
_MOST = 1 << 22  # numbers of one output that are kept: 32 MB in float64

Answer = Callable[[Feeds], Sequence[Array]]


def lay(folder: Path, columns: Sequence[Column]) -> None:
    """Write what will be asked into the folder in which the model is converted; nothing where it is no numbers."""
    if not columns or any(one.is_ragged or one.field.is_text or one.field.is_bytes for one in columns):
        return
    arrays: dict[str, Any] = {f"values {number}": one.values for number, one in enumerate(columns)}
    np.savez(folder / ASKED, columns=np.array(json.dumps([one.to_json() for one in columns])), **arrays)


def put(target: Path, engine: str, *, exact: Answer, evaluations: dict[str, Answer]) -> bool:
    """Write `golden/original.npz` beside `target`; say whether there was something to ask.

    Args:
        target: The ONNX file, written, with its `processing/`.
        engine: The framework and its version.
        exact: The original in float64: what the graph takes -> its outputs in their order.
        evaluations: In float32, by what is special about each.
    """
    path = target.parent / ASKED
    if not path.exists():
        return False
    try:
        columns = _columns(path)
        takes = runtime.fields(runtime.session(target).get_inputs())
        asked = Asked(columns, Processing(target.parent / "processing", takes, [one.field for one in columns]))
        if not asked.uniform or any(one.shape and one.shape[0] is not None for one in takes):
            return False  # of one size, and in batches of any
        rows = groups.spread(np.arange(asked.count), groups.affordable(target, BUDGET, least=FEWEST, most=asked.count))
        feeds = [asked.feeds(rows[first : first + _BATCH]) for first in range(0, len(rows), _BATCH)]
    except (BundleError, MissingSDKError) as error:  # processing that the vendor declares elsewhere
        log.info("%s: the original is not asked the golden inputs: %s", target.name, error.message)
        return False
    try:
        found = {how: _joined([ask(one) for one in feeds]) for how, ask in {"exact": exact, **evaluations}.items()}
    except Exception as error:  # noqa: BLE001 - the original raises whatever it likes: the port is its own reference then
        log.info("%s: the original refuses a golden input: %s", target.name, runtime.first_line(error))
        return False
    if any(one.size > _MOST or one.dtype.kind != "f" for one in found["exact"]):
        return False
    answers = original.OriginalAnswers(
        engine=engine, inputs=digests(columns)[rows], exact=found.pop("exact"), evaluations=found
    )
    (target.parent / "golden").mkdir(exist_ok=True)
    (target.parent / "golden" / original.NPZ).write_bytes(original.write(answers))
    return True


def digests(columns: Sequence[Column]) -> original.Digests:
    """(rows, 16): of each row's values, in the order of their names."""
    ordered = sorted(columns, key=lambda one: one.field.name)
    found = [
        hashlib.blake2b(b"\0".join(one.content(row) for one in ordered), digest_size=16).digest()
        for row in range(len(ordered[0].values))
    ]
    return np.frombuffer(b"".join(found), dtype=np.uint8).reshape(-1, 16)


def _columns(path: Path) -> list[Column]:
    with np.load(path, allow_pickle=False) as archive:
        listed = json.loads(str(archive["columns"]))
        return [
            Column.of(str(one["name"]), archive[f"values {number}"], column=str(one["column"]))
            for number, one in enumerate(listed)
        ]


def _joined(batches: Sequence[Sequence[Array]]) -> list[Array]:
    return [np.concatenate(parts) for parts in zip(*batches, strict=True)]
