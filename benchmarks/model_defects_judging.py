"""What do the ladder, and what do fixed tolerances, say of one port?

Black box: the endpoint's recorded float32 answers, and the port, which is its own reference in float64. Everybody gets
the same answers to the same inputs.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from model_defects_models import Feeds, Original
from numpy.typing import NDArray

from reversible.equivalence import (
    decisions,
    epsilons,
    ladder,
    localisation,
    parameters,
    parameters_record,
    ratio,
    reference,
    runtime,
    sweeps,
    trees,
)
from reversible.equivalence.ladder import Seen
from reversible.equivalence.original import OriginalAnswers, against
from reversible.equivalence.parameters import Fate
from reversible.equivalence.ratio import Ratios, Recording
from reversible.equivalence.signatures import sign
from reversible.equivalence.tensors import constants, rules_in, texts
from reversible.errors import BundleError, EvaluatorError

SETTINGS = (runtime.USUAL, runtime.Setting(batch=1, optimised=False))  # in which the port is asked again
_SINGLE = 1e-5  # rtol of optimum's np.allclose, and of polygraphy's

Numbers = NDArray[Any]
Rule = Callable[[Numbers, Numbers], bool]


def _allclose(rtol: float, atol: float) -> Rule:
    return lambda port, source: bool(np.allclose(port, source, rtol=rtol, atol=atol))


def _torch_onnx(port: Numbers, source: Numbers) -> bool:
    """torch 2.13, `torch.onnx.export(verify=True)`: it warns at 5e-3 absolute or at 0.1 relative."""
    off = np.abs(port - source)
    return bool(off.max() < 5e-3 and (off / (np.abs(source) + 1e-7)).max() < 0.1)


def _polygraphy(port: Numbers, source: Numbers) -> bool:
    """Polygraphy 0.53, "elemwise": a number fails when it is off by more than both."""
    off = np.abs(port - source)
    return not np.any((off > _SINGLE) & (off > _SINGLE * np.abs(source)))


def _cosine(port: Numbers, source: Numbers) -> bool:
    """Of each row: the smallest must reach 0.997."""
    one, two = port.reshape(len(port), -1), source.reshape(len(source), -1)
    size = np.linalg.norm(one, axis=1) * np.linalg.norm(two, axis=1)
    return bool(np.all((one * two).sum(1) >= 0.997 * size))


TOLERANCES: Mapping[str, Rule] = {
    "atol 1e-3": _allclose(1e-5, 1e-3),
    "atol 1e-4": _allclose(1e-5, 1e-4),
    "atol 1e-5, optimum": _allclose(_SINGLE, 1e-5),
    "torch.testing": _allclose(1.3e-6, 1e-5),
    "torch.onnx verify": _torch_onnx,
    "Polygraphy": _polygraphy,
    "cosine 0.997": _cosine,
    "top-1": lambda port, source: bool(np.array_equal(port.argmax(1), source.argmax(1))),
}


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What was said of one port.

    Attributes:
        rung: The ladder's.
        median, largest: Of R.
        means: Which of "R", "decisions", "parameters", "sweep", "refused" found something wrong.
        tolerances: What each fixed tolerance says: True where it accepts.
        seen: The refusal, where there is one.
        white: Rung, median and largest R against the original in float64, with the errors of its own float32, as it is
            and by other kernels, in the floor; None where the original is not torch's.
    """

    rung: str
    median: float
    largest: float
    means: tuple[str, ...]
    tolerances: Mapping[str, bool]
    seen: str = ""
    white: tuple[str, float, float] | None = None

    @property
    def accepted(self) -> bool:
        """By ours: N or better, every parameter there, no sweep off."""
        return self.rung in ("B", "N") and not self.means


