"""The real open_clip classes on a tiny model: unit vectors, order, alignment."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pictures import COLOURS, part_of, picture

from clipmill.schemas.errors import ModelError
from clipmill.schemas.records import Author
from clipmill.stages.frames.embed import Embed
from clipmill.stages.models.encoder import EncoderSettings
from clipmill.stages.models.open_clip_encoder import OpenClipEncoder
from clipmill.stages.score.score_alignment import ScoreAlignment

pytestmark = pytest.mark.models

PICTURES = [picture(colour, place) for place, colour in enumerate(COLOURS)]
WRITER = Author("test")


@pytest.fixture(scope="module")
def encoder(tiny_clip: Path) -> Iterator[OpenClipEncoder]:
    loaded = OpenClipEncoder(EncoderSettings(model=str(tiny_clip), batch_size=2))
    loaded.setup()
    yield loaded
    loaded.close()


def test_vectors_are_float32_and_of_unit_length(encoder: OpenClipEncoder) -> None:
    pictures, words = encoder.images(PICTURES), encoder.texts(["a red car", "", "x" * 5000])
    assert pictures.shape == (5, 32) and words.shape == (3, 32)
    assert pictures.dtype == words.dtype == np.float32
    for vectors in (pictures, words):
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_nothing_gives_no_rows(encoder: OpenClipEncoder) -> None:
    assert encoder.images([]).shape == encoder.texts([]).shape == (0, 32)


def test_a_row_depends_on_its_own_picture_alone(encoder: OpenClipEncoder) -> None:
    vectors = encoder.images(PICTURES)
    np.testing.assert_allclose(vectors, encoder.images(PICTURES), atol=1e-6)
    order = [3, 0, 4, 2, 1]
    np.testing.assert_allclose(
        encoder.images([PICTURES[n] for n in order]), vectors[order], atol=1e-5
    )
    assert np.abs(vectors[0] - vectors[1]).max() > 1e-3  # else order could not be seen
    np.testing.assert_allclose(vectors[0] @ encoder.images([PICTURES[0]])[0], 1, atol=1e-5)


def test_bytes_that_are_no_picture_are_named(encoder: OpenClipEncoder) -> None:
    with pytest.raises(ModelError, match="no picture"):
        encoder.images([PICTURES[0], b"junk"])


def test_a_folder_without_weights_is_refused_and_not_filled_at_random(
    tiny_clip: Path, tmp_path: Path
) -> None:
    shutil.copy(tiny_clip / "open_clip_config.json", tmp_path)
    with pytest.raises(ModelError, match="cannot be loaded"):
        OpenClipEncoder(EncoderSettings(model=str(tmp_path))).setup()


def test_a_clips_vector_is_the_unit_mean_of_its_own_frames(
    encoder: OpenClipEncoder, tiny_clip: Path
) -> None:
    stage = Embed(Embed.Settings(encoder=EncoderSettings(model=str(tiny_clip)), name="look"))
    stage.setup()
    part = part_of("v", 4, frames=3)
    part.frames[part.video.segments[1].id] = part.frames[part.video.segments[1].id][:1]
    del part.frames[part.video.segments[2].id]
    stage.process(part)
    for segment in part.video.segments:
        frames = part.frames.get(segment.id)
        if frames is None:
            assert segment.embeddings == []
            continue
        (made,) = segment.embeddings
        mean = encoder.images([frame.jpeg for frame in frames]).mean(axis=0)
        np.testing.assert_allclose(made.vector, mean / np.linalg.norm(mean), atol=1e-5)
        assert made.name == "look"
        assert made.model.startswith("tiny-clip@")
    stage.close()


def aligned(tiny_clip: Path, **more: object) -> ScoreAlignment:
    settings = {"encoder": {"model": str(tiny_clip)}, **more}
    stage = ScoreAlignment(ScoreAlignment.Settings.model_validate(settings))
    stage.setup()
    return stage


def test_alignment_is_the_cosine_of_text_and_picture(
    encoder: OpenClipEncoder, tiny_clip: Path
) -> None:
    part = part_of("v", 3, frames=3)
    for segment, text in zip(part.video.segments, ("an old text", "blue", ""), strict=True):
        if text:
            segment.add_text("caption", text, WRITER)
    part.video.segments[0].add_text("caption", "red", WRITER)  # the last version is scored
    mean, best = aligned(tiny_clip), aligned(tiny_clip, pooling="max", name="best")
    best.process(mean.process(part))
    for segment, text in zip(part.video.segments, ("red", "blue"), strict=False):
        rows = encoder.images([frame.jpeg for frame in part.frames[segment.id]])
        word = encoder.texts([text])[0]
        whole = rows.mean(axis=0)
        expected = float(whole @ word / np.linalg.norm(whole))
        assert segment.scores["alignment"] == pytest.approx(expected, abs=1e-5)
        assert segment.scores["best"] == pytest.approx(float((rows @ word).max()), abs=1e-5)
    assert part.video.segments[2].scores == {}


def test_a_stored_embedding_scores_as_the_frames_it_was_made_of(tiny_clip: Path) -> None:
    part = part_of("v", 3, frames=3)
    for segment in part.video.segments:
        segment.add_text("caption", f"clip {segment.id}", WRITER)
    stage = Embed(Embed.Settings(encoder=EncoderSettings(model=str(tiny_clip))))
    stage.setup()
    aligned(tiny_clip).process(stage.process(part))
    part.frames.clear()
    aligned(tiny_clip, embedding="clip", name="stored").process(part)
    for segment in part.video.segments:
        assert segment.scores["stored"] == pytest.approx(segment.scores["alignment"], abs=1e-5)


def test_vectors_of_two_encoders_are_never_compared(tiny_clip: Path) -> None:
    part = part_of("v", 1)
    stage = Embed(Embed.Settings(encoder=EncoderSettings(model=str(tiny_clip))))
    stage.setup()
    stage.process(part)
    part.video.segments[0].embeddings[0].model = "ViT-B-32@openai"
    part.video.segments[0].add_text("caption", "red", WRITER)
    with pytest.raises(ModelError, match="ViT-B-32@openai"):
        aligned(tiny_clip, embedding="clip").process(part)


def test_the_best_frame_of_a_pooled_vector_is_refused_when_the_recipe_is_read() -> None:
    with pytest.raises(ValueError, match="pooling"):
        ScoreAlignment.Settings(embedding="clip", pooling="max")


def test_needs_follow_the_settings() -> None:
    assert "frames" in ScoreAlignment(ScoreAlignment.Settings()).reads()
    stored = ScoreAlignment(ScoreAlignment.Settings(embedding="clip")).reads()
    assert "embeddings:clip" in stored and "frames" not in stored
