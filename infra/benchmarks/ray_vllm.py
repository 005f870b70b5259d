"""Ray Data's own vLLM processor beside the teacher stage of Clipmill, in the real engine.

    make .venv-vllm/.test && .venv-vllm/bin/python infra/benchmarks/ray_vllm.py

The embedded teacher on a CPU, driven by either side with the same prompts, pictures, schema, engine
arguments and number of sequences; a second line says how many captions are the same. Seconds are
from the first request to the last reply, loading apart.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

HERE = Path(__file__).resolve().parent
SITE = HERE.parent / "vllm_cpu" / "site"
os.environ |= {"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1"}
TESTS = HERE.parents[1] / "tests" / "models"
ON_WORKERS = [str(SITE), str(HERE.parent / "package"), str(TESTS)]
os.environ["PYTHONPATH"] = os.pathsep.join(ON_WORKERS)
sys.path += [str(HERE), *ON_WORKERS]

import ray  # noqa: E402
import sitecustomize  # noqa: E402, F401
from pictures import COLOURS, picture  # noqa: E402
from teacher import videos  # noqa: E402

from clipmill.pipeline.engine.ledger import Ledger  # noqa: E402
from clipmill.pipeline.engine.parcel import Parcel  # noqa: E402
from clipmill.pipeline.engine.plan import Plan, plan  # noqa: E402
from clipmill.pipeline.engine.ray_engine import RayEngine  # noqa: E402
from clipmill.pipeline.engine.worker import Job  # noqa: E402
from clipmill.pipeline.recipe.recipe import load_recipe  # noqa: E402
from clipmill.pipeline.store.store import Store  # noqa: E402
from clipmill.schemas.clocks import MILLISECONDS  # noqa: E402
from clipmill.schemas.records import Frame, Part, Video  # noqa: E402
from clipmill.schemas.shards import video_key  # noqa: E402
from clipmill.stages.caption.caption_clip import CaptionClip  # noqa: E402
from clipmill.stages.models.chat import Chat  # noqa: E402
from clipmill.stages.models.chat import picture as decoded  # noqa: E402
from clipmill.stages.models.embedded import embedded_folder  # noqa: E402
from clipmill.stages.models.prompts import load_prompt  # noqa: E402
from clipmill.stages.models.vllm_teacher import engine_arguments  # noqa: E402
from clipmill.stages.stage import Stage, StageSettings  # noqa: E402

ENGINE = {"max_length": 2048, "max_images": 2, "concurrency": 8, "eager": True}


class Drawn(Stage[StageSettings]):
    """Two small pictures for each clip, different from those of most other clips."""

    needs: ClassVar[set[str]] = {"segments:shots"}
    provides: ClassVar[set[str]] = {"frames"}

    def process(self, part: Part) -> Part:
        for segment in part.video.segments:
            place = sum(f"{part.video.id}{segment.id}".encode()) + segment.span.start // 100
            part.frames[segment.id] = [
                Frame(MILLISECONDS, tick, picture(COLOURS[n % 5], n), 64, 48)
                for n, tick in ((place, segment.span.start), (place + 1, segment.span.start + 500))
            ]
        return part


RECIPE = """
recipe: 1
name: vllm-benchmark
stages:
  - {file}:Known
  - {here}:Drawn
  - caption_clip: {{teacher: {teacher}, frames: 2, max_chars: 60, max_tokens: 96}}
    env: {env}
    resources: {{gpus: 0, cpus: 1, timeout_s: 600}}
    actors: 1
