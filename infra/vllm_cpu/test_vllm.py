"""The real vLLM, on a CPU: in process, behind its own server, and as a stage on Ray.

Each way gives the captions that the transformers backend gives at temperature 0.
"""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import HERE

from clipmill.pipeline.engine.inline_engine import InlineEngine
from clipmill.pipeline.engine.ledger import Ledger
from clipmill.pipeline.engine.parcel import Parcel
from clipmill.pipeline.engine.plan import plan
from clipmill.pipeline.engine.ray_engine import RayEngine
from clipmill.pipeline.engine.worker import Job
from clipmill.pipeline.recipe.recipe import load_recipe
from clipmill.pipeline.store.store import Store
from clipmill.schemas.errors import ModelError
from clipmill.schemas.records import Part, Video
from clipmill.schemas.shards import video_key
from clipmill.stages.models.contract import ask
from clipmill.stages.models.teacher import Reply, Request, Teacher, TeacherSettings, open_teacher
from clipmill.stages.models.vllm_teacher import engine_arguments

ENGINE = {
    "eager": True,
    "max_length": 2048,
    "max_images": 8,
    "concurrency": 8,
    "batch_tokens": 4096,
}


def in_vllm(model: Path) -> dict[str, Any]:
    return {"backend": "vllm", "model": str(model), "dtype": "float32", "vllm": ENGINE}


def same(replies: Sequence[Reply], expected: dict[str, Reply]) -> None:
    for reply in replies:
        there = expected[reply.id]
        assert (reply.text, reply.finish_reason) == (there.text, there.finish_reason)


@pytest.fixture(scope="module")
def teacher(model: Path) -> Iterator[Teacher]:
    loaded = open_teacher(TeacherSettings.model_validate(in_vllm(model)))
    loaded.setup()
    yield loaded
    loaded.close()


def test_in_process_it_says_what_transformers_says(
    teacher: Teacher, asked: list[Request], expected: dict[str, Reply]
) -> None:
    replies = asyncio.run(teacher.ask(asked))
    assert [reply.id for reply in replies] == [request.id for request in asked]
    same(replies, expected)
    for reply in replies:
        assert reply.usage.completion_tokens == expected[reply.id].usage.completion_tokens
        assert reply.usage.prompt_tokens == expected[reply.id].usage.prompt_tokens


def test_concurrent_replies_are_each_on_their_own_request(
    teacher: Teacher, asked: list[Request], expected: dict[str, Reply]
) -> None:
    rng = random.Random(3)
    count = int(os.environ.get("CLIPMILL_CLIPS", "200"))
    many = [replace(rng.choice(asked), id=f"{n}") for n in range(count)]
    about = {request.id: expected[_like(request, asked)] for request in many}

    async def parts() -> list[Any]:
        calls = [ask(teacher, many[start : start + 20]) for start in range(0, count, 20)]
        return await asyncio.gather(*calls)

    found = {name: a.value for answers in asyncio.run(parts()) for name, a in answers.found.items()}
    for name, value in found.items():
        assert value["caption"] in about[name].text
    assert len(found) == sum(reply.finish_reason == "stop" for reply in about.values())


def _like(request: Request, asked: list[Request]) -> str:
    return next(one.id for one in asked if one.images == request.images)


def test_a_recipes_settings_reach_the_engine(teacher: Any) -> None:
    made = teacher._engine.vllm_config
    assert made.scheduler_config.max_num_seqs == ENGINE["concurrency"]
    assert made.scheduler_config.max_num_batched_tokens == ENGINE["batch_tokens"]
    assert made.model_config.max_model_len == ENGINE["max_length"]
    assert made.model_config.enforce_eager is True
    assert made.model_config.generation_config == "vllm"
    assert made.model_config.multimodal_config.get_limit_per_prompt("image") == ENGINE["max_images"]
    assert made.cache_config.enable_prefix_caching is True
    assert made.structured_outputs_config.backend == "guidance"
    assert made.structured_outputs_config.disable_any_whitespace is True


def test_a_model_on_several_gpus_is_spread_by_processes_of_one_node(model: Path) -> None:
    from vllm import AsyncEngineArgs

    settings = {**in_vllm(model), "vllm": {**ENGINE, "tensor_parallel": 2, "gpu_memory": 0.7}}
    teacher = TeacherSettings.model_validate(settings)
    arguments = AsyncEngineArgs(model=str(model), **engine_arguments(teacher, sees=True))
    made = arguments.create_engine_config()
    assert made.parallel_config.tensor_parallel_size == 2
    assert made.parallel_config.distributed_executor_backend == "mp"
    assert made.cache_config.gpu_memory_utilization == 0.7


def test_more_pictures_than_the_engine_takes_fail_the_part_and_reject_no_clip(
    teacher: Teacher, asked: list[Request]
) -> None:
    with pytest.raises(ModelError, match="9 pictures, the engine takes 8"):
        asyncio.run(ask(teacher, [replace(asked[0], images=asked[0].images[:1] * 9)]))


