"""Write a tree of segments with their texts as one document, on the segment that is its root.

Shards hold one layer's clips, so a hierarchy that is to reach a trainer travels as a text of its
root: every node with its times from the root's start and its texts, and which nodes each text rests
on. The label with the tree's digest lets whoever reads the document check it; a score counts the
nodes, so that a root on which nothing hangs can be left out.
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
    layers: tuple[str, ...] = ()
    """Layers that are written below the root; empty: all that hang on it."""
    role: str = Field(default="tree", pattern=r"^[a-z0-9_]+$")
    """Role of the document; label ROLE_digest and score ROLE_nodes go with it."""


class WriteTree(Stage[Settings]):
    """Write a tree of segments and their texts as one JSON document."""

    needs: ClassVar = {"segments:{layer}"}
    provides: ClassVar = {"texts:{role}", "labels:{role}_digest", "scores:{role}_nodes"}

    def reads(self) -> frozenset[str]:
        layers = {f"segments:{layer}" for layer in self.settings.layers}
        return super().reads() | layers | {f"texts:{role}" for role in self.settings.texts}

    def process(self, part: Part) -> Part:
        settings = self.settings
        for root in part.video.layer(settings.layer):
            tree = tree_of(part.video, root, settings.texts, settings.layers)
            root.add_text(settings.role, tree.to_json(), self.author())
            root.scores[f"{settings.role}_nodes"] = float(sum(1 for _ in tree.walk()))
            root.labels[f"{settings.role}_digest"] = tree.digest()
        return part
