"""A tree of segments as a value of its own: what a shard carries and a trainer reads back.

Times are whole milliseconds from the tree's own start, so that a clip cut from a long video counts
from its first frame. The digest covers times, texts and shape, and is the same for equal trees
whatever wrote them, so a tree can be checked after any round trip.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from clipmill.schemas.clocks import MILLISECONDS
from clipmill.schemas.fingerprints import fingerprint
from clipmill.schemas.records import Segment, Video


@dataclass(slots=True)
class Node:
    """A segment in its tree: times in milliseconds from the root's start, texts by role."""

    id: str
    layer: str
    start_ms: int
    end_ms: int
    texts: dict[str, list[str]] = field(default_factory=dict)
    sources: dict[str, list[str]] = field(default_factory=dict)  # role -> ids of nodes it rests on
    children: list[Node] = field(default_factory=list)

    def walk(self) -> Iterator[Node]:
        """This node and all below it, parents first, in time order."""
        yield self
        for child in self.children:
            yield from child.walk()

    def digest(self) -> str:
        return fingerprint(self._plain())

    def to_json(self) -> str:
        return json.dumps(self._plain(), ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Node:
        return cls._of(json.loads(text))

    def _plain(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "layer": self.layer,
            "start_ms": self.start_ms,
            "end_ms": self.end_ms,
            "texts": self.texts,
            "sources": self.sources,
            "children": [child._plain() for child in self.children],
        }

    @classmethod
    def _of(cls, plain: dict[str, Any]) -> Node:
        return cls(**{**plain, "children": [cls._of(child) for child in plain["children"]]})


def tree_of(
    video: Video, root: Segment, roles: tuple[str, ...], layers: tuple[str, ...] = ()
) -> Node:
    """The tree below a segment, by its segments' `parent`, with the texts of some roles.

    With `layers` of these alone; what lies below a segment of another layer is left out with it.
    """
    below: dict[str, list[Segment]] = {}
    for segment in video.segments:
        if segment.parent and (not layers or segment.layer in layers):
            below.setdefault(segment.parent, []).append(segment)
    zero = root.span.on(MILLISECONDS).start

    def node(segment: Segment) -> Node:
        span = segment.span.on(MILLISECONDS)
        texts = {role: segment.texts_of(role) for role in roles}
        children = [node(child) for child in below.get(segment.id, ())]
        return Node(
            segment.id,
            segment.layer,
            span.start - zero,
            span.end - zero,
            {role: [text.text for text in found] for role, found in texts.items() if found},
            {
                # A source is `segment/text` of another segment, or a text of this one.
                role: list(dict.fromkeys(s.split("/")[0] for s in found[-1].sources if "/" in s))
                for role, found in texts.items()
                if found and any("/" in source for source in found[-1].sources)
            },
            sorted(children, key=lambda child: (child.start_ms, child.end_ms, child.id)),
        )

    return node(root)