def test_one_broken_or_overlong_request_is_an_error_of_its_own(
    teacher: Teacher, asked: list[Request], expected: dict[str, Reply]
) -> None:
    broken = replace(asked[0], id="broken", images=(b"\xff\xd8 no jpeg",))
    overlong = replace(asked[0], id="overlong", prompt="word " * 5000)
    bad, long, *good = asyncio.run(teacher.ask([broken, overlong, *asked[:3]]))
    assert bad.finish_reason == long.finish_reason == "error"
    same(good, expected)


def test_a_reply_cut_at_the_limit_says_so(teacher: Teacher, asked: list[Request]) -> None:
    (reply,) = asyncio.run(teacher.ask([replace(asked[0], max_tokens=4)]))
    assert reply.finish_reason == "length" and reply.usage.completion_tokens == 4


def test_a_seed_decides_a_sampled_reply(teacher: Teacher, asked: list[Request]) -> None:
    def said(seed: int) -> str:
        return asyncio.run(teacher.ask([replace(asked[0], temperature=1.5, seed=seed)]))[0].text

    assert said(1) == said(1)
    assert len({said(seed) for seed in range(4)}) > 1


def test_an_engine_that_was_killed_is_started_again_and_says_the_same(
    teacher: Teacher, asked: list[Request], expected: dict[str, Reply]
) -> None:
    below = psutil.Process().children(recursive=True)
    cores = [process for process in below if "EngineCore" in " ".join(process.cmdline())]
    assert cores, [process.cmdline() for process in below]
    for core in cores:
        core.kill()
    same(asyncio.run(teacher.ask(asked)), expected)


def answers(url: str) -> bool:
    try:
        urllib.request.urlopen(f"{url}/models", timeout=5).close()
    except OSError:
        return False
    return True


@pytest.fixture(scope="module")
def served(model: Path, teacher: Teacher) -> Iterator[str]:
    """vLLM's own server, on a port of its own; the in-process engine is ended first."""
    teacher.close()
    port = 20_000 + os.getpid() % 20_000
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--port", str(port)]
    command += ["--host", "127.0.0.1", "--model", str(model), "--served-model-name", "served"]
    command += ["--dtype", "float32", "--max-model-len", "2048", "--enforce-eager"]
    command += ["--limit-mm-per-prompt", '{"image": 8, "video": 0}', "--generation-config", "vllm"]
    grammar = '{"backend": "guidance", "disable_any_whitespace": true}'
    command += ["--structured-outputs-config", grammar, "--max-num-seqs", "8"]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=HERE
    )
    url = f"http://127.0.0.1:{port}/v1"
    try:
        limit = time.monotonic() + 600
        while not answers(url):
            assert process.poll() is None, "the server ended"
            assert time.monotonic() < limit, "the server does not come up"
            time.sleep(1)
        yield url
    finally:
        process.terminate()
        process.wait(60)


def test_its_server_says_the_same_to_the_openai_backend(
    served: str, asked: list[Request], expected: dict[str, Reply]
) -> None:
    client = open_teacher(
        TeacherSettings.model_validate(
            {"backend": "openai", "model": "served", "server": {"url": served}}
        )
    )
    client.setup()
    replies = asyncio.run(client.ask(asked))
    client.close()
    same(replies, expected)
    assert all(reply.usage.prompt_tokens > 0 for reply in replies)


RECIPE = """
recipe: 1
name: vllm
stages:
  - {file}:Clips
  - {file}:Pictures
  - caption_clip: {{teacher: {teacher}, frames: 2, max_chars: 24, max_tokens: 160}}
    env: {env}
    resources: {{gpus: 0, cpus: 1, timeout_s: 600}}
    actors: 1
"""


def captions(recipe: Path, out: Path, engine: Any) -> dict[str, str]:
    """Annotate three known videos; segment -> caption, or why there is none."""
    made, store = plan(load_recipe(recipe)), Store.open(out)
    parcels = []
    for name in ("u", "v", "w"):
        path = out.parent / f"{name}.mp4"
        path.write_bytes(name.encode())
        parcels.append(Parcel(video_key(name), Part(Video(name, str(path)))))
    for done in engine.stream(Job(made, store), parcels):
        assert done.receipt is not None and done.receipt.failure is None, done.receipt
    ledger = Ledger(store, made.final)
    found = {}
    for key, entry in ledger.scan().items():
        video = ledger.assemble(key, entry)
        assert video is not None
        for segment in video.segments:
            texts = [text.text for text in segment.texts_of("caption")]
            found[f"{video.id}/{segment.id}"] = (
                texts[0] if texts else segment.labels["rejected_caption"]
            )
    return found


def test_as_a_stage_on_ray_it_says_what_transformers_says_in_a_loop(
    model: Path, tmp_path: Path
) -> None:
    def recipe(name: str, teacher: dict[str, Any]) -> Path:
        path = tmp_path / f"{name}.yaml"
        path.write_text(RECIPE.format(file=HERE / "clips.py", teacher=teacher, env=sys.executable))
        return path

    here = recipe("here", {"model": str(model), "dtype": "float32"})
    expected = captions(here, tmp_path / "here", InlineEngine())
    engine = RayEngine(cpus=8)
    try:
        found = captions(recipe("ray", in_vllm(model)), tmp_path / "ray", engine)
    finally:
        engine.close()
    assert found == expected and len(found) == 9
    assert len(set(found.values())) > 2
