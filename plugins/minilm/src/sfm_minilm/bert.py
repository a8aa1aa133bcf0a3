"""A BERT sentence encoder (Devlin et al. 2019; Reimers and Gurevych 2019) from its weights to an int8 ONNX graph.

Weights are rounded per output channel, activations while running and per tensor (what ONNX calls dynamic quantisation).
Weights use 7 of the 8 bits: processors without dot-product instructions add products in pairs within 16 bits, which 8-bit
weights can overflow. So every processor computes the same vectors, and they stay comparable.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct

from sfm_minilm.onnx_format import FLOAT, INT64, Graph
from sfm_minilm.safetensors import Tensors

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Architecture", "build"]

_WEIGHT_STEPS = 64
_EMBEDDING_STEPS = 127


class Architecture(Struct, frozen=True, kw_only=True):
    """What the weights alone do not tell: number of attention heads, epsilon of the norms, pooling by mean or first token."""

    heads: int
    epsilon: float
    pooling: str


def _rounded(rows: NDArray[np.float32], steps: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Round each row to int8 within +-`steps`, and return with it what to multiply each row by."""
    scales: NDArray[np.float32] = np.abs(rows).max(axis=1, keepdims=True).clip(np.finfo(np.float32).tiny)
    scales /= steps
    return np.round(rows / scales).astype(np.int8), scales


class _Encoder:
    """Adds the parts of the encoder to a graph; each returns the name of its result."""

    def __init__(self, tensors: Tensors, architecture: Architecture) -> None:
        self._tensors = tensors
        self._architecture = architecture
        self.graph = Graph()

    def _integers(self, *values: int) -> str:
        return self.graph.constant("i" + "_".join(map(str, values)), np.array(values, np.int64))

    def _number(self, value: float) -> str:
        return self.graph.constant(f"f{value}", np.float32(value))

    def embed(self, ids: str) -> str:
        """Look the tokens up and add their positions."""
        graph, tensors = self.graph, self._tensors
        words, scales = _rounded(tensors["embeddings.word_embeddings.weight"], _EMBEDDING_STEPS)
        rows = graph.node("Cast", graph.node("Gather", graph.constant("words", words), ids), to=FLOAT)
        rows = graph.node("Mul", rows, graph.node("Gather", graph.constant("words_scale", scales), ids))
        # A single text has one segment only, so its embedding is the same at every position.
        places = (
            tensors["embeddings.position_embeddings.weight"] + tensors["embeddings.token_type_embeddings.weight"][0]
        )
        length = graph.node("Slice", graph.node("Shape", ids), self._integers(1), self._integers(2))
        place = graph.node("Slice", graph.constant("places", places), self._integers(0), length, self._integers(0))
        return self.norm(graph.node("Add", rows, place), "embeddings.LayerNorm.")

    def norm(self, x: str, name: str) -> str:
        """Apply a layer norm."""
        gain = self.graph.constant(name + "weight", self._tensors[name + "weight"])
        bias = self.graph.constant(name + "bias", self._tensors[name + "bias"])
        return self.graph.node("LayerNormalization", x, gain, bias, axis=-1, epsilon=self._architecture.epsilon)

    def linear(self, x: str, *names: str) -> str:
        """Apply linear layers side by side, in integers."""
        graph, tensors = self.graph, self._tensors
        weight, scale = _rounded(np.concatenate([tensors[name + "weight"] for name in names]), _WEIGHT_STEPS)
        bias = np.concatenate([tensors[name + "bias"] for name in names])
        rounded, step, zero = graph.nodes("DynamicQuantizeLinear", 3, x)
        product = graph.node("MatMulInteger", rounded, graph.constant(names[0] + "weight", weight.T), zero)
        step = graph.node("Mul", step, graph.constant(names[0] + "scale", scale[:, 0]))
        product = graph.node("Mul", graph.node("Cast", product, to=FLOAT), step)
        return graph.node("Add", product, graph.constant(names[0] + "bias", bias))

    def attend(self, x: str, layer: str, dimension: int) -> str:
        """Apply self-attention with its residual and norm."""
        graph, heads = self.graph, self._architecture.heads
        joined = self.linear(x, *(f"{layer}attention.self.{part}." for part in ("query", "key", "value")))
        parts = graph.nodes("Split", 3, joined, self._integers(dimension, dimension, dimension), axis=-1)
        split = self._integers(0, 0, heads, dimension // heads)
        query, key, value = (graph.node("Reshape", part, split) for part in parts)
        key = graph.node("Transpose", key, perm=[0, 2, 3, 1])
        query, value = (graph.node("Transpose", part, perm=[0, 2, 1, 3]) for part in (query, value))
        scores = graph.node("Mul", graph.node("MatMul", query, key), self._number(1 / math.sqrt(dimension // heads)))
        mixed = graph.node("MatMul", graph.node("Softmax", scores, axis=-1), value)
        mixed = graph.node(
            "Reshape", graph.node("Transpose", mixed, perm=[0, 2, 1, 3]), self._integers(0, 0, dimension)
        )
        mixed = self.linear(mixed, f"{layer}attention.output.dense.")
        return self.norm(graph.node("Add", x, mixed), f"{layer}attention.output.LayerNorm.")

    def feed(self, x: str, layer: str) -> str:
        """Apply the feed-forward part (exact GELU) with its residual and norm."""
        graph = self.graph
        inner = self.linear(x, f"{layer}intermediate.dense.")
        bent = graph.node("Erf", graph.node("Mul", inner, self._number(1 / math.sqrt(2))))
        half = graph.node("Mul", inner, self._number(0.5))
        inner = graph.node("Mul", half, graph.node("Add", bent, self._number(1.0)))
        return self.norm(graph.node("Add", x, self.linear(inner, f"{layer}output.dense.")), f"{layer}output.LayerNorm.")

    def pool(self, x: str) -> str:
        """Make one unit vector of the tokens' states."""
        graph = self.graph
        if self._architecture.pooling == "cls":
            state = graph.node("Gather", x, graph.constant("first", np.int64(0)), axis=1)
        else:
            state = graph.node("ReduceMean", x, axes=[1], keepdims=0)
        return graph.node("LpNormalization", state, axis=-1, p=2)


def build(tensors: Tensors, architecture: Architecture) -> tuple[bytes, str]:
    """Return the ONNX file of an encoder and the SHA-256 of its weights as rounded.

    The graph takes `input_ids` (1, tokens) and gives `sentence_embedding` (1, dimension), of length one: texts go one by one,
    since the rounding of activations would otherwise depend on a text's company.

    Raises:
        CorruptData: a tensor is missing or damaged, or the shapes do not fit together.
    """
    encoder = _Encoder(tensors, architecture)
    dimension = int(tensors["embeddings.LayerNorm.weight"].shape[0])
    x = encoder.embed(encoder.graph.input("input_ids", INT64, [1, "tokens"]))
    layer = 0
    while f"encoder.layer.{layer}.output.dense.weight" in tensors:
        x = encoder.attend(x, f"encoder.layer.{layer}.", dimension)
        x = encoder.feed(x, f"encoder.layer.{layer}.")
        layer += 1
    encoder.graph.output("sentence_embedding", FLOAT, [1, dimension], encoder.pool(x))
    return encoder.graph.model(), encoder.graph.digest()
