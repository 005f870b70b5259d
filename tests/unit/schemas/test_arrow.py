from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pytest
from hypothesis import given, settings

from clipmill.schemas.arrow import arrow_type, from_arrow, to_arrow
from clipmill.schemas.records import Video
from tests.unit.schemas.record_strategies import videos


@settings(max_examples=40)
@given(videos)
def test_any_video_survives_arrow(video: Video) -> None:
    column = pa.array([to_arrow(video)], type=arrow_type(Video), from_pandas=False)
    again = from_arrow(Video, column[0].as_py())
    assert repr(to_arrow(again)) == repr(to_arrow(video))


@settings(max_examples=40)
@given(videos)
def test_dictionary_order_does_not_change_the_bytes(video: Video) -> None:
    before = to_arrow(video)
    video.meta = dict(reversed(video.meta.items()))
    for segment in video.segments:
        segment.scores = dict(reversed(segment.scores.items()))
        segment.labels = dict(reversed(segment.labels.items()))
    assert repr(to_arrow(video)) == repr(before)


def test_fields_an_older_writer_lacked_take_their_default() -> None:
    old = to_arrow(Video("a", "a.mp4"))
    del old["consent"], old["parents"]
    assert from_arrow(Video, old) == Video("a", "a.mp4")


def test_a_field_of_two_types_is_refused() -> None:
    @dataclass
    class Odd:
        either: int | str

    Odd.__annotations__["either"] = int | str
    with pytest.raises(TypeError, match=r"X \| None"):
        arrow_type(Odd)
