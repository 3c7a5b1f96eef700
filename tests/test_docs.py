import importlib
import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
import yaml
from tools import make_project, python

from vidsme_jax.models.toy import write_toy

pytestmark = [pytest.mark.slow(60), pytest.mark.least_compiled]

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
        ROOT / "experiments" / "README.md",
        *(ROOT / "docs").rglob("*.md"),
    ]
)
FOLDERS = ("vidsme_jax", "models", "data", "docs", "tests", "experiments", ".ci", ".github")
SUFFIXES = (".py", ".md", ".cfg", ".toml", ".cff", ".yml")
WRITTEN = ("report.md", "TRACE", "NAME")  # by a command; placeholders
# Of pytest, pip and the scripts in experiments/.
OTHER_OPTIONS = {"--record", "--large", "--deals", "--shift", "--seeds"}


def text_of(path):
    return path.read_text()


def blocks(path, *languages):
    """The fenced blocks of some languages in a page."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", text_of(path), re.DOTALL | re.MULTILINE)
    return [block for language, block in fenced if language in languages]


def spans(path):
    """The code spans of a page outside its fenced blocks, each on one line."""
    prose = re.sub(r"```.*?```", "", text_of(path), flags=re.DOTALL)
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)]


def generator():
    """The script that writes the page of the command line."""
    path = ROOT / "docs" / "generate_command_line.py"
    spec = importlib.util.spec_from_file_location("generate_command_line", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def name_of(path):
    return str(path.relative_to(ROOT))


@pytest.fixture(scope="module")
def parsers():
    return generator().command_parsers()


def test_the_readme_is_read_in_three_minutes():
    text = text_of(ROOT / "README.md")
    assert len(text.split()) < 1000
    assert text.count("\n") <= 170


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text_of(page)):
        if not link.startswith(("https://", "http://")):
            assert (page.parent / link).exists(), link


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_files_in_backticks_exist(page):
    names = {path.name for path in files()}
    words = {word.strip("(),.;") for span in spans(page) for word in span.split()}
    words |= {
        word
        for block in blocks(page, "sh")
        for word in block.split()
        if word.startswith(("tests/", "experiments/", ".ci/"))
    }
    for word in words:
        if any(mark in word for mark in ("*", "…", "<", *WRITTEN)):
            continue
        if word.split("/")[0] in FOLDERS and "/" in word:
            assert (ROOT / word).exists(), word
        elif word.endswith(SUFFIXES) and "/" not in word and word != Path(word).suffix:
            assert word in names, word


def files():
    """All files of the checkout but those that tools leave."""
    for folder in FOLDERS:
        yield from (ROOT / folder).rglob("*.*")
    yield from ROOT.glob("*.*")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_modules_in_backticks_can_be_imported(page):
    for span in spans(page):
        if re.fullmatch(r"vidsme_jax(\.\w+)+", span):
            assert exists(span), span


def exists(dotted):
    """Whether a dotted name is a module, or something in one."""
    try:
        importlib.import_module(dotted)
    except ModuleNotFoundError:
        module, _, name = dotted.rpartition(".")
        return hasattr(importlib.import_module(module), name)
    return True


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_command_lines_in_blocks_are_understood(page, parsers, capsys, monkeypatch):
    # `--shards auto` asks the environment of a launcher.
    monkeypatch.setenv("TPU_WORKER_ID", "2")
    monkeypatch.setenv("TPU_WORKER_HOSTNAMES", "a,b,c,d")
    for words in command_lines(page):
        assert words[0] in parsers, words
        try:
            parsers[words[0]].parse_args(words[1:])
        except SystemExit:
            pytest.fail(f"{words}: {capsys.readouterr().err}")


def command_lines(page):
    """The words after `vidsme` of every command in the fenced blocks of a page."""
    for block in blocks(page, "sh", "bash", ""):
        for line in block.replace("\\\n", " ").splitlines():
            found = re.match(r"\s*(?:\S*/bin/)?vidsme (.*)", line)
            if found and "…" not in line:
                # An ampersand starts it in the background; a quote ends a remote command.
                text = re.sub(r"[&'\s]+$", "", found[1].split("  #")[0].split(" # ")[0])
                yield shlex.split(text)
    for block in blocks(page, "yaml"):
        for words in re.findall(r"\[vidsme,.*?\]", block, re.DOTALL):
            yield [str(word) for word in yaml.safe_load(words)[1:]]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_and_options_in_text_exist(page, parsers):
    options = {option for p in parsers.values() for option in p._option_string_actions}
    for span in spans(page):
        words = span.split()
        if words[0] == "vidsme" and len(words) > 1:
            command = words[1]
            assert command in (*parsers, "COMMAND", "--help", "--print-completion"), span
            if command not in parsers:
                continue
            options_here = parsers[command]._option_string_actions
            wrong = [w for w in words[2:] if w.startswith("--") and w not in options_here]
            assert not wrong, span
        elif words[0].startswith("--"):
            assert words[0] in options | OTHER_OPTIONS, span


def test_the_page_of_the_command_line_is_up_to_date():
    """Otherwise run docs/generate_command_line.py."""
    module = generator()
    assert text_of(module.PAGE) == module.page()


def test_the_site_has_every_page_once():
    nav = yaml.safe_load(text_of(ROOT / "mkdocs.yml").split("\nnav:")[1].join(["nav:", ""]))
    listed = []

    def walk(entry):
        if isinstance(entry, str):
            listed.append(entry)
        else:
            for inner in entry.values() if isinstance(entry, dict) else entry:
                walk(inner)

    walk(nav["nav"])
    docs = ROOT / "docs"
    pages = [*docs.rglob("*.md"), *docs.rglob("*.ipynb")]
    assert sorted(listed) == sorted(str(page.relative_to(docs)) for page in pages)


def test_the_python_of_the_docs_runs(tmp_path):
    """The blocks of the Python page, one after the other, the last under a toy model."""
    _, _, model = make_project(tmp_path)
    (tmp_path / "vidsme-demo").mkdir()
    shutil.move(model, tmp_path / "vidsme-demo" / "target")
    code = blocks(ROOT / "docs" / "reference" / "python.md", "python")
    assert len(code) >= 5
    done = python(tmp_path, "-W", "error", "-c", "\n".join(code))
    assert done.returncode == 0, done.stderr


def test_the_python_of_the_guides_runs(tmp_path):
    """A list is dealt into thirds; a toy in a model's place gives a table."""
    rows = [{"video": f"{n}.mp4", "answer": "a cat"} for n in range(6)]
    (tmp_path / "clips.json").write_text(json.dumps(rows))
    for name in ("guide/audit.md", "internals/adding-a-port.md"):
        (code,) = blocks(ROOT / "docs" / name, "python")
        done = python(tmp_path, "-W", "error", "-c", code)
        assert done.returncode == 0, done.stderr
    assert all(json.loads((tmp_path / f"{part}.json").read_text()) for part in "ABC")
    assert (tmp_path / "scores.csv").read_text().startswith("id,label,score\n")


def test_the_python_of_the_readme_runs(tmp_path):
    """As it stands there: two checkpoints and a manifest in the folder."""
    _, manifest, model = make_project(tmp_path)
    assert manifest.name == "manifest.json"
    write_toy(tmp_path / "OTHER", ["What moves in this video?"], seed=1)
    shutil.move(model, tmp_path / "CHECKPOINT")
    (code,) = blocks(ROOT / "README.md", "python")
    done = python(tmp_path, "-c", code)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report" / "report.html").is_file()


def test_printed_tables_belong_to_scripts_that_the_readme_names():
    folder = ROOT / "experiments"
    scripts = {p.stem for p in (*folder.glob("*.py"), *folder.glob("checks/*.py"))}
    tables = list((folder / "results").iterdir())
    assert tables
    for path in tables:
        assert path.stem in scripts, path
        assert path.read_text().startswith("Printed by "), path
    named = text_of(folder / "README.md")
    for script in scripts - {"lab", "bench", "hostile_files", "hostile_models"}:
        assert f"/{script}.py" in named, script
