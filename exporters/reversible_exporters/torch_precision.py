"""What would a PyTorch model answer without rounding, and how far does rounding move it?

A dispatch mode sees every ATen call below any front end: a module, a `torch.export` graph, a TorchScript interpreter.
It computes each call in float64, also where the model's own code names float32, and can round each result at random.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

UNIT = 2.0**-24  # the unit roundoff of float32
_NARROW = (torch.float32, torch.float16, torch.bfloat16)
# These move numbers and compute none: nothing is rounded in them.
_MOVES = """
    _to_copy alias amax amin arange as_strided cat ceil clamp clamp_min clone constant_pad_nd copy_ detach embedding
    empty empty_like empty_strided expand eye fill_ flip floor full full_like gather index index_put index_put_
    index_select lift_fresh lift_fresh_copy masked_fill masked_fill_ max max_pool2d_with_indices maximum minimum neg
    new_empty new_full new_ones new_zeros ones ones_like permute relu relu_ repeat reshape roll round scalar_tensor
    scatter select select_scatter sign slice slice_scatter sort split squeeze stack t topk transpose tril triu unbind
    unfold unsqueeze view where zeros zeros_like abs
"""
_MOVING = frozenset(_MOVES.split())


class Float64(TorchDispatchMode):
    """Every call in float64; each float result is multiplied by 1 + 2^-24 u when there are draws.

    Args:
        draws: A generator for u, uniform in [-1, 1]; None: nothing is rounded.
    """

    def __init__(self, draws: torch.Generator | None = None) -> None:
        super().__init__()
        self._draws = draws
        self._wide: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Sequence[Any], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """One ATen call."""
        name = func._schema.name
        if name == "aten::_assert_tensor_metadata":  # it would insist on float32
            return None
        answer = func(*tree_map(self._widened, tuple(args)), **tree_map(self._widened, dict(kwargs or {})))
        if name.removeprefix("aten::") in _MOVING or self._draws is None:
            return tree_map(_wide_result, answer)
        if func._schema.is_mutable:  # its result is the tensor that it was given
            return answer
        return tree_map(lambda value: _rounded(_wide_result(value), self._draws), answer)

    def _widened(self, value: Any) -> Any:
        if isinstance(value, torch.dtype):
            return torch.float64 if value in _NARROW else value
        if isinstance(value, torch.Tensor) and value.dtype in _NARROW:
            if id(value) not in self._wide:  # the tensor is kept: its id stays its own
                self._wide[id(value)] = (value, _rounded(value.to(torch.float64), self._draws))
            return self._wide[id(value)][1]
        return value


class Evaluations:
    """A model's answers in float32, in float64, and with roundings drawn at random.

    Args:
        net: The model in evaluation mode.
        call: (net, arguments) -> tensors; asks it as its owner does.
        copied: Makes a second instance of `net` for float64.
    """

    def __init__(
        self,
        net: Any,
        call: Callable[[Any, Sequence[Any]], Sequence[torch.Tensor]],
        copied: Callable[[], Any],
    ) -> None:
        self.net = net
        self._call = call
        self._wide = copied().double()

    def plain(self, arguments: Sequence[Any]) -> list[torch.Tensor]:
        """As it is."""
        with torch.no_grad():
            return list(self._call(self.net, arguments))

    def otherwise(self, arguments: Sequence[Any]) -> list[torch.Tensor]:
        """In float32 by other kernels than usual: as legitimate, rounded in another order."""
        with torch.no_grad(), torch.backends.mkldnn.flags(enabled=False):
            return list(self._call(self.net, arguments))

    def exact(self, arguments: Sequence[Any]) -> list[torch.Tensor]:
        """In float64."""
        with _exactly(None):
            return list(self._call(self._wide, tree_map(_wide_result, list(arguments))))

    def perturbed(self, arguments: Sequence[Any], seed: int) -> list[torch.Tensor]:
        """In float64, every parameter, input and result multiplied by 1 + 2^-24 u, u uniform in [-1, 1].

        Source:
            Monte-Carlo arithmetic: D. S. Parker, UCLA CSD-970002 (1997); research/models.md, section 3.1.
        """
        draws = torch.Generator().manual_seed(seed)
        narrow = [*self.net.parameters(), *self.net.buffers()]
        wide = [*self._wide.parameters(), *self._wide.buffers()]
        with torch.no_grad():
            for other in wide:
                other.copy_(_rounded(other, draws))
            try:
                with _exactly(draws):
                    asked = tree_map(lambda value: _rounded(_wide_result(value), draws), list(arguments))
                    return list(self._call(self._wide, asked))
            finally:
                for one, other in zip(narrow, wide, strict=True):
                    other.copy_(one)


@contextmanager
def _exactly(draws: torch.Generator | None) -> Iterator[None]:
    """Inside, PyTorch computes in float64, without the kernels that only know float32."""
    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        stack.enter_context(torch.backends.mkldnn.flags(enabled=False))
        stack.callback(torch.set_default_dtype, torch.get_default_dtype())
        torch.set_default_dtype(torch.float64)
        stack.enter_context(Float64(draws))
        yield


def _wide_result(value: Any) -> Any:
    return value.to(torch.float64) if isinstance(value, torch.Tensor) and value.dtype in _NARROW else value


def _rounded(value: Any, draws: torch.Generator | None) -> Any:
    if draws is None or not isinstance(value, torch.Tensor) or value.dtype is not torch.float64:
        return value
    u = torch.empty(value.shape, dtype=torch.float64).uniform_(-1, 1, generator=draws)
    return value * (1 + UNIT * u)
