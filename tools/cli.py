"""The `geo3d` command: every tool as a subcommand."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from geo3d.heap import keep_heap

KEEP_HEAP = ("predict", "demo", "hand-demo", "train", "test")  # they run networks

TOOLS = {
    "predict": "run a packaged or own model on files",
    "view": "look at files and data sets, in a window, a picture or a browser",
    "hand-demo": "hands in a video as it comes, from a camera, a film or a browser",
    "demo": "see it work on sample shapes",
    "train": "train a model from a YAML",
    "test": "evaluate a model and print its metrics",
    "export": "write a network as ONNX",
    "make-data": "generate data in the native formats",
    "benchmark": "time ops and models beside their peers",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Dispatch `geo3d TOOL ...` to `geo3d.tools.TOOL`."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print("usage: geo3d TOOL ...\n\ntools (geo3d TOOL --help tells more):")
        for name, purpose in TOOLS.items():
            print(f"  {name:<12}{purpose}")
        return 0 if arguments else 2
    if arguments[0] == "--version":
        from geo3d import __version__

        print(f"geo3d {__version__}")
        return 0
    if arguments[0] not in TOOLS:
        print(f"error: no tool {arguments[0]!r}; there are {', '.join(TOOLS)}", file=sys.stderr)
        return 2
    if arguments[0] in KEEP_HEAP:
        keep_heap()
    tool = importlib.import_module(f"geo3d.tools.{arguments[0].replace('-', '_')}")
    return tool.main(arguments[1:])


if __name__ == "__main__":
    sys.exit(main())
