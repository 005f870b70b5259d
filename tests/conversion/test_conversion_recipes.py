"""Every recipe of the family from published files to shards: tasks are read back and compared.

No video exists, and whatever would open one fails the test. An operator counts only if the
acceptance goes red when it does nothing, which is tested for each.
"""

from __future__ import annotations

import json
import re
import tarfile
from collections import Counter, defaultdict
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from clipmill.pipeline.engine.run import run
from clipmill.pipeline.output.tables import read_videos
from clipmill.pipeline.output.verify import verify
from clipmill.pipeline.recipe.recipe import load_recipe
from clipmill.pipeline.selfcheck.records import complaint
from clipmill.pipeline.store.store import Store
from clipmill.schemas.records import Video
from clipmill.stages.convert.import_annotations import ImportAnnotations
from clipmill.stages.filter.balance_samples import BalanceSamples
from clipmill.stages.filter.split_sets import SplitSets
from clipmill.stages.ground.check_timeline import CheckTimeline
from clipmill.stages.media import sandbox
from clipmill.stages.qa.record_to_tasks import RecordToTasks
from clipmill.stages.sample_decision import sample_rows
from clipmill.stages.source.probe_media import ProbeMedia
from clipmill.stages.split.split_uniform import SplitUniform
from tests.conversion.read_tasks import Reader
from tests.conversion.timed_sets import Sets, Told, quiz, sets
from tests.rendered import render

CRITICAL = {1: 3.84, 2: 5.99, 3: 7.81}
"""Chi-square by degrees of freedom: one fair set in twenty passes it."""


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Sets:
    return sets(tmp_path_factory.mktemp("published"))


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Sets:
    """The same of a dozen videos, for what fails with any."""
    return sets(tmp_path_factory.mktemp("few"), (5, 3, 4))


@pytest.fixture(scope="module")
def runs(published: Sets, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Out]:
    """What a recipe makes of all fifty videos, each run once."""
    return cache(
        lambda recipe: Out(f"conversion/{recipe}", published.file, tmp_path_factory.mktemp("out"))
    )


