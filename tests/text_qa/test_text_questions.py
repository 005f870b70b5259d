"""Questions from texts: right by the facts, held to their source, of the types that are wanted.

Captions are of painted scenes, whose every slot is known. Each acceptance must fail with its
operator left out.
"""

from __future__ import annotations

import asyncio
import io
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image
from planted import World, painted, right
from quizzers import Edge
from tellers import Writer

from clipmill.pipeline.output.decide import decide
from clipmill.pipeline.output.tables import compact
from clipmill.pipeline.store.store import Store
from clipmill.schemas.records import Author, Frame, Part, Sample, Segment
from clipmill.schemas.tables import flatten
from clipmill.stages.decision import Decision
from clipmill.stages.filter import balance_samples, dedup
from clipmill.stages.filter.balance_samples import BalanceSamples
from clipmill.stages.filter.dedup import Dedup
from clipmill.stages.frames.embed_pixels import EmbedPixels
from clipmill.stages.frames.embed_pixels import Settings as PixelSettings
from clipmill.stages.models import teacher_stage
from clipmill.stages.qa import text_qa
from clipmill.stages.qa.text_qa import TextQa

AUTHOR = "test"
_WORD = re.compile(r"\w+")
_FREE = {"a", "an", "the", "it", "its", "is", "are", "was", "were", "in", "on", "at", "of", "to"}


def captioned(videos: int, scenes: int = 6) -> World:
    world = painted(videos, frames=1, scenes=scenes)
    for part in world.parts:
        for segment in part.video.layer("shots"):
            scene = world.scenes[f"{part.video.id}/{segment.id}"]
            segment.add_text("caption", right(scene), Author(AUTHOR))
    return world


def asked(
    world: World, model: Edge | None, **settings: object
) -> list[tuple[Part, Segment, Sample]]:
    """The questions about a world; by the teacher that ships where no other is given."""
    embedded = {} if model else {"teacher": {"model": "embedded"}}
    stage = TextQa(text_qa.Settings.model_validate(settings | embedded))
    with pytest.MonkeyPatch.context() as patch:
        if model is not None:
            patch.setattr(teacher_stage, "open_teacher", lambda _: model)
        stage.setup()
    for part in world.parts:
        asyncio.run(stage.process(part))
    stage.close()
    return samples(world)


def samples(world: World) -> list[tuple[Part, Segment, Sample]]:
    return [
        (part, segment, sample)
        for part in world.parts
        for segment in part.video.segments
        for sample in segment.samples
    ]


def share_right(world: World, found: Sequence[tuple[Part, Segment, Sample]]) -> float:
    """Answers that the scene's own facts give, of all; 0 where nothing is asked."""
    good = []
    for part, segment, sample in found:
        thing = world.scenes[f"{part.video.id}/{segment.id}"].things[0]
        if "colour" in sample.question:
            good.append(sample.answer == thing.colour and thing.shape in sample.question)
        elif " do?" in sample.question:
            caption = segment.texts_of("caption")[0].text
            good.append(
                sample.answer.removeprefix("it ") in caption and thing.shape in sample.question
            )
        else:
            place = right(world.scenes[f"{part.video.id}/{segment.id}"])
            good.append(set(_WORD.findall(sample.answer)) - _FREE <= set(_WORD.findall(place)))
    return sum(good) / len(good) if good else 0.0


@pytest.mark.models
def test_the_teacher_that_ships_asks_what_the_facts_answer() -> None:
    world = captioned(2, scenes=3)
    found = asked(world, None)
    share = share_right(world, found)
    print(f"{len(found)} answers by the small teacher, {share:.3f} right")
    assert len(found) >= 15 and share >= 0.9
    assert share_right(world, []) < 0.9, "the check does not notice that nothing was asked"


def supported(found: Sequence[tuple[Part, Segment, Sample]]) -> bool:
    """Every answer has only words of its source, which it names."""
    return bool(found) and all(
        set(_WORD.findall(sample.answer)) - _FREE <= set(_WORD.findall(text.text))
        for _, segment, sample in found
        for text in segment.texts
        if text.id in sample.sources
    )


def test_every_answer_is_supported_by_its_source_though_the_model_invents() -> None:
    world = captioned(20)
    found = asked(world, Writer())
    assert supported(found) and share_right(world, found) >= 0.98
    assert len(found) >= 0.95 * len(world.scenes), "a planted broken reply cost its clip"
    lying = Writer()
    lying.rate = 1.0
    loose = captioned(20)
    assert not supported(asked(loose, lying, grounded=False)), "the check sees no invention"


