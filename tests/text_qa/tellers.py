"""Language models at the edge: one writes questions from texts and errs, one answers them.

The writer reads the things that its texts name, and in a planted share of first replies invents an
answer, asks twice, or gives the answer away.
"""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

from planted import chance, draw
from quizzers import Edge, named

from clipmill.stages.compose.world import COLOURS, SHAPES
from clipmill.stages.models.teacher import Request

THING = re.compile(rf"\b({'|'.join(COLOURS)}) ({'|'.join(SHAPES)})\b")
_DATA = re.compile(r"<data ([0-9a-f]+)>\n(.*?)</data \1>", re.DOTALL)


def told(request: Request) -> list[str]:
    """What is quoted in a prompt, a text for every variable; a repair quotes its complaint last."""
    return [
        "\n".join(json.loads(line) for line in text.splitlines())
        for _, text in _DATA.findall(request.prompt)
    ]


@cache
def sight(picture: bytes) -> str:
    """Colour and shape of what a picture shows."""
    return named(picture) or ""


class Writer(Edge):
    """Asks for the colour of every thing named; of its first replies `rate` break the contract."""

    rate = 0.3
    mix = ("open", "open", "open", "open", "yes_no", "yes_no", "counting")
    """How often it comes up with each type, where it may choose."""

    def answer(self, request: Request) -> dict[str, Any]:
        properties = (request.schema or {})["properties"]
        if set(properties) in ({"caption"}, {"text"}):
            seen = sight(request.images[len(request.images) // 2])
            return {next(iter(properties)): f"a {seen} is seen" if seen else "nothing is seen"}
        if set(properties) == {"sentences"}:
            lines = told(request)[-1].splitlines()
            return {"sentences": [{"text": line.partition(": ")[2] or line, "from": [number]}
                                  for number, line in enumerate(lines, 1)]}  # fmt: skip
        if set(properties) == {"answer"}:
            return {"answer": self._chosen(request, properties["answer"].get("enum", []))}
        return {"questions": self._questions(request, properties["questions"]["items"])}

    def _questions(self, request: Request, item: dict[str, Any]) -> list[dict[str, Any]]:
        most = (request.schema or {})["properties"]["questions"]["maxItems"]
        types = item["properties"].get("type", {}).get("enum", [])
        named_once = {shape: (colour, shape) for colour, shape in THING.findall(told(request)[0])}
        things = list(named_once.values())[:most]  # of two alike it would ask the same
        asked = [self._question(request, k, thing, types) for k, thing in enumerate(things)]
        asked = asked or [self._question(request, 0, ("clear", "sky"), types)]
        if chance("writer", request.id) < self.rate and "~repair" not in request.id:
            spoilt = draw("spoilt", request.id) % 3
            if spoilt == 0:
                asked[0]["answer"] = "a purple unicorn"
            elif spoilt == 1:
                asked.append(dict(asked[0]))
            else:
                asked[0]["question"] = " "
        return asked

    def _question(
        self, request: Request, k: int, thing: tuple[str, str], types: list[str]
    ) -> dict[str, Any]:
        colour, shape = thing
        plain = {"answer": colour, "question": f"What colour is the {shape}?"}
        if not types:
            return plain
        usual = [kind for kind in self.mix if kind in types] or types
        kind = usual[draw("type", request.id, str(k)) % len(usual)]
        others = [name for name in COLOURS if name != colour][:4]
        said = {
            "choice": (colour, f"What colour is the {shape}?", [colour, *others]),
            "yes_no": ("yes", f"Is the {shape} {colour}?", []),
            "counting": ("1", f"How many {colour} {shape}s are seen?", []),
            "open": (colour, f"What colour is the {shape}?", []),
        }.get(kind, (f"The {shape} is {colour}.", f"Tell about the {shape} ({kind})?", []))
        return {"type": kind, "answer": said[0], "question": said[1], "options": said[2]}

    def _chosen(self, request: Request, options: list[str]) -> str:
        """The option that is told in the prompt or seen in a picture with the asked shape."""
        texts = told(request)
        seen = [sight(picture) for picture in request.images]
        asked = re.search(r"What colour is the (\w+)", "\n".join(texts))
        for colour, shape in THING.findall("\n".join([*texts, *seen])):
            if asked and shape == asked[1] and colour in options:
                return colour
        return options[draw("guess", request.id) % len(options)] if options else "unknown"
