"""From what a caller gives to a `Memory`: every field checked, every refusal collected into one `InvalidInput`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, get_args

import msgspec

from sfm_core.errors import InvalidInput, LimitExceeded, Problem, shown
from sfm_core.model.memory import DEFAULT_NAMESPACE, Kind, Memory, NewMemory
from sfm_core.model.namespace import check_namespace
from sfm_core.services.checks import (
    check_bool,
    check_coordinate,
    check_count,
    check_json_object,
    check_levels,
    check_number,
    check_one_of,
    check_text,
    check_texts,
    check_time,
)
from sfm_core.services.ids import check_id, new_id
from sfm_core.services.limits import Limits

__all__ = ["FIELDS", "MemoryReader", "merge_patch"]

_KINDS: tuple[str, ...] = get_args(Kind)
_IDS_MOST = 1000
_OPTIONAL = frozenset(f.name for f in msgspec.structs.fields(Memory) if f.default is None)
FIELDS = tuple(NewMemory.__struct_fields__)
"""The fields that a caller may give."""

Check = Callable[[object], Any]


class MemoryReader:
    """Checks what callers give against `limits` and builds memories from it."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        text = limits.text_length

        def short(field: str) -> Check:
            return lambda value: check_text(value, field, longest=text)

        self._checks: dict[str, Check] = {
            "content": lambda v: check_text(v, "content", longest=limits.content_bytes, unit="bytes"),
            "id": check_id,
            "namespace": check_namespace,
            "kind": lambda v: check_one_of(v, "kind", _KINDS),
            "payload": lambda v: check_json_object(
                v, "payload", most_bytes=limits.payload_bytes, depth=limits.payload_depth
            ),
            "coordinate": lambda v: check_coordinate(v, most=limits.coordinate),
            "author": short("author"),
            "thread": short("thread"),
            "position": lambda v: check_count(v, "position", low=0),
            "importance": lambda v: check_number(v, "importance", low=0, high=1),
            "tags": lambda v: check_texts(v, "tags", most=limits.tags, longest=text),
            "source": short("source"),
            "pinned": lambda v: check_bool(v, "pinned"),
            **{f: _time_check(f) for f in ("occurred_at", "valid_from", "valid_to", "expires_at")},
            "derived_from": _check_origins,
        }

    def read(
        self, item: NewMemory | Mapping[str, object], *, now: datetime, prefix: str = ""
    ) -> tuple[Memory, frozenset[str]]:
        """Return the memory that `item` describes (version 1) and the names of the fields that were given.

        Args:
            item: any subset of the fields; None counts as not given.
            now: the instant of the write.
            prefix: put before field names in errors (`memories.3.`).

        Raises:
            InvalidInput: naming every refused field (`LimitExceeded` when one is too large).
        """
        values = self._checked(_given(item, prefix), prefix)
        if values.get("content") is None and not values.get("payload"):
            raise InvalidInput.of(f"{prefix}content", None, "non-blank content, or a non-empty payload")
        _check_order(values.get("valid_from"), values.get("valid_to"), prefix)
        given = frozenset(values)
        values.setdefault("id", new_id())
        values.setdefault("namespace", DEFAULT_NAMESPACE)
        values.setdefault("occurred_at", now)
        return Memory(**values, created_at=now, updated_at=now, version=1), given

    def patched(self, memory: Memory, changes: Mapping[str, object], *, now: datetime) -> Memory:
        """Return the next version of `memory` after the merge patch `changes` (RFC 7396); null clears a field.

        Raises:
            InvalidInput: an unknown or unchangeable field, or a refused value.
        """
        if not isinstance(changes, Mapping):
            raise InvalidInput.of("body", changes, "a JSON object")
        for field, current in (("id", memory.id), ("namespace", memory.namespace)):
            if field in changes and changes[field] != current:
                raise InvalidInput.of(field, changes[field], "not to be changed by an update")
        limits = self._limits
        raw = {k: v for k, v in changes.items() if k not in ("id", "namespace")}
        payload = raw.get("payload")
        if isinstance(payload, Mapping):
            check_levels(payload, "payload", most_bytes=limits.payload_bytes, depth=limits.payload_depth)
            raw["payload"] = merge_patch(memory.payload, payload)
        values = self._checked({k: v for k, v in raw.items() if v is not None}, "", known=raw)
        cleared = {k: _cleared(k, memory) for k in raw if raw[k] is None}
        new = msgspec.structs.replace(memory, **values, **cleared)
        if new.content is None and not new.payload:
            raise InvalidInput.of("content", None, "non-blank content, or a non-empty payload")
        _check_order(new.valid_from, new.valid_to, "")
        # Machines' clocks differ: the times of versions must not run backwards.
        return msgspec.structs.replace(new, updated_at=max(now, memory.updated_at), version=memory.version + 1)

    def recheck(self, memory: Memory) -> Memory:
        """Return `memory`, which a hook or an archive gave, in canonical form when every field holds what a caller may give.

        Raises:
            InvalidInput: naming every refused field.
        """
        values = self._checked(
            {f: v for f in FIELDS if (v := getattr(memory, f)) is not None or f not in _OPTIONAL}, ""
        )
        if memory.content is None and not memory.payload:
            raise InvalidInput.of("content", None, "non-blank content, or a non-empty payload")
        _check_order(values.get("valid_from"), values.get("valid_to"), "")
        written = {field: check_time(getattr(memory, field), field) for field in ("created_at", "updated_at")}
        check_count(memory.version, "version", low=1)
        return msgspec.structs.replace(memory, **values, **written)

    def _checked(
        self, raw: Mapping[str, object], prefix: str, *, known: Mapping[str, object] | None = None
    ) -> dict[str, Any]:
        problems: list[Problem] = []
        values: dict[str, Any] = {}
        large = False
        for field, value in raw.items():
            check = self._checks.get(field)
            if check is None:
                continue
            try:
                values[field] = check(value)
            except InvalidInput as error:
                large = large or isinstance(error, LimitExceeded)
                problems += error.problems
        unknown = [f for f in (known if known is not None else raw) if f not in self._checks]
        problems += [Problem(shown(f).strip("'"), "an unknown field", f"one of {', '.join(FIELDS)}") for f in unknown]
        if problems:
            located = [msgspec.structs.replace(p, field=prefix + p.field) for p in problems]
            raise (LimitExceeded if large else InvalidInput)(located)
        return values


