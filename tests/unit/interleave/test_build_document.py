"""Frames and words in turn: nothing lost, nothing out of order, silence kept."""

from __future__ import annotations

import itertools
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from clipmill.schemas.clocks import MILLISECONDS, Span
from clipmill.schemas.records import Author, Part, Segment, Transcript, Utterance, Video, Word
from clipmill.stages.asr_text.timed_words import Spoken
from clipmill.stages.interleave.build_document import BuildDocument, Settings, interleaved


def spoken(*words: tuple[str, int, int]) -> Video:
    video = Video("v", "v.mp4", meta={"title": "A race"})
    timed = [Word(*word) for word in words]
    text = " ".join(word.text for word in timed)
    video.transcripts = [
        Transcript(MILLISECONDS, Author("transcribe", "m", "1"), "speech", "en", 0,
                   [Utterance(text, timed[0].start, timed[-1].end, timed)])
    ]  # fmt: skip
    return video


def documents(
    video: Video, *spans: tuple[float, float], **settings: object
) -> list[dict[str, Any] | None]:
    video.add_segments("speech", [Span.of_seconds(*span) for span in spans])
    BuildDocument(Settings(**settings)).process(Part(video))  # type: ignore[arg-type]
    texts = [segment.texts_of("document") for segment in video.layer("speech")]
    return [json.loads(own[0].text) if own else None for own in texts]


TALK = (("they're", 300, 600), ("off", 700, 900), ("red", 2100, 2300), ("leads", 2400, 2700))


def test_words_stand_at_the_frame_in_whose_time_they_begin_and_silence_is_null() -> None:
    [document] = documents(spoken(*TALK), (0, 3))
    assert document is not None
    assert document["title"] == "A race" and document["previous"] == "" and document["fps"] == 2
    assert document["content"] == [
        {"frame": 0.0, "words": [[0.3, 0.6, "they're"]]},
        {"frame": 0.5, "words": [[0.7, 0.9, "off"]]},
        {"frame": 1.0, "words": None},
        {"frame": 1.5, "words": None},
        {"frame": 2.0, "words": [[2.1, 2.3, "red"], [2.4, 2.7, "leads"]]},
        {"frame": 2.5, "words": None},
    ]


def test_a_later_clip_counts_from_its_own_start_and_tells_what_was_said_before() -> None:
    first, second, silent = documents(spoken(*TALK), (0, 2), (2, 3), (3, 4))
    assert first is not None and second is not None and silent is None
    assert second["previous"] == "they're off"
    assert second["content"][0] == {"frame": 0.0, "words": [[0.1, 0.3, "red"], [0.4, 0.7, "leads"]]}
    [short] = documents(spoken(*TALK), (2, 3), previous_words=1)
    assert short is not None and short["previous"] == "off"


def test_the_request_and_the_count_go_with_it() -> None:
    video = spoken(*TALK)
    segment = Segment("speech-00000", "speech", Span.of_seconds(0, 3))
    segment.add_text("request", "Comment on the race.", Author("llm_rewrite"))
    video.segments.append(segment)
    stage = BuildDocument(Settings(request_role="request"))
    stage.process(Part(video))
    text = segment.texts_of("document")[0]
    assert json.loads(text.text)["request"] == "Comment on the race."
    assert text.author == Author("build_document", "m", "1") and text.language == "en"
    assert segment.scores == {"document_words": 4}
    assert "texts:request" in stage.reads()


def test_a_video_without_speech_has_no_documents() -> None:
    assert documents(Video("v", "v.mp4"), (0, 3)) == [None]


drawn = st.lists(st.tuples(st.integers(0, 20_000), st.integers(0, 900)), max_size=40)


@given(drawn, st.sampled_from([0.5, 1.0, 2.0, 3.0, 7.5]), st.integers(0, 4000))
def test_every_word_is_there_once_in_time_order(
    times: list[tuple[int, int]], fps: float, start: int
) -> None:
    words = [Spoken(f"w{n}", at, at + length, 0, n) for n, (at, length) in enumerate(times)]
    content = interleaved(words, start, 21_000, fps)
    flat = [word for slot in content for word in slot["words"] or []]
    assert sorted(word[2] for word in flat) == sorted(f"w{n}" for n in range(len(times)))
    assert all(a[0] <= b[0] for a, b in itertools.pairwise(flat))
    assert all(0 <= begin <= end <= (21_000 - start) / 1000 for begin, end, _ in flat)
    for number, slot in enumerate(content):
        assert abs(slot["frame"] - number / fps) < 0.001
        for begin, _, _ in slot["words"] or []:
            assert begin >= slot["frame"] - 0.001
            assert number == len(content) - 1 or begin < content[number + 1]["frame"] + 0.001
