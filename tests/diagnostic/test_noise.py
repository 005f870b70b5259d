"""SpookyBench: what noise hides is plain in its motion and cannot be guessed from one frame.

The single-frame audit is believed because it fires on the control: the same films with the content
a little brighter than its surroundings.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from clipmill.pipeline.output.audit_shortcuts import Audit, audit
from clipmill.pipeline.store.store import Store
from clipmill.schemas.errors import InputError
from clipmill.stages.compose import noise
from clipmill.stages.compose.world import SHAPES
from clipmill.stages.frames.embed_pixels import EmbedPixels
from clipmill.stages.media import sandbox
from tests.diagnostic.checker import overlap
from tests.diagnostic.marked import moving
from tests.diagnostic.test_recipes import hold, packed

SMALL = [
    "compose.hidden.noise.width=96",
    "compose.hidden.noise.height=72",
    "compose.hidden.noise.fps=10",
    "compose.hidden.noise.seconds=1.0",
    "compose.hidden.noise.grain=1",
    "compose.hidden.copies=6",
]
HIDDEN = ["circle", "star", "TIGER", "OPEN"]


@pytest.fixture(scope="module", autouse=True)
def child() -> Iterator[None]:
    yield
    sandbox.close()


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("words") / "words.txt"
    path.write_text("\n".join(HIDDEN) + "\n")
    return path


def from_one_frame(out: Path) -> tuple[Audit, float]:
    found = audit(Store.open(str(out)), "frame")
    [frame] = [finding for finding in found.findings if finding.guesser == "frame"]
    return found, frame.accuracy


def test_spookybench_is_read_from_motion_and_not_from_a_frame(words: Path, tmp_path: Path) -> None:
    made = packed("diagnostic/spookybench", words, tmp_path, *SMALL)
    counts = hold(made, {"recognition"})
    # Coded again, the packed clip would show the outline that the composed one does not.
    assert {facts["media"]["mode"] for facts, _ in made} == {"smart"}, made[0][0]["media"]
    assert counts["recognition"] == 6 * len(HIDDEN)
    found, accuracy = from_one_frame(tmp_path)
    print(f"one frame of hidden content: {accuracy:.0%} right, chance 25%")
    assert found.ok, found.findings


def test_without_the_vectors_of_frames_there_is_no_audit_of_frames(
    words: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EmbedPixels, "process", lambda self, part: part)
    packed("diagnostic/spookybench", words, tmp_path, *SMALL, "compose.hidden.copies=1")
    with pytest.raises(InputError, match="no vectors 'frame'"):
        audit(Store.open(str(tmp_path)), "frame")


def test_content_that_a_frame_shows_is_reported(words: Path, tmp_path: Path) -> None:
    packed("diagnostic/spookybench", words, tmp_path, *SMALL, "compose.hidden.noise.contrast=0.2")
    found, accuracy = from_one_frame(tmp_path)
    print(f"one frame of visible content: {accuracy:.0%} right, chance 25%")
    assert not found.ok and all(names == ["frame"] for names in found.leaky.values())


@pytest.mark.parametrize("content", [*SHAPES[:3], "RIVER"])
def test_one_picture_of_noise_is_the_same_inside_and_outside(content: str) -> None:
    settings = noise.Settings(width=160, height=120, seconds=0.5)
    pictures = list(noise.pictures(content, settings, 3))
    shown = noise.mask(content, 160, 120)
    inside, outside = (pictures[4][..., 0][place].astype(float) for place in (shown, ~shown))
    spread = 127.5 / np.sqrt(shown.sum() / settings.grain**2)
    assert abs(inside.mean() - outside.mean()) < 4 * spread
    assert overlap(moving(pictures, 2), shown) > 0.7
