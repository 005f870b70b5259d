"""What must hold of a dialogue, checked from what was written and by none of the code that did."""

from __future__ import annotations

import json
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any

from clipmill.schemas.clocks import Span, compare
from clipmill.schemas.records import Sample, Segment
from clipmill.stages.interleave.build_dialogue import Settings

MS = Fraction(1, 1000)


def dialogue_of(segment: Segment) -> dict[str, Any]:
    [text] = segment.texts_of("dialogue")
    found: dict[str, Any] = json.loads(text.text)
    return found


def replies(segment: Segment, reply: str = "answer") -> list[Sample]:
    return [s for s in segment.samples if s.kind == "turn" and s.labels["reply"] == reply]


def early_answers(segment: Segment) -> list[Sample]:
    """Answers that are given before their evidence is over, or before they are asked for."""
    return [
        sample
        for sample in replies(segment)
        if sample.turn is None
        or not sample.evidence
        or sample.turn.end < sample.turn.start
        or any(
            compare(span.clock, span.end, sample.turn.clock, sample.turn.end) > 0
            for span in sample.evidence
        )
    ]


def modes_of(sample: Sample, whole: Span, fps: float) -> set[str]:
    """Where a question stands from its evidence; two within the millisecond of rounding."""
    assert sample.turn is not None
    asked = sample.turn.clock.exact(sample.turn.start)
    last = max(sample.evidence, key=lambda span: span.clock.exact(span.end))
    start, end = last.clock.exact(last.start), last.clock.exact(last.end)
    zero, until = whole.clock.exact(whole.start), whole.clock.exact(whole.end)
    moments = [*(zero + frame for frame in frames_of(whole, fps)), until]
    known = min([moment for moment in moments if moment >= end], default=until)

    def told(at: Fraction) -> str:
        if at < start:
            return "forward"
        return "backward" if at > known else "now"

    found = {told(asked), told(asked - MS)}
    return {*found, "now"} if len(found) > 1 else found  # an event of no length lies between


def frames_of(whole: Span, fps: float) -> list[Fraction]:
    """Seconds of the frames from the clip's start; none less than half a step from its end."""
    step = 1 / Fraction(fps).limit_denominator(1000)
    length = whole.clock.exact(whole.end) - whole.clock.exact(whole.start)
    count = max(1, -int(-(length / step - Fraction(1, 2)) // 1))
    return [number * step for number in range(count)]


def faults(segment: Segment, requests: Sequence[str] = Settings().requests) -> list[str]:
    """What is wrong with a segment's dialogue, its samples and their agreement.

    What is told to one of the requests has the request's mode, whenever it begins.
    """
    written = dialogue_of(segment)
    messages, fps = written["messages"], written["fps"]
    found = [f"too early: {sample.id}" for sample in early_answers(segment)]
    times = [message["time"] for message in messages]
    if times != sorted(times):
        found.append("messages are out of order")
    if any(not message["content"].strip() for message in messages):
        found.append("a message is blank")
    said = [m for m in messages if m["role"] == "assistant"]
    for message in said:
        if any(end > message["time"] for _, end in message.get("evidence", [])):
            found.append(f"the text answers too early at {message['time']}")
    for earlier, later in pairwise(messages):
        if earlier["time"] == later["time"] and later["role"] == "user":
            found.append(f"two things are said at {later['time']}")
    own = [s for s in segment.samples if s.kind == "turn"]
    if sorted(s.answer for s in own) != sorted(m["content"] for m in said):
        found.append("samples and text do not say the same")
    # Every frame is either silent or replied at.
    silent = written["silence"]
    spoken = [m["time"] for m in said]
    for frame in frames_of(segment.span, fps):
        at = float(frame)
        quiet = sum(a - 0.0016 <= at < b - 0.0016 for a, b in silent)
        replied = sum(abs(time - at) <= 0.0016 for time in spoken)
        if quiet + replied != 1:
            found.append(f"frame {at} has {quiet} silences and {replied} replies")
    for sample in replies(segment):
        modes = modes_of(sample, segment.span, fps)
        later = sample.labels["step"] != "1"  # the mode is that of the first answer
        if sample.labels["mode"] not in modes and not later and sample.question not in requests:
            found.append(f"{sample.id} is {modes} and not {sample.labels['mode']}")
    asked = {m["content"].partition("\n")[0]: m["time"] for m in messages if m["role"] == "user"}
    for sample in replies(segment, "not_yet"):
        if sample.labels["mode"] != "forward" or sample.question not in asked:
            found.append(f"{sample.id} is told to wait and did not come early")
    return found
