"""How the tools report bad input: one line on standard error and exit code 2; `--debug` shows where it came from."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

BAD_INPUT = (ValueError, FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError)


def run_tool(body: Callable[[list[str]], int], argv: Sequence[str] | None = None) -> int:
    """Run a tool's body on its arguments and turn the user's mistakes into one line.

    Args:
        body: takes the arguments without `--debug`, returns the exit code.
        argv: the arguments, by default those of the process.

    Returns:
        The exit code; 2 for bad input, 130 when interrupted.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    try:
        return body(arguments)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except (*BAD_INPUT, RuntimeError) as error:
        if debug or (isinstance(error, RuntimeError) and not getattr(error, "for_user", False) and _is_ours(error) is False):
            raise
        print(f"error: {_one_line(error)}", file=sys.stderr)
        return 2


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _is_ours(error: BaseException) -> bool:
    """Whether geo3d raised the error itself, for the user to read."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and str(trace.tb_frame.f_globals.get("__name__", "")).startswith("geo3d.")
