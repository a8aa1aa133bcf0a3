"""The tokeniser that belongs to a model: our own where it is BERT's, else the one that the `tokenizers` package reads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from sfm_core.errors import ConfigError, CorruptData, PluginError
from sfm_minilm.folder import SETTING, ModelFolder, read_json
from sfm_minilm.wordpiece import WordPiece

__all__ = ["Tokeniser", "read_tokeniser"]

Tokeniser = Callable[[str], list[int]]


class _Kind(Struct, frozen=True):
    type: str = ""


class _Normaliser(_Kind, frozen=True):
    clean_text: bool = False
    handle_chinese_chars: bool = False
    strip_accents: bool | None = None
    lowercase: bool = False


class _Vocabulary(_Kind, frozen=True):
    vocab: msgspec.Raw = msgspec.Raw(b"{}")


class _File(Struct, frozen=True):
    model: _Vocabulary
    normalizer: _Normaliser | None = None
    pre_tokenizer: _Kind | None = None


_UNCASED = (True, True, True)


def read_tokeniser(folder: ModelFolder, limit: int) -> Tokeniser:
    """Return the tokeniser of a model: from a text to at most `limit` numbers, special ones included.

    Raises:
        ConfigError: the folder has none.
        CorruptData: its file cannot be read.
        PluginError: it takes the package `tokenizers`, which is not installed.
    """
    path = folder.path / "tokenizer.json"
    found = read_json(path, _File)
    if found is None:
        raise ConfigError(f"minilm/embedding: {SETTING}: got {folder.path}, allowed: a folder with {path.name}")
    if _is_uncased_bert(found):
        return WordPiece(msgspec.json.decode(found.model.vocab, type=dict[str, int]), limit)
    return _by_package(path, limit)


def _is_uncased_bert(file: _File) -> bool:
    kinds = (file.model.type, file.normalizer and file.normalizer.type, file.pre_tokenizer and file.pre_tokenizer.type)
    if file.normalizer is None or kinds != ("WordPiece", "BertNormalizer", "BertPreTokenizer"):
        return False
    cleans = (file.normalizer.clean_text, file.normalizer.handle_chinese_chars, file.normalizer.lowercase)
    return cleans == _UNCASED and file.normalizer.strip_accents is not False


def _by_package(path: Path, limit: int) -> Tokeniser:
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise PluginError(f"minilm/embedding: {path} needs another package; run `pip install tokenizers`") from error
    try:
        tokenizer: Any = Tokenizer.from_file(str(path))
    except Exception as error:  # the package raises bare exceptions
        raise CorruptData(f"minilm/embedding: {path} is not a tokeniser") from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(limit)

    def tokenise(text: str) -> list[int]:
        ids: list[int] = tokenizer.encode(text).ids
        return ids

    return tokenise
