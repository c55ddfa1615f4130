"""Command lines of the tools: bad arguments are one line, files and options come in any order."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NoReturn


class ToolParser(argparse.ArgumentParser):
    """The parser of a tool; options are written out, so that none is taken for another.

    Args:
        tool: as the user calls it, such as "geo3d predict".
        text: its description, as it is printed.
        options: of `ArgumentParser`.
    """

    def __init__(self, tool: str, text: str | None, **options: object) -> None:
        kind = argparse.RawDescriptionHelpFormatter
        super().__init__(tool, description=text, formatter_class=kind, allow_abbrev=False, **options)  # type: ignore[arg-type]

    def parse(self, argv: Sequence[str]) -> argparse.Namespace:
        """Arguments with files before, between and behind the options.

        Raises:
            ValueError: what the parser does not take.
        """
        return self.parse_intermixed_args(list(argv))

    def error(self, message: str) -> NoReturn:
        """Raise ValueError, for `run_tool` to print as one line."""
        raise ValueError(f"{message}; see {self.prog} --help")


def add_columns(parser: argparse._ActionsContainer) -> None:
    """Add `--columns`, an int or a text as the readers of tables take it."""
    help_text = "of tables (.bin .npy .txt ...): numbers a point, or names such as x,y,z,intensity,_ (default: by name)"
    parser.add_argument("--columns", type=lambda text: int(text) if text.isdigit() else text, help=help_text)
