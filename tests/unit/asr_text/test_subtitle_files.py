"""Subtitle files of four forms, rolling captions, and files made to do harm."""

from __future__ import annotations

import itertools
import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipmill.schemas.errors import OverLimit
from clipmill.stages.asr_text import subtitle_files
from clipmill.stages.asr_text.subtitle_files import (
    MAX_BYTES,
    Subtitles,
    cue_utterances,
    is_sound,
    parse,
)


def read(text: str) -> Subtitles:
    return parse(text.encode())


def cues(text: str) -> list[tuple[int, int, str]]:
    return [(u.start, u.end, u.text) for u in read(text).utterances]


SRT = """1
00:00:01,500 --> 00:00:03,000
Hello <i>there</i>,
General.

2
00:01:00,000 --> 00:01:02,250
{\\an8}Goodbye &amp; thanks
"""


def test_subrip_gives_times_in_milliseconds_and_text_without_tags() -> None:
    assert cues(SRT) == [
        (1500, 3000, "Hello there, General."),
        (60_000, 62_250, "Goodbye & thanks"),
    ]


def test_subrip_with_windows_line_ends_and_a_byte_order_mark_reads_alike() -> None:
    marked = b"\xef\xbb\xbf" + SRT.replace("\n", "\r\n").encode()
    assert parse(marked) == read(SRT)
    assert parse(SRT.encode("utf-16")) == read(SRT)


def test_a_number_that_is_said_is_not_taken_for_a_cue_number() -> None:
    text = "1\n00:00:00,000 --> 00:00:02,680\n1\n\n2\n00:00:03,000 --> 00:00:04,000\nOne.\n"
    assert [text for *_, text in cues(text)] == ["1", "One."]


def test_a_missing_blank_line_does_not_glue_cues_together() -> None:
    text = "1\n00:00:00,000 --> 00:00:01,000\nfirst\n2\n00:00:01,000 --> 00:00:02,000\nsecond\n"
    assert [text for *_, text in cues(text)] == ["first", "second"]


def test_a_blank_line_under_the_time_does_not_lose_the_text() -> None:
    text = "1\n00:00:00,000 --> 00:00:01,000\n\nsaid\n\n2\n00:00:01,000 --> 00:00:02,000\n\n\n"
    assert [text for *_, text in cues(text)] == ["said"]


VTT = """WEBVTT - a title
Kind: captions
Language: pt-BR

STYLE
::cue { color: red }

NOTE
this is not said by anybody

intro
00:01.000 --> 00:02.500 align:start position:0%
<v.loud Ana Maria>Ol\u00e1 <c.yellow>mundo</c></v>
<v Rui>Adeus</v>

NOTE nor is this

100:00:00.000 --> 100:00:01.000
&lt;late&gt;
"""


def test_webvtt_knows_voices_classes_notes_styles_and_cue_settings() -> None:
    found = read(VTT)
    assert found.language == "pt-BR"
    assert [(u.speaker, u.text, u.start, u.end) for u in found.utterances] == [
        ("Ana Maria", "Ol\u00e1 mundo", 1000, 2500),
        ("Rui", "Adeus", 1000, 2500),
        (None, "<late>", 360_000_000, 360_001_000),
    ]


def test_substation_gives_speakers_and_leaves_comments_and_drawings_out() -> None:
    text = """[Script Info]
ScriptType: v4.00+

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Comment: 0,0:00:00.00,0:00:09.00,Default,,0,0,0,,not said
Dialogue: 0,0:00:01.50,0:00:03.00,Default,Ann,0,0,0,,{\\i1}Well{\\i0},\\Nyes, commas
Dialogue: 0,0:00:02.00,0:00:03.00,Default,,0,0,0,,{\\p1}m 0 0 l 100 0 100 100{\\p0}
"""
    found = read(text).utterances
    assert [(u.start, u.end, u.speaker, u.text) for u in found] == [
        (1500, 3000, "Ann", "Well, yes, commas")
    ]


ROLLING = """WEBVTT

00:00:00.000 --> 00:00:02.000 align:start
 
no<00:00:00.500><c> no</c><00:00:01.000><c> stop</c>

00:00:02.000 --> 00:00:02.010
no no stop
 

00:00:02.010 --> 00:00:03.000
no no stop
please

00:00:03.000 --> 00:00:03.010
please
 

00:00:03.010 --> 00:00:09.000
please
please<00:00:03.600><c> go</c>
"""


