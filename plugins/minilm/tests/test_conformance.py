"""The sentence embeddings against the conformance kit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sfm_core.testing.conformance import SpecSuite, missing
from sfm_core.testing.embedding import TextEmbeddingSuite
from sfm_core.testing.refusals import NoWordVectorsSuite
from sfm_minilm import plugin
from sfm_minilm.config import MinilmConfig


class TestPublishedModel(TextEmbeddingSuite):
    """all-MiniLM-L6-v2 from its package."""

    spec = plugin.sfm_embedding()[0]
    plugin = "sfm_minilm.plugin"

    @pytest.fixture
    def config(self, published: Path) -> MinilmConfig:
        """The defaults, with more threads than one."""
        return MinilmConfig(threads=2)


class TestWeightsByFolder(TextEmbeddingSuite):
    """A small made-up BERT, converted."""

    spec = plugin.sfm_embedding()[0]
    plugin = "sfm_minilm.plugin"

    @pytest.fixture
    def config(self, made_up: Path) -> MinilmConfig:
        """The folder."""
        return MinilmConfig(model=made_up)


class TestOnnxByFolder(TextEmbeddingSuite):
    """A made-up ONNX model that gives token states."""

    spec = plugin.sfm_embedding()[0]
    plugin = "sfm_minilm.plugin"

    @pytest.fixture
    def config(self, make_model: Callable[..., Path]) -> MinilmConfig:
        """The folder."""
        return MinilmConfig(model=make_model("states"))


class TestNoWordVectors(NoWordVectorsSuite):
    """It embeds texts only."""

    spec = plugin.sfm_embedding()[0]

    @pytest.fixture
    def config(self, made_up: Path) -> MinilmConfig:
        """The folder."""
        return MinilmConfig(model=made_up)


class TestSpec(SpecSuite):
    """What is registered."""

    spec = plugin.sfm_embedding()[0]


def test_no_suite_is_left_out() -> None:
    """The plugin passes the suites of its port and capabilities, and the refusals of the rest."""
    assert missing("sfm_minilm.plugin", globals().values()) == []
