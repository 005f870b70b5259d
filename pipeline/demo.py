"""The quick start: render a few narrated films, curate them with the core recipe, show the result.

The films are drawn here, so the demonstration needs no download and no rights; the recipe and the
way through the engine are those of real footage.
"""

from __future__ import annotations

from pathlib import Path

from clipmill.pipeline.engine.events import Event, Summary
from clipmill.pipeline.engine.run import Listener, run
from clipmill.pipeline.output.report import write_report
from clipmill.pipeline.recipe.recipe import load_recipe
from clipmill.pipeline.store.store import Store
from clipmill.stages.compose.render_synthetic import Settings, render

FILMS = Settings(count=4, seed=7, min_scenes=2, max_scenes=4)


def demo(folder: Path, on_event: Listener | None = None) -> tuple[Summary, str]:
    """Curate freshly drawn films under `folder`; returns the summary and the report's address."""
    tell = on_event or (lambda event: None)
    footage, out = folder / "footage", folder / "out"
    if len(list(footage.glob("*.mp4"))) < FILMS.count:
        tell(Event("inputs", f"drawing {FILMS.count} films"))
        render(FILMS, footage, folder / "truth")
    recipe = load_recipe("core/footage")
    summary = run(recipe, str(footage), str(out), on_event=on_event)
    return summary, write_report(Store.open(out))
