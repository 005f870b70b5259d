"""Talking heads on real faces: the four filmed speakers are found, and nobody else is."""

from __future__ import annotations

from pathlib import Path

import pytest
from narrated import LAGGING, part_of, rendered

from clipmill.schemas.records import Part, Video
from clipmill.stages.frames.sample_frames import SampleFrames
from clipmill.stages.frames.sample_frames import Settings as Frames
from clipmill.stages.media.probe import probe
from clipmill.stages.score.score_faces import ScoreFaces, Settings

pytest.importorskip("skimage", reason="the [faces] extra is not installed")

SPEAKERS = ("grid_bbaf2n.mpg", "grid_lrwp9a.mpg", "grid_pwij3p.mpg", "grid_swwp2s.mpg")
OTHERS = (  # street, animals, people at home, people at work, a title over a rabbit, a cartoon
    "bikes_street.mp4", "dog_sam2.mp4", "charades_home.mp4", "googlework_paris.mp4",
    "w3c_rabbit_voiceover.mp4", "zh_cartoon_watermark.mp4",
)  # fmt: skip


def face_area(part: Part) -> float:
    """Of a whole video as one clip."""
    assert part.video.probe is not None
    part.video.add_segments("shots", [part.video.probe.span])
    SampleFrames(Frames(policy="uniform", count=8, max_side=384)).process(part)
    stage = ScoreFaces(Settings())
    stage.setup()
    [segment] = stage.process(part).video.layer("shots")
    return segment.scores["face_area"]


def test_people_who_speak_to_the_camera_are_told_from_all_others(real_media: Path) -> None:
    found = {}
    for name in (*SPEAKERS, *OTHERS):
        path = real_media / "videos" / name
        found[name] = face_area(Part(Video(name, str(path), probe=probe(path))))
    print(found)
    assert min(found[name] for name in SPEAKERS) > 0.12
    assert max(found[name] for name in OTHERS) < 0.06


def test_drawn_shapes_are_no_faces(tmp_path: Path) -> None:
    [video] = rendered(LAGGING.model_copy(update={"count": 1}), tmp_path / "v")
    assert face_area(part_of(video)) == 0.0


def test_a_clip_without_frames_has_no_score() -> None:
    part = Part(Video("v", "v.mp4"))
    stage = ScoreFaces(Settings())
    stage.setup()
    assert stage.process(part).video.segments == []
