"""Evaluate a model: `geo3d test CONFIG [--weights NAME|PATH] [--json FILE] [--overwrite] [--record] [--key value ...]`.

CONFIG is a YAML file or the name of one that geo3d ships. Weights are packaged ones by name, or a .safetensors, .ckpt or released .pth
file; by default those that `geo3d train` wrote for CONFIG. Metrics are printed, and written as JSON if asked for; pictures go to OUT/NAME.
`--overwrite` replaces FILE. `--record` also writes the metrics into the weights' own description.
`--allow-classes my_package` lets CONFIG name classes of a package beside geo3d, torch, lightning, torchmetrics and timm.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from geo3d.heap import keep_heap
from geo3d.tools.errors import asks_for_help, run_tool, take_flag, take_option, take_options


def main(argv: Sequence[str] | None = None) -> int:
    """Evaluate; returns the exit code."""
    return run_tool(_test, argv)


def _test(argv: list[str]) -> int:
    if asks_for_help(argv, __doc__):
        return 0
    argv, weights = take_option(argv, "--weights")
    argv, json_file = take_option(argv, "--json")
    argv, record = take_flag(argv, "--record")
    argv, overwrite = take_flag(argv, "--overwrite")
    argv, allowed = take_options(argv, "--allow-classes")
    if json_file and Path(json_file).exists() and not overwrite:
        raise FileExistsError(f"{json_file} exists; choose another name, or --overwrite")
    if json_file and not Path(json_file).absolute().parent.is_dir():
        raise FileNotFoundError(f"--json {json_file}: no folder {Path(json_file).absolute().parent}")
    from geo3d.tools.lightning_cli import Cli
    from geo3d.tools.resuming import store_of_restart
    from geo3d.zoo import network_tensors
    from geo3d.zoo.weights import fill, read_info, record_metrics

    cli = Cli(argv, testing=True, allow_classes=allowed)
    source = weights or str(cli.folder / "weights.safetensors")
    if record:
        read_info(source)  # a file whose description cannot be written is told before the test
    fill(cli.model.network, network_tensors(source), source)
    store = store_of_restart()  # kept until the processes have met
    [results] = cli.trainer.test(cli.model, cli.datamodule, verbose=False)
    del store
    if not cli.trainer.is_global_zero:
        return 0
    width = max(len(name) for name in results)
    for name, value in results.items():
        print(f"{name:<{width}}  {value:.4f}")
    cli.folder.mkdir(parents=True, exist_ok=True)
    for picture in cli.model.report(str(cli.folder)):
        print(f"picture: {picture}")
    if record:
        record_metrics(source, results)
    if json_file:
        Path(json_file).write_text(
            json.dumps({"config": str(cli.configuration), "weights": source, **results}, indent=2) + "\n"
        )
    return 0


if __name__ == "__main__":
    keep_heap()
    sys.exit(main())
