"""What an output remembers of its recipe is the same recipe when it is read again."""

from __future__ import annotations

from pathlib import Path

from clipmill.pipeline.output.made_by import keep_made_by, made_by
from clipmill.pipeline.recipe.recipe import load_recipe, load_resolved
from clipmill.pipeline.store.store import Store


def test_rules_are_read_back_in_the_order_written_as_the_first_that_fails_is_the_reason(
    tmp_path: Path,
) -> None:
    recipe = load_recipe("core/footage")
    store = Store.open(tmp_path)
    keep_made_by(store, {"recipe": recipe.resolved, "source": "videos", "limit": None})
    remembered = made_by(store)
    assert remembered is not None
    again = load_resolved(remembered["recipe"], "recipe.json")
    (written,), (read,) = recipe.decide, again.decide
    rules = [list(decision.settings.profile.rules) for decision in (written, read)]
    assert rules[0] == rules[1] != sorted(rules[0])
