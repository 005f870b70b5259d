"""The child dies of what it is given; the parent does not, and the next call works."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import psutil
import pytest

from clipmill.schemas.errors import DecoderLost, NoVideo
from clipmill.stages.media import sandbox


def add(left: int, right: int) -> int:
    return left + right


def crash() -> None:
    ctypes.string_at(0)


def spin() -> None:
    while True:
        pass


def swallow(size: int) -> int:
    return len(bytearray(size))


def refuse() -> None:
    raise NoVideo("there is no picture stream", cure="leave it out", input="x.mp4")


def process_id() -> int:
    return os.getpid()


def start_sleeper_and_spin(note: Path) -> None:
    sleeper = subprocess.Popen(["sleep", "300"])
    note.write_text(str(sleeper.pid))
    spin()


def count_to(last: int) -> Iterator[int]:
    yield from range(last)


def yield_then_crash() -> Iterator[int]:
    yield 1
    crash()


def works() -> bool:
    return sandbox.call(add, 2, 3, timeout_s=20) == 5


def test_a_segmentation_fault_is_a_named_error_and_the_next_call_works() -> None:
    with pytest.raises(DecoderLost, match="SIGSEGV"):
        sandbox.call(crash, timeout_s=20)
    assert works()


def test_an_endless_loop_is_killed_at_its_wall_clock() -> None:
    assert works()
    start = time.monotonic()
    with pytest.raises(DecoderLost, match="timeout"):
        sandbox.call(spin, timeout_s=0.5)
    assert time.monotonic() - start < 5
    assert works()


def test_memory_beyond_the_limit_is_a_named_error() -> None:
    with pytest.raises(DecoderLost, match="memory"):
        sandbox.call(swallow, 2 * 10**9, timeout_s=20, memory_gb=1)
    assert sandbox.call(swallow, 10**8, timeout_s=20, memory_gb=1) == 10**8


def test_an_exception_comes_back_as_itself_with_all_its_fields() -> None:
    with pytest.raises(NoVideo) as caught:
        sandbox.call(refuse, timeout_s=20)
    assert (caught.value.cure, caught.value.input) == ("leave it out", "x.mp4")


def test_calls_share_one_child() -> None:
    first, second = (sandbox.call(process_id, timeout_s=20) for _ in range(2))
    assert first == second != os.getpid()


def test_a_timeout_also_kills_what_the_child_started(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    with pytest.raises(DecoderLost):
        sandbox.call(start_sleeper_and_spin, note, timeout_s=1)
    deadline = time.monotonic() + 5
    sleeper = int(note.read_text())
    while psutil.pid_exists(sleeper) and time.monotonic() < deadline:
        if psutil.Process(sleeper).status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.02)
    assert not psutil.pid_exists(sleeper)


def test_the_child_dies_with_its_parent(tmp_path: Path) -> None:
    script = (
        "import os, test_sandbox as t\n"
        "print(t.sandbox.call(t.process_id, timeout_s=20), flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    paths = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": paths},
        timeout=60,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    child = int(done.stdout)
    deadline = time.monotonic() + 5
    while psutil.pid_exists(child) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not psutil.pid_exists(child)


def test_a_stream_hands_over_every_item_in_order() -> None:
    assert list(sandbox.stream(count_to, 500, timeout_s=20)) == list(range(500))


def process_ids(count: int) -> Iterator[int]:
    for _ in range(count):
        yield os.getpid()


def test_streams_that_follow_one_another_share_a_child_and_others_do_not() -> None:
    (first,), (second,) = (sandbox.stream(process_ids, 1, timeout_s=20) for _ in range(2))
    assert first == second != sandbox.call(process_id, timeout_s=20)
    pair = [sandbox.stream(process_ids, 2, timeout_s=20) for _ in range(2)]
    ids = [next(items) for items in pair]
    assert ids[0] != ids[1]
    for items in pair:
        assert len(list(items)) == 1


def test_a_child_that_died_between_two_streams_is_replaced() -> None:
    (left,) = sandbox.stream(process_ids, 1, timeout_s=20)
    dying = psutil.Process(left)
    dying.kill()
    while dying.status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    (other,) = sandbox.stream(process_ids, 1, timeout_s=20)
    assert other != left


def test_a_stream_that_crashes_keeps_what_it_gave() -> None:
    items = sandbox.stream(yield_then_crash, timeout_s=20)
    assert next(items) == 1
    with pytest.raises(DecoderLost, match="SIGSEGV"):
        next(items)


def test_a_fork_has_children_of_its_own() -> None:
    (ours,) = sandbox.stream(process_ids, 1, timeout_s=20)
    with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as fork:
        theirs = fork.submit(_streamed_id).result(timeout=20)
    assert theirs != ours
    (again,) = sandbox.stream(process_ids, 1, timeout_s=20)
    assert again == ours


def _streamed_id() -> int:
    (found,) = sandbox.stream(process_ids, 1, timeout_s=20)
    return found


def test_leaving_a_stream_early_leaves_nothing_behind() -> None:
    items = sandbox.stream(count_to, 10**9, timeout_s=20)
    assert next(items) == 0
    items.close()  # type: ignore[attr-defined]
    assert works()
