"""Does the restored server answer the vendor's own recorded requests as the vendor did?

Every request of the golden set is sent again, byte for byte, over HTTP, and the answers are held against the recorded
ones. Whether the model is equivalent is for `reversible verify` to say, with a derived tolerance; this shows that
a caller need not change.
"""

import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reversible import wire
from reversible.assets import Asset
from reversible.equivalence.decisions import alike, decides
from reversible.errors import BundleError

if TYPE_CHECKING:
    from reversible.bundle.reader import Bundle

_WAIT_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """What came of it.

    Attributes:
        requests: How many were sent; inputs: how many inputs they held.
        refused: Requests that were not answered with status 200, each with what was said.
        reshaped: Requests whose answer is no table of numbers of the recorded shape.
        decisions_changed: Inputs with another decision (the largest output, or the card's threshold), or with a number
            on one side where the other has none.
        decides: Whether there are decisions to hold: an answer of one number has none without a threshold.
        max_abs_diff: The largest difference of any two numbers; None when nothing could be compared.
        p50_ms, p95_ms: How long the answers took here.
        recorded_p50_ms, recorded_p95_ms: And at the vendor's, over its network.
    """

    requests: int
    inputs: int
    refused: tuple[str, ...]
    reshaped: tuple[str, ...]
    decisions_changed: int
    decides: bool
    max_abs_diff: float | None
    p50_ms: float
    p95_ms: float
    recorded_p50_ms: float
    recorded_p95_ms: float

    @property
    def same(self) -> bool:
        """All was answered in the same shape, with the same decisions; never when nothing was asked or decided."""
        return self.decides and bool(self.inputs) and not self.differs

    @property
    def differs(self) -> bool:
        """Something was answered otherwise."""
        return bool(self.refused or self.reshaped or self.decisions_changed)


def replay(bundle: "Bundle", asset: Asset, url: str) -> Replayed | None:
    """Send every recorded request of one model to `url`; None when none was recorded.

    Raises:
        BundleError: the record cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = bundle.folder(asset) / "golden/requests.parquet"
    if not path.exists():
        return None
    try:
        exchanges = pq.read_table(path).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise BundleError(f"{asset.id}: golden/requests.parquet cannot be read: {error}") from error
    rule = str(bundle.document(asset, "model.json").get("decision") or "argmax")
    refused, reshaped = [], []
    changed, worst, inputs, decided = 0, None, 0, True
    took: list[float] = []
    for number, exchange in enumerate(exchanges):
        begin = time.perf_counter()
        status, said, kind = _ask(url, exchange)
        took.append(1e3 * (time.perf_counter() - begin))
        count = exchange["count"]
        try:
            expected = _Said.of(exchange["response"], exchange["response_type"], count)
        except wire.AnswerError as error:
            raise BundleError(f"{asset.id}: the recorded answer {number} cannot be read: {error}") from error
        inputs += count
        decided = decided and (expected.labels is not None or decides(expected.table, rule))
        if status != 200:
            refused.append(f"request {number}: status {status}: {said[:200].decode('utf-8', 'replace').strip()}")
            continue
        try:
            found = _Said.of(said, kind, count)
        except wire.AnswerError as error:
            reshaped.append(f"request {number}: {error}")
            continue
        if found.form != expected.form:
            reshaped.append(f"request {number}: {found.form}, recorded {expected.form}")
            continue
        numbers = np.isfinite(found.table) & np.isfinite(expected.table)
        largest = float(np.abs(found.table - expected.table)[numbers].max(initial=0.0))
        worst = largest if worst is None else max(worst, largest)
        changed += int((~found.like(expected, rule)).sum())
    recorded = [float(one["latency_ms"]) for one in exchanges] or [0.0]
    return Replayed(
        requests=len(exchanges), inputs=inputs, refused=tuple(refused), reshaped=tuple(reshaped),
        decisions_changed=changed, decides=decided, max_abs_diff=worst,
        p50_ms=float(np.percentile(took or [0.0], 50)), p95_ms=float(np.percentile(took or [0.0], 95)),
        recorded_p50_ms=float(np.percentile(recorded, 50)), recorded_p95_ms=float(np.percentile(recorded, 95)),
    )  # fmt: skip


@dataclass(frozen=True)
class _Said:
    """One answer: its labels, where it has some; its numbers side by side, (inputs, numbers); names and shapes."""

    labels: list[str] | None
    table: NDArray[np.float64]
    form: str

    @classmethod
    def of(cls, body: bytes, content_type: str, count: int) -> "_Said":
        """Raises `wire.AnswerError` for what is none."""
        found = wire.decode_answers(body, content_type, count)
        labels = next((one.tolist() for one in found.values() if one.dtype == np.object_), None)
        numbers = [one.astype(np.float64).reshape(count, -1) for one in found.values() if one.dtype != np.object_]
        form = ", ".join(f"{name} {one.shape}" for name, one in found.items())
        return cls(labels, np.concatenate(numbers, axis=1) if numbers else np.zeros((count, 0)), form)

    def like(self, other: "_Said", rule: str) -> NDArray[np.bool_]:
        """Whether each input gets the same decision: the same label, where there are some."""
        finite = np.isfinite(self.table) & np.isfinite(other.table)
        nan = np.isnan(self.table) & np.isnan(other.table)
        whole = np.asarray((finite | (self.table == other.table) | nan).all(axis=1))
        if self.labels is not None and other.labels is not None:
            same = [mine == theirs for mine, theirs in zip(self.labels, other.labels, strict=True)]
            return np.asarray(whole & np.array(same))
        return np.asarray(whole & alike(self.table, other.table, rule))


def _ask(url: str, exchange: Mapping[str, Any]) -> tuple[int, bytes, str]:
    headers = {"Content-Type": exchange["request_type"], "Accept": exchange["response_type"]}
    request = urllib.request.Request(f"{url}/invocations", data=exchange["request"], headers=headers)  # noqa: S310 - our own server
    try:
        with urllib.request.urlopen(request, timeout=_WAIT_S) as response:  # noqa: S310
            return response.status, response.read(), response.headers.get("Content-Type", "")
    except urllib.error.HTTPError as error:
        return error.code, error.read(), ""
