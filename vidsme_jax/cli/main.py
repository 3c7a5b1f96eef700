"""Run the `vidsme` command: read its options, call it and return the exit code.

Of the commands' files only that of the running command is imported.

Exit codes: 0 done; 2 wrong input, with one line; 75 interrupted, run the same again; 70 an
error that nobody foresaw, with one line and a report.
"""

import argparse
import os
import signal
import sys

from vidsme_jax.cli.environment import check_memory, keep_compiled, leave_out_torch
from vidsme_jax.cli.parsers import command_file, read_options
from vidsme_jax.cli.signals import INTERRUPTED, listen
from vidsme_jax.progress import show_phases

LONGEST = 2000  # characters of the line about wrong input
_RENAMED = {"scores": "list scores", "models": "list models"}
_OLD_KEEP = ["--keep", "tokens"]


def entry() -> None:
    """Run the command as a process of its own."""
    listen()
    if sys.argv[1:2] != ["bench"]:  # bench measures compiling, and runs PyTorch
        keep_compiled()
        leave_out_torch()
    try:
        code = main()
    except KeyboardInterrupt:  # before or after the command's own work
        print("vidsme: interrupted, run it again", file=sys.stderr)
        code = INTERRUPTED
    if code == INTERRUPTED:
        # Threads may be inside XLA or a decoder, and an ordinary exit would crash them.
        # All files on disk are whole: leave at once.
        sys.stdout.flush()
        os._exit(code)
    sys.exit(code)


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit code.

    Args:
        arguments: the words after `vidsme`; None takes those of this process.
    """
    words = sys.argv[1:] if arguments is None else arguments
    try:
        return _main(words)
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:  # a panic of a library in Rust is no Exception
        from vidsme_jax.cli import crash

        print(f"vidsme: {crash.write_report(words, error)}", file=sys.stderr)
        return crash.CODE


def _main(words: list[str]) -> int:
    """Run a command and return its exit code; errors that nobody foresaw pass through."""
    if words and words[0] in _RENAMED:
        print(f"vidsme: {words[0]!r} is now 'vidsme {_RENAMED[words[0]]}'", file=sys.stderr)
        return 2
    if any(words[n : n + 2] == _OLD_KEEP for n in range(len(words))):
        print(f"vidsme {words[0]}: '--keep tokens' is now '--keep-tokens'", file=sys.stderr)
        return 2
    options = read_options(words)
    from vidsme_jax.errors import InputError, Interrupted, printable

    try:
        return run(options)
    except BrokenPipeError:  # the reader of our output, such as head, has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Interrupted as error:
        print(f"vidsme {options.command}: {printable(error, LONGEST)}", file=sys.stderr)
        return INTERRUPTED
    except (InputError, OSError) as error:  # OSError: no permission
        print(f"vidsme {options.command}: {printable(error, LONGEST)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        for number in (signal.SIGINT, signal.SIGTERM):  # one is enough
            signal.signal(number, signal.SIG_IGN)
        print(f"vidsme {options.command}: interrupted, run it again", file=sys.stderr)
        return INTERRUPTED


def run(options: argparse.Namespace) -> int:
    """Run the command of some options; say that it begins before anything is imported."""
    check_memory(options.command)
    with show_phases(options.command):
        return command_file(options.command).run(options) or 0
