"""The table on disk, and what becomes of one that is missing or damaged."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from sfm_core.errors import ConfigError, CorruptData
from sfm_core.plugins.types import OpenContext
from sfm_nearwords import plugin
from sfm_nearwords.config import NearwordsConfig
from sfm_nearwords.table import SHIPPED, load
from sfm_nearwords.words import TableWords


@pytest.fixture
def copy(small: Path, tmp_path: Path) -> Path:
    """A copy of the small table that a test may damage."""
    return Path(shutil.copytree(small, tmp_path / "copy"))


def test_the_shipped_table_has_one_row_and_one_scale_per_piece() -> None:
    """Its size is what the documentation says: 30,522 pieces, 128 dimensions, four megabytes."""
    table = load(SHIPPED)
    assert table.pieces.shape == (30_522, 128)
    assert len(table.ids) == len(table.scales) == 30_522
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) < 4_500_000


async def test_another_table_is_used_when_its_folder_is_set(small: Path) -> None:
    """The setting `SFM_NEARWORDS__TABLE`."""
    [spec] = plugin.sfm_embedding()
    async with spec.open(NearwordsConfig(table=small), OpenContext()) as words:
        assert words.dimension == 8
        assert words.vectors(["tea", "lamp"]).any(axis=1).tolist() == [True, False]


def test_a_piece_that_looks_like_the_end_of_a_line_is_a_piece(small: Path) -> None:
    """Only line feeds separate the vocabulary."""
    table = load(small)
    assert len(table.ids) == len(table.pieces)
    assert "\u2028" in table.ids


@pytest.mark.parametrize("file", ["pieces.npy", "scales.npy", "vocab.txt"])
def test_a_missing_file_is_a_wrong_setting(copy: Path, file: str) -> None:
    """The message names the folder."""
    (copy / file).unlink()
    with pytest.raises(ConfigError, match=r"nearwords/embedding: no table in .*copy"):
        load(copy)


@pytest.mark.parametrize("file", ["pieces.npy", "scales.npy", "vocab.txt"])
def test_a_file_cut_short_is_corrupt_data(copy: Path, file: str) -> None:
    """A table that lost its end is never used."""
    path = copy / file
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(CorruptData, match="nearwords/embedding"):
        load(copy)


def test_files_that_do_not_belong_together_are_corrupt_data(copy: Path) -> None:
    """The message tells what was found."""
    np.save(copy / "scales.npy", np.ones(3, np.float32))
    with pytest.raises(CorruptData, match=r"do not belong together \(14 rows, scales of float32 \(3,\), 14 names\)"):
        load(copy)


def test_rows_of_another_type_are_corrupt_data(copy: Path) -> None:
    """The rows are int8."""
    np.save(copy / "pieces.npy", np.ones((14, 8), np.float64))
    with pytest.raises(CorruptData, match="not a filled table of int8 rows"):
        load(copy)


def test_a_vector_is_the_mean_of_its_pieces_at_length_one(small: Path) -> None:
    """Nothing but the pieces decides it."""
    table = load(small)
    pieces = table.pieces * table.scales[:, np.newaxis]
    mean = pieces[[table.ids[piece] for piece in ("tea", "##cup", "##s")]].mean(axis=0)
    expected = mean / np.linalg.norm(mean)
    np.testing.assert_allclose(TableWords(table).vectors(["teacups"])[0], expected, atol=1e-6)
