"""Accuracies from a confusion matrix, worked out by hand."""

import torch

from geo3d.metrics.classification import class_accuracy, overall_accuracy


def test_accuracies():
    confusion = torch.tensor([[8, 2, 0], [1, 1, 0], [0, 0, 0]])  # the third class never occurs
    assert overall_accuracy(confusion) == 9 / 12
    torch.testing.assert_close(class_accuracy(confusion), torch.tensor((0.8 + 0.5) / 2))


def test_nothing_seen():
    assert overall_accuracy(torch.zeros(3, 3, dtype=torch.int64)) == 0
    assert class_accuracy(torch.zeros(3, 3, dtype=torch.int64)) == 0
