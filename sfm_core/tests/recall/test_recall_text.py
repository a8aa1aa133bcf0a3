"""Questions in text: arms, filters, filling, links, partial answers, the past."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sfm_core.errors import BackendUnavailable, CapabilityNotSupported, Forbidden, InvalidInput, LimitExceeded
from sfm_core.model.filter import parse_filter
from sfm_core.model.namespace import Scope
from sfm_core.model.query import RecallQuery
from sfm_core.ports.storage import StorageCapability
from sfm_core.services.principal import EVERYTHING, Principal, Verb

Contents = Callable[[Any], list[str | None]]


async def test_the_matching_memory_comes_first_and_the_newest_fill_up(world: Any, contents: Contents) -> None:
    """k memories come as long as the scope has them; those that nothing speaks for have score 0, newest first."""
    for text in ("red apples", "green pears", "blue plums", "yellow lemons"):
        await world.put(text)
    answer = await world.ask("pear", k=3)
    assert contents(answer) == ["green pears", "yellow lemons", "blue plums"]
    assert [hit.score for hit in answer.hits] == [1.0, 0.0, 0.0]
    assert answer.partial == ()
    assert len((await world.ask("pear", k=10)).hits) == 4


async def test_a_question_of_stop_words_is_answered(world: Any, contents: Contents) -> None:
    """Nothing is left to search for: the newest come."""
    await world.put("one")
    await world.put("two")
    assert contents(await world.ask("what is it?", k=1)) == ["two"]
    assert contents(await world.ask("?!", k=2)) == ["two", "one"]


async def test_memories_of_the_named_author_fill_first(world: Any, contents: Contents) -> None:
    """A question of a name alone gets what its bearer said last."""
    await world.put("first", author="Ada")
    await world.put("second", author="Ada")
    for i in range(3):
        await world.put(f"other {i}", author="Bob")
    assert contents(await world.ask("What about Ada?", k=4)) == ["second", "first", "other 2", "other 1"]


async def test_the_named_author_is_preferred_among_equal_texts(world: Any, contents: Contents) -> None:
    """Both say the same; the question names one."""
    await world.put("my cat is grey", author="Bob")
    await world.put("my cat is grey", author="Ada", position=1)
    answer = await world.ask("What colour is Ada's cat?", k=2)
    assert answer.hits[0].memory.author == "Ada"


async def test_neighbours_of_a_hit_are_candidates(world: Any) -> None:
    """The answer to a question stands in the next turn, which shares no word with it."""
    await world.put("Which pet did you choose?", thread="t", position=1)
    await world.put("A hamster", thread="t", position=2)
    for i in range(20):
        await world.put(f"something else {i}")
    answer = await world.ask("What pet was chosen?", k=3, explain=True)
    hit = next(hit for hit in answer.hits if hit.memory.content == "A hamster")
    assert hit.explain.arms == ("thread",)
    assert [part.name for part in hit.explain.parts] == ["turn_before_1", "thread", "length"]


async def test_an_explanation_tells_parts_arms_and_words(world: Any) -> None:
    """Parts sum up to the total; each arm has its time; unexplained answers carry nothing of it."""
    await world.put("Ada moved to Turin last May", author="Ada")
    answer = await world.ask("When did Ada move?", explain=True)
    explain = answer.hits[0].explain
    assert explain.arms == ("lexical",)
    assert explain.matched == ("moved",)
    assert {part.name: part.weight for part in explain.parts} == {
        "words": 1.0,
        "author": 0.6,
        "time": 0.4,
        "length": 0.1,
    }
    assert sum(part.added for part in explain.parts) == pytest.approx(explain.total)
    assert answer.arms_ms.keys() == {"lexical"}
    assert answer.took_ms > 0
    plain = await world.ask("When did Ada move?")
    assert not plain.arms_ms
    assert not plain.hits[0].explain


async def test_dates_in_the_question_bring_their_own_candidates(world: Any, contents: Contents) -> None:
    """The time arm finds what shares no word with the question."""
    await world.put("went skiing", occurred_at=datetime(2023, 2, 10, tzinfo=UTC))
    for i in range(5):
        await world.put(f"what happened {i}", occurred_at=datetime(2023, 9, 1 + i, tzinfo=UTC))
    answer = await world.ask("What happened in February 2023?", k=2, explain=True)
    assert contents(answer)[0] == "went skiing"
    assert answer.hits[0].explain.arms == ("time",)
    assert answer.arms_ms.keys() == {"lexical", "time"}


async def test_filters_and_kinds_apply_before_the_best_are_taken(world: Any, contents: Contents) -> None:
    """Two hundred better matches that do not pass push nothing out; fillers and neighbours pass as well."""
    for i in range(200):
        await world.put("cat cat cat", kind="semantic", thread="t", position=i)
    await world.put("a cat in a long sentence about many other things", tags=("keep",), thread="t", position=500)
    await world.put("unrelated", tags=("keep",))
    keep = parse_filter({"field": "tags", "op": "contains", "value": "keep"})
    answer = await world.ask("cat", filter=keep)
    assert contents(answer) == ["a cat in a long sentence about many other things", "unrelated"]
    answer = await world.ask("cat", kinds=("episodic",))
    assert len(answer.hits) == 2
    assert (await world.ask("cat", kinds=("procedural",))).hits == ()


async def test_scopes_are_whole_segments(world: Any, contents: Contents) -> None:
    """A namespace never sees its look-alikes; a subtree sees itself and all below."""
    for namespace in ("a", "a/b", "ab", "A", "a-b"):
        await world.put(f"cat of {namespace}", namespace=namespace)
    assert contents(await world.ask("cat")) == ["cat of a"]
    assert set(contents(await world.ask("cat", namespace="a/**"))) == {"cat of a", "cat of a/b"}
    assert len((await world.ask("cat", namespace="**")).hits) == 5
    assert contents(await world.ask("cat", namespace=None)) == []


async def test_a_principal_reads_its_scopes_only(world: Any) -> None:
    """Another namespace, a subtree above, or a missing verb is forbidden."""
    reader = Principal("r", (Scope("a", subtree=True),), frozenset({Verb.READ}))
    assert (await world.ask("x", principal=reader)).hits == ()
    for namespace in ("b", "**", "ab/**"):
        with pytest.raises(Forbidden):
            await world.ask("x", principal=reader, namespace=namespace)
    with pytest.raises(Forbidden):
        await world.ask("x", principal=Principal("w", (Scope("a"),), frozenset({Verb.WRITE})))


async def test_deleted_and_expired_memories_are_gone_at_once(world: Any, contents: Contents) -> None:
    """From every arm, vectors included, though the index still holds them."""
    using = world.recall(meaning=True)
    gone = await world.put("cat one")
    await world.put("cat two", expires_at=world.now + timedelta(seconds=1))
    await world.put("cat three")
    await world.remove(gone)
    assert set(contents(await world.ask("cat", using=using))) == {"cat two", "cat three"}
    world.now += timedelta(seconds=2)
    assert contents(await world.ask("cat", using=using)) == ["cat three"]


async def test_meaning_finds_what_words_do_not(world: Any, contents: Contents) -> None:
    """The vector arm is asked with the name cut out of the question."""
    for i in range(10):
        await world.put(f"zz {i}")
    await world.put("hotel hills", author="Ada")
    answer = await world.ask("house Ada?", using=world.recall(meaning=True), k=2, explain=True)
    assert contents(answer)[0] == "hotel hills"
    assert answer.hits[0].explain.arms == ("vectors",)
    assert world.embedder.asked == ["house ?"]


async def test_a_vector_of_an_old_version_counts_nothing(world: Any) -> None:
    """The memory changed and its new vector is not there yet."""
    old = await world.put("house hill")
    await world.replace(old, content="other text")
    await world.put("zebra")
    answer = await world.ask("house", using=world.recall(meaning=True), explain=True)
    changed = next(hit for hit in answer.hits if hit.memory.id == old.id)
    assert "cosine" not in [part.name for part in changed.explain.parts]


async def test_a_stale_vector_index_never_leaks_another_scope(world: Any, contents: Contents) -> None:
    """A point that claims the wrong namespace is dropped when the record is read."""
    foreign = await world.put("house", namespace="b", embed=False)
    lying = type(foreign)(**{f: getattr(foreign, f) for f in foreign.__struct_fields__} | {"namespace": "a"})
    await world.index(lying, world.embedder.vector("house"))
    assert contents(await world.ask("house", using=world.recall(meaning=True))) == []


async def test_a_failing_embedder_is_named_and_the_rest_answers(world: Any, contents: Contents) -> None:
    """So is a failing index; the words still find."""
    await world.put("cat")
    world.embedder.error = BackendUnavailable("test/embedding: down")
    answer = await world.ask("cat", using=world.recall(meaning=True))
    assert (contents(answer), answer.partial) == (["cat"], ("vectors",))


async def test_another_error_of_an_arm_is_raised(world: Any) -> None:
    """Only an unavailable backend may be left out: a defect is not hidden."""
    await world.put("cat")
    world.embedder.error = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        await world.ask("cat", using=world.recall(meaning=True))


async def test_an_arm_that_misses_the_deadline_is_named(world: Any, contents: Contents) -> None:
    """And cancelled: the answer does not wait for it."""
    await world.put("cat")
    world.embedder.stalls = True
    before = len(asyncio.all_tasks())
    answer = await world.ask("cat", using=world.recall(meaning=True), deadline_ms=100.0)
    assert (contents(answer), answer.partial) == (["cat"], ("vectors",))
    assert len(asyncio.all_tasks()) == before


async def test_a_cancelled_recall_leaves_no_task_behind(world: Any) -> None:
    """Its arms end with it."""
    await world.put("cat")
    world.embedder.stalls = True
    before = len(asyncio.all_tasks())
    task = asyncio.create_task(world.ask("cat", using=world.recall(meaning=True)))
    await world.embedder.stalled.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(asyncio.all_tasks()) == before


async def test_a_storage_that_is_down_is_an_error(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without records there is no answer."""

    async def down(*args: object, **options: object) -> object:
        raise BackendUnavailable("test/storage: down")

    await world.put("cat")
    monkeypatch.setattr(world.storage, "search_text", down)
    for using in (world.recall(), world.recall(meaning=True)):
        with pytest.raises(BackendUnavailable):
            await world.ask("cat", using=using)