def judge(
    original: Original, path: Path, feeds: Feeds, recorded: Numbers, *, digits: int = 0, sweep: bool = True
) -> Verdict:
    """The whole verdict of the port at `path`.

    Args:
        original: For its parameters and the sweeps.
        path: The port.
        feeds: The golden set, as the port takes it.
        recorded: What the endpoint answered, (rows, outputs).
        digits: Significant digits of the recording; 0: binary.
        sweep: Whether the weights that no input uses are asked for.
    """
    found = [*(["parameters"] if altered(original, path) else [])]
    try:
        answers = [runtime.ask(runtime.session(path, one), feeds, batch=one.batch) for one in SETTINGS]
        held = reference.of_port(path, feeds)
    except (BundleError, EvaluatorError) as error:
        return Verdict(
            rung="F" if isinstance(error, BundleError) else "U", median=np.inf, largest=np.inf,
            means=("refused", *found), tolerances=dict.fromkeys(TOLERANCES, False), seen=str(error),
        )  # fmt: skip
    answers = [one.reshape(len(one), -1) for one in answers]
    standing = _standing(feeds, recorded, answers, held, digits)
    if not standing.seen.ratios.within():
        found.insert(0, "R")
    if standing.seen.unexplained:
        found.insert(1 if "R" in found else 0, "decisions")
    if sweep and swept(original, path):
        found.append("sweep")
    same = answers[0].shape == recorded.shape and bool(np.isfinite(answers[0]).all())
    pair = answers[0].astype(np.float64), recorded.astype(np.float64)
    return Verdict(
        rung=str(standing.rung), median=standing.seen.ratios.median, largest=standing.seen.ratios.largest,
        means=tuple(found), tolerances={name: same and rule(*pair) for name, rule in TOLERANCES.items()},
        white=_white(original, feeds, recorded, answers, held, digits),
    )  # fmt: skip


def _white(
    original: Original, feeds: Feeds, recorded: Numbers, answers: list[Numbers], held: reference.Reference, digits: int
) -> tuple[str, float, float] | None:
    """The same with the original as the reference."""
    if original.module is None:
        return None
    with torch.backends.mkldnn.flags(enabled=False):
        other = original.answer(feeds)
    rows = np.arange(len(recorded), dtype=np.uint8)[:, None].repeat(16, 1)
    kept = OriginalAnswers(
        engine="torch", inputs=rows, exact=[exact(original, feeds)],
        evaluations={"as it is": [original.answer(feeds)], "other kernels": [other]},
    )  # fmt: skip
    white = against(held, kept, rows, output=0)
    if white is None:
        return "F", np.inf, np.inf
    standing = _standing(feeds, recorded, answers, white, digits)
    return str(standing.rung), standing.seen.ratios.median, standing.seen.ratios.largest


def exact(original: Original, feeds: Feeds) -> Numbers:
    """The original's answers in float64."""
    module = original.module.double()
    given = [torch.from_numpy(one) for one in feeds.values()]
    with torch.no_grad():
        said = module(*(one.double() if one.is_floating_point() else one for one in given))
    module.float()
    return np.asarray(said.numpy() * original.unit).reshape(len(given[0]), -1)


def _standing(feeds: Feeds, recorded: Numbers, answers: list[Numbers], held: reference.Reference, digits: int) -> Any:
    """As `reversible_verifiers.error_ratio` stands a model, for any number of inputs."""
    recording = Recording(digits=digits, decimals=40)
    quantum = recording.quantum(recorded) if digits else None
    joined = ratio.error_ratio(recorded, held.answers, held.floor, quantum=quantum)
    for one in answers:
        joined = joined.join(ratio.error_ratio(one, held.answers, held.floor))
    flips, unexplained = 0, 0
    if answers[0].shape == recorded.shape:
        exact = recorded.astype(np.float64)
        flipped = decisions.decide(answers[0], "argmax") != decisions.decide(recorded, "argmax")
        off = np.abs(answers[0] - exact).max(axis=1)
        flips, unexplained = int(flipped.sum()), int((flipped & (decisions.margins(exact, "argmax") > 2 * off)).sum())
    seen = Seen(
        output="answer", population="inputs drawn from a seed", inputs_sha256=ladder.inputs_sha256(feeds),
        n=len(recorded), identical=all(np.array_equal(one, recorded) for one in answers),
        distinct=len(np.unique(recorded, axis=0)), ratios=joined, flips=flips, unexplained=unexplained,
        digits=recording.significant(recorded) if digits else None,
    )  # fmt: skip
    return ladder.stand(seen)


