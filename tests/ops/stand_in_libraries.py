"""What geo3d calls of torch-scatter and spconv, in plain torch and with their conventions, for tests where they are not installed."""

from __future__ import annotations

from types import ModuleType

import torch
from torch import Tensor


def torch_scatter() -> ModuleType:
    """torch-scatter 2.1: an index in [0, dim_size), `len(src)` for nobody's maximum, 0 for the logarithm of nothing."""
    module = ModuleType("torch_scatter")

    def scatter_sum(src: Tensor, index: Tensor, dim: int = -1, *, dim_size: int) -> Tensor:
        assert dim == 0
        return src.new_zeros(dim_size, src.shape[1]).scatter_add(0, index[:, None].expand_as(src), src)

    def scatter_mean(src: Tensor, index: Tensor, dim: int = -1, *, dim_size: int) -> Tensor:
        return scatter_sum(src, index, dim, dim_size=dim_size) / index.bincount(minlength=dim_size).clamp(min=1)[:, None]

    def scatter_max(src: Tensor, index: Tensor, dim: int = -1, *, dim_size: int, sign: int = 1) -> tuple[Tensor, Tensor]:
        assert dim == 0
        target = index[:, None].expand_as(src)
        best = src.new_zeros(dim_size, src.shape[1]).scatter_reduce(0, target, sign * src, "amax", include_self=False)
        is_best = sign * src == best.gather(0, target)
        rows = torch.where(is_best, torch.arange(len(src))[:, None], len(src))
        winner = torch.full(best.shape, len(src)).scatter_reduce(0, target, rows, "amin")
        taken = torch.cat([src, src.new_zeros(1, src.shape[1])]).gather(0, winner)
        return taken, winner

    def scatter_min(src: Tensor, index: Tensor, dim: int = -1, *, dim_size: int) -> tuple[Tensor, Tensor]:
        return scatter_max(src, index, dim, dim_size=dim_size, sign=-1)

    def scatter_softmax(src: Tensor, index: Tensor, dim: int = -1, *, dim_size: int) -> Tensor:
        exponential = (src - scatter_max(src.detach(), index, dim, dim_size=dim_size)[0][index]).exp()
        return exponential / scatter_sum(exponential, index, dim, dim_size=dim_size)[index]

    def scatter_logsumexp(src: Tensor, index: Tensor, dim: int = -1, *, dim_size: int) -> Tensor:
        top = scatter_max(src.detach(), index, dim, dim_size=dim_size)[0]
        sums = scatter_sum((src - top[index]).exp(), index, dim, dim_size=dim_size)
        return (sums.log() + top).nan_to_num(neginf=0.0)

    for function in (scatter_sum, scatter_mean, scatter_max, scatter_min, scatter_softmax, scatter_logsumexp):
        setattr(module, function.__name__, function)
    return module


def spconv() -> dict[str, ModuleType]:
    """spconv 2.3's convolution of pairs: the first counts[k] columns of pairs [2, K, M] are rows that meet."""
    modules = {name: ModuleType(name) for name in ("spconv", "spconv.core", "spconv.pytorch", "spconv.pytorch.functional")}

    class ConvAlgo:
        Native = "native"

    class SparseConvFunction:
        @staticmethod
        def apply(features: Tensor, weight: Tensor, pairs: Tensor, counts: Tensor, rows: int, algorithm: str) -> Tensor:
            assert algorithm == ConvAlgo.Native and pairs.dtype == counts.dtype == torch.int32
            out = features.new_zeros(rows, len(weight))
            for k, matrix in enumerate(weight.flatten(1, 3).unbind(1)):
                inputs, outputs = pairs[:, k, : int(counts[k])].long()
                out.index_add_(0, outputs, features[inputs] @ matrix.T)
            return out

    modules["spconv.core"].ConvAlgo = ConvAlgo
    modules["spconv.pytorch.functional"].SparseConvFunction = SparseConvFunction
    return modules
