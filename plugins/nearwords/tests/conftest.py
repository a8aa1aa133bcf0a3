"""A small made-up model, and the words of the table that is shipped."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from sfm_nearwords.table import SHIPPED, load
from sfm_nearwords.words import TableWords

VOCABULARY = (
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "tea",
    "cup",
    "##s",
    "##cup",
    "2",
    "-",
    "\u2028",
    "東",
    "cafe",
    "\u00b2",
)


@pytest.fixture(scope="session")
def words() -> TableWords:
    """The words of the shipped table."""
    return TableWords(load(SHIPPED))


@pytest.fixture(scope="session")
def script() -> ModuleType:
    """The script that derives a table."""
    path = Path(__file__).parents[1] / "scripts" / "derive_table.py"
    spec = importlib.util.spec_from_file_location("derive_table", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a made-up model: weights in the safetensors format, and a vocabulary."""
    folder = tmp_path_factory.mktemp("model")
    rows = np.random.default_rng(7).normal(size=(len(VOCABULARY), 12)).astype("<f4")
    noise = np.arange(6, dtype="<f4")
    name = "embeddings.word_embeddings.weight"
    header = {
        "__metadata__": {"format": "pt"},
        "other.weight": {"dtype": "F32", "shape": [6], "data_offsets": [0, noise.nbytes]},
        name: {"dtype": "F32", "shape": list(rows.shape), "data_offsets": [noise.nbytes, noise.nbytes + rows.nbytes]},
    }
    raw = json.dumps(header).encode()
    data = len(raw).to_bytes(8, "little") + raw + noise.tobytes() + rows.tobytes()
    (folder / "model.safetensors").write_bytes(data)
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def small(script: ModuleType, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a table derived from the made-up model, of eight dimensions."""
    folder: Path = tmp_path_factory.mktemp("table")
    script.derive(model, folder, 8)
    return folder
