"""The faults of `model_defects`, by architecture."""

from typing import Any

import numpy as np
from model_defects_faults import (
    Edit,
    Fault,
    all_weights,
    attribute,
    becomes,
    bf16,
    both,
    by,
    bypass,
    clipped,
    forward_twice,
    fp16,
    gates,
    int8,
    named,
    off,
    rolled,
    step_up,
    swapped,
    transposed,
    tree,
    weights,
    zeroed,
)  # fmt: skip


def _epsilon(path: str, value: float) -> Any:
    """Of the module at this path, and of every other of its kind when the path is a class's name."""

    def change(module: Any) -> None:
        for name, one in module.named_modules():
            if path in (name, type(one).__name__):
                for field in ("eps", "variance_epsilon"):
                    if hasattr(one, field):
                        setattr(one, field, value)

    return change


def _set(path: str, value: Any) -> Any:
    def change(module: Any) -> None:
        *parents, field = path.split(".")
        for parent in parents:
            module = getattr(module, parent)
        setattr(module, field, value)

    return change


def _scaled(path: str, factor: float) -> Any:
    def change(module: Any) -> None:
        *parents, field = path.split(".")
        for parent in parents:
            module = getattr(module, parent)
        setattr(module, field, getattr(module, field) * factor)

    return change


def _heads(module: Any) -> None:
    """The two key heads of the first layer, in the other order."""
    held = module.llama.model.layers[0].self_attn.k_proj.weight
    held.data = held.data.roll(held.shape[0] // 2, 0)


def _softmax_scale(factor: float) -> Edit:
    """0.2 % off in the scores: whatever constant multiplies them, by the graph from the first Softmax up."""

    def edit(model: Any) -> set[str]:
        from onnx import numpy_helper

        makers = {name: node for node in model.graph.node for name in node.output}
        held = {one.name: one for one in model.graph.initializer}
        node = next(one for one in model.graph.node if one.op_type == "Softmax")
        while node.op_type != "Mul":
            node = makers[node.input[0]]
        (constant,) = (one for one in node.input if one in held)
        value = numpy_helper.to_array(held[constant]) * np.float32(factor)
        model.graph.initializer.append(numpy_helper.from_array(np.float32(value), "planted.scale"))
        node.input[list(node.input).index(constant)] = "planted.scale"
        return {node.name}

    return edit


_LABELS = both(weights(swapped(), "Gemm"), weights(swapped(), "Gemm", place=2))
_INT8, _FP16 = all_weights(int8), all_weights(fp16)

FAULTS: dict[str, tuple[Fault, ...]] = {
    "CNN": (
        Fault("BatchNorm epsilon 1e-5 -> 1e-3", change=_epsilon("norm2", 1e-3), modules=("norm2", "second")),
        Fault("BatchNorm epsilon 1e-5 -> 1.2e-5", change=_epsilon("norm2", 1.2e-5), modules=("norm2", "second")),
        Fault("one channel +0.1 %", weights(off(1.001), "Conv", 1)),
        Fault("bias dropped", weights(zeroed(), "Conv", 0, place=2)),
        Fault("padding off by one", attribute("Conv", "pads", [0, 0, 2, 2], at=2)),
        Fault("resize half_pixel -> asymmetric", attribute("Resize", "coordinate_transformation_mode", "asymmetric")),
        Fault("resize half_pixel -> align_corners",
              attribute("Resize", "coordinate_transformation_mode", "align_corners")),
        Fault("resize linear -> nearest", attribute("Resize", "mode", "nearest")),
        Fault("bf16 layer", weights(bf16, "Conv", 2)),
        Fault("fp16 weights, undeclared", _FP16),
        Fault("int8 weights, undeclared", _INT8),
        Fault("labels 0 and 1 swapped", _LABELS),
        Fault("residual dropped", bypass("Add")),
        Fault("kernel transposed", weights(transposed, "Conv", 1)),
        Fault("average counts the padding or not", attribute("AveragePool", "count_include_pad", 0)),
        Fault("channels BGR", weights(lambda one: one[:, ::-1], "Conv", 0)),
        Fault("ReLU clipped at 1", clipped("Relu", 1.0, 1)),
        Fault("ReLU clipped at 1e4", clipped("Relu", 1e4, 1)),
    ),
    "LSTM and GRU": (
        Fault("GRU linear_before_reset 0", attribute("GRU", "linear_before_reset", 0)),
        Fault("LSTM gates f and c exchanged", both(*(
            weights(gates(0, 1, 3, 2), "LSTM", place=place) for place in (1, 2, 3)))),
        Fault("GRU gates z and r exchanged", both(*(
            weights(gates(1, 0, 2), "GRU", place=place) for place in (1, 2, 3)))),
        Fault("backward weights are the forward ones", both(*(
            weights(forward_twice, "LSTM", place=place) for place in (1, 2, 3)))),
        Fault("GRU reads backward", attribute("GRU", "direction", "reverse")),
        Fault("LSTM bias dropped", weights(zeroed(), "LSTM", place=3)),
        Fault("recurrent weights bf16", weights(bf16, "LSTM", place=2)),
        Fault("one gate's row +0.1 %", weights(off(1.001, (0, 5)), "LSTM", place=2)),
        Fault("softmax missing", bypass("Softmax")),
        Fault("softmax over the batch", attribute("Softmax", "axis", 0)),
        Fault("cell clipped at 0.5", attribute("LSTM", "clip", 0.5)),
        Fault("labels 0 and 1 swapped", _LABELS),
    ),
    "ViT": (
        Fault("LayerNorm epsilon 1e-12 -> 1e-5", attribute("LayerNormalization", "epsilon", 1e-5)),
        Fault("LayerNorm epsilon 1e-12 -> 1e-7", attribute("LayerNormalization", "epsilon", 1e-7)),
        Fault("LayerNorm epsilon 1e-12 -> 1e-9", attribute("LayerNormalization", "epsilon", 1e-9)),
        Fault("GELU erf -> tanh", attribute("Gelu", "approximate", "tanh", at=0)),
        Fault("attention scale 0.2 % off", _softmax_scale(1.002)),
        Fault("positions off by one", named(rolled, "position_embeddings")),
        Fault("query weights transposed", weights(transposed, "MatMul", 0)),
        Fault("one channel +0.1 %", weights(off(1.001), "MatMul", 4)),
        Fault("softmax over the wrong axis", attribute("Softmax", "axis", 2, at=0)),
        Fault("patches in bf16", weights(bf16, "Conv")),
        Fault("bias dropped", weights(zeroed(), "Gemm", place=2)),
        Fault("last LayerNorm left out", bypass("LayerNormalization", -1)),
        Fault("fp16 weights, undeclared", _FP16),
    ),
    "BERT": (
        Fault("attention mask ignored", change=_set("attends_by_mask", False), modules=("bert",)),
        Fault("pooling without the mask", change=_set("pools_by_mask", False), modules=("head",)),
        Fault("LayerNorm epsilon 1e-12 -> 1e-6", attribute("LayerNormalization", "epsilon", 1e-6)),
        Fault("GELU erf -> tanh", attribute("Gelu", "approximate", "tanh", at=1)),
        Fault("one rare word's row zeroed", named(zeroed(195), "word_embeddings.weight")),
        Fault("one rare word's row +0.1 %", named(off(1.001, 193), "word_embeddings.weight")),
        Fault("positions off by one", named(rolled, "position_embeddings.weight")),
        Fault("token types exchanged", named(swapped(), "token_type_embeddings.weight")),
        Fault("value weights transposed", weights(transposed, "MatMul", 2)),
        Fault("attention scale 0.2 % off", _softmax_scale(1.002)),
        Fault("int8 weights, undeclared", _INT8),
        Fault("final tanh missing", bypass("Tanh")),
        Fault("labels 0 and 1 swapped", _LABELS),
    ),
    "Llama": (
        Fault("RMSNorm epsilon 1e-6 -> 1e-5", change=_epsilon("LlamaRMSNorm", 1e-5),
              modules=("input_layernorm",)),
        Fault("RoPE frequencies 0.1 % off", change=_scaled("llama.model.rotary_emb.inv_freq", 1.001),
              modules=("rotary_emb",)),
        Fault("padding mask ignored", change=_set("attends_by_mask", False), modules=("self_attn", "llama")),
        Fault("key heads exchanged", change=_heads, modules=("k_proj",)),
        Fault("causal mask upside down", becomes("LessOrEqual", "GreaterOrEqual")),
        Fault("SiLU -> hard SiLU", becomes("Sigmoid", "HardSigmoid")),
        Fault("rotate-half without the sign", bypass("Neg")),
        Fault("one token's logit +0.1 %", weights(off(1.001, (slice(None), 7)), "MatMul", -1)),
        Fault("one rare token's row zeroed", named(zeroed(195), "embed_tokens.weight")),
        Fault("attention scale 0.2 % off", _softmax_scale(1.002)),
        Fault("fp16 weights, undeclared", _FP16),
        Fault("tokens 3 and 4 exchanged", weights(swapped(3, 4, axis=1), "MatMul", -1)),
    ),
    "wav2vec2": (
        Fault("GroupNorm epsilon 1e-5 -> 1e-4", attribute("InstanceNormalization", "epsilon", 1e-4)),
        Fault("LayerNorm epsilon 1e-5 -> 1.1e-5", attribute("LayerNormalization", "epsilon", 1.1e-5)),
        Fault("GELU erf -> tanh", attribute("Gelu", "approximate", "tanh", at=0)),
        Fault("convolution bias dropped", weights(zeroed(), "Conv", 1, place=2)),
        Fault("positional gain +0.1 % at one tap", named(off(1.001, (0, 0, 3)), "parametrizations.weight.original0")),
        Fault("positional padding off by one", attribute("Conv", "pads", [7, 9], at=3)),
        Fault("key weights transposed", weights(transposed, "MatMul", 1)),
        Fault("one channel +0.1 %", weights(off(1.001), "MatMul", 3)),
        Fault("bf16 layer", weights(bf16, "MatMul", 5)),
        Fault("softmax over the wrong axis", attribute("Softmax", "axis", 2, at=0)),
        Fault("last LayerNorm left out", bypass("LayerNormalization", -1)),
    ),
    "random forest": (
        Fault("leaf off by 1e-6", weights(lambda one: one + 1e-6 * (one == one.flat[3]), "Gather", 0, place=0)),
        Fault("scaler's deviation with n - 1", weights(by(1 + 1 / 800), "Div", 0)),
        Fault("classes exchanged", weights(lambda one: one[:, ::-1], "Gather", 0, place=0)),
        Fault("scaler's mean dropped", weights(zeroed(), "Sub", 0)),
    ),
    "gradient boosting": (
        Fault("threshold < for <=",
              tree("nodes_modes", lambda one: [b"BRANCH_LT" if mode == b"BRANCH_LEQ" else mode for mode in one])),
        Fault("one threshold one step further", tree("nodes_values", step_up)),
        Fault("one leaf off by 1e-6",
              weights(lambda one: one + 1e-6 * (np.arange(one.size) == 5).reshape(one.shape), "Gather", 0, place=0)),
        Fault("one leaf off by 1e-3",
              weights(lambda one: one + 1e-3 * (np.arange(one.size) == 5).reshape(one.shape), "Gather", 0, place=0)),
        Fault("learning rate 0.1 % off", weights(by(1.001), "Gather", 0, place=0)),
    ),
    "TF-IDF": (
        Fault("idf ignored", weights(lambda one: one * 0 + 1, "Mul", 0)),
        Fault("one idf +0.1 %", weights(off(1.001, (0, 2)), "Mul", 0)),
        Fault("intercept dropped", weights(zeroed(), "Add", 0)),
        Fault("classes 0 and 1 exchanged",
              both(weights(swapped(axis=1), "MatMul", 0), weights(swapped(axis=1), "Add"))),
        Fault("upper case kept", rules=lambda rules: rules.update(lowercase=False)),
        Fault("accents stripped", rules=lambda rules: rules.update(strip_accents="unicode")),
        Fault("words of two letters lost", rules=lambda rules: rules.update({"token_pattern": r"(?u)\b\w{3,}\b"})),
    ),
}  # fmt: skip
