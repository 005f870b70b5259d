"""A small annotated library, and a cutter that needs no video: the edge that pack tests replace."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from clipmill.pipeline.output.decide import Verdicts, decide
from clipmill.pipeline.output.tables import compact
from clipmill.pipeline.store.store import Store
from clipmill.schemas.clocks import Clock, Span
from clipmill.schemas.errors import DecoderLost, MediaError
from clipmill.schemas.fingerprints import fingerprint, short
from clipmill.schemas.records import Author, Content, Embedding, Probe, Stream, Video
from clipmill.stages.media.cut import ClipMedia

CLOCK = Clock("v0", 1, 25)
AUTHOR = Author("caption_clip", "tiny", "1")


@dataclass(frozen=True)
class FakeCutter:
    """Writes bytes that follow from key and span; spans that start at `bad` ticks fail."""

    bad: tuple[int, ...] = ()
    crashes: tuple[int, ...] = ()
    log: Path | None = None

    def fingerprint(self) -> str:
        return "fake"

    def cut(
        self, source: Path, probe: Probe, spans: dict[str, Span], folder: Path
    ) -> dict[str, ClipMedia]:
        folder.mkdir(parents=True, exist_ok=True)
        made: dict[str, ClipMedia] = {}
        for key, span in spans.items():
            if self.log is not None:
                with self.log.open("a") as file:
                    file.write(f"{key}\n")
            if span.start in self.bad:
                raise MediaError("a clip that cannot be exact")
            if span.start in self.crashes:
                raise DecoderLost("the decoder crashed")
            path = folder / f"{key}.mp4"
            seed = hashlib.sha256(f"{key}{span.start}".encode())
            path.write_bytes(seed.digest() * (30 + seed.digest()[0] % 40))
            made[key] = ClipMedia(
                path, span.end - span.start, 25.0, 64, 48, span.duration_s, False, "encode", "all"
            )
        return made


def library(folder: Path, videos: int = 4, shots: int = 5) -> list[Video]:
    """Videos over small source files that exist, with captions, scores and embeddings."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for number in range(videos):
        path = folder / f"v{number}.mp4"
        path.write_bytes(b"source" * (number + 1))
        probe = Probe("mp4", path.stat().st_size, shots * 2.0, 0)
        probe.streams.append(Stream(0, "video", "h264", CLOCK, width=64, height=48))
        video = Video(f"films/v{number}.mp4", str(path), Content(probe.size, "x"), probe=probe)
        video.licence, video.consent = "CC0", "signed"
        video.add_segments("shots", [Span(CLOCK, i * 50, i * 50 + 50) for i in range(shots)])
        for place, segment in enumerate(video.segments):
            segment.add_text("caption", f"caption {place} of {number}", AUTHOR)
            segment.scores["blur"] = place / 8
            segment.labels["camera"] = "pan"
            segment.embeddings.append(Embedding("clip", "m", [0.5, 0.25, place]))
        made.append(video)
    return made


def prepared(store: Store, videos: list[Video]) -> Verdicts:
    """The library compacted, with everything kept."""
    compact(store, videos, short(fingerprint([video.id for video in videos])))
    return decide(store, [], "shots")
