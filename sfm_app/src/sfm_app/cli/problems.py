"""From a problem document (RFC 9457) of the service back to the error that it stands for."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from sfm_core import errors
from sfm_core.errors import Problem, SfmError

__all__ = ["error_of"]

_URN = "urn:somafractalmemory:problem:"

_Make = Callable[[str, tuple[Problem, ...], Mapping[str, str]], SfmError]


def _invalid(kind: type[errors.InvalidInput]) -> _Make:
    def make(detail: str, problems: tuple[Problem, ...], headers: Mapping[str, str]) -> SfmError:
        error = kind(problems)
        if not problems:
            error.args = (detail,)
        return error

    return make


def _plain(kind: type[SfmError]) -> _Make:
    return lambda detail, problems, headers: kind(detail)


def _stale(detail: str, problems: tuple[Problem, ...], headers: Mapping[str, str]) -> SfmError:
    return errors.StaleVersion(detail, current=0)


def _unauthenticated(detail: str, problems: tuple[Problem, ...], headers: Mapping[str, str]) -> SfmError:
    return errors.Unauthenticated(f"{detail} (SFM_API_KEY or SFM_API_KEY_FILE gives the key to show)")


def _unavailable(detail: str, problems: tuple[Problem, ...], headers: Mapping[str, str]) -> SfmError:
    after = headers.get("retry-after", "")
    return errors.BackendUnavailable(detail, retry_after=float(after) if after.isdecimal() else 1.0)


_BY_TYPE: dict[str, _Make] = {
    "refused-value": _invalid(errors.InvalidInput),
    "unauthenticated": _unauthenticated,
    "forbidden": _plain(errors.Forbidden),
    "not-found": _plain(errors.NotFound),
    "stale-version": _stale,
    "idempotency-mismatch": _plain(errors.IdempotencyMismatch),
    "conflict": _plain(errors.Conflict),
    "unavailable": _unavailable,
    "deadline-exceeded": _plain(errors.DeadlineExceeded),
    "not-supported": _plain(errors.CapabilityNotSupported),
}

_BY_STATUS: dict[int, _Make] = {
    400: _invalid(errors.InvalidInput),
    401: _unauthenticated,
    403: _plain(errors.Forbidden),
    404: _plain(errors.NotFound),
    409: _plain(errors.Conflict),
    412: _stale,
    413: _invalid(errors.LimitExceeded),
    422: _invalid(errors.InvalidInput),
    429: _unavailable,
    503: _unavailable,
}


def error_of(status: int, headers: Mapping[str, str], body: bytes, service: str) -> SfmError:
    """Return the error of an answer with `status`: by the problem's type, else by the status.

    Args:
        status: of the answer, from 400 on.
        headers: of the answer, names in lower case.
        body: of the answer; one that is no problem document is named as such.
        service: how messages name the service.
    """
    document = _document(body)
    if document is None:
        return errors.BackendError(f"{service}: answered {status} without a problem document; is it this service?")
    make = _BY_TYPE.get(str(document.get("type", "")).removeprefix(_URN)) or _BY_STATUS.get(status)
    detail = str(document.get("detail") or document.get("title") or f"status {status}")
    if make is None:
        return errors.BackendError(f"{service}: {detail}")
    return make(detail, _problems(document.get("errors")), headers)


def _document(body: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(body)
    except ValueError:
        return None
    return document if isinstance(document, dict) and "status" in document else None


def _problems(value: object) -> tuple[Problem, ...]:
    try:
        return msgspec.convert(value or (), tuple[Problem, ...])
    except msgspec.ValidationError:
        return ()
