"""How a question is put to a model that has to answer it, and how right the answers are.

A model that prefers the first option is right as often as the answer stands first. So the options
are turned on by one place from try to try, and a question counts as answered where the model finds
the answer wherever it stands (circular evaluation, MMBench, Liu et al. 2024). Without a temperature
this is all that differs between tries, and there are no more of them than options.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal

from clipmill.schemas.clocks import Span
from clipmill.schemas.records import Frame, Sample
from clipmill.stages.models.teacher import Request
from clipmill.stages.models.teacher_stage import TeacherStage, object_schema, one_line

Told = Literal["all", "question", "options"]
_WORD = re.compile(r"[^\W_]+")
_TIMES = re.compile(r"(\d+(?:\.\d+)?) ?(?:to|-|and|until) ?(\d+(?:\.\d+)?)")


def tries_of(sample: Sample, tries: int, temperature: float, told: Told = "all") -> int:
    """How often a question is put at most, so that no try is the same as another."""
    options = 1 if told == "question" else max(1, len(sample.options))
    return tries if temperature else min(tries, options)


def put(
    stage: TeacherStage[Any],
    name: str,
    sample: Sample,
    shown: Sequence[Sequence[Frame]],
    told: Told = "all",
    context: str = "",
) -> Iterator[Request]:
    """The requests that put a question under `NAME/TRY`: one for each of what is `shown`."""
    options = [] if told == "question" else sample.options
    text: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": 400}
    more = {"context": context} if stage.prompt.takes("context") else {}
    for k, frames in enumerate(shown):
        turn = k % len(options) if options else 0
        turned = options[turn:] + options[:turn]
        prompt = stage.prompt.render(
            count=len(frames),
            times=", ".join(f"{frame.clock.seconds(frame.tick):.2f}" for frame in frames),
            language=stage.settings.language,
            question="" if told == "options" else sample.question,
            options="\n".join(turned),
            **more,
        )
        request = stage.request(
            f"{name}/{k}",
            prompt,
            object_schema({"answer": {"enum": turned} if turned else text}),
            [frame.jpeg for frame in frames],
        )
        yield replace(request, seed=stage.settings.seed + k)


def is_right(answer: str, sample: Sample, least_overlap: float, told: Told = "all") -> bool:
    """Whether an answer is the sample's: its type says how they are held against one another.

    Options, yes, no and numbers must be the same, times overlap, and a free answer have all the
    words of the truth.
    """
    answer, truth = one_line(answer).casefold(), one_line(sample.answer).casefold()
    if sample.labels.get("type") == "when":
        times = _TIMES.search(answer)
        if times is None:
            return False
        start, end = sorted(map(float, times.groups()))
        span = Span.of_seconds(start, end)
        return any(span.iou(own) >= least_overlap for own in sample.evidence)
    if not is_free(sample, told):
        return answer.rstrip(".") == truth.rstrip(".")
    return set(_WORD.findall(truth)) <= set(_WORD.findall(answer))


def is_free(sample: Sample, told: Told = "all") -> bool:
    """Whether a question is answered in words of one's own: no option, time, number, yes or no."""
    truth = one_line(sample.answer).casefold()
    exact = bool(sample.options) and told != "question"
    return not (exact or truth in ("yes", "no") or truth.isdigit()) and (
        sample.labels.get("type") != "when"
    )
