"""How fast is the model here, beside what was recorded at its endpoint?

The recorded requests are made and answered again, from the ONNX file alone, on one CPU thread. The endpoint's times
were taken by its caller: its network, its queue and its hardware are in them, and HTTP and JSON are not in ours. So a
ratio says how a caller's wait changes on these two machines, and nothing about either alone; every finding says so.

The one verifier with a clock: asked twice, it says something else. What it says decides nothing until the contract
names a number (docs/adr/0028).
"""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reversible import golden, onnx_graph
from reversible.assets import Asset, Kind
from reversible.equivalence import groups, runtime
from reversible.errors import BundleError
from reversible.findings import Finding
from reversible.processing.asked import Asked
from reversible.processing.raw import Processing

if TYPE_CHECKING:
    from reversible.bundle.reader import Bundle

UNITS = {
    "model.p50_latency_ratio": "ratio", "model.p95_latency_ratio": "ratio", "model.throughput_ratio": "ratio",
    "model.cold_start_s": "seconds", "model.peak_memory_mib": "mebibytes",
}  # fmt: skip
NO_GOLDEN = "no golden set was recorded at the endpoint: there is nothing to compare with"
NO_TIMES = "how long the endpoint took was not recorded"
NO_MEMORY = "this machine does not say how much memory a process held at most"
_REQUESTS = 200  # asked again, spread over all that were recorded

_SEEN = {
    "model.p50_latency_ratio": "median {here} ms for a request here, on one thread and without HTTP; {there} ms at the "
    "endpoint, its network and its hardware included; {n} requests",
    "model.p95_latency_ratio": "95th percentile {here} ms for a request here, on one thread and without HTTP; {there} "
    "ms at the endpoint, its network and its hardware included; {n} requests",
    "model.throughput_ratio": "{here} inputs per second here, on one thread and without HTTP; {there} at the endpoint, "
    "one request after the other, its network and its hardware included; {n} requests",
    "model.cold_start_s": "from the file to the first answer {here} s; the endpoint's was not seen",
    "model.peak_memory_mib": "{here} MiB more while it was opened and asked; the endpoint's is not known",
}


class Speed:
    """Asks the recorded requests again and takes the time. Catches a port that is slower than the contract allows."""

    metrics = frozenset(UNITS)
    kinds = frozenset({Kind.MODEL})

    def verify(self, asset: Asset, bundle: "Bundle") -> Iterator[Finding]:
        """Five findings per model, without a value and with the reason where nothing was recorded or it refuses."""
        folder = bundle.folder(asset)
        if not (folder / "golden/manifest.json").exists():
            yield from _unanswered(asset, sorted(UNITS), NO_GOLDEN)
            return
        exchanges = _exchanges(folder)
        onnx_graph.must_be_runnable(folder / "model.onnx")
        files = tuple(bundle.relative(folder / name) for name in ("model.onnx", "golden/requests.parquet"))
        with _Memory() as memory:
            begin = time.perf_counter()
            session = runtime.session(folder / "model.onnx")
            asked = _asked(asset, bundle, session)
            names = [one.name for one in runtime.outputs(session)]
            took: list[float] = []
            for one in [exchanges[0], *exchanges]:
                before = time.perf_counter()
                rows = np.arange(one["first"], one["first"] + one["count"])
                for _, feeds in asked.batches(rows, len(rows)):
                    try:
                        session.run(names, feeds)
                    except Exception as error:  # noqa: BLE001 - onnxruntime's exceptions derive from Exception alone
                        yield from _unanswered(asset, sorted(UNITS), f"it refuses: {runtime.first_line(error)}")
                        return
                took.append(time.perf_counter() - before)
                if len(took) == 1:
                    cold_s = time.perf_counter() - begin
        yield from _findings(asset, files, exchanges, took[1:], cold_s, memory.grown_mib)


def _findings(
    asset: Asset, files: tuple[str, ...], exchanges: Sequence[Any], took_s: Sequence[float], cold_s: float,
    grown_mib: float | None,
) -> Iterator[Finding]:  # fmt: skip
    here, there = np.array(took_s) * 1e3, np.array([float(one["latency_ms"]) for one in exchanges])
    inputs = sum(int(one["count"]) for one in exchanges)
    pairs = {
        "model.p50_latency_ratio": (float(np.percentile(here, 50)), float(np.percentile(there, 50))),
        "model.p95_latency_ratio": (float(np.percentile(here, 95)), float(np.percentile(there, 95))),
        "model.throughput_ratio": (_per_second(inputs, here), _per_second(inputs, there)),
    }
    for metric, (mine, theirs) in pairs.items():
        if not (np.isfinite(there).all() and (there > 0).all()):
            yield from _unanswered(asset, [metric], NO_TIMES)
            continue
        facts: dict[str, int | float | str] = {"here": round(mine, 3), "there": round(theirs, 3), "n": len(exchanges)}
        yield _finding(metric, asset, mine / theirs, facts, files)
    yield _finding("model.cold_start_s", asset, cold_s, {"here": round(cold_s, 3)}, files)
    if grown_mib is None:
        yield from _unanswered(asset, ["model.peak_memory_mib"], NO_MEMORY)
    else:
        yield _finding("model.peak_memory_mib", asset, grown_mib, {"here": round(grown_mib, 1)}, files)


def _per_second(inputs: int, took_ms: NDArray[np.float64]) -> float:
    return 1e3 * inputs / max(float(took_ms.sum()), 1e-9)


def _finding(
    metric: str, asset: Asset, value: float, facts: dict[str, int | float | str], files: tuple[str, ...]
) -> Finding:
    return Finding(metric, asset.id, value, unit=UNITS[metric], seen=_SEEN[metric], facts=facts, files=files)


def _unanswered(asset: Asset, metrics: Sequence[str], error: str) -> Iterator[Finding]:
    for metric in metrics:
        yield Finding(metric, asset.id, None, unit=UNITS[metric], error=error)


def _exchanges(folder: Path) -> list[Any]:
    """Some of the recorded requests that were answered, spread over all of them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(folder / "golden/requests.parquet", columns=["first", "count", "status", "latency_ms"])
        found = [one for one in table.to_pylist() if one["status"] == 200 and one["count"]]
    except (pa.ArrowException, OSError, KeyError) as error:
        raise BundleError(f"golden/requests.parquet cannot be read: {runtime.first_line(error)}") from error
    if not found:
        raise BundleError("golden/requests.parquet holds no answered request")
    return [found[at] for at in groups.spread(np.arange(len(found)), _REQUESTS).tolist()]


def _asked(asset: Asset, bundle: "Bundle", session: Any) -> Asked:
    folder = bundle.folder(asset)
    inputs = golden.read(folder / "golden", bundle.document(asset, "golden/manifest.json"), "inputs")
    fields = [one.field for one in inputs]
    return Asked(inputs, Processing(folder / "processing", runtime.fields(session.get_inputs()), fields))


class _Memory:
    """How much more memory this process held at most while the block ran, in MiB; None where Linux does not say.

    Source: proc(5): writing 5 to clear_refs sets VmHWM, the peak, back to what is held now.
    """

    grown_mib: float | None = None

    def __enter__(self) -> "_Memory":
        try:
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
            self._before: int | None = _held("VmRSS")
        except OSError:
            self._before = None
        return self

    def __exit__(self, *_: object) -> None:
        after = None if self._before is None else _held("VmHWM")
        if after is not None and self._before is not None:
            self.grown_mib = max(0.0, (after - self._before) / 1024)


def _held(what: str) -> int | None:
    """KiB, as /proc/self/status says."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{what}:")), None)
