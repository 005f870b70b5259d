"""Commands that look at an output: stats, report, compare, explain, verify."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clipmill.pipeline.cli.messages import BAD_GROUND, printable
from clipmill.pipeline.cli.options import AsJson, Output
from clipmill.schemas.errors import InputError

if TYPE_CHECKING:
    from clipmill.pipeline.store.store import Store
    from clipmill.schemas.records import Segment, Video


_BARS = " ▁▂▃▄▅▆▇█"


def register(app: typer.Typer) -> None:
    app.command()(stats)
    app.command()(report)
    app.command()(compare)
    app.command()(explain)
    app.command()(verify)


def explain(
    out: Output,
    key: Annotated[
        str, typer.Argument(metavar="KEY", help="A clip's key in the shards, or an input's id.")
    ],
    as_json: AsJson = False,
) -> None:
    """Tell everything about one clip or one input: where it comes from, what was said of it and by
    whom, and why it is in the shards or not.

    Examples:

        clipmill explain out film_mp4-0c2f8a1b6e3d-shots-00003

        clipmill explain out films/film.mp4
    """
    from clipmill.pipeline.output.made_by import opened

    store = opened(out)
    story = _clip(store, key) or _input(store, key)
    if story is None:
        raise InputError(
            f"{out} holds neither a clip nor an input {key!r}",
            cure="keys stand in the shards, ids in `clipmill plan` and in tables/videos",
        )
    if as_json:
        typer.echo(json.dumps(story, sort_keys=True))
    else:
        _tell(story)


def _clip(store: Store, key: str) -> dict[str, Any] | None:
    from clipmill.pipeline.output.decide import read_verdicts
    from clipmill.pipeline.output.tables import manifest, read_table
    from clipmill.schemas.shards import clip_key, clip_manifest

    if manifest(store) is None:
        return None
    rows = read_table(store, "segments", ["video", "segment"]).to_pylist()
    row = next((r for r in rows if clip_key(r["video"], r["segment"]) == key), None)
    if row is None:
        return None
    video, segment = _records(store, row["video"], row["segment"])
    story = clip_manifest(video, segment, {})
    del story["media"]
    story["source"] = video.source
    story["stages"] = {step.stage: _step(step, segment) for step in video.steps}
    verdicts = read_verdicts(store)
    if verdicts is not None and verdicts.layer == segment.layer:
        judged = next(r for r in verdicts.table.to_pylist() if _same(r, row))
        story["kept"] = judged["keep"]
        if not judged["keep"]:
            story["dropped"] = f"{judged['decision']}: {judged['reason']}"
        lost = {
            r["sample"]: f"{r['decision']}: {r['reason']}"
            for r in verdicts.samples.to_pylist()
            if _same(r, row) and not r["keep"]
        }
        if lost:
            story["dropped_samples"] = lost
    story["packed"] = _packed(store, key, row)
    return story


def _packed(store: Store, key: str, row: dict[str, Any]) -> dict[str, Any] | None:
    """Where a clip lies in the shards, or why it could not be packed; None where neither."""
    from io import BytesIO

    import pyarrow.parquet as pq

    from clipmill.pipeline.output.pack import read_failures, read_manifest

    manifest = read_manifest(store)
    if manifest is None:
        return None
    for shard in manifest.shards:
        index = pq.read_table(
            BytesIO(store.get(f"shards/{shard.name}.parquet")), filters=[("key", "=", key)]
        ).to_pylist()
        if index:
            names = ("frames", "fps", "width", "height", "seconds", "mode", "text_role")
            return {"shard": f"shards/{shard.name}.tar", **{n: index[0][n] for n in names}}
    failed = next((f for f in read_failures(store) if _same(asdict(f), row)), None)
    return {"failed": f"{failed.kind}: {failed.message}"} if failed else None


def _same(judged: dict[str, Any], row: dict[str, Any]) -> bool:
    return (judged["video"], judged["segment"]) == (row["video"], row["segment"])


def _step(step: Any, segment: Segment) -> str:
    from clipmill.schemas.fingerprints import short

    spared = " (spared this clip)" if segment.id in step.spared else ""
    return f"{short(step.fingerprint)}{spared}"


def _records(store: Store, video_id: str, segment_id: str) -> tuple[Video, Segment]:
    from clipmill.pipeline.output.tables import read_videos

    video = next(v for v in read_videos(store, without=["embeddings"]) if v.id == video_id)
    return video, next(s for s in video.segments if s.id == segment_id)


def _input(store: Store, key: str) -> dict[str, Any] | None:
    from clipmill.pipeline.engine.ledger import Ledger
    from clipmill.schemas.shards import clip_key, video_key

    ledger = Ledger(store, "")
    name = video_key(key)
    header = ledger.header(name)
    failures = ledger.failures(name)
    if header is None and not failures:
        return None
    story: dict[str, Any] = {"input": key, "key": name}
    for part, failure in failures.items():
        where = "failed" if part is None else f"failed part {part}"
        times = f", {failure.attempts} attempts" if failure.attempts > 1 else ""
        story[where] = f"{failure.kind} in {failure.stage}: {failure.message}{times}"
    if header is not None:
        story["source"] = header.source
        story["stages"] = {step.stage: step.fingerprint[:12] for step in header.steps}
        story["clips"] = [clip_key(key, segment.id) for segment in header.segments]
    return story


def _tell(value: Any, indent: str = "") -> None:
    """Nested plain values as indented lines; a list of plain values, a histogram and counts below
    a name are one line each."""
    for name, inner in value.items() if isinstance(value, dict) else enumerate(value):
        label = f"{indent}{printable(str(name))}:"
        if isinstance(inner, list) and not any(isinstance(item, dict | list) for item in inner):
            inner = ", ".join(map(_shown, inner))
        elif isinstance(inner, dict) and {"edges", "counts"} <= inner.keys():
            inner = _bars(inner)
        elif (
            indent
            and isinstance(inner, dict)
            and all(type(n) in (int, float) for n in inner.values())
        ):
            inner = ", ".join(f"{_shown(n)} {printable(what)}" for what, n in inner.items())
        if isinstance(inner, dict | list) and inner:
            typer.echo(label)
            _tell(inner, indent + "  ")
        elif inner not in (None, {}, []) and inner != "":
            typer.echo(f"{label} {_shown(inner)}")


def _bars(histogram: dict[str, Any]) -> str:
    """From where to where, with a bar for each of the equal bins between, and of how many."""
    missing = f", {histogram['missing']} missing" if histogram["missing"] else ""
    if not histogram["count"]:
        return f"none{missing}"
    low, high, mean = (f"{histogram[name]:.4g}" for name in ("low", "high", "mean"))
    most = max(histogram["counts"])
    bars = "".join(_BARS[-(-8 * n // most)] for n in histogram["counts"])
    spread = f"all {low}" if low == high else f"{low} |{bars}| {high}, mean {mean}"
    return f"{spread}, of {histogram['count']}{missing}"


def _shown(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else printable(str(value))


def stats(
    out: Annotated[
        list[str], typer.Argument(metavar="OUT", help="An output, or shards (.tar) of any origin.")
    ],
    as_json: AsJson = False,
) -> None:
    """Count what is in an output or in shards: clips, hours, scores, texts, what was dropped.

    Examples:

        clipmill stats out

        clipmill stats out/shards/*.tar --json
    """
    from clipmill.pipeline.output import stats as counting
    from clipmill.pipeline.output.made_by import opened

    found: counting.Stats | counting.ShardStats
    if all(name.endswith(".tar") for name in out):
        found = counting.shard_stats(out)
    elif len(out) == 1:
        found = counting.stats(opened(out[0]))
    else:
        raise InputError(
            "several outputs cannot be counted as one", cure="give one OUT, or only .tar files"
        )
    if as_json:
        typer.echo(json.dumps(asdict(found), sort_keys=True))
    else:
        _tell(asdict(found))


def report(
    out: Output,
    clips: Annotated[int, typer.Option(min=0, help="So many clips are shown.")] = 12,
) -> None:
    """Write OUT/report.html: counts, what was dropped and why with examples, histograms of all
    scores, and clips with their texts and questions, as they lie in the shards.

    Example:

        clipmill report out --clips 50
    """
    from clipmill.pipeline.output.made_by import opened
    from clipmill.pipeline.output.report import write_report

    typer.echo(f"report: {write_report(opened(out), clips)}")


def compare(
    old: Annotated[str, typer.Argument(metavar="OLD", help="An output.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="Another output of the same videos.")],
    as_json: AsJson = False,
) -> None:
    """Tell what differs between two outputs: settings, which clips, verdicts, scores, texts.

    Example:

        clipmill compare out out2
    """
    from clipmill.pipeline.output import compare as comparing
    from clipmill.pipeline.output.made_by import opened

    found = comparing.compare(opened(old), opened(new))
    if as_json:
        typer.echo(json.dumps(asdict(found), sort_keys=True))
        return
    alike = [name for name, change in found.scores.items() if not change.changed]
    found.scores = {name: change for name, change in found.scores.items() if change.changed}
    _tell({**asdict(found), "scores without a change": alike})


def verify(out: Output, as_json: AsJson = False) -> None:
    """Check an output against itself: every clip opens, has its length, stands in the index, and
    all counts add up. Exits with 3 where something is wrong.

    Example:

        clipmill verify out
    """
    from clipmill.pipeline.output.made_by import opened
    from clipmill.pipeline.output.verify import verify as check

    report = check(opened(out))
    if as_json:
        typer.echo(json.dumps({**asdict(report), "ok": report.ok}, sort_keys=True))
    else:
        _tell(asdict(report))
        typer.echo("ok" if report.ok else "NOT ok")
    if not report.ok:
        raise typer.Exit(BAD_GROUND)
