"""Films rendered once per session, each with one property that media in the wild has."""

from __future__ import annotations

import random
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest

from tests.rendered import Rendered, render

SCENES = [30, 40, 50]
BEEPS = [0.5, 2.0]


def uneven(base: Fraction) -> list[int]:
    """Frame durations of 20, 40 or 60 ms, in ticks."""
    choice = random.Random(7)
    return [choice.choice([1, 2, 3]) * round(Fraction(1, 50) / base) for _ in range(sum(SCENES))]


FILMS: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("plain.mp4", {"beeps": BEEPS, "bframes": 3}),
    "vfr": ("vfr.mp4", {"durations": uneven(Fraction(1, 12800)), "bframes": 3, "beeps": BEEPS}),
    "vfr_mkv": (
        "vfr.mkv",
        {"durations": uneven(Fraction(1, 1000)), "time_base": Fraction(1, 1000), "beeps": BEEPS},
    ),
    "turned": ("turned.mp4", {"rotation": 90}),
    "wide_pixels": ("wide.mp4", {"sar": Fraction(2, 1)}),
    "two_pictures": ("two.mp4", {"second": True, "beeps": BEEPS}),
    "late_sound": ("late.mp4", {"beeps": BEEPS, "sound_offset": 0.7}),
    "late_picture": ("late_picture.mp4", {"beeps": BEEPS, "offset": 6400}),
    "transport": ("stream.ts", {"time_base": Fraction(1, 90000), "beeps": BEEPS, "bframes": 3}),
    "no_times": ("no_times.avi", {"time_base": Fraction(1, 25), "bframes": 3}),
    "raw_stream": ("raw.h264", {"time_base": Fraction(1, 25), "bframes": 3}),
    "odd_10bit": ("odd.mkv", {"size": (195, 129), "pix_fmt": "yuv444p10le", "codec": "libx264"}),
    "no_keys": ("no_keys.mp4", {"gop": 1000, "bframes": 3, "options": {"sc_threshold": "0"}}),
}


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Rendered]:
    """A film by its name in `FILMS`."""
    folder = tmp_path_factory.mktemp("films")
    made: dict[str, Rendered] = {}

    def get(name: str) -> Rendered:
        if name not in made:
            file, options = FILMS[name]
            made[name] = render(folder / file, SCENES, **options)
        return made[name]

    return get
