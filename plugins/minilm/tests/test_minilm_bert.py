"""The converted graph against the forward pass as the papers write it, in floating point."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sfm_core.errors import ConfigError, CorruptData
from sfm_minilm.bert import Architecture, build
from sfm_minilm.config import MinilmConfig
from sfm_minilm.embedding import open_embedding
from sfm_minilm.encoder import open_session
from sfm_minilm.folder import ModelFolder
from sfm_minilm.safetensors import Tensors
from sfm_minilm.tokens import read_tokeniser

Array = np.ndarray[Any, np.dtype[np.float64]]

TEXTS = (
    "Caroline went to the museum with her two children last Saturday.",
    "What did she see there?",
    "We finally adopted a puppy from the shelter, he is called Bruno!",
    "My doctor says I should sleep more and drink less coffee.",
    "See you there at five!",
    "The invoice for March (no. 4711) was paid on 2023-04-02, thanks.",
    "I have been learning the piano for about seven years; it calms me down after long days at work.",
)


class Reference:
    """BERT with NumPy alone, on one text at a time."""

    def __init__(self, tensors: Tensors, heads: int) -> None:
        self._t = tensors
        self._heads = heads

    def _linear(self, x: Array, name: str) -> Array:
        return np.asarray(x @ self._t[name + ".weight"].T + self._t[name + ".bias"], np.float64)

    def _norm(self, x: Array, name: str) -> Array:
        x = x - x.mean(-1, keepdims=True)
        x = x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-12)
        return np.asarray(x * self._t[name + ".weight"] + self._t[name + ".bias"], np.float64)

    def _attend(self, x: Array, layer: str) -> Array:
        parts = []
        for part in ("query", "key", "value"):
            y = self._linear(x, f"{layer}attention.self.{part}")
            parts.append(y.reshape(len(x), self._heads, -1).transpose(1, 0, 2))
        query, key, value = parts
        scores = np.exp(query @ key.transpose(0, 2, 1) / math.sqrt(query.shape[-1]))
        scores /= scores.sum(-1, keepdims=True)
        mixed = (scores @ value).transpose(1, 0, 2).reshape(x.shape)
        return self._norm(
            x + self._linear(mixed, f"{layer}attention.output.dense"), f"{layer}attention.output.LayerNorm"
        )

    def states(self, ids: list[int]) -> Array:
        """Return the last hidden states."""
        t = self._t
        x: Array = t["embeddings.word_embeddings.weight"][ids].astype(np.float64)
        x += t["embeddings.position_embeddings.weight"][: len(ids)] + t["embeddings.token_type_embeddings.weight"][0]
        x = self._norm(x, "embeddings.LayerNorm")
        layer = 0
        while f"encoder.layer.{layer}.output.dense.weight" in t:
            name = f"encoder.layer.{layer}."
            x = self._attend(x, name)
            inner = self._linear(x, name + "intermediate.dense")
            inner *= 0.5 * (1 + np.vectorize(math.erf)(inner / math.sqrt(2)))
            x = self._norm(x + self._linear(inner, name + "output.dense"), name + "output.LayerNorm")
            layer += 1
        return x


async def cosines(
    folder: Path, heads: int, pool: Callable[[Array], Array], texts: Sequence[str] = TEXTS
) -> list[float]:
    """Return how the embedding of each text agrees with the reference's."""
    async with open_embedding(MinilmConfig(model=folder)) as embedding:
        vectors = await embedding.embed(texts)
    tokenise = read_tokeniser(ModelFolder(folder, "any"), 256)
    reference = Reference(Tensors(folder / "model.safetensors"), heads)
    found = []
    for text, vector in zip(texts, vectors, strict=True):
        expected = pool(reference.states(tokenise(text)))
        found.append(float(np.dot(vector, expected) / np.linalg.norm(expected)))
    return found


async def test_made_up_weights_give_the_vectors_of_the_reference(made_up: Path) -> None:
    """Rounding to integers costs little."""
    assert min(await cosines(made_up, 4, lambda states: states.mean(axis=0))) > 0.98


async def test_the_first_token_is_the_vector_where_the_model_says_so(make_model: Callable[..., Path]) -> None:
    """Pooling "cls"."""
    folder = make_model(
        **{"1_Pooling/config.json": {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}}
    )
    assert min(await cosines(folder, 4, lambda states: states[0])) > 0.95


