"""Run the `vidsme` command: read its options, call it and return the exit code.

Of the commands' files only that of the running command is imported.

Exit codes: 0 done; 2 wrong input, with one line; 75 interrupted, run the same again; 70 an
error that nobody foresaw, with one line and a report.
"""

import argparse
import os
import signal
import sys
from importlib import import_module
from types import ModuleType
from typing import NoReturn

from vidsme_jax import __version__
from vidsme_jax.cli.environment import keep_compiled

INTERRUPTED = 75
LONGEST = 2000  # characters of the line about wrong input

# Name and purpose of each command, and the file in this folder with its options and call.
COMMANDS = (
    (
        "demo",
        "Write clips, train a small video LLM and a control, audit both and report.",
        "demo",
    ),
    ("train", "Fine-tune a checkpoint on rows with label 1.", "train"),
    (
        "prepare",
        "Decode every clip of a manifest once, into a store that score reads; resumable.",
        "prepare",
    ),
    ("score", "Score every clip of a manifest; resumable.", "score"),
    ("merge", "Join the shards of a run, or of a store, into a whole.", "merge"),
    ("status", "Say how far a run or a store is.", "status"),
    (
        "verify",
        "Check that a run is whole: rows, duplicates, NaN, settings.",
        "verify",
    ),
    ("evaluate", "Turn runs into metrics, verdicts, figures and a report.", "evaluate"),
    (
        "sweep",
        "Evaluate a grid of scores with as few passes over the clips as it needs.",
        "sweep",
    ),
    (
        "plan",
        "Say what scoring would take, compiled for chips that need not be here.",
        "plan",
    ),
    (
        "bench",
        "Measure scoring beside PyTorch on the same random weights and clips.",
        "bench",
    ),
    ("list", "List the scores, or the models that there are ports for.", "listing"),
)
_RENAMED = {"scores": "list scores", "models": "list models"}
_OLD_KEEP = ["--keep", "tokens"]


class _Parser(argparse.ArgumentParser):
    """A parser that says in one line what is wrong, without the usage before it."""

    def error(self, message: str) -> NoReturn:
        """End the process with one line."""
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def entry() -> None:
    """Run the command as a process of its own."""
    if sys.argv[1:2] != ["bench"]:  # bench measures compiling
        keep_compiled()
    code = main()
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
    from vidsme_jax.progress import stop

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    try:
        return command_file(options.command).run(options) or 0
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


def command_file(command: str) -> ModuleType:
    """Import the file of a command."""
    files = {name: file for name, _, file in COMMANDS}
    return import_module(f"vidsme_jax.cli.{files[command]}")


def read_options(words: list[str]) -> argparse.Namespace:
    """Return the options of a command line, the command's name among them.

    Raises:
        SystemExit: help was asked for (0), or the words are wrong (2, with one line).
    """
    parser = _Parser(
        prog="vidsme",
        description="Was this video in the training set of a video LLM, and how sure"
        " can one be? Vid-SME (arXiv 2506.03179) and its baselines, in JAX.",
        epilog="vidsme COMMAND --help says what a command takes, with examples.",
    )
    parser.add_argument("--version", action="version", version=f"vidsme {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    chosen = next((word for word in words if not word.startswith("-")), None)
    for name, line, _ in COMMANDS:
        as_written = argparse.RawDescriptionHelpFormatter
        command = commands.add_parser(
            name,
            help=line,
            description=line,
            formatter_class=as_written,
            allow_abbrev=False,
        )
        if name == chosen:
            command_file(name).add_arguments(command)
    options, unknown = parser.parse_known_args(words)
    if unknown:
        command = commands.choices[options.command]
        command.error(f"unrecognized arguments: {' '.join(unknown)}")
    return options
