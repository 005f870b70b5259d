"""Whether a chain makes sense as a chain: said in a second, instead of after an hour.

Every check looks at declarations only (tokens, packages, resources) and starts nothing. All that is
found is returned, because a chain is mended faster with the whole list in sight. Import names are
looked up here, in the process that lints: on a cluster whose workers differ, their images must
agree with the machine that submits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.util import find_spec

from clipmill.pipeline.output.pack_settings import PackSettings
from clipmill.pipeline.recipe.recipe import Recipe, StageEntry
from clipmill.pipeline.recipe.registry import nearest, providers
from clipmill.schemas.errors import RecipeError

_SINGLE = ("scores", "labels", "embeddings", "segments")  # token families with one provider each

Cluster = Mapping[str, float]
"""What the largest machine offers under Ray's names: `CPU`, `GPU`, and `memory` in bytes."""


def lint(recipe: Recipe, *, cluster: Cluster | None = None) -> list[RecipeError]:
    """Everything that keeps a recipe from running, in the order of its chain; empty if it can."""
    found = [*_chain(recipe), *_left(recipe), *_decisions(recipe), *_packing(recipe)]
    found += _packages(recipe)
    if cluster is not None:
        found += _resources(recipe, cluster)
    return found


def _chain(recipe: Recipe) -> Iterator[RecipeError]:
    provider: dict[str, str] = {}
    on_parts: str | None = None
    for index, entry in enumerate(recipe.stages):
        stage, keys = entry.stage, ("stages", index, entry.operator)
        if stage.unit == "part":
            on_parts = entry.name
        elif on_parts is not None:
            yield recipe.document.error(
                keys,
                f"{entry.name} needs the whole video, but stands after {on_parts}, which works "
                "on parts of it",
                f"move {entry.name} above every stage that works on parts",
            )
        if stage.unit == "video" and entry.when is not None:
            yield recipe.document.error(
                ("stages", index, "when"),
                f"{entry.name} works on whole videos, so no segment can be spared",
                "remove `when`",
            )
        for token in sorted(stage.reads() - provider.keys()):
            yield recipe.document.error(
                keys,
                f"{entry.name} needs {token}, which no earlier stage provides",
                _cure(recipe, index, token),
            )
        if entry.when is not None:
            for token in sorted(entry.when.names() - provider.keys()):
                yield recipe.document.error(
                    ("stages", index, "when"),
                    f"profile {entry.when_name!r} judges {token}, which no earlier stage provides",
                    _cure(recipe, index, token),
                )
        for token in sorted(stage.adds()):
            if token in provider and token.split(":")[0] in _SINGLE:
                yield recipe.document.error(
                    keys,
                    f"{entry.name} provides {token}, which {provider[token]} has provided",
                    "remove one of the two, or give one a name of its own in its settings",
                )
            provider.setdefault(token, entry.name)


def _left(recipe: Recipe) -> Iterator[RecipeError]:
    for index, entry in enumerate(recipe.stages):
        later = recipe.stages[index + 1 :]
        taken = frozenset[str]().union(*(other.stage.takes() for other in later))
        for left in sorted(entry.stage.leaves() - taken):
            wanted = [f"{other.name} takes {t}" for other in later for t in other.stage.takes()]
            yield recipe.document.error(
                ("stages", index, entry.operator),
                f"{entry.name} leaves {left}, which no later stage takes",
                f"{', '.join(wanted) or 'nothing is taken'}: let both say the same, or leave none",
            )


def _decisions(recipe: Recipe) -> Iterator[RecipeError]:
    made = _made(recipe)
    for index, decision in enumerate(recipe.decide):
        for token in sorted(decision.reads() - made):
            late = [later for later in recipe.decide[index:] if token in later.adds()]
            yield recipe.document.error(
                ("decide", index, decision.name()),
                f"{decision.name()} reads {token}, which no stage provides",
                f"move {late[0].name()} up, it gives {token}"
                if late
                else _cure(recipe, len(recipe.stages), token),
            )
        for token in sorted(decision.adds() & made):
            yield recipe.document.error(
                ("decide", index, decision.name()),
                f"{decision.name()} gives {token}, which there is already",
                "give one of the two a name of its own in its settings",
            )
        made |= decision.adds()


