"""A changed prompt asks again what depends on it and nothing else, counted at the server.

Replies are not remembered here, so that only the fingerprints can spare the teacher.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from local_server import Server

from clipmill.pipeline.engine.inline_engine import InlineEngine
from clipmill.pipeline.engine.ledger import Ledger, claim
from clipmill.pipeline.engine.plan import Plan
from clipmill.pipeline.engine.reuse import Reuse
from clipmill.pipeline.engine.worker import Job
from clipmill.pipeline.store.store import Store
from clipmill.schemas.records import Video
from clipmill.stages.caption.caption_clip import CaptionClip
from tests.unit.pipeline.chains import Cut, CutSettings, Look, StageSettings, chain, entry, parcel

CLIPS = 3
VIDEOS = ("a", "b")


def asking(url: str, folder: Path, **words: str) -> Plan:
    """Sight and sound are asked for apart; the story is told from what was written of the sight."""
    stages = []
    for role in ("sight", "sound", "story"):
        prompt = folder / f"{role}-{words[role].split()[0]}.v1.txt"
        prompt.write_text(f"context: data\n---\n{words[role]}.\n{{context}}\n")
        settings = {
            "layer": "windows",
            "role": role,
            "prompt": str(prompt),
            "frames": 0 if role == "story" else 1,
            "told": ["sight"] if role == "story" else [],
            "teacher": {"backend": "openai", "model": "served", "server": {"url": url}},
        }
        stages.append(entry(CaptionClip(CaptionClip.Settings.model_validate(settings)), role))
    before = [entry(Cut(CutSettings(pieces=CLIPS))), entry(Look(StageSettings()))]
    return chain(*before, *stages)


def test_a_changed_prompt_asks_again_only_what_depends_on_it(tmp_path: Path) -> None:
    media = tmp_path / "media"
    media.mkdir()
    for name in VIDEOS:
        (media / f"{name}.mp4").write_bytes(name.encode())
    words = {"sight": "see this", "sound": "hear this", "story": "tell this"}
    with Server().running() as server:

        def asked(out: str, reuse: Reuse | None, **changed: str) -> tuple[Counter[str], Any]:
            """What the server was asked for one output, by the first word of the prompt."""
            server.seen.clear()
            plan = asking(server.url, tmp_path, **{**words, **changed})
            store = Store.open(tmp_path / out)
            claim(store, plan)
            parcels = [parcel(Video(f"{name}.mp4", str(media / f"{name}.mp4"))) for name in VIDEOS]
            for done in InlineEngine().stream(Job(plan, store, reuse=reuse), parcels):
                assert done.receipt is not None and done.receipt.failure is None
            ledger = Ledger(store, plan.final)
            texts = {}
            for key, held in ledger.scan().items():
                video = ledger.assemble(key, held)
                assert video is not None
                for segment in video.segments:
                    for text in segment.texts:
                        texts[video.id, segment.id, text.role] = text.text
            return Counter(seen.prompt.split()[0] for seen in server.seen), texts

        each = CLIPS * len(VIDEOS)
        first, old = asked("old", None)
        assert first == {"see": each, "hear": each, "tell": each}
        reuse = Reuse.of(str(tmp_path / "old"))

        nothing, same = asked("same", reuse)
        assert nothing == {} and same == old

        last, new = asked("story", reuse, story="retell this")
        assert last == {"retell": each}
        assert {k: t for k, t in new.items() if k[2] != "story"} == {
            k: t for k, t in old.items() if k[2] != "story"
        }

        both, new = asked("sight", reuse, sight="look at this")
        assert both == {"look": each, "tell": each}
        assert {k: t for k, t in new.items() if k[2] == "sound"} == {
            k: t for k, t in old.items() if k[2] == "sound"
        }
        assert all(new[k] != old[k] for k in old if k[2] != "sound")
