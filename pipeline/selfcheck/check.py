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
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from clipmill.pipeline.engine.events import Event, Summary
from clipmill.pipeline.engine.run import Listener, run
from clipmill.pipeline.output.decide import read_verdicts
from clipmill.pipeline.output.tables import read_videos
from clipmill.pipeline.recipe.recipe import Recipe
from clipmill.pipeline.selfcheck.alignment import alignment
from clipmill.pipeline.selfcheck.captions import Told, captions, from_noise, told
from clipmill.pipeline.selfcheck.cuts import found_scenes, split
from clipmill.pipeline.selfcheck.figures import Case, Figure
from clipmill.pipeline.selfcheck.looks import describe_clip, read_ocr
from clipmill.pipeline.selfcheck.narration import Timed, narration, timed
from clipmill.pipeline.selfcheck.planted import judged, planted
from clipmill.pipeline.selfcheck.questions import questions
from clipmill.pipeline.selfcheck.records import packed_records, schema_validity
from clipmill.pipeline.selfcheck.speech import assign_speech, transcribe
from clipmill.pipeline.store.store import Store
from clipmill.schemas.errors import InputError
from clipmill.stages.caption.caption_clip import CaptionClip
from clipmill.stages.caption.given_caption import GivenCaption
from clipmill.stages.compose.render_synthetic import Settings, render
from clipmill.stages.compose.scenes import Variant, WrongCaption
from clipmill.stages.compose.truth import Truth
from clipmill.stages.score.judge import Judge
from clipmill.stages.score.score_alignment import ScoreAlignment

SEED = 314_159
"""Seed of the held-out scenes."""
SCRAMBLED: Variant = "scrambled"
PLANTED = 4
"""Clips with a caption, for each film."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What came out: the run's account, every figure, and captions beside their truth, of clips
    and from narration.
    """

    summary: Summary
    figures: list[Figure]
    told: list[Told]
    timed: list[Timed]

    @property
    def ok(self) -> bool:
        """Whether the run came through and no bar was missed."""
        return self.summary.ok and all(figure.met is not False for figure in self.figures)


def footage(videos: int, seed: int = SEED) -> list[Settings]:
    """The videos to draw: films with more disturbances, gradual borders and words than real ones,
    and for each film `PLANTED` clips of one scene that come with a caption.

    Every other one of these captions is wrong: another scene's, or in one slot. As many clips as
    films have their pixels scrambled: nothing can be seen in them. Half as many films are narrated
    at the wrong time.
    """
    films = Settings(
        count=videos, seed=seed, min_scenes=2, max_scenes=4, gradual=0.3, upsets=0.4, words=0.4
    )
    clips = Settings(
        count=PLANTED * videos,
        seed=seed + 1,
        min_scenes=1,
        max_scenes=1,
        min_seconds=2.0,
        max_seconds=3.0,
        narration=False,
        upsets=0.0,
        sounds=0.0,
        moving_camera=0.0,
        variants=tuple(get_args(WrongCaption)),
        variant_share=0.5,
    )
    noise = clips.model_copy(
        update={"seed": seed + 2, "count": videos, "variants": (SCRAMBLED,), "variant_share": 1.0}
    )
    late = films.model_copy(
        update={
            "seed": seed + 3,
            "count": (videos + 1) // 2,
            "min_scenes": 3,
            "max_scenes": 4,
            "min_seconds": 4.0,
            "min_lag": -5.0,
            "max_lag": 5.0,
            "fillers": 0.4,
            "gradual": 0.0,
            "upsets": 0.0,
            "moving_camera": 0.0,
        }
    )
    return [films, clips, noise, late]


