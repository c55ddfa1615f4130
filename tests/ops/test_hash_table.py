"""Hash tables of cells: distinct keys, and the tables of sparse convolutions that are found with them, against the definition."""

from __future__ import annotations

import pytest
import torch
from sparse_grids import SHAPE, make_coords
from triton_device import OnDevice

from geo3d.ops.cuda import distinct as triton_distinct
from geo3d.ops.cuda import hash_table as triton_hash_table
from geo3d.ops.cuda import sparse_conv as triton_sparse_conv
from geo3d.ops.reference import sparse_conv as reference

cuda_table, cuda = OnDevice(triton_hash_table), OnDevice(triton_sparse_conv)
cuda_distinct = OnDevice(triton_distinct)

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
    assert len(slots) >= 2 * len(keys)


def test_keys_in_a_row_are_spread_out():
    """A search goes through few slots: no long runs of taken ones."""
    slots, _ = cuda_table.hash_table(torch.arange(4000) * 40)
    gaps = (slots < 0).nonzero()[:, 0].diff()
    assert gaps.max() < 60


def test_a_table_that_is_nearly_full_still_finds_all(monkeypatch):
    """Probing goes round the end of the table and past many taken slots."""
    keys = torch.randperm(10_000)[:256] * 64
    monkeypatch.setattr(triton_hash_table.triton, "next_power_of_2", lambda least: 256)
    slots, rows = cuda_table.hash_table(keys)
    assert len(slots) == 256 and torch.equal(keys[rows.long()], slots)


@pytest.mark.parametrize("limit", [1, 5, 300, 2**40, 2**63 - 1], ids=str)
@pytest.mark.parametrize("count", [0, 1, 1000])
def test_distinct_keys_equal_torchs(count, limit):
    keys = torch.randint(-1, limit, (count,))
    values, inverse, counts = cuda_distinct.distinct(keys, limit)
    inside = keys >= 0
    expected = torch.unique(keys[inside], return_inverse=True, return_counts=True)
    torch.testing.assert_close((values, inverse[inside], counts), expected, rtol=0, atol=0)
    assert bool((inverse[~inside] == -1).all())


def test_keys_beyond_the_limit_are_left_out():
    """There is no room for them in the table: the search would not end."""
    values, inverse, counts = cuda_distinct.distinct(torch.arange(400), 3)
    assert values.tolist() == [0, 1, 2] and counts.tolist() == [1, 1, 1]
    assert torch.equal(inverse, torch.where(torch.arange(400) < 3, torch.arange(400), -1))


def test_the_order_of_programs_leaves_nothing_in_the_result():
    """Keys in another order are put into other slots, found in another order, and get the same places."""
    keys = torch.randint(-1, 400, (3000,))
    values, inverse, counts = cuda_distinct.distinct(keys, 400)
    order = torch.randperm(3000)
    again = cuda_distinct.distinct(keys[order], 400)
    torch.testing.assert_close(again, (values, inverse[order], counts), rtol=0, atol=0)
    slots, slots_again = (triton_distinct.count_keys(each, 400).slots for each in (keys, keys[order]))
    assert not torch.equal(slots, slots_again)


def test_too_many_keys_are_told():
    with pytest.raises(ValueError, match="a hash table has at most 1073741824 keys, got 1073741825"):
        triton_hash_table.empty_slots(2**30 + 1, torch.device("cpu"))


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
