"""The driver is killed with -9 at any moment, and the next run ends as if nothing had been.

Moments are of two kinds: seeded shares of the time an undisturbed run takes, and the instants at
which something has just appeared in the output (a unit, a temporary file before its rename, a
staged clip, a shard without its manifest ...). The next run starts at once.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from clipmill.pipeline.output.verify import verify
from clipmill.pipeline.store.store import Store
from tests.e2e.conftest import QUICK, shards

pytestmark = pytest.mark.timeout(1200)

SEED = 20
Moment = Callable[[Path, float], bool]


def start(footage: Path, out: Path, engine: str = "inline") -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "clipmill.pipeline.cli", "run", str(QUICK), str(footage)]
    return subprocess.Popen(
        [*command, "--out", str(out), "--engine", engine],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        preexec_fn=_heed_interrupts,
    )


def _heed_interrupts() -> None:
    """Tests that were started in the background of a shell inherit that Ctrl-C is ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def finish(process: subprocess.Popen[bytes]) -> None:
    _, errors = process.communicate(timeout=480)
    assert process.returncode == 0, errors.decode()[-3000:]


@pytest.fixture(scope="module")
def undisturbed(
    footage: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, str], float]:
    out = tmp_path_factory.mktemp("undisturbed")
    begin = time.monotonic()
    finish(start(footage, out))
    return shards(out), time.monotonic() - begin


def after(share: float) -> Moment:
    def moment(out: Path, elapsed: float) -> bool:
        return elapsed >= share

    return moment


def seen(pattern: str, count: int = 1) -> Moment:
    def moment(out: Path, elapsed: float) -> bool:
        return sum(1 for _ in out.glob(pattern)) >= count

    return moment


INSTANTS = {
    "a temporary before its name": seen(".tmp/*"),
    "the first video committed": seen("units/*/video-*"),
    "the first part committed": seen("units/*/part-*"),
    "in the middle of the parts": seen("units/*/part-*", 5),
    "the last part committed": seen("units/*/part-*", 10),
    "tables without their manifest": seen("tables/segments/*"),
    "tables current": seen("tables/manifest.json"),
    "decided": seen("decisions/current.json"),
    "the first staged clips": seen("staging/**/*"),
    "a shard without the manifest": seen("shards/*.tar"),
    "the pack stands": seen("shards/manifest.json"),
}


def moments(length: float) -> Iterator[tuple[str, Moment]]:
    yield from INSTANTS.items()
    rng = random.Random(SEED)
    for _ in range(20 - len(INSTANTS)):
        share = rng.random()
        yield f"after {share:.0%} of the time", after(share * length)


def test_twenty_kills_lose_and_double_nothing(
    footage: Path, undisturbed: tuple[dict[str, str], float], tmp_path: Path
) -> None:
    expected, length = undisturbed
    assert len(expected) >= 2

    def kill_and_go_on(number: int, name: str, moment: Moment) -> bool:
        for attempt in range(3):  # on a machine with other work no two runs take the same time
            out = tmp_path / f"{number}-{attempt}"
            out.mkdir()
            process = start(footage, out)
            begin = time.monotonic()
            while process.poll() is None and not moment(
                out, (time.monotonic() - begin) * 2**attempt
            ):
                time.sleep(0.001)
            process.send_signal(signal.SIGKILL)
            killed = process.wait() == -signal.SIGKILL
            if killed:
                break
        finish(start(footage, out))
        assert shards(out) == expected, f"killed: {name}"
        report = verify(Store.open(out))
        assert report.ok, f"killed: {name}: {report}"
        return killed

    with ThreadPoolExecutor(2) as pool:
        waiting = [
            pool.submit(kill_and_go_on, number, name, moment)
            for number, (name, moment) in enumerate(moments(length))
        ]
        killed = sum(done.result() for done in waiting)
    assert killed >= 18, "most runs must really have been killed"


def test_an_interrupt_ends_cleanly_and_the_same_command_goes_on(
    footage: Path, undisturbed: tuple[dict[str, str], float], tmp_path: Path
) -> None:
    process = start(footage, tmp_path)
    while process.poll() is None and not seen("units/*/part-*")(tmp_path, 0):
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 130 and b"goes on from here" in errors
    finish(start(footage, tmp_path))
    assert shards(tmp_path) == undisturbed[0]


@pytest.mark.ray
def test_a_killed_driver_leaves_ray_actors_that_cannot_spoil_the_next_run(
    footage: Path, undisturbed: tuple[dict[str, str], float], tmp_path: Path
) -> None:
    expected, _ = undisturbed
    process = start(footage, tmp_path, "ray")
    begin = time.monotonic()
    while process.poll() is None and not seen("units/*/part-*", 3)(tmp_path, 0):
        assert time.monotonic() - begin < 480
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    finish(start(footage, tmp_path, "ray"))
    assert shards(tmp_path) == expected
    assert verify(Store.open(tmp_path)).ok
