"""import_annotations on files as they were published: two forms of one data set agree."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from clipmill.schemas.clocks import MILLISECONDS
from clipmill.schemas.records import Part, Probe, Stream, Video
from clipmill.stages.convert.import_annotations import ImportAnnotations, Settings


def events(name: str, lasts_s: float, stage: ImportAnnotations) -> list[tuple[float, float, str]]:
    picture = Stream(0, "video", "h264", MILLISECONDS, first=0, end=round(lasts_s * 1000))
    video = Video(name, f"/videos/{name}", probe=Probe("mp4", 1, lasts_s, 0, [picture]))
    stage.process(Part(video))
    assert video.texts == []  # nothing was refused
    return [
        (segment.span.start_s, segment.span.end_s, segment.texts[0].text)
        for segment in video.layer("events")
    ]


def opened(**settings: Any) -> ImportAnnotations:
    stage = ImportAnnotations(Settings(**settings))
    stage.setup()
    return stage


def test_youcook2_reads_the_same_from_its_json_and_from_its_table(real_media: Path) -> None:
    folder = real_media / "subtitles"
    by_video = opened(
        file=str(folder / "annot_youcook2_val.json"), text="sentences", span="timestamps"
    )
    by_row = opened(file=str(folder / "annot_youcook2_retrieval.csv"))
    published = json.loads((folder / "annot_youcook2_val.json").read_text())
    with (folder / "annot_youcook2_retrieval.csv").open(newline="") as file:
        tabled = {row["video_id"] for row in csv.DictReader(file)}
    both = [name for name in published if name.removeprefix("v_") in tabled]
    assert len(both) > 100
    same = 0
    for name in both:
        lasts = published[name]["duration"]
        first = events(f"{name}.mp4", lasts, by_video)
        second = events(f"{name.removeprefix('v_')}.mp4", lasts, by_row)
        assert len(first) == len(published[name]["sentences"])
        same += [row[:2] for row in first] == [row[:2] for row in second]
    assert same >= 0.95 * len(both)


def test_activitynet_captions_are_all_read(real_media: Path) -> None:
    file = real_media / "subtitles" / "annot_activitynet_entities_val1.json"
    stage = opened(file=str(file), layout="activitynet_captions")
    published = json.loads(file.read_text())
    for name in sorted(published)[:200]:
        found = events(f"{name}.mkv", published[name]["duration"], stage)
        wanted = sorted(
            (start, end, " ".join(text.split()))
            for (start, end), text in zip(
                published[name]["timestamps"], published[name]["sentences"], strict=True
            )
        )
        assert [(round(a, 2), round(b, 2)) for a, b, _ in found] == [w[:2] for w in wanted]
        assert {text for *_, text in found} == {text for *_, text in wanted}
