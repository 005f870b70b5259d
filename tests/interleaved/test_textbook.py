"""Lessons to documents: a key frame per slide, nothing astray, slides read, everything in order."""

from __future__ import annotations

import json
import sys
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from lesson import Shown, Teacher, lesson

from clipmill.pipeline.engine.run import run
from clipmill.pipeline.output.tables import read_videos
from clipmill.pipeline.output.verify import verify
from clipmill.pipeline.recipe.recipe import load_recipe
from clipmill.pipeline.store.store import Store
from clipmill.schemas.records import Part, Segment
from clipmill.stages.asr_text.read_ocr import ReadOcr
from clipmill.stages.frames.distinct_frames import DistinctFrames
from clipmill.stages.interleave.interleave_document import InterleaveDocument
from clipmill.stages.models import teacher_stage
from clipmill.stages.score.judge_panel import JudgePanel
from clipmill.stages.score.roundtrip_check import RoundtripCheck

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(autouse=True)
def _edge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teacher_stage, "open_teacher", Teacher)


@dataclass
class Book:
    """A document from a shard, the clips of its video, and what the lesson truly was."""

    document: dict[str, list[Any]]
    facts: dict[str, Any]
    clips: list[Segment]
    truth: list[Shown]


@pytest.fixture(scope="module")
def lessons(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, list[Shown]]]:
    folder = tmp_path_factory.mktemp("lessons")
    found = {}
    for seed in range(2):
        path = folder / f"lesson-{seed}.mp4"
        found[path.name] = (path, lesson(path, seed))
    return found


def books(
    lessons: dict[str, tuple[Path, list[Shown]]], out: Path, max_side: int = 192
) -> list[Book]:
    source = next(iter(lessons.values()))[0].parent
    sets = ["stages.transcribe.engine=subtitles", f"stages.sample_frames.max_side={max_side}"]
    run(
        load_recipe("interleaved/textbook", sets), str(source), str(out), engine="inline",
    )  # fmt: skip
    store = Store.open(str(out))
    assert verify(store).ok
    clips = {video.id: video.layer("speech") for video in read_videos(store)}
    found = []
    for shard in sorted((out / "shards").glob("*.tar")):
        with tarfile.open(shard) as tar:
            for member in tar.getmembers():
                if member.name.endswith(".json"):
                    facts = json.loads(tar.extractfile(member).read())  # type: ignore[union-attr]
                    [text] = [t["text"] for t in facts["texts"] if t["role"] == "document"]
                    name = facts["video"]["id"]
                    truth = lessons[Path(name).name][1]
                    found.append(Book(json.loads(text), facts, clips[name], truth))
    return found


def slide_at(second: float, truth: Sequence[Shown]) -> int:
    return max(n for n, one in enumerate(truth) if one.start_s <= second + 0.3 or n == 0)


def share(found: int, of: int) -> float:
    return found / of if of else 0.0


def f1(precision: float, recall: float) -> float:
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def frames_f1(book: Book) -> float:
    """One picture of each slide that is taught, and of no other."""
    wanted = {n for n, one in enumerate(book.truth) if one.kind == "lesson"}
    seconds = [
        second for image, second in zip(book.document["images"], book.document["seconds"],
                                        strict=True) if image
    ]  # fmt: skip
    hit = {slide_at(second, book.truth) for second in seconds} & wanted
    return f1(share(len(hit), len(seconds)), share(len(hit), len(wanted)))


def removed(books: Sequence[Book]) -> tuple[float, float]:
    """Precision and recall of the clips that are left out against those that do not teach."""
    left_out = astray = both = 0
    for book in books:
        [text] = [t for t in book.facts["texts"] if t["role"] == "document"]
        kept = {source.partition("/")[0] for source in text["sources"]}
        for clip in book.clips:
            middle = (clip.span.start_s + clip.span.end_s) / 2
            teaches = book.truth[slide_at(middle, book.truth)].kind == "lesson"
            left_out += clip.id not in kept
            astray += not teaches
            both += clip.id not in kept and not teaches
    return share(both, left_out), share(both, astray)


def accept(books: list[Book], lessons: dict[str, tuple[Path, list[Shown]]]) -> None:
    """The family's acceptance, but for what is read on the slides."""
    assert len(books) == len(lessons)
    frames = sum(frames_f1(book) for book in books) / len(books)
    precision, recall = removed(books)
    print(f"key frames F1 {frames:.2f}, left out: precision {precision:.2f}, recall {recall:.2f}")
    assert frames >= 0.95 and precision >= 0.9 and recall >= 0.9
    for book in books:
        document, scores = book.document, book.facts["scores"]
        pairs = list(zip(document["images"], document["texts"], strict=True))
        assert all((image is None) != (text is None) for image, text in pairs)
        assert document["seconds"] == sorted(document["seconds"])
        assert scores["document_images"] == sum(image is not None for image, _ in pairs)
        assert scores["document_texts"] == sum(text is not None for _, text in pairs)
        assert scores["document_words"] == sum(len(text.split()) for _, text in pairs if text)
        assert pairs[0][0] is not None, "a document begins with its first slide"


@pytest.fixture
def single(
    lessons: dict[str, tuple[Path, list[Shown]]], tmp_path: Path
) -> dict[str, tuple[Path, list[Shown]]]:
    """One of the lessons in a folder of its own."""
    name, (path, truth) = next(iter(lessons.items()))
    (tmp_path / "in").mkdir()
    for file in (path, path.with_suffix(".vtt")):
        (tmp_path / "in" / file.name).write_bytes(file.read_bytes())
    return {name: (tmp_path / "in" / name, truth)}


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slides are not read, which is slow, where it is no matter."""
    monkeypatch.setattr(ReadOcr, "setup", lambda self: None)
    monkeypatch.setattr(ReadOcr, "process", lambda self, part: part)


@pytest.mark.usefixtures("unread")
def test_lessons_become_documents_of_their_slides_and_what_is_said_of_them(
    lessons: dict[str, tuple[Path, list[Shown]]], tmp_path: Path
) -> None:
    accept(books(lessons, tmp_path), lessons)


def test_what_is_written_on_a_slide_stands_behind_its_picture(
    single: dict[str, tuple[Path, list[Shown]]], tmp_path: Path
) -> None:
    pytest.importorskip("rapidocr", reason="the [ocr] extra is not installed")
    [book] = books(single, tmp_path / "out", max_side=768)
    accept([book], single)
    document = book.document
    wrong = letters = 0
    for place, second in enumerate(document["seconds"]):
        if document["images"][place] is None:
            continue
        want = "".join("".join(book.truth[slide_at(second, book.truth)].lines).split())
        read = "".join(document["texts"][place + 1].split())
        blocks = SequenceMatcher(None, want, read, False).get_matching_blocks()
        wrong += max(len(want), len(read)) - sum(block.size for block in blocks)
        letters += len(want)
    print(f"letters misread {wrong / letters:.3f}")
    assert wrong <= 0.05 * letters and letters > 200


@pytest.mark.usefixtures("unread")
@pytest.mark.parametrize("gone", [DistinctFrames, RoundtripCheck, JudgePanel, InterleaveDocument])
def test_without_an_operator_the_acceptance_fails(
    gone: type[Any],
    single: dict[str, tuple[Path, list[Shown]]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def later(self: object, part: Part) -> Part:
        return part

    asks = gone in (RoundtripCheck, JudgePanel)
    monkeypatch.setattr(gone, "process", later if asks else lambda self, part: part)
    with pytest.raises(AssertionError):
        accept(books(single, tmp_path / "out"), single)
