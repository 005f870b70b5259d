"""A model that writes chains of questions from a timeline and marks what it sees in pictures.

It reads both out of its prompts, and breaks its contract in a planted share of first replies.
"""

from __future__ import annotations

import io
import json
import re
from typing import Any

import cv2
import numpy as np
from PIL import Image
from planted import chance, draw
from quizzers import Edge

from clipmill.stages.compose.world import COLOURS, RGB, SHAPES
from clipmill.stages.models.teacher import Request
from clipmill.stages.qa.chain_qa import SCALE

_EVENT = re.compile(r"^(\d+)\. (.*)$")
_THING = re.compile(rf"\b({'|'.join(COLOURS)}) ({'|'.join(SHAPES)})\b")


def quoted(request: Request) -> list[str]:
    # A repair quotes the complaint behind it.
    (_, text), *_ = re.findall(r"<data ([0-9a-f]+)>\n(.*?)</data \1>", request.prompt, re.DOTALL)
    return [json.loads(line) for line in text.splitlines()]


class Chainer(Edge):
    """Asks one chain per event that names a coloured shape; marks what has the colour."""

    rate = 0.3

    def answer(self, request: Request) -> dict[str, Any]:
        spoil = chance("chainer", request.id) < self.rate and "~repair" not in request.id
        kind = draw("spoilt", request.id) % 2
        assert request.schema is not None
        if "chains" in request.schema["properties"]:
            chains = self._chains(request)
            if spoil and chains and kind:
                chains[0]["what"] = f"Is it {chains[0]['answer']}?"  # given away
            elif spoil and chains:
                chains[0]["event"] = 99
            return {"chains": chains}
        boxes = self._boxes(request)
        if spoil and kind:
            boxes[-1]["picture"] = boxes[0]["picture"] if len(boxes) > 1 else 99
        elif spoil:
            boxes[0]["box"] = [600, 100, 500, 900]
        return {"boxes": boxes}

    def _chains(self, request: Request) -> list[dict[str, Any]]:
        assert request.schema is not None
        most = request.schema["properties"]["chains"]["maxItems"]
        found = []
        for line in quoted(request):
            event = _EVENT.match(line)
            assert event is not None
            if thing := _THING.search(event[2]):
                letter = chr(64 + int(event[1]))
                found.append({
                    "event": int(event[1]), "thing": f"the {thing[0]}", "answer": f"a {thing[0]}",
                    "what": f"What can be seen in scene {letter} of this story?",
                    "when": f"When is the {thing[0]} seen?", "where": "Where is it then?",
                })  # fmt: skip
        return found[:most]

    def _boxes(self, request: Request) -> list[dict[str, Any]]:
        thing = _THING.search(" ".join(quoted(request)))
        assert thing is not None
        return [
            {"picture": number, "box": box_of(picture, thing[1])}
            for number, picture in enumerate(request.images, 1)
        ][::-1]


def box_of(picture: bytes, colour: str) -> list[int]:
    """The box of the largest patch of a colour, in thousandths; empty where there is none."""
    pixels = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"), np.int16)
    near = (np.abs(pixels - np.array(RGB[colour])).sum(2) < 75).astype(np.uint8)
    count, _, stats, _ = cv2.connectedComponentsWithStats(near)
    if count < 2:
        return []
    x, y, wide, tall, area = stats[1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))].tolist()
    height, width = near.shape
    if area < 12:
        return []
    sides = (x / width, y / height, (x + wide) / width, (y + tall) / height)
    return [round(SCALE * side) for side in sides]
