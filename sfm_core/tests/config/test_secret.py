"""A secret shows itself to `reveal` only."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import traceback

import msgspec
import pytest
from msgspec import Struct

from sfm_core.config.secret import Secret

TEXT = "hunter2-of-the-test"


class Config(Struct, frozen=True):
    password: Secret


def test_only_reveal_shows_the_text():
    """No other way of printing it does."""
    secret = Secret(TEXT)
    assert secret.reveal() == TEXT
    shapes = [
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret:>40}",
        f"{secret} {secret!r}",
        repr([secret]),
        ascii(secret),
    ]
    assert all(TEXT not in shape for shape in shapes)
    assert TEXT not in repr(Config(secret))


def test_it_stays_hidden_in_logs_and_tracebacks(caplog):
    """Neither a log record nor the locals of a traceback show it."""
    secret = Secret(TEXT)
    with caplog.at_level(logging.INFO):
        logging.getLogger("test").info("opened with %s and %r", secret, {"password": secret})
    assert TEXT not in caplog.text
    try:
        raise ValueError(secret)
    except ValueError as error:
        shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert "secret = " in shown
    assert TEXT not in shown


@pytest.mark.parametrize(
    "encode", [pickle.dumps, json.dumps, msgspec.json.encode, msgspec.msgpack.encode, msgspec.to_builtins]
)
def test_it_is_not_written_out(encode):
    """Serializers refuse it, alone and inside of a config."""
    for value in (Secret(TEXT), Config(Secret(TEXT))):
        with pytest.raises(TypeError) as caught:
            encode(value)
        assert TEXT not in str(caught.value)


def test_it_has_no_attribute_to_look_into():
    """There is no instance dictionary, and it cannot be changed."""
    secret = Secret(TEXT)
    assert not hasattr(secret, "__dict__")
    with pytest.raises(AttributeError):
        secret.text = "other"


def test_secrets_compare_among_themselves():
    """Equal ones are equal and hash alike; a plain text is never equal."""
    assert Secret("a") == Secret("a")
    assert hash(Secret("a")) == hash(Secret("a"))
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert bool(Secret("a"))
    assert not Secret("")


def test_copies_are_the_same_object():
    """Copying a config does not multiply the text."""
    secret = Secret(TEXT)
    assert copy.copy(secret) is secret
    assert copy.deepcopy({"key": secret})["key"] is secret
