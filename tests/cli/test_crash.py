import re
import stat
import sys
from pathlib import Path

import pytest
from tools import python

from vidsme_jax.cli.main import main

main_file = sys.modules[main.__module__]  # the package's own name `main` is the function


@pytest.mark.parametrize(
    "error", [RuntimeError("a\nb"), MemoryError(), RecursionError("deep"), AssertionError()]
)
def test_an_error_that_nobody_foresaw_is_a_line_and_a_report(error, monkeypatch, capsys):
    def fail(command):
        raise error

    monkeypatch.setattr(main_file, "command_file", fail)
    assert main(["status", "a folder"]) == 70
    (line,) = capsys.readouterr().err.splitlines()
    assert type(error).__name__ in line
    path = Path(re.search(r"(/\S+vidsme-report-\S+\.txt)", line).group(1))
    report = path.read_text()
    assert "vidsme status 'a folder'" in report and "Traceback" in report
    assert "pyarrow" in report
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.unlink()


def test_where_no_report_can_be_written(monkeypatch, capsys):
    monkeypatch.setattr(main_file, "command_file", lambda command: 1 / 0)
    monkeypatch.setattr(
        "tempfile.mkstemp", lambda **options: (_ for _ in ()).throw(OSError)
    )
    assert main(["status", "x"]) == 70
    (line,) = capsys.readouterr().err.splitlines()
    assert "no report could be written" in line


def test_interrupts_pass_and_panics_do_not(tmp_path):
    code = (
        "import importlib, sys\n"
        "f = importlib.import_module('vidsme_jax.cli.main')\n"
        "class Panic(BaseException): pass\n"
        "def fail(command): raise [Panic, SystemExit, GeneratorExit][int(sys.argv[1])]\n"
        "f.command_file = fail\n"
        "try: print(f.main(['status', 'x']))\n"
        "except BaseException as e: print(type(e).__name__)"
    )
    said = [python(tmp_path, "-c", code, n).stdout.split() for n in range(3)]
    assert said == [["70"], ["SystemExit"], ["GeneratorExit"]]
