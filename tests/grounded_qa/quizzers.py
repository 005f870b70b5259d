"""Models at the edge for questions: one that asks about timelines, one that watches and answers.

The quizzer reads the timeline in its prompt and breaks its contract in a planted share of first
replies. The watcher sees the pictures it is given and nothing else: an oracle of its view.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from narrated import look
from planted import chance, draw

from clipmill.stages.compose.world import COLOURS, SHAPES
from clipmill.stages.models.identity import ModelIdentity
from clipmill.stages.models.teacher import Reply, Request
from clipmill.stages.models.teacher_settings import TeacherSettings

_EVENT = re.compile(r'^"(\d+)\. ([\d.]+)-([\d.]+) s: (.*)"$', re.MULTILINE)
_OPTIONS = re.compile(r"The options, as data.*?<data ([0-9a-f]+)>\n(.*?)</data \1>", re.DOTALL)


class Edge:
    """What both have in common; `asked` keeps every request."""

    def __init__(self, settings: TeacherSettings | None = None) -> None:
        self.settings = settings or TeacherSettings(model="edge")
        self.identity = ModelIdentity(self.settings.model, "1")
        self.asked: list[Request] = []

    def setup(self) -> None: ...

    def close(self) -> None: ...

    async def ask(self, requests: Sequence[Request]) -> list[Reply]:
        self.asked += requests
        return [Reply(r.id, json.dumps(self.answer(r))) for r in requests][::-1]

    def answer(self, request: Request) -> dict[str, Any]:
        raise NotImplementedError


class Quizzer(Edge):
    """Asks one question per event: what it shows. Errs in `rate` of its first replies."""

    rate = 0.3

    def answer(self, request: Request) -> dict[str, Any]:
        events = _EVENT.findall(request.prompt)
        assert request.schema is not None
        [kind, *_] = request.schema["properties"]["questions"]["items"]["properties"]["type"][
            "enum"
        ]
        questions = [
            {"type": kind, "events": [int(number)], "answer": text,
             "question": f"What can be seen in scene {chr(64 + int(number))} of this story?"}
            for number, _, _, text in events
        ]  # fmt: skip
        if chance("quizzer", request.id) < self.rate and "~repair" not in request.id:
            spoilt = draw("spoilt", request.id) % 4
            if spoilt == 0:
                questions[0]["events"] = [len(events) + 3]  # an event that does not exist
            elif spoilt == 1:
                questions[-1]["question"] = questions[0]["question"]  # asked twice
            elif spoilt == 2:
                questions[0]["events"] = [1, 1]
            else:
                questions[0]["answer"] = "  "
        return {"questions": questions}


class Watcher(Edge):
    """Takes the first option that says what one of its pictures shows, else the first of all.

    What a picture shows it sees; or it knows (`known`, by the picture's bytes), without error.
    """

    known: dict[bytes, list[str]] | None = None

    def answer(self, request: Request) -> dict[str, Any]:
        found = _OPTIONS.search(request.prompt)
        options = [json.loads(line) for line in found[2].splitlines()] if found else []
        assert request.schema is not None
        listed = request.schema["properties"]["answer"].get("enum", [])
        assert sorted(options) == sorted(listed), "what is shown is not what is allowed"
        for picture in request.images:
            seen = self.known[picture] if self.known else [named(picture) or "nothing"]
            for option in options:
                if any(text in option for text in seen):
                    return {"answer": option}
        return {"answer": options[0] if options else "I cannot tell"}


def named(picture: bytes) -> str | None:
    """Colour and shape of what a picture shows."""
    colours, shapes, _ = look(picture)
    if not colours.any():
        return None
    return f"{COLOURS[int(np.argmax(colours))]} {SHAPES[int(np.argmax(shapes))]}"
