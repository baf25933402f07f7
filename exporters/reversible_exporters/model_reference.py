"""What would the model answer without rounding, and what did each of its operators compute when it left?

Computed once, before the file is shipped, beside the golden set that it belongs to: `golden/floor.parquet` makes every
later verification as cheap as running the model, `golden/trace.json` names the operator at which a damaged file
begins to differ. Without the original in its own framework this is the black box of docs/equivalence.md: what is
judged against it is what the endpoint recorded.
"""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reversible.equivalence import ladder, localisation, reference
from reversible.errors import BundleError
from reversible.evaluator import Evaluator
from reversible_exporters.golden_set import Floats

if TYPE_CHECKING:
    from reversible.bundle.writer import BundleWriter

log = logging.getLogger(__name__)

_TRACED = 2  # inputs: enough to see an operator that computes something else


def keep(model: Path, inputs: Floats, *, folder: str, into: "BundleWriter") -> bool:
    """Write `folder`/golden/floor.parquet and trace.json; say whether it could be done.

    It is not an error when it cannot: whoever verifies computes a reference of their own, or says that there is none.

    Args:
        model: The ONNX file.
        inputs: The golden set's, (rows, width) float32.
        folder: Of the model in the bundle.
        into: The bundle.
    """
    digest = ladder.inputs_sha256({"input": inputs})
    rows = np.unique(np.linspace(0, len(inputs) - 1, _TRACED).astype(np.int64))
    try:
        name = Evaluator(model).inputs[0].name
        found = reference.of_port(model, {name: inputs})
        lines = localisation.trace(model, {name: inputs[rows]})
    except BundleError as error:  # an operator that the second engine does not know, an input that the file refuses
        log.warning("%s: no float64 reference can be kept: %s", folder, error.message)
        return False
    with into.part(f"{folder}/golden/floor.parquet") as stream:
        reference.write(found, stream, inputs_sha256=digest)
    with into.part(f"{folder}/golden/trace.json") as stream:
        stream.write(localisation.write(lines, rows.tolist()))
    return True
