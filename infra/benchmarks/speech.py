"""Word errors and word-time errors per recogniser.

    python infra/benchmarks/speech.py MEDIA            # a folder of speech with transcripts.json
    python infra/benchmarks/speech.py MEDIA --page     # written into recipes/speech/README.md

Prints Markdown. Rendered speech has exact word times and needs no folder; real speech is measured
where MEDIA holds it. One normaliser for all: lower-case letters and inner apostrophes, hyphens part
words. Errors count replaced, lost and added words against the words said.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from pathlib import Path

import av
import numpy as np

from clipmill.schemas.clocks import MILLISECONDS
from clipmill.schemas.records import Author, Part, Transcript, Video
from clipmill.stages.asr_text.restore_sentences import RestoreSentences
from clipmill.stages.asr_text.restore_sentences import Settings as Sentences
from clipmill.stages.compose.render_synthetic import Settings, render
from clipmill.stages.media.audio import audio
from clipmill.stages.media.probe import probe
from clipmill.stages.models.aligners.pocketsphinx import PocketSphinxAligner
from clipmill.stages.models.recognizer import Recognition, SpeechRecognizer
from clipmill.stages.models.recognizers.pocketsphinx import PocketSphinx
from clipmill.stages.models.vad import RATE, Pcm
from clipmill.stages.split.split_transcript import Settings as Splits
from clipmill.stages.split.split_transcript import SplitTranscript

ROOT = Path(__file__).resolve().parents[2]
NARRATED = Settings(count=3, seed=9, width=64, height=48, fps=8, sounds=0.0, min_scenes=5)
Timed = tuple[str, float | None, float | None]  # word, start and end in seconds


@dataclass
class Tally:
    """Errors of one group of recordings."""

    said: int = 0
    wrong: int = 0
    away: list[float] = field(default_factory=list)  # of starts and ends of words that agree

    def add(self, truth: Sequence[Timed], heard: Sequence[Timed]) -> None:
        self.said += len(truth)
        self.wrong += distance([word for word, *_ in truth], [word for word, *_ in heard])
        same = SequenceMatcher(None, [w for w, *_ in truth], [w for w, *_ in heard], False)
        for block in same.get_matching_blocks():
            for n in range(block.size):
                known, found = truth[block.a + n], heard[block.b + n]
                for a, b in zip(known[1:], found[1:], strict=True):
                    if a is not None and b is not None:
                        self.away.append(abs(a - b))

    def row(self, name: str, given: bool = False) -> str:
        """A line of the table; words that were given can be in the wrong place only."""
        times = "-"
        if self.away:
            middle, most = np.quantile(self.away, [0.5, 0.95])
            times = f"{middle * 1000:.0f} / {most * 1000:.0f} ms"
        wrong = "-" if given else f"{self.wrong / max(self.said, 1):.1%}"
        return f"| {name} | {self.said} | {wrong} | {times} |"


def words_of(text: str) -> list[str]:
    text = text.lower().replace("\u2019", "'").replace("-", " ")
    return [word.strip("'") for word in re.sub(r"[^a-z' ]", " ", text).split() if word.strip("'")]


def distance(truth: Sequence[str], heard: Sequence[str]) -> int:
    row = list(range(len(heard) + 1))
    for i, word in enumerate(truth, 1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(heard, 1):
            least = min(row[j] + 1, row[j - 1] + 1, diagonal + (word != other))
            diagonal, row[j] = row[j], least
    return row[-1]


def listen(recogniser: SpeechRecognizer, pcm: Iterable[Pcm]) -> list[Timed]:
    return timed(recogniser.recognize(pcm, "en"))


def timed(heard: Recognition) -> list[Timed]:
    return [
        (plain, word.start / 1000, word.end / 1000)
        for utterance in heard.utterances
        for word in utterance.words
        for plain in words_of(word.text)
    ]


def rendered(recogniser: SpeechRecognizer) -> tuple[Tally, list[float]]:
    """Two minutes of rendered narration whose word times are known to the sample.

    Returns the errors of its words, and for both borders of every sentence how many seconds away
    the nearest border of a clip is that is cut at what was heard.
    """
    tally = Tally()
    away: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        for video in render(NARRATED, Path(folder)):
            lines = video.truth.narration
            truth = [(w.text, w.start_s, w.end_s) for line in lines for w in line.words]
            heard = recogniser.recognize(audio(video.path, probe(video.path)), "en")
            tally.add(truth, timed(heard))
            spans = clips(heard)
            for n in range(2):
                ends = np.array([span[n] for span in spans])
                told = [(line.start_s, line.end_s)[n] for line in lines]
                away += [float(np.abs(ends - at).min()) for at in told]
    return tally, away


def clips(heard: Recognition) -> list[tuple[float, float]]:
    """Start and end in seconds of the clips that the sentences of a transcript make."""
    said = Transcript(MILLISECONDS, Author("heard"), "speech", "en", 0, heard.utterances)
    part = Part(Video("v", "v.mp4", transcripts=[said]))
    RestoreSentences(Sentences(pause_s=0.3)).process(part)
    SplitTranscript(Splits()).process(part)
    return [(s.span.start_s, s.span.end_s) for s in part.video.layer("speech")]


def placed(aligner: PocketSphinxAligner, words: Sequence[Timed], pcm: Pcm) -> list[Timed]:
    """The words as given, at the times an aligner finds for them in up to 30 s of sound."""
    found = aligner.align(pcm, [word for word, *_ in words])
    return [
        (word, at.start / 1000, at.end / 1000) if at else (word, None, None)
        for (word, *_), at in zip(words, found, strict=True)
    ]


def given(aligner: PocketSphinxAligner, media: Path | None) -> dict[str, Tally]:
    """Word times where the words are known: sentences of rendered narration, and real ones."""
    tallies = {"rendered narration": Tally(), "read speech, close": Tally()}
    with tempfile.TemporaryDirectory() as folder:
        for video in render(NARRATED, Path(folder)):
            pcm = np.concatenate(list(audio(video.path, probe(video.path))))
            for line in video.truth.narration:
                first = max(round((line.start_s - 0.3) * RATE), 0)
                under = np.ascontiguousarray(pcm[first : round((line.end_s + 0.3) * RATE)])
                truth: list[Timed] = [
                    (w.text, w.start_s - first / RATE, w.end_s - first / RATE) for w in line.words
                ]
                tallies["rendered narration"].add(truth, placed(aligner, truth, under))
    for path in sorted((media / "speech").glob("sense_*.wav")) if media is not None else ():
        truth = times_of(media, {"words_file": f"speech/{path.stem}.words.json"})
        tallies["read speech, close"].add(truth, placed(aligner, truth, sound(path)))
    return {name: tally for name, tally in tallies.items() if tally.said}


def real(recogniser: SpeechRecognizer, media: Path) -> dict[str, Tally]:
    """English recordings with verbatim transcripts, by kind; and how many words noise gave."""
    tallies = {
        "read speech, close": Tally(),
        "speeches of the 1960s": Tally(),
        "no speech": Tally(),
    }
    entries = json.loads((media / "speech" / "transcripts.json").read_text())
    for name, entry in entries.items():
        verbatim = entry.get("kind") == "verbatim" and entry.get("text")
        if not name.startswith("speech/") or entry.get("lang") != "en" or not verbatim:
            continue
        group = "speeches of the 1960s" if "jfk" in name else "read speech, close"
        tallies[group].add(times_of(media, entry), listen(recogniser, [sound(media / name)]))
    for path in sorted((media / "speech").glob("nonspeech_*")):
        tallies["no speech"].wrong += len(listen(recogniser, [sound(path)]))
    return tallies


def times_of(media: Path, entry: dict[str, str]) -> list[Timed]:
    """Words of an entry, with times where a forced alignment is given."""
    if "words_file" in entry:
        known = json.loads((media / entry["words_file"]).read_text())
        if "w" in known:
            return [
                (re.sub(r"\(\d\)", "", w["t"]), w["b"], w["b"] + w["d"])
                for w in known["w"]
                if w["t"][0] not in "<["
            ]
    return [(word, None, None) for word in words_of(entry["text"])]


def sound(path: Path) -> Pcm:
    """A whole sound file, 16 kHz mono."""
    if path.suffix == ".raw":
        return np.fromfile(path, np.int16)
    with av.open(str(path)) as container:
        resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
        pieces = [
            piece.to_ndarray().reshape(-1)
            for frame in [*container.decode(audio=0), None]
            for piece in resampler.resample(frame)
        ]
    return np.concatenate(pieces)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("media", nargs="?", type=Path, help="folder with speech/transcripts.json")
    parser.add_argument("--page", action="store_true", help="write the table into the page")
    wanted = parser.parse_args()
    table = recognisers(wanted.media)
    if wanted.page:
        into_page(table)
    else:
        print(table)


def recognisers(media: Path | None) -> str:
    """Word errors and word-time errors, on rendered speech and on real where there is some."""
    recogniser = SpeechRecognizer(PocketSphinx())
    lines = ["| speech | words | word errors | word times, median / 95 % |", "|---|---|---|---|"]
    tally, away = rendered(recogniser)
    lines.append(tally.row("pocketsphinx, rendered narration"))
    for name, tally in (real(recogniser, media) if media is not None else {}).items():
        heard = f"| pocketsphinx, {name} | 0 | {tally.wrong} words heard | - |"
        lines.append(tally.row(f"pocketsphinx, {name}") if tally.said else heard)
    for name, tally in given(PocketSphinxAligner(), media).items():
        lines.append(tally.row(f"`align_words`, pocketsphinx: words given, {name}", given=True))
    near = np.mean(np.array(away) <= 0.2)
    cut = "Clips cut at the sentences that PocketSphinx hears in rendered narration have"
    lines += ["", f"{cut} {near:.0%} of {len(away)} spoken borders within 0.2 s."]
    return "\n".join(lines)


def into_page(table: str) -> None:
    """Put the table between its marks on the family's page."""
    page = ROOT / "recipes" / "speech" / "README.md"
    before, start, rest = page.read_text(encoding="utf-8").partition("<!-- recognisers -->\n")
    _, end, after = rest.partition("<!-- /recognisers -->")
    assert start and end, f"{page} has no marks for the table"
    page.write_text(f"{before}{start}{table}\n{end}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
