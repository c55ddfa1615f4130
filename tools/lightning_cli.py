"""LightningCLI with geo3d's defaults, for `train.py` and `test.py`."""

from __future__ import annotations

import argparse
import json
import logging
import re
import warnings
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import lightning
import yaml
from lightning import LightningDataModule
from lightning.pytorch.callbacks import Callback, LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import TensorBoardLogger

from geo3d.tasks.base import Task
from geo3d.tasks.nan import FindNaN
from geo3d.tools.checkpoints import CheckpointFiles, set_aside
from geo3d.tools.compiling import announce_compilation
from geo3d.zoo.classes import check_classes, limit_classes, refusal
from geo3d.zoo.configurations import config_path, data_arguments, data_module
from geo3d.zoo.yaml_files import read_yaml

Select = Literal["last", "best"]
NETWORK = "--model.init_args.network.init_args"


class Cli(LightningCLI):
    """A task and a data module by import path, the trainer, and where the results go.

    Args:
        argv: arguments after the tool's name: the configuration, before, between or behind options that each have a value.
        testing: write no logs and no checkpoints.
        trust_checkpoint: let a checkpoint that is resumed run the code it carries.
        allow_classes: packages whose classes the configuration may name beside those of `geo3d.zoo.classes.PACKAGES`.
        find_nan: end a training where a number that is not finite arises (`geo3d.tasks.nan.FindNaN`).
    """

    def __init__(
        self,
        argv: Sequence[str],
        testing: bool = False,
        trust_checkpoint: bool = False,
        allow_classes: Sequence[str] = (),
        find_nan: bool = False,
    ) -> None:
        self.testing = testing
        self.trust_checkpoint = trust_checkpoint
        self.find_nan = find_nan
        configuration, arguments = _configuration_and_options(argv)
        self.configuration = config_path(configuration)
        arguments = ["--config", str(self.configuration), *arguments]
        check_classes(read_yaml(self.configuration), str(self.configuration), allow_classes)
        limit_classes(allow_classes)
        _hide_noise()
        announce_compilation()
        try:
            arguments[2:2] = options_from_data(self.configuration, arguments[2:])
            self._parse_and_build(arguments)
        except (argparse.ArgumentError, ValueError) as error:
            raise ValueError(_short(str(error))) from None

    def _parse_and_build(self, arguments: list[str]) -> None:
        super().__init__(
            model_class=Task,
            datamodule_class=LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_callback=None,
            seed_everything_default=0,
            parser_kwargs={"exit_on_error": False},
            run=False,
            args=arguments,
        )

    @property
    def folder(self) -> Path:
        """Where this run writes."""
        return Path(self.config.out) / (self.config.name or self.configuration.stem)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument("--out", type=str, default="runs", help="folder for logs, checkpoints and weights")
        parser.add_argument(
            "--name", type=str | None, default=None, help="folder of this run in --out; the configuration's name"
        )
        parser.add_argument("--select", type=Select, default="last", help="checkpoint that becomes weights.safetensors")
        help_text = argparse.SUPPRESS if self.testing else "checkpoint to resume from, or 'last'"  # a run's config.yaml has it
        parser.add_argument("--resume", type=str | None, default=None, help=help_text)

    def settings(self) -> dict[str, Any]:
        """The configuration as it is written for a run: what resumes and evaluates this training, not another."""
        settings: dict[str, Any] = yaml.safe_load(self.parser.dump(self.config, skip_none=False))
        return {**settings, "name": self.folder.name, "resume": None}

    def instantiate_trainer(self, **options: Any) -> lightning.Trainer:
        if self.testing:
            return super().instantiate_trainer(logger=False, enable_checkpointing=False, **options)
        folder = self.folder / "checkpoints"
        task = self.model
        best = ModelCheckpoint(folder, "best", monitor=task.monitor, mode=task.monitor_mode, enable_version_counter=False)
        last = ModelCheckpoint(
            folder, "last", save_on_train_epoch_end=True, enable_version_counter=False
        )  # every epoch, to resume
        own = self.config_init.trainer.callbacks or []
        logger = TensorBoardLogger(str(self.folder.parent), name=self.folder.name, version="logs")
        callbacks = [*own, best, last, LearningRateMonitor(), WriteSettings(self), *([FindNaN()] if self.find_nan else [])]
        plugins = [*(self.config_init.trainer.plugins or []), CheckpointFiles(self.trust_checkpoint)]
        return super().instantiate_trainer(logger=logger, callbacks=callbacks, plugins=plugins, **options)


