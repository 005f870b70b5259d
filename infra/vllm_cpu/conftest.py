"""A model small enough for vLLM on two cores, and what the transformers backend says with it.

The embedded teacher where it is installed, else a Qwen2.5-VL with random weights.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TESTS = HERE.parents[1] / "tests"

os.environ["VLLM_CPU_KVCACHE_SPACE"] = "1"  # GiB; the default takes what it can
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["RAY_AUTH_MODE"] = "disabled"
# For vLLM's own processes and Ray's: the preparation of torchvision, and this very tree.
os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE / "site"), str(HERE.parent / "package")])
sys.path += [str(HERE), str(HERE / "site"), str(TESTS / "models"), str(TESTS.parent)]

import sitecustomize  # noqa: E402, F401
from pictures import COLOURS, picture  # noqa: E402

from clipmill.schemas.errors import ModelError  # noqa: E402
from clipmill.stages.caption.caption_clip import caption_schema  # noqa: E402
from clipmill.stages.models.embedded import embedded_folder  # noqa: E402
from clipmill.stages.models.teacher import (  # noqa: E402
    Reply,
    Request,
    TeacherSettings,
    open_teacher,
)

_spec = importlib.util.spec_from_file_location("tiny_models", TESTS / "models" / "conftest.py")
assert _spec is not None and _spec.loader is not None
_tiny = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_tiny)
tiny_vlm = _tiny.tiny_vlm


@pytest.fixture(scope="session")
def model(request: pytest.FixtureRequest) -> Path:
    try:
        return embedded_folder("teacher")
    except ModelError:
        folder: Path = request.getfixturevalue("tiny_vlm")
        return folder


@pytest.fixture(scope="session")
def asked() -> list[Request]:
    """Twelve questions about pictures that differ, under the schema of captions."""
    return [
        Request(
            f"clip-{n}",
            "Describe the picture in a few words.",
            (picture(COLOURS[n % 5], n), picture(COLOURS[(n + 1) % 5], n + 1)),
            caption_schema(24),
            160,
        )
        for n in range(12)
    ]


@pytest.fixture(scope="session")
def expected(model: Path, asked: list[Request]) -> dict[str, Reply]:
    """The replies of the transformers backend."""
    teacher = open_teacher(TeacherSettings(model=str(model), dtype="float32"))
    teacher.setup()
    replies = asyncio.run(teacher.ask(asked))
    teacher.close()
    assert len({reply.text for reply in replies}) > 3, "the model says the same of everything"
    return {reply.id: reply for reply in replies}
