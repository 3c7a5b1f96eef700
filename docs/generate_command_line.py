"""Write docs/reference/command-line.md from the parsers of the `vidsme` command.

    python docs/generate_command_line.py

A test checks that the page is up to date.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

from vidsme_jax.cli.parsers import COMMANDS, Parser, make_parser

PAGE = Path(__file__).parent / "reference" / "command-line.md"
HEAD = """# Command line

Every command and option, written by `docs/generate_command_line.py` from the parsers.
Defaults stand in parentheses.

Exit codes: 0 done; 2 wrong input, one line that says what; 75 interrupted, run the same
command again; 70 a fault of the program, one line and a file to send in. No option is
guessed from its first letters.

For completion, add `eval "$(vidsme --print-completion bash)"` to `~/.bashrc`. For zsh, have
`vidsme --print-completion zsh > DIR/_vidsme`, with DIR in its `$fpath`; tcsh is alike.
"""


def command_parsers() -> dict[str, Parser]:
    """Return the parser of each command, by the command's name."""
    return make_parser(*(name for name, _, _ in COMMANDS))[1]


def page() -> str:
    """Return the whole page as Markdown."""
    commands = command_parsers().values()
    return "\n".join([HEAD, *(line for parser in commands for line in _lines(parser))])


def _lines(parser: Parser) -> Iterator[str]:
    """Yield the lines of one command: what it does, its examples, its options."""
    yield from (f"## {parser.prog}", "", parser.description or "", "")
    yield from ("```", *parser.first.rstrip().splitlines(), "```", "")
    for group in parser._action_groups:
        options = [a for a in group._group_actions if _is_shown(a)]
        if options:
            yield from (f"{(group.title or '').capitalize()}:", "")
            yield from (f"- `{_words(a)}`{_needed(a)}: {_help(parser, a)}" for a in options)
            yield ""


def _is_shown(action: argparse.Action) -> bool:
    return action.help != argparse.SUPPRESS and action.dest != "help"


def _words(action: argparse.Action) -> str:
    """Return an option as it is typed, such as `--frames N[,N]`."""
    if action.metavar is not None:
        value = str(action.metavar)
    elif action.choices is not None:
        value = "{" + ",".join(map(str, action.choices)) + "}"
    else:
        value = action.dest.upper()
    more = {"+": f"{value} [{value} ...]", "*": f"[{value} ...]", "?": f"[{value}]", 0: ""}
    value = more.get(action.nargs, value) if action.nargs is not None else value
    return " ".join(filter(None, [", ".join(action.option_strings), value]))


def _needed(action: argparse.Action) -> str:
    return " (required)" if action.option_strings and action.required else ""


def _help(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    return " ".join((action.help or "").split()) % {**vars(action), "prog": parser.prog}


if __name__ == "__main__":
    PAGE.write_text(page())
