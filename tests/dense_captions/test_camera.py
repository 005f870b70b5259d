"""Camera motion in words and labels, on rendered shots whose camera is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from shards import packed, texts
from watcher import CHANGING, Watcher, dice, quoted, scene_at, times_of

from clipmill.stages.compose.render_synthetic import RenderedVideo, render
from clipmill.stages.models import teacher_stage
from clipmill.stages.models.teacher import Request
from clipmill.stages.rewrite import extract_structure

MOVING = CHANGING.model_copy(
    update={
        "count": 3, "seed": 12, "width": 160, "height": 120, "fps": 10, "min_scenes": 4,
        "max_scenes": 5, "moving_camera": 0.8,
    }
)  # fmt: skip
PHRASES = {
    "static": "the camera stands still",
    "pan_left": "the camera pans to the left",
    "pan_right": "the camera pans to the right",
    "zoom_in": "the camera zooms in",
    "zoom_out": "the camera zooms out",
}
SLIPS = 0.1


class Operator(Watcher):
    """A watcher that tells how the camera moves, wrongly in one clip of ten, and reads it out."""

    def _caption(self, request: Request) -> str:
        if not request.id.endswith("/camera"):
            return f"{super()._caption(request)}; {quoted(request)[-1].removeprefix('camera: ')}"
        seconds = times_of(request)
        camera = scene_at(self._truth(request), seconds[len(seconds) // 2]).camera
        rng = dice(request.id)
        if rng.random() < SLIPS:
            camera = str(rng.choice([name for name in PHRASES if name != camera]))
        return PHRASES[camera]

    def _slots(self, request: Request) -> dict[str, Any]:
        said = " ".join(quoted(request)).split()
        turned = {"pans": "camera_pan", "zooms": "camera_zoom"}
        slot = next((turned[word] for word in said if word in turned), "")
        found = {slot: said[-1]} if slot else {"camera_steadiness": "static"}
        assert request.schema is not None
        allowed = request.schema["properties"]
        return {
            name: found.get(name, "none" if "none" in allowed[name]["enum"] else "")
            for name in allowed
        }

    def _answer(self, request: Request) -> dict[str, Any]:
        assert request.schema is not None
        if "questions" in request.schema["properties"]:
            said = quoted(request)[-1]
            return {"questions": [{"question": "What does the camera do?", "answer": said}]}
        return super()._answer(request)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[RenderedVideo]:
    folder = tmp_path_factory.mktemp("moving")
    return render(MOVING, folder / "in", folder / "truth")


def labelled(
    videos: list[RenderedVideo], out: Path, monkeypatch: pytest.MonkeyPatch
) -> list[tuple[str, dict[str, Any]]]:
    """(true camera, clip) of every packed shot."""
    teacher = Operator([video.truth for video in videos])
    monkeypatch.setattr(teacher_stage, "open_teacher", lambda _: teacher)
    clips = packed("dense_captions/camerabench", videos[0].path.parent, out)
    truths = {video.truth.name: video.truth for video in videos}
    found = []
    for clip in clips:
        middle = (clip["span"]["start_s"] + clip["span"]["end_s"]) / 2
        found.append((scene_at(truths[Path(clip["video"]["id"]).stem], middle).camera, clip))
    return found


def accept(found: list[tuple[str, dict[str, Any]]]) -> None:
    """Labels by axis as often right as the teacher is, captions and questions that carry them."""
    assert len({camera for camera, _ in found}) >= 3
    right = 0
    for camera, clip in found:
        labels = clip["labels"]
        told = texts(clip, "camera")[0]
        assert told in clip["said"]
        assert any(told == sample["answer"] for sample in clip["samples"])
        kind, _, way = camera.partition("_")
        axes = {"pan": labels.get("camera_pan"), "zoom": labels.get("camera_zoom")}
        wanted = {"pan": "none", "zoom": "none"} | ({kind: way} if way else {})
        right += axes == wanted and (labels.get("camera_steadiness") == "static") == (not way)
    assert right >= (1 - 2 * SLIPS) * len(found), (right, len(found))


def test_camera_motion_becomes_labels_captions_and_questions(
    videos: list[RenderedVideo], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = labelled(videos, tmp_path / "out", monkeypatch)
    assert len(found) == sum(len(video.truth.scenes) for video in videos)
    accept(found)


def test_without_extract_structure_the_acceptance_fails(
    videos: list[RenderedVideo], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(self: object, part: object) -> object:
        return part

    monkeypatch.setattr(extract_structure.ExtractStructure, "process", nothing)
    found = labelled(videos, tmp_path / "out", monkeypatch)
    with pytest.raises(AssertionError):
        accept(found)
