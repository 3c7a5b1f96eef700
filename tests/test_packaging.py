import configparser
import importlib
import re
import shutil
from pathlib import Path

import pytest
from tools import python

pytestmark = [pytest.mark.slow(55), pytest.mark.least_compiled]

ROOT = Path(__file__).resolve().parents[1]


SOURCES = [p for d in ("vidsme_jax", "models", "data") for p in (ROOT / d).rglob("*.py")]


def setup_cfg():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def test_every_folder_of_code_is_installed():
    """setup.cfg lists packages by hand; a forgotten one would be silently absent."""
    listed = dict(
        line.split(" = ")
        for line in setup_cfg()["options"]["package_dir"].strip().splitlines()
    )
    folders = {
        str(p.parent.relative_to(ROOT))
        for top in ("vidsme_jax", "models", "data")
        for p in (ROOT / top).rglob("__init__.py")
    }
    assert set(listed.values()) == folders
    assert set(setup_cfg()["options"]["packages"].split()) == set(listed)


def test_the_installed_package_has_every_file():
    listed = setup_cfg()["options"]["package_dir"].strip().splitlines()
    for name, folder in (line.split(" = ") for line in listed):
        place = Path(importlib.import_module(name).__file__).parent
        for path in (ROOT / folder).iterdir():
            if path.suffix in (".py", ".html", ".json") or path.name == "py.typed":
                assert (place / path.name).is_file(), path


def test_nothing_is_installed_that_the_checkout_lacks():
    """A build folder of an earlier version would bring its modules back."""
    listed = setup_cfg()["options"]["package_dir"].strip().splitlines()
    for name, folder in (line.split(" = ") for line in listed):
        place = Path(importlib.import_module(name).__file__).parent
        installed = {
            p.name for p in place.iterdir() if p.suffix in (".py", ".html", ".json")
        }
        assert installed <= {p.name for p in (ROOT / folder).iterdir()}, name


def test_the_public_names_exist():
    import vidsme_jax

    for name in vidsme_jax.__all__:
        assert callable(getattr(vidsme_jax, name)) or name == "__version__", name


def test_heavy_imports_stand_in_one_file_each():
    sources = [
        p for d in ("vidsme_jax", "models", "data") for p in (ROOT / d).rglob("*.py")
    ]
    for module in (
        "cv2",
        "decord",
        "av",
        "tensorflow_datasets",
        "transformers",
        "optax",
        "tokenizers",
        "huggingface_hub",
        "torch",
    ):
        pattern = re.compile(rf"^\s*(import|from) {module}\b", re.MULTILINE)
        users = {p.name for p in sources if pattern.search(p.read_text())}
        # PyTorch's classes of transformers stand where PyTorch does.
        users -= {"torch_peer.py"} if module == "transformers" else set()
        # A process of its own, which must not import transformers.
        users -= {"bounded_process.py"} if module == "tokenizers" else set()
        assert len(users) == 1, (module, users)
    for module in ("sklearn", "tensorflow", "matplotlib"):
        pattern = re.compile(rf"^\s*(import|from) {module}\b", re.MULTILINE)
        assert not [p.name for p in sources if pattern.search(p.read_text())]


def test_importing_touches_no_device(tmp_path):
    code = (
        "import importlib, jax\n"
        "for name in ('scores.curves', 'sharding', 'models', 'data.clips', 'runs.score',\n"
        "             'training.train', 'cli.demo', 'evaluation.evaluate'):\n"
        "    importlib.import_module(f'vidsme_jax.{name}')\n"
        "from jax._src import xla_bridge\n"
        "assert not xla_bridge._backends"
    )
    done = python(tmp_path, "-c", code)
    assert done.returncode == 0, done.stderr


def test_files_and_functions_stay_short():
    import ast

    for top in ("vidsme_jax", "models", "data"):
        for path in (ROOT / top).rglob("*.py"):
            text = path.read_text()
            assert text.count("\n") <= 450, path
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.FunctionDef):
                    assert node.end_lineno - node.lineno < 60, (path, node.name)


def test_a_checkout_is_importable_from_inside(tmp_path):
    """Started there, Python finds vidsme_jax/ without models/ and data/ inside."""
    for name in ("vidsme_jax", "models", "data"):
        shutil.copytree(ROOT / name, tmp_path / name)
    code = (
        "import vidsme_jax.models.checkpoints.hub as hub\n"
        "import vidsme_jax.data.manifest as manifest\n"
        f"assert hub.__file__ == {str(tmp_path / 'models' / 'checkpoints' / 'hub.py')!r}\n"
        f"assert manifest.__file__ == {str(tmp_path / 'data' / 'manifest.py')!r}"
    )
    done = python(tmp_path, "-c", code)
    assert done.returncode == 0, done.stderr


def test_parts_of_pyarrow_are_imported_where_they_are_used():
    """`import pyarrow` does not load pyarrow.compute and the like; another import may."""
    missing = []
    for path in SOURCES:
        text = path.read_text()
        for part in ("compute", "csv", "json", "parquet", "dataset", "feather"):
            is_used = re.search(rf"\b(pa|pyarrow)\.{part}\.", text)
            if is_used and f"import pyarrow.{part}" not in text:
                missing.append(f"{path.name} pyarrow.{part}")
    assert not missing
