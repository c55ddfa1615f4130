"""Hash tables of cells, and the tables of sparse convolutions that are found with them, against the definition."""

from __future__ import annotations

import pytest
import torch
from sparse_grids import SHAPE, make_coords
from triton_device import OnDevice

from geo3d.ops.cuda import hash_table as triton_hash_table
from geo3d.ops.cuda import sparse_conv as triton_sparse_conv
from geo3d.ops.reference import sparse_conv as reference

cuda_table, cuda = OnDevice(triton_hash_table), OnDevice(triton_sparse_conv)

KEYS = {
    "none": torch.zeros(0, dtype=torch.int64),
    "one": torch.tensor([7]),
    "in a row": torch.arange(700),
    "far apart": torch.arange(300) * 2**40 + 5,
    "by powers of two": 2 ** torch.arange(62),
    "some left out": torch.where(torch.arange(500) % 3 == 0, -1, torch.arange(500)),
}


@pytest.mark.parametrize("name", KEYS)
def test_every_key_is_there_once_with_its_row(name):
    keys = KEYS[name]
    slots, rows = cuda_table.hash_table(keys)
    taken = (slots >= 0).nonzero()[:, 0]
    assert torch.equal(slots[taken].sort().values, keys[keys >= 0].sort().values)
    assert torch.equal(keys[rows[taken].long()], slots[taken])
    assert len(slots) - triton_hash_table.BLOCK >= 2 * len(keys)


def test_keys_in_a_row_are_spread_out(monkeypatch):
    """A search goes through few slots: no long runs of taken ones."""
    slots, _ = cuda_table.hash_table(torch.arange(4000) * 40)
    gaps = (slots[: -triton_hash_table.BLOCK] < 0).nonzero()[:, 0].diff()
    assert gaps.max() < 60


def test_a_table_that_is_nearly_full_still_finds_all(monkeypatch):
    """Probing goes round the end of the table and past many taken slots."""
    keys = torch.randperm(10_000)[:256] * 64
    monkeypatch.setattr(triton_hash_table.triton, "next_power_of_2", lambda least: 256)
    slots, rows = cuda_table.hash_table(keys)
    assert (slots[:256] >= 0).all() and torch.equal(keys[rows[:256].long()], slots[:256])


@pytest.mark.parametrize(
    ("kernel", "dilation"), [((3, 3, 3), (1, 1, 1)), ((1, 3, 5), (2, 1, 1)), ((1, 1, 1), (1, 1, 1))], ids=str
)
@pytest.mark.parametrize("unused", [0, 4])
@pytest.mark.parametrize("name", ["no_voxels", "one_voxel", "many", "full"])
def test_submanifold_tables_equal_the_definition(name, unused, kernel, dilation):
    coords = make_coords(name)
    coords = torch.cat([coords, coords.new_full((unused, 4), -1)])[torch.randperm(len(coords) + unused)]
    padding = [d * (k // 2) for d, k in zip(dilation, kernel, strict=True)]
    back = [-d for d in dilation]
    expected = reference.sparse_conv_tables(coords, coords, list(SHAPE), list(kernel), [1] * 3, [1] * 3, padding, back)
    for actual, wanted in zip(
        cuda.submanifold_tables(coords, list(SHAPE), list(kernel), list(dilation)), expected, strict=True
    ):
        assert torch.equal(actual, wanted)


def test_registration():
    torch.library.opcheck(torch.ops.geo3d.submanifold_tables, (make_coords("many"), SHAPE, (3, 3, 1), (1, 1, 1)))
