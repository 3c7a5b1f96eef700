"""Every option stands in two places: a field of its command's settings, and the option.

A third place would show here: names and defaults are compared, and nothing copies them.
"""

import argparse
from dataclasses import MISSING, dataclass, fields

import pytest
from tools import python

from vidsme_jax.bench.bench import BenchSettings
from vidsme_jax.bench.inputs import SIZES
from vidsme_jax.bench.plan import PlanSettings
from vidsme_jax.cli import score as score_command
from vidsme_jax.cli.demo import DemoSettings
from vidsme_jax.cli.main import main
from vidsme_jax.cli.options import OBJECTIVES, settings_from
from vidsme_jax.cli.parsers import COMMANDS, command_file, read_options
from vidsme_jax.data.batches import PERTURBATIONS
from vidsme_jax.data.clips import Decoding
from vidsme_jax.data.manifest import TURNS, ManifestSettings
from vidsme_jax.data.readers.policy import POLICIES
from vidsme_jax.evaluation.settings import EvaluationSettings
from vidsme_jax.models.prompts.published import PUBLISHED
from vidsme_jax.runs.prepare import PrepareSettings
from vidsme_jax.runs.settings import ScoreSettings
from vidsme_jax.training.fit import Recipe
from vidsme_jax.training.train import FRAME_ORDERS, TrainSettings

NAMES = [name for name, _, _ in COMMANDS]


@dataclass(frozen=True)
class Case:
    """The settings that a command's options become.

    Attributes:
        kinds: dataclasses of its settings, and of the groups of settings in them.
        beside: options that its function takes beside the settings.
        python_only: fields of the settings that are no option.
        words: the shortest command line, without the command.
    """

    kinds: tuple[type, ...]
    beside: set[str]
    python_only: set[str]
    words: str


DATA = "--model m --data d.json --out o"
CASES = {
    "demo": Case((DemoSettings,), set(), {"clips", "steps"}, ""),
    "train": Case(
        (TrainSettings, Recipe, ManifestSettings),
        set(),
        {"recipe", "manifests", "warmup", "clip_norm"},
        DATA,
    ),
    "prepare": Case(
        (PrepareSettings, Decoding, ManifestSettings),
        set(),
        {"decoding", "manifests"},
        "d.json --model m --out o",
    ),
    "score": Case(
        (ScoreSettings, Decoding, ManifestSettings),
        {"profile"},
        {"decoding", "manifests", "variants"},
        DATA,
    ),
    "merge": Case((), {"runs", "out"}, set(), "r"),
    "status": Case((), {"run"}, set(), "r"),
    "verify": Case((), {"run"}, set(), "r"),
    "evaluate": Case(
        (EvaluationSettings,),
        {"runs", "control", "reference", "out"},
        {"fprs", "permutations", "splits", "confidence"},
        "r --out o",
    ),
    "sweep": Case((), {"grid", "out"}, set(), "g.yaml"),
    "plan": Case((PlanSettings,), set(), set(), "--model m"),
    "bench": Case((BenchSettings,), set(), set(), "--size toy"),
    "list": Case((), {"what"}, set(), "scores"),
}


def parser_of(name):
    parser = argparse.ArgumentParser()
    command_file(name).add_arguments(parser)
    return parser


def actions_of(name):
    return [a for a in parser_of(name)._actions if a.dest != "help"]


@pytest.mark.parametrize("name", NAMES)
def test_options_are_the_fields_of_the_settings(name):
    case = CASES[name]
    names = {field.name for kind in case.kinds for field in fields(kind)}
    assert case.python_only <= names
    dests = [action.dest for action in actions_of(name)]
    assert len(set(dests)) == len(dests)
    assert set(dests) == names - case.python_only | case.beside


@pytest.mark.parametrize("name", NAMES)
def test_defaults_are_those_of_the_fields(name):
    case = CASES[name]
    options = read_options([name, *case.words.split()])
    for kind in case.kinds:
        for field in fields(kind):
            if field.name in options and field.default is not MISSING:
                value = settings_value(options, field.name)
                assert (value, type(value)) == (field.default, type(field.default))


def settings_value(options, name):
    value = vars(options)[name]
    return tuple(value) if isinstance(value, list) else value


