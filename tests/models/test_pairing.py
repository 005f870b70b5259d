"""Many requests through each backend that runs in the actor, with planted faults.

Every reply is to be on the request that it answers and every rejection counted, whatever order
replies come in. `CLIPMILL_CLIPS=10000` asks as many as `test_openai_teacher.py` asks of a server.
"""

from __future__ import annotations

import asyncio
import io
import os
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from fake_vllm import FakeVllm, seen
from pictures import COLOURS, picture
from PIL import Image

from clipmill.schemas.errors import ModelError
from clipmill.stages.caption.caption_clip import caption_schema
from clipmill.stages.models.contract import Answers, ask
from clipmill.stages.models.tab import Bill, open_tab
from clipmill.stages.models.teacher import Reply, Request, Teacher, TeacherSettings
from clipmill.stages.models.transformers_teacher import TransformersTeacher
from clipmill.stages.models.vllm_teacher import VllmTeacher

pytestmark = pytest.mark.models

CLIPS = int(os.environ.get("CLIPMILL_CLIPS", "1000"))
PICTURES = [picture(colour, mark) for mark in range(4) for colour in COLOURS]


def answered(teacher: Teacher, asked: Sequence[Request], size: int) -> tuple[Answers, Bill]:
    """All requests in parts of `size`, eight parts at a time as on an actor; the sum of it."""

    async def all_parts() -> list[Answers]:
        gate = asyncio.Semaphore(8)

        async def one(part: Sequence[Request]) -> Answers:
            async with gate:
                answers = await ask(teacher, part)
            names = [request.id for request in part]
            assert [name for name in names if name in answers.found] == list(answers.found)
            return answers

        starts = range(0, len(asked), size)
        return await asyncio.gather(*(one(asked[n : n + size]) for n in starts))

    with open_tab() as tab:
        ended = asyncio.run(all_parts())
    whole = Answers()
    for answers in ended:
        assert not answers.found.keys() & answers.rejected.keys()
        whole.found.update(answers.found)
        whole.rejected.update(answers.rejected)
        whole.foreign += answers.foreign
    assert whole.found.keys() | whole.rejected.keys() == {request.id for request in asked}
    (bill,) = tab.bills.values()
    return whole, bill


@pytest.fixture
def vllm(
    tiny_vlm: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., tuple[VllmTeacher, FakeVllm]]]:
    opened = []

    def opens(**own: Any) -> tuple[VllmTeacher, FakeVllm]:
        engine = FakeVllm().install(monkeypatch)
        settings = {"backend": "vllm", "model": str(tiny_vlm), "vllm": own}
        teacher = VllmTeacher(TeacherSettings.model_validate(settings))
        teacher.setup()
        opened.append(teacher)
        return teacher, engine

    yield opens
    for teacher in opened:
        teacher.close()


FOR_GOOD = {
    "truncated": "truncated",
    "off_schema": "off_schema",
    "aborted": "error",
    "refused": "error",
    "broken": "error",
    "ended": "error",
}


def draw(prompt: str) -> tuple[float, str]:
    """What fate has for a request, from its number alone."""
    rng = random.Random("".join(letter for letter in prompt.partition(":")[0] if letter.isdigit()))
    return rng.random(), rng.choice(sorted(FOR_GOOD))


def planted(prompt: str, number: int) -> str:
    share, fault = draw(prompt)
    if share < 0.02:  # whatever is said
        return fault
    if share < 0.06 and number == 1:  # right at the second asking
        return fault
    return "right"


