"""The annotated timeline: a video, its segments, and everything said about them.

Stages add to these records and never overwrite one another: every text keeps its author, every
score has one provider. What has not been computed is absent, which is different from zero.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from clipmill.schemas.clocks import Clock, Span


@dataclass(frozen=True, slots=True)
class Content:
    """What an input's bytes were when it was read: the check that it has not changed since."""

    size: int
    digest: str


@dataclass(frozen=True, slots=True)
class Author:
    """Who wrote an annotation. `stage` is always set; a model's stage names model and prompt."""

    stage: str
    model: str = ""
    revision: str = ""
    prompt: str = ""


@dataclass(slots=True)
class Stream:
    """One stream of a container. Rates are exact fractions; unknown facts are None."""

    index: int
    kind: str  # video, audio, subtitle, data
    codec: str
    clock: Clock
    duration: int | None = None  # in ticks of `clock`, as declared
    frames: int | None = None  # as declared by the container
    width: int | None = None  # coded size, before rotation and pixel aspect
    height: int | None = None
    fps_num: int | None = None
    fps_den: int | None = None
    rotation: int = 0  # degrees counter-clockwise the display must turn the picture: 0 90 180 270
    sar_num: int = 1  # sample (pixel) aspect ratio
    sar_den: int = 1
    pix_fmt: str | None = None
    transfer: str | None = None  # e.g. smpte2084 for HDR10
    sample_rate: int | None = None
    channels: int | None = None
    language: str | None = None
    first: int | None = None  # tick of the first frame or sample that is really there
    end: int | None = None  # tick at which the last one ends
    mirrored: bool = False  # flipped left to right before it is turned by `rotation`
    seekable: bool = True  # False: read from the start, seeking would miss or misdate frames


@dataclass(slots=True)
class Probe:
    """Facts about a media file, by reading it, not by trusting its header."""

    container: str
    size: int
    duration_s: float  # presented duration of the picture: last frame's end minus first frame
    video: int  # index into `streams` of the picture used
    streams: list[Stream] = field(default_factory=list)
    decoded_frames: int | None = None  # counted by decoding everything once
    damage: list[str] = field(default_factory=list)  # what is wrong with it, empty if nothing
    tags: dict[str, str] = field(default_factory=dict)  # title, comment, ... as the file says

    @property
    def picture(self) -> Stream:
        return self.streams[self.video]

    @property
    def span(self) -> Span:
        """The whole picture: first frame's tick to last frame's end, on the picture's clock."""
        first, end = self.picture.first or 0, self.picture.end or 0
        return Span(self.picture.clock, first, max(first, end))

    @property
    def sound(self) -> list[Stream]:
        return [stream for stream in self.streams if stream.kind == "audio"]

    @property
    def damaged(self) -> bool:
        return bool(self.damage)


@dataclass(slots=True)
class Word:
    """A word with its half-open extent in ticks of its transcript's clock."""

    text: str
    start: int
    end: int
    confidence: float | None = None


@dataclass(slots=True)
class Utterance:
    """A stretch of speech or a subtitle cue; `words` is empty where only the cue has a time.

    `language` is set where it is known for this stretch alone. `doubt` is why nobody may have said
    this (loop, rate, unvoiced); stages read what is `said`.
    """

    text: str
    start: int
    end: int
    words: list[Word] = field(default_factory=list)
    speaker: str | None = None
    language: str | None = None
    doubt: str | None = None


@dataclass(slots=True)
class Transcript:
    """What is said on one track, by one recogniser or subtitle source, in time order."""

    clock: Clock
    author: Author
    kind: Literal["speech", "subtitle"] = "speech"
    language: str | None = None
    track: int | None = None
    utterances: list[Utterance] = field(default_factory=list)

    @property
    def said(self) -> list[Utterance]:
        """The utterances that nothing speaks against."""
        return [utterance for utterance in self.utterances if not utterance.doubt]


@dataclass(slots=True)
class Text:
    """A text about a segment or a video. `id` is unique within its owner."""

    id: str
    role: str  # caption, dense, brief, slot:camera, ocr, asr, rewrite, summary, title, ...
    text: str
    author: Author
    language: str | None = None
    sources: list[str] = field(default_factory=list)  # ids of the texts it was made from
    span: Span | None = None  # narrower than the owner's, where it is


@dataclass(slots=True)
class Embedding:
    """A vector, unit length unless its model says otherwise."""

    name: str
    model: str
    vector: list[float]


