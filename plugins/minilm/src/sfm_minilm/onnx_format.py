"""Just enough of the ONNX file format (onnx/onnx.proto, IR version 8) to write a graph that onnxruntime runs.

The `onnx` package would bring 20 MB and write temporary files while quantising; what is needed of the format is this page.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FLOAT", "INT64", "Graph"]

FLOAT, INT8, INT64 = 1, 3, 7
_TYPES = {np.dtype(np.float32): FLOAT, np.dtype(np.int8): INT8, np.dtype(np.int64): INT64}
_IR_VERSION = 8
_OPSET = 17

Attribute = int | float | Sequence[int]


def _varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _chunk(field: int, value: bytes | str) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def _attribute(name: str, value: Attribute) -> bytes:
    """An AttributeProto of type FLOAT (1), INT (2) or INTS (7)."""
    if isinstance(value, float):
        return _chunk(1, name) + _varint(2 << 3 | 5) + struct.pack("<f", value) + _number(20, 1)
    if isinstance(value, int):
        return _chunk(1, name) + _number(3, value) + _number(20, 2)
    return _chunk(1, name) + b"".join(_number(8, item) for item in value) + _number(20, 7)


def _node(kind: str, inputs: Sequence[str], outputs: Sequence[str], attributes: Mapping[str, Attribute]) -> bytes:
    return b"".join(
        [
            *(_chunk(1, name) for name in inputs),
            *(_chunk(2, name) for name in outputs),
            _chunk(4, kind),
            *(_chunk(5, _attribute(name, value)) for name, value in attributes.items()),
        ]
    )


def _tensor(name: str, values: NDArray[Any]) -> list[bytes | memoryview]:
    """A TensorProto in two parts, the second being the numbers as they lie in memory: the large ones are not copied."""
    dimensions = b"".join(_number(1, size) for size in values.shape)
    little = np.ascontiguousarray(values, values.dtype.newbyteorder("<")).reshape(-1)
    head = (
        dimensions + _number(2, _TYPES[values.dtype]) + _chunk(8, name) + _varint(9 << 3 | 2) + _varint(little.nbytes)
    )
    return [head, little.data.cast("B")]


def _value(name: str, kind: int, shape: Sequence[int | str]) -> bytes:
    sizes = [_chunk(2, size) if isinstance(size, str) else _number(1, size) for size in shape]
    tensor = _number(1, kind) + _chunk(2, b"".join(_chunk(1, size) for size in sizes))
    return _chunk(1, name) + _chunk(2, _chunk(1, tensor))


class Graph:
    """A graph under construction: constants by name, nodes in order of execution."""

    def __init__(self) -> None:
        self._nodes: list[bytes] = []
        self._constants: dict[str, list[bytes | memoryview]] = {}
        self._inputs: list[bytes] = []
        self._outputs: list[bytes] = []

    def input(self, name: str, kind: int, shape: Sequence[int | str]) -> str:
        """Declare an input (`kind` is `FLOAT` or `INT64`; a text in `shape` names a free size) and return its name."""
        self._inputs.append(_value(name, kind, shape))
        return name

    def constant(self, name: str, values: Any) -> str:
        """Add a constant of float32, int8 or int64, once per name, and return its name."""
        if name not in self._constants:
            self._constants[name] = _tensor(name, np.asarray(values))
        return name

    def node(self, kind: str, *inputs: str, **attributes: Attribute) -> str:
        """Add an operator with one output and return the output's name."""
        return self.nodes(kind, 1, *inputs, **attributes)[0]

    def nodes(self, kind: str, outputs: int, *inputs: str, **attributes: Attribute) -> list[str]:
        """Add an operator with several outputs and return their names."""
        names = [f"{kind}_{len(self._nodes)}_{number}" for number in range(outputs)]
        self._nodes.append(_node(kind, inputs, names, attributes))
        return names

    def output(self, name: str, kind: int, shape: Sequence[int | str], source: str) -> None:
        """Give `source` out under `name`."""
        self._nodes.append(_node("Identity", [source], [name], {}))
        self._outputs.append(_value(name, kind, shape))

    def digest(self) -> str:
        """Return the SHA-256 of all constants, in hexadecimal."""
        digest = hashlib.sha256()
        for part in chain.from_iterable(self._constants.values()):
            digest.update(part)
        return digest.hexdigest()

    def model(self) -> bytes:
        """Return the whole file (a ModelProto)."""
        graph: list[bytes | memoryview] = [*(_chunk(1, node) for node in self._nodes), _chunk(2, "sentence")]
        for head, numbers in self._constants.values():
            graph += [_varint(5 << 3 | 2), _varint(len(head) + len(numbers)), head, numbers]
        graph += [_chunk(11, value) for value in self._inputs] + [_chunk(12, value) for value in self._outputs]
        opset = _chunk(8, _chunk(1, "") + _number(2, _OPSET))
        start = _number(1, _IR_VERSION) + _chunk(2, "sfm-plugin-minilm") + opset
        return b"".join([start, _varint(7 << 3 | 2), _varint(sum(map(len, graph))), *graph])
