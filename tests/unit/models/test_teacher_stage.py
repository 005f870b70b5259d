from __future__ import annotations

from pathlib import Path

import pytest

from clipmill.pipeline.recipe.registry import load, operators
from clipmill.stages.models.prompts import load_prompt
from clipmill.stages.models.teacher_stage import TeacherStage


def prompts_of(kind: type) -> list[str]:
    fields = kind.Settings.model_fields  # type: ignore[attr-defined]
    return [name for name in fields if name.endswith("prompt")]


ASKED = [
    (name, prompt)
    for name in sorted(operators())
    if name != "ingest_video" and issubclass(load(name), TeacherStage)
    for prompt in prompts_of(load(name))
]


REQUIRED = {
    "extract_structure": {"slots": {"scene": []}},
    "ground_question": {"kind": "qa"},
    "llm_merge": {"roles": ["caption"]},
}


@pytest.mark.parametrize(("operator", "setting"), ASKED)
def test_another_text_in_any_of_its_prompts_makes_another_stage(
    operator: str, setting: str, tmp_path: Path
) -> None:
    kind = load(operator)
    default = kind.Settings.model_fields[setting].default
    shipped = load_prompt(default)
    head = "".join(f"{name}: {type_}\n" for name, type_ in shipped.variables)
    prints = []
    for number, text in enumerate((shipped.text, shipped.text, f"{shipped.text} Be brief.")):
        folder = tmp_path / str(number)
        folder.mkdir()
        own = folder / "own.txt"
        own.write_text(f"{head}---\n{text}", encoding="utf-8")
        settings = {setting: str(own), "teacher": {"model": "embedded"}} | REQUIRED.get(
            operator, {}
        )
        prints.append(kind(kind.Settings.model_validate(settings)).fingerprint())
    assert prints[0] == prints[1], "the path of a prompt is nobody's business"
    assert prints[0] != prints[2]


def test_stages_with_several_prompts_are_among_them() -> None:
    assert {"split_prompt", "again_prompt", "locate_prompt"} <= {setting for _, setting in ASKED}