engine: {{keep_replies: false}}
"""


def main(count: int = 60) -> None:
    teacher = {
        "backend": "vllm",
        "model": str(embedded_folder("teacher")),
        "dtype": "float32",
        "vllm": ENGINE,
    }
    with tempfile.TemporaryDirectory() as name:
        inputs = videos(count, count, Path(name))
        file = Path(name) / "vllm.yaml"
        file.write_text(
            RECIPE.format(
                file=HERE / "teacher.py",
                here=Path(__file__).resolve(),
                env=sys.executable,
                teacher=json.dumps(teacher),
            )
        )
        made = plan(load_recipe(file))
        theirs = by_processor(made, inputs)
        ours = by_clipmill(made, inputs, Path(name) / "out")
    same = sum(theirs.get(name) == text for name, text in ours.items())
    print(f"{same} of {len(ours)} captions are the same")


def by_clipmill(made: Plan, inputs: list[Video], out: Path) -> dict[str, str]:
    engine, store, laps = RayEngine(cpus=8), Store.open(out), []
    try:
        parcels = [Parcel(video_key(video.id), Part(video)) for video in inputs]
        for done in engine.stream(Job(made, store), parcels):
            assert done.receipt is not None and done.receipt.failure is None
            laps += [lap for lap in done.laps if lap.bills]
    finally:
        engine.close()
    ledger, found = Ledger(store, made.final), {}
    for key, entry in ledger.scan().items():
        video = ledger.assemble(key, entry)
        assert video is not None
        for segment in video.segments:
            for text in segment.texts_of("caption"):
                found[f"{video.id}/{segment.id}"] = text.text
    seconds = max(lap.end for lap in laps) - min(lap.start for lap in laps)
    asked = sum(lap.segments for lap in laps)
    print(f"clipmill      {asked} captions in {seconds:.1f} s, {asked / seconds:.1f} a second")
    return found


def by_processor(made: Plan, inputs: list[Video]) -> dict[str, str]:
    from ray.data.llm import build_processor, vLLMEngineProcessorConfig
    from transformers import AutoProcessor

    known, drawn, caption = (link.stage for link in made.links)
    assert isinstance(caption, CaptionClip)
    caption.prompt = load_prompt(caption.settings.prompt)
    model = caption.settings.teacher.source
    chat = Chat(AutoProcessor.from_pretrained(model), sees=True)
    rows = []
    for video in inputs:
        part = drawn.process(known.process(Part(replace(video, segments=[]))))
        assert isinstance(part, Part)
        for segment in part.video.segments:
            asked = caption.question(part, segment)
            rows.append(
                {
                    "name": f"{video.id}/{segment.id}",
                    "prompt": chat.render(asked),
                    "pictures": list(asked.images),
                    "schema": json.dumps(asked.schema),
                }
            )
    arguments = engine_arguments(caption.settings.teacher, sees=True)
    ray.init(address="local", num_cpus=8, include_dashboard=False, log_to_driver=False)
    processor = build_processor(
        vLLMEngineProcessorConfig(
            model_source=model,
            engine_kwargs=arguments,
            batch_size=16,
            max_concurrent_batches=8,
            placement_group_config={"bundles": [{"CPU": 1}]},
            log_engine_metrics=False,
            chat_template_stage=False,
            tokenize_stage=False,
            detokenize_stage=False,
        ),
        preprocess=lambda row: {
            "name": row["name"],
            "prompt": row["prompt"],
            "multimodal_data": {"image": [decoded(data) for data in row["pictures"]]},
            "sampling_params": {
                "max_tokens": 96,
                "temperature": 0.0,
                "structured_outputs": {"json": json.loads(row["schema"])},
            },
        },
        postprocess=lambda row: {
            "name": row["name"],
            "text": row["generated_text"],
            "took": row["time_taken_llm"],
            "at": time.time(),
        },
    )
    done = processor(ray.data.from_items(rows, override_num_blocks=len(rows) // 16)).take_all()
    ray.shutdown()
    seconds = max(row["at"] for row in done) - min(row["at"] - row["took"] for row in done)
    rate = len(done) / seconds
    print(f"ray.data.llm  {len(done)} captions in {seconds:.1f} s, {rate:.1f} a second", flush=True)
    return {row["name"]: _caption(row["text"]) for row in done}


def _caption(text: str) -> str:
    """What keeps the contract of captions; the processor gives whatever came, also what was cut."""
    try:
        return str(json.loads(text)["caption"])
    except (ValueError, KeyError, TypeError):
        return ""


if __name__ == "__main__":
    main()