def test_replies_of_vllms_engine_reach_their_own_clips(
    vllm: Callable[..., tuple[VllmTeacher, FakeVllm]],
) -> None:
    teacher, engine = vllm()
    engine.fate = planted
    asked = [
        Request(f"clip-{n}", f"{n}: describe.", (PICTURES[n % 20],), caption_schema(60))
        for n in range(CLIPS)
    ]
    answers, bill = answered(teacher, asked, 100)
    decoded = [Image.open(io.BytesIO(data)).convert("RGB") for data in PICTURES]
    doomed = {}
    for n, request in enumerate(asked):
        share, fault = draw(request.prompt)
        if share < 0.02:
            doomed[request.id] = FOR_GOOD[fault]
        else:
            truth = f"seen {seen([decoded[n % 20]], request.prompt)}"
            assert answers.found[request.id].value == {"caption": truth}
            assert answers.found[request.id].repaired is (share < 0.06)
    assert answers.rejected == doomed and 0.01 < len(doomed) / CLIPS < 0.03
    assert engine.order != sorted(engine.order, key=lambda what: int(what.split()[0]))
    assert (bill.requests, bill.rejected) == (CLIPS, len(doomed))
    asked_twice = sum(draw(request.prompt)[0] < 0.06 for request in asked)
    assert bill.repaired == asked_twice - len(doomed)
    silent = sum(engine.fates[fate] for fate in ("refused", "broken", "ended"))
    told = sum(engine.fates.values()) - silent
    assert bill.tokens == 120 * told and bill.error


def test_an_engine_that_died_is_started_again_and_no_clip_is_lost(
    vllm: Callable[..., tuple[VllmTeacher, FakeVllm]],
) -> None:
    teacher, engine = vllm()
    engine.fate = lambda prompt, number: "dead" if len(engine.order) in (40, 150) else "right"
    asked = [Request(f"{n}", f"{n}: describe.", (), caption_schema(60)) for n in range(200)]
    answers, bill = answered(teacher, asked, 20)
    for n in range(200):
        truth = f"seen {seen([], f'{n}: describe.')}"
        assert answers.found[f"{n}"].value == {"caption": truth}
    assert engine.fates["dead"] == 2 and engine.started == 3
    assert bill.rejected == 0


def test_an_engine_that_dies_again_and_again_fails_the_part_and_rejects_no_clip(
    vllm: Callable[..., tuple[VllmTeacher, FakeVllm]],
) -> None:
    teacher, engine = vllm()
    engine.fate = lambda prompt, number: "dead"
    with pytest.raises(ModelError, match="engine died"):
        asyncio.run(ask(teacher, [Request("a", "1: describe.", (), caption_schema(60))]))


def test_more_pictures_than_the_engine_takes_fail_the_part(
    vllm: Callable[..., tuple[VllmTeacher, FakeVllm]],
) -> None:
    teacher, _ = vllm(max_images=2)
    with pytest.raises(ModelError, match="3 pictures, the engine takes 2"):
        asyncio.run(ask(teacher, [Request("a", "1: describe.", tuple(PICTURES[:3]))]))


def test_what_a_recipe_sets_is_what_vllm_is_given(
    vllm: Callable[..., tuple[VllmTeacher, FakeVllm]],
) -> None:
    _, engine = vllm(
        tensor_parallel=4, max_length=9000, max_images=12, gpu_memory=0.8, concurrency=96,
        batch_tokens=16384, eager=True,
    )  # fmt: skip
    given = engine.arguments
    assert (given["tensor_parallel_size"], given["distributed_executor_backend"]) == (4, "mp")
    assert (given["max_model_len"], given["max_num_seqs"]) == (9000, 96)
    assert given["max_num_batched_tokens"] == 16384
    assert given["limit_mm_per_prompt"] == {"image": 12, "video": 0}
    assert given["gpu_memory_utilization"] == 0.8 and given["enforce_eager"] is True
    assert given["enable_prefix_caching"] is True
    assert given["structured_outputs_config"]["disable_any_whitespace"] is True


