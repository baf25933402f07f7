"""What would the model answer without rounding, and what did each of its operators compute when it left?

Computed once, before the file is shipped, beside the golden set that it belongs to: `golden/floor.parquet` makes every
later verification as cheap as running the model, `golden/trace.json` names the operator at which a damaged file
begins to differ, and `test_data_set_0` holds the tensors that the raw inputs became. Where the original answered the
same inputs beside its conversion its answers are the reference; else this is the black box of docs/equivalence.md:
what is judged against the port's own answers is what the endpoint recorded.
"""

import json
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reversible import golden
from reversible.equivalence import groups, ladder, localisation, original, reference, runtime
from reversible.equivalence.floor import RUNS
from reversible.errors import BundleError, MissingSDKError
from reversible.processing.answers import Source, sources
from reversible.processing.asked import Asked
from reversible.processing.raw import Processing
from reversible.wire import Field
from reversible_exporters import original_answers

if TYPE_CHECKING:
    from reversible.bundle.writer import BundleWriter

log = logging.getLogger(__name__)

_TRACED = 2  # inputs: enough to see an operator that computes something else
_BUDGET = 1 << 35  # bytes of weights read for one reference: 376 inputs of a MiniLM, every input of a small model


def put_tensors(*, folder: str, into: "BundleWriter") -> None:
    """Write `test_data_set_0`, the layout of ONNX's own backend tests: any ONNX runtime can replay the golden set.

    One set where all inputs have one size; where they have not, some inputs, each alone in a set.

    Args:
        folder: Of the model in the bundle; its graph, its processing and its golden set are written.
        into: The bundle.

    Raises:
        BundleError: what was asked cannot become what the graph takes.
    """
    asked, answers, takes, gives = _recorded(folder, into)
    places = [one.name for one in gives]
    everything = np.arange(asked.count)
    some = groups.spread(everything, golden.LAID_OUT)
    for number, rows in enumerate([everything] if asked.uniform else [np.array([row]) for row in some]):
        where = f"{folder}/test_data_set_{number}"
        feeds = asked.feeds(rows)
        for place, one in enumerate(takes):
            _put_tensor(into, f"{where}/input_{place}.pb", feeds[one.name], one.name)
        for column, source in answers:
            if source.plain:
                name = f"output_{places.index(source.output)}"
                _put_tensor(into, f"{where}/{name}.pb", column.take(rows), source.output)


def keep(*, folder: str, into: "BundleWriter") -> bool:
    """Write the tensors, the reference and the trace of a recorded golden set; say whether it could be done.

    It is not an error when it cannot: whoever verifies computes a reference of their own, or says that there is none.

    Args:
        folder: Of the model in the bundle; its graph, its processing and its golden set are written.
        into: The bundle.
    """
    model = into.path(folder) / "model.onnx"
    try:
        put_tensors(folder=folder, into=into)
        asked, answers, _, _ = _recorded(folder, into)
        _put_references(model, asked, [source for _, source in answers], folder, into)
        _put_trace(model, asked, folder, into)
    except (BundleError, MissingSDKError) as error:
        # An operator that the second engine does not know, an input that the file refuses or that nothing makes.
        log.warning("%s: no float64 reference can be kept: %s", folder, error.message)
        return False
    return True


def _recorded(
    folder: str, into: "BundleWriter"
) -> tuple[Asked, list[tuple[golden.Column, Source]], tuple[Field, ...], tuple[Field, ...]]:
    """What was asked, each recorded number with where it comes from, and the graph's inputs and outputs."""
    place = into.path(folder)
    manifest = json.loads((place / "golden/manifest.json").read_bytes())
    inputs = golden.read(place / "golden", manifest, "inputs")
    outputs = golden.read(place / "golden", manifest, "outputs")
    session = runtime.session(place / "model.onnx")
    takes, gives = runtime.fields(session.get_inputs()), runtime.outputs(session)
    asked = Asked(inputs, Processing(place / "processing", takes, [one.field for one in inputs]))
    first = partial(runtime.first_answers, session, partial(asked.feeds, np.array([0])))
    found = sources(gives, outputs, place / "processing", first)
    return asked, [(one, found[one.field.name]) for one in outputs if one.field.name in found], takes, gives


def _put_references(model: Path, asked: Asked, outputs: Sequence[Source], folder: str, into: "BundleWriter") -> None:
    """One floor for each recorded number: `floor.parquet` for the first, `floor-1.parquet` for the next.

    Against the original's own answers where it was asked the same beside its conversion.
    """
    held = original.read(into.path(folder) / "golden")
    places = {one.name: place for place, one in enumerate(runtime.session(model).get_outputs())}
    rows = np.arange(asked.count)
    some = groups.spread(rows, groups.affordable(model, _BUDGET, least=ladder.FEWEST, most=asked.count))
    digest = golden.inputs_sha256(asked.columns)
    for number, source in enumerate(outputs):
        # The original's own evaluations stand for one of the drawn ones.
        found = groups.of_port(model, asked.groups(some), source=source, runs=RUNS if held is None else RUNS - 1)
        if held is not None:
            inputs, place = original_answers.digests(asked.columns)[some], places[source.output]
            found = original.against(found, held, inputs, output=place, post=source.of) or found
        with into.part(f"{folder}/golden/{golden.floor_name(number)}") as stream:
            reference.write(found, stream, inputs_sha256=digest)


def _put_trace(model: Path, asked: Asked, folder: str, into: "BundleWriter") -> None:
    rows = np.unique(np.linspace(0, asked.count - 1, _TRACED).astype(np.int64))
    lines = localisation.trace(model, asked.feeds(rows))
    with into.part(f"{folder}/golden/trace.json") as stream:
        stream.write(localisation.write(lines, rows.tolist()))


def _put_tensor(into: "BundleWriter", path: str, values: NDArray[Any], name: str) -> None:
    from onnx import numpy_helper

    with into.part(path) as stream:
        stream.write(numpy_helper.from_array(np.ascontiguousarray(values), name).SerializeToString())
