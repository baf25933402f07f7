"""Which planted faults, and which good exports, do the ladder and fixed tolerances tell apart?

    python benchmarks/model_defects.py [--only CNN] [--cases FOLDER]
    python benchmarks/model_defects.py --cases FOLDER --write docs/model-defects.md

Faults are planted in the exported file, in the module before it leaves, or in the processing; the recorded answers are
those of the original in its own framework. Every method gets the same answers to the same inputs: more than the tools
whose tolerances they are ask of themselves, which is one batch of drawn numbers. Nothing is tuned here.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import model_defects_catalogue as catalogue
import model_defects_judging as judging
import model_defects_models as models
import numpy as np
import onnx
import torch
from model_defects_faults import Fault
from model_defects_judging import TOLERANCES, Verdict
from model_defects_models import Feeds, Original
from onnx import helper, numpy_helper

from reversible.equivalence import localisation
from reversible.processing import terms

_FROZEN = "LSTM and GRU"  # not planted: torch 2.13's newer exporter declares a free length, and refuses another one
_UNITS = (1e-4, 1e-2, 1e5)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One port: a fault, or a good export (then `place` is empty)."""

    model: str
    name: str
    verdict: Verdict
    place: str = ""
    placed: bool | None = None  # None where no place can be asked for


class Bench:
    """One architecture: its original, the good port, and what is kept when it leaves."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        self.torch = name in models.TORCH
        self.original = models.torch_original(name) if self.torch else models.sklearn_original(name)
        self.recorded = self.original.answer(self.original.feeds)
        self.good = folder / "good.onnx"
        self.original.export(self.good, True)
        self.feeds = self.asked(self.original.feeds)
        self.trace = localisation.trace(self.good, {key: one[:2] for key, one in self.feeds.items()})

    def asked(self, feeds: Feeds, change: Callable[[Any], None] | None = None) -> Feeds:
        """What the port takes: of texts the counts of their terms, by the rules that travel."""
        if "text" not in feeds:
            return feeds
        rules = json.loads((self.folder / "processing/text_terms.json").read_text("utf-8"))
        if change:
            change(rules)
        return {rules["input"]: terms.counts(rules, list(feeds["text"]))}

    # --- faults --------------------------------------------------------------------------------------------------

    def faults(self, names: tuple[str, ...] = ()) -> Iterator[Case]:
        for fault in catalogue.FAULTS[self.name]:
            if not names or fault.name in names:
                yield self._planted(fault)
        if self.name == _FROZEN and not names:
            asked, recorded = self.original.others, self.original.answer(self.original.others)
            verdict = judging.judge(self.original, self.good, asked, recorded)
            yield Case(model=self.name, name="length frozen by torch's newer exporter", verdict=verdict,
                       place=verdict.seen)  # fmt: skip

    def _planted(self, fault: Fault) -> Case:
        path, feeds = self.folder / "fault.onnx", self.feeds
        expected: set[str] = set()
        if fault.edit:
            model = onnx.load(str(self.good))
            expected = fault.edit(model)
            onnx.save(model, str(path))
        elif fault.change:
            models.torch_original(self.name, fault.change).export(path, True)
        else:
            path, feeds = self.good, self.asked(self.original.feeds, fault.rules)
        verdict = judging.judge(self.original, path, feeds, self.recorded)
        if verdict.seen or fault.rules:
            return Case(model=self.name, name=fault.name, verdict=verdict, place=verdict.seen or "outside the file")
        if fault.edit:
            node, words = judging.place(path, feeds, self.trace)
            return Case(model=self.name, name=fault.name, verdict=verdict, place=words, placed=node in expected)
        module, words = judging.place_in_modules(path, self.original)
        right = any(one in module.split(".") for one in fault.modules)
        return Case(model=self.name, name=fault.name, verdict=verdict, place=words, placed=right)

    # --- good exports --------------------------------------------------------------------------------------------

    def goods(self, names: tuple[str, ...] = ()) -> Iterator[Case]:
        for name, make in self._good().items():
            if not names or name in names:
                path, feeds, recorded, digits = make()
                factor = next((one for one in _UNITS if name.endswith(f"x {one:g}")), 1.0)
                verdict = judging.judge(_in_units(self.original, factor), path, feeds, recorded, digits=digits)
                yield Case(model=self.name, name=name, verdict=verdict, place=verdict.seen)

    def _good(self) -> dict[str, Callable[[], tuple[Path, Feeds, Any, int]]]:
        feeds, others, port = self.original.feeds, self.original.others, self.good

        def other_shapes(path: Path) -> tuple[Path, Feeds, Any, int]:
            return path, self.asked(others), self.original.answer(others), 0

        made: dict[str, Callable[[], tuple[Path, Feeds, Any, int]]] = {
            "as exported": lambda: (port, self.feeds, self.recorded, 0),
            "other shapes": lambda: other_shapes(port),
            "recorded with 7 digits": lambda: (port, self.feeds, _digits(self.recorded, 7), 7),
            "vendor: one row at a time": lambda: (port, self.feeds, _one_by_one(self.original, feeds), 0),
            **{f"answers x {one:g}": partial(self._scaled, port, one) for one in _UNITS},
            "written again by onnxruntime, optimised": lambda: (self._optimised(), self.feeds, self.recorded, 0),
        }
        if self.name == _FROZEN:
            del made["other shapes"]
        if not self.torch:
            return made
        made |= {
            "recorded with 6 digits": lambda: (port, self.feeds, _digits(self.recorded, 6), 6),
            "older exporter": lambda: (self._older(), self.feeds, self.recorded, 0),
            "older exporter, other shapes": lambda: other_shapes(self._older()),
            "older exporter, answers x 100000": lambda: self._scaled(self._older(), 1e5),
            "vendor: other kernels, two threads": lambda: (port, self.feeds, _other_kernels(self.original, feeds), 0),
            **{name: self._equivalent(change) for name, change in _EQUIVALENT.get(self.name, {}).items()},
        }
        return made

    def _older(self) -> Path:
        path = self.folder / "older.onnx"
        if not path.exists():
            self.original.export(path, False)
        return path

    def _equivalent(self, change: Callable[[Any], None]) -> Callable[[], tuple[Path, Feeds, Any, int]]:
        def make() -> tuple[Path, Feeds, Any, int]:
            path = self.folder / "equivalent.onnx"
            models.torch_original(self.name, change).export(path, False)
            return path, self.feeds, self.recorded, 0

        return make

    def _scaled(self, port: Path, factor: float) -> tuple[Path, Feeds, Any, int]:
        """The model whose answers have another unit: a last multiplication on both sides."""
        model, path = onnx.load(str(port)), self.folder / "scaled.onnx"
        last = model.graph.output[0]
        kind = helper.tensor_dtype_to_np_dtype(last.type.tensor_type.elem_type)
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(factor, kind), "unit"))
        model.graph.node.append(helper.make_node("Mul", [last.name, "unit"], ["scaled"], name="scaled"))
        last.name = "scaled"
        onnx.save(model, str(path))
        return path, self.feeds, self.recorded * self.recorded.dtype.type(factor), 0

    def _optimised(self) -> Path:
        """Constants folded and nodes fused, within the standard's operators."""
        import onnxruntime

        path, options = self.folder / "optimised.onnx", onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath, options.log_severity_level = str(path), 4
        onnxruntime.InferenceSession(str(self.good), options, providers=["CPUExecutionProvider"])
        return path


