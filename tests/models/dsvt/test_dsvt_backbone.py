"""The backbone: pooling against dense attention, positions, partitions, initial values, errors."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from models.dsvt.scenes import ONE_STAGE, STAGES, backbone
from torch import Tensor, nn

from geo3d.models.dsvt import AttentionPooling, DSVTBackbone, LinearPooling, MaxPooling, StageConfig
from geo3d.models.dsvt.pooling import Cells
from geo3d.models.dsvt.sets import PositionEmbedding


def some_voxels(count: int = 300, batch: int = 2) -> tuple[Tensor, Tensor]:
    """features [V, 16] and coords [V, 4] in random order."""
    cell = torch.randperm(batch * 8 * 16 * 32)[:count]
    coords = torch.stack((cell // (8 * 16 * 32), cell // (16 * 32) % 8, cell // 32 % 16, cell % 32), 1)
    return torch.randn(count, 16), coords.int()


@pytest.fixture
def cells() -> Cells:
    """Nine voxels in four cells of four slots: one full, one with a single voxel."""
    cell, slot = torch.tensor([0, 2, 0, 1, 0, 2, 3, 3, 0]), torch.tensor([3, 1, 0, 2, 1, 0, 3, 2, 2])
    return Cells.from_partition(cell, slot, 4, 4)


def test_attention_pooling_is_attention_over_all_slots(cells):
    pooling = AttentionPooling(16, 4)
    nn.init.normal_(pooling.position)
    nn.init.normal_(pooling.in_projection.bias)
    whole = nn.MultiheadAttention(16, 8, batch_first=True)
    pooled = {"in_projection.weight": "in_proj_weight", "in_projection.bias": "in_proj_bias"}
    pooled |= {f"out_projection.{kind}": f"out_proj.{kind}" for kind in ("weight", "bias")}
    whole.load_state_dict({theirs: pooling.state_dict()[ours] for ours, theirs in pooled.items()})
    results = []
    features = torch.randn(9, 16, requires_grad=True)
    dense = torch.zeros(4, 4, 16).index_put((cells.plan.target, cells.slots), features)
    query = dense.amax(1, keepdim=True)
    expected = whole(query, dense + pooling.position, dense, need_weights=False)[0]
    for result in (pooling(features, cells), pooling.norm(expected + query)[:, 0]):
        gradients = torch.autograd.grad(result.square().sum() + result[0, 0], (features, pooling.position), retain_graph=True)
        results.append((result, *gradients))
    torch.testing.assert_close(*results)


def test_linear_and_max_pooling(cells):
    features = torch.randn(9, 16)
    dense = torch.zeros(4, 4, 16).index_put((cells.plan.target, cells.slots), features)
    torch.testing.assert_close(MaxPooling()(features, cells), dense.amax(1))
    linear = LinearPooling(16, 4)
    torch.testing.assert_close(linear(features, cells), linear.norm(linear.linear(dense.flatten(1))))


@pytest.mark.parametrize("dimensions", [2, 3])
def test_position_embedding_by_table(dimensions):
    """In evaluation each place of the window is embedded once, which must not be seen."""
    embedding = PositionEmbedding((4, 3, 2), dimensions, 8)
    z, y, x = torch.randint(2, (60,)), torch.randint(3, (60,)), torch.randint(4, (60,))
    places = torch.stack((z, y, x), 1).int()
    embedding(places)  # gives the norm some statistics
    embedding.eval()
    offsets = torch.stack((x - 2, y - 1.5, z - 1), 1)[:, :dimensions]
    torch.testing.assert_close(embedding(places), embedding.layers(offsets))
    torch.testing.assert_close(embedding(places[:3]), embedding.layers(offsets[:3]))


@pytest.mark.parametrize("count", [20, 2])  # by table and one by one
def test_normalized_position_embedding(count):
    embedding = PositionEmbedding((4, 3, 2), 3, 8, normalize=True).eval()
    z, y, x = torch.randint(2, (count,)), torch.randint(3, (count,)), torch.randint(4, (count,))
    offsets = torch.stack((x / 4 - 0.5, y / 3 - 0.5, z / 2 - 0.5), 1) * 2 * 3.1415  # the authors' pi
    torch.testing.assert_close(embedding(torch.stack((z, y, x), 1)), embedding.layers(offsets))


def test_heads_and_widths_by_stage():
    stages = [replace(STAGES[0], heads=2), *STAGES[1:-1], replace(STAGES[-1], feedforward=40)]
    layers = [stage.blocks[0].layers[0] for stage in DSVTBackbone((32, 16, 8), stages, 16, 4, 24).stages]
    assert [layer.attention.heads for layer in layers] == [2, *[4] * (len(stages) - 1)]
    assert [layer.widen.out_features for layer in layers] == [*[24] * (len(stages) - 1), 40]


def test_both_partitions_may_be_shifted():
    network = DSVTBackbone((8, 8, 1), [StageConfig(2, 5, (4, 4, 1), (2, 2, 0), first_shift=(1, 0, 0))], 8, 2, 8)
    coords = torch.tensor([[0, 0, 0, 2], [0, 0, 0, 3], [0, 0, 3, 3]])
    first, second = network.stages[0].partition(coords).windows
    assert first.places[:, [2, 1]].tolist() == [[3, 0], [0, 0], [0, 3]]  # x + 1 in windows of 4
    assert second.places[:, [2, 1]].tolist() == [[4, 2], [5, 2], [5, 5]]  # x + 2 and y + 2 in windows of 8
    assert first.numbers[0] != first.numbers[1] == first.numbers[2]


@pytest.mark.parametrize("pooling", ["attention", "linear", "max"])
def test_stages(pooling):
    network = backbone(pooling)
    assert network.out_grid == (32, 16, 1)
    features, coords = some_voxels()
    pooled, cells = network(features, coords)
    columns = coords[:, [0, 3, 2]].unique(dim=0)  # ascending by batch, x, y
    assert torch.equal(cells[:, [0, 3, 2]], columns) and (cells[:, 1] == 0).all() and cells.dtype == torch.int32
    assert pooled.shape == (len(columns), 16) and pooled.isfinite().all()


@torch.no_grad()
def test_one_stage_keeps_the_rows_and_does_not_depend_on_their_order():
    network = DSVTBackbone((32, 16, 1), ONE_STAGE, 16, 4, 24).eval()
    features, coords = some_voxels()
    coords = coords[(coords[:, 1] == 3)] * torch.tensor([1, 0, 1, 1])
    features = features[: len(coords)]
    result = network(features, coords)
    assert torch.equal(result.coords, coords)
    order = torch.randperm(len(coords))
    torch.testing.assert_close(network(features[order], coords[order]).features, result.features[order])


def test_partitions_alternate_over_all_stages():
    stages = [StageConfig(3, 5, (4, 4, 8), (2, 2, 0)), StageConfig(2, 5, (4, 4, 2), (2, 2, 0), stride=(1, 1, 4))]
    network = DSVTBackbone((8, 8, 8), stages, 8, 2, 8)
    assert [[block.partition for block in stage.blocks] for stage in network.stages] == [[0, 1, 0], [1, 0]]


def test_positions_of_the_release_and_matched_ones():
    released, matched = backbone(), backbone(matched_positions=True)
    plain, hybrid = (6, 6, 8), (12, 12, 8)
    for network, expected in ((released, [plain, hybrid]), (matched, [plain, plain])):
        assert [position.window for position in network.stages[0].blocks[0].positions] == expected
    matched.load_state_dict(released.state_dict())
    voxels = some_voxels()
    assert not torch.allclose(released.eval()(*voxels).features, matched.eval()(*voxels).features)


def test_checkpointed_blocks_give_the_same_gradients_and_statistics():
    results = []
    for kept in (False, True):
        torch.manual_seed(3)
        network, (features, coords) = backbone(checkpoint_blocks=kept), some_voxels()
        network(features, coords).features.square().sum().backward()
        results.append(({name: p.grad for name, p in network.named_parameters()}, dict(network.named_buffers())))
    torch.testing.assert_close(*results, rtol=0, atol=0)


def test_initial_values():
    network = DSVTBackbone((32, 16, 8), STAGES, 64, 4, 96)
    assert all(p.count_nonzero() == 0 for name, p in network.named_parameters() if "projection.bias" in name)
    weight = network.stages[0].blocks[0].layers[0].attention.in_projection.weight  # [3 C, C], Xavier as one matrix
    assert weight.abs().max() <= math.sqrt(6 / (4 * 64)) and weight.abs().max() > 0.98 * math.sqrt(6 / (4 * 64))
    assert network.stages[1].pool.position.abs().max() > 0.1


@torch.no_grad()
def test_autocast_stays_close():
    network, voxels = backbone().eval(), some_voxels()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = network(*voxels).features
    difference = (half.float() - network(*voxels).features).abs()
    assert difference.max() < 0.2 and difference.mean() < 0.02  # bfloat16 has three digits, and there are six layers


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("count", [0, 1])
def test_none_or_one_voxel(count, train):
    features, coords = some_voxels(count)
    result = backbone().train(train)(features, coords)
    assert result.features.shape == (count, 16) and result.features.isfinite().all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"grid": (4, 4)}, r"grid must be three positive numbers .* got \[4, 4\]"),
        ({"channels": 18}, "heads must divide channels, got 4 and 18"),
        ({"pooling": "mean"}, "pooling must be one of .* got 'mean'"),
        ({"stages": []}, "stages must not be empty"),
        ({"stages": STAGES[1:]}, r"stride of stage 0 must be 1, 1, 1, got \[1, 1, 4\]"),
        ({"stages": [StageConfig(0, 7, (6, 6, 8), (3, 3, 0))]}, "stage 0 needs at least one block .* got 0 and 7"),
        ({"stages": [StageConfig(1, 7, (6, 6), (3, 3, 0))]}, "stage 0 must be three numbers"),
        (
            {"stages": [StageConfig(1, 7, (6, 4, 8), (3, 5, 0))]},
            "shift of stage 0 in y must not exceed the window, got 5 and 4",
        ),
        (
            {"stages": [StageConfig(1, 7, (6, 4, 8), (3, 2, 0), first_shift=(7, 0, 0))]},
            "first_shift of stage 0 in x must not exceed the window, got 7 and 6",
        ),
        ({"stages": [replace(STAGES[0], heads=3)]}, "heads of stage 0 must divide channels, got 3 and 16"),
        ({"stages": [replace(STAGES[0], feedforward=0)]}, "feedforward of stage 0 must be positive, got 0"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        DSVTBackbone(**{"grid": (32, 16, 8), "stages": STAGES, "channels": 16, "heads": 4} | options)
