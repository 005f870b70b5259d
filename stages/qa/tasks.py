"""All tasks that rules pose, by name."""

from __future__ import annotations

import random

from clipmill.stages.qa import annotated_tasks, composed_tasks, timeline_tasks
from clipmill.stages.qa.scene import Asked, Rule, Scene
from clipmill.stages.qa.task_wording import Task

_RULES: dict[Task, Rule] = {
    **timeline_tasks.RULES,
    **annotated_tasks.RULES,
    **composed_tasks.RULES,
}


def asked(task: Task, scene: Scene, rng: random.Random) -> list[Asked]:
    """Every question of a task that the scene decides."""
    return list(_RULES[task](scene, rng))
