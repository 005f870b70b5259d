"""`clipmill submit` against a real head node, with a stage of the user's own beside the recipe."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pyarrow.compute as pc
import pytest

from clipmill.pipeline.output.tables import read_table
from clipmill.pipeline.output.verify import verify
from clipmill.pipeline.store.store import Store
from tests.rendered import render

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]

JOB = Path(__file__).with_name("job")
ENVIRONMENT = {
    **os.environ,
    "RAY_AUTH_MODE": "disabled",
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",  # as if activated
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def head(tmp_path: Path) -> Iterator[str]:
    """The dashboard's address of a head node in a process group of its own."""
    port, dashboard = free_port(), free_port()
    node = subprocess.Popen(
        [
            *(str(Path(sys.executable).with_name("ray")), "start", "--head", "--block"),
            *(f"--port={port}", f"--dashboard-port={dashboard}", "--num-cpus=4"),
            *(
                "--node-ip-address=127.0.0.1",
                "--disable-usage-stats",
                f"--ray-client-server-port={free_port()}",
                # Other Rays may be running here: the agent's usual port would be taken.
                f"--dashboard-agent-listen-port={free_port()}",
            ),
        ],
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    address = f"http://127.0.0.1:{dashboard}"
    try:
        deadline = time.monotonic() + 240
        while not answers(f"{address}/api/version"):
            assert node.poll() is None and time.monotonic() < deadline, "the head did not come up"
            time.sleep(0.5)
        yield address
    finally:
        family = psutil.Process(node.pid).children(recursive=True)
        node.send_signal(signal.SIGTERM)
        _, left = psutil.wait_procs([psutil.Process(node.pid), *family], timeout=20)
        for process in left:  # exactly the head's own processes, nobody else's Ray
            process.kill()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


def test_a_submitted_job_runs_a_users_own_stage_on_the_cluster(head: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    render(tmp_path / "in" / "film.mp4", [25] * 3, size=(96, 64))
    out = tmp_path / "out"
    command = [sys.executable, "-m", "clipmill.pipeline.cli", "submit", str(JOB / "job.yaml")]
    done = subprocess.run(
        [*command, str(tmp_path / "in"), "--out", str(out), "--address", head, "--wait"],
        env=ENVIRONMENT,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=480,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    store = Store.open(out)
    assert verify(store).ok
    scores = read_table(store, "segments")["score_loudness"]
    assert len(scores) == 3 and pc.all(pc.equal(scores, 0.25)).as_py()
