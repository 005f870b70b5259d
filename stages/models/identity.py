"""Which weights a result came from: a name and a revision, known before anything is loaded.

A hub model is its name and the revision asked for. A local folder is named by its last component
and its revision is a digest of its files, so that the same folder on another machine, or at
another place, has the same identity, and a changed one has not. Files above 64 MiB are digested
by their size and 64 evenly spaced megabytes: training moves every weight, so a changed checkpoint
is seen, and a 100 GB model is identified in a second instead of minutes.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from clipmill.schemas.errors import ModelError

_WHOLE = 64 << 20
_BLOCK = 1 << 20
_BLOCKS = 64


class ModelIdentity(NamedTuple):
    name: str
    revision: str


def local_folder(model: str) -> Path | None:
    """The folder a model setting names, or None for a hub name.

    Raises ModelError where the setting can only be meant as a path and nothing is there.
    """
    path = Path(model).expanduser()
    if path.is_dir():
        return path
    if model.startswith(("/", "./", "../", "~")):
        raise ModelError(
            f"there is no model folder {model!r}",
            cure="give an existing folder or the name of a model on the hub",
        )
    return None


def anchored(model: str) -> str:
    """A model setting that means the same everywhere: an existing folder by its absolute path.

    Workers run in folders of their own, where a relative path would be taken for a hub name.
    """
    path = Path(model).expanduser()
    return str(path.absolute()) if path.is_dir() else model


def identify(model: str, revision: str = "main") -> ModelIdentity:
    """Identity of a hub model (name, revision) or of a local folder (last name, digest)."""
    folder = local_folder(model)
    if folder is None:
        return ModelIdentity(model, revision)
    state = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        # Hub downloads leave a `.cache` folder with times of day in it.
        if path.is_file() and not any(part.startswith(".") for part in name.parts):
            state.append((name.as_posix(), path.stat().st_size, path.stat().st_mtime_ns))
    return ModelIdentity(folder.resolve().name, _digest(folder.resolve(), tuple(state)))


@lru_cache(maxsize=64)
def _digest(folder: Path, state: tuple[tuple[str, int, int], ...]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name, size, _ in state:
        digest.update(f"{name}\0{size}\0".encode())
        with (folder / name).open("rb") as file:
            if size <= _WHOLE:
                digest.update(hashlib.file_digest(file, "blake2b").digest())
                continue
            for number in range(_BLOCKS):
                file.seek((size - _BLOCK) * number // (_BLOCKS - 1))
                digest.update(file.read(_BLOCK))
    return digest.hexdigest()
