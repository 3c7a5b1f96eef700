"""The small form of experiments/checks/hostile_inputs.py: the quickest, most telling files.

Each ends its command with exit code 2 and one line, in this process. The whole check runs
each in a process of its own, and looks at hangs, memory and reads as well.
"""

import os
import sys
from pathlib import Path

import pytest
from tools import make_project

from vidsme_jax.cli.main import main

sys.path.append(str(Path(__file__).resolve().parents[1] / "experiments" / "checks"))
from hostile_files import CANARY, Base  # noqa: E402
from hostile_models import KINDS  # noqa: E402

pytestmark = [pytest.mark.slow(20), pytest.mark.least_compiled]

# Each is the name of a case, or its beginning.
TELLING = {
    "manifest": (
        *("pipe.", "device.", "sparse.", "brackets", "deep and closed", "key twice"),
        *("csv cell without end", "csv 100,000 columns", "jsonl turns", "jsonl 100,000"),
        *("video='/etc/passwd'", "video='../../outside/", "video='http", "deep"),
    ),
    "table": (
        *("pipe.csv", "device.json", "directory.tsv", "half.parquet", "digits", "objects"),
        *("100,000 columns csv", "parquet deep"),
    ),
    "checkpoint": (
        *("pipe config.json", "device model.safetensors", "config of brackets"),
        *("config.json links out", "model.safetensors links out", "index: a file above"),
        *("tensors: length 2^63", "tensors: huge shape", "tensors: offsets backwards"),
    ),
    "template": ("10^9 letters", "centred", "10^7 letters", "recursion", "pipe", "2 MB"),
    "tokenizer": ("deep pattern", "pattern without end, nested", "no vocabulary"),
    "adapter": ("pipe adapter_config.json", "tensors: deep header", "links out"),
    "grid": ("aliases of aliases", "deep", "Python object", "large", "many keys", "pipe"),
}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    make_project(folder / "whole", count=2)
    (folder / "whole" / "manifest.json").rename(folder / "whole" / "clips.json")
    out = Base(folder, port=9)
    out.outside.mkdir()
    for name in ("canary.txt", "canary.json", "config.json"):
        (out.outside / name).write_text(f'{{"secret": "{CANARY}"}}')
    return out


def telling(kind, base):
    cases = {case.name: case for case in KINDS[kind](base)}
    for start in TELLING[kind]:
        names = [start] if start in cases else [n for n in cases if n.startswith(start)]
        assert names, start
        yield cases[names[0]]


@pytest.mark.parametrize("kind", TELLING)
def test_a_hostile_file_is_refused_in_one_line(kind, base, tmp_path, monkeypatch, capfd):
    for number, case in enumerate(telling(kind, base)):
        folder = tmp_path / str(number)
        folder.mkdir()
        case.make(folder)
        monkeypatch.chdir(folder)
        code = main(list(case.words))
        err = capfd.readouterr().err
        lines = err.splitlines()
        assert code == 2 and "Traceback" not in err, (case.name, code, err)
        assert [line for line in lines if line.startswith("vidsme")] == lines[-1:], (
            case.name
        )
        assert len(lines[-1]) <= 2050 and CANARY not in err, case.name


def test_a_lock_that_links_out_writes_nothing_there(base, tmp_path):
    from vidsme_jax.records.files import is_locked, locked

    target = tmp_path / "target"
    target.write_text("whole")
    run = tmp_path / "run"
    run.mkdir()
    (run / ".lock").symlink_to(target)
    with pytest.raises(OSError, match="symbolic links"), locked(run):
        pass
    assert target.read_text() == "whole"
    (run / ".lock").unlink()
    os.mkfifo(run / ".lock")
    assert not is_locked(run)
