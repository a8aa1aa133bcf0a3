"""A text that must not be seen: passwords, tokens, connection strings."""

from __future__ import annotations

from typing import NoReturn

__all__ = ["Secret"]

_MASK = "********"


class Secret:
    """Holds a secret text. Only `reveal` shows it.

    `repr`, `str` and formatting give a mask; pickling and JSON encoding are refused with `TypeError`; copies share the
    same object. Equal secrets are equal and hash alike; a secret never equals a plain text. An empty one is false.
    """

    __slots__ = ("__text",)

    def __init__(self, text: str) -> None:
        object.__setattr__(self, "_Secret__text", text)

    def reveal(self) -> str:
        """Return the text itself, for the one call that needs it."""
        text: str = object.__getattribute__(self, "_Secret__text")
        return text

    def __repr__(self) -> str:
        return f"Secret({_MASK!r})"

    def __str__(self) -> str:
        return _MASK

    def __format__(self, spec: str) -> str:
        return format(_MASK, spec)

    def __bool__(self) -> bool:
        return bool(self.reveal())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self.reveal() == other.reveal()

    def __hash__(self) -> int:
        return hash((Secret, self.reveal()))

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        return self

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("a Secret cannot be changed")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Secret cannot be pickled")
