"""docs/first-audit.ipynb: its cells run, and what it shows is what it ran."""

import ast
import json
from pathlib import Path

import pytest
from tools import python

pytestmark = pytest.mark.slow(40)
NOTEBOOK = Path(__file__).resolve().parents[1] / "docs" / "first-audit.ipynb"
SIZES = "CLIPS, STEPS = 64, 400"
DISPLAY = "from IPython.display import display"  # a notebook has it, these tests have not
CHECKS = """
assert len(shown) == 8 and all(figure._repr_svg_().startswith("<svg") for figure in shown)
assert (OUT / "report" / "report.html").is_file()
assert 0 <= primary.auc.low <= primary.auc.value <= primary.auc.high <= 1
assert verdict.judged.rows == 2 * (CLIPS // 4)
"""


@pytest.fixture(scope="module")
def cells():
    return json.loads(NOTEBOOK.read_text())["cells"]


def sources(cells):
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def test_its_cells_run_one_after_the_other(cells, tmp_path):
    """With fewer clips and steps than it shows; all else as it stands there."""
    code = "\n".join(sources(cells))
    assert code.count(SIZES) == code.count(DISPLAY) == 1
    code = code.replace(SIZES, "CLIPS, STEPS = 16, 8")
    code = code.replace(DISPLAY, "shown = []\ndisplay = shown.append")
    done = python(tmp_path, "-W", "error", "-c", code + CHECKS)
    assert done.returncode == 0, done.stderr


def test_its_outputs_are_shown_and_say_no_path_of_a_machine(cells):
    outputs = [out for cell in cells for out in cell.get("outputs", ())]
    pictures = [out for out in outputs if "image/svg+xml" in out.get("data", {})]
    assert len(pictures) == 8
    text = json.dumps(outputs)
    assert "/home/" not in text and "/tmp/" not in text and "stderr" not in text


def test_it_calls_the_public_names_only(cells):
    """But for the trial, which makes clips and models to audit."""
    import vidsme_jax

    tree = ast.parse("\n".join(sources(cells)))
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "vj"
    }
    assert used == {"score", "evaluate"} and used <= set(vidsme_jax.__all__)
