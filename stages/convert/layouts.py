"""How well-known data sets are laid out, so that a recipe can name one instead of its columns.

Most are names alone. A function stands where a record is not a row: several windows of one query,
the votes of several people, an event in a fixed slot of its clip. What such a function decides (how
many must agree, which time of several) is said beside it, for the data sets leave it open. Names
come from the pages given; files were not at hand for all of them, so a file that has other names is
refused with those it has.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from statistics import median
from typing import Any

from clipmill.stages.convert.annotation_rows import KEY, REFUSED, Layout, Names

CLIP_S = 2.0  # QVHighlights rates clips of two seconds
CHUNK_S = 5.0  # DiDeMo's moments are made of chunks of five seconds
SLOT_S, SLOTS = 2.0, 5  # VidSitu's events fill clips of ten seconds
TUBE_S = 20.0  # HC-STVG's films
MOST_CLIPS = 100_000  # of a video; larger numbers are none
UNINTENDED = "something goes wrong that nobody intended"


def _qvhighlights(record: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """A row per window, and a rated row per clip that several people judged."""
    windows, clips = record.get("relevant_windows"), record.get("relevant_clip_ids") or []
    ratings = record.get("saliency_scores") or []
    if not isinstance(windows, list) or not windows:
        yield {**record, REFUSED: "no_windows"}  # as in the test split
        return
    for window in windows:
        yield {**record, "span": window}
    whole = isinstance(clips, list) and isinstance(ratings, list) and len(clips) == len(ratings)
    if not whole or not all(type(clip) is int and 0 <= clip < MOST_CLIPS for clip in clips):
        yield {**record, REFUSED: "ratings_do_not_fit"}
        return
    for clip, rating in zip(clips, ratings, strict=True):
        yield {**record, "span": [clip * CLIP_S, (clip + 1) * CLIP_S], "rating": rating}


def _didemo(record: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The moment that most people marked, if two did (ours: the authors score against all)."""
    chunks = record.get("num_segments")
    length = {}
    if type(chunks) is int and 0 < chunks < MOST_CLIPS:
        length["duration"] = chunks * CHUNK_S
    times = record.get("times")
    votes = Counter(
        tuple(pair)
        for pair in (times if isinstance(times, list) else ())
        if isinstance(pair, list)
        and len(pair) == 2
        and all(type(chunk) is int and 0 <= chunk < MOST_CLIPS for chunk in pair)
    )
    # Of moments that are marked equally often the earliest and shortest.
    for (first, last), count in sorted(votes.items(), key=lambda vote: (-vote[1], vote[0]))[:1]:
        if count < 2:
            yield {**record, **length, REFUSED: "nobody_agrees"}
        else:
            yield {**record, **length, "span": [first * CHUNK_S, (last + 1) * CHUNK_S]}
    if not votes:
        yield {**record, **length, REFUSED: "no_time"}


