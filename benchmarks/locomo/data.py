"""Reads LoCoMo: every dialog turn becomes one memory, every question knows the turns that hold its evidence."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from msgspec import Struct

__all__ = ["CATEGORIES", "Conversation", "Question", "Turn", "load"]

CATEGORIES = {1: "multi-hop", 2: "temporal", 3: "open-domain", 4: "single-hop", 5: "adversarial"}

_SESSION = re.compile(r"session_(\d+)")
_EVIDENCE = re.compile(r"D:?(\d+):0*(\d+)")


class Turn(Struct, frozen=True):
    """One thing that somebody said, in which session, as the how-manieth of the conversation, and when."""

    id: str
    speaker: str
    text: str
    session: int
    place: int
    when: datetime

    def memory(self, namespace: str) -> dict[str, Any]:
        """Return the turn as a memory; its id travels in the payload, which is not searched."""
        return {
            "namespace": namespace,
            "content": self.text,
            "author": self.speaker,
            "thread": f"session {self.session}",
            "position": self.place,
            "occurred_at": self.when.isoformat(),
            "payload": {"turn": self.id},
        }


class Question(Struct, frozen=True):
    """A question, its category and the ids of the turns that answer it."""

    text: str
    category: int
    evidence: frozenset[str]


class Conversation(Struct, frozen=True):
    """A conversation with its questions; those without a known turn as evidence are left out."""

    id: str
    turns: tuple[Turn, ...]
    questions: tuple[Question, ...]


def load(path: Path) -> list[Conversation]:
    """Read the file that LoCoMo's authors publish (locomo10.json), or a part of it."""
    return [_conversation(sample) for sample in json.loads(path.read_text(encoding="utf-8"))]


def _conversation(sample: dict[str, Any]) -> Conversation:
    turns = tuple(_turns(sample["conversation"]))
    known = {turn.id for turn in turns}
    asked = (
        Question(item["question"].strip(), item["category"], _evidence(item.get("evidence") or []) & known)
        for item in sample["qa"]
    )
    return Conversation(sample["sample_id"], turns, tuple(question for question in asked if question.evidence))


def _turns(conversation: dict[str, Any]) -> Iterator[Turn]:
    place = 0
    for session in sorted(int(found[1]) for key in conversation if (found := _SESSION.fullmatch(key))):
        stamp = conversation[f"session_{session}_date_time"].strip()
        when = datetime.strptime(stamp, "%I:%M %p on %d %B, %Y").replace(tzinfo=UTC)
        for item in conversation[f"session_{session}"]:
            text, caption = item["text"].strip(), (item.get("blip_caption") or "").strip()
            if caption:
                text = f"{text} [image: {caption}]".strip()
            yield Turn(item["dia_id"], item["speaker"], text, session, place, when)
            place += 1


def _evidence(labels: list[str]) -> frozenset[str]:
    """Read labels such as "D1:3"; a few hold several ids, a stray colon or a leading zero."""
    return frozenset(f"D{session}:{turn}" for label in labels for session, turn in _EVIDENCE.findall(label))