def _packing(recipe: Recipe) -> Iterator[RecipeError]:
    made = _made(recipe)
    layers = {token.partition(":")[2] for token in made if token.startswith("segments:")}
    if recipe.pack.layer not in layers:
        yield recipe.document.error(
            ("pack", "layer"),
            f"no stage makes the layer {recipe.pack.layer!r}",
            nearest(recipe.pack.layer, layers, _listed(layers, "add a stage that splits")),
        )
    roles = {token.partition(":")[2] for token in made if token.startswith("texts:")}
    # The default lists preferences over all recipes: one of them is enough.
    default = recipe.pack.text == PackSettings().text
    if default and not roles & set(recipe.pack.text):
        yield recipe.document.error(
            ("pack", "text"),
            f"no stage writes a text of the roles {', '.join(recipe.pack.text)}",
            _listed(roles, "add a stage that writes texts"),
        )
    for number, role in enumerate(() if default else recipe.pack.text):
        if role not in roles:
            yield recipe.document.error(
                ("pack", "text", number),
                f"no stage writes a text of the role {role!r}",
                nearest(role, roles, _listed(roles, "add a stage that writes texts")),
            )
    if recipe.pack.embedding is not None and f"embeddings:{recipe.pack.embedding}" not in made:
        yield recipe.document.error(
            ("pack", "embedding"),
            f"no stage makes the embedding {recipe.pack.embedding!r}",
            _cure(recipe, len(recipe.stages), f"embeddings:{recipe.pack.embedding}"),
        )


def _packages(recipe: Recipe) -> Iterator[RecipeError]:
    for index, entry in enumerate(recipe.stages):
        if entry.env is not None:
            continue  # another interpreter, whose packages cannot be seen from here
        missing = {m: extra for m, extra in entry.stage.requires().items() if not _installed(m)}
        if missing:
            yield recipe.document.error(
                ("stages", index, entry.operator),
                f"{entry.name} needs what is not installed: {', '.join(sorted(missing))}",
                f"pip install 'clipmill[{','.join(sorted(set(missing.values())))}]'",
            )


def _resources(recipe: Recipe, cluster: Cluster) -> Iterator[RecipeError]:
    for index, entry in enumerate(recipe.stages):
        for key, asked, has, unit in _demands(entry, cluster):
            if asked > has:
                yield recipe.document.error(
                    ("stages", index, "resources", key),
                    f"{entry.name} asks for {asked:g} {unit}, no machine has more than {has:g}",
                    f"--set stages.{entry.name}.resources.{key}={has:g}, or use a larger machine",
                )


def _demands(entry: StageEntry, cluster: Cluster) -> Iterator[tuple[str, float, float, str]]:
    yield "cpus", entry.resources.cpus, cluster.get("CPU", 0.0), "CPUs"
    yield "gpus", entry.resources.gpus, cluster.get("GPU", 0.0), "GPUs"
    memory_gb = cluster.get("memory", 0.0) / 1e9
    yield "memory_gb", entry.resources.memory_gb, memory_gb, "GB of memory"


def _cure(recipe: Recipe, index: int, token: str) -> str:
    for later in recipe.stages[index:]:
        if token in later.stage.adds():
            return f"move {later.name} up, it provides {token}"
    able = providers(token, by_settings=False)
    if not able:
        family = token.partition(":")[0]
        made = {made for made in _made(recipe) if made.startswith(f"{family}:")}
        near = nearest(token, made, "-")
        if near != "-":
            return near
        able = providers(token)
    if able:
        return f"add {' or '.join(able)} before it"
    return f"no installed operator provides {token}; check its name"


def _made(recipe: Recipe) -> frozenset[str]:
    return frozenset[str]().union(*(entry.stage.adds() for entry in recipe.stages))


def _listed(names: set[str], otherwise: str) -> str:
    return f"there are: {', '.join(sorted(names))}" if names else otherwise


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # a parent package of a dotted name
        return False
