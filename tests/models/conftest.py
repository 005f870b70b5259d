"""Tiny models with random weights, built from configurations and saved as local folders.

They load through the very code paths of the published models; their output means nothing.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clipmill.stages.models.torchvision_shim import prepare

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content }}{% else %}"
    "{% for item in message.content %}{% if item.type == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ item.text }}{% endif %}{% endfor %}"
    "{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIALS = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>"),
    *("<|image_pad|>", "<|video_pad|>"),
)


@pytest.fixture(scope="session", autouse=True)
def models_extra() -> None:
    torch = pytest.importorskip("torch", reason="needs the [models] extra")
    torch.set_num_threads(1)  # tiny models lose more to waiting threads than they win by them
    prepare()
    for package in ("transformers", "open_clip", "llguidance"):
        pytest.importorskip(package, reason="needs the [models] extra")


def tokenizer():  # type: ignore[no-untyped-def]
    from transformers import Qwen2Tokenizer
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    letters = [*bytes_to_unicode().values(), *SPECIALS]
    made = Qwen2Tokenizer(
        vocab={letter: place for place, letter in enumerate(letters)},
        merges=[],
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=list(SPECIALS),
    )
    made.chat_template = TEMPLATE
    return made


@pytest.fixture(scope="session")
def tiny_vlm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen2.5-VL with byte tokens, 2 layers and random weights."""
    import torch
    from transformers import (
        Qwen2_5_VLConfig,
        Qwen2_5_VLForConditionalGeneration,
        Qwen2_5_VLProcessor,
        Qwen2VLImageProcessor,
        Qwen2VLVideoProcessor,
    )

    folder = tmp_path_factory.mktemp("models") / "tiny-vlm"
    words = tokenizer()
    ids = words.convert_tokens_to_ids
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": 272,
            "hidden_size": 128,  # 32 for each head, the smallest that vLLM serves on a CPU
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 8192,
            "rope_parameters": {
                "rope_type": "default",
                "mrope_section": [4, 6, 6],
                "rope_theta": 10000.0,
            },
            "bos_token_id": None,
            "eos_token_id": ids("<|im_end|>"),
            "pad_token_id": ids("<|endoftext|>"),
        },
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 4,
            "out_hidden_size": 128,
            "fullatt_block_indexes": [1],
        },
        image_token_id=ids("<|image_pad|>"),
        video_token_id=ids("<|video_pad|>"),
        vision_start_token_id=ids("<|vision_start|>"),
        vision_end_token_id=ids("<|vision_end|>"),
        eos_token_id=ids("<|im_end|>"),
        pad_token_id=ids("<|endoftext|>"),
    )
    torch.manual_seed(3)
    Qwen2_5_VLForConditionalGeneration(config).save_pretrained(folder)
    small = {"min_pixels": 28 * 28, "max_pixels": 28 * 28 * 4}
    Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(**small),
        tokenizer=words,
        video_processor=Qwen2VLVideoProcessor(**small),
        chat_template=TEMPLATE,
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_lm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen2 that reads text only."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    folder = tmp_path_factory.mktemp("models") / "tiny-lm"
    words = tokenizer()
    torch.manual_seed(5)
    Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=272,
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            bos_token_id=None,
            eos_token_id=words.convert_tokens_to_ids("<|im_end|>"),
            pad_token_id=words.convert_tokens_to_ids("<|endoftext|>"),
        )
    ).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An open_clip model with 2 layers and random weights."""
    import open_clip
    import torch

    folder = tmp_path_factory.mktemp("models") / "tiny-clip"
    folder.mkdir()
    model = {
        "embed_dim": 32,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8},
        "text_cfg": {
            "context_length": 77,
            "vocab_size": 49408,
            "width": 32,
            "heads": 2,
            "layers": 2,
        },
    }
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": model, "preprocess_cfg": {}})
    )
    torch.manual_seed(7)
    weights = open_clip.CLIP(**model).state_dict()
    torch.save(weights, folder / "open_clip_pytorch_model.bin")
    return folder


@pytest.fixture(scope="session")
def evaluate() -> Iterator[Any]:
    """The measuring side of the training of the embedded models, which is no package."""
    training = Path(__file__).parents[2] / "infra" / "embedded_models"
    sys.path.insert(0, str(training))
    try:
        import evaluate as module  # type: ignore[import-not-found]

        yield module
    finally:
        sys.path.remove(str(training))
