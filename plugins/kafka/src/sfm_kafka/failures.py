"""From an error of the driver to one of ours. Its text is never passed on: it may hold what a broker said."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from aiokafka import errors as driver

from sfm_core.errors import BackendError, BackendUnavailable

__all__ = ["DRIVER_ERRORS", "failure", "refused_login", "translated"]

_LOGIN = (
    driver.SaslAuthenticationFailed,
    driver.AuthenticationFailedError,
    driver.UnsupportedSaslMechanismError,
    driver.AuthenticationMethodNotSupported,
    driver.IllegalSaslStateError,
)
_FORBIDDEN = (
    driver.TopicAuthorizationFailedError,
    driver.GroupAuthorizationFailedError,
    driver.ClusterAuthorizationFailedError,
)
_DOWN = (
    driver.KafkaConnectionError,
    driver.KafkaTimeoutError,
    driver.KafkaUnavailableError,
    driver.ProducerClosed,
    driver.ProducerFenced,
    driver.OutOfOrderSequenceNumber,
    driver.UnknownProducerId,
    driver.ConsumerStoppedError,
    driver.BrokerNotAvailableError,
)
"""Errors that are gone with the next attempt, besides those that the driver calls retriable."""


DRIVER_ERRORS = (driver.KafkaError, driver.ConsumerStoppedError, OSError, AttributeError, AssertionError)
"""What the driver raises, on purpose and, when an answer is not what it awaits, by mistake. `TimeoutError` is an `OSError`."""


def refused_login(error: BaseException) -> bool:
    """Tell whether the broker did not accept who we are."""
    return isinstance(error, _LOGIN)


def failure(error: Exception, doing: str) -> BackendError:
    """Return what `error` means.

    Args:
        error: what the driver raised.
        doing: what was being done, for the message.

    Returns:
        `BackendUnavailable` for brokers that are down, refuse connections, do not answer in time or cannot serve now; else
        `BackendError`.
    """
    if isinstance(error, TimeoutError | driver.KafkaTimeoutError | driver.RequestTimedOutError):
        return BackendUnavailable(f"kafka/events: no answer in time to {doing}")
    if refused_login(error):
        return BackendError("kafka/events: the broker refuses the login; check username, password and sasl_mechanism")
    if isinstance(error, _FORBIDDEN):
        return BackendError(f"kafka/events: the user may not {doing} ({type(error).__name__})")
    if isinstance(error, (OSError, *_DOWN)) or getattr(error, "retriable", False):
        return BackendUnavailable(f"kafka/events: cannot {doing} now ({type(error).__name__})")
    return BackendError(f"kafka/events: failed to {doing} ({type(error).__name__})")


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turn every error of the driver into one of ours.

    Args:
        doing: what is being done, for the message: "publish events".
    """
    try:
        yield
    except DRIVER_ERRORS as error:
        raise failure(error, doing) from None
