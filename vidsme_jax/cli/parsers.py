"""Make the parsers of the `vidsme` command, and answer words that are none of its words.

An option is never guessed from its first letters. A word that is nearly right is answered
with the right one, in one line.
"""

import argparse
import difflib
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from vidsme_jax import __version__
from vidsme_jax.cli.values import calibration_file

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
ORDER = """\
the order of an audit:
  vidsme demo                                   to see one, in a few minutes
  vidsme prepare clips.json --model M --out S   optional: decode once, score often
  vidsme score --model M --data S --out RUN     and a CONTROL: a model that saw no clip
  vidsme evaluate RUN --control CONTROL --out REPORT     then open REPORT/report.html

vidsme COMMAND --help begins with an example, and with what comes before and after.
"""


class Parser(argparse.ArgumentParser):
    """A parser that takes whole words only, and says in one line what is wrong.

    The help begins with the text `first`: an example, and the order of commands.
    """

    def __init__(self, prog: str, **settings: Any):
        as_written = argparse.RawDescriptionHelpFormatter
        super().__init__(prog, formatter_class=as_written, allow_abbrev=False, **settings)
        self.first = ""

    def format_help(self) -> str:
        """Return the purpose, the example and the order, then usage and options."""
        formatter = self._get_formatter()
        formatter.add_text(self.description)
        formatter.add_text(self.first)
        formatter.add_usage(self.usage, self._actions, self._mutually_exclusive_groups)
        for group in self._action_groups:
            formatter.start_section(group.title)
            formatter.add_text(group.description)
            formatter.add_arguments(group._group_actions)
            formatter.end_section()
        formatter.add_text(self.epilog)
        return formatter.format_help()

    def error(self, message: str) -> NoReturn:
        """End the process with one line."""
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")

    def refuse(self, words: Iterable[str]) -> NoReturn:
        """End the process with the words that are no options, and the nearest ones."""
        listed = list(words)
        options = [word.partition("=")[0] for word in listed if word.startswith("-")]
        near = nearest(options[0], self._option_string_actions) if options else ""
        self.error(f"unrecognized arguments: {' '.join(listed)}{near}")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Refuse a value that is no choice, and name the nearest choice."""
        if action.choices is not None and value not in action.choices:
            choices = [str(choice) for choice in action.choices]
            near = nearest(str(value), choices)
            shown = ", ".join(map(repr, choices))
            raise argparse.ArgumentError(
                action, f"invalid choice: {value!r}{near} (choose from {shown})"
            )


def nearest(word: str, words: Iterable[str]) -> str:
    """Return ", did you mean 'WORD'?" for the word that is most alike; "" for none."""
    bare = {other.lstrip("-"): other for other in words}
    typed = word.lstrip("-")
    longer = [other for other in bare if len(typed) > 1 and other.startswith(typed)]
    alike = longer or difflib.get_close_matches(typed, bare, 1)
    return f", did you mean {bare[alike[0]]!r}?" if alike else ""


def command_file(command: str) -> ModuleType:
    """Import the file of a command."""
    files = {name: file for name, _, file in COMMANDS}
    return import_module(f"vidsme_jax.cli.{files[command]}")


def make_parser(*chosen: str) -> tuple[Parser, dict[str, Parser]]:
    """Return the parser of `vidsme`, and those of its commands by name.

    Args:
        chosen: the commands whose options are added, which imports their files.
    """
    parser = Parser(
        "vidsme",
        description="Was this video in the training set of a video LLM, and how sure"
        " can one be? Vid-SME (arXiv 2506.03179) and its baselines, in JAX.",
    )
    parser.first = ORDER
    parser.add_argument("--version", action="version", version=f"vidsme {__version__}")
    parser.add_argument(
        "--print-completion",
        action=PrintCompletion,
        choices=("bash", "zsh", "tcsh"),
        help="print what makes a shell complete commands, options and paths",
    )
    commands = parser.add_subparsers(
        dest="command",
        required=True,
        metavar="COMMAND",
        title="commands",
        parser_class=Parser,
    )
    parsers = {}
    for name, line, _ in COMMANDS:
        parsers[name] = commands.add_parser(name, help=line, description=line)
        if name in chosen:
            file = command_file(name)
            parsers[name].first = file.EXAMPLES
            file.add_arguments(parsers[name])
    return parser, parsers


class PrintCompletion(argparse.Action):
    """Print a shell's completion of all commands, and end."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Print the completion for the shell that was named."""
        import shtab

        whole, parsers = make_parser(*(name for name, _, _ in COMMANDS))
        for command in parsers.values():
            for action in command._actions:
                if "DIR" in str(action.metavar):
                    action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
                elif action.type in (Path, calibration_file):
                    action.complete = shtab.FILE  # type: ignore[attr-defined]
        print(shtab.complete(whole, values))
        parser.exit()


def read_options(words: list[str]) -> argparse.Namespace:
    """Return the options of a command line, the command's name among them.

    Raises:
        SystemExit: help was asked for (0), or the words are wrong (2, with one line).
    """
    chosen = next((word for word in words if not word.startswith("-")), "")
    parser, parsers = make_parser(chosen)
    command = parsers.get(chosen, parser)
    there = {*parser._option_string_actions, *command._option_string_actions}
    long = [word for word in words if word.startswith("--") and " " not in word]
    wrong = [word for word in long if word != "--" and word.partition("=")[0] not in there]
    # Said before what is missing beside them, but after a command that does not exist.
    if wrong and "--" not in words and chosen in ("", *parsers):
        command.refuse(wrong)
    options, unknown = parser.parse_known_args(words)
    if unknown:
        command.refuse(unknown)
    return options
