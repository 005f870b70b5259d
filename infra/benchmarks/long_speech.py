"""What `transcribe` costs on long sound: CPU per second of it, and peak memory, beside a short one.

    python infra/benchmarks/long_speech.py                  # an hour; pocketsphinx hears 5 minutes
    python infra/benchmarks/long_speech.py --minutes 15 --heard 2

Prints Markdown. The file is a minute of rendered narration over and over. Each figure comes from a
process of its own, of which one does 2 minutes and one all: memory that grows between them grows
with the length. `listening` is the whole stage, decoding and voice activity included, with an
engine that hears a word every 0.4 s at no cost; `outside` is all but the engine.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import psutil

from clipmill.schemas.records import Part, Utterance, Video, Word
from clipmill.stages.asr_text.transcribe import Settings, Transcribe
from clipmill.stages.compose.speech import RATE, say
from clipmill.stages.media import sandbox
from clipmill.stages.media.audio import audio
from clipmill.stages.media.probe import probe
from clipmill.stages.models.recognizer import Engine, SpeechRecognizer
from clipmill.stages.models.recognizers.pocketsphinx import PocketSphinx
from clipmill.stages.models.vad import Pcm, SpeechRules

ARMS = ("subtitles", "listening", "pocketsphinx")
SHORT_MINUTES = 2
TOLD = (
    ["the red circle", "moves to the left", "over the grass"],
    ["the blue star", "goes up", "in the sky"],
)


class Timed:
    """An engine whose own CPU time is counted apart."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.model, self.revision = engine.model, engine.revision
        self.batch, self.rules = engine.batch, engine.rules
        self.spent = 0.0

    def begin(self, language: str | None) -> None:
        self.engine.begin(language)

    def hear(self, stretches: Sequence[Pcm]) -> list[tuple[str, list[Utterance]]]:
        start = time.process_time()
        heard = self.engine.hear(stretches)
        self.spent += time.process_time() - start
        return heard


class Ready:
    """An engine that hears a word every 0.4 s of a stretch, whatever is said."""

    model, revision, batch = "ready", "1", 1
    rules = SpeechRules(max_length=20.0)

    def begin(self, language: str | None) -> None: ...

    def hear(self, stretches: Sequence[Pcm]) -> list[tuple[str, list[Utterance]]]:
        return [("en", [self._said(len(pcm) * 1000 // RATE)]) for pcm in stretches]

    def _said(self, length: int) -> Utterance:
        words = [Word(f"word{at}", at, at + 300) for at in range(0, length, 400)]
        return Utterance(" ".join(word.text for word in words), 0, length, words)


def long_film(folder: Path, minutes: int) -> Path:
    """A video of so many minutes in which somebody speaks; its captions, word by word, beside."""
    pieces: list[Pcm] = []
    while sum(map(len, pieces)) < 60 * RATE:
        pieces += [say(TOLD[len(pieces) // 2 % 2]).pcm, np.zeros(RATE * 3 // 2, np.int16)]
    raw, minute, film = (folder / name for name in ("minute.raw", "minute.mp4", "film.mp4"))
    np.concatenate(pieces)[: 60 * RATE].tofile(raw)
    ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y"]
    picture = ["-f", "lavfi", "-i", "color=size=32x32:rate=1:duration=60"]
    sound = ["-f", "s16le", "-ar", str(RATE), "-ac", "1", "-i", str(raw)]
    form = ["-ar", "44100", "-ac", "2", "-c:v", "libx264", "-c:a", "aac", "-b:a", "96k"]
    subprocess.run([*ffmpeg, *picture, *sound, *form, str(minute)], check=True)
    again = ["-stream_loop", str(minutes - 1), "-i", str(minute), "-c", "copy", str(film)]
    subprocess.run([*ffmpeg, *again], check=True)
    cues = ["WEBVTT\n"]
    for at in range(0, minutes * 60, 4):
        words = [f"<{clock(at + 0.4 * n)}><c> word{n}</c>" for n in range(1, 9)]
        cues.append(f"{clock(at)} --> {clock(at + 3.8)}\nword0{''.join(words)}\n")
    film.with_suffix(".vtt").write_text("\n".join(cues))
    return film


def clock(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{seconds % 60:06.3f}"


def arm(name: str, film: Path) -> dict[str, float]:
    """Transcribe a film in this process and say what it took."""
    stage = Transcribe(Settings(engine="subtitles" if name == "subtitles" else "pocketsphinx"))
    engine = Timed(PocketSphinx() if name == "pocketsphinx" else Ready())
    if name != "subtitles":
        stage._loaded = SpeechRecognizer(engine)
    # As `probe_media` does, in another process: it holds the file's index, which grows with it.
    known = sandbox.call(probe, film, count_frames=False, timeout_s=60)
    video = Video("film", str(film), probe=known)
    sandbox.close()
    for _ in sandbox.stream(audio, film, known, end_s=1.0, timeout_s=60):
        pass  # a worker starts its decoder with its first video, and hears many
    start = cpu()
    stage.process(Part(video))
    spent = cpu() - start
    lasts = known.duration_s
    return {
        "seconds": lasts,
        "words": sum(len(u.words) for t in video.transcripts for u in t.utterances),
        "last_s": video.transcripts[0].utterances[-1].end / 1000,
        "cpu_ms": 1000 * spent / lasts,
        "outside_ms": 1000 * (spent - engine.spent) / lasts,
        "peak_mb": peak_mb(),
    }


def cpu() -> float:
    """Seconds of this process and of its children, the decoder that goes on running among them."""
    own = psutil.Process()
    ended = own.cpu_times()
    spent = [ended, *(child.cpu_times() for child in own.children(recursive=True))]
    return sum(s.user + s.system for s in spent) + ended.children_user + ended.children_system


def peak_mb() -> float:
    """Of this process; what `getrusage` calls so includes whoever started it."""
    status = Path("/proc/self/status").read_text()
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(peak.split()[1]) / 1024


def measured(name: str, film: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--arm", name, str(film)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return {key: float(value) for key, value in json.loads(done.stdout).items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--minutes", type=int, default=60, help="of sound")
    parser.add_argument("--heard", type=int, default=5, help="minutes for pocketsphinx")
    parser.add_argument("--arm", nargs=2, metavar=("ARM", "FILM"), help="one arm in this process")
    wanted = parser.parse_args()
    if wanted.arm:
        print(json.dumps(arm(wanted.arm[0], Path(wanted.arm[1]))))
        return
    print("| transcribe | sound | words | CPU per s | outside the engine | peak, more than 2 min |")
    print("|---|---|---|---|---|---|")
    for name in ARMS:
        minutes = wanted.heard if name == "pocketsphinx" else wanted.minutes
        with tempfile.TemporaryDirectory() as folder:
            short = measured(name, long_film(Path(folder), SHORT_MINUTES))
            whole = measured(name, long_film(Path(folder), minutes))
        grown = whole["peak_mb"] - short["peak_mb"]
        print(
            f"| {name} | {minutes} min | {whole['words']:.0f} | {whole['cpu_ms']:.2f} ms |"
            f" {whole['outside_ms']:.2f} ms | {whole['peak_mb']:.0f} MB, {grown:+.0f} MB |",
            flush=True,
        )


if __name__ == "__main__":
    main()
