"""Selfcheck: draw videos, hide the truth, run the recipe, compare what it wrote with the truth.

The run is given nothing but media under names that say nothing; the truth lies in another folder
that no stage is told of, and is read only when the run has ended. Scenes are held out by seed:
nothing in the product was tuned or trained on `SEED`. The price of measuring a whole recipe and
not each stage alone is that errors add up, which is what ceilings are for.
"""

from __future__ import annotations

import json
import random
import shutil
from dataclasses import dataclass
from pathlib import Path

from clipmill.pipeline.engine.events import Event, Summary
from clipmill.pipeline.engine.run import Listener, run
from clipmill.pipeline.output.decide import read_verdicts
from clipmill.pipeline.output.tables import read_videos
from clipmill.pipeline.recipe.recipe import Recipe
from clipmill.pipeline.selfcheck.captions import Told, captions, told
from clipmill.pipeline.selfcheck.cuts import found_scenes, split
from clipmill.pipeline.selfcheck.figures import Case, Figure
from clipmill.pipeline.selfcheck.looks import describe_clip, read_ocr
from clipmill.pipeline.selfcheck.planted import planted
from clipmill.pipeline.selfcheck.questions import template_qa
from clipmill.pipeline.selfcheck.records import packed_records, schema_validity
from clipmill.pipeline.selfcheck.speech import assign_speech, transcribe
from clipmill.pipeline.store.store import Store
from clipmill.schemas.errors import InputError
from clipmill.stages.caption.caption_clip import CaptionClip
from clipmill.stages.caption.given_caption import GivenCaption
from clipmill.stages.compose.render_synthetic import Settings, render
from clipmill.stages.compose.truth import Truth
from clipmill.stages.score.score_alignment import ScoreAlignment

SEED = 314_159
"""Seed of the held-out scenes."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What came out: the run's account, every figure, and captions beside their truth."""

    summary: Summary
    figures: list[Figure]
    told: list[Told]

    @property
    def ok(self) -> bool:
        """Whether the run came through and no bar was missed."""
        return self.summary.ok and all(figure.met is not False for figure in self.figures)


def footage(videos: int, seed: int = SEED) -> Settings:
    """The videos to draw: more disturbances, gradual borders and words than in real footage.

    Every other one comes with a caption of another scene.
    """
    return Settings(
        count=videos,
        seed=seed,
        min_scenes=2,
        max_scenes=4,
        gradual=0.3,
        upsets=0.4,
        words=0.4,
        variants=("wrong_caption",),
        variant_share=0.5,
    )


def selfcheck(
    recipe: Recipe,
    folder: Path,
    settings: Settings,
    *,
    engine: str = "ray",
    address: str | None = None,
    on_event: Listener | None = None,
) -> Checked:
    """Measure a recipe on freshly drawn videos; all files go under `folder`.

    `folder/footage` is the run's input, `folder/out` its output, `folder/truth` the truth. Only a
    recipe with the stage given_caption is also told the captions that come with the videos, half
    of them wrong. A second call goes on where the first ended. Raises InputError where the folder
    holds another check.
    """
    tell = on_event or (lambda event: None)
    if not _drawn(folder, settings):
        tell(Event("inputs", f"drawing {settings.count} videos"))
        _draw(folder, settings)
    summary = run(
        recipe,
        _source(recipe, folder),
        str(folder / "out"),
        engine=engine,
        address=address,
        on_event=on_event,
    )
    store = Store.open(str(folder / "out"))
    cases = read_cases(store, folder / "truth", recipe.pack.layer)
    captioned = [e.stage.settings.role for e in recipe.stages if isinstance(e.stage, CaptionClip)]
    role = captioned[0] if captioned else "caption"
    return Checked(summary, measure(cases, store, role, _given_score(recipe)), told(cases, role))


def measure(
    cases: list[Case], store: Store, caption_role: str = "caption", given_score: str = ""
) -> list[Figure]:
    """Every figure of an output, in the order of the stages.

    `given_score` names the score of captions that came with the videos, where there is one.
    """
    verdicts = read_verdicts(store)
    rows = verdicts.table.to_pylist() if verdicts else []
    reasons = {(row["video"], row["segment"]): row["reason"] for row in rows}
    return [
        *split(cases),
        found_scenes(cases),
        *transcribe(cases),
        assign_speech(cases),
        *describe_clip(cases),
        *read_ocr(cases),
        *captions(cases, caption_role),
        *template_qa(cases),
        *planted(cases, reasons, given_score),
        schema_validity(packed_records(store)),
    ]


def read_cases(store: Store, truths: Path, layer: str) -> list[Case]:
    """Every drawn video as the run left it, in order of its name; one that failed has no shots."""
    videos = {Path(video.source).name: video for video in read_videos(store)}
    return [
        Case(videos[f"{path.stem}.mp4"], Truth.load(path), layer)
        for path in sorted(truths.glob("*.json"))
        if f"{path.stem}.mp4" in videos
    ]


def _given_score(recipe: Recipe) -> str:
    """Name of the first score of given captions; empty where the recipe has none."""
    roles = {e.stage.settings.role for e in recipe.stages if isinstance(e.stage, GivenCaption)}
    scorers = [e.stage.settings for e in recipe.stages if isinstance(e.stage, ScoreAlignment)]
    return next((settings.name for settings in scorers if settings.role in roles), "")


def _source(recipe: Recipe, folder: Path) -> str:
    """The folder of media, or a manifest of it where the recipe reads given captions."""
    column = next(
        (e.stage.settings.column for e in recipe.stages if isinstance(e.stage, GivenCaption)), None
    )
    if column is None:
        return str(folder / "footage")
    rows = [
        {"path": f"{path.stem}.mp4", column: Truth.load(path).given_caption}
        for path in sorted((folder / "truth").glob("*.json"))
    ]
    manifest = folder / "footage" / "given.jsonl"
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    manifest.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(manifest)


def _drawn(folder: Path, settings: Settings) -> bool:
    """Whether the videos lie there already; refuses a folder that holds others."""
    plan = folder / "drawn.json"
    if not plan.is_file():
        if (folder / "out").exists() or (folder / "footage").exists():
            raise _another(folder)
        return False
    if json.loads(plan.read_text(encoding="utf-8")) != json.loads(settings.model_dump_json()):
        raise _another(folder)
    return True


def _another(folder: Path) -> InputError:
    return InputError(
        "the folder holds something else than this check",
        input=str(folder),
        cure="name another folder, or remove this one",
    )


def _draw(folder: Path, settings: Settings) -> None:
    """Media to `footage`, truth to `truth`, both under names from the seed that say nothing."""
    studio = folder / "studio"
    names = random.Random(settings.seed)
    for sub in ("footage", "truth"):
        (folder / sub).mkdir(parents=True, exist_ok=True)
    for video in render(settings, studio, studio / "truth"):
        name = f"{names.getrandbits(48):012x}"
        shutil.copyfile(video.path, folder / "footage" / f"{name}.mp4")
        shutil.copyfile(video.truth_path, folder / "truth" / f"{name}.json")
    shutil.rmtree(studio)
    (folder / "drawn.json").write_text(settings.model_dump_json(indent=1), encoding="utf-8")
