"""A language model at the edge that asks along a timeline; it breaks its contract where it is told.

It reads events and conversation out of its prompt. It asks what is seen in each new event, once a
stop a question that reaches back to an earlier event, and, where several answers are allowed, what
is seen as it changes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from planted import chance, draw
from quizzers import Edge

from clipmill.stages.models.teacher import Reply, Request

_EVENT = re.compile(r"^(\d+)\. (.*)$")
Items = list[dict[str, Any]]


def quoted(request: Request) -> list[list[str]]:
    """The data of a prompt, block by block: context, earlier events, new ones, conversation."""
    blocks = re.findall(r"<data ([0-9a-f]+)>\n(.*?)</data \1>", request.prompt, re.DOTALL)
    return [[json.loads(line) for line in text.splitlines()] for _, text in blocks][:4]


def events_of(lines: Sequence[str]) -> list[tuple[int, str]]:
    found = [_EVENT.match(line) for line in lines]
    return [(int(event[1]), event[2]) for event in found if event]


def called(number: int) -> str:
    """A name for an event that is no number of the list."""
    return f"{chr(65 + number // 26)}{chr(65 + number % 26)}"


class Streamer(Edge):
    """Asks along; `rate` of its first replies are spoilt, and `stubborn` of the repaired ones."""

    rate, stubborn, several = 0.3, 0.0, False

    async def ask(self, requests: Sequence[Request]) -> list[Reply]:
        self.asked += requests
        return [Reply(r.id, self.text(r)) for r in requests][::-1]

    def text(self, request: Request) -> str:
        reply = json.dumps({"questions": self.items(request)})
        repaired = request.id.endswith("~repair")
        name = request.id.removesuffix("~repair")
        if chance("streamer", name) >= (self.rate if not repaired else self.rate * self.stubborn):
            return reply
        spoil = list(SPOILT.values())[draw("spoilt", name) % len(SPOILT)]
        return spoil(reply, request)

    def items(self, request: Request) -> Items:
        _, before, new, said = quoted(request)
        earlier, fresh = events_of(before), events_of(new)
        if self.several:
            assert request.schema is not None
            item = request.schema["properties"]["questions"]["items"]["properties"]
            most = item["answers"]["maxItems"]
            answers = [{"events": [number], "answer": text} for number, text in fresh][:most]
            kept = [
                a for k, a in enumerate(answers) if not k or a["answer"] != answers[k - 1]["answer"]
            ]
            name = called(fresh[0][0])
            return [
                {"answers": kept, "question": f"What is there to see in part {name} of the story?"}
            ]
        items: Items = [
            {
                "answers": [{"events": [number], "answer": text}],
                "question": f"What can be seen in scene {called(number)} of this story?",
            }
            for number, text in fresh
        ]
        if earlier and said:
            first, (number, text) = earlier[0], fresh[0]
            items.append({
                "answers": [{"events": [number, first[0]], "answer": text}],
                "question": f"What comes in scene {called(number)}, unlike in {called(first[0])}?",
            })  # fmt: skip
        assert request.schema is not None
        return items[: request.schema["properties"]["questions"]["maxItems"]]


def _with(change: Callable[[Items, Request], None]) -> Callable[[str, Request], str]:
    def spoilt(reply: str, request: Request) -> str:
        value = json.loads(reply)
        change(value["questions"], request)
        return json.dumps(value)

    return spoilt


def _shown(request: Request) -> tuple[int, int]:
    _, before, new, _ = quoted(request)
    numbers = [number for number, _ in events_of([*before, *new])]
    return numbers[0], numbers[-1]


def _future(items: Items, request: Request) -> None:
    items[0]["answers"][0]["events"] = [_shown(request)[1] + 1]


def _stale(items: Items, request: Request) -> None:
    for answer in items[-1]["answers"]:
        answer["events"] = [_shown(request)[0] - 1]


def _set(key: str, value: Any) -> Callable[[Items, Request], None]:
    def change(items: Items, _: Request) -> None:
        target = items[0] if key == "question" else items[0]["answers"][0]
        target[key] = value

    return change


def _given_away(items: Items, _: Request) -> None:
    items[0]["question"] = f"Is it {items[0]['answers'][0]['answer']}?"


def _twice(items: Items, _: Request) -> None:
    items.append(dict(items[0]))
    del items[:-2]
    items.insert(0, dict(items[0]))


def _backwards(items: Items, request: Request) -> None:
    answer = items[0]["answers"][0]
    items[0]["answers"] = [answer, {**answer, "answer": "something else"}]


SPOILT: dict[str, Callable[[str, Request], str]] = {
    "no JSON": lambda reply, _: f"Sure! {reply}",
    "cut off": lambda reply, _: reply[: len(reply) // 2],
    "another form": lambda reply, _: json.dumps({"turns": json.loads(reply)["questions"]}),
    "an event of the future": _with(_future),
    "an event that was never shown": _with(_stale),
    "an event twice": _with(lambda items, r: _set("events", [_shown(r)[1]] * 2)(items, r)),
    "no event": _with(_set("events", [])),
    "seconds for an event": _with(_set("events", [1.5])),
    "a blank answer": _with(_set("answer", "  ")),
    "a blank question": _with(_set("question", "\n")),
    "the same question twice": _with(_twice),
    "the answer given away": _with(_given_away),
    "answers that do not go on": _with(_backwards),
    "no questions": lambda reply, _: json.dumps({"questions": []}),
    "a time of its own": _with(lambda items, _: items[0].update(time=3.0)),
}
"""Ways to break the contract."""
