"""Problem details (RFC 9457): what every refused or failed request gets as `application/problem+json`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from http import HTTPStatus

from litestar.exceptions import HTTPException
from msgspec import UNSET, Struct, UnsetType

from sfm_core import errors

__all__ = ["MEDIA_TYPE", "HttpRefusal", "ProblemDetails", "details_of", "retry_after_of", "status_of"]

MEDIA_TYPE = "application/problem+json"
_URN = "urn:somafractalmemory:problem:"
_UNTOLD = "The service failed to answer; its log names the cause under this request id."


class HttpRefusal(errors.SfmError):
    """A request was refused for its HTTP form, before any service was asked.

    Attributes:
        status: the HTTP status.
        headers: further headers of the answer.
    """

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = dict(headers or {})


class ProblemDetails(Struct, frozen=True, kw_only=True):
    """A problem in the form of RFC 9457; `errors` names each refused value, `request_id` finds the line in the log."""

    type: str
    title: str
    status: int
    detail: str
    instance: str | UnsetType = UNSET
    request_id: str | UnsetType = UNSET
    errors: tuple[errors.Problem, ...] | UnsetType = UNSET


# The first type that an error is an instance of counts.
_TABLE: tuple[tuple[type[Exception], int, str], ...] = (
    (errors.InvalidInput, 422, "refused-value"),
    (errors.Unauthenticated, 401, "unauthenticated"),
    (errors.Forbidden, 403, "forbidden"),
    (errors.NotFound, 404, "not-found"),
    (errors.StaleVersion, 412, "stale-version"),
    (errors.IdempotencyMismatch, 422, "idempotency-mismatch"),
    (errors.Conflict, 409, "conflict"),
    (errors.BackendUnavailable, 503, "unavailable"),
    (errors.DeadlineExceeded, 503, "deadline-exceeded"),
    (errors.CapabilityNotSupported, 501, "not-supported"),
)


def _entry(error: BaseException) -> tuple[int, str]:
    if isinstance(error, HttpRefusal):
        return error.status, _slug(error.status)
    if isinstance(error, HTTPException):
        return error.status_code, _slug(error.status_code)
    return next(((status, slug) for kind, status, slug in _TABLE if isinstance(error, kind)), (500, _slug(500)))


def _slug(status: int) -> str:
    return HTTPStatus(status).phrase.lower().replace(" ", "-")


def status_of(error: BaseException) -> int:
    """Return the HTTP status that `error` stands for; 500 for what nobody foresaw."""
    return _entry(error)[0]


def retry_after_of(error: BaseException) -> str | None:
    """Return the value of `Retry-After` for `error`, in whole seconds, or None."""
    seconds: object = getattr(error, "retry_after", None)
    if not isinstance(seconds, int | float):
        return "1" if status_of(error) == HTTPStatus.SERVICE_UNAVAILABLE else None
    return str(max(1, math.ceil(seconds)))


def details_of(
    error: BaseException, *, instance: str | UnsetType = UNSET, request_id: str | UnsetType = UNSET
) -> ProblemDetails:
    """Return the problem document of `error`. A status of 500 tells nothing of the cause.

    Args:
        error: what was raised.
        instance: the path of the request.
        request_id: the id that its log line carries.
    """
    status, slug = _entry(error)
    return ProblemDetails(
        type=_URN + slug,
        title=slug.replace("-", " ").capitalize(),
        status=status,
        detail=_detail(error, status),
        instance=instance,
        request_id=request_id,
        errors=error.problems if isinstance(error, errors.InvalidInput) else UNSET,
    )


def _detail(error: BaseException, status: int) -> str:
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        return _UNTOLD
    if isinstance(error, HTTPException):
        return HTTPStatus(status).description or HTTPStatus(status).phrase
    return str(error)
