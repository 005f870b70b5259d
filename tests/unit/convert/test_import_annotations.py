"""Published annotations: every form gives the same events, and what is of no use says why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from clipmill.schemas.clocks import MILLISECONDS
from clipmill.schemas.errors import InputError, RecipeError
from clipmill.schemas.records import Part, Probe, Stream, Video
from clipmill.stages.convert.annotation_files import read_annotations
from clipmill.stages.convert.annotation_rows import Layout, Names, seconds
from clipmill.stages.convert.import_annotations import ImportAnnotations, Settings

TOLD = [("pour the milk", 1.5, 4.0), ("stir it", 4.0, 9.25), ("taste", 9.0, 9.0)]
NAMES = Layout(Names("video_id", "text", "start", "end", fields=("text", "start", "end")))


def video(name: str = "films/one.mp4", folder: Path = Path("/films"), lasts_s: int = 60) -> Video:
    picture = Stream(0, "video", "h264", MILLISECONDS, first=0, end=1000 * lasts_s)
    probe = Probe("mp4", 1, float(lasts_s), 0, [picture])
    return Video(name, str(folder / Path(name).name), probe=probe)


def imported(one: Video, **settings: Any) -> Video:
    stage = ImportAnnotations(Settings(**settings))
    stage.setup()
    stage.process(Part(one))
    return one


def events(one: Video) -> list[tuple[str, float, float]]:
    return [
        (segment.texts_of("caption")[0].text, segment.span.start_s, segment.span.end_s)
        for segment in one.layer("events")
    ]


def refused(one: Video) -> list[str]:
    return [text.text for text in one.texts if text.role == "refused_events"]


def rows(**more: str) -> list[dict[str, Any]]:
    return [{**more, "text": text, "start": start, "end": end} for text, start, end in TOLD]


def table(delimiter: str, named: str) -> str:
    lines = [["end", "start", "task", "text", "video_id"]]
    lines += [[str(end), str(start), "7", text, named] for text, start, end in TOLD]
    return "".join(delimiter.join(line) + "\r\n" for line in lines)


FORMS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "rows under each video": ("json", json.dumps({"one.mp4": [list(row) for row in TOLD]}), {}),
    "objects under each video": ("json", json.dumps({"one": rows()}), {}),
    "columns side by side": (
        "json",
        json.dumps(
            {
                "one": {
                    "duration": 60.4,
                    "timestamps": [row[1:] for row in TOLD],
                    "sentences": [row[0] for row in TOLD],
                }
            }
        ),
        {"text": "sentences", "span": "timestamps"},
    ),
    "a database of rows": (
        "json",
        json.dumps(
            {
                "version": "1",
                "database": {
                    "one": {
                        "duration": 60,
                        "annotations": [
                            {"id": n, "segment": row[1:], "sentence": row[0]}
                            for n, row in enumerate(TOLD)
                        ],
                    }
                },
            }
        ),
        {"root": "database", "rows": "annotations", "text": "sentence", "span": "segment"},
    ),
    "a list of objects": ("json", json.dumps(rows(video_id="one")), {}),
    "lines of objects": ("jsonl", "\n".join(map(json.dumps, rows(video_id="one"))), {}),
    "a table by commas": ("csv", table(",", "one"), {}),
    "a table by tabs": ("tsv", table("\t", "films/one.mp4"), {}),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_published_form_gives_the_same_events(form: str, tmp_path: Path) -> None:
    ending, text, settings = FORMS[form]
    file = tmp_path / f"published.{ending}"
    file.write_bytes(b"\xef\xbb\xbf" + text.encode())
    one = imported(video(), file=str(file), **settings)
    assert events(one) == TOLD and refused(one) == []
    assert imported(video("other.mp4"), file=str(file), **settings).segments == []
    author = one.layer("events")[0].texts[0].author
    assert author.model == file.name and author.revision


@pytest.mark.parametrize("ending", ["json", "csv"])
def test_without_a_file_for_all_the_one_beside_the_video_is_read(
    ending: str, tmp_path: Path
) -> None:
    text = json.dumps(rows()) if ending == "json" else table(",", "one")
    (tmp_path / f"one.annotations.{ending}").write_text(text)
    (tmp_path / f"two.annotations.{ending}").write_text("neither { read nor, wanted")
    assert events(imported(video(folder=tmp_path))) == TOLD
    assert imported(video("three.mp4", folder=tmp_path)).segments == []


def test_a_file_beside_the_video_may_hold_its_columns_without_a_name(tmp_path: Path) -> None:
    columns = {"text": [row[0] for row in TOLD], "span": [row[1:] for row in TOLD]}
    (tmp_path / "one.annotations.json").write_text(json.dumps(columns))
    assert events(imported(video(folder=tmp_path), span="span")) == TOLD


def test_rows_of_no_use_leave_their_reason_and_their_numbers(tmp_path: Path) -> None:
    file = tmp_path / "published.json"
    bad = [
        ["", 1, 2],
        ["not visible"],
        ["never", "not visible", "not visible"],
        ["backwards", 5, 3],
        ["late", 60, 61],
        ["endless", 1, 1e300],
        ["early", -1, 2],
        ["true", True, 2],
        ["over the end", 59, 63],
    ]
    file.write_text(json.dumps({"one": [*bad, *map(list, TOLD)]}))
    one = imported(video(), file=str(file))
    assert events(one) == [*TOLD, ("over the end", 59.0, 63.0)]  # check_timeline cuts it
    assert refused(one) == [
        "backwards: 1 rows (4)",
        "no_text: 1 rows (1)",
        "no_time: 5 rows (2, 3, 6, 7, 8)",
        "outside: 1 rows (5)",
    ]


def test_annotations_of_another_cut_of_the_video_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "published.json"
    file.write_text(json.dumps({"one": {"duration": 75.0, "annotations": rows()}}))
    one = imported(video(), file=str(file), rows="annotations")
    assert events(one) == [] and refused(one) == ["other_duration: 3 rows (1, 2, 3)"]
    near = imported(video(lasts_s=74), file=str(file), rows="annotations")
    assert events(near) == TOLD
    anyhow = imported(video(), file=str(file), rows="annotations", duration="")
    assert events(anyhow) == TOLD


def test_further_values_become_labels_and_text_loses_what_cannot_be_seen(tmp_path: Path) -> None:
    file = tmp_path / "published.json"
    row = {"text": "stir\u202e it\n\nwell", "start": "0:01:05.5", "end": "1:07", "visible": True}
    file.write_text(json.dumps({"one": [row]}))
    one = imported(video(lasts_s=90), file=str(file), labels=("visible",), language="en")
    [event] = one.layer("events")
    assert (event.span.start_s, event.span.end_s) == (65.5, 67.0)
    assert event.labels == {"visible": "true"}
    assert (event.texts[0].text, event.texts[0].language) == ("stir it well", "en")


def test_rows_behind_the_most_are_counted_and_not_written(tmp_path: Path) -> None:
    file = tmp_path / "published.json"
    file.write_text(json.dumps({"one": [["again", 1, 2]] * 50}))
    one = imported(video(), file=str(file), max_rows=20)
    assert len(events(one)) == 20
    [reason] = refused(one)
    assert reason.startswith("too_many: 30 rows (21, 22,") and reason.endswith("40, ...)")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.json", "{", "cannot be read as JSON"),
        ("a.json", "[" * 100_000, "cannot be read as JSON"),
        ("a.json", '"words"', "neither a list of rows"),
        ("a.json", '{"one": 3}', "neither rows nor columns"),
        ("a.json", '{"one": [[1]], "two": [5]}', "neither an object nor a list"),
        ("a.json", '{"one": [{"caption": "x", "start": 1}]}', "no row has 'text'"),
        ("a.csv", "video_id,text,begin\none,x,1\n", "no row has 'start'"),
        ("a.csv", 'video_id,text,start\none,"x,1\n', "cannot be read as CSV"),
        ("a.csv", "text,start\nx,1\n", "no row has 'video_id'"),
        ("a.jsonl", '{"text": "x", "start": 1}\nnothing\n', "cannot be read as JSONL"),
    ],
)
def test_a_file_that_cannot_be_used_says_why_before_any_video(
    name: str, text: str, said: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=said) as broken:
        ImportAnnotations(Settings(file=str(tmp_path / name))).setup()
    assert broken.value.cure and name in str(broken.value)


def test_a_file_that_is_missing_huge_or_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no annotations at"):
        ImportAnnotations(Settings(file=str(tmp_path / "gone.json"))).fingerprint()
    huge = tmp_path / "huge.csv"
    with huge.open("wb") as file:
        file.truncate(200 << 20)
    with pytest.raises(InputError, match="200 MB"):
        ImportAnnotations(Settings(file=str(huge))).setup()
    with pytest.raises(ValidationError, match="json, jsonl"):
        Settings(file="annotations.pkl")


def test_a_result_depends_on_what_the_file_holds_and_not_on_where_it_lies(tmp_path: Path) -> None:
    stages = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        (folder / "published.csv").write_text(table(",", "one"))
        stages.append(ImportAnnotations(Settings(file=str(folder / "published.csv"))))
    assert stages[0].fingerprint() == stages[1].fingerprint()
    (tmp_path / "b" / "published.csv").write_text(table(",", "two"))
    assert stages[0].fingerprint() != stages[1].fingerprint()


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["one", "text", "start", "end", "rows", "x"]), inner)
    ),
    max_leaves=12,
)


@given(st.sampled_from(["json", "jsonl", "csv", "tsv"]), values, st.booleans())
def test_whatever_a_file_holds_is_read_or_refused_in_words(
    form: str, value: object, nested: bool
) -> None:
    names = Layout(Names("video_id", "text", "start", "end", fields=("text", "start"), rows="rows"))
    data = json.dumps({"one": value} if nested else value).encode()
    try:
        found = read_annotations(data, form, names, "f")
    except InputError as refusal:
        assert refusal.cure
        return
    for row in (row for own in found.values() for row in own):
        assert row.refused or (row.text and 0 <= row.start_s <= (row.end_s or 0))


@given(st.binary(max_size=200), st.sampled_from(["json", "jsonl", "csv", "tsv"]))
def test_bytes_that_are_no_text_are_read_or_refused_in_words(data: bytes, form: str) -> None:
    try:
        read_annotations(data, form, NAMES, "f")
    except InputError as refusal:
        assert refusal.cure


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (3, 3.0),
        ("3.25", 3.25),
        ("01:02:03,5", 3723.5),
        ("61:00", 3660.0),
        (10**400, None),
        (float("nan"), None),
        ("inf", None),
        ("-2", None),
        ("1e5000", None),
        (None, None),
        ("not visible", None),
    ],
)
def test_times_are_seconds_or_clocks(value: object, wanted: float | None) -> None:
    assert seconds(value) == wanted


ASKED = [
    {"q": "What is poured?", "a": "milk", "start": 1.5, "end": 4.0, "at": 0.5},
    {"q": "What was poured?", "a": "milk", "start": 1.5, "end": 4.0, "at": "0:20"},
    {"q": "What is stirred?", "a": "it", "start": 4.0, "end": 9.25, "at": 8.0, "told": 10.0},
    {"q": "What is it?", "a": "milk", "start": 4.0, "end": 9.25},
]


def questions(tmp_path: Path, rows: list[dict[str, Any]]) -> Video:
    (tmp_path / "one.annotations.json").write_text(json.dumps(rows))
    names = {"question": "q", "answer": "a", "asked": "at", "answered": "told"}
    return imported(video(folder=tmp_path), questions="asked", **names)


def test_questions_of_people_become_samples_with_evidence_and_turn(tmp_path: Path) -> None:
    one = questions(tmp_path, ASKED)
    assert refused(one) == []
    samples = {s.question: s for segment in one.layer("asked") for s in segment.samples}
    turns = {
        name: (s.turn.start_s, s.turn.end_s) if s.turn else None for name, s in samples.items()
    }
    assert turns == {
        "What is poured?": (0.5, 4.0),  # the answer waits for what proves it
        "What was poured?": (20.0, 20.0),
        "What is stirred?": (8.0, 10.0),
        "What is it?": None,
    }
    for segment in one.layer("asked"):
        assert [sample.evidence for sample in segment.samples] == [[segment.span]]


def test_a_question_without_an_answer_or_with_a_time_that_is_none_is_refused(
    tmp_path: Path,
) -> None:
    rows = [{**ASKED[0], "a": " "}, {**ASKED[0], "at": "noon"}, {**ASKED[0], "at": 99}, ASKED[0]]
    one = questions(tmp_path, rows)
    assert len(one.layer("asked")) == 1
    assert refused(one) == [
        "no_answer: 1 rows (1)", "no_turn: 1 rows (2)", "outside: 1 rows (3)",
    ]  # fmt: skip
