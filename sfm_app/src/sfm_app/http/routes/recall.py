"""Recall: what matters for a question."""

from __future__ import annotations

from litestar import post

from sfm_app.http.bodies import AnyRequest, convert, read_json
from sfm_app.http.models import RecallBatchAnswer, RecallBatchBody, RefusedAnswer
from sfm_app.http.problems import details_of
from sfm_app.http.queries import NoQuery, read_query
from sfm_app.http.replies import Reply, json_reply
from sfm_app.http.services import TheServices
from sfm_app.http.spec import Answer, Spec, documented
from sfm_app.http.writes import principal_of
from sfm_core.errors import SfmError
from sfm_core.model.query import Answer as RecallAnswer
from sfm_core.model.query import RecallQuery
from sfm_core.services.recall_input import read_queries
from sfm_core.services.recall_input import read_query as read_question

__all__ = ["ROUTES"]


@post(
    "/v1/recall",
    status_code=200,
    opt=documented(
        Spec(
            tag="recall",
            summary="Recall memories for a question or a vector",
            description="Fewer hits than `k` only if fewer match or `partial` names what is missing.",
            body=RecallQuery,
            answers={200: Answer(description="Hits, best first.", shape=RecallAnswer)},
        )
    ),
)
async def recall(request: AnyRequest, services: TheServices) -> Reply:
    """Answer one question."""
    read_query(request, NoQuery)
    question = read_question(await read_json(request, services.limits.body_bytes), services.limits)
    return json_reply(await services.recall.recall(principal_of(request), question))


@post(
    "/v1/recall/batch",
    status_code=200,
    opt=documented(
        Spec(
            tag="recall",
            summary="Recall for many questions",
            description="A question that cannot be understood refuses all; one that fails has its problem in its place.",
            body=RecallBatchBody,
            answers={200: Answer(description="One answer per question, in order.", shape=RecallBatchAnswer)},
        )
    ),
)
async def recall_many(request: AnyRequest, services: TheServices) -> Reply:
    """Answer many questions."""
    read_query(request, NoQuery)
    body = convert(await read_json(request, services.limits.body_bytes), RecallBatchBody)
    questions = read_queries(body.queries, services.limits)
    answers = await services.recall.recall_many(principal_of(request), questions)
    return json_reply(RecallBatchAnswer(answers=tuple(map(_answer, answers))))


def _answer(answer: RecallAnswer | SfmError) -> RecallAnswer | RefusedAnswer:
    if isinstance(answer, SfmError):
        problem = details_of(answer)
        return RefusedAnswer(status=problem.status, problem=problem)
    return answer


ROUTES = (recall, recall_many)
