"""Two engines on the same random graphs: where the operators are trickiest, they must agree.

onnxruntime in float32 is the other opinion; the second engine computes in float64. Where onnxruntime does not take a
combination, there is nothing to compare with; where it takes one, the second engine must take it too.
"""

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from onnx import helper
from onnxruntime.capi import onnxruntime_pybind11_state as state

from reversible.evaluator import Evaluator

onnxruntime.set_default_logger_severity(4)
REFUSALS = (state.Fail, state.InvalidArgument, state.InvalidGraph, state.NotImplemented, state.RuntimeException)
tries = settings(
    max_examples=40,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],  # a case is small as it is: shrinking takes minutes
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def agree(
    op: str,
    inputs: list[np.ndarray | None],
    *,
    outputs: int = 1,
    opset: int = 19,
    rtol: float = 2e-5,
    domain: str = "",
    **attributes: Any,
) -> None:
    """Runs one node in both engines; skips what onnxruntime refuses."""
    names = [f"x{at}" if one is not None else "" for at, one in enumerate(inputs)]
    node = helper.make_node(op, names, [f"y{at}" for at in range(outputs)], domain=domain, **attributes)
    feeds = {name: one for name, one in zip(names, inputs, strict=True) if one is not None}
    graph = helper.make_graph(
        [node],
        "graph",
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(one.dtype), one.shape)
            for name, one in feeds.items()
        ],
        [onnx.ValueInfoProto(name=f"y{at}") for at in range(outputs)],
    )
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=8)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        theirs = session.run(None, feeds)
    except REFUSALS:
        assume(False)
    ours = Evaluator(model).run(feeds)
    for at, expected in enumerate(theirs):
        found = ours[f"y{at}"]
        assert found.shape == expected.shape
        if expected.dtype.kind == "f":
            scale = float(np.max(np.abs(expected[np.isfinite(expected)]), initial=1.0))
            np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol * scale)
        else:
            np.testing.assert_array_equal(found, expected)


def numbers(draw: Callable[..., Any], *shape: int, seed: int | None = None) -> np.ndarray:
    """Seeded normal numbers, float32: what varies is the shape and the attributes."""
    seed = draw(st.integers(0, 1000)) if seed is None else seed
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def spatial(draw: Callable[..., Any], rank: int, low: int, high: int) -> list[int]:
    return draw(st.lists(st.integers(low, high), min_size=rank, max_size=rank))


def padding(draw: Callable[..., Any], kernel: list[int]) -> dict[str, Any]:
    """Pads or auto_pad; pads below the kernel's size, as onnxruntime asks of poolings."""
    if draw(st.booleans()):
        return {"auto_pad": draw(st.sampled_from(["SAME_UPPER", "SAME_LOWER", "VALID"]))}
    rank = len(kernel)
    return {"pads": [draw(st.integers(0, max(0, kernel[at % rank] - 1))) for at in range(2 * rank)]}


@tries
@given(st.data())
def test_conv(data: st.DataObject) -> None:
    draw = data.draw
    rank, group = draw(st.integers(1, 3)), draw(st.sampled_from([1, 1, 2, 3]))
    each, filters = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    kernel = spatial(draw, rank, 1, 4)
    agree(
        "Conv",
        [
            numbers(draw, draw(st.integers(1, 2)), each * group, *spatial(draw, rank, 4, 10)),
            numbers(draw, filters * group, each, *kernel),
            numbers(draw, filters * group) if draw(st.booleans()) else None,
        ],
        group=group,
        strides=spatial(draw, rank, 1, 3),
        dilations=spatial(draw, rank, 1, 2),
        **padding(draw, kernel),
    )


@tries
@given(st.data())
def test_conv_transpose(data: st.DataObject) -> None:
    draw = data.draw
    rank, group = draw(st.integers(1, 2)), draw(st.sampled_from([1, 1, 2]))
    each, filters = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    kernel, strides = spatial(draw, rank, 1, 4), spatial(draw, rank, 1, 3)
    more: dict[str, Any] = padding(draw, kernel)
    if any(one < two for one, two in zip(kernel, strides, strict=True)):
        more.pop("auto_pad", None)  # onnxruntime makes less than size * stride there
    if "pads" in more and draw(st.booleans()):
        more["output_padding"] = [draw(st.integers(0, one - 1)) for one in strides]
    agree(
        "ConvTranspose",
        [
            numbers(draw, draw(st.integers(1, 2)), each * group, *spatial(draw, rank, 2, 6)),
            numbers(draw, each * group, filters, *kernel),
            numbers(draw, filters * group) if draw(st.booleans()) else None,
        ],
        group=group,
        strides=strides,
        dilations=spatial(draw, rank, 1, 2),
        **more,
    )


