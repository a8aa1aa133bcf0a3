"""Logging: one JSON object a line on stderr. Content, credentials and the texts of unforeseen errors are never logged."""

from __future__ import annotations

import logging
import sys
from types import TracebackType
from typing import Any

import msgspec
import structlog

__all__ = ["configure", "described", "get_logger"]

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def _render(_logger: object, _method: str, event: Any) -> bytes:
    return msgspec.json.encode(event, enc_hook=repr)


class _JsonHandler(logging.Handler):
    """Renders records of the standard library's loggers in the same form."""

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        extra = {} if error is None else described(error)
        get_logger().log(record.levelno, record.getMessage(), logger=record.name, **extra)


def configure(level: str) -> None:
    """Send structlog and the standard library's logging to stderr as JSON lines, from `level` on."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.BytesLoggerFactory(sys.stderr.buffer),
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    root.handlers = [_JsonHandler()]
    root.setLevel(_LEVELS[level])
    # The gate logs each request, and the server tells when it is ready.
    logging.getLogger("uvicorn.access").propagate = False
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)


def get_logger() -> structlog.typing.FilteringBoundLogger:
    """Return the logger of the service."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    return logger


def described(error: BaseException) -> dict[str, Any]:
    """Return what may be logged of an unforeseen error: its class and where it came from, never its text."""
    frames = []
    trace: TracebackType | None = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        frames.append(f"{code.co_filename}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    cause = error.__cause__ or error.__context__
    return {
        "error": type(error).__name__,
        "frames": frames[-20:],
        **({} if cause is None else {"cause": type(cause).__name__}),
    }
