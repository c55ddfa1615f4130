"""How the authors trained DSVT, where it is no choice that one would make."""

from __future__ import annotations

from torch import nn

from geo3d.models.detection.local_attention import LocalDecoderLayer
from geo3d.models.dsvt.blocks import SetAttention
from geo3d.models.dsvt.pooling import AttentionPooling

STACKED = {  # parts of a module that are one parameter owned by the module itself in the authors' code
    SetAttention: ("in_projection",),
    AttentionPooling: ("in_projection", "position"),
    LocalDecoderLayer: ("self_value", "query.", "key_value"),
}


def untrained_in_paper(network: nn.Module) -> list[str]:
    """Names of the parameters that stay at their initial values in the published results.

    The authors' optimiser was given the parameters of modules without children only, so that the projections to queries, keys and
    values of all attentions, and the slot positions of attention pooling, were never updated. Leave these out to train as
    published; to train well, train all. They do count when the gradient's norm is clipped.
    """
    owners = [(prefix, parts) for prefix, module in network.named_modules() for parts in [STACKED.get(type(module))] if parts]
    return [
        name
        for name, _ in network.named_parameters()
        if any(name.startswith(f"{prefix}.{part}") for prefix, parts in owners for part in parts)
    ]
