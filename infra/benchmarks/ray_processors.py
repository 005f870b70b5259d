"""Ray Data's own processor for servers beside the teacher stage of Clipmill: slots, identity.

    python infra/benchmarks/ray_processors.py http    # the busy server of teacher.py
    python infra/benchmarks/ray_processors.py faults  # what becomes of replies gone wrong

`http`: the same requests to the same server (32 slots, log-normal time), by the processor as it is
documented, by the processor with everything turned up that can be, and by ours. `faults`: 120
requests, a tenth of which meet one fault at their first sending; the server says what it saw, so
a caption on another clip shows.

Each contender runs in a process of its own: how many batches Ray Data keeps in flight is read from
the environment once.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path += [str(HERE), str(HERE.parents[1] / "tests" / "models")]

from local_server import Seen, Server, digest  # noqa: E402
from teacher import figures, ours, report, server, videos  # noqa: E402

from clipmill.stages.models.contract import ask  # noqa: E402
from clipmill.stages.models.teacher import Request, TeacherSettings, open_teacher  # noqa: E402

OVERLAP = "RAY_DATA_DEFAULT_ASYNC_BATCH_UDF_MAX_CONCURRENCY"
CONTENDERS = {
    "clipmill": {},
    "batches of 64, 1 actor": {"batch": 64, "actors": 1},
    "batches of 1, 16 actors": {"batch": 1, "actors": 16},
    "batches of 1, 1 actor, 64 in flight": {"batch": 1, "actors": 1, "overlap": 64},
}
FAULTS = ("429", "500", "closed", "cut", "garbage", "empty", "stray", "swapped")


def by_clipmill(url: str, count: int) -> None:
    """The real engine and the real stage; clips in videos of Zipf size, as they come."""
    with tempfile.TemporaryDirectory() as name:
        ours(url, videos(count, 2 * count, Path(name)), Path(name), 0.0, 1)


def by_ray(url: str, clips: int, batch: int, actors: int) -> None:
    import ray
    from ray.data.llm import HttpRequestProcessorConfig, build_processor

    ray.init(address="local", num_cpus=8, include_dashboard=False, log_to_driver=False)
    processor = build_processor(
        HttpRequestProcessorConfig(
            url=f"{url}/chat/completions",
            batch_size=batch,
            concurrency=(actors, actors),
            max_retries=3,
            http_request_stage={"num_cpus": 0.1},
        ),
        preprocess=lambda row: {"payload": _payload(row["item"])},
        postprocess=lambda row: {"answer": _said(row["http_response"])},
    )
    data = ray.data.from_items(
        [{"item": str(n)} for n in range(clips)],
        override_num_blocks=max(2 * actors, -(-clips // 256)),
    )
    assert processor(data).count() == clips
    ray.shutdown()


def _payload(name: str, size: int = 8000) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": f"{name}{'x' * size}"}]}


def _said(response: dict[str, Any]) -> str:
    return str(response["choices"][0]["message"]["content"])


def http(scale: float, count: int) -> None:
    """Prints a line for each contender; all are given as many requests."""
    with tempfile.TemporaryDirectory() as folder:
        made = videos(count, 2 * count, Path(folder))
    clips = sum(int(video.meta["clips"]) for video in made)
    print(f"{clips} requests, median {2 / scale:g} s, p99 {15 / scale:g} s")
    for name, given in CONTENDERS.items():
        with server(scale) as url:
            command = [sys.executable, __file__, "one", "--url", url, "--videos", str(count)]
            command += ["--clips", str(clips), "--contender", name]
            overlap = {OVERLAP: str(given["overlap"])} if "overlap" in given else {}
            told = subprocess.run(command, env={**os.environ, **overlap}, stderr=subprocess.PIPE)
            if told.returncode:
                print(f"{name}: {told.stderr.decode().splitlines()[-1]}")
            else:
                report(name, figures(url))


def faults() -> None:
    """Prints what became of replies, fault by fault."""
    import ray

    ray.init(address="local", num_cpus=4, include_dashboard=False, log_to_driver=False)
    print(f"{'fault':8} {'clipmill':34} ray.data.llm")
    for fault in FAULTS:
        print(f"{fault:8} {_outcome(fault, _asked):34} {_outcome(fault, _processed)}", flush=True)
    ray.shutdown()


def _outcome(fault: str, contender: Any) -> str:
    names = [f"clip {n}." for n in range(120)]

    def fate(seen: Seen) -> str:
        mine = int(seen.prompt.split()[1].partition(".")[0]) % 10 == 3
        return fault if mine and seen.number == 1 else "right"

    with Server(slots=8, median_s=0.005, p99_s=0.02, fate=fate).running() as server:
        try:
            said = contender(server.url, names)
        except Exception as error:  # any end of the job is the finding
            return f"the job ended: {str(error).splitlines()[-1][:60]}"
    truth = {name: json.dumps({"caption": f"seen {digest([], name)}"}) for name in names}
    right = sum(said.get(name) == text for name, text in truth.items())
    wrong = sum(name in said and said[name] != text for name, text in truth.items())
    return f"{right} right, {wrong} wrong, {len(names) - right - wrong} counted as rejected"


def _asked(url: str, names: list[str]) -> dict[str, str]:
    settings = {"backend": "openai", "model": "served", "server": {"url": url}}
    teacher = open_teacher(TeacherSettings.model_validate(settings))
    teacher.setup()
    answers = asyncio.run(ask(teacher, [Request(name, name) for name in names]))
    teacher.close()
    return {name: answer.value for name, answer in answers.found.items()}


def _processed(url: str, names: list[str]) -> dict[str, str]:
    import ray
    from ray.data.llm import HttpRequestProcessorConfig, build_processor

    processor = build_processor(
        HttpRequestProcessorConfig(
            url=f"{url}/chat/completions",
            batch_size=8,
            max_retries=5,
            base_retry_wait_time_in_s=0.1,
        ),
        preprocess=lambda row: {"item": row["item"], "payload": _payload(row["item"], 0)},
        postprocess=lambda row: {"item": row["item"], "answer": _said(row["http_response"])},
    )
    data = ray.data.from_items([{"item": name} for name in names], override_num_blocks=1)
    return {row["item"]: row["answer"] for row in processor(data).take_all()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["http", "faults", "one"])
    parser.add_argument("--faster", type=float, default=1.0, help="divide the server's times")
    parser.add_argument("--videos", type=int, default=100, help="and one of twice as many clips")
    parser.add_argument("--url")
    parser.add_argument("--clips", type=int, default=0)
    parser.add_argument("--contender", choices=list(CONTENDERS))
    given = parser.parse_args()
    if given.what == "http":
        http(given.faster, given.videos)
    elif given.what == "faults":
        faults()
    elif given.contender == "clipmill":
        by_clipmill(given.url, given.videos)
    else:
        one = CONTENDERS[given.contender]
        by_ray(given.url, given.clips, one["batch"], one["actors"])


if __name__ == "__main__":
    main()
