"""Teachers at the edge that read narration from a prompt, and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence

from clipmill.stages.models.identity import ModelIdentity
from clipmill.stages.models.teacher import Reply, Request, Usage

LINE = re.compile(r'^"(\d+(?:\.\d+)?): (.*)"$', re.MULTILINE)


def spoken_lines(prompt: str) -> list[tuple[float, str]]:
    """(second, words) of every line of speech quoted in a prompt."""
    return [(float(second), words) for second, words in LINE.findall(prompt)]


class Narrator:
    """Answers each block with what `reads` makes of its lines; may misbehave first.

    `spoils(request)` gives a raw reply instead, or None; it is asked again at the repair.
    """

    identity = ModelIdentity("narrator", "1")

    def __init__(
        self,
        reads: Callable[[list[tuple[float, str]]], list[tuple[float, str]]],
        spoils: Callable[[Request], str | None] = lambda _: None,
    ) -> None:
        self.reads, self.spoils = reads, spoils
        self.asked: list[Request] = []

    def setup(self) -> None: ...

    def close(self) -> None: ...

    async def ask(self, requests: Sequence[Request]) -> list[Reply]:
        replies = []
        for request in requests:
            self.asked.append(request)
            events = [
                {"time": second, "text": text}
                for second, text in self.reads(spoken_lines(request.prompt))
            ]
            text = self.spoils(request) or json.dumps({"events": events})
            replies.append(Reply(request.id, text, usage=Usage(1, 1)))
        return replies
