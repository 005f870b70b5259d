"""Constrains generation to a JSON schema, one schema per row of a batch, with llguidance.

At every step the grammar says which tokens may follow, and all others lose their probability.
Once a grammar is complete only the end token is left, so a row can neither run on nor stop early.
White space between JSON tokens is forbidden: a model that likes it could spend all its tokens
there without ever breaking the schema.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import llguidance.hf
import numpy as np
import torch
from llguidance import LLMatcher, LLTokenizer
from llguidance.numpy import allocate_token_bitmask, fill_next_token_bitmask

from clipmill.schemas.errors import ModelError


class Grammars:
    """The tokenizer side of constrained decoding; costs about a second, so it is made once."""

    def __init__(self, tokenizer: Any, vocabulary: int, end: int) -> None:
        """`vocabulary` is the width of the model's logits, at least the tokenizer's own."""
        self.end = end
        self._tokenizer: LLTokenizer = llguidance.hf.from_tokenizer(
            tokenizer, n_vocab=max(vocabulary, len(tokenizer)), eos_token=end
        )

    def processor(self, schemas: Sequence[dict[str, Any] | None]) -> SchemaProcessor:
        """A logits processor for one batch; rows without a schema run free."""
        return SchemaProcessor([self._matcher(schema) for schema in schemas], self.end)

    def _matcher(self, schema: dict[str, Any] | None) -> LLMatcher | None:
        if schema is None:
            return None
        matcher = LLMatcher(self._tokenizer, _grammar(json.dumps(schema)))
        if matcher.is_error():
            raise ModelError(
                f"the schema cannot constrain decoding: {matcher.get_error()}",
                cure="use fewer or plainer schema keywords",
            )
        return matcher


# Bounded, because many schemas are of one clip alone: its length limits the seconds in a reply.
@lru_cache(maxsize=256)
def _grammar(schema: str) -> str:
    return str(LLMatcher.grammar_from_json_schema(schema, defaults={"whitespace_flexible": False}))


class SchemaProcessor:
    """`(input_ids [rows, length], scores [rows, vocabulary]) -> scores`, for `generate`."""

    def __init__(self, matchers: Sequence[LLMatcher | None], end: int) -> None:
        self._matchers = matchers
        self._end = end
        self._done = [False] * len(matchers)
        self._started = False

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        rows, vocabulary = scores.shape
        bits = allocate_token_bitmask(rows, vocabulary)
        last = input_ids[:, -1].tolist() if self._started else []
        self._started = True
        for row, matcher in enumerate(self._matchers):
            if matcher is None:
                continue
            if last and not self._done[row]:
                # A refused token cannot be unsaid: the row ends here and validation rejects it.
                self._done[row] = not matcher.consume_token(last[row]) or matcher.is_stopped()
            if self._done[row] or matcher.is_stopped():
                bits[row] = 0
                bits[row, self._end // 32] = np.uint32(1 << (self._end % 32)).astype(np.int32)
            else:
                fill_next_token_bitmask(matcher, bits, row)
        allowed = np.unpackbits(bits.view(np.uint8), axis=1, bitorder="little")[:, :vocabulary]
        mask = torch.from_numpy(allowed).to(scores.device) == 0
        return scores.masked_fill(mask, float("-inf"))
