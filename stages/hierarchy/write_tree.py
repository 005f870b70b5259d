"""Write a tree of segments with their texts as one document, on the segment that is its root.

Shards hold one layer's clips, so a hierarchy that is to reach a trainer travels as a text of its
root: every node with its times from the root's start and its texts, and which nodes each text rests
on. The label with the tree's digest lets whoever reads the document check it.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from clipmill.schemas.records import Part
from clipmill.stages.hierarchy.tree import tree_of
from clipmill.stages.stage import Stage, StageSettings


class Settings(StageSettings):
    layer: str = "video"
    """Layer of the roots."""
    texts: tuple[str, ...] = Field(default=("caption", "summary"), min_length=1)
    """Roles of the texts that are written, at whatever node has them."""
    role: str = Field(default="tree", pattern=r"^[a-z0-9_]+$")
    """Role of the document; label ROLE_digest goes with it."""


class WriteTree(Stage[Settings]):
    """Write a tree of segments and their texts as one JSON document."""

    needs: ClassVar = {"segments:{layer}"}
    provides: ClassVar = {"texts:{role}", "labels:{role}_digest"}

    def reads(self) -> frozenset[str]:
        return super().reads() | {f"texts:{role}" for role in self.settings.texts}

    def process(self, part: Part) -> Part:
        settings = self.settings
        for root in part.video.layer(settings.layer):
            tree = tree_of(part.video, root, settings.texts)
            root.add_text(settings.role, tree.to_json(), self.author())
            root.labels[f"{settings.role}_digest"] = tree.digest()
        return part
