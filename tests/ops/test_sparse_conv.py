"""Sparse convolution: against torch on the dense grid, every implementation against the definition, gradients, spconv."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from sparse_grids import BATCH, CASES, SHAPE, dense, integers, make_coords, make_weight, reversed_axes, sampled
from triton_device import NO_GPU, NO_GPU_REASON, OnDevice

from geo3d.ops.cpu import sparse_conv as cpu
from geo3d.ops.cuda import sparse_conv as triton_sparse_conv
from geo3d.ops.reference import sparse_conv as reference
from geo3d.ops.sparse_conv import (
    SparseTensor,
    sparse_conv3d,
    sparse_conv_plan,
    sparse_conv_transpose_plan,
    submanifold_conv_plan,
)

cuda = OnDevice(triton_sparse_conv)

GEOMETRIES = {  # of sparse_conv_plan
    "plain": {"kernel_size": 3},
    "strided": {"kernel_size": 3, "stride": 2, "padding": 1},
    "one_cell": {"kernel_size": 1, "stride": (2, 1, 3)},
    "by_axis": {"kernel_size": (3, 2, 1), "stride": (1, 2, 3), "padding": (0, 1, 2), "dilation": (2, 3, 1)},
}
EXACT = {"rtol": 0, "atol": 0}
IMPLEMENTATIONS = {
    "cpu": (cpu.sparse_conv_tables, cpu.sparse_conv, cpu.sparse_conv_weight_grad),
    "triton": (cuda.sparse_conv_tables, cuda.sparse_conv, cuda.sparse_conv_weight_grad),
}


@pytest.fixture(params=CASES)
def coords(request):
    return make_coords(request.param)


@pytest.mark.parametrize(("kernel", "dilation"), [(3, 1), ((5, 1, 3), (1, 2, 2)), (1, 1)])
def test_submanifold_equals_dense(coords, kernel, dilation):
    features, bias, weight = integers(len(coords), 4), integers(5), make_weight(5, 4, kernel)
    plan = submanifold_conv_plan(coords, SHAPE, kernel, dilation)
    kernel, dilation = plan.kernel_size[::-1], (dilation,) * 3 if isinstance(dilation, int) else dilation[::-1]
    padding = [d * (k // 2) for d, k in zip(dilation, kernel, strict=True)]
    grid = F.conv3d(dense(features, coords), weight.permute(0, 4, 1, 2, 3), bias, padding=padding, dilation=dilation)
    torch.testing.assert_close(sparse_conv3d(features, weight, plan, bias), sampled(grid, coords), **EXACT)
    assert torch.equal(plan.coords, coords) and plan.spatial_shape == SHAPE


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
def test_strided_and_its_inverse_equal_dense(coords, geometry):
    features, weight = integers(len(coords), 4), make_weight(5, 4, geometry["kernel_size"])
    plan = sparse_conv_plan(coords, SHAPE, **geometry)
    result = sparse_conv3d(features, weight, plan)
    grid = F.conv3d(dense(features, coords), weight.permute(0, 4, 1, 2, 3), **reversed_axes(geometry))
    torch.testing.assert_close(dense(result, plan.coords, plan.spatial_shape), grid, **EXACT)
    ones = torch.ones(1, 1, *plan.kernel_size[::-1])
    reached = F.conv3d(dense(torch.ones(len(coords), 1), coords), ones, **reversed_axes(geometry))
    assert len(plan.coords) == int((reached > 0).sum())
    back, back_weight = plan.inverse(), make_weight(2, 5, geometry["kernel_size"])
    smallest = sparse_conv_transpose_plan(plan.coords, plan.spatial_shape, **geometry).spatial_shape
    rest = [want - have for want, have in zip(SHAPE[::-1], smallest[::-1], strict=True)]
    grid = F.conv_transpose3d(grid, back_weight.permute(4, 0, 1, 2, 3), output_padding=rest, **reversed_axes(geometry))
    torch.testing.assert_close(sparse_conv3d(result, back_weight, back), sampled(grid, coords), **EXACT)
    assert back.spatial_shape == SHAPE and torch.equal(back.coords, coords)


@pytest.mark.parametrize(
    "geometry",
    [
        {"kernel_size": 2, "stride": 2},
        {"kernel_size": (3, 2, 1), "stride": (2, 1, 3), "padding": (1, 0, 0), "output_padding": (1, 0, 2)},
        {"kernel_size": 3, "padding": 1, "dilation": 2},
    ],
    ids=["upsampling", "by_axis", "dilated"],
)
def test_transposed_equals_dense(coords, geometry):
    features, weight = integers(len(coords), 4), make_weight(5, 4, geometry["kernel_size"])
    plan = sparse_conv_transpose_plan(coords, SHAPE, **geometry)
    grid = F.conv_transpose3d(dense(features, coords), weight.permute(4, 0, 1, 2, 3), **reversed_axes(geometry))
    result = sparse_conv3d(features, weight, plan)
    torch.testing.assert_close(dense(result, plan.coords, plan.spatial_shape), grid, **EXACT)


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
@pytest.mark.parametrize("geometry", ["submanifold", "strided", "by_axis"])
def test_tables_equal_reference(name, geometry, coords):
    one = (1, 1, 1)
    if geometry == "submanifold":
        out_coords, arguments = coords, (SHAPE, (3, 3, 3), one, one, one, (-1, -1, -1))
    elif geometry == "strided":
        arguments = ((4, 3, 3), (3, 3, 3), one, (2, 2, 2), one, (-1, -1, -1))
        out_coords = reference.sparse_conv_cells(coords, *arguments)
    else:
        arguments = ((15, 4, 8), (3, 2, 1), (2, 1, 1), (1, 1, 1), (-1, 0, 2), (2, -1, 1))
        out_coords = reference.sparse_conv_cells(coords, *arguments).flip(0).contiguous()
        cells = (cpu if name == "cpu" else cuda).sparse_conv_cells(coords, *map(list, arguments))
        assert torch.equal(cells, out_coords.flip(0))
    tables = IMPLEMENTATIONS[name][0](coords, out_coords, *map(list, arguments))
    torch.testing.assert_close(tables, reference.sparse_conv_tables(coords, out_coords, *map(list, arguments)), **EXACT)
    sources, targets = tables
    k, row = (sources >= 0).nonzero(as_tuple=True)
    assert torch.equal(targets[k, sources[k, row].long()].long(), row) and len(row) == (targets >= 0).sum()


@pytest.mark.parametrize("channels", [(1, 1), (4, 16), (20, 33), (64, 70)], ids=str)
@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_products_equal_reference(name, channels):
    """Channels below, at and above the sides of a tile; outputs without inputs; rows that do not fill a block."""
    _, convolve, weight_grad = IMPLEMENTATIONS[name]
    sources = torch.where(torch.rand(4, 71) < 0.6, -1, torch.randint(0, 30, (4, 71))).int()
    sources[:, 3], sources[2] = -1, -1
    features, weight, bias = integers(30, channels[0]), integers(4, *channels), integers(channels[1])
    for added in (None, bias):
        expected = reference.sparse_conv(features, weight, added, sources)
        torch.testing.assert_close(convolve(features, weight, added, sources), expected, **EXACT)
    grad = integers(71, channels[1])
    expected = reference.sparse_conv_weight_grad(features, grad, sources)
    torch.testing.assert_close(weight_grad(features, grad, sources), expected, **EXACT)


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
@pytest.mark.parametrize("sizes", [(0, 5), (5, 0), (0, 0)], ids=str)
def test_products_without_rows(name, sizes):
    _, convolve, weight_grad = IMPLEMENTATIONS[name]
    inputs, outputs = sizes
    sources = torch.full((3, outputs), -1, dtype=torch.int32)
    result = convolve(torch.rand(inputs, 2), torch.rand(3, 2, 4), torch.arange(4.0), sources)
    torch.testing.assert_close(result, torch.arange(4.0).expand(outputs, 4), **EXACT)
    total = weight_grad(torch.rand(inputs, 2), torch.rand(outputs, 4), sources)
    torch.testing.assert_close(total, torch.zeros(3, 2, 4), **EXACT)


@pytest.mark.parametrize(  # Triton's interpreter multiplies the bits of bfloat16 as integers
    ("name", "dtype"), [("cpu", torch.float16), ("cpu", torch.bfloat16), ("triton", torch.float16)], ids=str
)
def test_half_precision_is_summed_in_float32(name, dtype):
    _, convolve, weight_grad = IMPLEMENTATIONS[name]
    sources = torch.randint(-1, 40, (5, 50)).int()
    features, weight, grad = torch.randn(40, 20).to(dtype), torch.randn(5, 20, 6).to(dtype), torch.randn(50, 6).to(dtype)
    # one rounding to half at the end, after a float32 sum in another order
    near = {"rtol": torch.finfo(dtype).eps, "atol": 1e-5}
    expected = reference.sparse_conv(features.float(), weight.float(), None, sources).to(dtype)
    torch.testing.assert_close(convolve(features, weight, None, sources), expected, **near)
    expected = reference.sparse_conv_weight_grad(features.float(), grad.float(), sources).to(dtype)
    torch.testing.assert_close(weight_grad(features, grad, sources), expected, **near)


def test_gradients():
    coords, kernel = make_coords("few"), (3, 1, 3)
    features = torch.rand(len(coords), 2, dtype=torch.float64, requires_grad=True)
    weight = torch.rand(3, 3, 1, 3, 2, dtype=torch.float64, requires_grad=True)
    bias = torch.rand(3, dtype=torch.float64, requires_grad=True)
    strided = sparse_conv_plan(coords, SHAPE, kernel, 2, 1)
    for plan in (submanifold_conv_plan(coords, SHAPE, kernel), strided):
        assert torch.autograd.gradcheck(lambda f, w, b, plan=plan: sparse_conv3d(f, w, plan, b), (features, weight, bias))
    assert torch.autograd.gradgradcheck(lambda f, w: sparse_conv3d(f, w, strided).square().sum(), (features, weight))


@pytest.mark.parametrize("name", CASES)
def test_gradients_equal_those_of_the_dense_convolution(name):
    coords = make_coords(name)
    features, weight, bias = integers(len(coords), 4), make_weight(5, 4, 3), integers(5)
    plan = sparse_conv_plan(coords, SHAPE, 3, 2, 1)
    scale, gradients = integers(len(plan.coords), 5), []
    for function in (
        lambda f, w, b: sparse_conv3d(f, w, plan, b),
        lambda f, w, b: sampled(F.conv3d(dense(f, coords), w.permute(0, 4, 1, 2, 3), b, stride=2, padding=1), plan.coords),
    ):
        leaves = [value.clone().requires_grad_() for value in (features, weight, bias)]
        (function(*leaves) * scale).sum().backward()
        gradients.append([leaf.grad for leaf in leaves])
    torch.testing.assert_close(*gradients, **EXACT)


def test_plan_is_shared_and_rows_follow_the_order_of_the_inputs():
    coords = make_coords("many")
    features, weight = integers(len(coords), 3), make_weight(3, 3, 3)
    order = torch.randperm(len(coords))
    plan, shuffled = submanifold_conv_plan(coords, SHAPE), submanifold_conv_plan(coords[order], SHAPE)
    twice = sparse_conv3d(sparse_conv3d(features, weight, plan), weight, plan)
    again = sparse_conv3d(sparse_conv3d(features[order], weight, shuffled), weight, shuffled)
    torch.testing.assert_close(again, twice[order], **EXACT)
    strided, other = sparse_conv_plan(coords, SHAPE, 3, 2), sparse_conv_plan(coords[order], SHAPE, 3, 2)
    assert torch.equal(strided.coords, other.coords)
    batch, z, y, x = strided.coords.long().unbind(1)
    assert bool((((batch * 100 + x) * 100 + y) * 100 + z).diff().gt(0).all())


def test_result_does_not_depend_on_the_threads():
    sources = torch.where(torch.rand(27, 5000) < 0.8, -1, torch.randint(0, 4000, (27, 5000))).int()
    features, weight, grad = torch.randn(4000, 20), torch.randn(27, 20, 24), torch.randn(5000, 24)
    coords = torch.nonzero(torch.rand(1, 20, 30, 40) < 0.5).int()

    def results():
        plan = sparse_conv_plan(coords, (40, 30, 20), 3, 2, 1)
        products = cpu.sparse_conv(features, weight, None, sources), cpu.sparse_conv_weight_grad(features, grad, sources)
        return plan.coords, plan.sources, plan.targets, *products

    both = results()
    torch.set_num_threads(1)
    try:
        one = results()
    finally:
        torch.set_num_threads(2)
    torch.testing.assert_close(both, one, **EXACT)


def test_many_rows_equal_reference():
    sources = torch.where(torch.rand(3, 5000) < 0.8, -1, torch.randint(0, 4000, (3, 5000))).int()
    features, weight, grad = integers(4000, 20), integers(3, 20, 24), integers(5000, 24)
    expected = reference.sparse_conv(features, weight, None, sources)
    torch.testing.assert_close(cpu.sparse_conv(features, weight, None, sources), expected, **EXACT)
    expected = reference.sparse_conv_weight_grad(features, grad, sources)
    torch.testing.assert_close(cpu.sparse_conv_weight_grad(features, grad, sources), expected, **EXACT)


def test_strides_int64_and_sparse_tensor():
    coords = make_coords("many")
    features, weight = (
        integers(6, len(coords)).T,
        make_weight(4, 6, 3).permute(4, 1, 2, 3, 0).contiguous().permute(4, 1, 2, 3, 0),
    )
    wide = torch.cat([coords, coords], 1).long()[:, :4]
    assert not features.is_contiguous() and not weight.is_contiguous() and not wide.is_contiguous()
    plan = sparse_conv_plan(wide, list(SHAPE), (3, 3, 3), [2, 2, 2])
    assert plan.coords.dtype == torch.int64 and sparse_conv_plan(coords, SHAPE, 3, 2).coords.dtype == torch.int32
    expected = sparse_conv3d(features.contiguous(), weight.contiguous(), sparse_conv_plan(coords, SHAPE, 3, 2))
    torch.testing.assert_close(sparse_conv3d(features, weight, plan), expected, **EXACT)
    tensor = sparse_conv3d(SparseTensor(features, coords, SHAPE, BATCH), weight, plan)
    assert tensor.spatial_shape == (3, 2, 2) and tensor.batch_size == BATCH and tensor.dense().shape == (BATCH, 4, 2, 2, 3)
    torch.testing.assert_close(tensor.features, expected, **EXACT)


def test_dense_is_differentiable_and_keeps_empty_entries():
    coords = torch.tensor([[2, 1, 0, 3]], dtype=torch.int32)
    features = torch.tensor([[5.0, 7]], requires_grad=True)
    grid = SparseTensor(features, coords, (4, 1, 2), 3).dense()
    assert grid.shape == (3, 2, 2, 1, 4) and grid[2, :, 1, 0, 3].tolist() == [5, 7] and grid.sum() == 12
    (grid * 3).sum().backward()
    assert features.grad.tolist() == [[3, 3]]


def test_autocast_computes_in_its_dtype():
    coords = make_coords("many")
    plan, features, weight = submanifold_conv_plan(coords, SHAPE), torch.rand(len(coords), 3), torch.rand(4, 3, 3, 3, 3)
    leaf, halves = weight.clone().requires_grad_(), (features.bfloat16(), weight.bfloat16())
    with torch.autocast("cpu", torch.bfloat16):
        result = sparse_conv3d(features, leaf, plan, torch.rand(4) * 0)
    torch.testing.assert_close(result, sparse_conv3d(*halves, plan), **EXACT)
    result.sum().backward()
    assert result.dtype == torch.bfloat16 and leaf.grad.dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert sparse_conv3d(features.double(), weight.double(), plan).dtype == torch.float64


def test_registration():
    coords = make_coords("few")
    arguments = ((4, 3, 3), (3, 3, 3), (1, 1, 1), (2, 2, 2), (1, 1, 1), (-1, -1, -1))
    out_coords = torch.ops.geo3d.sparse_conv_cells(coords, *arguments)
    tables = torch.ops.geo3d.sparse_conv_tables(coords, out_coords, *arguments)
    torch.library.opcheck(torch.ops.geo3d.sparse_conv_cells, (coords, *arguments))
    torch.library.opcheck(torch.ops.geo3d.sparse_conv_tables, (coords, out_coords, *arguments))
    features, grad = torch.rand(len(coords), 2, requires_grad=True), torch.rand(len(out_coords), 3, requires_grad=True)
    weight, bias = torch.rand(27, 2, 3, requires_grad=True), torch.rand(3, requires_grad=True)
    torch.library.opcheck(torch.ops.geo3d.sparse_conv, (features, weight, bias, *tables))
    torch.library.opcheck(torch.ops.geo3d.sparse_conv, (features, weight, None, *tables))
    torch.library.opcheck(torch.ops.geo3d.sparse_conv_weight_grad, (features, grad, *tables))


def test_compiles_in_one_graph():
    def function(coords, features, weight):
        same, down = submanifold_conv_plan(coords, SHAPE), sparse_conv_plan(coords, SHAPE, 3, 2, 1)
        features = sparse_conv3d(sparse_conv3d(features, weight, same), weight, down)
        return sparse_conv3d(features, weight, down.inverse())

    coords, weight = make_coords("many"), make_weight(3, 3, 3)
    features, gradients = integers(len(coords), 3), []
    with torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True):
        for call in (torch.compile(function, fullgraph=True, backend="aot_eager"), function):
            leaf = weight.clone().requires_grad_()
            result = call(coords, features, leaf)
            result.sum().backward()
            gradients.append((result.detach(), leaf.grad))
    torch.testing.assert_close(*gradients)


@pytest.mark.gpu
@pytest.mark.skipif(NO_GPU, reason=NO_GPU_REASON)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16], ids=str)
def test_cuda_equals_cpu(dtype, coords):
    features, weight, bias, results = (
        integers(len(coords), 20, dtype=dtype),
        make_weight(33, 20, 3, dtype),
        integers(33, dtype=dtype),
        [],
    )
    for device in ("cpu", "cuda"):
        leaves = [value.to(device).detach().requires_grad_() for value in (features, weight, bias)]
        plan = sparse_conv_plan(coords.to(device), SHAPE, 3, 2, 1)
        result = sparse_conv3d(leaves[0], leaves[1], plan, leaves[2])
        result.sum().backward()
        results.append(
            [plan.coords.cpu(), plan.sources.cpu(), plan.targets.cpu(), result.cpu(), *(leaf.grad.cpu() for leaf in leaves)]
        )
    torch.testing.assert_close(*results, **EXACT)
