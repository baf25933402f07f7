"""How does a decoder with its key-value cache become a function of tensors alone?

One graph does all of generation: with a past of length 0 it reads a prompt, with a past it adds a token. Positions
are counted from the attention mask, as transformers' `generate` counts them, so left-padded batches are right.
"""

from typing import Any

import torch
from transformers import DynamicCache


class Cached(torch.nn.Module):
    """(input_ids, attention_mask, past_key_0, past_value_0, ...) -> (logits, present_key_0, present_value_0, ...).

    Args:
        model: A causal model of transformers.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        with torch.no_grad():
            seen = model(input_ids=torch.zeros(1, 2, dtype=torch.int64), use_cache=True).past_key_values
        self._shapes = [
            (int(one.keys.shape[1]), int(one.keys.shape[3]), int(one.values.shape[3])) for one in seen.layers
        ]

    def past(self) -> list[tuple[str, int, int]]:
        """Name, heads and width of each tensor of the past, in the order in which they come."""
        return [
            (f"past_{what}_{layer}", heads, width)
            for layer, (heads, of_keys, of_values) in enumerate(self._shapes)
            for what, width in (("key", of_keys), ("value", of_values))
        ]

    def outputs(self) -> tuple[str, ...]:
        """The names of what it gives."""
        return ("logits", *(name.replace("past_", "present_") for name, _, _ in self.past()))

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, *past: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        """One call of the model; shapes as `past` says, the mask over past and new tokens."""
        positions = (attention_mask.cumsum(-1) - 1).clamp(min=0)[:, -input_ids.shape[1] :]
        cache = DynamicCache(list(zip(past[::2], past[1::2], strict=True)))
        answer = self.model(
            input_ids=input_ids, attention_mask=attention_mask, position_ids=positions, past_key_values=cache,
            use_cache=True, return_dict=True,
        )  # fmt: skip
        present = [one for layer in answer.past_key_values.layers for one in (layer.keys, layer.values)]
        return (answer.logits, *present)
