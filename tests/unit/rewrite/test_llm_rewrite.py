"""Texts said again under a word budget: what is asked, what is kept, what a bad reply costs."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence

import pytest

from clipmill.schemas.clocks import Span
from clipmill.schemas.records import Author, Part, Video
from clipmill.stages.models import teacher_stage
from clipmill.stages.models.identity import ModelIdentity
from clipmill.stages.models.teacher import Reply, Request
from clipmill.stages.rewrite.llm_rewrite import LlmRewrite, Settings, length_in_words

FILLERS = {"um", "uh", "you", "know", "like"}
SAID = [
    "um so you know we pour the milk",
    "uh then like two eggs",
    "stir",
    "thank you for watching",
]


class Cleaner:
    """A model at the edge that leaves out filler words of the last quoted text of its prompt."""

    identity = ModelIdentity("cleaner", "1")

    def __init__(self, spoils: dict[str, str] | None = None) -> None:
        self.spoils = spoils or {}
        self.asked: list[Request] = []

    def setup(self) -> None: ...

    def close(self) -> None: ...

    async def ask(self, requests: Sequence[Request]) -> list[Reply]:
        self.asked += requests
        replies = []
        for request in requests:
            said = re.findall(r'<data [0-9a-f]+>\n"(.*)"\n</data', request.prompt)
            if "refused" in request.prompt:  # a repair quotes the complaint last
                said = said[:-1]
            words = [word for word in said[-1].split() if word not in FILLERS]
            answer = json.dumps({"text": " ".join(words)})
            replies.append(Reply(request.id, self.spoils.get(request.id, answer)))
        return replies[::-1]


def rewritten(
    model: Cleaner, monkeypatch: pytest.MonkeyPatch, **settings: object
) -> tuple[Part, list[list[str]]]:
    video = Video("v", "v.mp4")
    video.add_segments("sentences", [Span.of_seconds(n, n + 1) for n in range(len(SAID))])
    for segment, text in zip(video.segments, SAID, strict=True):
        segment.add_text("asr", text, Author("restore_sentences"))
    monkeypatch.setattr(teacher_stage, "open_teacher", lambda _: model)
    stage = LlmRewrite(Settings(**settings))  # type: ignore[arg-type]
    stage.setup()
    part = asyncio.run(stage.process(Part(video)))
    return part, [[t.text for t in s.texts_of("rewrite")] for s in part.video.segments]


def test_each_text_gets_its_own_answer_and_keeps_the_old_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    part, texts = rewritten(Cleaner(), monkeypatch)
    assert texts == [["so we pour the milk"], ["then two eggs"], ["stir"], ["thank for watching"]]
    first = part.video.segments[0]
    assert [text.role for text in first.texts] == ["asr", "rewrite"]
    assert first.texts[1].sources == [first.texts[0].id]
    assert first.texts[1].author == Author("llm_rewrite", "cleaner", "1", "rewrite_clean.v1")


def test_neighbours_are_shown_and_short_texts_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Cleaner()
    _, texts = rewritten(model, monkeypatch, neighbours=1, min_words=3)
    assert texts[2] == [] and len(model.asked) == 3
    second = model.asked[1].prompt
    assert f'"before: {SAID[0]}"' in second and '"after: stir"' in second
    assert f'"after: {SAID[3]}"' not in second


def test_an_answer_over_budget_is_asked_again_and_then_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = "v/sentences-00001/rewrite"
    long = json.dumps({"text": "far too many words for this"})
    model = Cleaner({name: long})
    _, texts = rewritten(model, monkeypatch, max_words=5)
    assert texts[1] == ["then two eggs"]
    [repair] = [r for r in model.asked if r.id.endswith("~repair")]
    assert "6 words, at most 5" in repair.prompt
    part, texts = rewritten(Cleaner({name: long, f"{name}~repair": long}), monkeypatch, max_words=5)
    assert texts[1] == []
    assert part.video.segments[1].labels == {"rejected_rewrite": "off_contract"}


@pytest.mark.parametrize("prompt", ["rewrite_clean.v1", "rewrite_summary.v1", "rewrite_request.v1"])
def test_every_shipped_prompt_says_the_budget_and_is_part_of_the_identity(
    prompt: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Cleaner()
    rewritten(model, monkeypatch, prompt=prompt, max_words=17)
    assert all("at most 17 words" in request.prompt for request in model.asked)
    own, other = LlmRewrite(Settings(prompt=prompt)), LlmRewrite(Settings(max_words=59))
    assert own.fingerprint() != other.fingerprint()


def test_words_are_counted_in_scripts_with_and_without_spaces() -> None:
    assert length_in_words("one two three") == 3
    assert length_in_words("客観的実在") == 3
    assert length_in_words("mix 客観 it") == 3