def test_choices_are_those_there_are():
    choices = {
        (name, a.dest): tuple(a.choices)
        for name in NAMES
        for a in actions_of(name)
        if a.choices
    }
    assert choices["score", "perturbation"] == tuple(PERTURBATIONS)
    assert choices["score", "published_prompt"] == tuple(PUBLISHED)
    assert set(choices["score", "reader"]) == set(POLICIES)
    assert choices["prepare", "reader"] == choices["score", "reader"]
    assert choices["score", "turns"] == choices["train", "turns"] == TURNS
    assert choices["train", "frame_order"] == FRAME_ORDERS
    assert choices["train", "objective"] == choices["demo", "objective"] == OBJECTIVES
    assert choices["bench", "size"] == tuple(SIZES)
    for rule in choices["evaluate", "rule"]:
        EvaluationSettings(rule=rule)


@pytest.mark.parametrize("name", NAMES)
def test_help_says_what_every_option_is(name):
    for action in actions_of(name):
        assert action.help, action.dest
        if action.option_strings and not action.required:
            assert "(default: " in action.help, action.dest


def test_a_new_option_of_score_is_two_lines():
    """A field and an argument: nothing between them names it."""

    @dataclass(frozen=True)
    class Longer(ScoreSettings):
        toy: int = 3

    parser = argparse.ArgumentParser()
    score_command.add_arguments(parser)
    parser.add_argument("--toy", type=int, default=3)
    words = DATA.split()
    assert settings_from(parser.parse_args(words), Longer).toy == 3
    assert settings_from(parser.parse_args([*words, "--toy", "4"]), Longer).toy == 4


def test_words_become_settings():
    words = f"score {DATA} --label 1 --definition top_5 --shards 1/4 --clip-timeout 20"
    options = read_options([*words.split(), "--keep-tokens", "--calibration", "c.json"])
    decoding = settings_from(options, Decoding)
    assert decoding == Decoding(clip_timeout=20.0)
    manifests = settings_from(options, ManifestSettings)
    assert manifests == ManifestSettings(labels=(1,))
    settings = settings_from(options, ScoreSettings, decoding=decoding)
    assert settings.data == (settings.data[0],)
    assert settings.definitions == ("exact", "top_5") and settings.keep_tokens
    assert str(settings.shard) == "1/4" and str(settings.calibration) == "c.json"
    options = read_options([*f"score {DATA} --workers 3".split()])
    assert settings_from(options, Decoding).workers == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("score --bogus", "vidsme score: unrecognized arguments: --bogus; see"),
        ("score --data d", "vidsme score: the following arguments are required"),
        (f"score {DATA} --bogus 1", "vidsme score: unrecognized arguments: --bogus"),
        ("--bogus status r", "vidsme status: unrecognized arguments: --bogus"),
        ("status r --bogus", "vidsme status: unrecognized arguments: --bogus"),
        ("status r s", "vidsme status: unrecognized arguments: s"),
        (f"score {DATA} --shards 4/4", "shards=4/4, expected K/N with K from 0 to N-1"),
        ("list", "vidsme list: the following arguments are required: what"),
        ("list slices", "vidsme list: argument what: invalid choice: 'slices'"),
        ("scroe", "vidsme: argument COMMAND: invalid choice: 'scroe'"),
        ("", "vidsme: the following arguments are required: COMMAND"),
    ],
)
def test_wrong_words_are_one_line_that_names_the_command(capsys, words, message):
    with pytest.raises(SystemExit) as caught:
        main(words.split())
    assert caught.value.code == 2
    printed = capsys.readouterr().err
    name = printed.split(":")[0]
    assert message in printed and printed.count("\n") == 1
    assert printed.endswith(f"; see {name} --help\n")


@pytest.mark.parametrize("word", ["scores", "models"])
def test_words_that_are_now_others(capsys, word):
    assert main([word]) == 2
    assert capsys.readouterr().err == f"vidsme: '{word}' is now 'vidsme list {word}'\n"


def test_no_file_of_a_command_imports_anything_heavy(tmp_path):
    """The help of all commands imports no file of one of them."""
    code = (
        "import sys, importlib\n"
        "from vidsme_jax.cli.main import main\n"
        "from vidsme_jax.cli.parsers import COMMANDS\n"
        "try: main(['--help'])\n"
        "except SystemExit as stop: assert stop.code == 0\n"
        "files = [f'vidsme_jax.cli.{file}' for _, _, file in COMMANDS]\n"
        "assert not set(files) & set(sys.modules)\n"
        "for file in files: importlib.import_module(file)\n"
        "heavy = {'jax', 'numpy', 'pyarrow', 'transformers', 'cv2', 'tqdm', 'yaml'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    done = python(tmp_path, "-c", code)
    assert done.returncode == 0, done.stderr
    for name in NAMES:
        assert f"\n    {name} " in done.stdout
