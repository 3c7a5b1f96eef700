"""The house: who may import whom, how large its parts may be, and how they are called."""

import ast
import re
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from tools import python

ROOT = Path(__file__).resolve().parents[1]
SOURCES = [p for d in ("vidsme_jax", "models", "data") for p in (ROOT / d).rglob("*.py")]

# Rooms by floor; what everybody may import. A room is a folder or a file.
EVERYBODYS = {"errors", "progress", "reading"}
FLOORS = (
    ("stats", "batch", "sharding", "errors", "progress", "reading"),
    ("scores", "records"),
    ("models", "data", "evaluation"),
    ("runs", "training", "report", "bench"),
    ("sweeps", "attacks"),
    ("cli", "api"),
    ("__main__",),
)
MAY_IMPORT = {
    **dict.fromkeys(FLOORS[0], ""),
    "scores": "batch",
    "records": "",
    "models": "batch sharding",
    "data": "batch records",
    "evaluation": "stats records scores",
    "runs": "models data scores records batch sharding",
    "training": "models data records batch sharding scores",
    "bench": "models data scores records batch sharding",
    "report": "evaluation stats scores records",
    "sweeps": "runs evaluation report models data scores records",
    "attacks": "runs training models data records stats",
    "cli": "runs training bench report sweeps attacks evaluation models data scores"
    " records stats batch sharding",
    "api": "runs training report sweeps attacks evaluation models data scores records",
    "__main__": "cli",
}
# Of a room, when only these files of another may be imported.
ONLY = {
    ("evaluation", "scores"): {"catalogue"},
    ("report", "scores"): {"catalogue"},
    ("training", "scores"): {"catalogue"},
    ("sweeps", "report"): {"figures"},
}


def room_of(path):
    relative = path.relative_to(ROOT)
    parts = relative.parts[1:] if relative.parts[0] == "vidsme_jax" else relative.parts
    return parts[0].removesuffix(".py")


def imports_of(path):
    """Yield (room, file) of each of our own modules that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            package, *parts = name.split(".")
            if package == "vidsme_jax" and parts and not parts[0].startswith("__version"):
                yield parts[0], (parts[1] if len(parts) > 1 else "")


def test_each_room_imports_what_it_may():
    wrong = []
    for path in SOURCES:
        room = room_of(path)
        if room == "__init__":  # its public names are imported lazily, by their strings
            continue
        allowed = {room, *EVERYBODYS, *MAY_IMPORT[room].split()}
        for other, file in imports_of(path):
            only = ONLY.get((room, other))
            if other not in allowed or (only and file not in only):
                wrong.append(f"{path.relative_to(ROOT)} imports {other}.{file}")
    assert not wrong


def test_every_room_stands_on_a_floor_and_arrows_point_down():
    floor = {room: n for n, rooms in enumerate(FLOORS) for room in rooms}
    rooms = {room_of(path) for path in SOURCES} - {"__init__"}
    assert rooms <= set(floor) == set(MAY_IMPORT)
    for room, allowed in MAY_IMPORT.items():
        assert all(floor[other] < floor[room] for other in allowed.split()), room


def test_no_files_import_each_other_in_a_circle():
    """Of imports at the top of files; those inside functions run later."""
    names = {}
    for path in SOURCES:
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts if parts[0] == "vidsme_jax" else ("vidsme_jax", *parts))
        names[name.removesuffix(".__init__")] = path
    graph = defaultdict(set)
    for name, path in names.items():
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    inner = f"{node.module}.{alias.name}"
                    target = inner if inner in names else node.module
                    if target in names and target != name:
                        graph[name].add(target)
    done, open_ = set(), []

    def visit(name):
        assert name not in open_, [*open_[open_.index(name) :], name]
        if name not in done:
            open_.append(name)
            for other in graph[name]:
                visit(other)
            open_.pop()
            done.add(name)

    for name in names:
        visit(name)


def functions(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            yield node


def test_files_functions_and_folders_stay_small():
    folders = Counter(path.parent for path in SOURCES)
    assert max(folders.values()) <= 21, folders.most_common(1)  # with __init__.py
    for path in SOURCES:
        text = path.read_text()
        assert text.count("\n") <= 450, path
        for node in functions(ast.parse(text)):
            assert node.end_lineno - node.lineno < 60, (path, node.name)


def test_functions_take_few_parameters_and_classes_have_few_fields():
    for path in SOURCES:
        tree = ast.parse(path.read_text())
        for node in functions(tree):
            taken = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            count = len([a for a in taken if a.arg not in ("self", "cls")])
            assert count <= 7, (path, node.name, count)
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and not is_settings(node.name):
                count = sum(isinstance(item, ast.AnnAssign) for item in node.body)
                assert count <= 12, (path, node.name, count)


def is_settings(name):
    """Settings, configs of graphs, and the grid of a sweep have a field for each choice."""
    return name.endswith(("Settings", "Config")) or name == "Grid"


def test_a_class_has_a_name_of_its_own():
    names = Counter(
        node.name
        for path in SOURCES
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef)
    )
    assert not [name for name, count in names.items() if count > 1]


VAGUE = {"one", "found", "held", "given", "each", "known", "own", "asked", "thing", "stuff"}


def test_devices_are_asked_for_in_one_place():
    """Where a platform is missing, JAX raises what no one can read."""
    asked_directly = re.compile(r"jax\.(local_devices|default_backend)\(")
    wrong = [p.name for p in SOURCES if asked_directly.search(p.read_text())]
    assert wrong == ["errors.py"]


def test_names_say_what_a_value_is():
    """But for the field of a row that names a column of stores, and enters their hashes."""
    wrong = []
    for path in [*SOURCES, *(ROOT / "experiments").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            name = getattr(node, "arg", None)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                name = node.id
            if name in VAGUE and (path.name, name) != ("rows.py", "asked"):
                wrong.append(f"{path.relative_to(ROOT)}:{node.lineno} {name}")
    assert not wrong


def test_results_and_reports_are_typed():
    """JSON of theirs is a dict, and is called so."""
    for room in ("evaluation", "report"):
        for path in (ROOT / "vidsme_jax" / room).rglob("*.py"):
            for node in functions(ast.parse(path.read_text())):
                types = [a.annotation for a in node.args.args] + [node.returns]
                has_dict = any(t and "dict[str, Any]" in ast.unparse(t) for t in types)
                is_json = "json" in node.name
                public = not node.name.startswith("_")
                assert not (has_dict and public and not is_json), (path, node.name)


def test_no_definition_is_told_by_comparing_its_name():
    """What differs between definitions stands in their values."""
    pattern = re.compile(r"""[=!]=\s*["']published["']|int\(name\[4:\]\)""")
    sources = [*SOURCES, *(ROOT / "experiments").rglob("*.py")]
    assert not [path for path in sources if pattern.search(path.read_text())]


@pytest.mark.parametrize(
    "module",
    [
        "vidsme_jax",
        "vidsme_jax.scores.catalogue",
        "vidsme_jax.scores.orders",
        "vidsme_jax.records.runs",
        "vidsme_jax.stats.metrics",
        *(
            f"vidsme_jax.cli.{path.stem}"
            for path in sorted((ROOT / "vidsme_jax" / "cli").glob("*.py"))
            if path.stem != "__init__"
        ),
    ],
)
def test_names_and_options_cost_no_jax(module, tmp_path):
    code = f"import sys, {module}; raise SystemExit('jax' in sys.modules)"
    done = python(tmp_path, "-c", code)
    assert done.returncode == 0, done.stderr
