"""Namespaces never leak: every read over scopes, with names that are easily confused, by property."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sfm_core.model.filter import parse_filter
from sfm_core.model.namespace import Scope
from sfm_core.ports.storage import Order, Storage
from sfm_core.testing.build import NOW, applied, at, erase, memory, put, store, tie
from sfm_core.testing.opener import Opener
from sfm_core.testing.suite import Suite

__all__ = ["CONFUSABLE", "QUIET", "IsolationTests", "namespaces", "scopes"]

CONFUSABLE = (
    "a", "A", "ab", "a-b", "a_b", "a%", "a b", "a.b", "a!", "a0", "a\u00e9", "ae\u0301", "\u0430", "aa",
    "a/b", "a/B", "a/bc", "a/b/c", "a-b/c", "a/%", "a/_", "a'", 'a"', "a\\", "a:b", "a/a", "A/b", "%", "_", "a[b]", "a?b",
)  # fmt: skip
"""Namespaces that a careless prefix, pattern, case or normalisation takes for each other."""

QUIET = settings(
    max_examples=15,
    deadline=None,
    database=None,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.differing_executors,
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
    ],
)
"""Settings for properties over a backend: its fixture is opened anew inside each example."""

segments = st.text("ab/-_%A. é'", min_size=1, max_size=3).filter(lambda s: s == s.strip() and "/" not in s)
drawn = st.lists(segments.filter(lambda s: s not in (".", "..")), min_size=1, max_size=3).map("/".join)
namespaces = st.lists(st.sampled_from(CONFUSABLE) | drawn, min_size=3, max_size=10, unique=True)
scopes = st.builds(Scope, st.sampled_from(CONFUSABLE) | drawn, st.booleans())


class IsolationTests(Suite):
    """Isolation."""

    @QUIET
    @given(names=namespaces, extra=scopes)
    async def test_no_read_leaves_its_scope(self, opener: Opener, names: list[str], extra: Scope) -> None:
        """Lists, changes, links, counts and scans of a scope show exactly the namespaces that it covers."""
        backend: Storage = await self.emptied(opener)
        pairs = {
            name: await store(backend, *(put(f"{n}", namespace=name, tags=("t",)) for n in (1, 2))) for name in names
        }
        for name, (one, two) in pairs.items():
            await store(backend, tie(one, two, namespace=name))
        for scope in [extra, *(Scope(name, sub) for name in names for sub in (False, True))]:
            inside = sorted(name for name in names if scope.covers(name))
            for read, found in (await self.reads(backend, scope)).items():
                assert sorted(set(found)) == inside, (read, scope)

    @QUIET
    @given(names=namespaces)
    async def test_writes_stay_in_their_namespace(self, opener: Opener, names: list[str]) -> None:
        """Equal contents and coordinates in other namespaces are neither twins nor versions, and survive an erasure."""
        backend: Storage = await self.emptied(opener)
        results = [(await backend.apply([put("same", namespace=name, coordinate=(1.0,))])) for name in names]
        assert [applied(one[0]).outcome for one in results if isinstance(one, list)] == ["created"] * len(names)
        for name in names:
            holder = await backend.at_coordinate(name, (1.0,), now=NOW)
            assert holder is not None
            assert holder.namespace == name
            boxed = await backend.in_box(name, (0.0,), (2.0,), limit=99, now=NOW)
            assert [one.namespace for one in boxed] == [name]
        first = applied(results[0][0]).memory if isinstance(results[0], list) else memory()
        await store(backend, erase(first))
        left = [await backend.at_coordinate(name, (1.0,), now=at(2)) for name in names]
        assert [one.namespace for one in left if one] == names[1:]

    async def emptied(self, opener: Opener) -> Storage:
        """Return the storage without anything of a former example: what is there is erased."""
        backend: Storage = await opener.reopen()
        found = [one.memory async for batch in backend.scan(Scope("", subtree=True), now=NOW) for one in batch]
        await store(backend, *(erase(one) for one in found))
        self.start = await backend.last_sequence()
        return backend

    async def reads(self, backend: Storage, scope: Scope) -> dict[str, Sequence[str]]:
        """Return the namespaces that each read of `scope` shows."""
        tagged = parse_filter({"field": "tags", "op": "contains", "value": "t"})
        shown: dict[str, Sequence[str]] = {}
        for name, filter in (("list", None), ("filtered list", tagged)):
            for as_of in (None, at(1)):
                page = await backend.list(
                    scope, filter=filter, order=Order.CREATED_AT, limit=99, after=None, now=at(1), as_of=as_of
                )
                shown[f"{name} {as_of}"] = [one.namespace for one in page.memories]
        rows = await backend.changes(scope, after=self.start, limit=999)
        assert all(row.sequence > self.start for row in rows)
        shown["changes"] = [row.namespace for row in rows]
        shown["links"] = [link.namespace for link in (await backend.links_in(scope, after=None, limit=999))[0]]
        shown["namespaces"] = [stats.namespace for stats in await backend.namespaces(scope, now=NOW)]
        shown["scan"] = [one.memory.namespace async for batch in backend.scan(scope, now=NOW) for one in batch]
        return shown