def test_a_schema_and_a_seed_reach_vllms_sampling(
    vllm: Callable[..., tuple[VllmTeacher, FakeVllm]],
) -> None:
    teacher, engine = vllm()
    greedy = Request("a", "1: describe.", (), caption_schema(60), 77, seed=5)
    sampled = Request("b", "2: describe.", (), None, 77, 0.7, seed=5)
    asyncio.run(teacher.ask([greedy]))
    asyncio.run(teacher.ask([sampled]))
    first, second = engine.sampling
    assert first.structured_outputs.json == caption_schema(60)
    assert (first.temperature, first.seed, first.max_tokens) == (0.0, None, 77)
    assert second.structured_outputs is None
    assert (second.temperature, second.seed) == (0.7, 5)


class Unruly:
    """Between a real backend and the contract: loses, doubles, mangles, delays and shuffles."""

    def __init__(self, inside: Teacher) -> None:
        self.inside = inside
        self.identity, self.settings = inside.identity, inside.settings
        self.fates: dict[str, str] = {}
        self._late: list[Reply] = []

    def setup(self) -> None: ...

    def close(self) -> None: ...

    async def ask(self, requests: Sequence[Request]) -> list[Reply]:
        late, self._late = self._late, []
        found = [*late]
        for reply in await self.inside.ask(requests):
            number, _, repair = reply.id.partition("~")
            share = random.Random(f"fate {number}").random()
            stubborn = share < 0.02 or not repair
            fault = ("lost", "doubled", "mangled", "late", "cut")[int(share * 1000) % 5]
            if share >= 0.06 or not stubborn:
                found.append(reply)
                continue
            self.fates[number] = fault
            match fault:
                case "lost":
                    pass
                case "doubled":
                    found += [reply, Reply(reply.id, '"abcd:0"')]
                case "mangled":
                    found.append(Reply(reply.id, reply.text[1:]))
                case "late":
                    self._late.append(reply)
                case "cut":
                    found.append(Reply(reply.id, reply.text, finish_reason="length"))
        random.Random(len(found)).shuffle(found)
        return found


REASONS = {
    "lost": "lost",
    "doubled": "doubled",
    "mangled": "not_json",
    "late": "lost",
    "cut": "truncated",
}


def test_replies_of_transformers_reach_their_own_clips(tiny_vlm: Path) -> None:
    settings = TeacherSettings(model=str(tiny_vlm), batch_size=250, dtype="float32")
    backend = TransformersTeacher(settings)
    backend.setup()

    def request(name: str, content: int) -> Request:
        # Four letters that the model chooses by what it sees, then the clip's own number.
        form = {"type": "string", "pattern": f"^[a-z]{{4}}:{name}$"}
        return Request(name, "Say it.", (PICTURES[content],), form, 24)

    # What the model says of each picture, asked alone; pictures of which it says the same go.
    letters = {
        asyncio.run(backend.ask([request("0", content)]))[0].text[1:5]: content
        for content in range(len(PICTURES))
    }
    assert len(letters) >= 5, "the model says the same of everything"
    kinds = list(letters.items())
    asked = [request(str(n), kinds[n % len(kinds)][1]) for n in range(CLIPS)]
    unruly = Unruly(backend)
    answers, bill = answered(unruly, asked, 250)
    backend.close()
    doomed = {n for n in range(CLIPS) if random.Random(f"fate {n}").random() < 0.02}
    assert answers.rejected == {str(n): REASONS[unruly.fates[str(n)]] for n in sorted(doomed)}
    for n in set(range(CLIPS)) - doomed:
        said, _, number = answers.found[str(n)].value.partition(":")
        assert number == str(n)
        # A complaint in the prompt changes what is said, not about which clip.
        complained = unruly.fates.get(str(n)) in ("mangled", "cut")
        assert complained or said == kinds[n % len(kinds)][0]
    assert set(unruly.fates.values()) == set(REASONS)
    assert 0.01 < len(doomed) / CLIPS < 0.03
    assert (bill.requests, bill.rejected) == (CLIPS, len(doomed))
    assert bill.repaired == len(unruly.fates) - len(doomed)
    assert answers.foreign > 0  # those that came late, to a question that was closed
