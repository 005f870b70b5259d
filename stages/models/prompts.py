"""Prompts: versioned text files with typed variables, shipped with the recipes.

`recipes/prompts/<name>.v<N>.txt` opens with one line per variable, `name: type`, then a line
`---`, then the text with `{name}` where values go. A released version is never edited; a better
wording is a new version, and the text itself is part of a stage's identity. Values are inserted in
one pass, so a value that looks like a variable stays a value.

The type `data` is for what strangers wrote (titles, speech, screen text). It is set between
markers that carry a digest of the very text they enclose, every line quoted as JSON: no text can
contain its own digest, so no text can close its own quotation.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from clipmill.schemas.errors import RecipeError
from clipmill.schemas.fingerprints import fingerprint, short

_ID = re.compile(r"[a-z0-9_]+\.v[0-9]+")
_VARIABLE = re.compile(r"\{([a-z_][a-z0-9_]*)\}")
_TYPES: dict[str, type] = {"str": str, "int": int, "float": float, "data": str}

Value = str | int | float


@dataclass(frozen=True, slots=True)
class Prompt:
    """A loaded prompt; `id` is the file's name without `.txt`."""

    id: str
    text: str
    variables: tuple[tuple[str, str], ...]  # (name, type)

    def render(self, **values: Value) -> str:
        """The text with its values. Raises TypeError unless names and types are the declared."""
        declared = dict(self.variables)
        if declared.keys() != values.keys():
            raise TypeError(f"prompt {self.id} takes {sorted(declared)}, not {sorted(values)}")
        shown: dict[str, str] = {}
        for name, kind in self.variables:
            value = values[name]
            if type(value) is not _TYPES[kind]:
                raise TypeError(f"prompt {self.id}: {name} must be {kind}, not {value!r}")
            shown[name] = quote(str(value)) if kind == "data" else _shown(value)
        return _VARIABLE.sub(lambda found: shown[found[1]], self.text)

    def identity(self) -> dict[str, str]:
        """For a stage's identity: where the text changes, so does this."""
        return {"id": self.id, "digest": short(fingerprint(self.text, self.variables))}

    def takes(self, name: str) -> bool:
        return name in dict(self.variables)


@cache
def load_prompt(name: str) -> Prompt:
    """A shipped prompt by id, or a user's by the path of its `.txt` file. Raises RecipeError."""
    if name.endswith(".txt"):
        path = Path(name).expanduser()
        if not path.is_file():
            raise RecipeError(f"there is no prompt file {name!r}", key="prompt")
        return _parse(path.stem, path.read_text(encoding="utf-8"))
    # From the package, not from a path beside this file: a wheel has no checkout around it.
    folder = resources.files("clipmill").joinpath("recipes", "prompts")
    file = folder.joinpath(f"{name}.txt")
    if not _ID.fullmatch(name) or not file.is_file():
        known = sorted(
            p.name.removesuffix(".txt") for p in folder.iterdir() if p.name.endswith(".txt")
        )
        raise RecipeError(
            f"there is no prompt {name!r}",
            key="prompt",
            cure=f"one of {', '.join(known)}, or the path of a .txt file",
        )
    return _parse(name, file.read_text(encoding="utf-8"))


def anchored(name: str) -> str:
    """A prompt setting that means the same on every worker: a file by its absolute path."""
    return str(Path(name).expanduser().absolute()) if name.endswith(".txt") else name


def quote(text: str) -> str:
    """Untrusted text between markers it cannot contain, a JSON string per line."""
    text = text.encode("utf-8", "replace").decode("utf-8")
    mark = hashlib.blake2b(text.encode(), digest_size=6).hexdigest()
    lines = [json.dumps(line, ensure_ascii=False) for line in text.splitlines() if line.strip()]
    return "\n".join([f"<data {mark}>", *lines, f"</data {mark}>"])


def _shown(value: Value) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _parse(name: str, content: str) -> Prompt:
    head, separator, text = content.partition("\n---\n")
    if not separator:
        head, text = "", content.removeprefix("---\n")
    variables: list[tuple[str, str]] = []
    for line in filter(None, map(str.strip, head.splitlines())):
        variable, _, kind = (piece.strip() for piece in line.partition(":"))
        if kind not in _TYPES or not _VARIABLE.fullmatch(f"{{{variable}}}"):
            raise RecipeError(
                f"prompt {name}: {line!r} declares no variable",
                cure=f"write `name: type`, type one of {', '.join(_TYPES)}",
            )
        variables.append((variable, kind))
    used, declared = set(_VARIABLE.findall(text)), {variable for variable, _ in variables}
    if used != declared or len(declared) != len(variables):
        raise RecipeError(
            f"prompt {name} declares {sorted(declared)} and uses {sorted(used)}",
            cure="declare every variable once, and use it",
        )
    return Prompt(name, text.strip(), tuple(variables))
