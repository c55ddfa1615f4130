"""Clusters of tokens by density peaks (Rodriguez and Laio, Science 2014), as the merger of LRGT forms them.

All of it is computed without gradient. Squared distances come from products in float64 and are rounded to far more than float32 holds:
equal tokens are then at distance 0, and equally far ones equally far, whatever the order of the tokens. Products in float32 put equal
tokens as far apart as alike ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

MAX_WHOLE = 1 << 22  # distances on the CPU that are computed once and kept; those of 10 views of 196 tokens
MAX_PIECE = 1 << 20  # of more distances so many are in memory at a time, and computed once and a half
MAX_PIECE_CUDA = 1 << 26
RESOLUTION = 2.0**-40  # of squared distances by C, where a layer norm gives squared lengths of about 1


class Clusters(NamedTuple):
    """Clusters of the tokens of each sample.

    Attributes:
        density: [B, N] float32, in (0, 1].
        separation: [B, N] float32, distance to the nearest denser token; that to the farthest token of all where none is denser.
        centers: [B, M] int64, the tokens with the largest density * separation, the largest first.
        members: [B, N] int64, which of the M centres each token belongs to.
    """

    density: Tensor
    separation: Tensor
    centers: Tensor
    members: Tensor


@torch.no_grad()
def density_peaks(tokens: Tensor, count: int, neighbors: int) -> Clusters:
    """Clusters around the tokens that are dense and far from denser ones (LRGT, section 3.3).

    Distances are divided by sqrt(C). The density of a token is exp of minus the mean squared distance to its nearest tokens, itself
    among them. Of equal densities that of the token with the lower index counts as larger, and of equally good centres and equally
    near ones the first is taken, so that equal input gives equal clusters on every run.

    Args:
        tokens: [B, N, C] floating point.
        count: M centres, at most N.
        neighbors: k nearest tokens; all where there are fewer.

    Raises:
        ValueError: more centres than tokens.
    """
    batch, number, channels = tokens.shape
    if count > number:
        raise ValueError(f"density_peaks: expected at least {count} tokens for as many clusters, got {number}")
    with torch.autocast(tokens.device.type, enabled=False):
        exact = tokens.double()
        lengths = (exact * exact).sum(-1) / (channels * RESOLUTION)
        pieces = list(_pieces(batch, number, tokens.device.type))
        whole = _squared_distances(exact, lengths, exact, lengths) if len(pieces) == 1 else None
        nearest, farthest = [], []
        for rows in pieces:
            squared = _squared_distances(exact[:, rows], lengths[:, rows], exact, lengths) if whole is None else whole
            nearest.append(squared.topk(min(neighbors, number), largest=False).values.mean(-1))
            farthest.append(squared.flatten(1).amax(1))
        density = torch.cat(nearest, 1).mul(-RESOLUTION).exp().float()
        denser = _nearest_denser(exact, lengths, whole, pieces, density)
        separation = denser.minimum(torch.stack(farthest).amax(0)[:, None]).mul(RESOLUTION).sqrt().float()
        centers = (density * separation).sort(dim=1, descending=True, stable=True).indices[:, :count]
        chosen = exact.gather(1, centers[..., None].expand(-1, -1, channels))
        members = _squared_distances(exact, lengths, chosen, lengths.gather(1, centers)).argmin(-1)
        members = members.scatter(1, centers, torch.arange(count, device=tokens.device).expand(batch, -1))
    return Clusters(density, separation, centers, members)


def _squared_distances(a: Tensor, a_lengths: Tensor, b: Tensor, b_lengths: Tensor) -> Tensor:
    """a [B, N, C] and b [B, K, C] with their squared lengths -> [B, N, K], lengths and distances by C in units of RESOLUTION."""
    products = torch.baddbmm(a_lengths[..., None], a, b.transpose(1, 2), alpha=-2 / (a.shape[-1] * RESOLUTION))
    return products.add_(b_lengths[:, None]).round_().clamp_(min=0)


def _nearest_denser(exact: Tensor, lengths: Tensor, whole: Tensor | None, pieces: list[slice], density: Tensor) -> Tensor:
    """Squared distance to the nearest denser token [B, N], infinite where none is; overwrites the whole matrix."""
    order = density.sort(dim=1, descending=True, stable=True).indices
    rank = order.argsort(1)
    if whole is not None:
        return whole.masked_fill_(rank[:, None] >= rank[..., None], torch.inf).amin(-1)
    ordered = exact.gather(1, order[..., None].expand_as(exact))
    lengths = lengths.gather(1, order)
    place = torch.arange(density.shape[1], device=density.device)
    nearest = []
    for rows in pieces:  # the denser ones all come before
        denser = slice(0, rows.stop)
        squared = _squared_distances(ordered[:, rows], lengths[:, rows], ordered[:, denser], lengths[:, denser])
        nearest.append(squared.masked_fill_(place[: rows.stop] >= place[rows, None], torch.inf).amin(-1))
    return torch.cat(nearest, 1).gather(1, rank)


def _pieces(batch: int, number: int, device: str) -> Iterator[slice]:
    """Rows of the distance matrix that are in memory together. In an exported network they all are."""
    if torch.compiler.is_exporting():  # in which the numbers may be symbols, over which no loop runs
        yield slice(0, number)
        return
    if device != "cpu":
        largest = MAX_PIECE_CUDA
    else:
        largest = MAX_WHOLE if batch * number * number <= MAX_WHOLE else MAX_PIECE
    step = max(1, largest // (batch * number))
    for start in range(0, number, step):
        yield slice(start, min(start + step, number))