def _oops(record: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """One moment, the median of the workers' times, where more found it than did not (-1)."""
    times = record.get("t")
    told = [t for t in times if type(t) in (int, float)] if isinstance(times, list) else []
    found = [t for t in told if t >= 0]
    if 2 * len(found) <= len(told):
        yield {**record, "text": UNINTENDED, REFUSED: "nobody_agrees" if told else "no_time"}
        return
    yield {**record, "text": UNINTENDED, "start": median(found)}


def _vidsitu(record: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Five events of two seconds. Each but the third says how it relates to the third."""
    for slot in range(SLOTS):
        event = record.get(f"Ev{slot + 1}")
        if not isinstance(event, dict):
            yield {REFUSED: "no_event"}
            continue
        arguments = event.get("Args")
        roles = {
            name.partition(" ")[0]: text.strip()
            for name, text in (arguments if isinstance(arguments, dict) else {}).items()
            if isinstance(text, str) and text.strip()
        }
        verb = str(event.get("Verb") or "").partition(" (")[0]
        who = roles.pop("Arg0", "")
        told = ", ".join([verb, *(roles[name] for name in sorted(roles) if name.startswith("Arg"))])
        yield {
            "video": event.get("vid_seg_int"),
            "text": (f"{who}: {told}" if who else told) if verb else "",
            "span": [slot * SLOT_S, (slot + 1) * SLOT_S],
            "duration": SLOTS * SLOT_S,
            "number": slot + 1,
            "relation": event.get("EvRel") or "",
            "relates_to": 3 if event.get("EvRel") else "",
        }


def _vitt(record: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Sections, of which only the beginnings are marked: each ends where the next begins."""
    marks = record.get("annotations")
    found = [mark for mark in (marks if isinstance(marks, list) else ()) if isinstance(mark, dict)]
    times = [at for mark in found if (at := _number(mark.get("timestamp"))) is not None]
    if not found or len(times) < len(found) or min(times) < 0:
        yield {**record, REFUSED: "no_time"}
        return
    for place, mark in enumerate(found):
        row = {"id": record.get("id"), "tag": mark.get("tag"), "start": times[place] / 1000}
        if place + 1 < len(found):
            row["end"] = times[place + 1] / 1000
        yield row


def _hirest(record: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Below each query its videos: the moment that answers it, and the steps of that moment."""
    for video, told in record.items():
        if video == KEY:
            continue
        if not isinstance(told, dict) or not (told.get("relevant") and told.get("clip")):
            yield {"video": video, REFUSED: "no_moment"}
            continue
        shared = {"video": video, "duration": told.get("v_duration")}
        yield {**shared, "text": record.get(KEY), "span": told.get("bounds"), "part": "moment"}
        steps = told.get("steps")
        for step in steps if isinstance(steps, list) else ():
            known = step if isinstance(step, dict) else {}
            span = known.get("absolute_bounds")
            yield {**shared, "text": known.get("heading"), "span": span, "part": "step"}


def _hcstvg(record: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """A person's tube: a box for each frame from `st_frame` on, of which one a second is taken."""
    row = {**record, "text": record.get("English") or record.get("caption"), "duration": TUBE_S}
    size = record.get("img_size")
    height, width = size if isinstance(size, list) and len(size) == 2 else (None, None)
    told = (
        record.get("width") or width,
        record.get("height") or height,
        record.get("img_num"),
        record.get("st_frame"),
    )
    numbers = [one for one in map(_number, told) if one is not None and one > 0]
    frames = record.get("bbox")
    listed = [box for box in (frames if isinstance(frames, list) else ()) if isinstance(box, list)]
    boxes = [[side for side in map(_number, box) if side is not None] for box in listed]
    if len(numbers) < len(told) or any(len(box) != 4 for box in boxes):
        yield {**row, "tube": []}
        return
    wide, high, count, first = numbers
    tube = []
    for place in range(0, len(boxes), max(1, round(count / TUBE_S))):
        x, y, w, h = boxes[place]
        sides = (x / wide, y / high, (x + w) / wide, (y + h) / high)
        at = (first - 1 + place) * TUBE_S / count
        tube.append([at, *(min(max(side, 0.0), 1.0) for side in sides)])
    yield {**row, "tube": tube}


def _number(value: object) -> float | None:
    """A number that can be reckoned with, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e9:
        return None
    return float(value)


def _star(record: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    choices = record.get("choices")
    listed = choices if isinstance(choices, list) else []
    yield {**record, "choices": [c.get("choice") if isinstance(c, dict) else c for c in listed]}


LAYOUTS: dict[str, Layout] = {
    "activitynet": Layout(  # also HACS and FineAction, which keep its form
        Names(
            "", "label", "", "", "segment", "duration", ("subset",), (), "database", "annotations",
        ),
        "https://github.com/activitynet/ActivityNet",
    ),
    "activitynet_captions": Layout(
        Names("", "sentences", "", "", "timestamps", "duration"),
        "https://cs.stanford.edu/people/ranjaykrishna/densevid/",
    ),
    "charades_sta": Layout(
        Names("video", "text", "start", "end"),
        "https://github.com/jiyanggao/TALL",
        line=re.compile(r"(?P<video>\S+) (?P<start>\S+) (?P<end>\S+) ?##(?P<text>.*)"),
    ),
    "coin": Layout(
        Names(
            "", "label", "", "", "segment", "duration", ("class", "subset"), (), "database",
            "annotation",
        ),
        "https://github.com/coin-dataset/annotations",
    ),
    "didemo": Layout(
        Names("video", "description", "", "", "span", "duration"),
        "https://github.com/LisaAnne/LocalizingMoments",
        unfold=_didemo,
    ),
    "hc_stvg": Layout(
        Names("", "text", "st_time", "ed_time", duration="duration", boxes="tube"),
        "https://github.com/tzhhhh123/HC-STVG",
        unfold=_hcstvg,
    ),
    "hirest": Layout(
        Names("video", "text", "", "", "span", "duration", ("part",), keyed=False),
        "https://github.com/j-min/HiREST",
        unfold=_hirest,
    ),
    "mvbench": Layout(
        Names(
            "video", "", "start", "end", question="question", answer="answer",
            options=("candidates",),
        ),
        "https://huggingface.co/datasets/OpenGVLab/MVBench",
    ),
    "nextqa": Layout(
        Names(
            "video", "", "", "", labels=("type",), question="question", answer="answer",
            options=("a0", "a1", "a2", "a3", "a4"),
        ),
        "https://github.com/doc-doc/NExT-QA",
    ),
    "oops": Layout(
        Names("", "text", "start", "", duration="len"),
        "https://oops.cs.columbia.edu/data/",
        unfold=_oops,
    ),
    "qvhighlights": Layout(
        Names("vid", "query", "", "", "span", "duration", rating="rating"),
        "https://github.com/jayleicn/moment_detr/blob/main/data/README.md",
        unfold=_qvhighlights,
    ),
    "star": Layout(
        Names(
            "video_id", "", "start", "end", question="question", answer="answer",
            options=("choices",),
        ),
        "https://github.com/csbobby/STAR",
        unfold=_star,
    ),
    "video_bench": Layout(
        Names(
            "video_id", "", "", "", keyed=False, question="question", answer="answer",
            options=("choices",),
        ),
        "https://github.com/PKU-YuanGroup/Video-Bench",
    ),
    "vitt": Layout(
        Names("id", "tag", "start", "end", open_end=True),
        "https://github.com/google-research-datasets/Video-Timeline-Tags-ViTT",
        unfold=_vitt,
        once=True,
    ),
    "vidsitu": Layout(
        Names("video", "text", "", "", "span", "duration", ("number", "relation", "relates_to")),
        "https://github.com/TheShadow29/VidSitu/blob/main/data/README.md",
        unfold=_vidsitu,
    ),
    "youcook2": Layout(
        Names(
            "", "sentence", "", "", "segment", "duration", ("subset",), (), "database",
            "annotations",
        ),
        "http://youcook2.eecs.umich.edu/download",
    ),
}  # fmt: skip
"""By the name that `import_annotations` and a list of data sets give it."""
