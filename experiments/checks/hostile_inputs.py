"""Check that hostile files of every kind end a command with a line, and harm nothing.

    python experiments/checks/hostile_inputs.py --out checks/hostile

Some hundreds of files over every kind of input: checkpoints, chat templates, tokenizers,
manifests, playlists and videos, tables from elsewhere, runs, stores, grids and adapters.
`hostile_files.py` and `hostile_models.py` make them. Each is given to its `vidsme` command
in a process of its own, with a limit on time, whose peak of memory is read from the kernel.
A file outside all folders that commands are given must not show in any output, and no
address may be opened.

`--kinds NAME …` runs some kinds alone, and writes nothing down.
"""

import argparse
import os
import resource
import shlex
import signal
import socket
import sys
import threading
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench import publish
from hostile_files import CANARY, Base, Case, make_base
from hostile_models import KINDS

MOST_BYTES = 4 << 30  # of memory
_STOP_BYTES = 8 << 30  # of memory that no process gets
GOOD_CODES = (0, 2, 75)


@dataclass(frozen=True)
class Outcome:
    """What became of a case.

    Attributes:
        case: the case.
        code: exit code; None where it was killed after its time.
        seconds: time that it took.
        bytes: peak of memory, of the process or of one that it started.
        faults: what must not happen but did.
    """

    case: Case
    code: int | None
    seconds: float
    bytes: int
    faults: tuple[str, ...]


class Listener:
    """A port of this machine that counts who connects."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port, self.count = self._socket.getsockname()[1], 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            self.count += 1
            connection.close()


def run_case(case: Case, folder: Path, listener: Listener) -> Outcome:
    """Run the command of a case in a forked process, and look at what it did."""
    connections = listener.count
    printed = folder / "printed.txt"
    start = time.monotonic()
    child = os.fork()
    if not child:
        _become(case, folder, printed)
    code, used = _wait(child, start + case.seconds)
    seconds = time.monotonic() - start
    text = printed.read_text(errors="replace") if printed.exists() else ""
    faults = [*_faults(case, code, text)]
    peak = used.ru_maxrss * 1024
    if peak > MOST_BYTES:
        faults.append(f"{peak / 1e9:.1f} GB of memory")
    if listener.count > connections:
        faults.append("it opened an address")
    if CANARY in text or any(_leaks(path) for path in folder.rglob("out*/**/*")):
        faults.append("what lies outside shows")
    return Outcome(case, code, seconds, peak, tuple(faults))


def _become(case: Case, folder: Path, printed: Path) -> None:
    """Run the command of a case in this process, and end it."""
    code = 1
    try:
        os.setsid()
        os.chdir(folder)
        number = os.open(printed, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for descriptor in (1, 2):
            os.dup2(number, descriptor)
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        resource.setrlimit(resource.RLIMIT_DATA, (_STOP_BYTES, hard))
        from vidsme_jax.cli.main import main

        code = main(list(case.words))
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _wait(child: int, end: float) -> tuple[int | None, resource.struct_rusage]:
    """Return the exit code of a process and what it used; kill it when its time is over."""
    while True:
        done, status, used = os.wait4(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status), used
        if time.monotonic() > end:
            os.killpg(child, signal.SIGKILL)
            _, _, used = os.wait4(child, 0)
            return None, used
        time.sleep(0.02)


def _faults(case: Case, code: int | None, text: str) -> Iterator[str]:
    if code is None:
        yield f"no end within {case.seconds} s"
    elif code not in GOOD_CODES:
        yield f"exit code {code}"
    for word in ("Traceback (most recent", "panicked at"):
        if word in text:
            yield word
    if code == 2:
        lines = [line for line in text.splitlines() if line.startswith("vidsme")]
        if len(lines) != 1 or text.splitlines()[-1:] != lines:
            yield f"{len(lines)} lines for a refusal, or more after it"
        elif len(lines[0]) > 3000:
            yield f"a line of {len(lines[0])} characters"


def _leaks(path: Path) -> bool:
    return path.is_file() and not path.is_symlink() and CANARY.encode() in path.read_bytes()


def run_all(base: Base, kinds: list[str], listener: Listener, keep: bool) -> list[Outcome]:
    """Run all cases of some kinds, and print a line for each that fails."""
    outcomes = []
    for kind in kinds:
        for number, case in enumerate(KINDS[kind](base)):
            folder = base.folder / "cases" / f"{kind}-{number:03d}"
            folder.mkdir(parents=True)
            case.make(folder)
            outcome = run_case(case, folder, listener)
            outcomes.append(outcome)
            if outcome.faults or keep:
                command = shlex.join(case.words)[:150]
                print(
                    f"{folder.name} {case.name}: {outcome.code} in {outcome.seconds:.1f} s"
                )
                print(f"  vidsme {command}\n  {'; '.join(outcome.faults)}", flush=True)
            if not (outcome.faults or keep):
                base.remove(folder)
    return outcomes


def table(outcomes: list[Outcome]) -> Iterator[str]:
    """Yield the results, a line for each kind and for each case that failed."""
    yield "kind        files  commands  exit 0  exit 2  exit 75  slowest     most  faults"
    kinds = dict.fromkeys(o.case.kind for o in outcomes)
    for kind in [*kinds, "all"]:
        some = [o for o in outcomes if kind in (o.case.kind, "all")]
        codes = Counter(o.code for o in some)
        files, faults = sum(o.case.files for o in some), sum(bool(o.faults) for o in some)
        seconds, peak = max(o.seconds for o in some), max(o.bytes for o in some)
        yield (
            f"{kind:<11} {files:5}  {len(some):8}  {codes[0]:6}  {codes[2]:6}"
            f"  {codes[75]:7}  {seconds:5.1f} s  {peak / 1e9:4.2f} GB  {faults:6}"
        )
    for outcome in outcomes:
        if outcome.faults:
            yield f"{outcome.case.kind}, {outcome.case.name}: {'; '.join(outcome.faults)}"


def main() -> None:
    """Run the check, print what came out and write it down."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("checks/hostile"))
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--keep", action="store_true", help="keep all files, say all cases")
    options = parser.parse_args()
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(options.out.resolve() / "compiled")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"
    os.environ["HF_HUB_OFFLINE"] = "1"
    listener = Listener()
    base = make_base(options.out.resolve(), listener.port)
    warnings.filterwarnings("ignore", message=".*fork.*")  # no device is in use here
    import transformers.models.auto.tokenization_auto  # noqa: F401

    import vidsme_jax.evaluation.evaluate  # noqa: F401
    import vidsme_jax.report.write  # noqa: F401
    import vidsme_jax.runs.score  # noqa: F401
    import vidsme_jax.sweeps.sweep  # noqa: F401

    outcomes = run_all(base, options.kinds, listener, options.keep)
    lines = table(outcomes)
    if options.kinds == list(KINDS):
        publish(__file__, lines)
    else:
        print("\n".join(lines))
    sys.exit(any(outcome.faults for outcome in outcomes))


if __name__ == "__main__":
    main()
