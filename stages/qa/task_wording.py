"""Which tasks there are, and how each is worded: paraphrases, of which one is drawn.

Names between braces are filled in by the task's rule. Paraphrases ask for exactly the same, so that
an answer is right whichever was drawn; what cannot be answered is asked in the words of what can.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import Formatter
from typing import Literal, get_args

Task = Literal[
    "retrieval",
    "counting",
    "ordering",
    "before",
    "localisation",
    "unanswerable",
    "occurrences",
    "matching",
    "span_caption",
    "span_choice",
    "timeline",
    "steps",
    "highlight",
    "summary",
    "relation",
    "repetition",
    "repeated",
    "transition",
    "question",
    "grounded_question",
    "tube",
    "where",
    "fragments",
    "consistency",
    "odd_one",
    "disorder",
    "rearrangement",
    "playback",
    "speed",
    "caption_match",
    "captioning",
    "recognition",
]
TASKS: tuple[Task, ...] = get_args(Task)

_WHEN = (
    "When does this happen: {text}?",
    "Give the time of the following: {text}.",
    "At what time can this be seen: {text}?",
    "Find the part of the video that shows this: {text}.",
    "From when to when does the following take place: {text}?",
    "Name the start and the end of this event: {text}.",
)

QUESTIONS: dict[Task, tuple[str, ...]] = {
    "retrieval": (
        "Which of these is shown in the video?",
        "One of these can be seen in the video. Which one?",
    ),
    "counting": (
        "How many times is this shown: {text}?",
        "Count how often the following appears: {text}.",
    ),
    "ordering": (
        "In which order do these appear: {texts}?",
        "Bring these into the order in which they are shown: {texts}.",
    ),
    "before": (
        "Is the first shown before the second? First: {one}. Second: {two}.",
        "Does the first come earlier than the second? First: {one}. Second: {two}.",
    ),
    "localisation": _WHEN,
    "unanswerable": _WHEN,
    "occurrences": (
        "List every time at which this happens: {text}.",
        "When does this happen? Give all times, in order: {text}.",
    ),
    "matching": (
        "Something is shown {span}. When is the same shown again?",
        "Find all other times at which the event {span} happens once more.",
    ),
    "span_caption": (
        "What happens {span}?",
        "Describe what can be seen {span}.",
    ),
    "span_choice": (
        "Which of these happens {span}?",
        "One of these can be seen {span}. Which one?",
    ),
    "timeline": (
        "List everything that happens, with its times.",
        "Describe the events of this video one by one, each with its time.",
        "What happens in this video, and when? Give all events in order.",
        "Go through the video and tell each event with its start and its end.",
        "Write down the events that you see, with the time of each.",
        "Tell what happens from beginning to end, and give the times.",
    ),
    "steps": (
        "List the steps that are shown, with their times.",
        "Which steps does the video go through, and when?",
        "Give the steps of the procedure in order, each with its time.",
        "Divide the procedure into its steps, with start and end of each.",
        "What is done step by step? Give the time of every step.",
        "Find all steps of the task in the video and say when each is done.",
    ),
    "highlight": (
        "Which moments matter most for this, and how much: {text}?",
        "Find the highlights that go with this, with a rating: {text}.",
        "Give the most striking moments for the following and how striking they are: {text}.",
        "When is the best seen of this, and how good is it: {text}?",
        "Pick the moments that show this and give each a rating: {text}.",
        "Rate the moments of the video that belong to this: {text}.",
    ),
    "summary": (
        "Which parts sum up the video for somebody who wants to see this: {text}?",
        "Shorten the video to what is worth seeing of the following: {text}.",
        "Choose the parts for a short version of the video about this: {text}.",
        "If little time is left, which parts show this best: {text}?",
        "Give the times of a summary of the video about the following: {text}.",
        "Which parts must a summary keep that is about this: {text}?",
    ),
    "relation": (
        "How does the second relate to the first? First: {one}. Second: {two}.",
        "What links these two events? First: {one}. Second: {two}.",
    ),
    "repetition": (
        "How many times is this done: {text}?",
        "Count how often the following is repeated: {text}.",
    ),
    "repeated": (
        "What is done {count} times?",
        "Something is repeated {count} times. What is it?",
    ),
    "transition": (
        "What happens right {side} this: {text}?",
        "Which of these comes next {side} the following: {text}?",
    ),
    "question": ("{question}",),
    "grounded_question": (
        "{question} Say also when it can be seen.",
        "{question} Give the time that shows it.",
    ),
    "tube": (
        "When does this happen, and where in the picture: {text}?",
        "Give the time of the following and the boxes of the one it is about: {text}.",
    ),
    "where": (
        "Where in the picture is the one that this is about, {span}: {text}?",
        "Follow the one it is about {span}, and give the boxes: {text}.",
    ),
    "fragments": (
        "This video is put together from fragments. How many are there?",
        "How many separate pieces is this video made of?",
    ),
    "consistency": (
        "Do all parts of this video come from one and the same recording?",
        "Is everything here taken from the same video?",
    ),
    "odd_one": (
        "One part comes from another video. When is it shown?",
        "When does a foreign piece interrupt this video?",
    ),
    "disorder": (
        "Are the parts of this video in their right order?",
        "Is this video shown in its original order?",
    ),
    "rearrangement": (
        "This video has {count} parts in a wrong order. List their numbers in the right order.",
        "The {count} parts of this video were shuffled. Which order of their numbers is right?",
    ),
    "playback": (
        "Is the video played forwards or backwards?",
        "In which direction does time run in this video?",
    ),
    "speed": (
        "At which speed is the video played?",
        "How fast does this recording play?",
    ),
    "caption_match": (
        "Which description fits the video?",
        "Which of these texts tells what happens here?",
    ),
    "captioning": (
        "What happens in this video?",
        "Describe the video in the order in which things happen.",
    ),
    "recognition": (
        "What becomes visible when this video is played?",
        "What is hidden in the movement of the noise?",
    ),
}

_TOLD = ("text", "texts", "one", "two")
_STOPS = (".", "!", "?", ",", ";", ":")


def worded(wording: str, values: Mapping[str, str]) -> str:
    """A wording filled in. A text with a stop of its own is set in quotes, and stays as it was."""
    quoted = {
        name: f'"{value}"' if name in _TOLD and value[-1:] in _STOPS else value
        for name, value in values.items()
    }
    return wording.format_map(quoted)


def misworded(own: Mapping[Task, Sequence[str]]) -> str:
    """What is wrong with wordings of one's own; empty if nothing.

    Each must name what the task's own do, for a question that leaves it out cannot be answered.
    """
    for task, wordings in own.items():
        wanted = _named(QUESTIONS[task][0])
        for wording in wordings:
            try:
                named = _named(wording)
            except ValueError as broken:
                return f"{task}: {wording!r} is no wording ({broken})"
            if named != wanted:
                needed = ", ".join(f"{{{name}}}" for name in sorted(wanted)) or "nothing"
                return f"{task}: a wording names {needed}, unlike {wording!r}"
        if not wordings:
            return f"{task}: no wording is given"
    return ""


def _named(wording: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(wording) if name is not None}