@pytest.fixture(autouse=True)
def _no_media(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("media was opened")

    if "with_media" not in request.node.name:
        monkeypatch.setattr(sandbox, "call", refuse)


WORST: dict[str, float] = {}
"""Form of time -> the largest error met, as a share of what the form allows."""


class Out:
    """What a run made: packed clips by video, and every video's record."""

    def __init__(self, recipe: str, source: Path, folder: Path, *changes: str) -> None:
        summary = run(load_recipe(recipe, changes), str(source), str(folder), engine="inline")
        assert not summary.failed, summary
        store = Store.open(str(folder))
        assert verify(store).ok
        self.videos = {video.id: video for video in read_videos(store)}
        self.packed: dict[str, dict[str, Any]] = {}  # by video, where it has one clip
        self.clips: list[dict[str, Any]] = []
        for shard in sorted((folder / "shards").glob("*.tar")):
            with tarfile.open(shard) as tar:
                for member in tar.getmembers():
                    assert member.name.endswith((".json", ".txt")), member.name
                    if member.name.endswith(".txt"):
                        continue
                    file = tar.extractfile(member)
                    assert file is not None
                    facts = json.loads(file.read())
                    assert complaint(facts) is None, complaint(facts)
                    self.packed[facts["video"]["id"]] = facts
                    self.clips.append(facts)

    def samples(self, task: str = "") -> list[tuple[str, dict[str, Any]]]:
        """(video, sample) of what is packed."""
        return [
            (name, sample)
            for name, facts in self.packed.items()
            for sample in facts["samples"]
            if sample["kind"] == "qa" and task in ("", sample["labels"]["task"])
        ]

    def made(self) -> Counter[str]:
        """Questions by task before any was dropped."""
        return Counter(
            sample.labels["task"]
            for video in self.videos.values()
            for segment in video.layer("whole")
            for sample in segment.samples
        )


def refused(videos: dict[str, Video]) -> dict[str, Counter[str]]:
    """Set -> reason -> rows, as the records tell; each names its rows."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for video in videos.values():
        for text in video.texts:
            if text.role == "refused_events":
                reason, _, said = text.text.partition(": ")
                assert said.endswith(")") and said.partition("(")[2][0].isdecimal()
                found[video.meta["set"]][reason] += int(said.partition(" ")[0])
    return found


def hold(out: Out, published: Sets, least: int = 60) -> None:
    """The acceptance: whatever is told of a time or a text is what was published."""
    wanted = {name: Counter(reasons) for name, reasons in published.refused.items()}
    if not any(video.layer("rated") for video in out.videos.values()):
        wanted["qvh"]["rating"] = published.rated  # a recipe that asks for none
    assert refused(out.videos) == wanted
    doubled = [
        event
        for video in out.videos.values()
        for event in video.layer("events")
        if event.labels.get("timeline_rejected") == "doubled"
    ]
    assert len(doubled) == published.doubled
    asked = out.samples()
    assert len(asked) >= least
    for name, sample in asked:
        right(sample, published.told[name])
    assert {sample["labels"]["set"] for _, sample in asked} == {"anet", "sta", "qvh"}
    of_set = {facts["labels"].get("set") for facts in out.packed.values()}
    assert of_set and of_set <= {"train", "val", "test"}
    assert {facts["media"]["mode"] for facts in out.packed.values()} == {"none"}


def right(sample: dict[str, Any], true: Told, bins: int = 100) -> None:
    """A task read back: text exact, times within what its form allows."""
    reader = Reader(sample, true.duration, bins)
    task, answer = sample["labels"]["task"], sample["answer"]

    def same(found: list[tuple[float, float]], wanted: list[tuple[float, float]]) -> None:
        assert len(found) == len(wanted), (sample, found, wanted)
        for one, two in zip(found, wanted, strict=True):
            off = max(abs(a - b) for a, b in zip(one, two, strict=True))
            WORST[reader.form] = max(WORST.get(reader.form, 0.0), off / reader.error())
            assert off <= reader.error(), sample

    when: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for text, start, end in true.events:
        when[text].append((start, end))
    if task in ("timeline", "steps"):
        listed = reader.listed()
        assert [text for text, _ in listed] == [text for text, _, _ in true.events]
        same([span for _, span in listed], [(start, end) for _, start, end in true.events])
    elif task in ("localisation", "occurrences"):
        text = reader.text()
        assert task == "occurrences" or len(when[text]) == 1
        same(reader.spans(answer, "tgt"), when[text])
    elif task == "unanswerable":
        assert reader.text() not in when and not reader.spans(answer, "tgt")
    elif task in ("span_caption", "span_choice"):
        [asked] = reader.spans(sample["question"], "src")
        assert any(max(abs(a - b) for a, b in zip(asked, span, strict=True)) <= reader.error()
                   for span in when[answer])  # fmt: skip
        for option in set(sample["options"]) - {answer}:
            evidence = sample["evidence"][0]
            assert all(end <= evidence["start_s"] or evidence["end_s"] <= start
                       for start, end in when.get(option, []))  # fmt: skip
    elif task == "matching":
        told = sorted(reader.spans(sample["question"], "src") + reader.spans(answer, "tgt"))
        [spans] = [spans for text, spans in when.items() if len(spans) > 1]
        same(told, spans)
    elif task == "highlight":
        clips = true.rated[reader.text()]
        same(reader.spans(answer, "tgt"), [(at, at + 2) for at, _ in clips])
        said = [float(line.rpartition("(")[2].rstrip(")")) for line in answer.split("; ")]
        assert all(abs(one - sum(r) / 3) < 0.06 for one, (_, r) in zip(said, clips, strict=True))
    elif task == "summary":
        spans = reader.spans(answer, "tgt")
        assert sum(end - start for start, end in spans) <= 0.15 * true.duration + reader.error()
    else:
        raise AssertionError(f"nobody can read {task}")


def formula(published: Sets) -> dict[str, int]:
    """How many questions each task makes, from what was published."""
    told = published.told.values()
    return {
        "localisation": sum(count == 1 for one in told for count in one.texts.values()),
        "occurrences": sum(len(one.texts) for one in told),
        "matching": sum(count > 1 for one in told for count in one.texts.values()),
        "span_caption": sum(len(one.events) for one in told),
        "timeline": len(told),
        "steps": len(told),
        "highlight": sum(len(one.rated) for one in told),
    }


@pytest.mark.parametrize("recipe", ["vtg_it", "timeit", "et_instruct", "st_align"])
def test_tasks_read_back_are_what_was_published(
    recipe: str, published: Sets, runs: Callable[[str], Out]
) -> None:
    out = runs(recipe)
    assert len(published.told) == 50
    hold(out, published)
    made, wanted = out.made(), formula(published)
    assert {task: made[task] for task in made if task in wanted} == {
        task: wanted[task] for task in made if task in wanted
    }


@pytest.mark.parametrize(
    ("recipe", "change"),
    [
        ("et_instruct@text", "each=1000"),
        ("timeit", "times=clock"),
        ("timeit", "times=percent"),
        ("st_align", "bins=30"),
    ],
)
def test_other_forms_of_time_read_back_as_well(
    recipe: str, change: str, few: Sets, tmp_path: Path
) -> None:
    out = Out(
        f"conversion/{recipe}", few.file, tmp_path / "out", f"stages.record_to_tasks.{change}"
    )
    bins = 30 if "bins" in change else 100
    for name, sample in out.samples():
        right(sample, few.told[name], bins)
    assert len(out.samples()) > 10
    print({form: round(share, 2) for form, share in sorted(WORST.items())})


SHARES = {
    "vtg_it": {"localisation": 63.2, "timeline": 37.2, "summary": 15.2, "highlight": 3.9},
    "st_align": {"localisation": 4, "unanswerable": 1, "span_caption": 4, "timeline": 1},
}


def mixed(out: Out, shares: dict[str, float]) -> None:
    kept = Counter(sample["labels"]["task"] for _, sample in out.samples())
    assert set(kept) == set(shares)
    for task, share in shares.items():
        got = 100 * kept[task] / kept.total()
        assert abs(got - 100 * share / sum(shares.values())) <= 1, (task, got)


def both(question: str) -> tuple[str, str]:
    """The two texts that a question names; one with a stop of its own stands in quotes."""
    found = re.search(r'First: "?(.+?)"?\. Second: "?(.+?)"?\.$', question)
    assert found is not None, question
    return found[1], found[2]


@pytest.mark.parametrize("recipe", SHARES)
def test_the_mixture_has_the_shares_that_were_asked_for(
    recipe: str, runs: Callable[[str], Out]
) -> None:
    mixed(runs(recipe), SHARES[recipe])


def placed(out: Out, right: dict[str, str], least: int) -> None:
    """Given questions keep their answer; options stand anywhere, equally often."""
    by_count: dict[int, Counter[int]] = defaultdict(Counter)
    for _, sample in out.samples():
        options, answer = sample["options"], sample["answer"]
        assert options.count(answer) == 1 and right.get(sample["question"], answer) == answer
        if sample["labels"]["type"] == "choice":
            by_count[len(options)][options.index(answer)] += 1
    assert sum(places.total() for places in by_count.values()) >= least
    for count, places in by_count.items():
        if (even := places.total() / count) >= 5:
            off = sum((places[place] - even) ** 2 / even for place in range(count))
            assert off < CRITICAL[count - 1], (count, places)


def test_given_questions_lose_the_habit_of_where_the_answer_stands(tmp_path: Path) -> None:
    source, answers = quiz(tmp_path / "in")
    out = Out("conversion/video_bench", source, tmp_path / "out")
    assert len(out.samples("question")) == len(answers) == 300
    placed(out, answers, 300)
    assert refused(out.videos) == {"star": Counter(no_question=1)}


def test_mvbench_asks_as_often_for_each_task_and_every_answer_is_right(
    few: Sets, tmp_path: Path
) -> None:
    source, answers = quiz(tmp_path / "in")
    rows = few.file.read_text().splitlines() + source.read_text().splitlines()
    for file in few.file.parent.iterdir():
        (tmp_path / "in" / file.name).write_bytes(file.read_bytes())
    (tmp_path / "in" / "all.jsonl").write_text("\n".join(rows))
    out = Out("conversion/mvbench", tmp_path / "in" / "all.jsonl", tmp_path / "out")
    kept = Counter(sample["labels"]["task"] for _, sample in out.samples())
    assert set(kept) == {"question", "span_choice", "ordering", "before", "counting", "retrieval"}
    assert len(set(kept.values())) == 1
    placed(out, answers, 40)
    for name, sample in out.samples():
        true = few.told.get(name)
        task, answer = sample["labels"]["task"], sample["answer"]
        if true is None:
            assert task == "question"
        elif task == "span_choice":
            right(sample, true)
        elif task == "counting":
            named = [text for text in true.texts if text in sample["question"]]
            assert str(true.texts[max(named, key=len)]) == answer
        elif task == "retrieval":
            assert [option in true.texts for option in sample["options"]].count(True) == 1
            assert answer in true.texts
        elif task == "ordering":
            assert answer.split("; ") == [text for text, _, _ in true.events]
        elif task == "before":
            order = [text for text, _, _ in true.events]
            first, second = both(sample["question"])
            assert answer == ("yes" if order.index(first) < order.index(second) else "no")


def test_ual_bench_tells_the_moment_that_people_marked(tmp_path: Path) -> None:
    times = {f"fail {n}": {"t": [n + 0.2, n + 0.4, n + 1.0], "len": 20.0 + n, "n_notfound": 0}
             for n in range(12)}  # fmt: skip
    times["fine"] = {"t": [-1, -1, 3.0], "len": 9.0, "n_notfound": 2}
    (tmp_path / "transition_times.json").write_text(json.dumps(times))
    (tmp_path / "sets.csv").write_text("annotations,layout,set\ntransition_times.json,oops,oops\n")
    out = Out("conversion/ual_bench", tmp_path / "sets.csv", tmp_path / "out")
    assert len(out.samples()) == 12 and "oops/fine" not in out.packed
    for name, sample in out.samples():
        number = int(name.removeprefix("oops/fail "))
        [(start, end)] = Reader(sample, 20.0 + number).spans(sample["answer"], "tgt")
        assert start == end and abs(start - number - 0.4) < 0.06
    assert refused(out.videos) == {"oops": Counter(nobody_agrees=1)}


def test_tsadp_asks_how_events_relate(tmp_path: Path) -> None:
    relations = ("Causes", "Enables", None, "Reaction To", "NoRel")
    records = [
        {
            f"Ev{k + 1}": {"vid_seg_int": f"v_{n}_seg_0_10", "Verb": f"act{n}{k} (do)", "Args": {}}
            | ({"EvRel": relation} if relation else {})
            for k, relation in enumerate(relations)
        }
        for n in range(20)
    ]
    (tmp_path / "vsann_train_lb.json").write_text(json.dumps(records))
    (tmp_path / "sets.csv").write_text("annotations,layout,set\nvsann_train_lb.json,vidsitu,vs\n")
    out = Out("conversion/tsadp", tmp_path / "sets.csv", tmp_path / "out")
    assert out.made() == {"relation": 80, "before": 20, "ordering": 20}
    kept = Counter(sample["labels"]["task"] for _, sample in out.samples())
    assert kept == {"relation": 20, "before": 20, "ordering": 20}
    meant = {0: "causes the second", 1: "makes the second possible", 3: "reaction to the first",
             4: "nothing to do with each other"}  # fmt: skip
    for _, sample in out.samples("relation"):
        first, second = both(sample["question"])
        places = sorted((int(first[-1]), int(second[-1])))
        assert [int(first[-1]), int(second[-1])] == places and 2 in places
        [other] = set(places) - {2}
        assert sample["answer"].endswith(meant[other]) and len(sample["options"]) == 4


def test_st_align_tells_tubes_in_the_tokens_of_times(tmp_path: Path) -> None:
    films = {
        f"{n}_film.mp4": {
            "bbox": [[4 * k + n, 30, 80, 120 + n] for k in range(100)],
            "st_frame": 26 * n + 1, "st_time": n + 0.04 * n, "ed_time": n + 0.04 * n + 4.0,
            "img_num": 500, "width": 640, "height": 360, "caption": f"person number {n} walks off",
        }
        for n in range(14)
    }  # fmt: skip
    (tmp_path / "train.json").write_text(json.dumps(films))
    (tmp_path / "sets.csv").write_text("annotations,layout,set\ntrain.json,hc_stvg,hc\n")
    out = Out("conversion/st_align", tmp_path / "sets.csv", tmp_path / "out")
    assert out.made()["tube"] == out.made()["where"] == 14
    asked = [*out.samples("tube"), *out.samples("where")]
    assert len(asked) >= 10
    half = 0.005 + 1e-6
    for name, sample in asked:
        film = films[name.removeprefix("hc/")]
        boxes = re.findall(r"at <(\d+)> <(\d+)><(\d+)><(\d+)><(\d+)>", sample["answer"])
        assert len(boxes) == 4
        for place, told in zip(range(0, 100, 25), boxes, strict=True):
            at, left, top, right, bottom = ((int(token) + 0.5) / 100 for token in told)
            x, y, w, h = film["bbox"][place]
            assert abs(20 * at - (film["st_frame"] - 1 + place) / 25) <= 20 * half
            wanted = (x / 640, y / 360, (x + w) / 640, (y + h) / 360)
            pairs = zip((left, top, right, bottom), wanted, strict=True)
            assert all(abs(one - two) <= half for one, two in pairs)
        text = sample["answer"] if sample["labels"]["task"] == "tube" else sample["question"]
        start, end = Reader(sample, 20.0).spans(text, "tgt")[0]
        assert abs(start - film["st_time"]) <= 20 * half and abs(end - film["ed_time"]) <= 20 * half


def test_two_importers_of_the_same_events_give_the_same_record(tmp_path: Path) -> None:
    """One video's events, published in three forms and in other orders."""
    events = [("a man lifts a chair", 4.0, 8.0), ("a girl paints", 4.0, 8.0), ("rain", 10.0, 20.0)]
    one = {"duration": 30.0, "timestamps": [[a, b] for _, a, b in events],
           "sentences": [text for text, _, _ in events]}  # fmt: skip
    (tmp_path / "a.json").write_text(json.dumps({"film": one}))
    rows = [{"label": text, "segment": [a, b]} for text, a, b in reversed(events)]
    whole = {"database": {"film": {"duration": 30.0, "annotations": rows}}}
    (tmp_path / "b.json").write_text(json.dumps(whole))
    lines = [f"film {a} {b}##{text}" for text, a, b in (events[1], events[2], events[0])]
    (tmp_path / "c.txt").write_text("\n".join(lines))
    (tmp_path / "lengths.json").write_text(json.dumps({"film": 30.0}))
    (tmp_path / "sets.csv").write_text(
        "annotations,layout,set,durations\na.json,activitynet_captions,a,\n"
        "b.json,activitynet,b,\nc.txt,charades_sta,c,lengths.json\n"
    )
    out = Out("conversion/timeit", tmp_path / "sets.csv", tmp_path / "out")
    records = [
        [(s.id, s.span, [t.text for t in s.texts]) for s in out.videos[f"{name}/film"].segments]
        for name in "abc"
    ]
    assert records[0] == records[1] == records[2] and len(records[0]) == 7


def test_with_media_small_silent_clips_are_packed(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    film = render(tmp_path / "videos" / "film.mp4", [50])
    one = {"duration": 2.0, "timestamps": [[0.4, 1.2]], "sentences": ["a card is shown"]}
    (tmp_path / "a.json").write_text(json.dumps({"film": one}))
    (tmp_path / "sets.csv").write_text(
        "annotations,layout,set,videos\na.json,activitynet_captions,a,videos\n"
    )
    recipe = load_recipe("conversion/et_instruct@media")
    summary = run(recipe, str(tmp_path / "sets.csv"), str(tmp_path / "out"), engine="inline")
    sandbox.close()
    assert summary.inputs == {"packed": 1}, (summary, film)
    [shard] = (tmp_path / "out" / "shards").glob("*.tar")
    with tarfile.open(shard) as tar:
        names = {Path(name).suffix: name for name in tar.getnames()}
        file = tar.extractfile(names[".json"])
        assert file is not None and set(names) == {".json", ".mp4"}
        media = json.loads(file.read())["media"]
    assert media["fps"] == 3 and not media["audio"] and media["height"] <= 224


def nothing(self: Any, part: Any) -> Any:
    return part


def everything(self: Any, samples: Any) -> Any:
    return sample_rows(samples, [None] * len(samples))


def test_with_all_of_its_operators_the_family_passes_on_a_dozen(few: Sets, tmp_path: Path) -> None:
    hold(Out("conversion/st_align", few.file, tmp_path / "out"), few, 20)


@pytest.mark.parametrize(
    "operator",
    [ProbeMedia, ImportAnnotations, SplitUniform, CheckTimeline, RecordToTasks, SplitSets],
)
def test_without_one_of_its_operators_the_family_fails(
    operator: Any, few: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operator, "process", nothing)
    with pytest.raises(AssertionError):
        hold(Out("conversion/st_align", few.file, tmp_path / "out"), few, 20)


def test_without_its_balance_the_family_fails(
    few: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BalanceSamples, "decide", everything)
    with pytest.raises(AssertionError):
        mixed(Out("conversion/vtg_it", few.file, tmp_path / "out"), SHARES["vtg_it"])


def test_a_video_without_a_question_is_not_packed_but_for_its_filter(tmp_path: Path) -> None:
    bad = [{"video_id": "bad", "question": "", "answer": "x", "choices": ["x", "y"]}]
    source, _ = quiz(tmp_path / "in")
    rows = json.loads((tmp_path / "in" / "STAR_train.json").read_text())[:6]
    (tmp_path / "in" / "STAR_train.json").write_text(json.dumps(rows + bad))
    (tmp_path / "in" / "lengths.json").write_text(json.dumps({"bad": 30.0, "Q000": 200.0}))
    row = json.loads(source.read_text())
    source.write_text(json.dumps(row | {"durations": "lengths.json"}))
    assert set(Out("conversion/video_bench", source, tmp_path / "a").packed) == {"star/Q000"}
    kept = Out("conversion/video_bench", source, tmp_path / "b", "decide.filter_samples.bare=keep")
    assert len(kept.packed) == 2