def test_an_answer_is_written_before_its_question_and_not_in_it() -> None:
    world, writer = captioned(2), Writer()
    found = asked(world, writer, prompt="qa_answer_first.v1", answer_first=True)
    assert found and supported(found)
    for request in writer.asked:
        item = (request.schema or {})["properties"]["questions"]["items"]["properties"]
        assert list(item) == ["answer", "question"]
    assert all(sample.answer not in sample.question for *_, sample in found)

    class Telling(Writer):
        rate = 0.0

        def _question(self, *told: object) -> dict[str, object]:  # type: ignore[override]
            plain = super()._question(*told)  # type: ignore[arg-type]
            return plain | {"question": f"Is it {plain['answer']}?"}

    refused = captioned(1)
    assert asked(refused, Telling(), prompt="qa_answer_first.v1", answer_first=True) == []
    assert {s.labels["rejected_qa"] for s in refused.parts[0].video.segments} == {"off_contract"}


def test_texts_of_several_roles_and_the_title_are_told_with_their_names() -> None:
    world, writer = captioned(1), Writer()
    [part] = world.parts
    part.video.meta["title"] = "Shapes on parade"
    first, *rest = part.video.segments
    first.add_text("asr", "and here it comes", Author(AUTHOR))
    found = asked(world, writer, told=("asr",), title=True, types=("open", "choice"),
                  prompt="qa_typed.v1")  # fmt: skip
    prompts = [request.prompt for request in writer.asked if "~" not in request.id]
    assert '"asr: and here it comes"' in prompts[0] and "asr:" not in prompts[1]
    assert all('"title: Shapes on parade"' in prompt for prompt in prompts)
    own = [sample for _, segment, sample in found if segment is first]
    assert own[0].sources == ["caption:test:0", "asr:test:0"]
    assert len(rest) == 5 and {s.labels["type"] for *_, s in found} <= {"open", "choice"}


WANTED = {"open": 0.5, "yes_no": 0.25, "counting": 0.25}


def shares(world: World, store: Store, decisions: list[Decision]) -> dict[str, float]:
    compact(store, [part.video for part in world.parts], "g1")
    refused = decide(store, decisions, "shots").refused_samples()
    counts = Counter(
        sample.labels["type"]
        for part, segment, sample in samples(world)
        if sample.id not in refused.get((part.video.id, segment.id), ())
    )
    assert counts.total() >= 100
    return {kind: counts[kind] / counts.total() for kind in WANTED}


def meets(found: dict[str, float]) -> bool:
    return all(abs(found[kind] - share) <= 0.02 for kind, share in WANTED.items())


def test_types_have_the_shares_that_are_wanted(tmp_path: Path) -> None:
    world = captioned(60)
    asked(world, Writer(), types=tuple(WANTED), prompt="qa_typed.v1")
    balance = BalanceSamples(balance_samples.Settings(shares=WANTED))
    before = shares(world, Store.open(tmp_path / "as-asked"), [])
    after = shares(world, Store.open(tmp_path / "balanced"), [balance])
    print({kind: round(share, 3) for kind, share in before.items()}, after)
    assert meets(after) and not meets(before)


def pixels(world: World) -> World:
    stage = EmbedPixels(PixelSettings(name="glance"))
    for part in world.parts:
        stage.process(part)
    return world


def copied(frame: Frame) -> Frame:
    """The picture as another upload of the same film has it: scaled, and coded worse."""
    file = io.BytesIO()
    picture = Image.open(io.BytesIO(frame.jpeg)).convert("RGB").resize((128, 96))
    picture.save(file, "JPEG", quality=60)
    return Frame(frame.clock, frame.tick, file.getvalue(), 128, 96)


def test_fifty_copies_of_test_videos_are_all_removed_and_others_stay(tmp_path: Path) -> None:
    tests = pixels(painted(50, scenes=1, seed=8))
    reference = tmp_path / "embeddings.parquet"
    pq.write_table(flatten([part.video for part in tests.parts])["embeddings"], reference)
    train = painted(100, scenes=1, seed=9)
    copies = painted(50, scenes=1, seed=8)
    for part in copies.parts:
        part.video.id = f"copy-of-{part.video.id}"
        for name, frames in part.frames.items():
            part.frames[name] = [copied(frame) for frame in frames]
    train.parts += copies.parts
    pixels(train)
    store = Store.open(tmp_path / "out")
    compact(store, [part.video for part in train.parts], "g1")
    settings = dedup.Settings(
        embedding="glance", threshold=0.9985, within="video", reference=str(reference)
    )

    def kept(decisions: list[Decision]) -> tuple[int, int]:
        names = decide(store, decisions, "shots").kept_ids()
        return (sum(name.startswith("copy") for name in names), sum("copy" not in n for n in names))

    left, others = kept([Dedup(settings)])
    print(f"{left} of 50 copies left, {others} of 100 others")
    assert left == 0 and others >= 90
    assert kept([])[0] == 50, "the check does not notice that nothing was removed"
