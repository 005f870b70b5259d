"""The layouts of known data sets: what is told of one event is the same event in each of them."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipmill.schemas.clocks import MILLISECONDS
from clipmill.schemas.errors import InputError
from clipmill.schemas.records import Part, Probe, Stream, Video
from clipmill.stages.convert.annotation_files import read_annotations
from clipmill.stages.convert.import_annotations import ImportAnnotations, Settings, foreign
from clipmill.stages.convert.layouts import LAYOUTS, UNINTENDED

Rows = list[tuple[str, float, float]]


def imported(tmp_path: Path, name: str, told: Any, layout: str, **settings: Any) -> Video:
    """A video `one` of 30 seconds with the rows of a file of that layout."""
    file = tmp_path / name
    if isinstance(told, str):
        file.write_text(told)
    else:
        lines = "\n".join(map(json.dumps, told))
        file.write_text(lines if name.endswith("jsonl") else json.dumps(told))
    picture = Stream(0, "video", "", MILLISECONDS, first=0, end=30_000)
    video = Video("one.mp4", "/films/one.mp4", probe=Probe("mp4", 1, 30.0, 0, [picture]))
    settings = {"rated": "rated", "questions": "asked"} | settings
    stage = ImportAnnotations(Settings(file=str(file), layout=layout, **settings))
    stage.setup()
    stage.process(Part(video))
    return video


def told(video: Video, layer: str = "events") -> Rows:
    return [(s.texts[0].text, s.span.start_s, s.span.end_s) for s in video.layer(layer)]


def refused(video: Video) -> list[str]:
    return [text.text for text in video.texts if text.role == "refused_events"]


EVENTS: Rows = [("a man pours milk", 5.0, 15.0), ("he stirs it", 15.0, 30.0)]
BY_LAYOUT: dict[str, tuple[str, Any]] = {
    "activitynet": (
        "anet.json",
        {"database": {"one": {"duration": 30.0, "subset": "training", "annotations": [
            {"segment": [a, b], "label": text} for text, a, b in EVENTS]}}},
    ),
    "activitynet_captions": (
        "train.json",
        {"one": {"duration": 30.0, "timestamps": [[a, b] for _, a, b in EVENTS],
                 "sentences": [text for text, _, _ in EVENTS]}},
    ),
    "charades_sta": (
        "charades_sta_train.txt",
        "".join(f"one {a:.1f} {b:.1f}##{text}\n" for text, a, b in EVENTS),
    ),
    "coin": (
        "COIN.json",
        {"database": {"one": {"duration": 30.0, "class": "MakeMilk", "subset": "training",
                              "start": 4.0, "end": 30.0, "annotation": [
            {"id": "7", "segment": [a, b], "label": text} for text, a, b in EVENTS]}}},
    ),
    "didemo": (
        "train_data.json",
        [{"video": "one", "description": text, "num_segments": 6, "annotation_id": 1,
          "times": [[a // 5, b // 5 - 1], [0, 5], [a // 5, b // 5 - 1], [1, 1]]}
         for text, a, b in ((text, int(a), int(b)) for text, a, b in EVENTS)],
    ),
    "qvhighlights": (
        "highlight_train_release.jsonl",
        [{"qid": 1, "query": text, "duration": 30, "vid": "one", "relevant_windows": [[a, b]],
          "relevant_clip_ids": [3, 4], "saliency_scores": [[4, 1, 1], [3, 3, 3]]}
         for text, a, b in EVENTS],
    ),
    "youcook2": (
        "youcookii_annotations_trainval.json",
        {"database": {"one": {"duration": 30.0, "subset": "training", "recipe_type": "113",
                              "annotations": [
            {"id": 0, "segment": [a, b], "sentence": text} for text, a, b in EVENTS]}}},
    ),
}  # fmt: skip


@pytest.mark.parametrize("layout", BY_LAYOUT)
def test_the_same_events_are_the_same_record_in_every_layout(layout: str, tmp_path: Path) -> None:
    video = imported(tmp_path, *BY_LAYOUT[layout], layout)
    assert told(video) == EVENTS and refused(video) == []
    assert [segment.id for segment in video.layer("events")] == ["events-00000", "events-00001"]


def test_labels_of_a_video_are_labels_of_its_events(tmp_path: Path) -> None:
    video = imported(tmp_path, *BY_LAYOUT["coin"], "coin")
    wanted = {"class": "MakeMilk", "subset": "training"}
    assert [segment.labels for segment in video.layer("events")] == [wanted, wanted]


def test_rated_clips_of_qvhighlights_are_a_layer_of_their_own(tmp_path: Path) -> None:
    name, rows = BY_LAYOUT["qvhighlights"]
    video = imported(tmp_path, name, rows[:1], "qvhighlights")
    clips = [(s.span.start_s, s.span.end_s, s.scores) for s in video.layer("rated")]
    assert clips == [(6.0, 8.0, {"rating": 2.0}), (8.0, 10.0, {"rating": 3.0})]
    without = imported(tmp_path, name, rows[:1], "qvhighlights", rated="")
    assert told(without) == EVENTS[:1] and refused(without) == ["rating: 2 rows (1, 1)"]


def test_what_a_layout_cannot_read_is_counted_with_its_reason(tmp_path: Path) -> None:
    rows = [
        {"vid": "one", "query": "x", "duration": 30},
        {"vid": "one", "query": "y", "duration": 30, "relevant_windows": [[1, 2], "no"],
         "relevant_clip_ids": [1], "saliency_scores": []},
        {"vid": "one", "query": "z", "duration": 30, "relevant_windows": [[1, 2]],
         "relevant_clip_ids": [1], "saliency_scores": [["high"]]},
    ]  # fmt: skip
    video = imported(tmp_path, "q.jsonl", rows, "qvhighlights")
    assert refused(video) == [
        "no_rating: 1 rows (3)",
        "no_time: 1 rows (2)",
        "no_windows: 1 rows (1)",
        "ratings_do_not_fit: 1 rows (2)",
    ]
    lines = "one 1.0 2.0##a\none 2.0 1.0##b\none 3.0##c\none 4.0 five##d\n"
    video = imported(tmp_path, "c.txt", lines, "charades_sta")
    assert told(video) == [("a", 1.0, 2.0)]
    assert refused(video) == ["backwards: 1 rows (2)", "no_time: 1 rows (4)"]  # 3 names no video


def test_didemo_takes_the_moment_that_two_agree_on(tmp_path: Path) -> None:
    rows = [
        {"video": "one", "description": "agreed", "num_segments": 6, "times": [[1, 2], [1, 2]]},
        {"video": "one", "description": "alone", "num_segments": 6, "times": [[1, 2], [3, 3]]},
        {"video": "one", "description": "tie", "num_segments": 6,
         "times": [[4, 4], [4, 4], [2, 3], [2, 3]]},
        {"video": "one", "description": "nothing", "num_segments": 6, "times": "none"},
    ]  # fmt: skip
    video = imported(tmp_path, "d.json", rows, "didemo")
    assert told(video) == [("agreed", 5.0, 15.0), ("tie", 10.0, 20.0)]
    assert refused(video) == ["no_time: 1 rows (4)", "nobody_agrees: 1 rows (2)"]


def test_oops_takes_the_median_where_most_saw_it(tmp_path: Path) -> None:
    seen = {"t": [5.0, -1, 7.0], "len": 30.0, "n_notfound": 1}
    video = imported(tmp_path, "t.json", {"one": seen}, "oops")
    assert told(video) == [(UNINTENDED, 6.0, 6.0)]
    unseen = imported(tmp_path, "t.json", {"one": {**seen, "t": [-1, -1, 7.0]}}, "oops")
    assert told(unseen) == [] and refused(unseen) == ["nobody_agrees: 1 rows (1)"]


def test_vidsitu_has_five_events_that_relate_to_the_third(tmp_path: Path) -> None:
    record = {
        f"Ev{n}": {
            "vid_seg_int": "one", "Verb": f"deflect (block {n})", "EvRel": "Causes",
            "Args": {"Arg1 (thing)": "a bolt", "Arg0 (agent)": "a man", "ADir": "left"},
        }
        for n in range(1, 5)
    }  # fmt: skip
    del record["Ev3"]["EvRel"]
    video = imported(tmp_path, "v.json", [record], "vidsitu", duration="", max_drift_s=30)
    assert told(video)[0] == ("a man: deflect, a bolt", 0.0, 2.0) and len(told(video)) == 4
    first, _, third, _ = (segment.labels for segment in video.layer("events"))
    assert first == {"number": "1", "relation": "Causes", "relates_to": "3"}
    assert third == {"number": "3"}


def test_vitt_takes_the_first_annotator_and_sections_last_until_the_next(tmp_path: Path) -> None:
    marks = [{"timestamp": 260, "tag": "Opening"}, {"timestamp": 16000, "tag": "Showing"}]
    again = [{"timestamp": 900, "tag": "Start"}]
    records = [{"id": "one", "annotations": marks}, {"id": "one", "annotations": again}]
    video = imported(tmp_path, "ViTT-annotations.jsonl", records, "vitt")
    assert told(video) == [("Opening", 0.26, 16.0), ("Showing", 16.0, 30.0)]
    assert refused(video) == ["another_annotator: 1 rows (2)"]


def test_hirest_has_a_moment_for_each_query_and_the_steps_in_it(tmp_path: Path) -> None:
    step = {"index": 0, "heading": "boil water", "absolute_bounds": [6, 10]}
    good = {"relevant": True, "clip": True, "v_duration": 30, "bounds": [5, 20], "steps": [step]}
    whole = {"make tea": {"one.mp4": good}, "make soup": {"one.mp4": {**good, "clip": False}}}
    video = imported(tmp_path, "all_data_train.json", whole, "hirest")
    assert told(video) == [("make tea", 5.0, 20.0), ("boil water", 6.0, 10.0)]
    assert [s.labels["part"] for s in video.layer("events")] == ["moment", "step"]
    assert refused(video) == ["no_moment: 1 rows (2)"]


def test_hc_stvg_has_a_box_a_second_in_shares_of_the_picture(tmp_path: Path) -> None:
    frames = [[64 * k % 300, 36, 64, 72] for k in range(75)]
    record = {"bbox": frames, "st_time": 9.0, "ed_time": 11.5, "img_num": 600, "width": 640,
              "height": 360, "st_frame": 271, "caption": "The woman turns."}  # fmt: skip
    broken = {**record, "bbox": [[1, 2, 3]], "caption": "He sits."}
    films = {"one": record}
    video = imported(tmp_path, "train.json", films, "hc_stvg", duration="", max_drift_s=20)
    assert told(video) == [("The woman turns.", 9.0, 11.5)]
    boxes = json.loads(video.layer("events")[0].labels["boxes"])
    assert [box[0] for box in boxes] == [9.0, 10.0, 11.0]
    assert boxes[0][1:] == [0.0, 0.1, 0.1, 0.3]
    video = imported(tmp_path, "train.json", {"one": broken}, "hc_stvg", max_drift_s=20)
    assert told(video) == [] and refused(video) == ["no_box: 1 rows (1)"]
    second = {k: v for k, v in record.items() if k not in ("width", "height", "caption")}
    second |= {"img_size": [360, 640], "English": "The woman turns."}
    again = imported(tmp_path, "val_v2.json", {"one": second}, "hc_stvg", max_drift_s=20)
    assert json.loads(again.layer("events")[0].labels["boxes"]) == boxes


QUESTIONS: dict[str, tuple[str, Any]] = {
    "mvbench": (
        "action_sequence.json",
        [{"video": "one", "question": "What first?", "candidates": ["pour", "stir"],
          "answer": "stir", "start": 5.0, "end": 15.0}],
    ),
    "nextqa": (
        "train.csv",
        "video,frame_count,question,answer,qid,type,a0,a1,a2,a3,a4\n"
        "one,900,What first?,1,4,TN,pour,stir,taste,sleep,run\n",
    ),
    "star": (
        "STAR_train.json",
        [{"video_id": "one", "question_id": "S_1", "question": "What first?", "answer": "stir",
          "choices": [{"choice_id": 0, "choice": "pour"}, {"choice_id": 1, "choice": "stir"}],
          "start": 5.0, "end": 15.0}],
    ),
    "video_bench": (
        "MSVD_QA_new.json",
        {"q_0": {"video_id": "one", "question": "What first?", "vid_path": "x/one.mp4",
                 "answer": "B", "choices": {"A": "pour", "B": "stir"}}},
    ),
}  # fmt: skip


@pytest.mark.parametrize("layout", QUESTIONS)
def test_questions_keep_their_options_and_their_right_answer(layout: str, tmp_path: Path) -> None:
    video = imported(tmp_path, *QUESTIONS[layout], layout)
    [segment] = video.layer("asked")
    [sample] = segment.samples
    assert (sample.question, sample.answer) == ("What first?", "stir")
    assert sample.options[:2] == ["pour", "stir"] and sample.evidence == [segment.span]
    timed = layout in ("mvbench", "star")
    assert (segment.span.start_s, segment.span.end_s) == ((5.0, 15.0) if timed else (0.0, 30.0))


def test_questions_of_no_use_say_why(tmp_path: Path) -> None:
    good = {"video": "one", "question": "q", "candidates": ["a", "b"], "answer": "b"}
    bad = [
        {**good, "question": " "},
        {**good, "answer": None},
        {**good, "answer": "c"},
        {**good, "answer": "7"},
        {**good, "candidates": ["a", "a"]},
        {**good, "candidates": ["b"]},
        {**good, "start": 9, "end": 3},
    ]
    video = imported(tmp_path, "m.json", [*bad, good], "mvbench")
    assert len(video.layer("asked")) == 1
    assert refused(video) == [
        "answer_is_no_option: 2 rows (3, 4)",
        "backwards: 1 rows (7)",
        "bad_options: 2 rows (5, 6)",
        "no_answer: 1 rows (2)",
        "no_question: 1 rows (1)",
    ]


def test_without_times_a_text_is_about_the_whole_video(tmp_path: Path) -> None:
    rows = [{"video_id": "one", "caption": "a man sings"}]
    video = imported(tmp_path, "m.json", rows, "", text="caption", start="")
    assert told(video) == [("a man sings", 0.0, 30.0)]


def test_foreign_texts_are_told_of_other_videos_and_unlike_ones_own(tmp_path: Path) -> None:
    rows = {name: [[f"{name} does thing number {name}", 1, 2]] for name in ("two", "three", "four")}
    file: dict[str, Any] = {
        "one": [["a man pours milk", 1, 2]],
        **rows,
        "five": [["a man pours", 1, 2]],
    }
    video = imported(tmp_path, "f.json", file, "", foreign=3)
    found = [text.text for text in video.texts if text.role == "foreign"]
    assert sorted(found) == sorted(text for [[text, *_]] in rows.values())


def test_a_record_of_the_list_may_name_its_own_file(tmp_path: Path) -> None:
    file = tmp_path / "any.json"
    file.write_text(json.dumps([{"text": "rain", "start": 1, "end": 2}]))
    picture = Stream(0, "video", "", MILLISECONDS, first=0, end=30_000)
    video = Video(
        "x", "/films/x.mp4", meta={"name": "a film"}, side_files={"annotations": str(file)},
        probe=Probe("mp4", 1, 30.0, 0, [picture]),
    )  # fmt: skip
    ImportAnnotations(Settings()).process(Part(video))
    assert told(video) == [("rain", 1.0, 2.0)]


def test_videos_of_a_test_set_are_held_out_and_counted(tmp_path: Path) -> None:
    (tmp_path / "test.txt").write_text("zero\none\n")
    name, rows = BY_LAYOUT["charades_sta"]
    video = imported(tmp_path, name, rows, "charades_sta", held_out=str(tmp_path / "test.txt"))
    assert told(video) == [] and refused(video) == ["held_out: 2 rows (1, 2)"]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 12) | st.just(10**400) | st.floats()
    | st.sampled_from(["one", "B", "1 2##x", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["vid", "query", "relevant_windows", "relevant_clip_ids", "times",
                         "saliency_scores", "num_segments", "t", "len", "Ev1", "Ev3", "Args",
                         "Verb", "choices", "choice", "question", "answer", "candidates", "a0",
                         "database", "annotation", "annotations", "segment", "label", "one",
                         "timestamp", "tag", "relevant", "clip", "steps", "bbox", "img_num",
                         "st_frame", "width", "height", "st_time", "caption"]),
        inner, max_size=5),
    max_leaves=14,
)  # fmt: skip


@given(st.sampled_from(sorted(LAYOUTS)), VALUES, st.sampled_from(["json", "jsonl", "csv", "txt"]))
def test_whatever_a_file_holds_a_layout_reads_or_refuses_it_in_words(
    layout: str, value: object, form: str
) -> None:
    try:
        found = read_annotations(json.dumps(value).encode(), form, LAYOUTS[layout], "f")
    except InputError as refusal:
        assert refusal.cure
        return
    for row in (row for own in found.values() for row in own):
        assert row.refused or row.end_s is None or 0 <= row.start_s <= row.end_s
        assert row.refused or row.text or (row.question and row.answer)


def test_every_layout_says_where_it_is_documented() -> None:
    assert all(layout.documented.startswith("http") for layout in LAYOUTS.values())


def test_a_small_pool_of_foreign_texts_gives_what_it_has() -> None:
    assert foreign(["x y", "a b"], ["a b c"], 5, random.Random(0)) == ["x y"]
