"""From a model's folder to an encoder that is ready, and the fingerprint of what it gives."""

from __future__ import annotations

import hashlib
from pathlib import Path

from sfm_minilm.bert import Architecture, build
from sfm_minilm.config import MinilmConfig
from sfm_minilm.encoder import Encoder, open_session
from sfm_minilm.folder import ModelFolder, locate
from sfm_minilm.safetensors import Tensors
from sfm_minilm.tokens import read_tokeniser

__all__ = ["load"]


def load(config: MinilmConfig) -> tuple[Encoder, str]:
    """Return the encoder of the model that `config` names, and its fingerprint.

    Weights are converted anew every time, in memory: that takes some 0.3 s for all-MiniLM-L6-v2, so nothing is written.

    Raises:
        ConfigError: the folder does not exist or holds no model that can be used.
        CorruptData: a file in it is damaged.
        PluginError: the package with the weights, or one that the tokeniser takes, is not installed.
    """
    folder = locate(config.model)
    pooling = folder.pooling()
    tokenise = read_tokeniser(folder, folder.limit(config.max_tokens))
    graph = folder.graph()
    if graph is None:
        bert = folder.bert()
        architecture = Architecture(heads=bert.num_attention_heads, epsilon=bert.layer_norm_eps, pooling=pooling)
        model, digest = build(Tensors(folder.weights()), architecture)
        return Encoder(open_session(model), tokenise, pooling), _fingerprint(folder, "int8", digest)
    encoder = Encoder(open_session(str(graph)), tokenise, pooling)
    return encoder, _fingerprint(folder, f"onnx-{pooling}", *_digests(graph))


def _digests(graph: Path) -> list[str]:
    """Return the SHA-256 of an ONNX file and of the files beside it that hold its larger constants."""
    files = sorted(path for path in graph.parent.glob(f"{graph.name}*") if path.is_file())
    return [_digest(path) for path in files]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fingerprint(folder: ModelFolder, rounding: str, *digests: str) -> str:
    """Name the model, its rounding, and the content of weights and tokeniser."""
    content = " ".join([*digests, _digest(folder.path / "tokenizer.json")])
    return f"{folder.name}/{rounding}/{hashlib.sha256(content.encode()).hexdigest()[:16]}"