def selfcheck(
    recipe: Recipe,
    folder: Path,
    settings: Sequence[Settings],
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
        tell(Event("inputs", f"drawing {sum(plan.count for plan in settings)} videos"))
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
    figures = measure(
        cases,
        store,
        role,
        _scores_of_given(recipe, ScoreAlignment, Judge),
        _scores_of_given(recipe, Judge),
    )
    seen = [case for case in cases if case.truth.variant != SCRAMBLED]
    figures += alignment(seen, _scorer(recipe))
    return Checked(summary, figures, told(seen, role), timed(seen))


def measure(
    cases: list[Case],
    store: Store,
    caption_role: str = "caption",
    given_scores: Sequence[str] = (),
    given_judges: Sequence[str] = (),
) -> list[Figure]:
    """Every figure that an output alone decides, in the order of the stages.

    `given_scores` names the scores of captions that came with the videos, where there are any, and
    `given_judges` those of them that are a teacher's verdicts.
    """
    verdicts = read_verdicts(store)
    rows = verdicts.table.to_pylist() if verdicts else []
    reasons = {(row["video"], row["segment"]): row["reason"] for row in rows}
    scrambled = [case for case in cases if case.truth.variant == SCRAMBLED]
    cases = [case for case in cases if case.truth.variant != SCRAMBLED]
    return [
        *split(cases),
        found_scenes(cases),
        *transcribe(cases),
        assign_speech(cases),
        *describe_clip(cases),
        *read_ocr(cases),
        *captions(cases, caption_role),
        *from_noise(scrambled, caption_role),
        *narration(cases),
        *questions(cases),
        *planted(cases, reasons, given_scores),
        *judged(cases, given_judges),
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


def _scorer(recipe: Recipe) -> ScoreAlignment | None:
    """The first stage that scores texts against stored vectors."""
    scorers = [e.stage for e in recipe.stages if isinstance(e.stage, ScoreAlignment)]
    return next((stage for stage in scorers if stage.settings.embedding), None)


def _scores_of_given(recipe: Recipe, *kinds: type[ScoreAlignment | Judge]) -> list[str]:
    """Names of the scores that stages of these kinds give to captions that come with videos."""
    stages = [e.stage for e in recipe.stages]
    roles = {stage.settings.role for stage in stages if isinstance(stage, GivenCaption)}
    return [
        stage.settings.name
        for stage in stages
        if isinstance(stage, kinds) and stage.settings.role in roles
    ]


def _source(recipe: Recipe, folder: Path) -> str:
    """The folder of media, or a manifest of it where the recipe reads given captions."""
    column = next(
        (e.stage.settings.column for e in recipe.stages if isinstance(e.stage, GivenCaption)), None
    )
    if column is None:
        return str(folder / "footage")
    rows = [
        {"path": f"{path.stem}.mp4", column: _given(Truth.load(path))}
        for path in sorted((folder / "truth").glob("*.json"))
    ]
    manifest = folder / "footage" / "given.jsonl"
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    manifest.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(manifest)


def _given(truth: Truth) -> str:
    """The caption that comes with a video; that of a film would be of one of its scenes only."""
    alone = len(truth.scenes) == 1 and truth.variant != SCRAMBLED
    return truth.given_caption if alone else ""


def _drawn(folder: Path, settings: Sequence[Settings]) -> bool:
    """Whether the videos lie there already; refuses a folder that holds others."""
    plan = folder / "drawn.json"
    if not plan.is_file():
        if (folder / "out").exists() or (folder / "footage").exists():
            raise _another(folder)
        return False
    if plan.read_text(encoding="utf-8") != _told(settings):
        raise _another(folder)
    return True


def _another(folder: Path) -> InputError:
    return InputError(
        "the folder holds something else than this check",
        input=str(folder),
        cure="name another folder, or remove this one",
    )


def _draw(folder: Path, settings: Sequence[Settings]) -> None:
    """Media to `footage`, truth to `truth`, both under names from the seed that say nothing."""
    studio = folder / "studio"
    for sub in ("footage", "truth"):
        (folder / sub).mkdir(parents=True, exist_ok=True)
    for plan in settings:
        names = random.Random(plan.seed)
        for video in render(plan, studio, studio / "truth"):
            name = f"{names.getrandbits(48):012x}"
            shutil.copyfile(video.path, folder / "footage" / f"{name}.mp4")
            shutil.copyfile(video.truth_path, folder / "truth" / f"{name}.json")
    shutil.rmtree(studio)
    (folder / "drawn.json").write_text(_told(settings), encoding="utf-8")


def _told(settings: Sequence[Settings]) -> str:
    return json.dumps([plan.model_dump(mode="json") for plan in settings], indent=1)