def test_rolling_captions_say_each_word_once_at_its_own_time() -> None:
    words = [word for utterance in read(ROLLING).utterances for word in utterance.words]
    assert [(w.text, w.start, w.end) for w in words] == [
        ("no", 0, 500),
        ("no", 500, 1000),
        ("stop", 1000, 2000),
        ("please", 2010, 3000),
        ("please", 3010, 3600),
        ("go", 3600, 4600),
    ]


def test_lines_that_are_truly_repeated_survive_in_a_file_that_does_not_roll() -> None:
    lines = ["Run!", "Run!", "Where?", "Run!", "Run!"]
    text = "".join(
        f"{n + 1}\n00:00:0{n},000 --> 00:00:0{n + 1},000\n{line}\n\n"
        for n, line in enumerate(lines)
    )
    assert [text for *_, text in cues(text)] == lines


def test_youtube_json_gives_the_words_with_their_offsets() -> None:
    events = [
        {"tStartMs": 0, "dDurationMs": 9000, "id": 1},
        {
            "tStartMs": 1000,
            "dDurationMs": 5000,
            "segs": [{"utf8": "okay"}, {"utf8": " then", "tOffsetMs": 400}],
        },
        {"tStartMs": 2990, "aAppend": 1, "dDurationMs": 10, "segs": [{"utf8": "\n"}]},
        {"tStartMs": 3000, "dDurationMs": 2000, "segs": [{"utf8": "bye", "tOffsetMs": 0}]},
    ]
    found = read(json.dumps({"events": events})).utterances
    assert [(u.text, u.start, u.end) for u in found] == [
        ("okay then", 1000, 3000),
        ("bye", 3000, 5000),
    ]
    assert [(w.text, w.start, w.end) for w in found[0].words] == [
        ("okay", 1000, 1400),
        ("then", 1400, 2400),
    ]


def test_cues_out_of_order_backwards_or_before_zero_are_put_right_or_left_out() -> None:
    text = """WEBVTT

00:09.000 --> 00:10.000
last

00:05.000 --> 00:04.000
runs backwards

00:03.000 --> 00:03.000
lasts no time

-00:02.000 --> 00:01.000
first

00:00.500 --> 00:09.500
across the others
"""
    assert cues(text) == [
        (0, 1000, "first"),
        (500, 9500, "across the others"),
        (9000, 10_000, "last"),
    ]


def test_control_characters_and_direction_overrides_are_removed() -> None:
    text = "WEBVTT\n\n00:00.000 --> 00:01.000\n\x1b[31mred\x07 \u202egnp.exe\u202c\x00 end\n"
    assert cues(text) == [(0, 1000, "[31mred gnp.exe end")]


def test_latin_text_without_a_declared_encoding_is_read_as_windows_latin() -> None:
    data = SRT.replace("Hello", "Se\u00f1or \u201cHello\u201d").encode("cp1252")
    assert parse(data).utterances[0].text == "Se\u00f1or \u201cHello\u201d there, General."
    assert parse(b"1\n00:00:01,000 --> 00:00:02,000\ncaf\xe9 \x81 bar\n").utterances[0].text == (
        "caf\u00e9 bar"
    )


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"WEBVTT",
        b"\x00" * 4096,
        b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 16,
        b"{" * 100_000,
        b'{"events": {"0": 1}}',
        b'{"events": [null, {"segs": 3}, {"segs": [{"utf8": null}, "x"]}]}',
        b'{"events": [{"tStartMs": 1e300, "dDurationMs": "x", "segs": [{"utf8": "a"}]}]}',
        b"[Script Info]\n[Events]\nDialogue: 0,1\nDialogue: a,b,c,d,e,f,g,h,i,j\n",
        b"00:00:00,000 --> 99999999:00:00,000\nx\n",
        b"--> --> -->\n" * 1000,
    ],
)
def test_a_file_without_a_cue_gives_nothing_and_no_error(data: bytes) -> None:
    assert parse(data).utterances == []


