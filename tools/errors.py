"""What the tools share: bad input is one line on standard error and exit code 2, `--debug` shows where it came from; options beside Lightning's."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence

BAD_INPUT = (
    ValueError,
    OSError,
    ImportError,
    FloatingPointError,
)  # bad values and files, a missing optional package, a training that went wrong


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
        with _short_warnings():
            return body(arguments)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except (*BAD_INPUT, RuntimeError) as error:
        if debug or (isinstance(error, RuntimeError) and not _is_raised_by_geo3d(error)):
            raise
        print(f"error: {' '.join(str(error).split()) or type(error).__name__}", file=sys.stderr)
        return 2


def asks_for_help(argv: Sequence[str], text: str | None) -> bool:
    """Print a tool's own help if its arguments ask for help and name no configuration (with one, the parser's long list comes)."""
    wants = bool({"-h", "--help"} & set(argv)) and argv[0].startswith("-")
    if wants:
        print((text or "").strip())
        print("\nAll options of a configuration: CONFIG --help; all values: CONFIG --print_config")
    return wants


def take_option(argv: list[str], option: str) -> tuple[list[str], str | None]:
    """Take an option of this tool, `--x V` or `--x=V`, out of the arguments that go on to Lightning."""
    rest, value = [], None
    arguments = iter(argv)
    for argument in arguments:
        if argument == option:
            value = next(arguments, None)
            if value is None:
                raise ValueError(f"{option} needs a value")
        elif argument.startswith(f"{option}="):
            value = argument.partition("=")[2]
        else:
            rest.append(argument)
    return rest, value


def take_options(argv: list[str], option: str) -> tuple[list[str], list[str]]:
    """Take an option that may be given several times, and hold several values with commas between, out of the arguments."""
    values: list[str] = []
    while any(argument == option or argument.startswith(f"{option}=") for argument in argv):
        argv, value = _take_first(argv, option)
        values += [each for each in value.split(",") if each]
    return argv, values


def _take_first(argv: list[str], option: str) -> tuple[list[str], str]:
    place = next(i for i, argument in enumerate(argv) if argument == option or argument.startswith(f"{option}="))
    end = place + 1 if "=" in argv[place] else place + 2
    rest, value = take_option(argv[place:end], option)
    return [*argv[:place], *rest, *argv[end:]], value or ""


def take_flag(argv: list[str], flag: str) -> tuple[list[str], bool]:
    """Take a flag of this tool out of the arguments that go on to Lightning."""
    return [argument for argument in argv if argument != flag], flag in argv


def _is_raised_by_geo3d(error: BaseException) -> bool:
    """Whether geo3d itself raised the error, for the user to read (no way to draw, say); those of torch are our mistakes."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and str(trace.tb_frame.f_globals.get("__name__")).startswith("geo3d.")


@contextlib.contextmanager
def _short_warnings() -> Iterator[None]:
    """Show a warning as one line, without the place in the code that raised it."""
    original = warnings.formatwarning
    warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"
    try:
        yield
    finally:
        warnings.formatwarning = original
