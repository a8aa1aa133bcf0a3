"""The forward pass: one text's tokens in, one unit vector out, by onnxruntime on the calling thread."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime

from sfm_core.errors import BackendError, ConfigError
from sfm_minilm.tokens import Tokeniser

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Encoder", "open_session"]

_SILENT = 4
_KINDS = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}
_PROBE = "What becomes of a short text shows whether a model is one of sentences."


def open_session(model: bytes | str) -> Any:
    """Return a session of an ONNX file (its content or its path) that runs on the calling thread alone.

    Raises:
        ConfigError: onnxruntime cannot run it.
    """
    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    # Plans of memory are kept for every length of text; they save nothing measurable here.
    options.enable_mem_pattern = False
    options.log_severity_level = _SILENT
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions share no base class
        what = "the converted weights" if isinstance(model, bytes) else model
        raise ConfigError(f"minilm/embedding: onnxruntime cannot load {what} ({type(error).__name__})") from error


class Encoder:
    """Tokeniser, session and pooling of one model; any number of threads may use it at the same time.

    Attributes:
        dimension: the length of a vector.

    Raises:
        ConfigError: the model does not take tokens, or gives no vector for a text.
    """

    def __init__(self, session: Any, tokenise: Tokeniser, pooling: str) -> None:
        self._session = session
        self._tokenise = tokenise
        self._pooling = pooling
        self._inputs = {given.name: _KINDS.get(given.type) for given in session.get_inputs()}
        known = {"input_ids", "attention_mask", "token_type_ids"}
        if not {"input_ids"} <= self._inputs.keys() <= known or None in self._inputs.values():
            found = ", ".join(f"{given.name} {given.type}" for given in session.get_inputs())
            raise ConfigError(
                f"minilm/embedding: the model takes {found}; allowed: integers named {', '.join(sorted(known))}"
            )
        self._output = _output(session.get_outputs())
        try:
            self.dimension = len(self.encode(_PROBE))
        except BackendError as error:
            raise ConfigError(f"minilm/embedding: the model is none of sentences: {error}") from error

    def encode(self, text: str) -> list[float]:
        """Return the unit vector of `text`.

        Raises:
            BackendError: the model failed or gave something else than one finite vector.
        """
        ids = self._tokenise(text)
        values = {"input_ids": ids, "attention_mask": [1] * len(ids), "token_type_ids": [0] * len(ids)}
        feed = {name: np.array([values[name]], kind) for name, kind in self._inputs.items()}
        try:
            (states,) = self._session.run([self._output], feed)
        except Exception as error:  # onnxruntime's exceptions share no base class
            raise BackendError(f"minilm/embedding: the model failed ({type(error).__name__})") from error
        return _unit(self._pooled(states))

    def _pooled(self, states: NDArray[Any]) -> NDArray[np.float64]:
        if states.ndim == 3:
            states = states[:, 0] if self._pooling == "cls" else states.mean(axis=1, dtype=np.float64)
        if states.ndim != 2 or len(states) != 1:
            raise BackendError(f"minilm/embedding: the model gave shape {states.shape}, allowed: one vector per text")
        vector: NDArray[np.float64] = states[0].astype(np.float64)
        return vector


def _unit(vector: NDArray[np.float64]) -> list[float]:
    length = math.sqrt(float(vector @ vector))
    if not 0 < length < math.inf:
        raise BackendError("minilm/embedding: the model gave no finite vector")
    numbers: list[float] = (vector / length).astype(np.float32).tolist()
    return numbers


def _output(outputs: Sequence[Any]) -> str:
    """Choose the output: sentence vectors by their usual name, else the first token states, else what comes first.

    A second output of BERT's own, "pooler_output", is made for another task, so any vectors do not do.
    """
    named = [given.name for given in outputs if given.name == "sentence_embedding"]
    states = [given.name for given in outputs if len(given.shape or ()) == 3]
    return str([*named, *states, *(given.name for given in outputs)][0])
