"""How much of ONNX does the second engine cover, and how fast is it?

    python benchmarks/evaluator.py coverage             writes the tables of docs/evaluator.md; three minutes
    python benchmarks/evaluator.py speed MODEL.onnx...  CPU seconds beside onnxruntime, torch and onnx.reference

The coverage runs the official backend test data that ship in the `onnx` package, through the second engine in both
precisions and through `onnx.reference`. The speed runs each engine in a process of its own, in turn, so that a noisy
machine is noisy for all; the figures are medians of the CPU time of one run, without the loading, and their ratio to
onnxruntime's. torch has a row where MODEL.pt2 lies beside MODEL.onnx: the same network as a `torch.export` program, run
in float64.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "tests/unit")]

from official_cases import NOT_PASSED, Case, difference, fault, light, of_nodes, on_disk, operators, reason  # noqa: E402

from reversible.evaluator import Evaluator  # noqa: E402

DOCUMENT = HERE.parent / "docs/evaluator.md"
BEGIN, END = "<!-- benchmarks/evaluator.py coverage: from here -->", "<!-- to here -->"
ENGINES = ("onnxruntime", "float64", "float32", "reference", "torch")


def reference_fault(case: Case) -> str:
    """What is wrong with onnx.reference's answer; nothing when it is right."""
    from onnx.reference import ReferenceEvaluator

    try:
        engine = ReferenceEvaluator(case.model)
        for inputs, expected in case.sets:
            found = engine.run(None, dict(zip(engine.input_names, inputs, strict=False)))
            for one, wanted in zip(found, expected, strict=True):
                message = difference(one, wanted, case, declared=True)
                if message:
                    return message
    except Exception as error:  # noqa: BLE001 - it raises what its operators raise: of every kind
        return f"{type(error).__name__}: {error}"
    return ""


def coverage() -> None:
    cases = [*on_disk(), *of_nodes(), *light()]
    kinds: Counter[str] = Counter(one.kind for one in cases)
    passed: dict[str, Counter[str]] = {name: Counter() for name in ("float32", "float64", "reference")}
    there: Counter[str] = Counter()
    by_operator: dict[str, Counter[str]] = {name: Counter() for name in ("float32", "float64", "reference")}
    why: dict[tuple[str, str], int] = Counter()
    surprises: list[str] = []
    for case in cases:
        names = {f"{domain}.{name}" if domain else name for domain, name in operators(case.model)}
        there.update(names)
        faults = {one.__name__: fault(case, one) for one in (np.float32, np.float64)}
        faults["reference"] = reference_fault(case) if case.kind != "light" else "too slow: not run"
        for name, message in faults.items():
            if not message:
                passed[name][case.kind] += 1
                by_operator[name].update(names)
        for precision in (np.float32, np.float64):
            known = reason(case, precision)
            message = faults[precision.__name__]
            if bool(message) != (known is not None):
                surprises.append(f"{case.name} in {precision.__name__}: {message or 'passes, but is listed'}")
            if known:
                why[precision.__name__, known] += 1
    if surprises:
        sys.exit("\n".join(surprises))
    lines = [BEGIN, "", f"With onnx {version('onnx')} and numpy {version('numpy')}:", ""]
    lines += ["| data | cases | float32 | float64 | onnx.reference |", "|---|---|---|---|---|"]
    for kind in sorted(kinds):
        theirs = passed["reference"][kind] if kind != "light" else "not run: too slow"
        ours = f"{passed['float32'][kind]} | {passed['float64'][kind]}"
        lines.append(f"| {kind} | {kinds[kind]} | {ours} | {theirs} |")
    lines += ["", "What does not pass, and why:", "", "| cases in float32 | in float64 | reason |", "|---|---|---|"]
    reasons = dict.fromkeys(one[2] for one in NOT_PASSED)
    lines += [f"| {why['float32', one]} | {why['float64', one]} | {one} |" for one in reasons]
    lines += ["", "Each operator: the cases in which it occurs, subgraphs and functions included, and how many pass."]
    lines += ["", "| operator | cases | float32 | float64 | onnx.reference |", "|---|---|---|---|---|"]
    for name in sorted(there):
        counts = " | ".join(str(one[name]) for one in by_operator.values())
        lines.append(f"| `{name}` | {there[name]} | {counts} |")
    text = DOCUMENT.read_text()
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    DOCUMENT.write_text(before + "\n".join([*lines, "", END]) + after)


