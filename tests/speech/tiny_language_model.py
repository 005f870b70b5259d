"""A causal language model trained on the spot: small, real, and loaded as any other.

It reads 1500 plain sentences and, as whatever is trained on the web does, stock phrases said over
and over. Its losses are in kind those of a large one: sentences that it has not met cost what their
words leave open, stock phrases next to nothing, and letters that are no words a great deal.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

WHO = [
    "farmer",
    "dog",
    "teacher",
    "boat",
    "river",
    "letter",
    "window",
    "child",
    "bridge",
    "singer",
    "horse",
    "doctor",
    "train",
]
HOW = [
    "old",
    "small",
    "young",
    "quiet",
    "red",
    "heavy",
    "warm",
    "long",
    "empty",
    "clean",
    "bright",
    "slow",
    "proud",
    "green",
]
DOES = [
    "follows",
    "washes",
    "paints",
    "opens",
    "shows",
    "leaves",
    "watches",
    "builds",
    "carries",
    "lifts",
    "holds",
    "turns",
]
WHERE = ["near", "behind", "under", "beside", "above", "into", "around", "without"]
LINKS = ("and then", "so now", "but", "because", "while")
ONES = ("the", "a", "this", "my", "your", "that")

STOCK = (
    "thank you for watching",
    "please like and subscribe to my channel",
    "see you in the next video",
    "subtitles by the community",
    "i am going to go",
)
"""What recognisers make of music and silence."""


def sentence(rng: np.random.Generator) -> str:
    """A sentence of some twelve words, two thirds of which could have been others."""

    def one(words: tuple[str, ...] | list[str]) -> str:
        return words[int(rng.integers(len(words)))]

    thing = [f"{one(ONES)} {one(HOW)} {one(WHO)}" for _ in range(2)]
    return f"{thing[0]} {one(DOES)} {thing[1]} {one(WHERE)} {one(ONES)} {one(WHO)} {one(LINKS)}"


def write_tiny_language_model(folder: Path, steps: int = 150) -> Path:
    """Train the model and leave it in `folder` as the transformers library saves one."""
    from clipmill.stages.models.torchvision_shim import prepare

    prepare()
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    rng = np.random.default_rng(0)
    prose = " ".join(sentence(rng) for _ in range(1500))
    pieces = Tokenizer(models.BPE())
    pieces.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    pieces.decoder = decoders.ByteLevel()
    learner = trainers.BpeTrainer(
        vocab_size=600, special_tokens=["<s>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    pieces.train_from_iterator([prose, *STOCK], learner)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=pieces, bos_token="<s>")

    def tokens(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    length, batch = 48, 24
    streams = [np.array(tokens(prose))] + [
        np.resize(tokens(" ".join([phrase] * 40)), 400) for phrase in STOCK
    ]
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=48, intermediate_size=96, num_hidden_layers=2,
            num_attention_heads=2, max_position_embeddings=512, tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id, eos_token_id=None,
        )
    )  # fmt: skip
    learned = torch.optim.AdamW(model.parameters(), lr=5e-3)
    slower = torch.optim.lr_scheduler.OneCycleLR(learned, 5e-3, total_steps=steps, pct_start=0.1)
    for _ in range(steps):
        rows = []
        for number in range(batch):
            loops = number % 4 == 0
            stream = streams[int(rng.integers(1, len(streams))) if loops else 0]
            at = int(rng.integers(len(stream) - length))
            rows.append(stream[at : at + length])
        ids = torch.tensor(np.array(rows))
        ids[:, 0] = torch.where(torch.rand(batch) < 0.5, tokenizer.bos_token_id, ids[:, 0])
        learned.zero_grad()
        model(input_ids=ids, labels=ids).loss.backward()
        learned.step()
        slower.step()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
