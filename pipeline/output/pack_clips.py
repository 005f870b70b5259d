"""First phase of packing: cut the kept segments of a video and stage them as one object.

A job is at most 64 segments of one video, so that its clips can be cut from one decode and its
object stays small. The object appears by one put-if-absent under a name that only the job decides:
a killed pack goes on with the jobs that have no object, and a worker that was overtaken writes
nothing. A clip that cannot be cut is recorded in the object, with its reason, and is never lost.

    staging/<pack>/<video>/<chunk>.clips =
        8 bytes length | JSON {clips: [key, offset, length, tar bytes], failures} | blocks
    block = 8 bytes length | JSON {row, members: [extension, size]} | members
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import tarfile
import wave
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import IO, Any, ClassVar, Protocol

import numpy as np

from clipmill.pipeline.output.pack_settings import PackSettings
from clipmill.pipeline.store.lease import Fence
from clipmill.pipeline.store.store import Store
from clipmill.schemas.clocks import Span
from clipmill.schemas.errors import AccountingError, DecoderLost, MediaError, StoreError
from clipmill.schemas.records import Probe, Segment, Text, Video
from clipmill.schemas.shards import clip_key, clip_manifest, video_key
from clipmill.stages.media import frames, sandbox, source

CHUNK_SEGMENTS = 64
CHUNK_SECONDS = 600.0
"""Length of clips in one job, so that scratch disk and staged object do not grow with the film."""
_SIDE_TIMEOUT_S = 120.0
_LENGTH = 8
_RATE = 16_000
NO_MEDIA = "none"
"""Mode of a clip that is annotations alone."""
MEDIA_FACTS = ("frames", "fps", "width", "height", "seconds", "audio", "mode", "readers")


class SourceChanged(MediaError):
    kind: ClassVar[str] = "changed"


class CutMedia(Protocol):
    """A clip's file and the facts that its cutter measured in it."""

    @property
    def path(self) -> Path: ...
    @property
    def frames(self) -> int: ...
    @property
    def fps(self) -> float: ...
    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def seconds(self) -> float: ...
    @property
    def audio(self) -> bool: ...
    @property
    def mode(self) -> str: ...
    @property
    def readers(self) -> str: ...


class Cutter(Protocol):
    """Cuts spans of one file into `folder/KEY.mp4`. Picklable; `stages.clip.cut_clip` is the one.

    `fingerprint` covers everything that decides the bytes.
    """

    def fingerprint(self) -> str: ...

    def cut(
        self, source: Path, probe: Probe, spans: dict[str, Span], folder: Path
    ) -> Mapping[str, CutMedia]: ...


@dataclass(frozen=True)
class ClipJob:
    """Segments of one video to cut. `video` carries only these segments and no transcripts."""

    store: Store
    fence: Fence | None
    fingerprint: str
    settings: PackSettings
    cutter: Cutter
    video: Video
    chunk: int

    @property
    def staged(self) -> str:
        return f"{staging(self.fingerprint)}{video_key(self.video.id)}/{self.chunk:05d}.clips"


@dataclass(frozen=True, slots=True)
class StagedClip:
    """Where a clip's block lies, and the bytes it will take in a tar."""

    key: str
    staged: str
    offset: int
    length: int
    tar_bytes: int