@given(st.binary(max_size=400), st.sampled_from([b"", b"WEBVTT\n\n", b"[Events]\n", b'{"events":']))
def test_no_bytes_whatever_raise(noise: bytes, head: bytes) -> None:
    for utterance in parse(head + b"00:00.000 --> 00:01.000\n" + noise).utterances:
        assert 0 <= utterance.start < utterance.end
        assert utterance.text == " ".join(utterance.text.split())


@pytest.mark.parametrize(
    "piece",
    ["<", "<v ", "<v a", "<c><c>", "{\\", "[", "(", "*", "<00:00:00.0", "&amp", "\n ", "-->"],
)
def test_a_megabyte_of_half_open_tags_is_read_in_linear_time(piece: str) -> None:
    text = "WEBVTT\n\n00:00.000 --> 00:01.000\n" + piece * (1_000_000 // len(piece))
    started = time.process_time()
    for utterance in read(text).utterances:
        is_sound(utterance.text)
    assert time.process_time() - started < 5


def test_the_number_of_cues_and_the_size_of_a_file_are_capped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(OverLimit, match="16 MB"):
        parse(b"x" * (MAX_BYTES + 1))
    monkeypatch.setattr(subtitle_files, "MAX_CUES", 100)
    many = "".join(f"00:00.{n:03d} --> 00:01.000\nx\n\n" for n in range(300))
    assert [u.start for u in read("WEBVTT\n\n" + many).utterances] == list(range(100))
    events = [{"tStartMs": n, "dDurationMs": 1, "segs": [{"utf8": "x"}]} for n in range(300)]
    assert len(read(json.dumps({"events": events})).utterances) == 100


def test_sound_descriptions_are_told_from_words() -> None:
    assert is_sound("[ music ]")
    assert is_sound("(YAWNS) *sighs*")
    assert is_sound("\u266a\u266a")
    assert not is_sound("(whispers) come here")
    assert not is_sound("\u266a we wish you a merry \u266a")


def test_an_embedded_track_loses_its_substation_markup() -> None:
    found = cue_utterances([(2000, 3000, "b\\Nc"), (0, 1000, "{\\i1}a{\\i0} & co")])
    assert [(u.start, u.text) for u in found] == [(0, "a & co"), (2000, "b c")]


SPOKEN = (
    "okay welcome to this session this is called the kinetic bunny need to meet the virtual bonnie "
    "emilio stop this is jana car who just to give a little bit of background information we come "
    "from a company called le code from finland and"
)


def test_real_rolling_captions_give_what_was_said_once(real_media: Path) -> None:
    data = (real_media / "subtitles" / "youtube_auto_rolling_words.en.vtt").read_bytes()
    found = parse(data)
    words = [word for utterance in found.utterances for word in utterance.words]
    assert " ".join(word.text for word in words) == SPOKEN
    assert found.language == "en"
    assert all(a.end <= b.start for a, b in itertools.pairwise(words))
    assert (words[1].text, words[1].start) == ("welcome", 1310)
    # The same captions as SubRip have lost their word times; only the repeats tell that they roll.
    plain = parse((real_media / "subtitles" / "example3.en.srt").read_bytes()).utterances
    assert " ".join(utterance.text for utterance in plain) == SPOKEN


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("accented.srt", 17),
        ("elephantsdream_captions.ar.vtt", 77),
        ("elephantsdream_captions.en.vtt", 78),
        ("friday.vtt", 5),
        ("nasa_webb.srt", 4),
        ("sintel_short_en.vtt", 14),
        ("sonnet001_en.srt", 15),
        ("test.ass", 15),  # and two sound effects that last no time
        ("vttjs_spec_example.vtt", 13),
        ("w3c_rabbit_descriptions.vtt", 3),
        ("wwa_captions.en.vtt", 15),
        ("youtube_manual_sparse.en.vtt", 6),
    ],
)
def test_real_files_give_every_cue_in_order_and_free_of_markup(
    name: str, count: int, real_media: Path
) -> None:
    found = parse((real_media / "subtitles" / name).read_bytes()).utterances
    assert len(found) == count
    assert [u.start for u in found] == sorted(u.start for u in found)
    assert not any(mark in u.text for u in found for mark in ("<", ">", "-->", "{", "&amp;", "\n"))