async def test_the_published_weights_give_the_vectors_of_the_reference(published: Path) -> None:
    """all-MiniLM-L6-v2 in integers against the same in floating point."""
    found = await cosines(published, 12, lambda states: states.mean(axis=0))
    assert min(found) > 0.98
    assert sum(found) / len(found) > 0.99


async def test_single_words_come_close_to_the_reference_too(published: Path) -> None:
    """They suffer most from rounding: a few tokens share one scale."""
    assert (
        min(await cosines(published, 12, lambda states: states.mean(axis=0), ("ok", "tea", "Paris", "camping"))) > 0.95
    )


async def test_the_published_model_knows_what_belongs_together(published: Path) -> None:
    """A question is closest to the sentence that answers it."""
    sentences = [
        "We adopted a puppy from the shelter.",
        "The invoice was paid in March.",
        "I play the piano every evening.",
    ]
    questions = ["Which pet did they get?", "When did they settle the bill?", "What instrument do you practise?"]
    async with open_embedding(MinilmConfig(model=published)) as embedding:
        likeness = np.array(await embedding.embed(questions)) @ np.array(await embedding.embed(sentences)).T
    assert likeness.argmax(axis=1).tolist() == [0, 1, 2]


def test_no_weight_uses_the_eighth_bit(made_up: Path) -> None:
    """Two products of such a weight and any activation fit into 16 bits, on every processor."""
    weights = Tensors(made_up / "model.safetensors")["encoder.layer.0.intermediate.dense.weight"]
    model, _ = build(Tensors(made_up / "model.safetensors"), Architecture(heads=4, epsilon=1e-12, pooling="mean"))
    scales = np.abs(weights).max(axis=1, keepdims=True) / np.float32(64)
    rounded = np.round(weights / scales).astype(np.int8)
    assert np.ascontiguousarray(rounded.T).tobytes() in model
    assert 2 * 255 * int(np.abs(rounded).max()) < 2**15


def test_converting_twice_gives_the_same_bytes(made_up: Path) -> None:
    """The digest, and so the fingerprint, follows from the weights alone."""
    architecture = Architecture(heads=4, epsilon=1e-12, pooling="mean")
    tensors = Tensors(made_up / "model.safetensors")
    assert build(tensors, architecture) == build(tensors, architecture)


@pytest.mark.parametrize("keep", [5, 100, 3000])
def test_weights_cut_short_are_corrupt_data(made_up: Path, keep: int) -> None:
    """Within the header or within the numbers."""
    path = made_up / "model.safetensors"
    path.write_bytes(path.read_bytes()[: keep if keep < 3000 else -keep])
    with pytest.raises(CorruptData, match=r"model\.safetensors"):
        build(Tensors(path), Architecture(heads=4, epsilon=1e-12, pooling="mean"))


def test_weights_without_a_part_are_corrupt_data(make_model: Callable[..., Path]) -> None:
    """The message names the missing tensor."""
    folder = make_model()
    path = folder / "model.safetensors"
    path.write_bytes(
        path.read_bytes().replace(
            b"encoder.layer.1.intermediate.dense.bias", b"encoder.layer.1.intermediate.dense.bent"
        )
    )
    with pytest.raises(CorruptData, match=r"no tensor encoder\.layer\.1\.intermediate\.dense\.bias"):
        build(Tensors(path), Architecture(heads=4, epsilon=1e-12, pooling="mean"))


async def test_a_number_of_heads_that_does_not_fit_is_refused(make_model: Callable[..., Path]) -> None:
    """32 dimensions cannot be split among five heads: the model is refused at start, not at the first text."""
    config = {"model_type": "bert", "num_attention_heads": 5}
    folder = make_model(**{"config.json": config})
    with pytest.raises(ConfigError, match="minilm/embedding"):
        async with open_embedding(MinilmConfig(model=folder)):
            pytest.fail("opened")


def test_bytes_that_are_no_model_are_refused() -> None:
    """The message says whose they are."""
    with pytest.raises(ConfigError, match="onnxruntime cannot load the converted weights"):
        open_session(b"no model")
