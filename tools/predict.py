"""Run a model on your own files: `geo3d predict MODEL FILE... [--save picture.png]`.

MODEL is a packaged name (`geo3d predict --list`), a weights.safetensors that `geo3d train` wrote, or a folder of `geo3d export`.
`geo3d predict MODEL --help` shows the options of that model. Options and files come in any order. Clouds and meshes are
.ply .pcd .obj .off .stl .glb .npy .npz .txt .xyz .csv .bin .las .laz.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from geo3d.heap import keep_heap
from geo3d.tools.errors import run_tool, take_options
from geo3d.tools.parsing import ToolParser

if TYPE_CHECKING:
    from geo3d.tools.predicting import Kind
    from geo3d.zoo.weights import WeightsInfo


def main(argv: Sequence[str] | None = None) -> int:
    """Predict; returns the exit code."""
    return run_tool(_predict, argv)


def _predict(argv: list[str]) -> int:
    from geo3d.tools.predicting import check_files

    argv, allowed = take_options(argv, "--allow-classes")
    wants_help = bool({"-h", "--help"} & set(argv))
    rest = [argument for argument in argv if argument not in ("-h", "--help")]
    given = _model_and_files(rest)
    if given.list:
        from geo3d.zoo import names

        print("\n".join(names()))
        return 0
    if not given.arguments:
        if wants_help:
            _parser().print_help()
            return 0
        raise ValueError("expected MODEL and at least one FILE; see geo3d predict --help")
    model = given.arguments[0]
    kind, info = _kind_of(model)
    parser = _parser()
    group = parser.add_argument_group(f"options of {model}, one of the {kind.models}, which {kind.about}")
    kind.add_options(group, info)
    if wants_help:
        parser.print_help()
        return 0
    arguments = _arguments(parser, rest, model, kind)
    check_files(arguments, kind.outputs(arguments))
    from geo3d.predict import load
    from geo3d.tools.compiling import announce_compilation

    announce_compilation()
    results = kind.run(load(model, _device(arguments.device), allow_classes=allowed), arguments)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")
    return 0


def _parser(full: bool = False) -> ToolParser:
    """The options of all models; `full` adds those that any kind of them has, to tell options from files."""
    from geo3d.tools.predicting import KINDS

    added = "\n".join(f"{kind.models} {kind.about}" for kind in KINDS.values())
    conflicts = {"conflict_handler": "resolve"} if full else {}
    parser = ToolParser("geo3d predict", f"{(__doc__ or '').rstrip()}\n\n{added}", **conflicts)
    parser.add_argument(
        "arguments", nargs="*", metavar="MODEL FILE", help="a model, then point clouds, meshes, sweeps or pictures"
    )
    parser.add_argument("--list", action="store_true", help="list the packaged weights and stop")
    parser.add_argument("--save", type=Path, metavar="PNG", help="render the results into a picture")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results as JSON")
    parser.add_argument(
        "--out", type=Path, default=Path(), help="folder for what is written by file (default: the current one)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    help_text = "let weights name a network of a package beside geo3d, whose code then runs"
    parser.add_argument("--allow-classes", metavar="PACKAGE", help=help_text)  # taken before the others, as in all tools
    if full:
        for kind in KINDS.values():
            kind.add_options(parser, None)
    return parser


def _model_and_files(argv: list[str]) -> argparse.Namespace:
    """Arguments of which only the files are sure: the model, which is the first of them, tells its options."""
    return _parser(full=True).parse_known_intermixed_args(argv)[0]


def _kind_of(model: str) -> tuple[Kind, WeightsInfo]:
    """How models of this kind are run, and the description of the weights.

    Raises:
        FileNotFoundError, ValueError: no weights, or those of a task that is not predicted here.
    """
    from geo3d.predict.loading import info_of
    from geo3d.tools.predicting import KINDS

    info = info_of(model)
    if info.task not in KINDS:
        raise ValueError(f"{model}: weights are for the task {info.task!r}; geo3d predict takes {', '.join(KINDS)}")
    return KINDS[info.task], info


def _arguments(parser: ToolParser, argv: list[str], model: str, kind: Kind) -> argparse.Namespace:
    """Arguments of a model; raises ValueError for options that it does not have, and without files."""
    arguments, foreign = parser.parse_known_intermixed_args(argv)
    if foreign:
        own = re.findall(r"--[a-z-]+", parser.format_usage())
        raise ValueError(f"{foreign[0]} is no option of {model}, which is one of the {kind.models}; there are {' '.join(own)}")
    arguments.files = [Path(path) for path in arguments.arguments[1:]]
    if not arguments.files:
        parser.error("expected at least one FILE after MODEL")
    return arguments


def _device(name: str) -> str:
    import torch

    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"--device {name}: this machine has no CUDA device that PyTorch can use")
    return name


if __name__ == "__main__":
    keep_heap()
    sys.exit(main())
