"""Does the restored server answer the vendor's own recorded requests as the vendor did?

Every request of the golden set is sent again, byte for byte, over HTTP, and the answers are held against the recorded
ones. Whether the model is equivalent is for `reversible verify` to say, with a derived tolerance; this shows that
a caller need not change.
"""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

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
        status, said = _ask(url, exchange)
        took.append(1e3 * (time.perf_counter() - begin))
        expected = _numbers(exchange["response"])
        if expected is None:
            raise BundleError(f"{asset.id}: the recorded answer {number} is no table of numbers")
        inputs += len(expected)
        decided = decided and decides(expected, rule)
        if status != 200:
            refused.append(f"request {number}: status {status}: {said[:200].decode('utf-8', 'replace').strip()}")
            continue
        found = _numbers(said)
        if found is None or found.shape != expected.shape:
            shape = "no table of numbers" if found is None else f"the shape {found.shape}"
            reshaped.append(f"request {number}: {shape}, recorded {expected.shape}")
            continue
        numbers = np.isfinite(found) & np.isfinite(expected)
        largest = float(np.abs(found - expected)[numbers].max(initial=0.0))
        worst = largest if worst is None else max(worst, largest)
        lacking = ~(numbers | (found == expected) | (np.isnan(found) & np.isnan(expected))).all(axis=1)
        changed += int((lacking | ~alike(found, expected, rule)).sum())
    recorded = [float(one["latency_ms"]) for one in exchanges] or [0.0]
    return Replayed(
        requests=len(exchanges), inputs=inputs, refused=tuple(refused), reshaped=tuple(reshaped),
        decisions_changed=changed, decides=decided, max_abs_diff=worst,
        p50_ms=float(np.percentile(took or [0.0], 50)), p95_ms=float(np.percentile(took or [0.0], 95)),
        recorded_p50_ms=float(np.percentile(recorded, 50)), recorded_p95_ms=float(np.percentile(recorded, 95)),
    )  # fmt: skip


def _ask(url: str, exchange: Mapping[str, Any]) -> tuple[int, bytes]:
    headers = {"Content-Type": exchange["request_type"], "Accept": exchange["response_type"]}
    request = urllib.request.Request(f"{url}/invocations", data=exchange["request"], headers=headers)  # noqa: S310 - our own server
    try:
        with urllib.request.urlopen(request, timeout=_WAIT_S) as response:  # noqa: S310
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def _numbers(body: bytes) -> NDArray[np.float64] | None:
    """`{"predictions": [...]}` as (inputs, outputs); null is NaN."""
    try:
        found = np.array(json.loads(body)["predictions"], dtype=np.float64)
    except (ValueError, KeyError, TypeError):
        return None
    return found.reshape(len(found), -1) if found.ndim else None
