"""The teacher's tokenizer: the words of the rendered world, whole sentences of prompts, and bytes.

A prompt's fixed sentences are one token each. Otherwise reading the instructions, which never
change, would cost ten times as much as looking at the pictures. Any other word is spelt in bytes,
so every text can be read and written, though not understood. There are no merges: a piece is a
token if it is in the vocabulary, and bytes if not, which is what `ignore_merges` means.
"""

from __future__ import annotations

import json
import re

from tokenizers import Regex, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

from clipmill.stages.compose import wording, world
from clipmill.stages.models.prompts import load_prompt, quote

PROMPTS = (
    "caption_brief.v1",
    "caption_dense.v1",
    "caption_action.v1",
    "judge_caption.v2",
    "qa_from_caption.v1",
    "events_caption.v1",
)
SPECIALS = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>"),
    *("<|image_pad|>", "<|video_pad|>"),
)
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content }}{% else %}"
    "{% for item in message.content %}{% if item.type == 'image' or item.type == 'image_url' %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% elif item.type == 'text' %}{{ item.text }}"
    "{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# Constrained decoding writes what a schema leaves no choice about as the tokens of just that text,
# so a piece that begins there ends where the choice does: before the first item of a list.
ANSWERS = (
    '{"caption":"', '"}', '."}', '{"object":{"seen":"', '","said":"', '","fits":"',
    '"},"colour":{"seen":"', '"},"motion":{"seen":"', '"},"background":{"seen":"', '"},"match":"',
    '","', '{"questions":[{"question":"', '?","answer":"', '"},{"question":"', '"}]}',
    '{"events":[', '{"time":', ',"text":"', '"},{"time":', '\\"', ". ", ", ", '"\n"', "user\n",
    "assistant\n", "\n</data ", "<data ", '>\n"', '."\n"',  "]}", ': ',
)  # fmt: skip
_QUESTIONS = "What colour is the object do does it behind where is happens in front of background"


def tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer, the same on every call."""
    literals = sorted({*_sentences(), *ANSWERS}, key=lambda text: (-len(text), text))
    words = _words()
    split = "|".join([*map(re.escape, literals), r"\p{N}{1,2}", r" ?[A-Za-z]+", r"[\s\S]"])
    letters = pre_tokenizers.ByteLevel.alphabet()
    before = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    pieces = [*literals, *words]
    spelt = [before.pre_tokenize_str(piece)[0][0] for piece in pieces]
    names = dict.fromkeys([*SPECIALS, *sorted(letters), *spelt])
    made = Tokenizer(BPE({name: place for place, name in enumerate(names)}, [], ignore_merges=True))
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(split), "isolated"), before]
    )
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(list(SPECIALS))
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=list(SPECIALS[3:]),
        chat_template=TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def _sentences() -> set[str]:
    """What lies between the variables of the prompts."""
    found = {quote("")}
    for name in PROMPTS:
        found.update(re.split(r"\{[a-z_][a-z0-9_]*\}", load_prompt(name).text))
    return {text for text in found if len(text) > 8}


def _words() -> list[str]:
    """Every word of captions, narration and questions, with and without a space before it."""
    texts = [
        json.dumps(
            [getattr(wording, name) for name in dir(wording) if name.isupper() or name in _TABLES],
            default=str,
        ),
        " ".join((*world.SHAPES, *world.COLOURS, *world.SIZES, *world.WORDS, *world.PLAIN_TONES)),
        _QUESTIONS,
        "the scene shows a an and with against while word is shown on the screen heard yes no",
        "object colour motion background nothing pictures en asr title ocr it of These Write up to",
    ]
    plain = {word for text in texts for word in re.findall(r"[A-Za-z]+", text)}
    openers = ("a", "an", "the", "against", *(line.split()[0] for line in wording.FILLERS))
    plain |= {word.capitalize() for word in openers}
    numbers = [f"{number:02d}" for number in range(100)]
    return [*sorted(plain), *(f" {word}" for word in sorted(plain)), *numbers]


_TABLES = ("_MOVES", "_PLACES", "_CAMERAS", "_SOUNDS")
