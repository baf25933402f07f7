"""What does the live endpoint answer, word for word?

The golden set is recorded while the endpoint still exists: every request and every answer as raw bytes, the numbers
read from them, when and how fast, and whether the same question gets the same answer.
"""

import hashlib
import io
import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reversible.errors import SourceError, UsageError

if TYPE_CHECKING:
    import pyarrow as pa

    from reversible.bundle.writer import BundleWriter

Floats = NDArray[np.float32]
JSON, CSV = "application/json", "text/csv"
_REPEATED_INPUTS, _REPEATS = 20, 3
_SEED = 20261124


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One answer of an endpoint, as it came."""

    body: bytes
    content_type: str
    status: int
    latency_s: float
    request_id: str
    variant: str


# Body, content type -> answer; raises SourceError for a refusal.
Ask = Callable[[bytes, str], Answer]


@dataclass(frozen=True, kw_only=True)
class Questions:
    """The inputs of a golden set: (rows, width) float32, the known class or None, the origin, and the file's digest."""

    inputs: Floats
    labels: tuple[int | None, ...]
    origins: tuple[str, ...]
    sha256: str

    @classmethod
    def read(cls, content: bytes, where: str) -> "Questions":
        """Read `input`, and `label` and `origin` where they are, from a Parquet file.

        Raises:
            UsageError: it is not such a file.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table = pq.read_table(io.BytesIO(content))
            inputs = np.array(table["input"].to_pylist(), dtype=np.float32)
        except (pa.ArrowException, KeyError, ValueError, TypeError) as error:
            reason = str(error).splitlines()[0][:200]
            raise UsageError(
                f"{where} is not a Parquet file with a column `input` of equally long float32 lists: {reason}"
            ) from error
        if inputs.ndim != 2 or not len(inputs):
            raise UsageError(f"{where}: column `input` has the shape {inputs.shape}, not (rows, width)")
        if infinite := np.flatnonzero(np.isinf(inputs).any(axis=1)).tolist():
            raise UsageError(f"{where}: row {infinite[0]} holds an infinite value, which JSON cannot carry")
        names = table.column_names
        labels = table["label"].to_pylist() if "label" in names else [None] * len(inputs)
        origins = table["origin"].to_pylist() if "origin" in names else ["given"] * len(inputs)
        return cls(
            inputs=inputs,
            labels=tuple(labels),
            origins=tuple(str(one) for one in origins),
            sha256=hashlib.sha256(content).hexdigest(),
        )


def try_one(questions: Questions, ask: Ask, endpoint: str) -> tuple[int, float]:
    """Ask the first input; return how many numbers came back and after how many seconds. Raises as `record`."""
    answer = ask(json_request(questions.inputs[:1]), JSON)
    return json_answer(answer.body, 1, f"endpoint {endpoint}, input 0").size, answer.latency_s


def record(
    questions: Questions,
    ask: Ask,
    *,
    endpoint: str,
    batch_size: int,
    about: Mapping[str, Any],
    folder: str,
    into: "BundleWriter",
) -> dict[str, Any]:
    """Ask everything in batches, ask some again, and write `folder`/golden and `folder`/test_data_set_0.

    Returns:
        The manifest that was written.

    Raises:
        SourceError: the endpoint refuses, or answers something that is not a table of numbers.
    """
    import pyarrow as pa

    started = datetime.now(UTC)
    exchanges: list[dict[str, Any]] = []
    outputs: list[Floats] = []
    for first in range(0, len(questions.inputs), batch_size):
        rows = questions.inputs[first : first + batch_size]
        request = json_request(rows)
        answer = ask(request, JSON)
        outputs.append(
            json_answer(answer.body, len(rows), f"endpoint {endpoint}, inputs {first} to {first + len(rows) - 1}")
        )
        exchanges.append(
            {
                "first": first, "count": len(rows), "request": request, "request_type": JSON, "response": answer.body,
                "response_type": answer.content_type, "status": answer.status,
                "latency_ms": round(answer.latency_s * 1e3, 3), "request_id": answer.request_id,
                "variant": answer.variant,
            }
        )  # fmt: skip
    answers = _joined(outputs, endpoint)
    repeated = _repeat(questions.inputs, ask, endpoint)
    latencies = np.array([exchange["latency_ms"] for exchange in exchanges])
    manifest = {
        "format": "reversible-golden/1",
        "endpoint": endpoint,
        **about,
        "started_at": started.isoformat(),
        "finished_at": datetime.now(UTC).isoformat(),
        "inputs": len(questions.inputs),
        "labelled": sum(label is not None for label in questions.labels),
        "origins": {origin: questions.origins.count(origin) for origin in sorted(set(questions.origins))},
        "inputs_sha256": questions.sha256,
        "sampling": {"plan": "every row of the file, in its order", "repeated": "drawn at random", "seed": _SEED},
        "batch_size": batch_size,
        "output_shape": list(answers.shape[1:]),
        "precision": "float32, every digit recorded",
        "determinism": repeated,
        "latency_ms": {"p50": float(np.percentile(latencies, 50)), "p95": float(np.percentile(latencies, 95))},
    }
    flat = answers.reshape(len(answers), -1)
    tables = {
        "inputs": pa.table(
            {
                "index": pa.array(range(len(flat)), pa.int32()),
                "input": _lists(questions.inputs),
                "label": pa.array(questions.labels, pa.int32()),
                "origin": pa.array(questions.origins),
            }
        ),
        "outputs": pa.table({"index": pa.array(range(len(flat)), pa.int32()), "output": _lists(flat)}),
        "requests": pa.Table.from_pylist(exchanges),
    }
    for name, table in tables.items():
        _put_table(into, f"{folder}/golden/{name}.parquet", table)
    _put_onnx_layout(into, folder, questions.inputs, answers)
    into.put_json(f"{folder}/golden/manifest.json", manifest)
    return manifest


def sample(questions: Questions, ask: Ask, *, endpoint: str, count: int, seed: str) -> tuple["pa.Table", str]:
    """Ask a fresh sample one by one, as CSV where the endpoint takes it: another route than `record`.

    Returns:
        Columns `index`, `input_sha256` and `output`, and the content type that was used.
    """
    import pyarrow as pa

    total = len(questions.inputs)
    drawn = sorted(random.Random(seed).sample(range(total), min(count, total)))  # noqa: S311 - a sample, no secret

    def one(index: int, content_type: str) -> list[float]:
        row = questions.inputs[index : index + 1]
        where = f"endpoint {endpoint}, input {index} alone"
        answer = ask(csv_request(row) if content_type == CSV else json_request(row), content_type)
        if answer.content_type.startswith(CSV):
            return [float(number) for number in csv_answer(answer.body, where)]
        # Some endpoints answer JSON whatever the request accepts.
        return [float(number) for number in json_answer(answer.body, 1, where).reshape(-1)]

    try:
        one(drawn[0], CSV)
        content_type = CSV
    except SourceError:
        content_type = JSON  # this one takes JSON alone; a real failure shows again below
    outputs = [one(index, content_type) for index in drawn]
    table = pa.table(
        {
            "index": pa.array(drawn, pa.int32()),
            "input_sha256": [hashlib.sha256(questions.inputs[index].tobytes()).hexdigest() for index in drawn],
            "output": pa.array(outputs, pa.list_(pa.float32())),
        }
    )
    return table, content_type


def json_request(rows: Floats) -> bytes:
    """`{"instances": [[...]]}`; each float32 in full, a missing value as null."""
    table = [[None if value != value else value for value in row] for row in rows.tolist()]
    return json.dumps({"instances": table}, allow_nan=False).encode()


def csv_request(rows: Floats) -> bytes:
    """One line per row; a missing value is an empty cell."""
    lines = (",".join("" if value != value else repr(value) for value in row) for row in rows.tolist())
    return ("\n".join(lines) + "\n").encode()


def json_answer(body: bytes, count: int, where: str) -> Floats:
    """The numbers of `{"predictions": [...]}`, one entry per input, float32.

    Raises:
        SourceError: it is something else; the message shows its beginning.
    """
    try:
        document = json.loads(body)
        answers = np.asarray(document["predictions"])
    except (ValueError, KeyError, TypeError) as error:
        raise _nonsense(where, body) from error
    if answers.dtype.kind not in "fi" or answers.ndim < 1 or len(answers) != count:
        raise _nonsense(where, body)
    return answers.astype(np.float32).reshape(count, -1) if answers.ndim == 1 else answers.astype(np.float32)


def csv_answer(body: bytes, where: str) -> Floats:
    """The numbers of one CSV line, float32. Raises SourceError as `json_answer`."""
    try:
        return np.array([float(cell) for cell in body.decode("utf-8").strip().split(",")], dtype=np.float32)
    except ValueError as error:
        raise _nonsense(where, body) from error


def _nonsense(where: str, body: bytes) -> SourceError:
    shown = body[:120].decode("utf-8", "replace")
    return SourceError(
        f'{where}: the answer is not {{"predictions": [...]}} with one row of numbers per input: {shown!r}',
        hint="look at the container's log, or leave this endpoint's golden set out of the plan",
    )


def _joined(outputs: Sequence[Floats], endpoint: str) -> Floats:
    shapes = sorted({output.shape[1:] for output in outputs})
    if len(shapes) > 1:
        raise SourceError(f"endpoint {endpoint}: its answers change their shape between batches: {shapes}")
    return np.concatenate(outputs)


def _repeat(inputs: Floats, ask: Ask, endpoint: str) -> dict[str, Any]:
    """Does the same question get the same answer? A few inputs, alone, several times."""
    draw = random.Random(_SEED)  # noqa: S311 - a sample, no secret
    drawn = sorted(draw.sample(range(len(inputs)), min(_REPEATED_INPUTS, len(inputs))))
    spread, decisions_changed = 0.0, 0
    for index in drawn:
        where = f"endpoint {endpoint}, input {index} alone"
        answers = []
        for _ in range(_REPEATS):
            answer = json_answer(ask(json_request(inputs[index : index + 1]), JSON).body, 1, where)
            answers.append(answer.astype(np.float64).reshape(-1))
        if len({answer.shape for answer in answers}) > 1:
            raise SourceError(f"{where}: its answers change their shape between calls")
        stacked = np.stack(answers)
        # NaN every time is the same answer; NaN sometimes is not.
        same = np.isnan(stacked).all(axis=0) | (stacked == stacked[0]).all(axis=0)
        width = np.where(same, 0.0, stacked.max(axis=0) - stacked.min(axis=0))
        spread = max(
            spread, float(np.nan_to_num(width, nan=np.finfo(np.float64).max, posinf=np.finfo(np.float64).max).max())
        )
        decisions_changed += len({int(answer.argmax()) for answer in answers}) > 1
    return {
        "indexes": drawn, "repeats": _REPEATS, "identical": spread == 0.0, "max_abs_spread": spread,
        "decisions_changed": decisions_changed,
    }  # fmt: skip


def _lists(rows: Floats) -> "pa.Array":
    import pyarrow as pa

    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(rows).ravel(), pa.float32()), rows.shape[1])


def _put_table(into: "BundleWriter", path: str, table: "pa.Table") -> None:
    import pyarrow.parquet as pq

    with into.part(path) as stream:
        pq.write_table(table, stream, compression="zstd")


def _put_onnx_layout(into: "BundleWriter", folder: str, inputs: Floats, outputs: Floats) -> None:
    """The layout of ONNX's own backend tests, so that any ONNX runtime can replay the golden set."""
    from onnx import numpy_helper

    for name, array in (("input_0", inputs), ("output_0", outputs)):
        with into.part(f"{folder}/test_data_set_0/{name}.pb") as stream:
            stream.write(numpy_helper.from_array(np.ascontiguousarray(array)).SerializeToString())


def timed(call: Callable[[], Mapping[str, Any]]) -> Answer:
    """One call of boto3's InvokeEndpoint, its body read to the end, as an Answer."""
    before = time.perf_counter()
    response = call()
    body = response["Body"].read()
    after = time.perf_counter()
    about = response["ResponseMetadata"]
    return Answer(
        body=body,
        content_type=str(response.get("ContentType", "")),
        status=int(about["HTTPStatusCode"]),
        latency_s=after - before,
        request_id=str(about.get("RequestId", "")),
        variant=str(response.get("InvokedProductionVariant", "")),
    )


def local_file(path: Path) -> bytes:
    """A golden-set file on this machine.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"golden inputs {path}: {error.strerror}") from error
