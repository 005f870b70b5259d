"""Inputs: the same list whatever the file system says, and hostile manifests stay harmless."""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipmill.schemas.errors import InputError
from clipmill.schemas.records import Video
from clipmill.stages.source.ingest_video import MAX_LINE, Settings, ingest


def videos(source: str | Path, **more: Any) -> list[Video]:
    return list(ingest(str(source), Settings(**more)))


def ids(source: str | Path, **more: Any) -> list[str]:
    return [video.id for video in videos(source, **more)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "in"
    for name in (
        "b.mp4", "a.MKV", "sub/deep/c.webm", "sub/notes.txt", "._a.mp4", ".cache/d.mp4",
        "sub.mp4/e.mov", "clip.bin",
    ):  # fmt: skip
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def test_a_folder_gives_its_videos_sorted_by_their_path_below_it(folder: Path) -> None:
    found = videos(folder)
    assert [video.id for video in found] == ["a.MKV", "b.mp4", "sub.mp4/e.mov", "sub/deep/c.webm"]
    assert [video.source for video in found] == [str(folder / video.id) for video in found]


def test_the_name_of_the_folder_is_no_part_of_the_ids(folder: Path) -> None:
    moved = folder.rename(folder.with_name("elsewhere"))
    assert ids(moved) == ["a.MKV", "b.mp4", "sub.mp4/e.mov", "sub/deep/c.webm"]


def test_pattern_and_extensions_choose_files(folder: Path) -> None:
    assert ids(folder, pattern="*") == ["a.MKV", "b.mp4"]
    assert ids(folder, pattern="sub/**/*") == ["sub/deep/c.webm"]
    assert ids(folder, extensions=["bin"]) == ["clip.bin"]
    assert ids(folder, all_files=True, pattern="*") == ["a.MKV", "b.mp4", "clip.bin"]


def test_a_glob_counts_ids_from_its_first_wildcard(folder: Path) -> None:
    assert ids(f"{folder}/sub/**/*") == ["deep/c.webm"]
    assert ids(f"{folder}/*.mp4") == ["b.mp4"]


def test_one_file_is_one_input(folder: Path) -> None:
    (video,) = videos(folder / "clip.bin")
    assert (video.id, video.source) == ("clip.bin", str(folder / "clip.bin"))


def test_a_text_list_counts_paths_from_its_own_folder(folder: Path) -> None:
    list_file = folder / "list.txt"
    list_file.write_text(
        "# the good ones\nb.mp4\n\n  sub/deep/c.webm  \n/abs/x.mp4\ns3://b/y.mp4\n"
    )
    assert [(v.id, v.source) for v in videos(list_file)] == [
        ("b.mp4", str(folder / "b.mp4")),
        ("sub/deep/c.webm", str(folder / "sub/deep/c.webm")),
        ("/abs/x.mp4", "/abs/x.mp4"),
        ("s3://b/y.mp4", "s3://b/y.mp4"),
    ]


ROWS: list[dict[str, Any]] = [
    {
        "id": "one",
        "path": "b.mp4",
        "title": "A title, with a comma",
        "description": "two\nlines",
        "license": "CC BY 4.0",
        "consent": "form 12",
        "provenance": "shot by us",
        "subtitles": "b.srt",
        "views": 1200,
    },
    {"id": "two", "path": "gone.mp4", "views": None, "title": ""},
]


def write_manifest(path: Path) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    elif path.suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(row) for row in ROWS) + "\n\n")
    else:
        delimiter = "\t" if path.suffix == ".tsv" else ","
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, list(ROWS[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(ROWS)
        path.write_bytes(b"\xef\xbb\xbf" + text.getvalue().encode())
    return path


@pytest.mark.parametrize("suffix", ["parquet", "jsonl", "csv", "tsv"])
def test_every_form_of_a_manifest_says_the_same(tmp_path: Path, suffix: str) -> None:
    one, two = videos(write_manifest(tmp_path / f"list.{suffix}"))
    assert one == Video(
        id="one",
        source=str(tmp_path / "b.mp4"),
        licence="CC BY 4.0",
        consent="form 12",
        provenance="shot by us",
        meta={
            "views": "1200",
            "title": "A title, with a comma",
            "description": "two\nlines",
        },
        side_files={"subtitles": str(tmp_path / "b.srt")},
    )
    # A missing file is a counted failure of that input later, so it is still an input here.
    assert two == Video(id="two", source=str(tmp_path / "gone.mp4"))


def test_columns_can_have_other_names(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("clip,file\nfirst,a.mp4\n")
    (video,) = videos(path, id_column="clip", path_column="file")
    assert (video.id, video.source, video.meta) == ("first", str(tmp_path / "a.mp4"), {})
    path.write_text("url\nhttps://example.org/a.mp4\n")
    assert ids(path) == ["https://example.org/a.mp4"]


def test_a_doubled_id_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("id,path\nx,a.mp4\ny,b.mp4\nx,c.mp4\n")
    with pytest.raises(InputError, match="the id 'x' is given twice"):
        videos(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"id,title\n1,t\n", "no path"),
        ("a.csv", b"path,path\na,b\n", "used twice"),
        ("a.csv", b"path,title\na.mp4\n", "1 fields where the header has 2"),
        ("a.csv", b'path\n"a.mp4\n', "not CSV"),
        ("a.csv", b"", "the list is empty"),
        ("a.csv", b"path\n\xff\xfe.mp4\n", "not UTF-8"),
        ("a.jsonl", b'{"path": "a.mp4"\n', "not JSON"),
        ("a.jsonl", b'["a.mp4"]\n', "not a JSON object"),
        ("a.jsonl", b"[" * 100_000, "not JSON"),
        ("a.jsonl", b" " * (MAX_LINE + 1), "a line longer than"),
        ("a.parquet", b"PAR1 not really", "not Parquet"),
        ("a.txt", b"# nothing\n", "the list is empty"),
        ("a.txt", b"x" * 2000, "an id of 2000 characters"),
    ],
)
def test_an_unusable_manifest_is_refused_with_its_reason(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        videos(path)
    assert str(path) in (caught.value.input or "")
    assert caught.value.cure


def test_an_input_that_is_not_there_is_refused(tmp_path: Path) -> None:
    for source in (tmp_path / "none", f"{tmp_path}/*.mp4", tmp_path):
        with pytest.raises(InputError):
            videos(source)


def test_text_of_a_manifest_is_cleaned_and_capped(tmp_path: Path) -> None:
    path = tmp_path / "list.jsonl"
    row = {"path": "a.mp4", "title": "red \x1b[31mword\x00", "notes": "x" * 50, "n": {"b": [1]}}
    path.write_text(json.dumps(row))
    (video,) = videos(path, max_text=20)
    assert video.meta == {"title": "red [31mword", "notes": "x" * 20, "n": '{"b": [1]}'}


def test_too_many_columns_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "list.jsonl"
    path.write_text(json.dumps({"path": "a.mp4", **{f"c{n}": n for n in range(300)}}))
    with pytest.raises(InputError, match="301 columns"):
        videos(path)


def test_a_remote_folder_and_a_remote_manifest_are_read_alike() -> None:
    system = fsspec.filesystem("memory")
    for name in ("x/b.mp4", "x/sub/a.mp4", "x/notes.md", "x/.hidden.mp4"):
        system.pipe(f"/bucket/{name}", b"")
    found = videos("memory://bucket/x")
    assert [(v.id, v.source) for v in found] == [
        ("b.mp4", "memory:///bucket/x/b.mp4"),
        ("sub/a.mp4", "memory:///bucket/x/sub/a.mp4"),
    ]
    system.pipe("/bucket/x/list.csv", b"path,subtitles\nb.mp4,b.vtt\n")
    (video,) = videos("memory://bucket/x/list.csv")
    assert video.source == "memory://bucket/x/b.mp4"
    assert video.side_files == {"subtitles": "memory://bucket/x/b.vtt"}


@settings(max_examples=60)
@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["path", "id", "title", "subtitles", "other"]),
            st.none()
            | st.text(max_size=30)
            | st.integers()
            | st.floats()
            | st.lists(st.text(max_size=3), max_size=2),
        ),
        max_size=4,
    )
)
def test_any_json_manifest_gives_clean_videos_or_a_refusal(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]
) -> None:
    path = tmp_path_factory.mktemp("m") / "m.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    try:
        found = videos(path)
    except InputError:
        return
    assert len(found) == len(rows)
    assert len({video.id for video in found}) == len(found)
    for video in found:
        assert not any(unicodedata.category(c) in ("Cc", "Cs") for c in video.id)
