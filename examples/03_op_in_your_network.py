"""geo3d's ops in a network of your own: a set abstraction (PointNet++) in a dozen lines.

    python examples/03_op_in_your_network.py

Learn here: ops take batches [B, N, 3], give indices into each cloud, and `gather` fetches rows and passes gradients back. The same code
runs on the CPU (numba) and on CUDA (Triton). -1 stands for "no neighbour".
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from geo3d.ops import ball_query, farthest_point_sample, gather


class SetAbstraction(nn.Module):
    """Features of a few centres, each from the points around it.

    Args:
        channels: C of the points' features.
        width: D of the centres' features.
        num_centers: M.
        radius: of the neighbourhoods, in the unit of the points.
    """

    def __init__(self, channels: int, width: int, num_centers: int, radius: float) -> None:
        super().__init__()
        self.num_centers = num_centers
        self.radius = radius
        self.mlp = nn.Sequential(nn.Linear(3 + channels, width), nn.ReLU(), nn.Linear(width, width))

    def forward(self, points: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """points [B, N, 3], features [B, N, C] -> centres [B, M, 3] and their features [B, M, D]."""
        centers = gather(points, farthest_point_sample(points, self.num_centers))
        neighbors = ball_query(centers, points, self.radius, max_neighbors=16).indices  # [B, M, 16]
        offsets = gather(points, neighbors) - centers[:, :, None]
        around = torch.cat([offsets / self.radius, gather(features, neighbors)], dim=-1)  # [B, M, 16, 3 + C]
        return centers, self.mlp(around).amax(dim=2)


def main() -> None:
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    points = torch.rand(2, 1000, 3, device=device)
    colors = torch.rand(2, 1000, 3, device=device, requires_grad=True)
    layer = SetAbstraction(channels=3, width=32, num_centers=64, radius=0.2).to(device)
    centers, features = layer(points, colors)
    features.sum().backward()
    assert colors.grad is not None
    used = int((colors.grad != 0).any(-1).sum())
    print(f"centres {list(centers.shape)}, features {list(features.shape)}, a gradient in {used} of 2000 points")


if __name__ == "__main__":
    main()
