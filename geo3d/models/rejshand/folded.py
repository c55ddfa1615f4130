"""ReJSHand for inference: the same function of the image with far fewer products.

Folded are the backbone's parallel branches and batch norms, the batch norm of the enlarged map, each block's first layer into queries,
keys and values, its last two layers into one, position embeddings and biases into a constant for each level, and channels are narrowed
before tokens are multiplied. The map is enlarged only where it is sampled.
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geo3d.models.rejshand.backbones import fold_norms
from geo3d.models.rejshand.interaction import Expansion, InteractionBlock
from geo3d.models.rejshand.mesh_head import ENLARGEMENT, MeshHead, encoding_for
from geo3d.models.rejshand.network import HandOutput, ReJSHand


class FoldedReJSHand(nn.Module):
    """A trained `ReJSHand` in evaluation, folded. Takes and gives the same as it.

    Args:
        network: is left as it is.
        whole_map: enlarge the whole map, also where less would do. Exported networks do.
    """

    def __init__(self, network: ReJSHand, whole_map: bool = False):
        super().__init__()
        from timm.utils.model import reparameterize_model

        network = copy.deepcopy(network).eval()
        device = network.joint_regressor.device
        backbone = network.backbone
        backbone.network = reparameterize_model(backbone.network)
        fold_norms(backbone, torch.zeros(1, 3, network.image_size, network.image_size, device=device))
        network.mesh_head = FoldedMeshHead(network.mesh_head, whole_map)  # type: ignore[assignment]
        self.network = network.requires_grad_(False)
        self.image_size = network.image_size

    def forward(self, images: Tensor) -> HandOutput:
        """images [B, 3, H, W] R, G, B in 0..255 -> `HandOutput`, that of `ReJSHand.forward`."""
        return self.network(images)


class FoldedBlock(nn.Module):
    """An `InteractionBlock` as two layers and an attention."""

    def __init__(self, block: InteractionBlock):
        super().__init__()
        attention = block.attention
        self.heads = attention.heads
        layers = (attention.queries, attention.keys, attention.values)
        weight = torch.cat([layer.weight for layer in layers])
        bias = torch.cat([layer.bias for layer in layers])
        self.attend = _linear(weight @ block.refine.weight, weight @ block.refine.bias + bias)
        mix, project = block.mix, attention.project
        eye = torch.eye(len(mix.weight), device=mix.weight.device, dtype=mix.weight.dtype)
        self.mix = _linear(torch.cat((mix.weight @ project.weight, mix.weight + eye), 1), mix.weight @ project.bias + mix.bias)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, L, C] -> the same shape."""
        parts = self.attend(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(parts[0], parts[1], parts[2]).transpose(1, 2).flatten(2)
        return F.relu(self.mix(torch.cat((mixed, x), -1)))


class FoldedExpansion(nn.Module):
    """Expansion and the layer after it: channels first, then tokens, then a constant for each token and channel."""

    def __init__(self, expansion: Expansion, position: Tensor | None, project: nn.Linear):
        super().__init__()
        constant = expansion.bias[:, None] * project.weight.sum(1) + project.bias
        if position is not None:
            constant = constant + position[0] @ project.weight.T
        self.project = _linear(project.weight, None)
        self.expand = nn.Parameter(expansion.weight.detach().clone())
        self.constant = nn.Parameter(constant.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """x [B, L, C] -> [B, M, D]."""
        return self.expand @ self.project(x) + self.constant


class FoldedMeshHead(nn.Module):
    """A `MeshHead` with its linear parts joined."""

    encoding: Tensor

    def __init__(self, head: MeshHead, whole_map: bool):
        super().__init__()
        norm = head.norm
        assert norm.running_mean is not None and norm.running_var is not None
        gain = norm.weight / (norm.running_var + norm.eps).sqrt()
        weight = (head.enlarge.weight * gain[:, None, None]).detach()
        self.bias = nn.Parameter((norm.bias - norm.running_mean * gain).detach())
        self.coordinate_attention = head.coordinate_attention
        self.whole_map = whole_map or head.coordinate_attention is not None
        if not self.whole_map:
            weight = weight.permute(2, 3, 0, 1).flatten(0, 1)  # [16, C, D], by place within a cell
        self.weight = nn.Parameter(weight.contiguous())  # [C, D, 4, 4] else
        self.register_buffer("encoding", head.encoding.clone(), persistent=False)
        first = head.projections[0]
        self.first = _linear(first.weight, None)  # type: ignore[arg-type]
        self.constant = nn.Parameter((head.positions[0] @ first.weight.T + first.bias).detach())
        self.bones = head.bones
        self.blocks = nn.ModuleList(FoldedBlock(block) for block in head.blocks)  # type: ignore[arg-type]
        after = [*zip(list(head.positions)[1:], list(head.projections)[1:], strict=True), (None, head.coordinates)]
        self.expansions = nn.ModuleList(
            FoldedExpansion(expansion, position, project)  # type: ignore[arg-type]
            for expansion, (position, project) in zip(head.expansions, after, strict=True)
        )

    def forward(self, features: Tensor, keypoints: Tensor) -> Tensor:
        """features [B, C, H, W], keypoints [B, J, 2] -> vertices [B, V, 3], those of `MeshHead.forward`."""
        whole = self.whole_map or torch.compiler.is_exporting() or torch.jit.is_tracing()
        sampled = self._sampled_map(features, keypoints) if whole else self._sampled_cells(features, keypoints)
        x = self.first(sampled) + self.constant
        if self.bones is not None:
            x = self.bones(x)
        for block, expansion in zip(self.blocks, self.expansions, strict=True):
            x = expansion(block(x))
        return x

    def _sampled_map(self, features: Tensor, keypoints: Tensor) -> Tensor:
        weight = self.weight
        if not self.whole_map:
            weight = weight.unflatten(0, (ENLARGEMENT, ENLARGEMENT)).permute(2, 3, 0, 1)
        x = F.relu(F.conv_transpose2d(features, weight, self.bias, stride=ENLARGEMENT))
        if self.coordinate_attention is not None:
            x = self.coordinate_attention(x)
        x = x + encoding_for(x, self.encoding)
        places = (2 * keypoints - 1).clamp(-1, 1)[:, :, None]
        return F.grid_sample(x, places, align_corners=True)[..., 0].transpose(1, 2)

    def _sampled_cells(self, features: Tensor, keypoints: Tensor) -> Tensor:
        """The enlarged map at the four pixels around each keypoint alone: those at equal places of their cells share a product."""
        batch, channels, height, width = features.shape
        rows, columns = ENLARGEMENT * height, ENLARGEMENT * width
        spans = torch.tensor([columns - 1, rows - 1], device=features.device)
        places = keypoints.clamp(0, 1) * spans
        low = places.floor().long().minimum(spans - 1).clamp(min=0)
        part = places - low
        corners = torch.tensor([[0, 0], [1, 0], [0, 1], [1, 1]], device=features.device)
        u, v = (low[:, :, None] + corners).unbind(-1)  # [B, J, 4]
        shares = torch.where(corners.bool(), part[:, :, None], 1 - part[:, :, None]).prod(-1)
        cell = (v // ENLARGEMENT * width + u // ENLARGEMENT).flatten(1)
        values = features.flatten(2).transpose(1, 2).gather(1, cell[..., None].expand(-1, -1, channels)).flatten(0, 1)
        place = (v % ENLARGEMENT * ENLARGEMENT + u % ENLARGEMENT).flatten()
        order = place.argsort()
        pixels = values.new_empty(len(place), self.weight.shape[2])
        start = 0
        for matrix, count in zip(self.weight, place.bincount(minlength=len(self.weight)).tolist(), strict=True):
            chosen = order[start : start + count]
            pixels[chosen] = values[chosen] @ matrix
            start += count
        encoding = encoding_for(features.new_zeros(1, 1, 1, 1).expand(1, len(self.bias), rows, columns), self.encoding)
        pixels = F.relu(pixels + self.bias).view(batch, -1, 4, len(self.bias)) + encoding[:, v, u].permute(1, 2, 3, 0)
        return (shares[..., None] * pixels).sum(2)


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, device=weight.device, dtype=weight.dtype)
    layer.weight.data.copy_(weight)
    if bias is not None:
        layer.bias.data.copy_(bias)
    return layer
