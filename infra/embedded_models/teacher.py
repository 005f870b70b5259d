"""The teacher: a Qwen3-VL of three million parameters, and a forward pass made for its training.

The architecture is the library's own, so the saved folder loads wherever a published one does.
For training the same layers are called in another order: all frames have one size and go through
the vision tower as one batch, and the questions about a clip share its pictures. Each question
sees the pictures and itself, at the positions it would have alone, so a reply is trained exactly as
it will be asked for, while the costly part is computed once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scenes import COLUMNS, FRAMES, PATCH, ROWS
from tasks import Turn
from torch import Tensor, nn
from torch.nn import functional
from transformers import (
    GenerationConfig,
    PreTrainedTokenizerFast,
    Qwen2VLImageProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
)
from transformers.models.qwen3_vl.modeling_qwen3_vl import apply_rotary_pos_emb_vision
from vocabulary import TEMPLATE

MERGED = (ROWS // 2) * (COLUMNS // 2)  # tokens a frame
_OPEN, _CLOSE = "<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n"


def build(words: PreTrainedTokenizerFast, seed: int) -> Qwen3VLForConditionalGeneration:
    """The untrained model."""
    ids = words.convert_tokens_to_ids
    torch.manual_seed(seed)
    config = Qwen3VLConfig(
        text_config={
            "vocab_size": -(-len(words) // 64) * 64,
            "hidden_size": 192,
            "intermediate_size": 384,
            "num_hidden_layers": 4,
            "num_attention_heads": 6,
            "num_key_value_heads": 3,
            "head_dim": 32,
            "max_position_embeddings": 4096,
            "initializer_range": 0.04,
            "rope_parameters": {
                "rope_type": "default",
                "mrope_section": [6, 5, 5],
                "mrope_interleaved": True,
                "rope_theta": 10000.0,
            },
            "tie_word_embeddings": True,
            "bos_token_id": None,
            "eos_token_id": ids("<|im_end|>"),
            "pad_token_id": ids("<|endoftext|>"),
        },
        vision_config={
            "depth": 4,
            "hidden_size": 128,
            "intermediate_size": 384,
            "num_heads": 4,
            "patch_size": PATCH,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "out_hidden_size": 192,
            "num_position_embeddings": 256,
            "deepstack_visual_indexes": [1],
            "initializer_range": 0.04,
        },
        tie_word_embeddings=True,
        image_token_id=ids("<|image_pad|>"),
        video_token_id=ids("<|video_pad|>"),
        vision_start_token_id=ids("<|vision_start|>"),
        vision_end_token_id=ids("<|vision_end|>"),
        eos_token_id=ids("<|im_end|>"),
        pad_token_id=ids("<|endoftext|>"),
    )
    return Qwen3VLForConditionalGeneration(config)


def save(model: Any, words: PreTrainedTokenizerFast, folder: Path) -> None:
    """The folder that ships: bfloat16 weights, tokenizer and processor."""
    size = {"shortest_edge": PATCH**2 * ROWS * COLUMNS, "longest_edge": PATCH**2 * ROWS * COLUMNS}
    shape = {"patch_size": PATCH, "merge_size": 2, "temporal_patch_size": 2, "size": size}
    plain = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    Qwen3VLProcessor(
        image_processor=Qwen2VLImageProcessor(**shape, **plain),
        tokenizer=words,
        video_processor=Qwen3VLVideoProcessor(**shape, **plain),
        chat_template=TEMPLATE,
    ).save_pretrained(folder)
    half = Qwen3VLForConditionalGeneration(model.config).to(torch.bfloat16)
    half.load_state_dict(model.state_dict())
    half.generation_config = GenerationConfig(
        eos_token_id=words.eos_token_id, pad_token_id=words.pad_token_id, do_sample=False
    )
    half.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)  # not for its owner alone: packages keep that


def patches(frames: Tensor) -> Tensor:
    """uint8 [n, 96, 128, 3] -> [n, 192, 192], in the processor's order of patches."""
    pixels = frames.float() / 127.5 - 1
    cut = pixels.view(-1, ROWS // 2, 2, PATCH, COLUMNS // 2, 2, PATCH, 3)
    return cut.permute(0, 1, 4, 2, 5, 7, 3, 6).reshape(len(frames), ROWS * COLUMNS, -1)


class Vision:
    """The vision tower over a batch of frames of one size."""

    def __init__(self, tower: Any) -> None:
        self.tower = tower
        order = np.arange(ROWS * COLUMNS).reshape(ROWS // 2, 2, COLUMNS // 2, 2)
        order = order.transpose(0, 2, 1, 3).reshape(-1)
        self.rows, self.columns = torch.tensor(order // COLUMNS), torch.tensor(order % COLUMNS)
        side = tower.num_grid_per_side
        y = self.rows * ((side - 1) / (ROWS - 1))
        x = self.columns * ((side - 1) / (COLUMNS - 1))
        y0, x0 = y.floor().long(), x.floor().long()
        y1, x1 = (y0 + 1).clamp(max=side - 1), (x0 + 1).clamp(max=side - 1)
        dy, dx = y - y0, x - x0
        self.corners = torch.stack(
            [y0 * side + x0, y0 * side + x1, y1 * side + x0, y1 * side + x1], 1
        )
        self.shares = torch.stack(
            [(1 - dy) * (1 - dx), (1 - dy) * dx, dy * (1 - dx), dy * dx], 1
        ).float()
        where = torch.stack([self.rows, self.columns], 1)
        self.rotary = tower.rotary_pos_emb(torch.zeros(1), where)

    def __call__(self, pixels: Tensor, blocks: Tensor | None = None) -> tuple[Tensor, list[Tensor]]:
        """[n, 192, 192] -> merged tokens [n, 48, 192] and the deepstack's, alike.

        `blocks` [n, k] names the merged tokens that are computed, a window of each picture.
        """
        tower = self.tower
        places = (tower.pos_embed(self.corners) * self.shares[:, :, None]).sum(1)
        cos, sin = self.rotary
        count = MERGED
        if blocks is not None:
            count = blocks.shape[1]
            kept = (blocks[:, :, None] * 4 + torch.arange(4)).flatten(1)
            pixels = pixels.gather(1, kept[:, :, None].expand(-1, -1, pixels.shape[-1]))
            places, cos, sin = places[kept], cos[kept], sin[kept]
        proj = tower.patch_embed.proj
        kernel = proj.weight.sum(2).reshape(proj.weight.shape[0], -1)  # both pictures are the same
        hidden = functional.linear(pixels, kernel, proj.bias)
        hidden = hidden + places
        deep = []
        for number, block in enumerate(tower.blocks):
            hidden = hidden + self._attend(block.attn, block.norm1(hidden), cos, sin)
            hidden = hidden + block.mlp(block.norm2(hidden))
            if number in tower.deepstack_visual_indexes:
                place = tower.deepstack_visual_indexes.index(number)
                deep.append(tower.deepstack_merger_list[place](hidden).view(len(pixels), count, -1))
        return tower.merger(hidden).view(len(pixels), count, -1), deep

    def _attend(self, layer: Any, hidden: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        count, length, width = hidden.shape
        split = layer.qkv(hidden).view(count, length, 3, layer.num_heads, -1)
        query, key, value = split.unbind(2)
        query, key = apply_rotary_pos_emb_vision(query, key, cos, sin)
        mixed = functional.scaled_dot_product_attention(
            query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)
        )
        return layer.proj(mixed.transpose(1, 2).reshape(count, length, width))


@dataclass(slots=True)
class Packed:
    """Clips with their questions as one batch; lengths are padded to the longest."""

    ids: Tensor  # [b, l]
    positions: Tensor  # [3, b, l]
    mask: Tensor | None  # bool [b, 1, l, l]; none where every token sees all before it
    learn: Tensor  # bool [b, l]: the next token is part of a reply


class Packer:
    """Lays the questions about a clip behind its pictures, each as if it were alone."""

    def __init__(self, words: PreTrainedTokenizerFast) -> None:
        self.words = words
        frame = "<|vision_start|>" + "<|image_pad|>" * MERGED + "<|vision_end|>"
        self.head = words(_OPEN + frame * FRAMES)["input_ids"]
        self.open = len(words(_OPEN)["input_ids"])
        self.visual = words.convert_tokens_to_ids("<|image_pad|>")
        self.head_positions = self._head_positions()

    def _head_positions(self) -> Tensor:
        rows, columns = ROWS // 2, COLUMNS // 2
        found: list[tuple[int, int, int]] = [(n, n, n) for n in range(self.open)]
        at = self.open
        for _ in range(FRAMES):
            found.append((at, at, at))
            at += 1
            found += [(at, at + y, at + x) for y in range(rows) for x in range(columns)]
            at += max(rows, columns)
            found.append((at, at, at))
            at += 1
        self.after = at
        return torch.tensor(found).T

    def __call__(self, clips: Sequence[Sequence[Turn]]) -> Packed:
        tails = [[self._tail(turn) for turn in turns] for turns in clips]
        length = len(self.head) + max(sum(len(ids) for ids, _, _ in tail) for tail in tails)
        shape = (len(clips), length)
        ids = torch.full(shape, self.words.pad_token_id)
        positions = torch.zeros((3, *shape), dtype=torch.long)
        mask = torch.eye(length, dtype=torch.bool).repeat(len(clips), 1, 1)
        learn = torch.zeros(shape, dtype=torch.bool)
        size = len(self.head)
        ids[:, :size] = torch.tensor(self.head)
        positions[:, :, :size] = self.head_positions[:, None]
        mask[:, :size, :size] = torch.ones(size, size, dtype=torch.bool).tril()
        for row, tail in enumerate(tails):
            at = size
            for tokens, wanted, sees in tail:
                end = at + len(tokens)
                ids[row, at:end] = torch.tensor(tokens)
                first = self.after if sees else self.open
                positions[:, row, at:end] = torch.arange(first, first + len(tokens))
                mask[row, at:end, : size if sees else self.open] = True
                mask[row, at:end, at:end] = torch.ones(end - at, end - at).tril().bool()
                learn[row, at - 1 : end - 1] = torch.tensor(wanted)
                at = end
        return Packed(ids, positions, mask[:, None], learn)

    def texts(self, turns: Sequence[Turn]) -> Packed:
        """Questions without pictures, one a row; the padding behind them is seen by none."""
        tails = [self._tail(turn) for turn in turns]
        head = self.head[: self.open]
        length = self.open + max(len(ids) for ids, _, _ in tails)
        ids = torch.full((len(turns), length), self.words.pad_token_id)
        learn = torch.zeros(ids.shape, dtype=torch.bool)
        for row, (tokens, wanted, _) in enumerate(tails):
            ids[row, : self.open + len(tokens)] = torch.tensor([*head, *tokens])
            learn[row, self.open - 1 : self.open - 1 + len(tokens)] = torch.tensor(wanted)
        return Packed(ids, torch.arange(length).expand(3, *ids.shape), None, learn)

    def _tail(self, turn: Turn) -> tuple[list[int], list[bool], bool]:
        """Tokens of a question with its reply, which of them are learnt, and whether it sees."""
        asked = self.words(turn.prompt + _CLOSE)["input_ids"]
        reply = self.words(turn.reply + "<|im_end|>", return_offsets_mapping=True)
        known = [
            not any(first <= at < last for first, last in turn.unknown)
            for at, _ in reply["offset_mapping"]
        ]
        return asked + reply["input_ids"], [False] * len(asked) + known, turn.sees


class Trainee(nn.Module):
    """The model with heads that exist in training only: what each patch shows, and where."""

    def __init__(self, model: Any, packer: Packer) -> None:
        super().__init__()
        self.model = model
        self.vision = Vision(model.model.visual)
        self.visual_id = packer.visual
        self.heads = nn.Linear(192, 8 + 3 + 8 + 8 + 3)

    def loss(self, frames: Tensor, batch: Packed) -> tuple[Tensor, Tensor]:
        """Mean loss of the replies' tokens, and the merged tokens [n, 48, 192]."""
        merged, deep = self.vision(patches(frames))
        visual = batch.ids == self.visual_id
        embedded = self.model.model.language_model.embed_tokens(batch.ids)
        flat = merged.reshape(-1, merged.shape[-1]).to(embedded.dtype)
        loss = self._replies(
            batch,
            embedded.masked_scatter(visual[:, :, None], flat),
            visual_pos_masks=visual,
            deepstack_visual_embeds=[one.reshape(-1, one.shape[-1]) for one in deep],
        )
        return loss, merged

    def text_loss(self, batch: Packed) -> Tensor:
        """Mean loss of the replies' tokens of questions without pictures."""
        return self._replies(batch, self.model.model.language_model.embed_tokens(batch.ids))

    def _replies(self, batch: Packed, embedded: Tensor, **pictures: Any) -> Tensor:
        hidden = self.model.model.language_model(
            inputs_embeds=embedded,
            attention_mask=batch.mask,
            position_ids=batch.positions,
            use_cache=False,
            **pictures,
        ).last_hidden_state
        wanted = batch.ids[:, 1:][batch.learn[:, :-1]]
        logits = self.model.lm_head(hidden[:, :-1][batch.learn[:, :-1]])
        return functional.cross_entropy(logits.float(), wanted)

    def seeing_loss(
        self, merged: Tensor, cover: Tensor, labels: Tensor, places: Tensor
    ) -> tuple[Tensor, dict[str, float]]:
        """Dense loss. `cover` [n, k] 0..2; `labels` [n, 5] backdrop, then shape and colour of both
        things; `places` [n, 2, 3]. With it come numbers for the log.

        Shape is asked of a thing's tokens together: corners and curves are local and add up, while
        that every token knows the whole shape takes a transformer very long to learn.
        """
        out = self.heads(merged.float())
        backdrop, which, shape, colour, place = out.split([8, 3, 8, 8, 3], dim=-1)
        wide = labels[:, :1].expand(-1, cover.shape[1])
        loss = 0.5 * functional.cross_entropy(backdrop.flatten(0, 1), wide.flatten())
        loss = loss + functional.cross_entropy(which.flatten(0, 1), cover.flatten())
        on = cover > 0
        thing = (cover - 1).clamp(min=0)
        wanted_colour = labels[:, 2::2].gather(1, thing)[on]
        loss = loss + functional.cross_entropy(colour[on], wanted_colour)
        right, asked = 0, 0
        for number in (0, 1):
            own = (cover == number + 1).float()
            found = own.sum(1) > 0
            pooled = (shape * own[:, :, None]).sum(1)[found] / own.sum(1)[found, None]
            if len(pooled):
                share = len(pooled) / len(cover)
                wanted_shape = labels[found, 1 + 2 * number]
                loss = loss + 2 * share * functional.cross_entropy(pooled, wanted_shape)
                right += int((pooled.argmax(1) == wanted_shape).sum())
                asked += len(pooled)
        wanted = places.gather(1, thing[:, :, None].expand(-1, -1, 3))[on]
        weights = torch.tensor([4.0, 4.0, 12.0])
        where = functional.smooth_l1_loss(place[on] * weights, wanted * weights, beta=0.1)
        shown = {"shape": right / max(asked, 1), "place": where.item()}
        return loss + 4 * where, shown