def _in_units(original: Original, factor: float) -> Original:
    """The same, answering in another unit."""

    def answer(feeds: Feeds) -> Any:
        given = original.answer(feeds)
        return given * given.dtype.type(factor)

    return original if factor == 1 else replace(original, answer=answer, unit=factor)


def _no_key_bias(module: Any) -> None:
    """A key's bias adds the same to all scores of a query: softmax takes it away again."""
    for name, one in module.named_parameters():
        if name.endswith(("k_proj.bias", "self.key.bias")):
            one.data.zero_()


def _shift(module: Any) -> None:
    """RoPE knows distances alone: every position one further is the same model."""
    module.shift = 1


_EQUIVALENT: dict[str, dict[str, Callable[[Any], None]]] = {
    "Llama": {"every position one further": _shift},
    "BERT": {"keys without bias": _no_key_bias},
    "wav2vec2": {"keys without bias": _no_key_bias},
}


def _digits(answers: Any, digits: int) -> Any:
    flat = [float(f"{float(one):.{digits}g}") for one in answers.reshape(-1)]
    return np.array(flat).reshape(answers.shape)


def _one_by_one(original: Original, feeds: Feeds) -> Any:
    count = len(next(iter(feeds.values())))
    return np.concatenate([original.answer({key: one[at : at + 1] for key, one in feeds.items()})
                           for at in range(count)])  # fmt: skip


def _other_kernels(original: Original, feeds: Feeds) -> Any:
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2 if threads == 1 else 1)
        with torch.backends.mkldnn.flags(enabled=False):
            return original.answer(feeds)
    finally:
        torch.set_num_threads(threads)


def run(name: str) -> tuple[list[Case], list[Case]]:
    """The faults and the good exports of one architecture."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(name, Path(folder))
        return list(bench.faults()), list(bench.goods())


def main() -> None:
    from model_defects_report import report

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--only", action="append", choices=[*models.TORCH, *models.SKLEARN])
    parser.add_argument("--cases", type=Path, default=Path("model-defects"), help="folder: a file per architecture")
    parser.add_argument("--write", type=Path, help="the page, of every architecture in the folder")
    arguments = parser.parse_args()
    arguments.cases.mkdir(exist_ok=True)
    every = [*models.TORCH, *models.SKLEARN]
    for name in (arguments.only or every) if arguments.only or not arguments.write else []:
        before = time.process_time()
        found = [[asdict(case) for case in cases] for cases in run(name)]
        (arguments.cases / f"{name}.json").write_text(json.dumps(found), encoding="utf-8")
        print(f"{name}: {len(found[0])} faults, {len(found[1])} good, {time.process_time() - before:.0f} s of CPU")
    if arguments.write:
        read = {name: json.loads((arguments.cases / f"{name}.json").read_text("utf-8")) for name in every}
        arguments.write.write_text(report(read, list(TOLERANCES)), encoding="utf-8")


if __name__ == "__main__":
    main()
