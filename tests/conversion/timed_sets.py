"""Data sets that never were: timed annotations of fifty videos in three published forms, by a seed.

What is true of each video is drawn first and then written down in the form of its set, with the
rounding that form is published in and with rows of no use planted among the good ones. No media
exists. A fourth set asks questions whose right option always stands first, as a habit to be undone.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

WHO = ("a man", "a woman", "a child", "an old man", "a girl", "a dog", "a waiter", "two boys")
DOES = ("lifts", "drops", "carries", "paints", "opens", "washes", "breaks", "hides", "throws")
WHAT = ("the red box", "a chair", "the lamp", "a bottle", "the door", "a wet towel", "the ladder")
QUERY = "people who laugh loudly"

Event = tuple[str, float, float]


@dataclass
class Told:
    """What is true of a video: its length, its events in time order, and ratings of two seconds."""

    duration: float
    events: list[Event]
    rated: dict[str, list[tuple[float, list[int]]]] = field(default_factory=dict)  # text -> start

    @property
    def texts(self) -> Counter[str]:
        return Counter(text for text, _, _ in self.events)


@dataclass
class Sets:
    """The list of sets as a recipe's input, what is true by input id, and what must be refused."""

    file: Path
    told: dict[str, Told]
    refused: dict[str, Counter[str]]  # set -> reason -> rows
    doubled: int = 1  # rows that tell an event once more; a timeline leaves them out

    @property
    def rated(self) -> int:
        return sum(len(clips) for one in self.told.values() for clips in one.rated.values())


def texts(rng: random.Random, count: int) -> list[str]:
    found: dict[str, None] = {}
    while len(found) < count:
        found[f"{rng.choice(WHO)} {rng.choice(DOES)} {rng.choice(WHAT)}"] = None
    return list(found)


def told(rng: random.Random, step: float, again: bool) -> Told:
    """Events on a grid of `step` seconds, some at once; `again` makes the first happen twice."""
    count = rng.randint(3, 6)
    duration = round(step * rng.randint(round(40 / step), round(170 / step)), 2)
    named = texts(rng, count)
    if again:
        named[-1] = named[0]
    events = []
    for number, text in enumerate(named):
        slot = duration / count
        start = step * round((number * slot + rng.uniform(0, 0.4 * slot)) / step)
        end = step * max(
            round(start / step) + 1, round((start + rng.uniform(0.5, 0.9) * slot) / step)
        )
        events.append((text, round(start, 2), round(min(end, duration), 2)))
    return Told(duration, sorted(events, key=lambda event: (event[1], event[2], event[0])))


def captions(rng: random.Random, folder: Path, count: int) -> tuple[dict[str, Told], Counter[str]]:
    """The form of ActivityNet Captions: columns side by side, two digits."""
    true = {f"v_{n:04d}": told(rng, 0.01, n % 3 == 0) for n in range(count)}
    for one in true.values():
        one.events = [(f"{text}.", start, end) for text, start, end in one.events]
    whole: dict[str, Any] = {
        name: {
            "duration": one.duration,
            "timestamps": [[start, end] for _, start, end in one.events],
            "sentences": [text for text, _, _ in one.events],
        }
        for name, one in true.items()
    }
    bad = [("no_text", " ", [1.0, 2.0]), ("backwards", "x", [5.0, 1.0]),
           ("outside", "y", [900.0, 910.0]), ("no_time", "z", [1.0])]  # fmt: skip
    for name in list(true)[:3]:
        for _, text, span in bad:
            whole[name]["sentences"].insert(0, text)
            whole[name]["timestamps"].insert(0, span)
    text, start, end = true["v_0002"].events[0]  # told twice, as a check sees
    whole["v_0002"]["sentences"].append(text)
    whole["v_0002"]["timestamps"].append([start, end + 0.01])
    (folder / "train.json").write_text(json.dumps(whole))
    return true, Counter({reason: 3 for reason, _, _ in bad})


