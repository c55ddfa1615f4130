"""LRGT: what it promises of views, groups, clusters and sizes; gradients, errors, weights of timm's transformers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import geo3d.configs
from geo3d.models.lrgt import LRGT, LongRangeGroupingAttention, density_peaks, dice_loss, load_deit
from geo3d.models.lrgt import clusters as module
from geo3d.models.lrgt.attention import attend
from geo3d.models.lrgt.merger import MergerBlock
from geo3d.zoo import network_tensors
from geo3d.zoo.configurations import info_of_config
from geo3d.zoo.weights import fill

SMALL = {
    "image_size": 32,
    "patch_size": 8,
    "channels": 24,
    "depth": 4,
    "heads": 4,
    "grouping_blocks": (1, 3),
    "groups": 2,
    "merged_tokens": (16, 16),
    "neighbors": 5,
    "decoder_widths": (8, 4, 2),
}


def network(**options) -> LRGT:
    """A small network whose layers all have a say: the published start makes the queries alike."""
    net = LRGT(**(SMALL | options))
    for name, parameter in net.named_parameters():
        if parameter.ndim > 1 and "queries" not in name:
            nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    return net.eval()


def images(batch: int = 2, views: int = 3, size: int = 32) -> torch.Tensor:
    return torch.rand(batch, views, 3, size, size) * 2 - 1


@pytest.mark.parametrize("views", [1, 2, 7, 24])
def test_contract(views):
    """Shape, range, a gradient in every parameter, state dict round trip, for any number of views."""
    net, x = network().train(), images(2, views)
    occupancy = net(x)
    assert occupancy.shape == (2, 32, 32, 32) and occupancy.dtype == torch.float32
    assert occupancy.min() >= 0 and occupancy.max() <= 1 and occupancy.std() > 1e-3
    dice_loss(occupancy, torch.rand(2, 32, 32, 32).round()).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        if not name.endswith("score.bias"):  # it shifts the scores of all keys alike, and those of all members of a cluster
            assert parameter.grad.abs().max() > 0, name
    twin = network()
    twin.load_state_dict(net.state_dict())
    assert torch.equal(twin(x), net.eval()(x))


@torch.no_grad()
def test_order_of_the_views_does_not_matter():
    net, x = network(), images(2, 5)
    torch.testing.assert_close(net(x[:, [3, 0, 4, 2, 1]]), net(x), rtol=0, atol=1e-5)


@torch.no_grad()
def test_samples_do_not_see_each_other():
    net, x = network(), images(3, 4)
    for sample, expected in zip(x, net(x), strict=True):
        torch.testing.assert_close(net(sample[None])[0], expected, rtol=0, atol=1e-5)


@torch.no_grad()
def test_views_see_each_other_in_grouping_blocks_only():
    x = images(1, 3)
    changed = torch.cat([x[:, :2], images(1, 1)], 1)
    plain, grouping = network(grouping_blocks=()).encoder, network().encoder
    assert torch.equal(plain(x)[:, :2], plain(changed)[:, :2])
    assert (grouping(x)[:, :2] - grouping(changed)[:, :2]).abs().amax((0, 2, 3)).min() > 1e-3


@torch.no_grad()
def test_grouping_attention_is_attention_masked_to_groups():
    """By the definition: softmax over the tokens of all views whose row and column leave the same remainders."""
    side, groups, views, heads, channels = 6, 3, 2, 2, 8
    attention = LongRangeGroupingAttention(channels, heads, True, groups).double()
    nn.init.zeros_(attention.signature.weight)
    nn.init.zeros_(attention.signature.bias)
    x = torch.randn(2 * views, side * side, channels, dtype=torch.float64)
    places = torch.arange(side * side)
    group = ((places // side) % groups * groups + (places % side) % groups).repeat(views)
    for sample in range(2):
        tokens = x[sample * views : (sample + 1) * views].flatten(0, 1)
        query, key, value = (
            layer(tokens).view(-1, heads, channels // heads).transpose(0, 1)
            for layer in (attention.query, attention.key, attention.value)
        )
        scores = query @ key.transpose(1, 2) * (channels // heads) ** -0.5
        weights = scores.masked_fill(group[:, None] != group, -torch.inf).softmax(-1)
        expected = attention.project((weights @ value).transpose(0, 1).flatten(1)).view(views, side * side, channels)
        torch.testing.assert_close(attention(x, views)[sample * views : (sample + 1) * views], expected)


def plain_peaks(tokens: torch.Tensor, count: int, k: int):
    """The definition for one sample [N, C], token by token."""
    n, channels = tokens.shape
    squared = (tokens[:, None] - tokens).double().square().sum(-1) / channels
    distance = squared.sqrt()
    density = [torch.exp(-row.sort().values[:k].mean()).float() for row in squared]
    separation = []
    for i in range(n):
        denser = [j for j in range(n) if density[j] > density[i] or (density[j] == density[i] and j < i)]
        separation.append(min((distance[i, j] for j in denser), default=distance.max()).float())
    centers = sorted(range(n), key=lambda i: (-density[i] * separation[i]).item())[:count]  # stable
    members = [min(range(count), key=lambda c: distance[i, centers[c]].item()) for i in range(n)]
    for c, i in enumerate(centers):
        members[i] = c
    return torch.stack(density), torch.stack(separation), torch.tensor(centers), torch.tensor(members)


CLOUDS = {
    "random": torch.rand(2, 40, 6),
    "grid_with_ties": torch.randint(0, 3, (2, 40, 3)).float(),
    "all_the_same": torch.ones(1, 9, 4),
    "as_many_as_clusters": torch.rand(1, 7, 4),
    "fewer_than_neighbors": torch.rand(1, 8, 4),
}


@pytest.mark.parametrize("with_bias", [False, True], ids=["plain", "bias"])
def test_attention_that_trains_in_bfloat16(with_bias):
    """On a CPU it takes explicit products: values and gradients are those of the definition in float64, to bfloat16's 3 digits."""
    parts = [torch.randn(2, 3, n, 8, dtype=torch.bfloat16, requires_grad=True) for n in (5, 7, 7)]
    bias = torch.randn(2, 1, 1, 7, dtype=torch.bfloat16) if with_bias else None
    exact = [part.detach().double().requires_grad_() for part in parts]
    seed = torch.randn(2, 3, 5, 8, dtype=torch.bfloat16)
    mixed = attend(*parts, bias)
    wanted = nn.functional.scaled_dot_product_attention(*exact, None if bias is None else bias.double())
    assert mixed.dtype == torch.bfloat16
    torch.testing.assert_close(mixed.double(), wanted, rtol=0.02, atol=0.02)
    (mixed * seed).sum().backward()
    (wanted * seed.double()).sum().backward()
    for part, reference in zip(parts, exact, strict=True):
        torch.testing.assert_close(part.grad.double(), reference.grad, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("in_pieces", [False, True])
@pytest.mark.parametrize("name", CLOUDS)
def test_density_peaks_equal_the_definition(name, in_pieces, monkeypatch):
    if in_pieces:
        monkeypatch.setattr(module, "MAX_PIECE", 170)
        monkeypatch.setattr(module, "MAX_WHOLE", 0)
    tokens = CLOUDS[name]
    found = density_peaks(tokens, 7, 15)
    for i, sample in enumerate(tokens):
        density, separation, centers, members = plain_peaks(sample, 7, 15)
        torch.testing.assert_close(found.density[i], density)
        torch.testing.assert_close(found.separation[i], separation)
        assert torch.equal(found.centers[i], centers) and torch.equal(found.members[i], members)


def test_a_repeated_view_gives_no_second_center():
    """Of equal tokens the first is denser, so that its copies are no centres while others are left."""
    tokens = torch.rand(1, 30, 16)
    twice = torch.cat([tokens, tokens], 1)
    found = density_peaks(twice, 12, 5)
    assert (found.centers < 30).all()
    assert torch.equal(found.members[:, :30], found.members[:, 30:])


@torch.no_grad()
@pytest.mark.parametrize("scale", [1.0, 300.0], ids=["small_scores", "scores_beyond_exp"])
def test_merged_tokens_are_weighted_means(scale):
    block = MergerBlock(6, 8, 4, 2)
    x, score = torch.randn(2, 20, 8), torch.randn(2, 20) * scale
    members = density_peaks(x, 6, 4).members
    merged = block.merge(x, score)
    for sample in range(2):
        for cluster in range(6):
            own = members[sample] == cluster
            weight = score[sample, own].double().exp()
            expected = (weight / (weight.sum() + 1e-6)) @ x[sample, own].double()
            torch.testing.assert_close(merged[sample, cluster], expected.float())


def test_gradient_of_the_merge():
    block = MergerBlock(4, 3, 3, 1).double()
    x = torch.randn(2, 9, 3, dtype=torch.float64, requires_grad=True)
    score = torch.randn(2, 9, dtype=torch.float64, requires_grad=True)
    fixed = density_peaks(
        x, 4, 3
    ).members  # the clusters are without gradient; a step that moves a token across is no derivative

    def merge(x, score):
        found = density_peaks(x, 4, 3)
        assert torch.equal(found.members, fixed)
        return block.merge(x, score)

    assert torch.autograd.gradcheck(merge, (x, score))


@pytest.mark.parametrize(
    ("options", "side"),
    [
        ({"decoder_widths": (8, 4, 2, 1)}, 64),
        ({"query_side": 8}, 64),
        ({"decoder_widths": (8,), "query_side": 4}, 8),
        ({"image_size": 48, "groups": 3, "merged_tokens": (9,)}, 32),
    ],
)
@torch.no_grad()
def test_sizes_come_from_the_arguments(options, side):
    net = network(**options)
    assert net.voxel_side == side
    assert net(images(1, 2, net.image_size)).shape == (1, side, side, side)


def test_tokens_of_a_stem():
    """A network of timm up to the map with a cell a patch; it gets R, G, B, as its ImageNet weights expect."""
    net = network(image_size=64, patch_size=16, stem="tf_efficientnet_lite0")
    x = images(1, 2, 64)
    stem = net.encoder.patches
    expected = stem.project(stem.network(x[0][:, [2, 1, 0]])[-1])
    torch.testing.assert_close(stem(x[0]), expected)
    assert expected.shape == (2, 24, 4, 4) and net(x).shape == (1, 32, 32, 32)
    assert len(stem.network.blocks) == 5  # the last two have coarser maps
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(stem(x[0]).float(), expected, rtol=0.05, atol=0.05)


def test_start_by_fan_in():
    """Every linear layer keeps the variance of its input, so that attention is not even at the start."""
    net = LRGT(**(SMALL | {"channels": 96}), fan_in_init=True)
    for name, layer in net.named_modules():
        if isinstance(layer, nn.Linear) and layer.weight.numel() > 5_000:
            assert layer.weight.detach().std() * layer.in_features**0.5 == pytest.approx(1, abs=0.05), name


def test_published_sizes():
    net = LRGT()
    counts = {part: sum(p.numel() for p in getattr(net, part).parameters()) for part in ("encoder", "merger", "decoder")}
    # the released encoder holds 64,512 numbers more that nothing reads
    assert counts == {"encoder": 85_892_352 - 64_512, "merger": 14_172_674, "decoder": 29_798_625}


def test_half_precision_gives_the_same_clusters():
    tokens = torch.rand(1, 60, 16)
    with torch.autocast("cpu", torch.bfloat16):
        half = density_peaks(tokens, 10, 5)
        assert network()(images(1, 2)).dtype == torch.float32
    assert torch.equal(half.members, density_peaks(tokens, 10, 5).members)


def test_dice_loss():
    target = torch.zeros(2, 4, 4, 4)
    target[:, :2] = 1  # 32 voxels
    assert dice_loss(target, target).item() == pytest.approx(1 - 33 / 65)
    assert dice_loss(target, target, corrected=True).item() == pytest.approx(0, abs=1e-7)
    assert dice_loss(torch.zeros_like(target), target).item() == pytest.approx(1 - 1 / 33)
    with pytest.raises(ValueError, match=r"target must be \[2, 4, 4, 4\]"):
        dice_loss(target, target[0])


@torch.no_grad()
def test_weights_of_a_transformer_of_timm():
    """Block by block, as timm has extra tokens."""
    import timm

    deit = timm.create_model("deit_tiny_distilled_patch16_224").eval()
    torch.manual_seed(0)
    net = LRGT(channels=192, heads=3, decoder_heads=12, grouping_blocks=(11,)).encoder.eval()
    before = net.blocks[11].attention.signature.weight.clone()
    torch.manual_seed(3)
    load_deit(net, "deit_tiny_distilled_patch16_224", pretrained=False)
    torch.manual_seed(3)
    deit = timm.create_model("deit_tiny_distilled_patch16_224", pretrained=False).eval()
    x = images(1, 1, 224)[0]
    patches = deit.patch_embed(x) + deit.pos_embed[:, 2:]
    torch.testing.assert_close(net.patches(x).flatten(2).transpose(1, 2) + net.position, patches)
    torch.testing.assert_close(net.blocks[4](patches), deit.blocks[4](patches))
    assert torch.equal(net.blocks[11].attention.signature.weight, before)
    smaller = LRGT(image_size=128, groups=4, channels=192, heads=3, decoder_heads=12).encoder
    load_deit(smaller, "deit_tiny_distilled_patch16_224", pretrained=False)
    assert smaller.position.shape == (1, 64, 192) and smaller.position.std() > 1e-3


def test_weights_that_do_not_fit():
    encoder = network().encoder
    with pytest.raises(ValueError, match="model of timm, such as deit_base"):
        load_deit(encoder, "deit_of_nobody")
    with pytest.raises(ValueError, match=r"deit_tiny_patch16_224 does not fit .* is \[192\] there and \[24\] here"):
        load_deit(encoder, "deit_tiny_patch16_224", pretrained=False)


def test_released_checkpoint_is_recognised(tmp_path):
    """Three parts with a `module.` before every name, and tensors that nothing reads."""
    net = network(depth=12, grouping_blocks=(5, 7, 9, 11))
    state = net.state_dict()
    parts = {part: {} for part in ("encoder", "merger", "decoder")}
    from geo3d.zoo.lrgt import convert

    names = _official_names(12)
    for name in names:
        part = "encoder" if name.startswith("encoder.") else "merger" if name.startswith("blocks.") else "decoder"
        if name == "encoder.pos_embed":
            value = torch.cat([torch.zeros(1, 2, 24), state["encoder.position"]], 1)
        elif name in ("encoder.cls_token", "encoder.dist_token"):
            value = torch.zeros(1, 1, 24)
        else:
            ours = convert({name: torch.zeros(1)})
            value = state[next(iter(ours))] if ours else torch.zeros(24, 1, 3, 3)
        parts[part][f"module.{name}"] = value
    path = tmp_path / "checkpoint-best.pth"
    torch.save({"epoch_idx": 3, "best_iou": 0.7} | {f"{part}_state_dict": tensors for part, tensors in parts.items()}, path)
    loaded = network(depth=12, grouping_blocks=(5, 7, 9, 11))
    nn.init.zeros_(loaded.decoder.queries.weight)
    fill(loaded, network_tensors(path), path)
    assert all(torch.equal(tensor, state[name]) for name, tensor in loaded.state_dict().items())


def _official_names(depth: int) -> list[str]:
    both = ("weight", "bias")
    norm_mlp = [f"{layer}.{kind}" for layer in ("norm1", "norm2", "mlp.fc1", "mlp.fc2") for kind in both]
    attention = ["to_q.weight", "to_k.weight", "to_v.weight", "proj.weight", "proj.bias"]
    names = ["encoder.cls_token", "encoder.dist_token", "encoder.pos_embed", "layer_norm.weight", "layer_norm.bias"]
    names += [f"encoder.{layer}.{kind}" for layer in ("patch_embed.proj", "norm") for kind in both]
    for i in range(depth):
        layers = [*attention, "to_q.bias", "to_k.bias", "to_v.bias", "IFS.weight", "IFS.bias"]
        names += [f"encoder.blocks.{i}.{rest}" for rest in [*norm_mlp, *(f"attn.{layer}" for layer in layers)]]
    for i in range(2):
        scores = ["score_mlp.weight", "score_mlp.bias"]
        names += [f"blocks.{i}.{rest}" for rest in [*norm_mlp, *scores, *(f"attention_layer.{layer}" for layer in attention)]]
    query = [*norm_mlp, "norm3.weight", "norm3.bias", *(f"attn{i}.{layer}" for i in (1, 2) for layer in attention)]
    names += ["prepare.emb.weight", *(f"prepare.blocks.0.{rest}" for rest in query)]
    for stage in range(1, 5):
        rest = [*norm_mlp, *(f"attn.{layer}" for layer in attention)]
        names += [f"transformer_decoder.blocks{stage}.{i}.{name}" for i in range(2) for name in rest]
    for level in range(1, 4):
        statistics = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
        names += [f"transformer_decoder.upconv{level}.{rest}" for rest in ["0.weight", *(f"1.{name}" for name in statistics)]]
    return [*names, "transformer_decoder.upconv4.0.weight"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patch_size": 7}, "patch_size must divide image_size 32, got 7"),
        ({"groups": 3}, "groups must divide the 4 patches that 32 pixels give in a row, got 3"),
        ({"grouping_blocks": (4,)}, "grouping_blocks must be within 0 and 3, got 4"),
        ({"heads": 5}, "heads must divide the channels, got 5 heads for 24 channels"),
        ({"decoder_widths": (6, 4, 2)}, "got 4 heads for 6 channels"),
        ({"stem": "no_such_network"}, "network of timm, such as tf_efficientnet_lite0, got 'no_such_network'"),
        (
            {"stem": "tf_efficientnet_lite0", "image_size": 24, "patch_size": 6},
            "maps 6 times smaller, tf_efficientnet_lite0 has 2, 4, 8, 16, 32",
        ),
        ({"token_side": 12, "decoder_widths": (8, 4)}, "token_side must divide the grid of 16 cells a side, got 12"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        LRGT(**(SMALL | options))


@pytest.mark.parametrize("shape", [(1, 3, 32, 32), (1, 0, 3, 32, 32), (1, 2, 4, 32, 32), (1, 2, 3, 30, 32)])
def test_bad_images(shape):
    with pytest.raises(ValueError, match=r"must be \[B, V, 3, 32, 32\] floating point .* got \[" + ", ".join(map(str, shape))):
        network()(torch.rand(shape))


def test_more_clusters_than_tokens():
    with pytest.raises(ValueError, match="at least 7 tokens for as many clusters, got 5"):
        density_peaks(torch.rand(1, 5, 3), 7, 2)


def test_the_small_configuration_can_be_packaged():
    """At most 8 MB in half precision."""
    info = info_of_config(Path(geo3d.configs.__file__).parent / "lrgt" / "generated.yaml")
    with torch.device("meta"):
        small = LRGT(**info.arguments)
    assert sum(tensor.numel() for tensor in small.state_dict().values()) < 4_000_000
