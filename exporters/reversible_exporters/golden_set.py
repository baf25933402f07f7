"""What does the live endpoint answer, word for word?

The golden set is recorded while the endpoint still exists: every request and every answer as raw bytes, the values
read from them, when and how fast, and whether the same question gets the same answer.
"""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reversible import golden, wire
from reversible.errors import SourceError, UsageError
from reversible.golden import Column
from reversible.wire import CSV, JSON
from reversible_exporters.golden_questions import Questions
from reversible_exporters.golden_requests import csv_request, request

if TYPE_CHECKING:
    import pyarrow as pa

    from reversible.bundle.writer import BundleWriter

Rows = NDArray[np.int64]
Answers = dict[str, NDArray[Any]]
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


class RefusedError(SourceError):
    """The endpoint is well and does not take this input: a status of 400 to 499."""

    def __init__(self, message: str, *, hint: str = "", status: int) -> None:
        super().__init__(message, hint=hint)
        self.status = status


# Body, content type -> answer; raises SourceError for a refusal, RefusedError where the input is what is refused.
Ask = Callable[[bytes, str], Answer]


def try_one(questions: Questions, ask: Ask, endpoint: str) -> tuple[int, float]:
    """Ask the first input; return how many values came back and after how many seconds. Raises as `record`."""
    _, answer, found = _asked(questions, np.array([0]), ask, f"endpoint {endpoint}, input 0")
    return sum(one.size for one in found.values()), answer.latency_s


def try_forms(questions: Questions, ask: Ask, endpoint: str, *, chosen: str = "") -> Questions:
    """The questions in the first form in which the endpoint takes the first of them.

    Args:
        questions: In the form that they have by themselves.
        ask: Asks the endpoint.
        endpoint: Its name, for the message.
        chosen: The plan's form: no other is tried.

    Raises:
        SourceError: it takes none; what it said of the first.
    """
    one = len(questions.columns) == 1 and questions.form == "instances"
    forms = [questions.form, *(["inputs", "objects"] if one and not chosen else [])]
    refused: RefusedError | None = None
    for form in forms:
        tried = replace(questions, form=form)
        try:
            try_one(tried, ask, endpoint)
            return tried
        except RefusedError as error:
            refused = refused or error
    assert refused is not None  # noqa: S101 - there is a form, and it was refused
    raise refused


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
    """Ask everything in batches, ask some again, and write `folder`/golden.

    A probe that the endpoint refuses (400 to 499) is no input of the golden set: it is recorded with what was said.

    Returns:
        The manifest that was written.

    Raises:
        SourceError: the endpoint refuses, or answers something that is not one entry per input.
    """
    import pyarrow as pa

    started = datetime.now(UTC)
    recorded = _Recorded(questions, ask, endpoint)
    for rows in questions.batches(batch_size):
        recorded.add(rows)
    kept = questions.only(recorded.rows)
    answers = recorded.joined()
    repeated = _repeat(kept, ask, endpoint)
    latencies = np.array([exchange["latency_ms"] for exchange in recorded.exchanges])
    manifest = {
        "format": golden.FORMAT,
        "endpoint": endpoint,
        **about,
        "started_at": started.isoformat(),
        "finished_at": datetime.now(UTC).isoformat(),
        "signature": {
            "inputs": [one.to_json() for one in kept.columns],
            "outputs": [one.to_json() for one in answers],
            "asked_as": kept.form,
            "answered_as": _form(recorded.exchanges[0]["response"]),
        },
        "inputs": kept.count,
        "labelled": sum(label is not None for label in kept.labels),
        "origins": {origin: kept.origins.count(origin) for origin in sorted(set(kept.origins))},
        "inputs_sha256": questions.sha256,
        "sampling": {"plan": questions.plan, "repeated": "drawn at random", "seed": _SEED},
        "refused_probes": len(recorded.refused),
        "batch_size": batch_size,
        "precision": "every digit recorded",
        "determinism": repeated,
        "latency_ms": {"p50": float(np.percentile(latencies, 50)), "p95": float(np.percentile(latencies, 95))},
    }
    index = {"index": pa.array(range(kept.count), pa.int32())}
    about_rows = {"label": pa.array(kept.labels, pa.int32()), "origin": pa.array(kept.origins)}
    tables = {
        "inputs": pa.table({**index, **_arrow(kept.columns), **about_rows}),
        "outputs": pa.table({**index, **_arrow(answers)}),
        "requests": pa.Table.from_pylist(recorded.exchanges),
        **({"refused": pa.Table.from_pylist(recorded.refused)} if recorded.refused else {}),
    }
    for name, table in tables.items():
        _put_table(into, f"{folder}/golden/{name}.parquet", table)
    into.put_json(f"{folder}/golden/manifest.json", manifest)
    return manifest


