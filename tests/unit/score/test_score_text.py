"""Texts measured by themselves: against counts made by hand, and against real languages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clipmill.schemas.clocks import MILLISECONDS, Span
from clipmill.schemas.records import Author, Part, Segment, Transcript, Utterance, Video, Word
from clipmill.stages.score.languages_seen import language_of
from clipmill.stages.score.score_text import ScoreText, Settings, longest_gap, repetition


def scored(text: str, seconds: float = 4.0, **settings: object) -> Segment:
    video = Video("v", "v.mp4")
    video.add_segments("shots", [Span.of_seconds(0, seconds)])
    video.segments[0].add_text("asr", text, Author("t"))
    stage = ScoreText(Settings(**settings))  # type: ignore[arg-type]
    stage.setup()
    return stage.process(Part(video)).video.segments[0]


def test_length_and_rate_are_counted_over_the_whole_segment() -> None:
    segment = scored("one two three four five six")
    assert segment.scores["text_words"] == 6
    assert segment.scores["text_chars"] == 27
    assert segment.scores["text_rate"] == 1.5
    assert "text_loss" not in segment.scores and "text_gap_s" not in segment.scores


def test_a_loop_is_repetition_and_prose_is_not() -> None:
    assert repetition(["thank", "you", "for", "watching"] * 10) > 0.85
    prose = "we choose to go to the moon in this decade and do the other things"
    assert repetition(prose.split()) == 0
    assert repetition(["hm"]) == 0


def word(start: int, end: int) -> Word:
    return Word("w", start, end)


def test_the_longest_silence_counts_the_edges_and_words_that_reach_in() -> None:
    video = Video("v", "v.mp4")
    words = [word(0, 1200), word(1500, 2000), word(4500, 5000), word(9000, 9500)]
    video.transcripts = [
        Transcript(MILLISECONDS, Author("t"), utterances=[Utterance("w w w w", 0, 9500, words)])
    ]
    spans = [(1, 6), (2, 3), (6, 8.5), (4.4, 5.1)]
    video.add_segments("shots", [Span.of_seconds(*span) for span in spans])
    for segment in video.segments:
        segment.add_text("asr", "w w", Author("t"))
    stage = ScoreText(Settings(measures=("gap",)))
    stage.setup()
    stage.process(Part(video))
    assert [s.scores["text_gap_s"] for s in video.segments] == [2.5, 1.0, 2.5, 0.1]
    assert longest_gap(video.segments[0], []) == 5.0


def test_the_last_text_of_the_role_counts_and_a_segment_without_has_no_score() -> None:
    video = Video("v", "v.mp4")
    video.add_segments("shots", [Span.of_seconds(0, 1), Span.of_seconds(1, 2)])
    video.segments[0].add_text("asr", "old text", Author("t"))
    video.segments[0].add_text("asr", "the newer text", Author("t"))
    stage = ScoreText(Settings(name="said"))
    stage.setup()
    stage.process(Part(video))
    assert video.segments[0].scores["said_words"] == 3
    assert video.segments[1].scores == {} and video.segments[1].labels == {}


def test_declared_columns_are_those_that_are_measured() -> None:
    stage = ScoreText(Settings(name="t", measures=("gap", "language", "loss")))
    assert stage.adds() == {"scores:t_gap_s", "labels:t_language", "scores:t_loss"}
    assert "transcripts" in stage.reads() and stage.own_actor and "torch" in stage.requires()
    plain = ScoreText(Settings())
    assert "transcripts" not in plain.reads() and not plain.own_actor and not plain.requires()


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "So what we are going to do is put this on the table and look at it."),
        ("de", "Der hinter diesem Portal liegende Raum wurde als Leichenhalle genutzt."),
        ("fr", "Il faut mettre la farine dans un grand saladier avec du sucre et des œufs."),
        ("es", "Las arenas son blanquecinas de grano medio y tiene muy poca asistencia."),
        ("it", "Questa è la strada che porta al mare, ma non ci sono più le case di una volta."),
        ("nl", "Dit is het huis van mijn broer en hij woont er al heel lang met zijn gezin."),
        ("pt", "Ele não sabe onde fica a casa da minha irmã, mas também não quer perguntar."),
        ("ja", "客観的実在の判断的知識が成立するのである。"),
        ("zh", "今天我们来做一道简单的菜"),
        ("ru", "Сегодня мы готовим суп"),
        ("ko", "오늘은 간단한 요리를 만들어 봅시다"),
        (None, "Lorem ipsum dolor sit amet consectetur adipiscing elit sed eiusmod tempor"),
        (None, "♪ ♪ 123"),
        (None, "okay"),
    ],
)
def test_the_language_of_a_sentence_is_told_or_left_open(language: str | None, text: str) -> None:
    assert language_of(text) == language


def test_real_texts_are_told_apart_line_by_line(real_media: Path) -> None:
    """Every text of the speech folder whose language is known; lines of at least eight words."""
    right = total = 0
    for name, entry in json.loads((real_media / "speech" / "transcripts.json").read_text()).items():
        text = entry.get("text")
        if text is None and entry.get("kind") == "text_lines":
            text = (real_media / entry["file"]).read_text()
        for line in (text or "").splitlines():
            line = line.rpartition("|")[2]
            if len(line.split()) >= 8:
                total += 1
                right += language_of(line) == entry["lang"]
                assert language_of(line) in (entry["lang"], None), (name, line)
    assert total >= 20 and right >= 0.9 * total


class Unigrams:
    """A language model at the edge: loss by how often a word was met in its small corpus."""

    identity = ("unigrams", "1")

    def setup(self) -> None: ...

    def close(self) -> None: ...

    def losses(self, texts: list[tuple[str, str]]) -> list[float | None]:
        known = {"the": 0.5, "cat": 2.0, "sat": 2.0}
        return [
            sum(known.get(w, 9.0) for w in text.split()) / len(text.split()) if not context else 0.0
            for context, text in texts
        ]


def test_the_loss_of_a_given_model_is_a_column_like_any_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from clipmill.stages.score import score_text

    monkeypatch.setattr(score_text, "open_language_model", lambda settings: Unigrams())
    assert scored("the cat sat", measures=("loss",)).scores == {"text_loss": 1.5}
    assert scored("qwx zrt the", measures=("loss",)).scores["text_loss"] > 6
