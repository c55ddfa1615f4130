"""The whole detector: shapes, batches, empty clouds, gradients, state dict, geometry, published sizes."""

from __future__ import annotations

import pytest
import torch
from models.dsvt.scenes import ONE_STAGE, PILLAR, RANGE, STAGES, VOXEL, backbone, cloud, detector
from torch import nn

from geo3d.models.detection import BevBackbone, CenterOutputs
from geo3d.models.dsvt import (
    DSVTBackbone,
    DSVTDetector,
    PointEncoder,
    StageConfig,
    nuscenes_pillar,
    untrained_in_paper,
    waymo_pillar,
    waymo_voxel,
)
from geo3d.zoo import convert_official

KINDS = ["pillar", "voxel"]


def maps(outputs: CenterOutputs) -> torch.Tensor:
    return torch.cat([outputs.heatmap, outputs.center, outputs.center_z, outputs.dim, outputs.rot, outputs.iou], 1)


@pytest.mark.parametrize("kind", KINDS)
def test_contract(kind):
    """Shapes, finite values, a gradient in every parameter, state dict round trip."""
    network = detector(kind).train()
    outputs = maps(network(*cloud(300, 200)))
    assert outputs.shape == (2, 11, 16, 32) and network.bev_grid.shape == (16, 32) and outputs.isfinite().all()
    outputs.square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any(), name
    twin = detector(kind)
    twin.load_state_dict(network.state_dict())
    assert torch.equal(maps(twin.eval()(*cloud(80))), maps(network.eval()(*cloud(80))))


@pytest.mark.parametrize("train", [True, False])
def test_compiled_dense_part(train):
    """Same maps, gradients and names; two sizes of batch."""
    network, twin = detector("pillar"), detector("pillar")
    twin.load_state_dict(network.state_dict())
    twin.compile_dense(backend="aot_eager")
    assert list(twin.state_dict()) == list(network.state_dict())
    for batch in (cloud(300, 200), cloud(80)):
        expected, found = maps(network.train(train)(*batch)), maps(twin.train(train)(*batch))
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
        expected.square().sum().backward()
        found.square().sum().backward()
        with torch.no_grad():
            found, expected = maps(twin.eval()(*batch)), maps(network.eval()(*batch))
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    for mine, other in zip(twin.parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-3, atol=1e-3 * float(other.grad.abs().max()))


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_batch_mates_and_order_of_the_points(kind):
    network = detector(kind)
    points, batch_index, _ = cloud(250, 150)
    together = maps(network(points, batch_index, 2))
    for b in range(2):
        mine = points[batch_index == b]
        alone = maps(network(mine, torch.zeros(len(mine), dtype=torch.int64), 1))
        torch.testing.assert_close(alone[0], together[b], rtol=1e-4, atol=1e-5)  # six layers of sums in another order
    order = torch.randperm(400)
    torch.testing.assert_close(maps(network(points[order], batch_index[order], 2)), together, rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_empty_clouds_anywhere_in_the_batch(kind):
    network = detector(kind)
    points, _, _ = cloud(100)
    alone = maps(network(points, torch.zeros(100, dtype=torch.int64), 1))
    outputs = maps(network(points, torch.ones(100, dtype=torch.int64), 3))
    torch.testing.assert_close(outputs[1:2], alone, rtol=1e-4, atol=1e-5)
    assert torch.equal(outputs[0], outputs[2]) and outputs.isfinite().all()


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_all_points_out_of_range(kind, train):
    network = detector(kind).train(train)
    outputs = maps(network(cloud(50)[0] + 100, torch.zeros(50, dtype=torch.int64), 1))
    assert outputs.shape == (1, 11, 16, 32) and outputs.isfinite().all()
    outputs.sum().backward()
    assert all(buffer.isfinite().all() for buffer in network.buffers())


@pytest.mark.parametrize(
    ("voxel_size", "grid", "stages", "message"),
    [
        (PILLAR, (32, 20, 1), ONE_STAGE, "-3.2 to 3.2 m in y is 16 voxels of 0.4 m; .* set it to 16, or .* in y to 0.32"),
        (VOXEL, (32, 16, 4), STAGES[:1], "-2 to 2 m in z is 8 voxels of 0.5 m; the backbone's grid has 4: set it to 8"),
        (VOXEL, (32, 16, 8), STAGES[:2], "strides leave 2 of 8 voxels in z; raise those .* by a factor of 2 in all"),
        (
            (0.8, 0.4, 4.0),
            (16, 16, 1),
            [*ONE_STAGE, StageConfig(1, 7, (6, 6, 1), (3, 3, 0), stride=(2, 1, 1))],
            "strides in x and y must be alike, got 2 and 1",
        ),
        ((1.28, 0.64, 4.0), (10, 10, 1), ONE_STAGE, "map has 10 cells in x, .* a multiple of 4; end the range in x at 8.96 m"),
    ],
)
def test_geometry_that_does_not_fit(voxel_size, grid, stages, message):
    encoder = PointEncoder(5, 16, voxel_size, RANGE)
    with pytest.raises(ValueError, match=message):
        DSVTDetector(encoder, DSVTBackbone(grid, stages, 16, 4), BevBackbone(16), nn.Identity())


def test_channels_that_do_not_fit():
    with pytest.raises(ValueError, match="encoder and backbone must have the same channels, got 8 and 16"):
        DSVTDetector(PointEncoder(5, 8, VOXEL, RANGE), backbone(), BevBackbone(16), nn.Identity())


def test_strides_in_x_and_y_reach_the_grid_in_meters():
    encoder = PointEncoder(5, 16, PILLAR, RANGE)
    stages = [*ONE_STAGE, StageConfig(1, 7, (6, 6, 1), (3, 3, 0), stride=(2, 2, 1))]
    network = DSVTDetector(encoder, DSVTBackbone(encoder.grid, stages, 16, 4, 24), BevBackbone(16), nn.Identity())
    assert network(*cloud(60)).shape[-2:] == network.bev_grid.shape == (8, 16)
    assert network.bev_grid.cell_size == (0.8, 0.8)


def test_conversion_of_names():
    tensors = {"global_step": torch.zeros(1), "vfe.pfn_layers.1.norm.running_var": torch.ones(16)}
    assert list(convert_official("dsvt", tensors)) == ["encoder.layers.1.norm.running_var"]
    with pytest.raises(ValueError, match="no released DSVT checkpoint has a tensor named 'backbone_3d.stage.0.weight'"):
        convert_official("dsvt", {"backbone_3d.stage.0.weight": torch.zeros(1)})


@pytest.mark.parametrize(
    ("build", "encoder", "backbone", "bev", "untrained"),
    [
        (waymo_pillar, 38_496, 2_684_928, 5_479_680, 889_344),
        (waymo_voxel, 38_496, 3_133_824, 5_479_680, 1_224_768),
        # of 495,360, 33,024 are the queries and keys of an attention to one token, which our head does without
        (nuscenes_pillar, 17_472, 1_200_128, 5_004_544, 495_360 - 33_024),
    ],
)
def test_published_sizes(build, encoder, backbone, bev, untrained):
    """Parameters as measured on the authors' code."""
    with torch.device("meta"):
        network = build()
    sizes = {name: sum(p.numel() for p in part.parameters()) for name, part in network.named_children()}
    assert (sizes["encoder"], sizes["backbone"], sizes["bev"]) == (encoder, backbone, bev)
    parameters = dict(network.named_parameters())
    assert sum(parameters[name].numel() for name in untrained_in_paper(network)) == untrained
