"""Data sets as inputs: one record of a list is every video its annotations tell of."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clipmill.schemas.errors import InputError, Unreadable
from clipmill.schemas.records import Part, Video
from clipmill.stages.media.source import content
from clipmill.stages.source.ingest_video import Settings, ingest
from clipmill.stages.source.probe_media import ProbeMedia
from clipmill.stages.source.probe_media import Settings as ProbeSettings

CHARADES = "AAAAA 1.0 4.5##a person opens a door.\nBBBBB 2.0 9.0##a person sits.\n"
CAPTIONS = {"v_1": {"duration": 20.5, "timestamps": [[0, 3]], "sentences": ["a dog runs"]}}


def listed(folder: Path, *rows: dict[str, str]) -> list[Video]:
    (folder / "sets.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return list(ingest(str(folder / "sets.jsonl"), Settings()))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "charades_sta_train.txt").write_text(CHARADES)
    (tmp_path / "captions.json").write_text(json.dumps(CAPTIONS))
    (tmp_path / "lengths.csv").write_text("id,subject,length\nAAAAA,X,30.25\nCCCCC,Y,9\n")
    return tmp_path


def test_a_list_of_sets_is_a_list_of_their_videos(folder: Path) -> None:
    videos = listed(
        folder,
        {"annotations": "captions.json", "layout": "activitynet_captions", "set": "anet",
         "licence": "CC-BY-4.0", "season": "4"},
        {"annotations": "charades_sta_train.txt", "layout": "charades_sta",
         "durations": "lengths.csv"},
    )  # fmt: skip
    assert [video.id for video in videos] == [
        "anet/v_1", "charades_sta_train/AAAAA", "charades_sta_train/BBBBB",
    ]  # fmt: skip
    first, second, third = videos
    assert first.source == str(folder / "captions.json") == first.side_files["annotations"]
    assert first.licence == "CC-BY-4.0"
    assert first.meta == {
        "set": "anet", "layout": "activitynet_captions", "video_name": "v_1", "season": "4",
        "duration": "20.500", "duration_from": "file",
    }  # fmt: skip
    assert (second.meta["duration"], second.meta["duration_from"]) == ("30.250", "table")
    assert (third.meta["duration"], third.meta["duration_from"]) == ("9.000", "last_end")


def test_media_is_found_by_its_name_and_not_opened(folder: Path) -> None:
    (folder / "videos" / "a").mkdir(parents=True)
    (folder / "videos" / "a" / "BBBBB.mp4").write_bytes(b"never read")
    row = {"annotations": "charades_sta_train.txt", "layout": "charades_sta", "videos": "videos"}
    absent, there = listed(folder, row)
    assert absent.source == str(folder / "charades_sta_train.txt")
    assert there.source == str(folder / "videos" / "a" / "BBBBB.mp4")


def test_rows_that_name_no_video_are_an_input_that_is_counted(folder: Path) -> None:
    (folder / "charades_sta_train.txt").write_text(CHARADES + "no row at all\n")
    videos = listed(folder, {"annotations": "charades_sta_train.txt", "layout": "charades_sta"})
    assert [video.id for video in videos] == [
        "charades_sta_train/rows-without-a-video",
        "charades_sta_train/AAAAA",
        "charades_sta_train/BBBBB",
    ]
    assert videos[0].meta["duration"] == "0.000"


def test_a_file_of_no_known_layout_needs_only_the_names_of_its_videos(folder: Path) -> None:
    told = [
        {"video_id": "x", "caption": "rain", "duration": 9.5},
        {"video_id": "y", "caption": "z"},
    ]
    (folder / "own.json").write_text(json.dumps(told))
    videos = listed(folder, {"annotations": "own.json"})
    assert [(v.meta["video_name"], v.meta["duration"]) for v in videos] == [
        ("x", "9.500"),
        ("y", "0.000"),
    ]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"annotations": "gone.json"}, "no annotations at"),
        ({"annotations": "captions.json", "layout": "imagenet"}, "no layout 'imagenet'"),
        ({"annotations": "charades_sta_train.txt"}, "read by a layout that knows them"),
        ({"annotations": "lengths.csv"}, "names a video"),
        ({"annotations": "captions.json", "layout": "activitynet_captions", "videos": "gone"},
         "no local folder"),
        ({"annotations": "captions.json", "layout": "activitynet_captions",
          "durations": "charades_sta_train.txt"}, "durations cannot be read"),
        ({"annotations": "captions.json", "layout": "activitynet_captions",
          "durations": "captions.json"}, "durations names none"),
        ({"set": "anet"}, "no path"),
    ],
)  # fmt: skip
def test_a_list_that_cannot_be_used_says_why(row: dict[str, str], said: str, folder: Path) -> None:
    with pytest.raises(InputError, match=said) as broken:
        listed(folder, row)
    assert broken.value.cure


def test_a_record_with_a_path_may_name_annotations_of_its_own(folder: Path) -> None:
    [video] = listed(folder, {"path": "one.mp4", "annotations": "one.json"})
    assert video.source == str(folder / "one.mp4")
    assert video.side_files == {"annotations": str(folder / "one.json")}


def test_a_declared_length_stands_for_media_that_is_not_there(folder: Path) -> None:
    row = {"annotations": "captions.json", "layout": "activitynet_captions"}
    [video] = listed(folder, row)
    with pytest.raises(Unreadable, match="and no media"):
        ProbeMedia(ProbeSettings()).process(Part(video))
    ProbeMedia(ProbeSettings(declared="missing")).process(Part(video))
    assert video.probe is not None and video.probe.duration_s == 20.5
    assert (video.probe.span.start_s, video.probe.span.end_s) == (0.0, 20.5)
    video.source = str(folder / "media.mp4")  # there, so it is read unless none is to be
    with pytest.raises(Unreadable, match="no such file"):
        ProbeMedia(ProbeSettings(declared="missing")).process(Part(video))
    ProbeMedia(ProbeSettings(declared="always")).process(Part(video))
    video.meta["duration"] = "long"
    with pytest.raises(Unreadable, match="no length in seconds"):
        ProbeMedia(ProbeSettings(declared="always")).process(Part(video))


def test_a_file_that_many_inputs_share_is_digested_anew_only_when_it_changes(
    folder: Path,
) -> None:
    file = folder / "captions.json"
    before = content(str(file))
    assert content(str(file)) == before
    file.write_text(json.dumps(CAPTIONS | {"v_2": CAPTIONS["v_1"]}))
    assert content(str(file)) != before