class WriteSettings(Callback):
    """Writes `config.yaml` of a run when its training has begun, so that one that cannot begin leaves the former."""

    def __init__(self, cli: Cli) -> None:
        self.cli = cli

    def on_train_start(self, trainer: lightning.Trainer, task: lightning.LightningModule) -> None:
        if trainer.is_global_zero:
            self.cli.folder.mkdir(parents=True, exist_ok=True)
            if trainer.ckpt_path is None:
                set_aside(self.cli.folder / "checkpoints")
            (self.cli.folder / "config.yaml").write_text(yaml.safe_dump(self.cli.settings(), sort_keys=False))


def options_from_data(path: Path, options: Sequence[str]) -> list[str]:
    """Options for the arguments of the network that follow from the data and that a configuration leaves out.

    They come before parsing, so that printed, saved and described configurations hold them; what the user sets comes later and wins.

    Args:
        path: the configuration.
        options: of the command line; those that change the data count.
    """
    try:
        content = yaml.safe_load(path.read_text())
        network = content["model"]["init_args"]["network"]
        module, _, name = content["data"]["class_path"].rpartition(".")
        kind = getattr(import_module(module), name)
        given = network.get("init_args") or {}
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, ImportError, KeyError, TypeError, AttributeError):
        return []  # the parser tells it better
    if not hasattr(kind, "network_arguments"):
        return []
    derived = data_arguments(data_module(content, _data_options(options)))
    return [f"{NETWORK}.{name}={json.dumps(value)}" for name, value in derived.items() if name not in given]


def _data_options(options: Sequence[str]) -> list[str]:
    """Those that begin with --data, with their values."""
    chosen: list[str] = []
    for option, following in zip(options, [*options[1:], "--"], strict=False):
        if option == "--data" or option.startswith(("--data.", "--data=")):
            chosen.append(option)
            if "=" not in option and not following.startswith("--"):
                chosen.append(following)
    return chosen


def _configuration_and_options(argv: Sequence[str]) -> tuple[str, list[str]]:
    """The first argument that is neither an option nor the value of one, and all others."""
    index = 0
    while index < len(argv) and argv[index].startswith("-"):
        has_value = "=" not in argv[index] and argv[index] not in ("-h", "--help", "--print_config")
        index += 2 if has_value else 1
    if index >= len(argv):
        raise ValueError("expected a configuration, such as risurconv/generated_classification")
    return argv[index], [*argv[:index], *argv[index + 1 :]]


def _hide_noise() -> None:
    """Leave out what Lightning says of itself and of its dependencies, which no user of geo3d can act on."""
    for message in (
        ".*parameter is intended to run from within Python.*",
        ".*LeafSpec.*",
        ".*does not have many workers.*",
        ".*sync_dist=True.*",  # the figures that tasks log are those of all processes already
    ):
        warnings.filterwarnings("ignore", message)
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(lambda record: "litlogger" not in record.getMessage())


def _short(message: str) -> str:
    """The parser's message in one line, without the types that nobody asked for."""
    denied = re.search(r"Importing '([\w.]+)' is not allowed", message)
    if denied:
        return f"the configuration names {denied[1]}, {refusal(denied[1])}"
    noise = ("Does not validate against any", "Subtypes:", "Errors:", "NoneType", "Given value")
    lines = [line.strip(" -") for line in message.splitlines()]
    return " ".join(line for line in lines if line and not any(part in line for part in noise))
