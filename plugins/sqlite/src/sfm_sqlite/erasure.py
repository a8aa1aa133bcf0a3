"""Erasing: a memory, and the words and terms that nobody else holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from unicodedata import normalize

import numpy as np
from numpy.typing import NDArray

from sfm_core.ports.writes import Applied, Erase
from sfm_sqlite.codec import encode_json
from sfm_sqlite.ledger import Ledger, stale
from sfm_sqlite.lexicon import Word
from sfm_sqlite.links import drop_links
from sfm_sqlite.memories import MEMORY, known

__all__ = ["clean_vocabulary", "erase"]

_OLDER = "SELECT p.body, p.terms, b.content FROM past p JOIN bodies b ON b.num = p.body WHERE p.num = ?"
_NEWEST = "SELECT r.body, r.terms, b.content FROM records r JOIN bodies b ON b.num = r.body WHERE r.num = ?"
_EMPTY = """UPDATE bodies SET kind = NULL, content = NULL, payload = NULL, coordinate = NULL, author = NULL, thread = NULL,
    position = NULL, importance = NULL, tags = NULL, source = NULL, pinned = NULL, occurred_at = NULL, valid_from = NULL,
    valid_to = NULL, expires_at = NULL, derived_from = NULL, created_at = NULL WHERE num = ?"""
_HELD = """SELECT body, terms FROM records WHERE {0} UNION ALL
    SELECT p.body, p.terms FROM past p JOIN records r ON r.num = p.num WHERE p.terms IS NOT NULL AND r.{0}"""
_STEMS = "SELECT t.num, t.stem FROM terms t JOIN json_each(?) j ON t.num = j.value"
_NO_TERM = "UPDATE terms SET key = NULL, stem = NULL WHERE num = ?"
_BATCH = 4096


def erase(ledger: Ledger, write: Erase) -> Applied:
    """Carry out `Erase`. Texts are emptied in place, see `sfm_sqlite.migrations`."""
    connection = ledger.connection
    head = known(ledger, write.id)
    if write.expected_version is not None and write.expected_version != head.version:
        stale(write.id, head.version, write.expected_version)
    memory = ledger.memory(connection.execute(MEMORY, (head.num,)).fetchone())
    versions = connection.execute(f"{_OLDER} UNION ALL {_NEWEST}", (head.num, head.num)).fetchall()
    texts, terms = ledger.erased.setdefault(head.ns, ([], set()))
    for body, packed, content in versions:
        texts.append(_folded(content or ""))
        terms.update(np.frombuffer(packed or b"", "<u4").tolist())
        connection.execute(_EMPTY, (body,))
    connection.execute("DELETE FROM past WHERE num = ?", (head.num,))
    connection.execute("DELETE FROM records WHERE num = ?", (head.num,))
    drop_links(ledger, head.num)
    connection.execute("INSERT INTO erased (id) VALUES (?)", (head.id,))
    version = head.version + 1
    sequence = ledger.log("memory.erased", head.id, head.num, version, head.ns, write.time)
    ledger.join(write.operation, head.id, version, sequence)
    return Applied(memory, "erased", sequence)


def clean_vocabulary(ledger: Ledger) -> None:
    """Remove the words and terms that only memories erased in this transaction held; its last step before the commit."""
    orphans: set[int] = set()
    for ns, (texts, terms) in ledger.erased.items():
        unused = _unused(ledger, f"ns = {ns}", terms)
        _clean_words(ledger, ns, "\n".join(texts), terms, unused)
        orphans |= unused
    if orphans:
        unused = _unused(ledger, "ns NOTNULL", orphans)
        ledger.connection.executemany(_NO_TERM, ((term,) for term in unused))
        ledger.lexicon.forget()


def _unused(ledger: Ledger, where: str, terms: set[int]) -> set[int]:
    """Return those of `terms` that no kept version of the records `where` holds, tombstones included."""
    left = set(terms)
    for _, flat in _held(ledger, where):
        if not left:
            break
        left.difference_update(np.unique(flat[_is_in(flat, left)]).tolist())
    return left


def _held(ledger: Ledger, where: str) -> Iterator[tuple[list[tuple[int, bytes]], NDArray[np.uint32]]]:
    rows = ledger.connection.execute(_HELD.format(where))
    while batch := rows.fetchmany(_BATCH):
        yield batch, np.frombuffer(b"".join(packed for _, packed in batch), "<u4")


def _is_in(flat: NDArray[np.uint32], terms: Iterable[int]) -> NDArray[np.bool_]:
    table = np.zeros(int(max(chain(terms, (0,)))) + 2, np.bool_)
    table[list(terms)] = True
    found: NDArray[np.bool_] = table[np.minimum(flat, len(table) - 1)]
    return found


def _clean_words(ledger: Ledger, ns: int, erased: str, terms: set[int], unused: set[int]) -> None:
    """Remove words of a namespace: all of unused stems, and of the others those that no kept text holds any more."""
    stems = dict(ledger.connection.execute(_STEMS, (encode_json(sorted(terms)),)))
    lists = ledger.lexicon.lists(ns)
    words = {word for _, some in lists for word in some}
    orphaned = {stems[term] for term in unused}
    gone = {word for word in words if word[1] in orphaned}
    forms: dict[str, list[Word]] = {stem: [] for term, stem in stems.items() if term not in unused}
    for word in words:
        if word[1] in forms:
            forms[word[1]].append(word)
    missing = {word for some in forms.values() if len(some) > 1 for word in some if _folded(word[0]) in erased}
    if missing:
        _find_in_texts(ledger, ns, terms - unused, missing)
    gone |= missing
    for num, some in lists:
        if not gone.isdisjoint(some):
            ledger.lexicon.rewrite(num, [word for word in some if word not in gone])
    if gone:
        ledger.words_removed(ns)


def _find_in_texts(ledger: Ledger, ns: int, terms: set[int], missing: set[Word]) -> None:
    """Take out of `missing` the words that a kept text of the namespace holds."""
    for batch, flat in _held(ledger, f"ns = {ns}"):
        ends = np.cumsum([len(packed) // 4 for _, packed in batch])
        for place in np.unique(np.searchsorted(ends, np.flatnonzero(_is_in(flat, terms)), side="right")).tolist():
            if not missing:
                return
            (content,) = ledger.connection.execute(
                "SELECT content FROM bodies WHERE num = ?", (batch[place][0],)
            ).fetchone()
            text = _folded(content or "")
            missing -= {word for word in missing if _folded(word[0]) in text}


def _folded(text: str) -> str:
    return normalize("NFKC", text).casefold()
