"""The loss of a language model, on a small real checkpoint, against a second computation."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the [models] extra is not installed")
pytest.importorskip("transformers", reason="the [models] extra is not installed")

from clipmill.schemas.errors import ModelError  # noqa: E402
from clipmill.stages.models.language_model import (  # noqa: E402
    LanguageModel,
    LanguageModelSettings,
    open_language_model,
)

pytestmark = pytest.mark.models

CORPUS = "the cat sat on the mat . the dog sat on the rug . the cat and the dog ran away ."


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GPT-2 of two layers over twenty words, trained here for a second on three sentences."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    torch.manual_seed(0)
    words = sorted(set(CORPUS.split()) | {"[UNK]", "[BOS]", "zebra", "quark"})
    inner = Tokenizer(models.WordLevel({w: n for n, w in enumerate(words)}, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, unk_token="[UNK]", bos_token="[BOS]"
    )
    config = GPT2Config(
        vocab_size=len(words), n_positions=64, n_embd=32, n_layer=2, n_head=2, resid_pdrop=0.0,
        embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=words.index("[BOS]"), eos_token_id=0,
    )  # fmt: skip
    model = GPT2LMHeadModel(config)
    ids = torch.tensor([tokenizer(f"[BOS] {CORPUS}")["input_ids"]])
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(60):
        optimiser.zero_grad()
        model(input_ids=ids, labels=ids).loss.backward()
        optimiser.step()
    path = tmp_path_factory.mktemp("lm")
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def model(folder: Path) -> LanguageModel:
    opened = open_language_model(LanguageModelSettings(model=str(folder), device="cpu"))
    opened.setup()
    return opened


def test_known_text_is_easy_and_noise_is_hard(model: LanguageModel) -> None:
    known, noise, nothing = model.losses(
        [("", "the cat sat on the mat ."), ("", "quark mat zebra and rug cat"), ("", " ")]
    )
    assert known is not None and noise is not None
    assert known < 1.0 < math.log(20) < noise
    assert nothing is None


def test_the_loss_is_the_mean_over_the_text_alone_given_its_context(
    model: LanguageModel, folder: Path
) -> None:
    from transformers import AutoTokenizer, GPT2LMHeadModel

    tokenizer = AutoTokenizer.from_pretrained(folder)
    own = GPT2LMHeadModel.from_pretrained(folder).eval()
    context, text = "the cat sat on", "the mat ."
    ids = tokenizer(f"{context} {text}")["input_ids"]
    with torch.inference_mode():
        chances = own(torch.tensor([ids])).logits[0].log_softmax(-1)
    wanted = -sum(float(chances[n - 1, ids[n]]) for n in range(4, len(ids))) / (len(ids) - 4)
    [loss] = model.losses([(context, text)])
    assert loss == pytest.approx(wanted, abs=1e-4)


def test_long_context_is_cut_at_its_front(folder: Path) -> None:
    short = open_language_model(LanguageModelSettings(model=str(folder), max_tokens=8))
    short.setup()
    long = " ".join(["zebra"] * 500)
    assert short.losses([(f"{long} the cat sat on", "the mat .")]) == pytest.approx(
        short.losses([("zebra the cat sat on", "the mat .")])
    )


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be loaded"):
        open_language_model(LanguageModelSettings(model=str(tmp_path))).setup()
