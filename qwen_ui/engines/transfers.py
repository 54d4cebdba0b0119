"""Copies between a GPU and host memory that nobody waits for.

Only a model's own thread makes them, on one stream: so a copy back begins when the copy out ended,
and memory that is given back meanwhile is not used again before that.
"""

from __future__ import annotations

import torch


def to_host(tensor: torch.Tensor) -> torch.Tensor:
    """In page-locked memory, which a GPU reads and writes by itself. What lies there stays."""
    if not tensor.is_cuda:
        return tensor.cpu()
    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    return host.copy_(tensor, non_blocking=True)


def to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """What lies there stays."""
    if device.type == "cuda" and not (tensor.is_cuda or tensor.is_pinned()):
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