async def test_slow_words_are_named_and_the_newest_answer(
    world: Any, contents: Contents, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deadline holds for the lexical arm and the look-up of authors, too."""

    async def slow(*args: object, **options: object) -> object:
        await asyncio.sleep(60)
        raise AssertionError

    await world.put("cat")
    monkeypatch.setattr(world.storage, "search_text", slow)
    answer = await world.ask("cat", deadline_ms=50.0)
    assert (contents(answer), answer.partial) == (["cat"], ("lexical",))
    monkeypatch.setattr(world.storage, "authors", slow)
    assert (await world.ask("cat", deadline_ms=50.0)).partial == ("lexical",)


async def test_links_bring_memories_when_asked(world: Any, contents: Contents) -> None:
    """Each hop hands on half of the score; links never act otherwise; filters hold at the other end."""
    hit, one, two = [await world.put(text, tags=(text[:3],)) for text in ("cat", "dog", "emu")]
    for i in range(30):
        await world.put(f"filler {i}")
    await world.link(one, hit)
    await world.link(one, two, weight=2.0)
    assert "dog" not in contents(await world.ask("cat", k=3))
    answer = await world.ask("cat", k=3, expand_links=1, explain=True)
    assert contents(answer)[:2] == ["cat", "dog"]
    assert answer.hits[1].explain.arms == ("links",)
    parts = {part.name: part.added for part in answer.hits[1].explain.parts}
    assert parts["links"] == pytest.approx(0.5)
    answer = await world.ask("cat", k=3, expand_links=2, explain=True)
    assert contents(answer) == ["cat", "dog", "emu"]
    assert {part.name: part.added for part in answer.hits[2].explain.parts}["links"] == pytest.approx(0.125)
    keep = parse_filter({"field": "tags", "op": "in", "value": [["cat"], ["emu"]]})
    assert contents(await world.ask("cat", expand_links=1, filter=keep, k=3)) == ["cat", "emu"]


async def test_min_score_cuts_the_answer(world: Any, contents: Contents) -> None:
    """Fillers have score 0 and go first."""
    await world.put("cat")
    await world.put("dog")
    assert contents(await world.ask("cat", min_score=0.0)) == ["cat", "dog"]
    assert contents(await world.ask("cat", min_score=0.5)) == ["cat"]


async def test_a_preference_decides_between_equal_memories(world: Any) -> None:
    """Without one the tie goes to the memory that was stored last."""
    old = await world.put("cat", occurred_at=world.now - timedelta(days=300), importance=0.9, position=1)
    new = await world.put("cat", importance=0.1, position=2)
    first = {
        prefer: (await world.ask("cat", prefer=prefer)).hits[0].memory.id for prefer in (None, "recent", "important")
    }
    assert first == {None: new.id, "recent": new.id, "important": old.id}


async def test_min_sequence_waits_and_tells_the_lag(world: Any) -> None:
    """It waits for the log, then for the projections, no longer than the limit."""
    waited: list[int] = []

    async def reached(sequence: int, timeout: float) -> bool:
        waited.append(sequence)
        return False

    await world.put("cat")
    using = world.recall(reached=reached, limits={"wait_seconds": 0.05})
    assert (await world.ask("cat", using=using)).partial == ()
    assert (await world.ask("cat", using=using, min_sequence=1)).partial == ("index_lag",)
    assert waited == [1]
    assert (await world.ask("cat", using=using, min_sequence=99)).partial == ("index_lag",)
    assert waited == [1]
    assert (await world.ask("cat", min_sequence=1)).partial == ()


async def test_the_past_is_ranked_as_it_was(world: Any, contents: Contents) -> None:
    """Versions, deletions, authors and threads of that moment; k memories, newest last."""
    cat = await world.put("the cat sleeps", author="Ada", thread="t", position=1)
    await world.put("on the roof", author="Bob", thread="t", position=2)
    gone = await world.put("dog")
    then = world.now + timedelta(seconds=1)
    world.now += timedelta(seconds=2)
    await world.replace(cat, content="the fish swims")
    await world.remove(gone)
    world.now += timedelta(seconds=1)
    answer = await world.ask("Where is Ada's cat?", as_of=then, explain=True)
    assert contents(answer) == ["the cat sleeps", "on the roof", "dog"]
    assert answer.hits[0].explain.arms == ("lexical",)
    assert answer.hits[1].explain.arms == ("thread",)
    assert answer.hits[2].explain.arms == ("newest",)
    assert contents(await world.ask("cat", k=1)) != ["the cat sleeps"]
    assert (await world.ask("cat", as_of=datetime(2000, 1, 1, tzinfo=UTC))).hits == ()
    keep = parse_filter({"field": "author", "op": "eq", "value": "Bob"})
    assert contents(await world.ask("cat", as_of=then, filter=keep)) == ["on the roof"]


async def test_the_past_scores_words_like_the_storage(world: Any) -> None:
    """The same formula gives the same order and scores as the index does for the present."""
    texts = ("cat dog", "cat cat bird", "dog bird fish emu", "cat", "emu emu emu cat dog")
    for text in texts:
        await world.put(text)
    now = await world.ask("cat or emu?", explain=True)
    past = await world.ask("cat or emu?", explain=True, as_of=world.now)
    assert [hit.memory.id for hit in now.hits] == [hit.memory.id for hit in past.hits]
    assert [hit.explain.total for hit in now.hits] == pytest.approx([hit.explain.total for hit in past.hits])


async def test_the_past_under_a_deadline_says_what_is_missing(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read in time is ranked."""
    await world.put("cat")
    listed = world.storage.list

    async def slow(*args: Any, **options: Any) -> Any:
        await asyncio.sleep(60 if options["limit"] > 100 else 0)
        return await listed(*args, **options)

    monkeypatch.setattr(world.storage, "list", slow)
    answer = await world.ask("cat", as_of=world.now, deadline_ms=50.0)
    assert answer.partial == ("lexical",)


async def test_many_questions_are_answered_in_order(world: Any) -> None:
    """A refused one leaves its error in its place; too many are refused together."""
    for i in range(20):
        await world.put(f"cat {i}")
    using = world.recall(limits={"recall_batch": 20})
    queries = [RecallQuery(query=f"cat {i}", namespace="a", k=1) for i in range(20)]
    queries[3] = RecallQuery(query=" ")
    answers = await using.recall_many(EVERYTHING, queries)
    assert isinstance(answers[3], InvalidInput)
    found = [answer.hits[0].memory.content for i, answer in enumerate(answers) if i != 3]  # type: ignore[union-attr]
    assert found == [f"cat {i}" for i in range(20) if i != 3]
    with pytest.raises(LimitExceeded):
        await using.recall_many(EVERYTHING, [*queries, queries[0]])


async def test_text_needs_a_storage_that_ranks_by_words(world: Any) -> None:
    """The refusal names the capability."""
    with pytest.raises(CapabilityNotSupported, match="full_text"):
        await world.ask("cat", using=world.recall(storage_able=(StorageCapability.MATCHING,)))


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"query": None}, "query"),
        ({"query": ""}, "query"),
        ({"query": " \n"}, "query"),
        ({"query": "a\ud800"}, "query"),
        ({"query": "cat", "vector": (1.0,)}, "query"),
        ({"k": 0}, "k"),
        ({"k": -1}, "k"),
        ({"k": 10**9}, "k"),
        ({"k": True}, "k"),
        ({"k": 1.0}, "k"),
        ({"namespace": "a//b"}, "namespace"),
        ({"namespace": "a/*"}, "namespace"),
        ({"namespace": ""}, "namespace"),
        ({"filter": {"field": "x", "op": "eq", "value": 1}}, "filter.field"),
        ({"kinds": ("episodic", "other")}, "kinds.1"),
        ({"deadline_ms": 0.0}, "deadline_ms"),
        ({"deadline_ms": float("nan")}, "deadline_ms"),
        ({"min_score": 1.5}, "min_score"),
        ({"min_score": float("nan")}, "min_score"),
        ({"min_sequence": -1}, "min_sequence"),
        ({"expand_links": 4}, "expand_links"),
        ({"expand_links": 1, "as_of": datetime(2024, 1, 1, tzinfo=UTC)}, "expand_links"),
        ({"prefer": "cheap"}, "prefer"),
    ],
)
async def test_a_wrong_query_is_refused_by_field(world: Any, options: dict[str, Any], field: str) -> None:
    """Each argument is checked before anything is asked."""
    with pytest.raises(InvalidInput) as caught:
        await world.ask(**{"query": "cat", **options})
    assert caught.value.problems[0].field == field


