"""Write the pieces of a composed video onto its timeline, from the manifest it was made by.

The manifest travels as a column of the input, so files composed elsewhere are read the same way as
those that a recipe makes. It is checked against the file: a manifest of another file would make
every question wrong without a sign. Borders are frames of the output, so they are exact ticks.
"""

from __future__ import annotations

import json
from fractions import Fraction

from pydantic import Field

from clipmill.schemas.arrow import from_arrow
from clipmill.schemas.clocks import Clock, Span
from clipmill.schemas.errors import InputError
from clipmill.schemas.records import Part, Video
from clipmill.stages.asr_text.untrusted import clean_line
from clipmill.stages.compose.timeline import Manifest
from clipmill.stages.media.probe import probed
from clipmill.stages.stage import Stage, StageSettings

THEN = ", then "


class Settings(StageSettings):
    layer: str = Field(default="pieces", pattern=r"^[a-z][a-z0-9_]*$")
    """Layer of the pieces, in the order of the output."""
    whole: str = Field(default="whole", pattern=r"^[a-z][a-z0-9_]*$")
    """Layer of one segment, the whole video."""
    column: str = "manifest"
    """Column of the input that holds the manifest as JSON."""
    max_chars: int = Field(default=500, ge=1)
    """Longer texts are cut off."""


class ReadManifest(Stage[Settings]):
    """Write the pieces of a composed video onto its timeline."""

    settings: Settings
    unit = "video"
    needs = frozenset({"probe"})
    provides = frozenset(
        {
            "segments:{layer}",
            "segments:{whole}",
            "texts:caption",
            "texts:contrast",
            "labels:role",
            "labels:source",
            "labels:rank",
            "labels:speed",
            "labels:playback",
            "labels:operation",
        }
    )

    def process(self, part: Part) -> Part:
        video, settings = part.video, self.settings
        manifest = manifest_of(video, settings.column)
        clock = probed(video).picture.clock
        video.parents = list(manifest.parents)
        spans = [
            _span(clock, manifest, piece.start_frame, piece.end_frame) for piece in manifest.pieces
        ]
        video.add_segments(settings.layer, spans)
        video.add_segments(settings.whole, [_span(clock, manifest, 0, manifest.frames)])
        texts = []
        for segment, piece in zip(video.layer(settings.layer), manifest.pieces, strict=True):
            segment.labels |= {
                "role": piece.role,
                "source": piece.source,
                "rank": str(piece.input + 1),
                "speed": f"{piece.speed:g}",
                "playback": "backwards" if piece.backwards else "forwards",
            }
            texts.append(clean_line(piece.text, settings.max_chars))
            if texts[-1]:
                segment.add_text("caption", texts[-1], self.author())
        [whole] = video.layer(settings.whole)
        whole.labels["operation"] = manifest.operation
        if all(texts):  # with one missing, the sentence would tell half of what is seen
            whole.add_text("caption", THEN.join(texts), self.author())
        contrast = clean_line(video.meta.get("contrast", ""), settings.max_chars)
        if contrast:
            whole.add_text("contrast", contrast, self.author())
        return part


def manifest_of(video: Video, column: str) -> Manifest:
    """The manifest of a composed video; InputError where there is none, or another file's."""
    text = video.meta.get(column, "")
    problem = video.meta.get("not_composed", "")
    if not text:
        raise InputError(
            problem or f"the input has no column {column!r}",
            cure="run the recipe on clips, or give composed files with their manifests",
            input=video.id,
            stage="read_manifest",
        )
    try:
        manifest = from_arrow(Manifest, json.loads(text))
        ends = [piece.end_frame for piece in manifest.pieces]
        inside = all(0 <= p.start_frame < p.end_frame for p in manifest.pieces)
        fits = inside and bool(ends) and max(ends) == manifest.frames and manifest.fps_num > 0
        shown = Fraction(manifest.frames * manifest.fps_den, manifest.fps_num)
    except (ValueError, TypeError, KeyError, AttributeError, ZeroDivisionError) as error:
        raise InputError(
            f"the column {column!r} is no manifest: {type(error).__name__}: {error}",
            cure="give it as compose_clips and transform_video write it",
            input=video.id,
            stage="read_manifest",
        ) from error
    length = probed(video).duration_s
    if not fits or abs(length - float(shown)) > float(shown) / manifest.frames:
        raise InputError(
            f"the manifest speaks of {float(shown):.3f} s, the file lasts {length:.3f} s",
            cure="give every file its own manifest",
            input=video.id,
            stage="read_manifest",
        )
    return manifest


def _span(clock: Clock, manifest: Manifest, start: int, end: int) -> Span:
    frame = Fraction(manifest.fps_den, manifest.fps_num)
    return Span(clock, clock.tick(start * frame), clock.tick(end * frame))
