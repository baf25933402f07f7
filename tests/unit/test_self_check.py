"""Does the check beside the original see what is wrong, and nothing where all is right?"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from reversible.errors import SourceError
from reversible_exporters import onnx_file, self_check
from reversible_exporters.probes import Axis, Input, Inputs, padded

WEIGHT = np.random.default_rng(5).normal(0, 1, (6, 4)).astype(np.float32)
INPUTS = Inputs(
    inputs=(Input(name="x", dtype="float32", shape=("batch", "length", 6)),),
    axes=(Axis.of("batch", 3), Axis.of("length", 5)),
)


class Dense:
    """tanh(x W) in numpy; `float_` gives what is done to it in float32, `wide` in float64."""

    def __init__(self, float_: Any = None, wide: Any = None, mask: Any = None) -> None:
        self._float, self._wide, self._mask = float_ or (lambda y: y), wide or (lambda y: y), mask

    def answer(self, feeds: Any) -> list[Any]:
        return [self._float(np.tanh(feeds["x"] @ WEIGHT))]

    def otherwise(self, feeds: Any) -> list[Any]:
        return [np.tanh(np.einsum("...i,ij->...j", feeds["x"], WEIGHT))]

    def exact(self, feeds: Any) -> list[Any]:
        return [self._wide(np.tanh(feeds["x"].astype(np.float64) @ WEIGHT.astype(np.float64)))]

    def perturbed(self, feeds: Any, seed: int) -> list[Any]:
        draw = np.random.default_rng(seed)

        def blur(array: Any) -> Any:
            return array * (1 + 2.0**-24 * draw.uniform(-1, 1, array.shape))

        wide = blur(blur(feeds["x"].astype(np.float64)) @ blur(WEIGHT.astype(np.float64)))
        return [self._wide(blur(np.tanh(wide)))]

    def counts(self, feeds: Any, output: int, shape: Sequence[int]) -> Any:
        return None if self._mask is None else self._mask(shape)


def graph(
    target: Path, *, weight: Any = WEIGHT, reshape: tuple[int, ...] | None = None, integers: bool = False
) -> Path:
    """The same in ONNX, with another weight, or a size that is fixed inside."""
    make, tensor = onnx.helper.make_node, onnx.numpy_helper.from_array
    nodes = [make("MatMul", ["x", "w"], ["m"]), make("Tanh", ["m"], ["t"])]
    constants = [tensor(np.asarray(weight, np.float32), "w")]
    if reshape is not None:
        constants.append(tensor(np.array(reshape, np.int64), "s"))
    nodes.append(make("Identity", ["t"], ["y"]) if reshape is None else make("Reshape", ["t", "s"], ["y"]))
    value = onnx.helper.make_tensor_value_info
    made = onnx.helper.make_graph(
        nodes, "dense", [value("x", onnx.TensorProto.FLOAT, ["batch", "length", 6])],
        [value("y", onnx.TensorProto.FLOAT, ["batch", None, 4])], constants,
    )  # fmt: skip
    onnx_file.write(
        onnx.helper.make_model(made, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9), target
    )
    return target


def test_a_faithful_graph_passes_at_sizes_never_traced(tmp_path: Path) -> None:
    found = self_check.compare(graph(tmp_path / "m.onnx"), Dense(), INPUTS.probes())

    assert found["ratio_median"] < 2
    assert found["float64_ratio_max"] < 1e-3
    assert {"batch 3, length 5", "batch 1, length 5", "batch 7, length 11"} <= set(found["shapes"])


def off_by(share: float) -> Any:
    weight = WEIGHT.copy()
    weight[0, 0] *= 1 + share
    return weight


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ({"weight": off_by(1e-5)}, "computes something else: off by"),  # a constant tolerance of 1e-4 accepts this
        ({"weight": np.full_like(WEIGHT, np.nan)}, "computes something else: off by inf"),
        ({"weight": WEIGHT[:, ::-1]}, "computes something else"),
        ({"reshape": (-1, 5, 4)}, "length is"),
        ({"reshape": (3, -1, 4)}, "batch is"),
    ],
    ids=["one weight 0.001 % off", "nan", "columns swapped", "length fixed", "batch fixed"],
)
def test_a_graph_that_is_otherwise_is_refused_with_its_dimension(damage: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=said) as refused:
        self_check.compare(graph(tmp_path / "m.onnx", **damage), Dense(), INPUTS.probes())

    assert "\n" not in refused.value.message


def test_what_does_not_count_is_not_compared(tmp_path: Path) -> None:
    def last_of_each(shape: Sequence[int]) -> Any:
        mask = np.ones(shape, bool)
        mask[:, 0] = False
        return mask

    def padding(y: Any) -> Any:
        y = y.copy()
        y[:, 0] += 3
        return y

    target = graph(tmp_path / "m.onnx")
    self_check.compare(target, Dense(padding, padding, last_of_each), [next(INPUTS.probes())])

    with pytest.raises(SourceError, match=r"cannot be judged|computes something else|answers otherwise"):
        self_check.compare(target, Dense(padding, padding), [next(INPUTS.probes())])


def test_an_original_that_does_not_repeat_itself_is_not_judged(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    noisy = Dense(lambda y: y + draw.normal(0, 3e-6, y.shape).astype(np.float32))

    with pytest.raises(SourceError, match=r"different answers to the same question|cannot be judged"):
        self_check.compare(graph(tmp_path / "m.onnx"), noisy, INPUTS.probes())


def test_a_float64_that_is_another_function_hides_no_fault(tmp_path: Path) -> None:
    """Its distance from the float32 would become the floor, and everything would pass."""
    with pytest.raises(SourceError, match="cannot be judged"):
        self_check.compare(graph(tmp_path / "m.onnx"), Dense(wide=lambda y: y + 0.01), INPUTS.probes())


@pytest.mark.parametrize("damage", [b"", b"garbage" * 99], ids=["empty", "garbage"])
def test_what_is_no_graph_is_refused(damage: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(damage)

    with pytest.raises(SourceError, match="not valid ONNX"):
        self_check.compare(tmp_path / "m.onnx", Dense(), INPUTS.probes())


def test_an_axis_tries_its_least_size_the_next_and_more_than_twice() -> None:
    assert Axis.of("length", 7).others == (1, 8, 15)
    assert Axis.of("height", 32, least=8, step=8).others == (8, 40, 72)
    assert Axis.of("length", 7, most=7).others == (1,)


def test_padding_is_at_the_end_or_at_the_beginning_and_one_row_has_none() -> None:
    right = padded(np.random.default_rng(3), (6, 9))
    left = padded(np.random.default_rng(3), (6, 9), left=True)

    assert right[0].all()
    assert (right[:, 0] == 1).all()
    assert (left[:, -1] == 1).all()
    assert (right == left[:, ::-1]).all()
    assert (right == 0).any()