async def test_a_long_query_is_too_large(world: Any) -> None:
    """In bytes of UTF-8; one of the limit itself is answered."""
    using = world.recall(limits={"query_bytes": 100})
    await world.ask("\u00e9" * 50, using=using)
    with pytest.raises(LimitExceeded, match="query"):
        await world.ask("\u00e9" * 51, using=using)


async def test_other_scripts_and_languages_are_found(world: Any, contents: Contents) -> None:
    """By pairs of characters, and by plain words where nothing is known of a language."""
    for text in (
        "\u6c34\u66dc\u65e5\u306b\u8aad\u3080",
        "\u043c\u0438\u0440 \u0438 \u0432\u043e\u0439\u043d\u0430",
        "caf\u00e9 cr\u00e8me",
    ):
        await world.put(text)
    assert contents(await world.ask("\u6c34\u66dc", k=1)) == ["\u6c34\u66dc\u65e5\u306b\u8aad\u3080"]
    assert contents(await world.ask("\u8aad", k=1)) == ["\u6c34\u66dc\u65e5\u306b\u8aad\u3080"]
    assert contents(await world.ask("\u0412\u041e\u0419\u041d\u0410", k=1)) == [
        "\u043c\u0438\u0440 \u0438 \u0432\u043e\u0439\u043d\u0430"
    ]
    assert contents(await world.ask("cafe creme", k=1)) == ["caf\u00e9 cr\u00e8me"]
    await world.put("nuq neH the", language="klingon")
    assert contents(await world.ask("the", using=world.recall(language="klingon"), k=1)) == ["nuq neH the"]