def _given(item: object, prefix: str) -> dict[str, object]:
    if isinstance(item, NewMemory):
        return {f: v for f in FIELDS if (v := getattr(item, f)) is not None}
    if isinstance(item, Mapping):
        return {k: v for k, v in item.items() if v is not None or k not in FIELDS}
    raise InvalidInput.of(prefix.rstrip(".") or "memory", item, "a JSON object")


def _check_origins(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise InvalidInput.of("derived_from", value, f"a list of at most {_IDS_MOST} ids")
    if len(value) > _IDS_MOST:
        raise LimitExceeded([Problem("derived_from", f"{len(value)} ids", f"at most {_IDS_MOST} ids")])
    return tuple(check_id(item, f"derived_from.{i}") for i, item in enumerate(value))


def _time_check(field: str) -> Check:
    return lambda value: check_time(value, field)


def _check_order(first: datetime | None, last: datetime | None, prefix: str) -> None:
    if first is not None and last is not None and first > last:
        raise InvalidInput.of(f"{prefix}valid_to", last.isoformat(), "a time at or after valid_from")


def _cleared(field: str, memory: Memory) -> object:
    if field == "occurred_at":
        return memory.created_at
    for info in msgspec.structs.fields(Memory):
        if info.name == field:
            return info.default if info.default is not msgspec.NODEFAULT else {}
    raise AssertionError(field)


def merge_patch(target: object, patch: Mapping[str, object]) -> dict[str, object]:
    """Return `target` after the JSON merge patch `patch` (RFC 7396)."""
    merged: dict[str, object] = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping):
            merged[key] = merge_patch(merged.get(key), value)
        else:
            merged[key] = value
    return merged
