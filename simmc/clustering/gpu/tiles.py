"""How large the steps of a device are, and arithmetic that does not depend on it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

# Bytes of one step beside its inputs and outputs. A GPU needs large steps, a CPU small ones.
MOST = {"cpu": 1 << 27, "cuda": 1 << 32}
SHARE = 4  # and of a GPU's free memory at most this part


def room(device: torch.device) -> int:
    """Bytes that the temporary tensors of one step may take."""
    most = MOST["cpu" if device.type == "cpu" else "cuda"]
    if device.type != "cuda":
        return most
    cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return min(most, (torch.cuda.mem_get_info(device)[0] + cached) // SHARE)


def blocks(n: int, each: int, device: torch.device) -> list[tuple[int, int]]:
    """Ranges over 0 .. n-1 such that `each` bytes an item fit into the room of a step."""
    length = max(1, room(device) // max(1, each))
    return [(a, min(a + length, n)) for a in range(0, n, length)]


def fold(terms: torch.Tensor) -> torch.Tensor:
    """Sum over the last dimension in an order that only its length decides.

    The order of `Tensor.sum` depends on the other dimensions and on the device, so that equal
    rows could get different sums. Here whole halves are added. `terms` is overwritten.
    """
    width = terms.shape[-1]
    if width == 0:
        return terms.new_zeros(terms.shape[:-1])
    while width > 1:
        half = width // 2
        terms[..., :half] += terms[..., width - half : width]
        width -= half
    return terms[..., 0].clone()


def spread(first: torch.Tensor, count: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The ranges first[i] .. first[i] + count[i] - 1 one after another, and i of each place.

    Reads one number on the host: how many there are.
    """
    total = int(count.sum())
    owner = torch.repeat_interleave(
        torch.arange(len(count), device=count.device), count, output_size=total
    )
    shift = first - (count.cumsum(0) - count)
    return torch.arange(total, device=count.device) + shift[owner], owner


def runs(
    key: torch.Tensor, term: torch.Tensor, limit: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Terms brought together by key, in their old order for each key.

    Args:
        key: (t,) int64, below `limit`.
        term: (t,) float32.
        limit: decides whether 32-bit keys suffice, which sort faster.

    Returns:
        the r distinct keys, ascending; the sorted terms (t,); where each key's run of terms begins
        (r,) and how long it is (r,).
    """
    key, order = (key.int() if limit < 2**31 else key).sort(stable=True)
    first = torch.ones_like(key, dtype=torch.bool)
    first[1:] = key[1:] != key[:-1]
    begin = first.nonzero()[:, 0]
    run = torch.cat([begin, begin.new_full((1,), len(key))]).diff()
    return key[begin].long(), term[order], begin, run


def sum_in_order(term: torch.Tensor, begin: torch.Tensor, run: torch.Tensor) -> torch.Tensor:
    """Sums of runs of terms, one term after another in the terms' precision."""
    total = term[begin]
    for p in range(1, int(run.max()) if len(run) else 0):
        following = term[(begin + p).clamp_(max=len(term) - 1)]
        total += torch.where(run > p, following, 0)
    return total


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Matrix products in true single precision: no TF32, no bfloat16, no autocast."""
    with torch.autocast(device.type, enabled=False):
        if hasattr(torch.backends.cuda.matmul, "fp32_precision"):
            backends = torch.backends.cuda.matmul, torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
            before = [backend.fp32_precision for backend in backends]
            try:
                for backend in backends:
                    backend.fp32_precision = "ieee"
                yield
            finally:
                for backend, precision in zip(backends, before, strict=True):
                    backend.fp32_precision = precision
        else:  # torch before 2.9
            old = torch.get_float32_matmul_precision()
            try:
                torch.set_float32_matmul_precision("highest")
                yield
            finally:
                torch.set_float32_matmul_precision(old)