def altered(original: Original, path: Path) -> list[str]:
    """Parameters of the original that the file holds changed or rounded."""
    if original.module is None:
        return _changed(path)
    signatures = [sign(name, array) for name, array in original.parameters.items()]
    account = parameters.account(signatures, constants(onnx.load(str(path))), original.parameters)
    found = [one.name for one in (*account.of(Fate.ALTERED), *account.of(Fate.CAST))]
    return [*found, *(place for place, _ in epsilons.foreign(_added(original), onnx.load(str(path))))]


def _changed(path: Path) -> list[str]:
    """What our converter recorded beside the good port, and this one holds otherwise."""
    record, asked = parameters_record.read(path.parent / "golden"), trees.read(path.parent / "golden")
    model = onnx.load(str(path))
    held = {**constants(model), **texts(model), **rules_in(path.parent / "processing")}
    found = parameters.account(record[0], held, record[1]) if record else parameters.Account(traced=())
    lost = [
        now.name for before, now in zip(record[0] if record else (), found.traced, strict=True)
        if now.fate in (Fate.ALTERED, Fate.CAST) or (now.fate is Fate.MISSING and before.found == Fate.IDENTICAL)
    ]  # fmt: skip
    return [*lost, *trees.differences(asked or [], model)]


def _added(original: Original) -> dict[str, float]:
    """What the modules of the original add before they take a root."""
    fields = ("eps", "variance_epsilon")
    modules = original.module.named_modules()
    return {name: getattr(one, field) for name, one in modules for field in fields if hasattr(one, field)}


def swept(original: Original, path: Path) -> bool:
    """Whether inputs that use every weight show a difference that the golden set does not have to show."""
    model = onnx.load(str(path))
    if original.module is not None:
        tables = [one for one in sweeps.embeddings(model) if one.input in original.feeds and one.rows > 64]
        return any(_off(original, path, _words(original, one)) for one in tables)
    trees = [node for node in model.graph.node if node.op_type == "TreeEnsembleRegressor"]
    if not trees or original.name != "gradient boosting":  # behind a scaler the edges are not the inputs' own
        return False
    found = sweeps.leaves(trees[0], 6).inputs
    return _off(original, path, {"input": found.astype(np.float64)})


def _words(original: Original, table: sweeps.Table) -> Feeds:
    length = next(iter(original.feeds.values())).shape[1]
    ids = np.concatenate(list(sweeps.vocabulary(table.rows, length)))
    return {"ids": ids, "mask": np.ones_like(ids)}


def _off(original: Original, path: Path, feeds: Feeds) -> bool:
    held = reference.of_port(path, feeds, runs=2)
    judged: Ratios = ratio.error_ratio(original.answer(feeds), held.answers, held.floor)
    return not judged.within()


def place(path: Path, feeds: Feeds, kept: list[dict[str, Any]]) -> tuple[str, str]:
    """The node that is named against what the file computed when it left, and the words for it."""
    found = localisation.against_trace(path, {name: array[:2] for name, array in feeds.items()}, kept)
    return (found.place.node, str(found.place)) if found else ("", "nothing changed since it left")


def place_in_modules(path: Path, original: Original) -> tuple[str, str]:
    """The module that is named against the original's own, in float64."""
    feeds = {name: array[:2] for name, array in original.feeds.items()}
    heard: dict[str, Numbers] = {}
    module = original.module.double()

    def listen(name: str) -> Callable[..., None]:
        def hook(layer: Any, given: Any, answer: Any) -> None:
            if isinstance(answer, torch.Tensor) and answer.is_floating_point():
                heard[name] = answer.detach().double().numpy()

        return hook

    hooks = [one.register_forward_hook(listen(name)) for name, one in module.named_modules() if name]
    with torch.no_grad():
        module(*(torch.from_numpy(one).double() if one.dtype.kind == "f" else torch.from_numpy(one)
                 for one in feeds.values()))  # fmt: skip
    for hook in hooks:
        hook.remove()
    module.float()
    found = localisation.against_modules(path, feeds, heard)
    return (found.place.module, str(found.place)) if found else ("", "no module is off")
