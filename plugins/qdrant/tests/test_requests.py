"""What is sent: the same over gRPC as over HTTP, filters that the engine decides alone, and the weights of BM25."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from msgspec import structs
from qdrant_client import models
from qdrant_client.conversions.conversion import GrpcToRest, RestToGrpc

from sfm_core.model.filter import FieldTest, Not, fields_of, parse_filter
from sfm_core.model.namespace import Scope
from sfm_core.ports.abilities import TextQuery, WordGroup
from sfm_core.ports.vectors import Point, Space
from sfm_core.testing.build import memory
from sfm_core.testing.filter_cases import FILTER_CASES
from sfm_core.testing.vectors import point
from sfm_qdrant.conditions import ALL, NOTHING, Condition, Range, all_of, any_of, none_of
from sfm_qdrant.engine import DENSE, WORDS, Ask, Found, Row, Sparse
from sfm_qdrant.filters import compile_filter
from sfm_qdrant.payload import INDEXES, live, of_scope
from sfm_qdrant.requests import collection, filter_of, index_schema, query_of, upserts
from sfm_qdrant.tokens import Walker, equal, holds, path_of, present
from sfm_qdrant.vectors import QdrantVectors
from sfm_qdrant.words import number_of, read_query, weigh

ORDERED = ("lt", "lte", "gt", "gte", "prefix")
CASES = [case for case in FILTER_CASES if "content" not in fields_of(case.filter)]


def over_grpc(model: Any, kind: str) -> Any:
    """Return what a model is after it went over gRPC and came back."""
    return getattr(GrpcToRest, f"convert_{kind}")(getattr(RestToGrpc, f"convert_{kind}")(model))


def plain(model: Any) -> Any:
    """Return a model as JSON without what is not set: over gRPC a list that was not set comes back empty."""
    return _set(model.model_dump(mode="json", exclude_none=True))


def _set(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _set(item) for key, item in value.items() if item != []}
    return [_set(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_filter_survives_grpc(case: Any) -> None:
    """Conditions come back equal."""
    condition = compile_filter(case.filter).upper
    if condition != NOTHING:
        sent = filter_of(all_of([of_scope(Scope("a")), condition]))
        assert plain(over_grpc(sent, "filter")) == plain(sent)


def test_most_filters_are_decided_by_the_engine_alone() -> None:
    """Left over are the order and the beginnings of texts, fractions near a bound, and whole numbers beyond 2**53."""
    left = [case.filter for case in CASES if not compile_filter(case.filter).exact]
    assert 0 < len(left) < len(CASES) / 5
    for filter in left:
        test = filter.filter if isinstance(filter, Not) else filter
        assert isinstance(test, FieldTest)
        assert test.op in ORDERED or test.field == "importance"
        assert test.field in ("importance", "payload") or isinstance(test.value, str) or abs(test.value) >= 2**53


@pytest.mark.parametrize(
    ("op", "value", "bound"),
    [
        *(("lt", 2.5, {"lt": 3}), ("lte", 2.5, {"lte": 2}), ("gt", 2.5, {"gt": 2}), ("gte", 2.5, {"gte": 3})),
        *(("lt", -2.5, {"lt": -2}), ("gte", 2.0, {"gte": 2}), ("eq", 2.0, {"gte": 2, "lte": 2})),
    ],
)
def test_a_bound_on_whole_numbers_is_whole(op: str, value: float, bound: dict[str, int]) -> None:
    """A server before 1.19 cuts the fraction off, and finds 2 at or above 2.5."""
    compiled = compile_filter(parse_filter({"field": "position", "op": op, "value": value}))
    assert compiled.exact
    assert compiled.upper == Range("position", **bound)
    assert compile_filter(parse_filter({"field": "position", "op": "eq", "value": 2.5})).upper == NOTHING


def test_what_is_undecided_is_bounded_from_both_sides() -> None:
    """A negation turns the bounds round; neither loses what passes."""
    undecided = {"field": "author", "op": "prefix", "value": "A"}
    straight, turned = compile_filter(parse_filter(undecided)), compile_filter(parse_filter({"not": undecided}))
    assert (straight.lower, turned.upper) == (NOTHING, ALL)
    assert turned.lower == none_of(straight.upper)


def test_conditions_are_simplified() -> None:
    """Nothing and everything do not reach the engine inside others."""
    one: Condition = of_scope(Scope("a"))
    assert all_of([one, ALL]) == any_of([one, NOTHING]) == one
    assert (all_of([one, NOTHING]), any_of([one, ALL])) == (NOTHING, ALL)
    assert none_of(none_of(one)) == one


@pytest.mark.parametrize("deletions", [False, True])
def test_conditional_writes_survive_grpc(deletions: bool) -> None:
    """Each version of a batch is an operation of its own, which leaves that version and newer ones alone."""
    one, two = memory("one"), memory("two", version=3)
    rows = [
        Row(one.id, 1, live(point(one, [1.0])), [1.0, 0.0], Sparse([1, 7], [0.5, 0.25])),
        Row(two.id, 3, {"state": "gone", "version": 3}),
    ]
    operations = upserts(rows, deletions=deletions, guarded=True)
    bounds = [operation.upsert.update_filter.must[0].range for operation in operations]
    assert [bound.lte if deletions else bound.lt for bound in bounds] == [1, 3]
    for operation in operations:
        back = over_grpc(operation, "points_update_operation")
        assert plain(back.upsert)["update_filter"] == plain(operation.upsert)["update_filter"]
        assert plain(back.upsert.points[0])["payload"] == plain(operation.upsert.points[0])["payload"]
        assert plain(back.upsert.points[0])["vector"] == plain(operation.upsert.points[0])["vector"]


@pytest.mark.parametrize("ask", [(DENSE, [1.0, 0.5]), (WORDS, Sparse([3, 4], [1.0, 0.5]))], ids=["dense", "words"])
def test_searches_survive_grpc(ask: tuple[str, Any]) -> None:
    """Vector, filter, limit and what is to come back."""
    using, vector = ask
    request = query_of(
        Ask(using=using, vector=vector, where=of_scope(Scope("a")), limit=3, fields=("version",), with_words=True), None
    )
    sent = RestToGrpc.convert_query_request(request, "x")
    assert (sent.using, sent.limit) == (using, 3)
    assert list(sent.with_payload.include.fields) == ["version"]
    assert list(sent.with_vectors.include.names) == [WORDS]
    assert plain(GrpcToRest.convert_filter(sent.filter)) == plain(request.filter)


def test_all_namespaces_are_searched_without_the_graph() -> None:
    """Which hangs together inside a namespace or a subtree only; words have none."""
    ask = Ask(using=DENSE, vector=[1.0], where=ALL, limit=1, exact=True)
    quick = models.SearchParams(hnsw_ef=64)
    assert query_of(ask, quick).params == models.SearchParams(exact=True)
    assert query_of(structs.replace(ask, exact=False), quick).params == quick
    assert query_of(structs.replace(ask, using=WORDS, vector=Sparse([1], [1.0])), quick).params is None


def test_a_collection_has_a_graph_for_each_tenant_only() -> None:
    """And sparse vectors whose rarity the server knows; the namespace is the tenant."""
    made = collection(Space(8, "x"))
    assert (made["hnsw_config"].m, made["hnsw_config"].payload_m) == (0, 16)
    assert made["sparse_vectors_config"][WORDS].modifier == "idf"
    assert collection(None)["vectors_config"] == {}
    assert index_schema(INDEXES["namespace"], (1, 18)).is_tenant
    graphs = [key for key, kind in INDEXES.items() if index_schema(kind, (1, 18)).enable_hnsw]
    assert graphs == ["namespace", "within"]
    assert all(index_schema(kind, (1, 16)).enable_hnsw is None for kind in INDEXES.values())
    for kind in INDEXES.values():
        RestToGrpc.convert_payload_schema_params(index_schema(kind, (1, 18)))


def test_every_filterable_field_has_an_index() -> None:
    """An own one, or that of the facts about what has no own one."""
    full = memory("x", payload={"n": 1}, position=1, author="a", thread="t", source="s", tags=("t",))
    stored = live(Point(full.id, 1, full.namespace, None, full))
    roots = {key.partition("[")[0] for key in INDEXES}
    assert set(stored) - {"memory"} <= roots


def test_equal_values_are_equal_facts() -> None:
    """1 and 1.0, objects in any order, lists and tuples; true is not 1, and nothing is null."""
    path = path_of(("payload", "a"))
    assert equal(path, {"x": 1, "y": [1.0]}) == equal(path, {"y": (1,), "x": 1.0})
    distinct = [1, True, "1", None, [1], {"a": 1}, 0.1, 2**70, 2**70 + 1, "", [], {}, False, 0, -1, 1.5, "true"]
    assert len({equal(path, value) for value in distinct}) == len(distinct)
    assert equal(path_of(("a", "b")), 1) != equal(path_of(("a.b",)), 1)


def test_a_walk_finds_every_fact_once() -> None:
    """Along objects, not into lists, whose items are only held."""
    walker = Walker()
    walker.walk(path_of(("payload",)), {"a": {"b": [1, 1, {"c": 2}]}, "n": 0.5})
    inner = path_of(("payload", "a", "b"))
    assert {present(inner), holds(inner, 1), holds(inner, {"c": 2}), equal(inner, [1, 1, {"c": 2}])} <= set(
        walker.facts
    )
    assert present(path_of(("payload", "a", "b", "c"))) not in walker.facts
    assert [number for _, number in walker.numbers] == [0.5]


def test_weights_are_bm25_without_rarity() -> None:
    """The formula of the port, for a memory of average length."""
    found = weigh(["tea", "tea", "cup"], 3.0)
    assert found is not None
    weights = dict(zip(found.indices, found.values, strict=True))
    assert weights[number_of("tea")] == pytest.approx(2 * 1.9 / 2.9)
    assert weights[number_of("cup")] == pytest.approx(1.0)
    assert found.indices == sorted(found.indices)
    assert weigh([], 3.0) is None
    longer = weigh(["cup"] + ["x"] * 9, 3.0)
    assert longer is not None
    assert 0 < dict(zip(longer.indices, longer.values, strict=True))[number_of("cup")] < 1.0


def test_a_group_counts_once_by_its_best_alternative() -> None:
    """What the engine added up is taken off again."""
    tea, chai, cup = map(number_of, ("tea", "chai", "cup"))
    question = read_query(TextQuery((WordGroup((("tea", 1.0), ("chai", 0.5))), WordGroup((("cup", 1.0),)))))
    assert question is not None
    assert set(question.alternatives) == {tea, chai}
    rarity = {tea: 2.0, chai: 3.0}
    held = Sparse(sorted((tea, chai, cup)), [1.0, 1.0, 1.0])
    found = Found("id", 1.0 * 2.0 + 0.5 * 3.0 + 1.0 * 4.0, {}, held)
    assert question.score(found, rarity) == pytest.approx(2.0 + 4.0)
    assert read_query(TextQuery(())) is None


class Answers:
    """An engine that has one answer to every search."""

    def __init__(self, *found: Found) -> None:
        self._found = list(found)

    async def search(self, asks: Sequence[Ask]) -> list[list[Found]]:
        return [self._found for _ in asks]


async def test_what_holds_a_word_is_found_however_common_that_is() -> None:
    """Its rarity may round to nothing, and fall below where a server counts what is deleted; what holds no word scores 0."""
    ids = ["a", "b", "c", "d"]
    scores = (0.4, 1e-7, -0.3, 0.0)
    engine: Any = Answers(*(Found(id, score, {"version": 1}) for id, score in zip(ids, scores, strict=True)))
    index = QdrantVectors(engine, space=None, average_terms=20.0)
    hits = await index.search_text(Scope("a"), TextQuery((WordGroup((("tea", 1.0),)),)), limit=9)
    assert [hit.id for hit in hits] == ids[:3]
    assert all(hit.score > 0 for hit in hits)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