def sample(questions: Questions, ask: Ask, *, endpoint: str, count: int, seed: str) -> tuple["pa.Table", str]:
    """Ask a fresh sample one by one, as CSV where the endpoint takes it: another route than `record`.

    Returns:
        Columns `index`, `input_sha256` and the outputs', and the content type that was used. Generated probes are not
        among them.
    """
    import pyarrow as pa

    known = questions.count - questions.probes or questions.count  # a refused probe would move those behind it
    drawn = sorted(random.Random(seed).sample(range(known), min(count, known)))  # noqa: S311 - a sample, no secret
    flat = all(len(one.field.shape) <= 2 and not one.field.is_bytes for one in questions.columns)

    def one(index: int, content_type: str) -> Answers:
        where = f"endpoint {endpoint}, input {index} alone"
        if content_type != CSV:
            return _asked(questions, np.array([index]), ask, where)[2]
        row = [column.take(np.array([index])) for column in questions.columns]
        return _read(ask(csv_request(row), CSV), 1, where)

    content_type = CSV
    try:
        if not flat or questions.form != "instances":
            raise SourceError("as CSV it cannot be asked")
        names = list(one(drawn[0], CSV))
        if names != list(one(drawn[0], JSON)):
            content_type = JSON  # as CSV it answers something else
    except SourceError:
        content_type = JSON  # this one takes JSON alone; a real failure shows again below
    joined = _columns([one(index, content_type) for index in drawn], endpoint)
    table = {
        "index": pa.array(drawn, pa.int32()),
        "input_sha256": [golden.row_sha256(questions.columns, index) for index in drawn],
        **_arrow(joined),
    }
    return pa.table(table), questions.form if content_type == JSON and questions.form == "image" else content_type


class _Recorded:
    """The exchanges so far."""

    def __init__(self, questions: Questions, ask: Ask, endpoint: str) -> None:
        self._questions, self._ask, self._endpoint = questions, ask, endpoint
        self.exchanges: list[dict[str, Any]] = []
        self.refused: list[dict[str, Any]] = []
        self._rows: list[int] = []
        self._answers: list[Answers] = []

    @property
    def rows(self) -> Rows:
        return np.array(self._rows, dtype=np.int64)

    def add(self, rows: Rows) -> None:
        """Ask one batch; where it is refused and holds probes, each of its inputs alone."""
        first, last = int(rows[0]), int(rows[-1])
        where = f"endpoint {self._endpoint}, inputs {first} to {last}"
        try:
            exchange = self._exchange(rows, where)
        except RefusedError as error:
            probes = [row for row in rows.tolist() if self._questions.is_probe(row)]
            if not probes:
                raise
            if len(rows) > 1:
                for row in rows:
                    self.add(np.array([row]))
                return
            body, kind = request(self._questions.columns, rows, self._questions.form)
            self.refused.append(
                {
                    "index": first, "origin": self._questions.origins[first], "request": body, "request_type": kind,
                    "status": error.status, "said": error.message,
                }
            )  # fmt: skip
            return
        self.exchanges.append(exchange)
        self._rows += rows.tolist()

    def joined(self) -> tuple[Column, ...]:
        if not self._rows:
            raise SourceError(f"endpoint {self._endpoint}: it refused every probe: {self.refused[0]['said']}")
        return _columns(self._answers, self._endpoint)

    def _exchange(self, rows: Rows, where: str) -> dict[str, Any]:
        body, answer, found = _asked(self._questions, rows, self._ask, where, whole=True)
        self._answers.append(found)
        return {
            "first": len(self._rows), "count": len(rows), "request": body[0], "request_type": body[1],
            "response": answer.body, "response_type": answer.content_type, "status": answer.status,
            "latency_ms": round(answer.latency_s * 1e3, 3), "request_id": answer.request_id,
            "variant": answer.variant,
        }  # fmt: skip


def _asked(
    questions: Questions, rows: Rows, ask: Ask, where: str, *, whole: bool = False
) -> tuple[Any, Answer, Answers]:
    body, kind = request(questions.columns, rows, questions.form)
    answer = ask(body, kind)
    return (body, kind) if whole else kind, answer, _read(answer, len(rows), where)


