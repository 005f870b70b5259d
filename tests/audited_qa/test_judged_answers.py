"""Free answers: right by their words, or by the model's word that they mean the same."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest
from quizzers import Edge

from clipmill.schemas.clocks import Span
from clipmill.schemas.records import Author, Part, Segment, Video
from clipmill.stages.models import teacher_stage
from clipmill.stages.models.teacher import Request
from clipmill.stages.qa.answer_qa import AnswerQa, Settings

SAID = {"What is it?": "a crimson disc", "Who is it?": "somebody else", "How many?": "four"}
TRUTH = {"What is it?": "red circle", "Who is it?": "the red queen", "How many?": "5"}
_DATA = re.compile(r"<data ([0-9a-f]+)>\n(.*?)</data \1>", re.DOTALL)


class Paraphraser(Edge):
    """Answers in words of its own, and knows which of them mean the same."""

    def answer(self, request: Request) -> dict[str, Any]:
        quoted = [json.loads(text.splitlines()[0]) for _, text in _DATA.findall(request.prompt)
                  if text.strip()]  # fmt: skip
        if "same" in (request.schema or {})["properties"]:
            question, truth, said = quoted
            assert (truth, said) == (TRUTH[question], SAID[question])
            return {"same": "yes" if (said, truth) == ("a crimson disc", "red circle") else "no"}
        return {"answer": next(SAID[text] for text in quoted if text in SAID)}


def answered(**settings: object) -> tuple[Segment, Paraphraser]:
    video = Video("v", "v.mp4")
    video.add_segments("whole", [Span.of_seconds(0, 9)])
    for question, truth in TRUTH.items():
        video.segments[0].add_sample("qa", question, truth, Author("people"))
    chosen = {"layer": "whole", "kind": "qa", "view": "none"}
    stage, model = AnswerQa(Settings.model_validate(chosen | settings)), Paraphraser()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(teacher_stage, "open_teacher", lambda _: model)
        stage.setup()
    asyncio.run(stage.process(Part(video)))
    return video.segments[0], model


def test_what_means_the_same_is_right_where_the_model_is_asked() -> None:
    segment, model = answered(judged=True)
    assert [s.labels["answered"] for s in segment.samples] == ["1.000", "0.000", "0.000"]
    assert segment.scores["answered"] == pytest.approx(1 / 3)
    judged = [request for request in model.asked if "same" in (request.schema or {})["properties"]]
    assert len(judged) == 2, "a number is right or wrong by itself"


def test_by_rules_alone_other_words_are_wrong() -> None:
    segment, model = answered()
    assert [s.labels["answered"] for s in segment.samples] == ["0.000"] * 3
    assert len(model.asked) == 3
