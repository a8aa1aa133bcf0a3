"""A changed embedding is refused, and a rebuild with it makes the index anew; nothing of the records is lost."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sfm_core import open_memory
from sfm_core.errors import ConfigError


def letters(texts: list[str]) -> list[list[float]]:
    """Count the letters of each text."""
    return [[1.0 + text.count(letter) for letter in "abcdefghijklmnopqrstuvwxyz"] for text in texts]


def vowels(texts: list[str]) -> list[list[float]]:
    """Count the vowels of each text."""
    return [[1.0 + text.count(letter) for letter in "aeiou"] for text in texts]


async def test_a_changed_embedding_is_refused_until_everything_is_embedded_anew(tmp_path: Path) -> None:
    """The refusal names both; with reindex the same records are found by the new vectors, and after reopening too."""
    settings = {"data_dir": tmp_path / "data"}
    async with open_memory(settings=settings, embed=letters) as memory:
        await memory.remember("zzz")
        await memory.remember("uuu")
    with pytest.raises(ConfigError, match=r"letters:26.*vowels:5.*sfm reindex|vowels:5.*letters:26.*sfm reindex"):
        async with open_memory(settings=settings, embed=vowels):
            pass
    async with open_memory(settings=settings, embed=vowels, reindex=True) as memory:
        answer = await memory.recall_vector(vowels(["uuuu"])[0], k=2)
        assert [hit.memory.content for hit in answer.hits] == ["uuu", "zzz"]
    async with open_memory(settings=settings, embed=vowels) as memory:
        answer = await memory.recall_vector(vowels(["uuuu"])[0], k=1)
        assert answer.hits[0].memory.content == "uuu"


def test_the_command_embeds_anew_with_another_model(tmp_path: Path) -> None:
    """`sfm reindex` opens an index of another embedding, which every other command refuses."""
    sfm = str(Path(sys.executable).parent / "sfm")
    plugin = tmp_path / "sfm_toy.py"
    plugin.write_text(TOY, encoding="utf-8")
    (tmp_path / "sfm_plugin_toy-1.0.dist-info").mkdir()
    (tmp_path / "sfm_plugin_toy-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: sfm-plugin-toy\nVersion: 1.0\nRequires-Dist: sfm-core\n", encoding="utf-8"
    )
    (tmp_path / "sfm_plugin_toy-1.0.dist-info" / "entry_points.txt").write_text(
        "[sfm.plugins]\ntoy = sfm_toy\n", encoding="utf-8"
    )

    def run(size: int, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]),
            "SFM_DATA_DIR": str(tmp_path / "data"),
            "SFM_EMBEDDING": "toy",
            "SFM_TOY__SIZE": str(size),
        }
        return subprocess.run(
            [sfm, *arguments], capture_output=True, text=True, env=environment, cwd=tmp_path, check=False
        )

    assert run(3, "remember", "one").returncode == 0
    refused = run(4, "stats")
    assert refused.returncode == 1
    assert "sfm reindex" in refused.stderr
    assert run(4, "reindex").returncode == 0
    assert run(4, "recall", "one").returncode == 0


TOY = """
from contextlib import asynccontextmanager
from msgspec import Struct
from sfm_core.plugins.specs import hookimpl
from sfm_core.plugins.types import BackendSpec, PluginInfo, Port
from sfm_core.ports.embedding import EmbeddingCapability

class Config(Struct, frozen=True, forbid_unknown_fields=True):
    size: int = 3

class Toy:
    def __init__(self, size):
        self.dimension, self.fingerprint = size, f"toy/{size}"
    async def embed(self, texts):
        return [[1.0] + [0.0] * (self.dimension - 1) for _ in texts]

@asynccontextmanager
async def opened(config, context):
    yield Toy(config.size)

@hookimpl
def sfm_plugin_info():
    return PluginInfo(name="toy", version="1.0", api="1.0")

@hookimpl
def sfm_embedding():
    able = frozenset({EmbeddingCapability.TEXTS})
    return [BackendSpec(port=Port.EMBEDDING, name="toy", config=Config, open=opened, capabilities=able)]
"""
