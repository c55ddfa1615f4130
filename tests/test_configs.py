"""Every configuration that geo3d ships is parsed, and its task, network and data module are built without data."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

import geo3d.configs
from geo3d.models import dsvt
from geo3d.tools.lightning_cli import NETWORK, Cli

FOLDER = Path(geo3d.configs.__file__).parent
NAMES = sorted(path.relative_to(FOLDER).with_suffix("").as_posix() for path in FOLDER.rglob("*.yaml"))


@pytest.mark.parametrize("name", NAMES)
def test_is_built(name):
    cli = Cli([name], testing=True)
    assert any(parameter.requires_grad for parameter in cli.model.network.parameters())
    assert cli.trainer.max_epochs >= 1
    if name.startswith("dsvt/"):
        network, data = cli.model.network, cli.datamodule
        assert network.point_range == data.point_range
        assert network.num_classes == len(data.class_names)
        assert network.in_features == 3 + len(data.features)
        arguments = cli.config.model.init_args.network.init_args  # as weight files and saved settings hold them
        assert (arguments.num_classes, arguments.in_features) == (network.num_classes, network.in_features)
        assert tuple(arguments.point_range) == network.point_range
        assert len(cli.model.decode.nms_thresholds) == len(data.class_names)


@pytest.mark.parametrize(
    ("name", "network"),
    [
        ("dsvt/waymo_pillar", dsvt.waymo_pillar),
        ("dsvt/waymo_d512e_voxel", dsvt.waymo_voxel),
        ("dsvt/nuscenes_pillar", lambda: dsvt.nuscenes_pillar(as_released=True)),
    ],
)
def test_is_the_published_network(name, network):
    ours, published = Cli([name], testing=True).model.network, network()
    assert {n: t.shape for n, t in ours.state_dict().items()} == {n: t.shape for n, t in published.state_dict().items()}
    for stage, wanted in zip(ours.backbone.stages, published.backbone.stages, strict=True):
        assert (stage.grid, stage.set_size, stage.windows) == (wanted.grid, wanted.set_size, wanted.windows)
    assert ours.bev_grid == published.bev_grid
    assert getattr(ours.head, "decoder", None) is None or ours.head.decoder.wrap


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([f"{NETWORK}.voxel_size=[0.4,0.4,4.0]"], "point_range 0 to 69.12 in x is 172.8 voxels of 0.4"),
        ([f"{NETWORK}.voxel_size=[0.32,0.32,2.0]"], "the strides leave 2 of 2 voxels in z"),
        ([f"{NETWORK}.point_range=[0,-40.32,-3,69.76,40.32,1]"], "the map has 218 cells in x, .* end the range in x at 70.4 m"),
        (["--model.init_args.decoder.nms=2"], "CenterDecoder has no option 'nms'"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(arguments, message):
    with pytest.raises(ValueError, match=message) as error:
        Cli(["dsvt/kitti_pillar", *arguments], testing=True)
    assert "\n" not in str(error.value) and "Namespace" not in str(error.value)


FOLLOWING = ("num_classes", "in_features", "point_range")  # arguments of a detector that follow from the data


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("dsvt/")])
def test_what_follows_from_the_data_is_written_once(name):
    network = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())["model"]["init_args"]["network"]["init_args"]
    assert not set(FOLLOWING) & set(network)


def test_the_network_follows_options_of_the_data():
    options = ["--data.init_args.num_sweeps", "4", "--data.init_args.point_range=[-51.2,-51.2,-2,51.2,51.2,4]"]
    network = Cli(["dsvt/waymo_pillar", *options], testing=True).model.network
    assert network.in_features == 6 and network.point_range[3:5] == (51.2, 51.2)
    with pytest.raises(ValueError, match="Option 'num_sweep' is not accepted"):
        Cli(["dsvt/waymo_pillar", "--data.init_args.num_sweep=4"], testing=True)


@pytest.mark.parametrize("place", ["yaml", "command"])
def test_what_the_user_sets_stays(place, tmp_path):
    content = yaml.safe_load((FOLDER / "dsvt/waymo_pillar.yaml").read_text())
    options = ["--data.init_args.num_sweeps=4"]
    if place == "yaml":
        content["model"]["init_args"]["network"]["init_args"]["in_features"] = 5
    else:
        options.append(f"{NETWORK}.in_features=5")
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(content))
    task = Cli([str(tmp_path / "mine.yaml"), *options], testing=True).model
    assert task.network.in_features == 5 and task.network.num_classes == 3


def test_a_printed_configuration_can_be_used(capsys, tmp_path):
    def printed(name: str, *options: str) -> str:
        with pytest.raises(SystemExit):
            Cli([name, *options, "--print_config"], testing=True)
        return capsys.readouterr().out

    first = printed("dsvt/nuscenes_pillar", "--data.init_args.batch_size=2")
    assert set(FOLLOWING) <= set(yaml.safe_load(first)["model"]["init_args"]["network"]["init_args"])
    (tmp_path / "printed.yaml").write_text(first)
    assert printed(str(tmp_path / "printed.yaml")) == first
    assert Cli([str(tmp_path / "printed.yaml")], testing=True).model.network.in_features == 5


def test_options_of_the_decoder_are_changed_one_by_one():
    decoder = Cli(["dsvt/kitti_pillar", "--model.init_args.decoder.score_threshold=0.2"], testing=True).model.decode
    assert decoder.score_threshold == 0.2 and decoder.nms_thresholds == [0.2, 0.2, 0.2]


@pytest.mark.parametrize("name", ["risurconv/scanobjectnn", "risurconv/modelnet40", "dsvt/waymo_pillar"])
def test_options_that_all_loaders_share_can_be_set_and_are_printed(name, capsys):
    with pytest.raises(SystemExit):
        Cli([name, "--data.init_args.num_workers=3", "--print_config"], testing=True)
    printed = yaml.safe_load(capsys.readouterr().out)["data"]["init_args"]
    assert printed["num_workers"] == 3
    assert {"batch_size", "test_batch_size", "pin_memory", "augment", "seed"} <= set(printed)
