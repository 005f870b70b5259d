"""A clip's sound is the source's own to the sample where it is copied, and is encoded elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from clipmill.schemas.clocks import Span
from clipmill.stages.media.audio import audio
from clipmill.stages.media.clip import Encoding
from clipmill.stages.media.clip_sound import low_complexity
from clipmill.stages.media.cut import cut_group
from clipmill.stages.media.limits import Limits
from clipmill.stages.media.probe import probe
from tests.media.conftest import SCENES
from tests.rendered import render

RATE = 48_000


def sound_packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def heard(path: Path, start: float = 0.0, length: float | None = None) -> Any:
    end = None if length is None else start + length
    found = probe(path, count_frames=False)
    return np.concatenate(list(audio(path, found, rate=RATE, start_s=start, end_s=end)))


@pytest.mark.parametrize("mode", ["smart", "copy"])
@pytest.mark.parametrize("name", ["plain", "late_picture", "late_sound"])
def test_copied_sound_is_the_source_s_to_the_sample(tmp_path: Path, mode: Any, name: str) -> None:
    options: dict[str, Any] = {
        "plain": {},
        "late_picture": {"offset": 6400},
        "late_sound": {"sound_offset": 0.7},
    }[name]
    truth = render(tmp_path / "film.mp4", SCENES, bframes=3, beeps=[0.5, 2.0, 3.1], **options)
    found = probe(truth.path)
    clock, rate = found.picture.clock, found.sound[0].sample_rate
    assert rate == RATE
    spans = {
        "middle": Span(clock, truth.ticks[33], truth.ticks[88]),
        "late": Span(clock, truth.ticks[51], truth.ticks[97]),
    }
    made = cut_group(truth.path, found, spans, tmp_path, Encoding(mode=mode), Limits())
    source = set(sound_packets(truth.path))
    for key, span in spans.items():
        assert set(sound_packets(made[key].path)) <= source
        start, length = clock.seconds(span.start), made[key].seconds
        wanted = heard(truth.path, start, length)
        seen = heard(made[key].path)[: len(wanted)]
        assert len(seen) == len(wanted) == round(length * RATE)
        assert np.abs(wanted).max() > 0
        assert np.array_equal(seen, wanted)


def test_where_the_sound_ends_before_the_span_silence_follows(tmp_path: Path) -> None:
    truth = render(tmp_path / "film.mp4", SCENES, beeps=[0.5], bframes=3)
    found = probe(truth.path)
    sound = found.sound[0]
    # A picture that goes on for a second after the sound, as its packets say.
    assert found.picture.end is not None and sound.end is not None
    found.picture.end += found.picture.clock.den
    span = Span(found.picture.clock, truth.ticks[60], found.picture.end)
    made = cut_group(truth.path, found, {"a": span}, tmp_path, Encoding(mode="smart"), Limits())
    assert made["a"].mode == "smart"
    assert len(heard(made["a"].path)) >= round(made["a"].seconds * RATE)
    clip = probe(made["a"].path).sound[0]
    assert clip.clock.seconds(clip.end or 0) == pytest.approx(made["a"].seconds, abs=0.001)


@pytest.mark.parametrize(
    ("config", "copied"),
    [
        ("1190", True),  # 48 kHz stereo
        ("121056e500", True),  # 44.1 kHz stereo, an extension that says: no replication
        ("1188", True),  # mono
        ("11b0", False),  # six channels
        ("1310" + "56e5a0", False),  # spectral band replication on top
        ("2b920800", False),  # HE-AAC
        ("1194", False),  # packets of 960 samples
        ("0a10", False),  # AAC Main
        ("11", False),
        ("", False),
    ],
)
def test_only_plain_low_complexity_is_copied(config: str, copied: bool) -> None:
    assert low_complexity(bytes.fromhex(config)) is copied
