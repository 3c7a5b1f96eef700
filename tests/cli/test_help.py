"""What is said to someone who does not know the words yet: help, hints and completion."""

import shlex
import subprocess

import pytest
from tools import python

from vidsme_jax.cli.main import main
from vidsme_jax.cli.parsers import COMMANDS, make_parser, nearest, read_options

NAMES = [name for name, _, _ in COMMANDS]


def help_of(capsys, *words):
    with pytest.raises(SystemExit) as caught:
        main([*words, "--help"])
    assert caught.value.code == 0
    return capsys.readouterr().out


def error_of(capsys, words):
    with pytest.raises(SystemExit) as caught:
        main(words.split())
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize("name", NAMES)
def test_help_begins_with_examples_and_an_order_that_are_understood(name, capsys):
    printed = help_of(capsys, name)
    before, _, after = printed.partition("usage: ")
    assert before and "--help" in after
    lines = before.replace("\\\n", " ").splitlines()
    examples = [line.split(maxsplit=1)[1] for line in lines if line.startswith("  vidsme ")]
    assert 1 <= len(examples) <= 2
    for example in examples:
        assert read_options(shlex.split(example)).command == name
    (order,) = [line for line in lines if line.startswith("order: ")]
    assert name in order
    if name not in ("plan", "bench", "status", "list"):
        assert [word for word in NAMES if word != name and word in order.split()]


def test_help_of_all_begins_with_the_order_of_an_audit(capsys):
    before, _, after = help_of(capsys).partition("usage: ")
    lines = [line.split() for line in before.splitlines() if line.startswith("  vidsme ")]
    assert [line[1] for line in lines] == ["demo", "prepare", "score", "evaluate"]
    assert all(f"\n    {name} " in after for name in NAMES)


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("eval", "invalid choice: 'eval', did you mean 'evaluate'?"),
        ("scroe --model m", "invalid choice: 'scroe', did you mean 'score'?"),
        ("list score", "invalid choice: 'score', did you mean 'scores'?"),
        ("score --frame 4", "--frame, did you mean '--frames'?"),
        ("score --modle m --data d", "--modle, did you mean '--model'?"),
        ("train --stpes=3 --model m", "--stpes=3, did you mean '--steps'?"),
        ("evaluate r --out o --contol c", "--contol, did you mean '--control'?"),
        ("--verson", "--verson, did you mean '--version'?"),
        ("demo --objective txt", "invalid choice: 'txt', did you mean 'text'?"),
    ],
)
def test_a_word_that_is_nearly_right_is_answered_with_the_right_one(capsys, words, hint):
    assert hint in error_of(capsys, words)


def test_nothing_like_a_word_is_no_hint(capsys):
    assert nearest("--qqq", ["--frames"]) == "" == nearest("--", ["--frames", "--"][:1])
    assert "did you mean" not in error_of(capsys, "score --qqq")


@pytest.mark.parametrize("name", [None, *NAMES])
def test_no_option_is_guessed_from_its_beginning(capsys, name):
    """Every option less its last letter, which argparse would take for the option."""
    whole, parsers = make_parser(*NAMES)
    parser = whole if name is None else parsers[name]
    options = [word for word in parser._option_string_actions if word.startswith("--")]
    assert parser.allow_abbrev is False and "--help" in options
    for option in options:
        words = f"{name or ''} {option[:-1]}"
        if option[:-1] not in options:
            assert f"unrecognized arguments: {option[:-1]}" in error_of(capsys, words)


COMPLETE = """
source completion.bash
answer() {
    COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
    $(complete -p vidsme | sed 's/.*-F \\([^ ]*\\).*/\\1/') vidsme "${COMP_WORDS[-1]}"
    echo "${COMPREPLY[@]}"
}
answer vidsme eva
answer vidsme score --fra
answer vidsme score --dtype b
answer vidsme score --out fol
answer vidsme evaluate fo
"""


def test_bash_completes_commands_options_choices_and_paths(tmp_path):
    words = ("-m", "vidsme_jax", "--print-completion", "bash")
    printed = python(tmp_path, *words)
    assert printed.returncode == 0, printed.stderr
    (tmp_path / "completion.bash").write_text(printed.stdout)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder.csv").touch()
    done = subprocess.run(
        ["bash", "-c", COMPLETE], capture_output=True, text=True, cwd=tmp_path
    )
    answers = [line.split() for line in done.stdout.splitlines()]
    assert answers[:3] == [["evaluate"], ["--frames"], ["bfloat16"]], done.stderr
    folder, both = ({word.rstrip("/") for word in answer} for answer in answers[3:])
    assert folder == {"folder"} and both == {"folder", "folder.csv"}


@pytest.mark.parametrize("shell", ["zsh", "tcsh"])
def test_other_shells_get_all_commands(capsys, shell):
    with pytest.raises(SystemExit) as ended:
        main(["--print-completion", shell])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in NAMES) and "--calibration" in printed


def test_help_and_completion_import_nothing_heavy(tmp_path):
    code = (
        "import sys; from vidsme_jax.cli.main import main\n"
        "for words in (['score', '--help'], ['--print-completion', 'bash']):\n"
        "    try: main(words)\n"
        "    except SystemExit as stop: assert stop.code == 0\n"
        "heavy = {'jax', 'numpy', 'pyarrow', 'transformers', 'cv2', 'tqdm', 'yaml'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    done = python(tmp_path, "-c", code)
    assert done.returncode == 0, done.stderr
