"""A model's identity follows its content, not its place."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from clipmill.schemas.errors import ModelError
from clipmill.stages.caption.caption_clip import CaptionClip
from clipmill.stages.models.identity import identify
from clipmill.stages.models.prompts import load_prompt
from clipmill.stages.models.teacher import TeacherSettings


def folder(path: Path, weights: bytes = b"weights") -> Path:
    path.mkdir(parents=True)
    (path / "config.json").write_text("{}")
    (path / "model.safetensors").write_bytes(weights)
    return path


def printed(model: str, **more: object) -> str:
    teacher = TeacherSettings.model_validate({"model": model, **more})
    return CaptionClip(CaptionClip.Settings(teacher=teacher)).fingerprint()


def test_a_copied_folder_is_the_same_model(tmp_path: Path) -> None:
    one = folder(tmp_path / "here" / "m")
    two = tmp_path / "there" / "m"
    shutil.copytree(one, two)
    assert identify(str(one)) == identify(str(two))
    assert printed(str(one)) == printed(str(two))


def test_a_changed_file_is_another_model(tmp_path: Path) -> None:
    one = folder(tmp_path / "a" / "m", b"weights")
    two = folder(tmp_path / "b" / "m", b"weightz")
    assert identify(str(one)).revision != identify(str(two)).revision
    assert printed(str(one)) != printed(str(two))


def test_a_change_anywhere_in_a_big_file_of_trained_weights_is_seen(tmp_path: Path) -> None:
    one = folder(tmp_path / "a" / "m", bytes(65 << 20))
    two = folder(tmp_path / "b" / "m", b"\1" * (65 << 20))
    assert identify(str(one)).revision != identify(str(two)).revision


def test_revision_and_number_format_are_part_of_the_fingerprint_and_placement_is_not() -> None:
    plain = printed("owner/model")
    assert printed("owner/model", revision="v2") != plain
    assert printed("owner/model", dtype="bfloat16") != plain
    assert printed("owner/model", device="cpu", batch_size=3) == plain


def test_a_relative_folder_is_found_from_any_workers_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder(tmp_path / "m")
    (tmp_path / "p.v1.txt").write_text("---\nSay it.")
    monkeypatch.chdir(tmp_path)
    teacher = TeacherSettings(model="m")
    caption = CaptionClip.Settings(teacher=teacher, prompt="p.v1.txt")
    monkeypatch.chdir("/")
    assert teacher.model_identity().revision == identify(str(tmp_path / "m")).revision
    assert load_prompt(caption.prompt).text == "Say it."


def test_a_missing_folder_is_not_taken_for_a_hub_name(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model folder"):
        identify(str(tmp_path / "none"))
