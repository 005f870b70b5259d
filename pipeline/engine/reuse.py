"""Reusing an older output: what a new recipe has in common with an old one is not made again.

A stage's fingerprint covers its own version, settings, prompt and model and, through its needs,
those of everything it depends on. So where a fingerprint occurs in both plans, the old result *is*
the new one; everything else is taken out of the record before the new chain begins.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from clipmill.pipeline.engine.ledger import Ledger
from clipmill.pipeline.engine.plan import Plan
from clipmill.pipeline.engine.tokens import keep_only
from clipmill.pipeline.store.store import Store
from clipmill.schemas.errors import Conflict
from clipmill.schemas.records import Video


@dataclass(frozen=True, slots=True)
class Reuse:
    """An older output to take from. Picklable."""

    store: Store
    stages: dict[str, str]  # stage name -> fingerprint in the older output
    final: str  # the commit under which its finished parts are

    @classmethod
    def of(cls, uri: str) -> Reuse:
        """Open an older output; raises Conflict where there is none."""
        store = Store.open(uri)
        data = store.find("plan.json")
        if data is None:
            raise Conflict(f"{uri} is no output of Clipmill", cure="give --from a finished --out")
        made = json.loads(data)
        return cls(store, made["stages"], made["final"])

    def take(self, key: str, video: Video, plan: Plan) -> Video:
        """`video` with everything the older output has of it that the new plan would make alike.

        A video whose content has changed since starts from nothing.
        """
        ledger = Ledger(self.store, self.final)
        old = ledger.assemble(key, ledger.look(key))
        if old is None or old.content != video.content:
            return video
        same = [link for link in plan.links if self.stages.get(link.name) == link.fingerprint]
        tokens = frozenset(token for link in same for token in link.adds)
        names = frozenset(link.name for link in same)
        kept = replace(
            video,
            probe=old.probe,
            transcripts=old.transcripts,
            segments=old.segments,
            texts=old.texts,
            steps=[step for step in old.steps if step.stage in names],
        )
        keep_only(kept, tokens, names)
        return kept
