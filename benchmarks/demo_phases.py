"""How long does each phase of the demo take, and how much memory? `python benchmarks/demo_phases.py [RUNS]`

The first run trains the sample models and counts apart. Of the RUNS after it, prints minimum, median and maximum of
the wall time in seconds by phase, and the highest peak of resident memory in MiB of the main process. The re-run, the
servers and the converters are other processes: the whole command's peak is the largest of them all.
"""

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main(runs: int) -> None:
    seconds: dict[str, list[float]] = {}
    peaks: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        first = _run(folder)
        for _ in range(runs):
            seconds.setdefault("whole command", []).append(_run(folder))
            run = json.loads(Path(folder, "demo/run/evidence/data/run.json").read_bytes())
            for phase in run["phases"]:
                seconds.setdefault(phase["name"], []).append(phase["seconds"])
                peaks[phase["name"]] = max(peaks.get(phase["name"], 0), phase["peak_mib"])
    peaks["whole command"] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024  # the largest one process
    print(f"first run: {first:.1f} s")
    print(f"{'phase':<16}{'min s':>8}{'median s':>10}{'max s':>8}{'peak MiB':>10}   ({runs} runs)")
    for name, taken in seconds.items():
        middle = statistics.median(taken)
        print(f"{name:<16}{min(taken):>8.1f}{middle:>10.1f}{max(taken):>8.1f}{peaks[name]:>10.0f}")


def _run(folder: str) -> float:
    begin = time.monotonic()
    command = [sys.executable, "-m", "reversible", "demo", folder + "/demo", "--json"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.monotonic() - begin


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
