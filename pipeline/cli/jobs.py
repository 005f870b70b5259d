"""A run as a job of a Ray cluster: what is uploaded, what is started there, how it ends."""

from __future__ import annotations

import asyncio
import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from clipmill.pipeline.recipe.recipe_file import builtin_recipes, split_variant
from clipmill.schemas.errors import ClusterError

AGENT_SECONDS = 60.0


def entrypoint(recipe: str, source: str, out: str, sets: Sequence[str]) -> str:
    """The command line that runs on the cluster."""
    command = ["clipmill", "run", recipe, source, "--out", out, "--address", "auto", "--yes"]
    for change in sets:
        command += ["--set", change]
    return shlex.join(command)


def submit_run(
    path: str, recipe: str, source: str, out: str, sets: Sequence[str], address: str, wait: bool
) -> int:
    """Submit a run; returns the exit code for the command: that of the job where it waits."""
    from ray.job_submission import JobSubmissionClient

    environment: dict[str, Any] = {}
    name, variant = split_variant(recipe)
    if name not in builtin_recipes():
        environment["working_dir"] = str(Path(path).parent)
        recipe = f"{Path(path).name}@{variant}" if variant else Path(path).name
    try:
        client = JobSubmissionClient(address)
        job = _submitted(client, entrypoint(recipe, source, out, sets), environment)
    except (ConnectionError, RuntimeError) as error:
        raise ClusterError(
            f"the cluster at {address} did not take the job: {error}",
            cure="check --address and RAY_AUTH_MODE, and that its dashboard runs",
        ) from error
    typer.echo(job)
    if not wait:
        typer.echo(f"follow it: ray job logs --follow --address {address} {job}", err=True)
        return 0
    asyncio.run(_follow(client, job))
    return 0 if client.get_job_status(job) == "SUCCEEDED" else 1


def _submitted(client: Any, command: str, environment: dict[str, Any]) -> str:
    """The job's id. A head that has just come up answers before its agent can take jobs."""
    deadline = time.monotonic() + AGENT_SECONDS
    while True:
        try:
            return str(client.submit_job(entrypoint=command, runtime_env=environment))
        except RuntimeError as error:
            if "No available agent" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(1.0)


async def _follow(client: Any, job: str) -> None:
    async for lines in client.tail_job_logs(job):
        typer.echo(lines, nl=False)
