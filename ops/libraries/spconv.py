"""Sparse convolution by spconv, for those who choose it: its algorithm "Native" with the tables of our plans."""

from __future__ import annotations

import torch
from spconv.core import ConvAlgo
from spconv.pytorch.functional import SparseConvFunction
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

OURS = "geo3d.ops.use(sparse_conv='geo3d')"
DTYPES = {"cpu": (torch.float32, torch.float64), "cuda": (torch.float32, torch.float16)}

_pairs: WeakTensorKeyDictionary = WeakTensorKeyDictionary()  # of the tables [K, M] of plans that are alive


@torch.compiler.disable
def sparse_conv3d(features: Tensor, weight: Tensor, bias: Tensor | None, sources: Tensor) -> Tensor:
    """features [N, C], weight [C_out, kernel z, y, x, C], bias [C_out], sources [K, M] -> [M, C_out].

    Raises:
        ValueError: what the library cannot do.
    """
    device = features.device.type
    _check(device, features, weight, bias)
    if 0 in (*features.shape, *weight.shape, *sources.shape):  # it stops at a grid without voxels
        out = (features.sum() + weight.sum()) * features.new_zeros(sources.shape[1], len(weight))
    else:
        pairs, counts = _pairs_of(sources)
        out = SparseConvFunction.apply(
            features.contiguous(), weight.contiguous(), pairs, counts, sources.shape[1], ConvAlgo.Native
        )
    return out if bias is None else out + bias


def _check(device: str, features: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    if features.dtype not in DTYPES[device]:
        wanted = " or ".join(str(dtype) for dtype in DTYPES[device])
        raise ValueError(f"sparse_conv3d: spconv takes {wanted} on {device}, got {features.dtype}; {OURS} takes it")
    if device == "cuda":
        return
    if torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in (features, weight, bias)):
        raise ValueError(f"sparse_conv3d: spconv has no gradient on the CPU; use torch.no_grad(), or {OURS} to train")
    if torch.get_num_threads() > 1:
        threads = f"spconv is right on one thread only on the CPU, and torch has {torch.get_num_threads()}"
        raise ValueError(f"sparse_conv3d: {threads}; call torch.set_num_threads(1), or {OURS}")


def _pairs_of(sources: Tensor) -> tuple[Tensor, Tensor]:
    """The table as spconv has it: input and output rows that meet [2, K, M] int32, the first counts[k] of each kernel cell."""
    if sources not in _pairs:
        has_source = sources >= 0
        outputs = has_source.int().argsort(dim=1, descending=True, stable=True)
        pairs = torch.stack([sources.gather(1, outputs), outputs.int()]).contiguous()
        _pairs[sources] = pairs, has_source.sum(1, dtype=torch.int32)
    return _pairs[sources]
