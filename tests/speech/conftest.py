"""Real speech with its words, and what recognises it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clipmill.stages.models.recognizer import SpeechRecognizer
from clipmill.stages.models.vad import VoiceActivity


@pytest.fixture(scope="session")
def activity() -> VoiceActivity:
    pytest.importorskip("onnxruntime", reason="the [speech] extra is not installed")
    return VoiceActivity()


@pytest.fixture(scope="session")
def pocketsphinx(activity: VoiceActivity) -> SpeechRecognizer:
    pytest.importorskip("pocketsphinx", reason="the [speech] extra is not installed")
    from clipmill.stages.models.recognizers.pocketsphinx import PocketSphinx

    return SpeechRecognizer(PocketSphinx(), activity)


@pytest.fixture(scope="session")
def truth(real_media: Path) -> dict[str, Any]:
    """What is said in every file, by path below the media folder."""
    text = (real_media / "speech" / "transcripts.json").read_text()
    return json.loads(text)  # type: ignore[no-any-return]