@dataclass(frozen=True, slots=True)
class PackFailure:
    """A kept segment that could not be packed."""

    video: str
    segment: str
    kind: str
    message: str


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip ready for a shard: its row of the index and its members by extension."""

    row: dict[str, Any]
    members: dict[str, bytes]


def staging(fingerprint: str) -> str:
    return f"staging/{fingerprint[:12]}/"


def clip_jobs(video: Video, kept: set[str], settings: PackSettings) -> Iterator[tuple[int, Video]]:
    """(chunk, the video with the chunk's segments alone), in time order."""
    chunk: list[Segment] = []
    seconds = 0.0
    number = 0
    bare = replace(video, transcripts=[], texts=[])
    segments = [segment for segment in video.layer(settings.layer) if segment.id in kept]
    if len({clip_key(video.id, segment.id) for segment in segments}) < len(segments):
        raise AccountingError(
            "two segments share a key",
            input=video.id,
            stage="pack",
            cure="segment ids of one video must differ in more than punctuation",
        )
    for segment in sorted(segments, key=lambda s: (s.span.start_s, s.id)):
        length = segment.span.duration_s
        long = settings.media and seconds + length > CHUNK_SECONDS
        if chunk and (len(chunk) == CHUNK_SEGMENTS or long):
            yield number, replace(bare, segments=chunk)
            chunk, seconds, number = [], 0.0, number + 1
        chunk.append(segment)
        seconds += length
    if chunk:
        yield number, replace(bare, segments=chunk)


def cut_clips(job: ClipJob) -> str:
    """Cut a job's clips, stage them, and return the staged object's key."""
    with job.store.scratch() as folder:
        clips: list[tuple[str, int, int, int]] = []
        failures: list[PackFailure] = []
        data = folder / "blocks"
        with data.open("wb") as file:
            for segment, clip in _made(job, folder):
                if isinstance(clip, MediaError):
                    failures.append(
                        PackFailure(job.video.id, segment.id, clip.kind, clip.message[:500])
                    )
                    continue
                start = file.tell()
                _write_block(file, clip)
                key = clip.row["key"]
                clips.append((key, start, file.tell() - start, tar_bytes(key, clip.members)))
        head = _json({"clips": clips, "failures": [asdict(failure) for failure in failures]})
        staged = folder / "staged"
        with staged.open("wb") as file, data.open("rb") as blocks:
            file.write(len(head).to_bytes(_LENGTH, "big") + head)
            shutil.copyfileobj(blocks, file, 2**20)
        data.unlink()
        job.store.reserve(staged.stat().st_size)
        if job.fence is not None:
            job.fence.check()
        job.store.put_if_absent(job.staged, staged)
    return job.staged


def read_staged(store: Store, key: str) -> tuple[list[StagedClip], list[PackFailure]]:
    """What a staged object holds, without reading its clips."""
    size = int.from_bytes(store.get_range(key, 0, _LENGTH), "big")
    head = json.loads(store.get_range(key, _LENGTH, size))
    base = _LENGTH + size
    clips = [
        StagedClip(clip, key, base + offset, length, tar_bytes)
        for clip, offset, length, tar_bytes in head["clips"]
    ]
    return clips, [PackFailure(**failure) for failure in head["failures"]]


def read_clip(store: Store, clip: StagedClip) -> Clip:
    """A staged clip, whole."""
    block = store.get_range(clip.staged, clip.offset, clip.length)
    size = int.from_bytes(block[:_LENGTH], "big")
    head = json.loads(block[_LENGTH : _LENGTH + size])
    members: dict[str, bytes] = {}
    at = _LENGTH + size
    for extension, length in head["members"]:
        members[extension] = block[at : at + length]
        at += length
    if at != len(block):
        raise StoreError(f"staged clip {clip.key} is not whole", cure="delete staging/ and rerun")
    return Clip(head["row"], members)


def tar_bytes(key: str, members: dict[str, bytes]) -> int:
    """Bytes that a clip's members take in a tar: headers, data, padding."""
    total = 0
    for extension, data in members.items():
        info = tarfile.TarInfo(f"{key}.{extension}")
        info.size = len(data)
        total += len(info.tobuf(tarfile.PAX_FORMAT)) + -(-len(data) // 512) * 512
    return total


def _made(job: ClipJob, folder: Path) -> Iterator[tuple[Segment, Clip | MediaError]]:
    """Every segment of the job exactly once: its clip, or why there is none."""
    video = job.video
    if not job.settings.media:
        for segment in video.segments:
            yield segment, _told(job, segment)
        return
    left = list(video.segments)
    try:
        if video.probe is None:
            raise MediaError("the video was never probed", input=video.id)
        with source.local(video.source) as path:
            if video.content is not None and path.stat().st_size != video.content.size:
                raise SourceChanged("the source is not the file that was annotated")
            cut = _cut(job, path, video.probe, folder)
            while left:
                segment = left.pop(0)
                media = cut[clip_key(video.id, segment.id)]
                if not isinstance(media, MediaError):
                    yield segment, _clip(job, path, video.probe, segment, media)
                    media.path.unlink()
                else:
                    yield segment, media
    except MediaError as error:
        for segment in left:
            yield segment, error


def _cut(job: ClipJob, path: Path, probe: Probe, folder: Path) -> dict[str, CutMedia | MediaError]:
    """By key: the media, or the error. One clip that fails does not take the others along."""
    spans = {clip_key(job.video.id, s.id): s.span for s in job.video.segments}
    found: dict[str, CutMedia | MediaError] = {}
    try:
        found.update(job.cutter.cut(path, probe, spans, folder))
    except MediaError:
        lost: list[MediaError] = []
        for key, span in spans.items():
            if len(lost) == 2:  # each may have cost a whole time limit; a third would too
                found[key] = lost[-1]
                continue
            try:
                found.update(job.cutter.cut(path, probe, {key: span}, folder / key))
            except DecoderLost as error:
                found[key] = error
                lost.append(error)
            except MediaError as error:
                found[key] = error
    for key in spans:
        found.setdefault(key, MediaError("the cutter made no clip of it"))
    return found


def _clip(job: ClipJob, path: Path, probe: Probe, segment: Segment, media: CutMedia) -> Clip:
    settings = job.settings
    facts = {name: getattr(media, name) for name in MEDIA_FACTS}
    off = settings.cut.trim * segment.span.duration_s
    facts["start_s"] = round(segment.span.start_s + off, 6)  # of the clip itself, on the source
    facts["end_s"] = round(segment.span.end_s - off, 6)
    members = {"mp4": media.path.read_bytes()}
    if settings.thumbnail:
        span = segment.span
        middle = (span.clock.exact(span.start) + span.clock.exact(span.end)) / 2
        tick = probe.picture.clock.tick(middle, "floor")
        (still,) = sandbox.call(frames.sample, path, probe, [tick], timeout_s=_SIDE_TIMEOUT_S)
        members["jpg"] = still.jpeg
    if settings.wav:
        members["wav"] = sandbox.call(
            _wav, path, probe, facts["start_s"], facts["end_s"], timeout_s=_SIDE_TIMEOUT_S
        )
    return _with_annotations(job, segment, facts, members)


def _told(job: ClipJob, segment: Segment) -> Clip:
    """A clip without media: what is known of it, and where it lies in its video."""
    facts: dict[str, Any] = dict.fromkeys(MEDIA_FACTS)
    facts |= {"mode": NO_MEDIA, "seconds": segment.span.duration_s}
    facts |= {"start_s": segment.span.start_s, "end_s": segment.span.end_s}
    return _with_annotations(job, segment, facts, {})


def _with_annotations(
    job: ClipJob, segment: Segment, facts: dict[str, Any], members: dict[str, bytes]
) -> Clip:
    video, settings = job.video, job.settings
    members["json"] = _json(finite(clip_manifest(video, segment, facts)))
    text = chosen_text(segment, settings.text)
    if text is not None:
        members["txt"] = text.text.encode()
    for embedding in segment.embeddings:
        if embedding.name == settings.embedding:
            members["npy"] = _npy(embedding.vector)
    row = {
        "key": clip_key(video.id, segment.id),
        "video": video.id,
        "segment": segment.id,
        "layer": segment.layer,
        "licence": video.licence,
        "consent": video.consent,
        **facts,
        "sha256": hashlib.sha256(members["mp4"]).hexdigest() if "mp4" in members else None,
        "text_role": text.role if text else None,
        "text_chars": len(text.text) if text else None,
        **{f"score_{name}": value for name, value in sorted(segment.scores.items())},
        **{f"label_{name}": value for name, value in sorted(segment.labels.items())},
    }
    return Clip(finite(row), members)


def chosen_text(segment: Segment, roles: Sequence[str]) -> Text | None:
    """The newest text of the first role that the segment has a text of."""
    for role in roles:
        texts = [text for text in segment.texts_of(role) if text.text.strip()]
        if texts:
            return texts[-1]
    return None


def finite(value: Any) -> Any:
    """The same JSON value with null for numbers that JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    return value


def _write_block(file: IO[bytes], clip: Clip) -> None:
    sizes = [(extension, len(data)) for extension, data in sorted(clip.members.items())]
    head = _json({"row": clip.row, "members": sizes})
    file.write(len(head).to_bytes(_LENGTH, "big") + head)
    for extension, _ in sizes:
        file.write(clip.members[extension])


def _json(value: Any) -> bytes:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return text.encode()


def _npy(vector: list[float]) -> bytes:
    sink = BytesIO()
    np.save(sink, np.asarray(vector, dtype=np.float32), allow_pickle=False)
    return sink.getvalue()


def _wav(path: Path, probe: Probe, start_s: float, end_s: float) -> bytes:
    """The span's sound, 16 kHz mono; silence where the file has none, so all clips are alike."""
    from clipmill.stages.media.audio import audio, has_audio

    sink = BytesIO()
    with wave.open(sink, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(_RATE)
        if has_audio(probe):
            for samples in audio(path, probe, 0, _RATE, start_s, end_s):
                file.writeframes(samples.tobytes())
        else:
            file.writeframes(bytes(2 * (round(end_s * _RATE) - round(start_s * _RATE))))
    return sink.getvalue()