def _read(answer: Answer, count: int, where: str) -> Answers:
    try:
        return wire.decode_answers(answer.body, answer.content_type, count)
    except wire.AnswerError as error:
        shown = answer.body[:120].decode("utf-8", "replace")
        raise SourceError(
            f'{where}: the answer is not {{"predictions": [...]}} with one row of numbers per input: {shown!r}',
            hint="look at the container's log, or leave this endpoint's golden set out of the plan",
        ) from error


def _columns(answers: Sequence[Answers], endpoint: str) -> tuple[Column, ...]:
    """The answers of all batches; numbers in float32 where that holds each of them exactly."""
    names = list(answers[0])
    if any(list(one) != names for one in answers):
        raise SourceError(f"endpoint {endpoint}: its answers have other names from batch to batch")
    placed = golden.columns(names, golden.OUTPUT)
    found = []
    for name in names:
        parts = [one[name] for one in answers]
        shapes = sorted({part.shape[1:] for part in parts})
        if len({len(shape) for shape in shapes}) > 1 or any(part.dtype == object for part in parts) != all(
            part.dtype == object for part in parts
        ):
            raise SourceError(f"endpoint {endpoint}: its answers change their shape between batches: {shapes}")
        if len(shapes) > 1:
            values = np.empty(sum(map(len, parts)), dtype=np.object_)
            values[:] = [_narrow(row) for part in parts for row in part]
        else:
            values = _narrow(np.concatenate(parts))
        found.append(Column.of(name, values, column=placed[name]))
    return tuple(found)


def _form(body: bytes) -> str:
    """A caller must not have to change: whoever serves the model answers with a list where the endpoint did."""
    return "list" if body.lstrip().startswith(b"[") else "predictions"


def _narrow(values: NDArray[Any]) -> NDArray[Any]:
    if values.dtype != np.float64:
        return values
    with np.errstate(over="ignore"):
        small = values.astype(np.float32)
    return small if np.array_equal(small.astype(np.float64), values, equal_nan=True) else values


def _repeat(questions: Questions, ask: Ask, endpoint: str) -> dict[str, Any]:
    """Does the same question get the same answer? A few inputs, alone, several times."""
    draw = random.Random(_SEED)  # noqa: S311 - a sample, no secret
    drawn = sorted(draw.sample(range(questions.count), min(_REPEATED_INPUTS, questions.count)))
    spread, decisions_changed = 0.0, 0
    spreads: dict[str, float] = {}
    for index in drawn:
        where = f"endpoint {endpoint}, input {index} alone"
        asked = [_asked(questions, np.array([index]), ask, where)[2] for _ in range(_REPEATS)]
        if len({tuple((name, one.shape) for name, one in answers.items()) for answers in asked}) > 1:
            raise SourceError(f"{where}: its answers change their shape between calls")
        changed = False
        for name, first in asked[0].items():
            if first.dtype == np.object_:
                changed |= len({str(answers[name].tolist()) for answers in asked}) > 1
                continue
            wide = [answers[name].astype(np.float64).reshape(-1) for answers in asked]
            spreads[name] = max(spreads.get(name, 0.0), _spread(np.stack(wide)))
            changed |= len({int(answer.argmax()) for answer in wide if answer.size}) > 1
        decisions_changed += changed
    spread = max(spreads.values(), default=0.0)
    return {
        "indexes": drawn, "repeats": _REPEATS, "identical": spread == 0.0 and not decisions_changed,
        "max_abs_spread": spread, "spread": spreads, "decisions_changed": decisions_changed,
    }  # fmt: skip


def _spread(stacked: NDArray[np.float64]) -> float:
    """The largest difference of one number between calls. NaN every time is the same answer; NaN sometimes is not."""
    if not stacked.size:
        return 0.0
    same = np.isnan(stacked).all(axis=0) | (stacked == stacked[0]).all(axis=0)
    width = np.where(same, 0.0, stacked.max(axis=0) - stacked.min(axis=0))
    return float(np.nan_to_num(width, nan=np.finfo(np.float64).max, posinf=np.finfo(np.float64).max).max())


def _arrow(columns: Sequence[Column]) -> dict[str, "pa.Array"]:
    return {name: array for one in columns for name, array in one.arrow().items()}


def _put_table(into: "BundleWriter", path: str, table: "pa.Table") -> None:
    import pyarrow.parquet as pq

    with into.part(path) as stream:
        pq.write_table(table, stream, compression="zstd")


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
