"""What of a tabular model must still be in its file, wherever it is opened later?

Written beside the graph, in the converter's process: the original's parameters by their digests, its trees question by
question, and the rules by which texts become numbers. docs/equivalence.md, section 6.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reversible.equivalence import parameters_record, trees
from reversible.equivalence.parameters import Account, Fate
from reversible.equivalence.tensors import constants, rules_bytes, rules_in, texts
from reversible_exporters.tabular_model_graph import Array, Graph


def put(target: Path, graph: Graph, originals: Mapping[str, Array]) -> dict[str, Any]:
    """Write `golden/` beside `target`; say how many parameters there are and what became of them.

    Args:
        target: The ONNX file, written, with its `processing/`.
        graph: What it was written from.
        originals: The original's parameters, by the names of its framework.
    """
    import onnx

    model = onnx.load(str(target))
    every = {**originals, **graph.originals}
    for one in graph.processing:
        every |= {f"{one['input']}, {part}": array for part, array in rules_bytes(one).items()}
    held = {**constants(model), **texts(model), **rules_in(target.parent / "processing")}
    files, found = parameters_record.record(every, held)
    folder = target.parent / "golden"
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    if graph.ensembles:
        (folder / trees.NPZ).write_bytes(trees.write(graph.ensembles))
    return {**_counts(found), "trees": sum(int(one.tree.max()) + 1 for one in graph.ensembles)}


def _counts(found: Account) -> dict[str, int]:
    return {str(fate): len(found.of(fate)) for fate in Fate if found.of(fate)}