def feeds_of(engine: Evaluator) -> dict[str, np.ndarray]:
    """Seeded inputs; a dimension without a number is 2."""
    rng = np.random.default_rng(0)
    found = {}
    for one in engine.inputs:
        shape = [size if isinstance(size, int) and size > 0 else 2 for size in one.shape or ()]
        if one.dtype is not None and one.dtype.kind == "f":
            found[one.name] = rng.standard_normal(shape).astype(one.dtype)
        else:
            found[one.name] = (np.ones if "mask" in one.name else np.zeros)(shape, one.dtype)
    return found


def runner(engine: str, path: Path) -> Any:
    """A function of no arguments that runs the model once."""
    feeds = feeds_of(Evaluator(path))
    if engine in ("float64", "float32"):
        ours = Evaluator(path, precision=getattr(np, engine))
        return lambda: ours.run(feeds)
    if engine == "onnxruntime":
        import onnxruntime

        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        return lambda: session.run(None, feeds)
    if engine == "reference":
        from onnx.reference import ReferenceEvaluator

        reference = ReferenceEvaluator(onnx.load_model(str(path)))
        return lambda: reference.run(None, feeds)
    import torch

    module = torch.export.load(str(path.with_suffix(".pt2"))).module().double()
    tensors = [torch.from_numpy(one.astype(np.float64) if one.dtype.kind == "f" else one) for one in feeds.values()]

    def forward() -> Any:
        with torch.no_grad():
            return module(*tensors)

    return forward


def measure(engine: str, path: Path) -> None:
    """In a process of its own: prints the CPU seconds of the second run, or why there is none."""
    try:
        run = runner(engine, path)
        run()
    except Exception as error:  # noqa: BLE001 - whatever an engine raises: it is its row in the table
        print(f"{type(error).__name__}: {str(error).splitlines()[0][:60] if str(error) else ''}")
        return
    began = time.process_time()
    run()
    print(time.process_time() - began)


def speed(models: list[Path], rounds: int, limit_s: float) -> None:
    print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores, {rounds} rounds")
    for path in models:
        seconds: dict[str, list[float]] = {one: [] for one in ENGINES}
        refused: dict[str, str] = {}
        for _ in range(rounds):
            for engine in ENGINES:
                if engine in refused or (engine == "torch" and not path.with_suffix(".pt2").exists()):
                    continue
                try:
                    said = subprocess.run(
                        [sys.executable, __file__, "measure", engine, str(path)],
                        capture_output=True, text=True, timeout=limit_s, check=True,
                    ).stdout.strip()  # fmt: skip
                    seconds[engine].append(float(said))
                except subprocess.TimeoutExpired:
                    refused[engine] = f"more than {limit_s:g} s"
                except ValueError:
                    refused[engine] = said
        base = statistics.median(seconds["onnxruntime"])
        for engine, found in seconds.items():
            if found:
                middle = statistics.median(found)
                print(f"| {path.stem} | {engine} | {middle:.3f} | {middle / base:.1f} |")
            elif engine in refused:
                print(f"| {path.stem} | {engine} | {refused[engine]} | |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("coverage")
    for verb in ("speed", "measure"):
        one = verbs.add_parser(verb)
        if verb == "measure":
            one.add_argument("engine", choices=ENGINES)
        one.add_argument("models", type=Path, nargs="+")
        one.add_argument("--rounds", type=int, default=3)
        one.add_argument("--limit", type=float, default=300, help="seconds for one engine in one round")
    given = parser.parse_args()
    if given.verb == "coverage":
        coverage()
    elif given.verb == "speed":
        speed(given.models, given.rounds, given.limit)
    else:
        measure(given.engine, given.models[0])


if __name__ == "__main__":
    main()
