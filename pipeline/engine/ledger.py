"""The ledger: what of which video is done, as objects in the store and nothing else.

A unit of work (a video after its video stages, a part at a commit point) becomes visible as *one*
object under a name that says what it is, because one conditional put is the only thing every
store makes atomic. There is no index to fall out of step: listing the names is the ledger.

    plan.json                                                the recipe this output belongs to
    units/<video>/video-<parts>-<content>-<commit>.parquet   a video after its video stages
    units/<video>/part-<index>-<commit>.parquet              a part at a commit point
    units/<video>/failed-video.json                          why a video ended early
    units/<video>/failed-part-<index>.json                   why a part did

Names are deterministic, so a second writer of the same unit (a worker that outlived its driver, a
task that Ray ran twice) finds the name taken and its copy is dropped.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from io import BytesIO

import pyarrow as pa
import pyarrow.parquet as pq

from clipmill.pipeline.engine.parcel import Resume
from clipmill.pipeline.engine.plan import Plan
from clipmill.pipeline.store.store import Store
from clipmill.schemas.arrow import arrow_type, from_arrow, to_arrow
from clipmill.schemas.errors import Conflict
from clipmill.schemas.records import Failure, Part, Segment, Step, Video

_VIDEO_TYPE = arrow_type(Video)
SCHEMA_VERSION = 1


@dataclass(slots=True)
class Entry:
    """What the store holds of one video."""

    total: int | None = None
    unit: str = ""  # name of the video's unit
    modified: float = 0.0  # when that was written, seconds since the epoch
    content: str = ""  # head of the digest of what the video was when it was read
    commits: dict[int, list[str]] = field(default_factory=dict)
    finished: set[int] = field(default_factory=set)
    failed: set[int] = field(default_factory=set)
    failed_video: bool = False

    @property
    def complete(self) -> bool:
        """Whether nothing is left to do: every part finished or failed for good."""
        if self.failed_video:
            return True
        return self.total is not None and len(self.finished | self.failed) == self.total

    def resume(self) -> Resume:
        return Resume(self.total, self.commits, frozenset(self.finished | self.failed))


class Ledger:
    """Reads and writes units. `final` is the commit under which a part is finished."""

    def __init__(self, store: Store, final: str, fence: Callable[[], None] | None = None) -> None:
        self.store = store
        self.final = final
        self.fence = fence  # raises LeaseLost where another run has taken the output over

    # -- reading ---------------------------------------------------------------------------

    def scan(self) -> dict[str, Entry]:
        """Every video the store knows, by key, from one listing."""
        entries: dict[str, Entry] = {}
        for item in self.store.list("units/"):
            _, key, unit = item.key.split("/", 2)
            self._note(entries.setdefault(key, Entry()), unit, item.modified)
        return entries

    def look(self, key: str) -> Entry:
        """What the store holds of one video."""
        entry = Entry()
        for item in self.store.list(f"units/{key}/"):
            self._note(entry, item.key.rsplit("/", 1)[1], item.modified)
        return entry

    def _note(self, entry: Entry, name: str, modified: float) -> None:
        stem, _, suffix = name.rpartition(".")
        kind, _, rest = stem.partition("-")
        if kind == "video":
            total, entry.content, _ = rest.split("-")
            entry.total = int(total)
            entry.unit, entry.modified = name, modified
        elif kind == "part":
            index, commit = rest.split("-")
            entry.commits.setdefault(int(index), []).append(commit)
            if commit == self.final:
                entry.finished.add(int(index))
        elif kind == "failed" and suffix == "json":
            if rest == "video":
                entry.failed_video = True
            else:
                entry.failed.add(int(rest.removeprefix("part-")))

    def read_part(self, key: str, index: int, commit: str) -> Video:
        return _decode(self.store.get(f"units/{key}/part-{index:06d}-{commit}.parquet"))

    def header(self, key: str) -> Video | None:
        """The video unit, whatever its commit is called; None where there is none yet."""
        unit = self.look(key).unit
        return _decode(self.store.get(f"units/{key}/{unit}")) if unit else None

    def assemble(self, key: str, entry: Entry) -> Video | None:
        """The whole video from its finished parts, in time order; None if it has no video unit.

        Segments of parts that failed are left out: they are counted, not shown half-done.
        """
        video = self.header(key)
        if video is None:
            return None
        segments: list[Segment] = []
        steps = video.steps
        for index in sorted(entry.finished):
            part = self.read_part(key, index, self.final)
            segments.extend(part.segments)
            steps = _joined(steps, part)
        order = {segment.id: place for place, segment in enumerate(video.segments)}
        segments.sort(key=lambda s: (s.layer, order.get(s.id, len(order)), s.id))
        return replace(video, segments=segments, steps=steps)

    def failures(self, key: str) -> dict[int | None, Failure]:
        """Part index (None = the whole video) -> why it ended early."""
        found: dict[int | None, Failure] = {}
        for item in self.store.list(f"units/{key}/failed-"):
            place = item.key.rsplit("/failed-", 1)[1].removesuffix(".json")
            index = None if place == "video" else int(place.removeprefix("part-"))
            found[index] = Failure(**json.loads(self.store.get(item.key)))
        return found

    # -- writing ---------------------------------------------------------------------------

    def commit_video(self, key: str, video: Video, total: int, commit: str) -> None:
        content = video.content.digest[:12] if video.content else "unknown"
        self._put(f"units/{key}/video-{total:06d}-{content}-{commit}.parquet", _encode(video))

    def commit_part(self, key: str, part: Part, commit: str) -> None:
        # Transcripts and video texts are in the video unit; a part keeps what is its own.
        own = replace(part.video, transcripts=[], texts=[], probe=None)
        self._put(f"units/{key}/part-{part.index:06d}-{commit}.parquet", _encode(own))

    def fail(self, key: str, index: int | None, failure: Failure) -> None:
        name = "failed-video" if index is None else f"failed-part-{index:06d}"
        self._put(f"units/{key}/{name}.json", json.dumps(asdict(failure), sort_keys=True).encode())

    def forgive(self, keys: list[str] | None = None) -> int:
        """Forget failures, so that the next run tries them again; returns how many."""
        doomed = [
            item.key
            for item in self.store.list("units/")
            if item.key.rsplit("/", 1)[1].startswith("failed-")
            and (keys is None or item.key.split("/")[1] in keys)
        ]
        self.store.delete(doomed)
        return len(doomed)

    def _put(self, name: str, data: bytes) -> None:
        if self.fence is not None:
            self.fence()
        self.store.put_if_absent(name, data)


def claim(store: Store, plan: Plan) -> None:
    """Make the output this plan's, or refuse it: one output never mixes fingerprints.

    Raises Conflict naming the stages that differ.
    """
    mine = {
        "recipe": plan.recipe,
        "fingerprint": plan.fingerprint,
        "final": plan.final,
        "stages": plan.identity(),
    }
    if store.put_if_absent("plan.json", json.dumps(mine, indent=1).encode()):
        return
    theirs = json.loads(store.get("plan.json"))
    if theirs["fingerprint"] == plan.fingerprint:
        return
    old, new = theirs["stages"], plan.identity()
    changed = sorted(name for name in old.keys() & new.keys() if old[name] != new[name])
    parts = [
        f"changed: {', '.join(changed)}" if changed else "",
        f"added: {', '.join(sorted(new.keys() - old.keys()))}" if new.keys() - old.keys() else "",
        f"removed: {', '.join(sorted(old.keys() - new.keys()))}" if old.keys() - new.keys() else "",
    ]
    difference = "; ".join(part for part in parts if part) or "parts are divided differently"
    raise Conflict(
        f"{store.uri} holds work of recipe {theirs['recipe']!r} with other stages ({difference})",
        cure=f"write to a new folder and reuse what still fits: --out NEW --from {store.uri}",
    )


def _encode(video: Video) -> bytes:
    table = pa.table({"video": pa.array([to_arrow(video)], type=_VIDEO_TYPE)})
    table = table.replace_schema_metadata({"clipmill.schema": str(SCHEMA_VERSION)})
    sink = BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def _decode(data: bytes) -> Video:
    table = pq.read_table(BytesIO(data))
    return from_arrow(Video, table.column("video")[0].as_py())


def _joined(steps: list[Step], part: Video) -> list[Step]:
    known = {step.stage: step for step in steps}
    for step in part.steps:
        if step.stage in known and known[step.stage].fingerprint == step.fingerprint:
            spared = sorted({*known[step.stage].spared, *step.spared})
            known[step.stage] = replace(step, spared=spared)
        else:
            known[step.stage] = step
    return list(known.values())
