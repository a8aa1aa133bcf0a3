"""Forgetting policies: which memories of a scope go, by age, importance and number. Pinned memories are always spared."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from msgspec import Struct

from sfm_core.errors import InvalidInput, Problem, shown
from sfm_core.model.filter import FieldTest, Filter, all_of, matches
from sfm_core.model.namespace import Scope
from sfm_core.ports.storage import Order, Storage
from sfm_core.services.checks import check_count, check_number

__all__ = ["Policy", "read_policy", "selected"]

_PAGE = 1000


class Policy(Struct, frozen=True, kw_only=True):
    """Picks memories that meet every condition given.

    Attributes:
        older_than_days: occurred longer ago than this.
        max_importance: of at most this importance.
        keep_newest: spare this many of the scope's unpinned memories, those that occurred last, whatever else holds.
    """

    older_than_days: float | None = None
    max_importance: float | None = None
    keep_newest: int | None = None


def read_policy(value: object, *, given_filter: bool) -> Policy | None:
    """Return the policy in `value`, None when a filter is given instead.

    Raises:
        InvalidInput: both or neither, an unknown or a refused field, or a policy without any condition.
    """
    if (value is None) != given_filter:
        raise InvalidInput.of("policy", value, "exactly one of filter and policy")
    if value is None:
        return None
    known = Policy.__struct_fields__
    if not isinstance(value, Mapping) or not value:
        raise InvalidInput.of("policy", value, f"a JSON object with at least one of {', '.join(known)}")
    if unknown := [
        Problem(f"policy.{k}", "an unknown field", f"one of {', '.join(known)}") for k in value if k not in known
    ]:
        raise InvalidInput(unknown)
    days, importance, keep = (value.get(field) for field in known)
    if days is None and importance is None and keep is None:
        raise InvalidInput.of("policy", shown(None), f"at least one of {', '.join(known)}")
    return Policy(
        older_than_days=None if days is None else check_number(days, "policy.older_than_days", low=0, high=1e6),
        max_importance=None if importance is None else check_number(importance, "policy.max_importance", low=0, high=1),
        keep_newest=None if keep is None else check_count(keep, "policy.keep_newest", low=0),
    )


async def selected(
    storage: Storage, scope: Scope, filter: Filter | None, policy: Policy | None, now: datetime
) -> list[tuple[str, int]]:
    """Return (id, version) of the live memories of `scope` that pass `filter` and that `policy` picks, newest first."""
    picks = filter if policy is None else _picks(policy, now)
    spared = 0 if policy is None else policy.keep_newest or 0
    # Those that are spared count among all, so that the filter must not come before them.
    listed = picks if not spared else _UNPINNED
    found: list[tuple[str, int]] = []
    after: str | None = None
    while True:
        page = await storage.list(scope, filter=listed, order=Order.OCCURRED_AT_DESC, limit=_PAGE, after=after, now=now)
        kept, spared = page.memories[spared:], max(0, spared - len(page.memories))
        found += [(m.id, m.version) for m in kept if listed is picks or matches(picks, m)]
        after = page.next
        if after is None:
            return found


_UNPINNED = FieldTest("pinned", (), "eq", False)


def _picks(policy: Policy, now: datetime) -> Filter | None:
    tests: list[Filter] = [_UNPINNED]
    if policy.max_importance is not None:
        tests.append(FieldTest("importance", (), "lte", policy.max_importance))
    if policy.older_than_days is not None:
        tests.append(FieldTest("occurred_at", (), "lt", _before(now, policy.older_than_days)))
    return all_of(*tests)


def _before(now: datetime, days: float) -> datetime:
    try:
        return now - timedelta(days=days)
    except OverflowError:
        return datetime.min.replace(tzinfo=now.tzinfo)
