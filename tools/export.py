"""Write a network as ONNX: `geo3d export WEIGHTS|NAME|CONFIG --out FOLDER [--weights FILE]`.

What to export is a .safetensors file that `geo3d train` wrote, packaged weights by name, or a configuration (a YAML file or the name of
one that geo3d ships) with `--weights`: a .safetensors, .ckpt or released .pth file. A configuration alone has fresh weights, to try and to time.

FOLDER gets manifest.json (inputs, shapes, how to build the network) and network.onnx; of a detector stageS_blocks.onnx (attention
blocks), stageS_pooling.onnx (from the stage before), map.onnx (2D backbone and head) and rest.safetensors (point encoder and position
embeddings, which stay in PyTorch). `geo3d.load(FOLDER)` runs it. Needs: pip install onnx onnxruntime onnxscript
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from geo3d.tools.errors import run_tool, take_options
from geo3d.tools.parsing import ToolParser


def main(argv: Sequence[str] | None = None) -> int:
    """Export; returns the exit code."""
    return run_tool(_export, argv)


def _export(argv: list[str]) -> int:
    argv, allowed = take_options(argv, "--allow-classes")
    arguments = _parser().parse(argv)
    from geo3d.export.networks import check_export, check_is_exported, export_network
    from geo3d.export.onnx import check_packages, check_target
    from geo3d.zoo.configurations import network_and_info

    check_packages()
    check_target(arguments.out, arguments.overwrite)
    network, info = network_and_info(arguments.source, arguments.weights, allowed)
    check_is_exported(network)
    print("exporting; this takes from some seconds to some minutes", file=sys.stderr)
    manifest = export_network(network, info, arguments.out, overwrite=arguments.overwrite)
    for path in sorted(manifest.parent.iterdir()):
        print(f"{path}  {path.stat().st_size / 1e6:.1f} MB")
    print(f"ONNX Runtime and PyTorch differ by {check_export(network, manifest.parent):.1e} at most on random input")
    return 0


def _parser() -> ToolParser:
    parser = ToolParser("geo3d export", __doc__)
    parser.add_argument("source", help="weights by name or file, or a configuration")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder to write")
    parser.add_argument("--weights", metavar="FILE", help="weights for a configuration")
    parser.add_argument("--overwrite", action="store_true", help="replace an export that is there")
    help_text = "let weights and configurations name classes of a package beside geo3d, whose code then runs"
    parser.add_argument("--allow-classes", metavar="PACKAGE", help=help_text)  # taken before the others, as in all tools
    return parser


if __name__ == "__main__":
    sys.exit(main())