@dataclass(slots=True)
class Sample:
    """A derived training sample: a question with its answer, and the time that proves it."""

    id: str
    kind: str  # qa, choice, grounding, ...
    question: str
    answer: str
    author: Author
    options: list[str] = field(default_factory=list)
    evidence: list[Span] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)  # question type, difficulty, ...
    turn: Span | None = None  # from the moment it is asked to that of its answer, where both matter


@dataclass(slots=True)
class Segment:
    """A stretch of one video on one layer (shots, windows, sentences, events, chapters ...)."""

    id: str  # unique within the video: "<layer>-<00000>"
    layer: str
    span: Span
    parent: str | None = None
    texts: list[Text] = field(default_factory=list)
    scores: dict[str, float] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    embeddings: list[Embedding] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)

    def add_text(self, role: str, text: str, author: Author, **more: object) -> Text:
        """Append a text; its id follows from role, stage and how many there are already."""
        return _add_text(self.texts, role, text, author, more)

    def add_sample(
        self, kind: str, question: str, answer: str, author: Author, **more: object
    ) -> Sample:
        """Append a derived sample; ids count up per stage and kind."""
        same = sum(s.kind == kind and s.author.stage == author.stage for s in self.samples)
        sample = Sample(
            f"{kind}:{author.stage}:{same}",
            kind,
            question,
            answer,
            author,
            **more,  # type: ignore[arg-type]
        )
        self.samples.append(sample)
        return sample

    def texts_of(self, role: str) -> list[Text]:
        return [text for text in self.texts if text.role == role]


@dataclass(frozen=True, slots=True)
class Step:
    """A stage that has been applied; `spared` are the segments its `when` profile left out."""

    stage: str
    fingerprint: str
    spared: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Video:
    """One input and its annotated timeline."""

    id: str
    source: str  # path or URI of the media
    content: Content | None = None
    licence: str | None = None
    consent: str | None = None
    provenance: str | None = None
    meta: dict[str, str] = field(default_factory=dict)  # other manifest columns
    side_files: dict[str, str] = field(default_factory=dict)  # kind -> path or URI, e.g. subtitles
    parents: list[str] = field(default_factory=list)  # composed media: ids of its sources
    probe: Probe | None = None
    transcripts: list[Transcript] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)

    def layer(self, name: str) -> list[Segment]:
        """The segments of one layer, in time order."""
        return [segment for segment in self.segments if segment.layer == name]

    def add_segments(self, layer: str, spans: list[Span], parent: str | None = None) -> None:
        """Append a layer; ids count up in the order given."""
        start = len(self.layer(layer))
        self.segments.extend(
            Segment(f"{layer}-{start + number:05d}", layer, span, parent)
            for number, span in enumerate(spans)
        )

    def add_text(self, role: str, text: str, author: Author, **more: object) -> Text:
        """Append a text about the whole video."""
        return _add_text(self.texts, role, text, author, more)


def _add_text(
    texts: list[Text], role: str, text: str, author: Author, more: dict[str, object]
) -> Text:
    same = sum(t.role == role and t.author.stage == author.stage for t in texts)
    added = Text(f"{role}:{author.stage}:{same}", role, text, author, **more)  # type: ignore[arg-type]
    texts.append(added)
    return added


State = Literal["packed", "dropped", "failed", "quarantined"]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an input, or a part of it, did not come through."""

    state: Literal["failed", "quarantined"]
    kind: str  # class of the error, e.g. unreadable, no_video, decoder_lost
    stage: str
    message: str
    attempts: int = 1


@dataclass(slots=True)
class Frame:
    """A sampled frame in flight: its presentation time and its picture as JPEG."""

    clock: Clock
    tick: int
    jpeg: bytes
    width: int
    height: int


@dataclass(slots=True)
class Part:
    """The unit of work: a video, or a run of its segments, and what is in flight with it.

    A video begins as one part (`index` 0 of 1) without frames. After the last stage that needs
    the whole video the engine divides it at segment borders; `video.segments` then holds this
    part's segments alone, while transcripts and video texts travel with every part to be read.
    """

    video: Video
    index: int = 0
    total: int = 1
    frames: dict[str, list[Frame]] = field(default_factory=dict)  # by segment id, in time order
    failure: Failure | None = None

    @property
    def name(self) -> str:
        """Name in messages and receipts."""
        return self.video.id if self.total == 1 else f"{self.video.id}#{self.index}"
