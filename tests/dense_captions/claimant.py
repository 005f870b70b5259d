"""A watcher that also takes texts apart into claims and judges them, by a text or by the truth.

It misjudges one claim in twenty, and reads the claims and the text out of the prompt alone.
"""

from __future__ import annotations

import json
import re
from typing import Any

from watcher import Watcher, dice, event_of, events_in, told_as

from clipmill.stages.models.teacher import Request

MISJUDGES = 0.05
CAMERA = re.compile(r"the camera [a-z ]+")


def blocks(request: Request) -> list[list[str]]:
    """The lines of every quotation of a prompt, in order."""
    found = re.findall(r"<data ([0-9a-f]+)>\n(.*?)</data \1>", request.prompt, re.DOTALL)
    return [[json.loads(line) for line in text.splitlines()] for _, text in found]


def claims_in(text: str) -> dict[str, str]:
    """Claims of a text by their wording, each with its kind."""
    found: dict[str, str] = {}
    for colour, shape, backdrop in events_in(text):
        found[f"the {shape} is {colour}"] = "attribute"
        found[f"the {shape} is over {backdrop}"] = "scene"
    return found | dict.fromkeys(CAMERA.findall(text), "camera")


class Claimant(Watcher):
    """As a watcher, with claims."""

    def _answer(self, request: Request) -> dict[str, Any]:
        assert request.schema is not None
        fields = request.schema["properties"]
        if "claims" in fields:
            assert not request.images, "who takes a text apart must not see"
            text = " ".join(blocks(request)[-1])
            if fields["claims"]["items"]["type"] == "string":
                return {"claims": list(dict.fromkeys(map(told_as, events_in(text))))}
            return {"claims": [{"kind": k, "claim": c} for c, k in claims_in(text).items()]}
        if "verdicts" in fields:
            return {"verdicts": [self._verdict(request, line) for line in blocks(request)[0]]}
        return super()._answer(request)

    def _verdict(self, request: Request, line: str) -> dict[str, Any]:
        number, claim = re.findall(r"^(\d+)\. (.*)", line)[0]
        if request.images:
            scenes = self._truth(request).scenes
            true = claim in {told_as(event_of(scene)) for scene in scenes}
        else:
            text = " ".join(blocks(request)[1])
            true = claim in {told_as(event) for event in events_in(text)} | set(claims_in(text))
        if dice(request.id, number, "misjudged").random() < MISJUDGES:
            true = not true
        untrue = "false" if request.images else "unseen"
        return {"claim": int(number), "shown": "", "verdict": "true" if true else untrue}
