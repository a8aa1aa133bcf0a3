"""The word search of a small scope in one statement.

Every memory that holds any term is looked at, with how often it holds each; how many hold a term follows from that, and the
score from both. Nothing is kept or left out, so the answer is exact. In a large scope that would be far too many memories for
a question with a common word: see `sfm_postgres.search`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sfm_core.model.filter import Filter
from sfm_core.model.namespace import Scope
from sfm_postgres.adapt import numbers
from sfm_postgres.database import Database
from sfm_postgres.filters import compile_filter
from sfm_postgres.keys import scope_key
from sfm_postgres.lists import COLUMNS
from sfm_postgres.rows import live, within

__all__ = ["K1", "TF", "B", "gather", "is_all", "places"]

K1 = 0.9
B = 0.25

TF = "(width_bucket(%s::bigint, m.terms) - width_bucket(%s::bigint, m.terms))"
"""How often row `m` holds a key: places between those where the key before, and the key, would be put into the sorted terms."""

# tf * (k1 + 1) / (tf + norm) is written as (k1 + 1) * (1 - norm / (tf + norm)).
_GATHER = f"""WITH held AS MATERIALIZED (SELECT m.id, m.length, <tfs>, (<condition>) AS passes FROM {{s}}.memories m
        WHERE <found> AND m.terms && %s::bigint[] AND {live("m")}),
    size AS MATERIALIZED (SELECT count(*)::float8 AS count, coalesce(sum(m.length), 0)::float8 AS length FROM {{s}}.memories m
        WHERE <within> AND {live("m")}),
    idf AS MATERIALIZED (SELECT s.count, CASE WHEN s.length > 0 THEN s.length / s.count ELSE 1 END AS mean, <idfs>
        FROM size s CROSS JOIN (SELECT <dfs> FROM held) d)
    SELECT id, <score> AS score, count::bigint
    FROM (SELECT *, {K1 * (1 - B)!r}::float8 + {K1 * B!r}::float8 * length / mean AS norm FROM held, idf WHERE passes) h
    ORDER BY score DESC, id LIMIT %s"""  # noqa: S608 - constants only


async def gather(
    database: Database,
    scope: Scope,
    groups: Sequence[Mapping[int, float]],
    *,
    filter: Filter | None,
    limit: int,
    now: datetime,
) -> tuple[dict[str, float], int | None]:
    """Score all memories that hold any term.

    Args:
        database: where.
        scope: what is searched.
        groups: for each word of the question its terms' keys with their weights, above 0.
        filter: what must pass.
        limit: how many are returned at most.
        now: what is live.

    Returns:
        The best with their scores, and how many live memories the scope has; None when nothing was found.
    """
    # The same text for every question of the same shape, so that it stays prepared.
    groups = sorted(groups, key=len)
    keys = list(dict.fromkeys(key for group in groups for key in group))
    column = {key: str(number) for number, key in enumerate(keys)}
    condition, tested = compile_filter(filter, COLUMNS)
    inside, values = within(scope)
    score, weights = _score(groups, column)
    parts = {
        "<tfs>": ", ".join(f"{TF} AS tf{n}" for n in column.values()),
        "<condition>": condition,
        "<found>": "TRUE" if is_all(scope) else "m.terms @> ARRAY[%s::bigint]",
        "<within>": inside,
        "<idfs>": ", ".join(
            f"ln(1 + greatest(0, (s.count - d{n} + 0.5) / (d{n} + 0.5))) AS idf{n}" for n in column.values()
        ),
        "<dfs>": ", ".join(f"count(*) FILTER (WHERE tf{n} > 0) AS d{n}" for n in column.values()),
        "<score>": score,
    }
    sql = _GATHER
    for name, text in parts.items():
        sql = sql.replace(name, text)
    rows = await database.rows(
        sql,
        [
            *places(keys),
            *tested,
            *([] if is_all(scope) else [scope_key(scope)]),
            numbers(keys),
            now,
            *values,
            now,
            *weights,
            limit,
        ],
    )
    return {id: score for id, score, _ in rows}, rows[0][2] if rows else None


def is_all(scope: Scope) -> bool:
    """Tell whether `scope` is the whole store."""
    return scope.subtree and not scope.namespace


def places(keys: Sequence[int]) -> list[int]:
    """Return the values that the counts of `keys` take, in order."""
    return [value for key in keys for value in (key, key - 1)]


def _score(groups: Sequence[Mapping[int, float]], column: Mapping[int, str]) -> tuple[str, list[float]]:
    """Return the score as SQL, with its values: the sum over the groups of the best of each."""
    sums = []
    for group in groups:
        best = [f"%s::float8 * idf{column[key]} * (1 - norm / (norm + tf{column[key]}))" for key in group]
        sums.append(f"greatest({', '.join(best)})" if len(best) > 1 else best[0])
    return " + ".join(sums), [weight * (K1 + 1) for group in groups for weight in group.values()]