@tries
@given(st.data())
def test_pools(data: st.DataObject) -> None:
    draw = data.draw
    rank = draw(st.integers(1, 3))
    kernel = spatial(draw, rank, 1, 3)
    op = draw(st.sampled_from(["MaxPool", "AveragePool", "LpPool"]))
    more: dict[str, Any] = padding(draw, kernel)
    if "auto_pad" not in more:  # onnxruntime forgets the dilations there, and makes less than ceil(size / stride)
        more["dilations"] = spatial(draw, rank, 1, 2)
        more["ceil_mode"] = draw(st.integers(0, 1))
    if op == "AveragePool":
        more["count_include_pad"] = draw(st.integers(0, 1))
    if op == "LpPool":
        more["p"] = draw(st.integers(1, 3))
    agree(
        op,
        [numbers(draw, draw(st.integers(1, 2)), 2, *spatial(draw, rank, 5, 10))],
        outputs=draw(st.integers(1, 2)) if op == "MaxPool" and max(more.get("dilations", [1])) == 1 else 1,
        kernel_shape=kernel,
        strides=spatial(draw, rank, 1, 3),
        **more,
    )


@settings(tries, max_examples=120)
@given(st.data())
def test_resize(data: st.DataObject) -> None:
    draw = data.draw
    mode = draw(st.sampled_from(["nearest", "linear", "cubic"]))
    shape = [1, 2, *spatial(draw, 2, 2, 8)]
    transform = draw(
        st.sampled_from(["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric"])
    )
    more: dict[str, Any] = {"mode": mode, "coordinate_transformation_mode": transform}
    if mode == "nearest":
        more["nearest_mode"] = draw(st.sampled_from(["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]))
    if mode == "cubic":
        more["cubic_coeff_a"] = draw(st.sampled_from([-0.75, -0.5]))
        more["exclude_outside"] = draw(st.integers(0, 1))
    if mode != "nearest" and draw(st.booleans()):
        more["antialias"] = 1
    # With sizes that stay the same onnxruntime copies, whatever the scales say.
    if draw(st.booleans()):
        scales, sizes = None, np.array([1, 2, *spatial(draw, 2, 1, 13)], np.int64)
    else:
        factors = st.sampled_from([0.5, 0.6, 0.7, 1.0, 1.3, 2.0, 2.5, 3.0])
        scales, sizes = np.array([1, 1, draw(factors), draw(factors)], np.float32), None
        assume(all(scale == 1 or int(scale * one) != one for scale, one in zip(scales, shape, strict=True)))
    agree("Resize", [numbers(draw, *shape), None, scales, sizes], opset=18, **more)


@tries
@given(st.data())
def test_slice(data: st.DataObject) -> None:
    draw = data.draw
    shape = spatial(draw, draw(st.integers(1, 3)), 1, 6)
    axes = draw(st.lists(st.integers(0, len(shape) - 1), min_size=1, unique=True))
    ends = st.sampled_from([-(2**63), -20, -7, -3, -1, 0, 1, 2, 5, 20, 2**63 - 1])
    count = len(axes)
    # Backwards, onnxruntime takes an end of 2^63 - 1 for the beginning; the text clamps it to the last place.
    starts, stops = (draw(st.lists(ends, min_size=count, max_size=count)) for _ in range(2))
    steps = draw(st.lists(st.sampled_from([-3, -2, -1, 1, 2, 3]), min_size=count, max_size=count))
    assume(all(step > 0 or stop < 2**62 for step, stop in zip(steps, stops, strict=True)))
    signed = [one - draw(st.sampled_from([0, len(shape)])) for one in axes]
    agree("Slice", [numbers(draw, *shape), *(np.array(one, np.int64) for one in (starts, stops, signed, steps))])


@tries
@given(st.data())
def test_gathers(data: st.DataObject) -> None:
    draw = data.draw
    shape = spatial(draw, draw(st.integers(1, 3)), 1, 5)
    axis = draw(st.integers(0, len(shape) - 1))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    x = numbers(draw, *shape)
    op = draw(st.sampled_from(["Gather", "GatherElements", "GatherND"]))
    if op == "Gather":
        indices = rng.integers(-shape[axis], shape[axis], spatial(draw, draw(st.integers(0, 2)), 1, 4))
        agree(op, [x, np.asarray(indices, np.int64)], axis=axis)
    elif op == "GatherElements":
        inner = [draw(st.integers(1, one)) for one in shape]
        agree(op, [x, rng.integers(-shape[axis], shape[axis], inner)], axis=axis)
    else:
        batch = draw(st.integers(0, len(shape) - 1))
        depth = draw(st.integers(1, len(shape) - batch))
        outer = [*shape[:batch], *spatial(draw, draw(st.integers(1, 2)), 1, 3)]
        columns = [rng.integers(-one, one, outer) for one in shape[batch : batch + depth]]
        agree(op, [x, np.stack(columns, axis=-1)], batch_dims=batch)


@tries
@given(st.data())
def test_scatters(data: st.DataObject) -> None:
    draw = data.draw
    shape = spatial(draw, draw(st.integers(1, 3)), 2, 5)
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    x = numbers(draw, *shape)
    how = draw(st.sampled_from(["none", "add", "mul", "max", "min"]))
    if draw(st.booleans()):
        axis = draw(st.integers(0, len(shape) - 1))
        inner = list(shape)
        inner[axis] = draw(st.integers(1, shape[axis]))
        indices = np.argsort(rng.random(shape), axis=axis)  # each at most once: which of two wins is not defined
        indices = np.take(indices, range(inner[axis]), axis=axis) - draw(st.sampled_from([0, shape[axis]]))
        agree("ScatterElements", [x, indices, numbers(draw, *inner)], axis=axis, reduction=how, opset=18)
    else:
        rows = rng.permutation(shape[0])[: draw(st.integers(1, shape[0]))]
        agree("ScatterND", [x, rows[:, None], numbers(draw, len(rows), *shape[1:])], reduction=how, opset=18)


@tries
@given(st.data())
def test_recurrent(data: st.DataObject) -> None:
    draw = data.draw
    op = draw(st.sampled_from(["LSTM", "GRU", "RNN"]))
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[op]
    steps, batch, width, hidden = (
        draw(st.integers(1, 6)),
        draw(st.integers(1, 3)),
        draw(st.integers(1, 4)),
        draw(st.integers(1, 4)),
    )
    direction = draw(st.sampled_from(["forward", "reverse", "bidirectional"]))
    ways = 2 if direction == "bidirectional" else 1
    lengths = draw(st.lists(st.integers(1, steps), min_size=batch, max_size=batch))
    optional = st.booleans()
    inputs: list[np.ndarray | None] = [
        numbers(draw, steps, batch, width),
        numbers(draw, ways, gates * hidden, width),
        numbers(draw, ways, gates * hidden, hidden),
        numbers(draw, ways, 2 * gates * hidden) if draw(optional) else None,
        np.array(lengths, np.int32) if draw(optional) else None,
        numbers(draw, ways, batch, hidden) if draw(optional) else None,
    ]
    more: dict[str, Any] = {"hidden_size": hidden, "direction": direction}
    if op == "LSTM":
        inputs.append(numbers(draw, ways, batch, hidden) if draw(optional) else None)
        inputs.append(numbers(draw, ways, 3 * hidden) if draw(optional) else None)
    if op == "GRU":
        more["linear_before_reset"] = draw(st.integers(0, 1))
    if draw(st.booleans()):
        usual = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}[op]
        other = {"Sigmoid": "HardSigmoid", "Tanh": "Softsign"}
        more["activations"] = [other[one] if draw(st.booleans()) else one for one in usual] * ways
    agree(op, inputs, outputs=3 if op == "LSTM" else 2, opset=14, rtol=1e-4, **more)


@tries
@given(st.data())
def test_pads(data: st.DataObject) -> None:
    draw = data.draw
    shape = spatial(draw, draw(st.integers(1, 4)), 2, 5)
    mode = draw(st.sampled_from(["constant", "reflect", "edge", "wrap"]))
    low = -1 if mode == "constant" else 0
    pads = np.array([draw(st.integers(low, shape[at % len(shape)] - 1)) for at in range(2 * len(shape))], np.int64)
    value = np.array(draw(st.sampled_from([0.0, 1.5])), np.float32) if mode == "constant" else None
    agree("Pad", [numbers(draw, *shape), pads, value], mode=mode)


@tries
@given(st.data())
def test_reductions_and_softmax(data: st.DataObject) -> None:
    draw = data.draw
    shape = spatial(draw, draw(st.integers(1, 4)), 1, 5)
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    reductions = ["ReduceSum", "ReduceMean", "ReduceMax", "ReduceL2", "ReduceLogSumExp", "ReduceProd"]
    others = ["ArgMax", "TopK", "CumSum", "Softmax", "LogSoftmax", "old Softmax", "old Hardmax"]
    op = draw(st.sampled_from([*reductions, *others]))
    x = numbers(draw, *shape)
    if op.startswith("Reduce"):
        chosen = draw(st.lists(st.integers(0, len(shape) - 1), unique=True))
        agree(op, [x, np.array(chosen, np.int64)], keepdims=draw(st.integers(0, 1)), opset=18,
              noop_with_empty_axes=draw(st.integers(0, 1)))  # fmt: skip
    elif op == "ArgMax":
        x = np.round(x)
        agree(op, [x], axis=axis, keepdims=draw(st.integers(0, 1)), select_last_index=draw(st.integers(0, 1)))
    elif op == "TopK":
        k = np.array([draw(st.integers(1, shape[axis]))], np.int64)
        agree(op, [np.round(x), k], outputs=2, axis=axis, largest=draw(st.integers(0, 1)))
    elif op == "CumSum":
        agree(op, [x, np.array(axis, np.int64)], exclusive=draw(st.integers(0, 1)), reverse=draw(st.integers(0, 1)))
    elif op.startswith("old"):
        agree(op.split()[1], [x], axis=axis, opset=11)
    else:
        agree(op, [x], axis=axis)


@tries
@given(st.data())
def test_trees(data: st.DataObject) -> None:
    """Random forests of full depth, rows that meet thresholds exactly, and rows with gaps."""
    draw = data.draw
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    trees, depth, features, targets = draw(st.integers(1, 5)), draw(st.integers(1, 4)), 3, draw(st.integers(1, 3))
    mode = draw(st.sampled_from(["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"]))
    inner, total = 2**depth - 1, 2 ** (depth + 1) - 1
    nodes: dict[str, list[Any]] = {}
    leaves: dict[str, list[Any]] = {}
    for tree, at in product(range(trees), range(total)):
        below = (2 * at + 1, 2 * at + 2) if at < inner else (0, 0)
        values = {
            "treeids": tree, "nodeids": at,
            "featureids": int(rng.integers(features)), "values": float(rng.integers(-2, 3)),
            "modes": mode if at < inner else "LEAF", "truenodeids": below[0], "falsenodeids": below[1],
            "missing_value_tracks_true": int(rng.integers(2)),
        }  # fmt: skip
        for name, value in values.items():
            nodes.setdefault(name, []).append(value)
        if at >= inner:
            weights = {
                "treeids": tree,
                "nodeids": at,
                "ids": int(rng.integers(targets)),
                "weights": float(rng.normal()),
            }
            for name, value in weights.items():
                leaves.setdefault(name, []).append(value)
    x = rng.integers(-3, 4, (20, features)).astype(np.float32)
    x[rng.random(x.shape) < 0.1] = np.nan
    common = {f"nodes_{name}": values for name, values in nodes.items()}
    if draw(st.booleans()):
        agree("TreeEnsembleRegressor", [x], domain="ai.onnx.ml", n_targets=targets,
              aggregate_function=draw(st.sampled_from(["SUM", "AVERAGE", "MIN", "MAX"])), **common,
              **{f"target_{name}": values for name, values in leaves.items()})  # fmt: skip
    else:
        # Two classes with weights for both: the top class is asked for, and onnxruntime gives the second if above 0.
        # And of three, one that no leaf spoke for has the score 0 here; there it cannot win.
        assume(targets != 2)
        if targets == 3:
            leaves["weights"] = [abs(one) for one in leaves["weights"]]
        labels = max(2, targets)
        agree("TreeEnsembleClassifier", [x], outputs=2, domain="ai.onnx.ml", classlabels_int64s=list(range(labels)),
              post_transform=draw(st.sampled_from(["NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO"])), **common,
              **{f"class_{name}": values for name, values in leaves.items()})  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_an_engine_with_one_fault_does_not_agree(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison can fail: a padding of one more row is seen."""
    from reversible.evaluator.operators import windows

    true_pad = windows.Windows.padded
    monkeypatch.setattr(windows.Windows, "padded", lambda self, x, fill: np.roll(true_pad(self, x, fill), 1, axis=2))
    rng = np.random.default_rng(seed)
    x, w = rng.standard_normal((1, 2, 6, 6)).astype(np.float32), rng.standard_normal((2, 2, 3, 3)).astype(np.float32)

    with pytest.raises(AssertionError):
        agree("Conv", [x, w, None], pads=[1, 1, 1, 1])
