"""Train a model: `geo3d train CONFIG [--weights NAME|PATH] [--key value ...]`.

CONFIG is a YAML file or the name of one that geo3d ships. Every value in it can be overridden (`--model.lr 1e-3`,
`--trainer.max_epochs 5`); `--print_config` shows all of them. Logs, checkpoints and `weights.safetensors` go to OUT/NAME.
`--weights` starts from packaged weights by name or a .safetensors, .ckpt or released .pth file. `--resume last` resumes a training from its
last whole epoch, `--resume FILE` from another checkpoint; `--trust-checkpoint` lets that file run code of its own. `--overwrite` starts afresh in
the folder of a former training. `--allow-classes my_package` lets the configuration name classes of a package beside geo3d, torch, lightning,
torchmetrics and timm. `--find-nan` ends a training at the module that first gives a number that is not finite, and names it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from geo3d.heap import keep_heap
from geo3d.tools.errors import asks_for_help, run_tool, take_flag, take_option, take_options

if TYPE_CHECKING:
    from geo3d.tools.lightning_cli import Cli
    from geo3d.zoo.weights import WeightsInfo


def main(argv: Sequence[str] | None = None) -> int:
    """Train; returns the exit code."""
    return run_tool(_train, argv)


def _train(argv: list[str]) -> int:
    if asks_for_help(argv, __doc__):
        return 0
    from geo3d.tools.checkpoints import read_checkpoint
    from geo3d.tools.lightning_cli import Cli
    from geo3d.tools.resuming import Restarts, check_is_free, check_same_settings, checkpoint_to_resume
    from geo3d.zoo import network_tensors
    from geo3d.zoo.weights import fill, save_weights

    argv, start = take_option(argv, "--weights")
    argv, trusted = take_flag(argv, "--trust-checkpoint")
    argv, overwrite = take_flag(argv, "--overwrite")
    argv, allowed = take_options(argv, "--allow-classes")
    argv, find_nan = take_flag(argv, "--find-nan")
    cli = Cli(argv, trust_checkpoint=trusted, allow_classes=allowed, find_nan=find_nan)
    folder = cli.folder
    resume = checkpoint_to_resume(cli.config.resume, folder)
    if start is not None and resume is not None:
        raise ValueError("--weights starts a training, --resume resumes one; expected one of them")
    restarts = Restarts(folder)
    if restarts.is_restart and (folder / "checkpoints" / "last.ckpt").is_file():
        resume = checkpoint_to_resume("last", folder)
    if resume is not None:
        check_same_settings(resume, cli.settings())
        if not trusted:
            read_checkpoint(resume)  # one that is refused is told before data is generated or read
    elif not overwrite and not restarts.is_restart:
        check_is_free(folder)
    restarts.begin()
    if start is not None:
        fill(cli.model.network, network_tensors(start), start)
    if not _fit(cli, resume):
        return 130
    restarts.end()
    if not cli.trainer.is_global_zero:
        return 0
    checkpoints: Any = cli.trainer.checkpoint_callback
    chosen = checkpoints.best_model_path if cli.config.select == "best" else None
    if chosen:
        cli.model.load_state_dict(read_checkpoint(chosen, trust=trusted)["state_dict"])
    path = folder / "weights.safetensors"
    metrics = {name: float(value) for name, value in cli.trainer.callback_metrics.items() if name.startswith("val/")}
    save_weights(path, cli.model.network, weights_info(cli, argv, metrics, start))
    print(f"weights: {path}")
    return 0


def _fit(cli: Cli, resume: str | None) -> bool:
    """Train; False if the user interrupted it, who then has been told how to resume."""
    from geo3d.tools.resuming import store_of_restart

    store = store_of_restart()  # kept until the processes have met
    try:
        cli.trainer.fit(cli.model, cli.datamodule, ckpt_path=resume)
    except SystemExit:  # Lightning's answer to Ctrl-C
        if not cli.trainer.interrupted:
            raise
    del store
    if not cli.trainer.interrupted:
        return True
    epoch = cli.trainer.current_epoch + 1
    if (cli.folder / "checkpoints" / "last.ckpt").exists():
        print(f"interrupted in epoch {epoch}; --resume last repeats this epoch from its start and trains on", file=sys.stderr)
    else:
        print(f"interrupted in epoch {epoch}, before the first checkpoint; nothing to resume", file=sys.stderr)
    return False


def weights_info(cli: Cli, argv: Sequence[str], metrics: dict[str, float], start: str | None) -> WeightsInfo:
    """Description of a trained network, for its weight file; `start` are the weights that the training began with."""
    from geo3d import __version__
    from geo3d.zoo.weights import WeightsInfo

    config: dict[str, Any] = cli.config.as_dict()
    network = config["model"]["init_args"]["network"]
    data = config["data"]["init_args"]
    return WeightsInfo(
        network=network["class_path"],
        arguments=network.get("init_args", {}),
        task=cli.model.name,
        labels=cli.model.labels(),
        preprocessing=cli.model.preprocessing(),
        training={
            "command": " ".join(["geo3d train", *argv]),
            **({"weights": start} if start else {}),
            "data": {
                "class_path": config["data"]["class_path"],
                **{key: data.get(key) for key in ("root", "generate", "seed")},
            },
            "seed": config["seed_everything"],
            "epochs": cli.trainer.max_epochs,
            "batch_size": data.get("batch_size"),
            "geo3d": __version__,
        },
        metrics=metrics,
    )


if __name__ == "__main__":
    keep_heap()
    sys.exit(main())