def charades(rng: random.Random, folder: Path, count: int) -> tuple[dict[str, Told], Counter[str]]:
    """The form of Charades-STA: lines of text, one digit, lengths in a table of their own."""
    true = {f"{n:05d}".translate(str.maketrans("0123456789", "ABCDEFGHIJ")): told(rng, 0.1, False)
            for n in range(count)}  # fmt: skip
    lines = [
        f"{name} {start:.1f} {end:.1f}##{text}"
        for name, one in true.items()
        for text, start, end in one.events
    ]
    rng.shuffle(lines)
    lines[3:3] = ["AAAAA 9.0 4.0##turned round", "AAAAB 1.0 soon##never", "no row of any kind"]
    (folder / "charades_sta_train.txt").write_text("\n".join(lines) + "\n")
    table = "".join(f"{name},{one.duration}\n" for name, one in true.items())
    (folder / "Charades_v1_train.csv").write_text("id,length\n" + table)
    return true, Counter(backwards=1, no_time=1, no_video=1)


def highlights(
    rng: random.Random, folder: Path, count: int
) -> tuple[dict[str, Told], Counter[str]]:
    """The form of QVHighlights: a line per query, windows of whole clips, three ratings a clip."""
    true: dict[str, Told] = {}
    lines: list[dict[str, Any]] = []
    for n in range(count):
        one = told(rng, 2.0, n % 4 == 0)
        name = f"yt{n:02d}_60.0_210.0"
        true[name] = one
        for text in one.texts:
            windows = [[start, end] for t, start, end in one.events if t == text]
            clips = sorted(
                {int(at // 2) for start, end in windows for at in range(int(start), int(end), 2)}
            )
            ratings = [[rng.randint(0, 4) for _ in range(3)] for _ in clips]
            one.rated[text] = [(2.0 * clip, r) for clip, r in zip(clips, ratings, strict=True)]
            lines.append(
                {"qid": len(lines), "query": text, "vid": name, "duration": one.duration,
                 "relevant_windows": windows, "relevant_clip_ids": clips,
                 "saliency_scores": ratings}
            )  # fmt: skip
    hidden = {
        "qid": 900,
        "query": QUERY,
        "vid": "yt00_60.0_210.0",
        "duration": lines[0]["duration"],
    }
    lines[2:2] = [hidden]
    (folder / "highlight_train_release.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return true, Counter(no_windows=1)


def sets(folder: Path, counts: tuple[int, int, int] = (20, 15, 15), seed: int = 7) -> Sets:
    """Three sets of so many videos and the list that names them."""
    rng = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    anet, anet_bad = captions(rng, folder, counts[0])
    sta, sta_bad = charades(rng, folder, counts[1])
    qvh, qvh_bad = highlights(rng, folder, counts[2])
    rows = [
        {"annotations": "train.json", "layout": "activitynet_captions", "set": "anet"},
        {"annotations": "charades_sta_train.txt", "layout": "charades_sta", "set": "sta",
         "durations": "Charades_v1_train.csv"},
        {"annotations": "highlight_train_release.jsonl", "layout": "qvhighlights", "set": "qvh"},
    ]  # fmt: skip
    (folder / "sets.jsonl").write_text("\n".join(map(json.dumps, rows)))
    true = {f"{name}/{video}": one for name, own in (("anet", anet), ("sta", sta), ("qvh", qvh))
            for video, one in own.items()}  # fmt: skip
    refused = {"anet": anet_bad, "sta": sta_bad, "qvh": qvh_bad}
    return Sets(folder / "sets.jsonl", true, refused)


def quiz(folder: Path, seed: int = 7) -> tuple[Path, dict[str, str]]:
    """A list of one set of questions in the form of STAR, and the answer to each."""
    rng = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    rows, right = [], {}
    for n in range(15):
        for k in range(20):
            options = texts(rng, 4)
            question = f"What is seen first in part {k} of film {n}?"
            right[question] = options[0]
            choices = [{"choice_id": c, "choice": text} for c, text in enumerate(options)]
            rows.append({"question_id": f"S_{n}_{k}", "question": question, "video_id": f"Q{n:03d}",
                         "start": 10.0 * k, "end": 10.0 * k + 8, "answer": options[0],
                         "choices": choices})  # fmt: skip
    rows.append({**rows[0], "question": "", "question_id": "S_bad"})
    (folder / "STAR_train.json").write_text(json.dumps(rows))
    row = {"annotations": "STAR_train.json", "layout": "star", "set": "star"}
    (folder / "quiz.jsonl").write_text(json.dumps(row))
    return folder / "quiz.jsonl", right
