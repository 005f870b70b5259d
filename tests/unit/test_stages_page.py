"""The stages shown on the page about writing stages are stages."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest

from clipmill.schemas.clocks import MILLISECONDS, Span
from clipmill.schemas.records import Author, Part, Segment, Video
from clipmill.stages.models import teacher_stage
from clipmill.stages.models.identity import ModelIdentity
from clipmill.stages.models.teacher import Reply, Request
from clipmill.stages.models.teacher_settings import TeacherSettings
from clipmill.stages.stage import Stage

PAGE = Path(__file__).parents[2] / "stages" / "README.md"


class Teacher:
    """Finds everything calm."""

    settings = TeacherSettings()
    identity = ModelIdentity("calm", "1")

    def setup(self) -> None: ...

    def close(self) -> None: ...

    async def ask(self, requests: Sequence[Request]) -> list[Reply]:
        return [Reply(request.id, json.dumps({"mood": "calm"})) for request in requests]


def imported(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # where a class looks for its own text
    spec.loader.exec_module(module)
    return module


def test_the_shown_stages_do_what_the_page_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(teacher_stage, "open_teacher", lambda _: Teacher())
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    found: dict[str, type] = {}
    for number, block in enumerate(blocks):
        path = tmp_path / f"shown{number}.py"
        path.write_text(block, encoding="utf-8")
        found |= {
            name: value
            for name, value in vars(imported(path)).items()
            if isinstance(value, type)
            and issubclass(value, Stage)
            and value.__module__ == path.stem
        }
    assert set(found) == {"Loudness", "Mood"}
    prompt = tmp_path / "mood.v1.txt"
    prompt.write_text("caption: data\n---\nWhich mood?\n{caption}\n", encoding="utf-8")
    mood = found["Mood"](found["Mood"].Settings(prompt=str(prompt)))
    mood.setup()
    segment = Segment("shots-0", "shots", Span(MILLISECONDS, 0, 900))
    segment.add_text("caption", "a lake", Author("test"))
    asyncio.run(mood.process(Part(Video("v", "v.mp4", segments=[segment]))))
    assert segment.labels == {"mood": "calm"}
