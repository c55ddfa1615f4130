"""Weight files: round trip, foreign files, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from point_clouds import oriented_cloud

import geo3d
from geo3d.models.risurconv import RISurConvClassifier
from geo3d.zoo import convert_official, names, network_tensors, weights_path
from geo3d.zoo.weights import WeightsInfo, build, fill, read_info, read_tensors, save_weights

ARGUMENTS = {
    "num_classes": 3,
    "centers": [64, 32],
    "neighbors": [8, 8],
    "channels": [16, 16, 32],
    "embedding": 16,
    "encoder_layers": 1,
    "encoder_heads": 2,
    "encoder_feedforward": 32,
    "head": [16],
}
INFO = WeightsInfo(
    network="geo3d.models.risurconv.RISurConvClassifier",
    arguments=ARGUMENTS,
    task="classification",
    labels={"class_names": ["a", "b", "c"]},
    preprocessing={"num_points": 128, "orient_normals": True},
    metrics={"test/accuracy": 0.5},
)


def test_round_trip(tmp_path):
    path = tmp_path / "net.safetensors"
    network = RISurConvClassifier(**ARGUMENTS).eval()
    save_weights(path, network, INFO)
    assert read_info(path) == INFO
    predictor = geo3d.load(path)
    cloud = oriented_cloud(200)[0].numpy()
    scores = predictor(cloud)
    assert scores.class_names == ("a", "b", "c")
    assert scores.points.shape == (128, 6)
    np.testing.assert_allclose(scores.probabilities.sum(), 1, rtol=1e-5)
    expected = network(torch.from_numpy(scores.points)[None]).exp()[0]
    np.testing.assert_allclose(scores.probabilities, expected.detach().numpy(), atol=2e-2)  # the file is in half precision
    assert [name for name, _ in scores.top(2)] == [scores.class_names[i] for i in np.argsort(-scores.probabilities)[:2]]


def test_vectors_keep_single_precision(tmp_path):
    from safetensors.torch import load_file

    save_weights(tmp_path / "net.safetensors", RISurConvClassifier(**ARGUMENTS), INFO)
    for name, tensor in load_file(tmp_path / "net.safetensors").items():
        if tensor.is_floating_point():
            assert tensor.dtype == (torch.float16 if tensor.ndim > 1 else torch.float32), name


def test_packaged_weights_are_small_and_say_where_they_come_from():
    assert set(names()) >= {"risurconv-shapes-classifier", "risurconv-shapes-parts"}
    total = 0
    for name in names():
        info, size = read_info(weights_path(name)), weights_path(name).stat().st_size
        assert size < 12e6, name
        assert info.training["command"].startswith("geo3d train") and "generate" in info.training["data"]
        assert any(key.startswith("test/") for key in info.metrics), name
        total += size
    assert total < 40e6


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected a .safetensors file"),
        (b"not weights at all, but long enough to be read", "expected a .safetensors file"),
    ],
)
def test_damaged_safetensors(tmp_path, content, message):
    path = tmp_path / "net.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        geo3d.load(path)


def test_safetensors_of_others(tmp_path):
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(2)}, tmp_path / "net.safetensors")
    with pytest.raises(ValueError, match="without its description"):
        geo3d.load(tmp_path / "net.safetensors")


def test_unknown_name_lists_the_packaged():
    with pytest.raises(FileNotFoundError, match="no weights nothing; .*risurconv-shapes-classifier"):
        geo3d.load("nothing")


def test_only_networks_of_geo3d_are_built():
    with pytest.raises(ValueError, match="not one of geo3d.models"):
        build(WeightsInfo("os.system", {"command": "true"}, "classification"))
    with pytest.raises(ValueError, match="does not build"):
        build(WeightsInfo("geo3d.models.risurconv.RISurConvClassifier", {"wings": 2}, "classification"))


def test_pickle_that_runs_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("ran",))

    path = tmp_path / "evil.pth"
    torch.save({"model_state_dict": Evil()}, path)
    with pytest.raises(ValueError, match=r"evil.pth: expected a checkpoint of tensors"):
        read_tensors(path)


def test_released_checkpoint_with_numpy_scalars(tmp_path):
    released = {"sc0.embedding.0.weight": torch.zeros(32, 14, 1, 1)}
    path = tmp_path / "best_model.pth"
    torch.save({"epoch": 3, "instance_acc": np.float64(0.9), "class_acc": np.float32(0.8), "model_state_dict": released}, path)
    assert list(network_tensors(path)) == ["levels.0.conv.embed.0.weight"]


def test_convert_official_names_what_it_does_not_know():
    with pytest.raises(ValueError, match="no released RISurConv checkpoint has a tensor named 'sc9x'"):
        convert_official("risurconv", {"sc9x": torch.zeros(1)})
    with pytest.raises(ValueError, match="model must be one of"):
        convert_official("pointnet", {})


def test_fill_counts_what_does_not_fit():
    network = RISurConvClassifier(**ARGUMENTS)
    tensors = network.state_dict()
    tensors["classify.weight"] = torch.zeros(5, 16)
    with pytest.raises(ValueError, match=r"net.pth: .* 1 of another shape \(classify.weight: \[5, 16\], not \[3, 16\]\)"):
        fill(network, tensors, "net.pth")
