"""What is said and written about a scene: the grammar of captions and of narration.

Captions are filled from the scene's slots, in several paraphrases, so that a caption is right
exactly when its slots are. Narration uses words that a small general recogniser reads well in the
shipped voice (no gray, sand, heart or plain, which it hears as other words).
"""

from __future__ import annotations

from dataclasses import dataclass

from clipmill.stages.compose.world import Scene, Thing

SPOKEN_MOTIONS: dict[str, tuple[str, ...]] = {
    "left": ("moves to the left", "travels to the left"),
    "right": ("moves to the right", "travels to the right"),
    "up": ("moves up", "goes up"),
    "down": ("moves down", "goes down"),
    "grow": ("grows larger", "is getting bigger"),
    "shrink": ("becomes very small", "is getting smaller"),
    "rotate": ("turns around", "spins around"),
    "still": ("does not move", "is not moving"),
}

SPOKEN_BACKDROPS: dict[str, str] = {
    "stripes": "in front of the lines",
    "checker": "on the checkered floor",
    "grass": "over the grass",
    "sand": "over the desert",
    "water": "over the water",
    "sky": "in the sky",
}
"""Plain and gradient backdrops are not spoken of."""

FILLERS: tuple[str, ...] = (
    "today we talk about the weather",
    "remember to call your mother tonight",
    "the train was late again this morning",
    "my brother works in a large hospital",
    "we will have dinner with our friends",
    "the meeting starts in twenty minutes",
    "he wrote a long letter to his father",
    "many people live near the river",
    "the price of bread went up last week",
    "they went to the market on monday",
    "please bring your own books to school",
    "the doctor asked a few questions",
    "the music was very loud last night",
    "nobody knows what happened to the money",
    "we spent the summer with my family",
    "her son plays football every weekend",
)
"""Sentences about nothing that is seen."""

_MOVES: dict[str, tuple[str, str]] = {
    "left": ("moves to the left", "moving from right to left"),
    "right": ("moves to the right", "moving from left to right"),
    "up": ("moves up", "moving upwards"),
    "down": ("moves down", "moving downwards"),
    "grow": ("grows larger", "getting bigger"),
    "shrink": ("gets smaller", "shrinking"),
    "rotate": ("turns around", "spinning in place"),
    "still": ("stays still", "not moving"),
}

_PLACES: dict[str, tuple[str, str]] = {
    "plain": ("on a plain {tone} background", "a plain {tone} background"),
    "gradient": ("on a smooth gradient", "a smooth gradient"),
    "stripes": ("in front of gray stripes", "gray stripes"),
    "checker": ("on a checkered floor", "a checkered floor"),
    "grass": ("over green grass", "green grass"),
    "sand": ("over desert sand", "desert sand"),
    "water": ("over blue water", "blue water"),
    "sky": ("in the cloudy sky", "a cloudy sky"),
}

_CAMERAS: dict[str, str] = {
    "static": "the camera does not move",
    "pan_left": "the camera pans to the left",
    "pan_right": "the camera pans to the right",
    "zoom_in": "the camera zooms in",
    "zoom_out": "the camera zooms out",
}

_SOUNDS: dict[str, str] = {"beep": "a beep", "chirp": "a rising chirp", "noise": "a noise burst"}


@dataclass(frozen=True, slots=True)
class Captions:
    """Paraphrases of one scene: `brief` names the first thing and its motion, `detailed` all."""

    brief: list[str]
    detailed: list[str]


def spoken(scene: Scene, choice: int) -> list[str]:
    """A sentence about the scene's first thing as the phrases it is spoken in.

    `choice` picks the paraphrase; every other one also names the backdrop where it has a name.
    """
    thing = scene.things[0]
    motions = SPOKEN_MOTIONS[thing.motion]
    phrases = [f"the {thing.colour} {thing.shape}", motions[choice % len(motions)]]
    if choice // 2 % 2 == 0 and scene.backdrop in SPOKEN_BACKDROPS:
        phrases.append(SPOKEN_BACKDROPS[scene.backdrop])
    return phrases


def captions(scene: Scene) -> Captions:
    """All captions of a scene, all true of it."""
    first, tone = scene.things[0], scene.tone or "gray"
    on, place = (form.format(tone=tone) for form in _PLACES[scene.backdrop])
    verb, gerund = _MOVES[first.motion]
    name = f"{first.colour} {first.shape}"
    brief = [
        f"{_a(name)} {verb} {on}",
        f"{_a(name)} {gerund} against {place}",
        f"against {place}, {_a(name)} {verb}",
    ]
    whole = " and ".join(f"{_sized(thing)} {_MOVES[thing.motion][0]}" for thing in scene.things)
    parts = ", with ".join(f"{_sized(thing)} {_MOVES[thing.motion][1]}" for thing in scene.things)
    camera = _CAMERAS[scene.camera]
    extras = []
    if scene.word:
        extras.append(f'the word "{scene.word}" is shown on the screen')
    extras += [f"{_SOUNDS[sound.kind]} is heard" for sound in scene.sounds]
    detailed = [
        _sentences([f"{whole} {on}", camera, *extras]),
        _sentences([f"the scene shows {parts}, against {place}", camera, *extras]),
        _sentences([f"against {place}, {whole} while {camera}", *extras]),
    ]
    return Captions(brief, detailed)


def _a(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _sized(thing: Thing) -> str:
    return _a(f"{thing.size} {thing.colour} {thing.shape}")


def _sentences(parts: list[str]) -> str:
    return " ".join(f"{part[0].upper()}{part[1:]}." for part in parts)
