"""Films cut into clips of which two in five have exactly one planted defect.

A clip is a scene of a rendered film, as a row of an annotation file: its span, a caption, and the
defect, which no operator reads. Films of one defect carry it in every scene (a watermark, a size);
two scenes in a clip and a wrong caption are planted by the row alone.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from clipmill.stages.compose.render_synthetic import Settings, render
from clipmill.stages.compose.truth import SceneTruth, Truth

OF_FILMS = ("low_resolution", "wrong_aspect", "watermark", "text_heavy", "static", "too_fast")
OF_ROWS = ("two_scenes", "wrong_caption")
DEFECTS = (*OF_FILMS, *OF_ROWS)
SOUND = "none"
LEAST = {"watermark": 4}
"""A watermark shows on what it lies over: two scenes are too few to tell."""

FILMS = Settings(
    width=192,
    height=144,
    fps=24,
    min_scenes=10,
    max_scenes=10,
    min_seconds=1.0,
    max_seconds=1.2,
    narration=False,
    second_things=0.0,
    gradual=0.0,
    upsets=0.0,
    words=0.0,
    sounds=0.0,
)


def plant(folder: Path, clips: int, seed: int = 0) -> Counter[str]:
    """Write films with their annotations; how many clips have which defect, or `none`."""
    each = round(clips * 0.4 / len(DEFECTS))
    counts: Counter[str] = Counter()
    for number, kind in enumerate((*OF_FILMS, "clean")):
        left = clips - counts.total() if kind == "clean" else max(each, LEAST.get(kind, 0))
        count = 0
        while left > 0:
            count += 1
            truth = _film(folder / kind, kind, seed * 10000 + number * 1000 + count)
            rows = list(_rows(truth, kind, counts, each))[:left]
            counts.update(row["defect"] for row in rows)
            left -= len(rows)
            side = folder / kind / f"{truth.name}.annotations.json"
            side.write_text(json.dumps({truth.name: rows}))
    return counts


def _film(folder: Path, kind: str, seed: int) -> Truth:
    changes: dict[str, Any] = {"seed": seed, "variants": (), "variant_share": 0.0}
    if kind != "clean":
        changes |= {"variants": (kind,), "variant_share": 1.0}
    [film] = render(FILMS.model_copy(update=changes), folder, folder / "truth")
    return film.truth


def _rows(truth: Truth, kind: str, counts: Counter[str], each: int) -> Iterator[dict[str, Any]]:
    scenes = iter(truth.scenes)
    planted = counts.copy()
    for scene in scenes:
        if kind != "static" and not _moves(scene):
            continue  # sound but for standing still: not what was to be planted
        row = {"start": scene.start_s, "end": scene.end_s, "text": scene.brief[0]}
        row["defect"] = SOUND if kind == "clean" else kind
        if kind == "clean" and planted["wrong_caption"] < each and scene.index % 4 == 1:
            row |= {"text": _of_another(truth, scene), "defect": "wrong_caption"}
        elif kind == "clean" and planted["two_scenes"] < each and scene.index % 4 == 2:
            following = next(scenes, None)
            if following is None:
                return
            row |= {"end": following.end_s, "defect": "two_scenes"}
        planted[str(row["defect"])] += 1
        yield row


def _of_another(truth: Truth, scene: SceneTruth) -> str:
    """The caption of a scene before another backdrop with a thing of another colour."""
    own = scene.slots()
    return next(
        other.brief[0]
        for other in truth.scenes[::-1]
        if all(other.slots()[slot] != own[slot] for slot in ("colour", "background"))
    )


def _moves(scene: SceneTruth) -> bool:
    return scene.camera != "static" or any(thing.motion != "still" for thing in scene.things)
