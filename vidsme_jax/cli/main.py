"""The `vidsme` command: arguments in, exit code out; each command imports what it needs.

Exit codes: 0 done; 2 wrong input, with one line; 75 interrupted, run the same again.
"""

import argparse
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from vidsme_jax.cli.environment import keep_compiled
from vidsme_jax.cli.options import make_parser

INTERRUPTED = 75


def entry() -> None:
    """Run the command as a process of its own."""
    if sys.argv[1:2] != ["bench"]:  # it measures compiling
        keep_compiled()
    code = main()
    if code == INTERRUPTED:
        # Threads may be inside XLA or a decoder, where tearing down under them crashes.
        # Whatever is on disk is whole: leave at once.
        sys.stdout.flush()
        os._exit(code)
    sys.exit(code)


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    given = make_parser().parse_args(arguments)
    from vidsme_jax.errors import InputError, Interrupted
    from vidsme_jax.progress import stop

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    try:
        return RUN[given.command](given)
    except BrokenPipeError:  # the reader of our output, such as head, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Interrupted as error:
        print(f"vidsme {given.command}: {error}", file=sys.stderr)
        return INTERRUPTED
    except (InputError, OSError) as error:  # OSError: no permission
        print(f"vidsme {given.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        for number in (signal.SIGINT, signal.SIGTERM):  # one is enough
            signal.signal(number, signal.SIG_IGN)
        print(f"vidsme {given.command}: interrupted, run it again", file=sys.stderr)
        return INTERRUPTED


def _run_demo(given: argparse.Namespace) -> int:
    from vidsme_jax.cli.demo import DemoSettings, demo

    print(demo(DemoSettings(given.out, given.seed, given.objective)))
    return 0


def _run_train(given: argparse.Namespace) -> int:
    from vidsme_jax.training.fit import TrainSettings
    from vidsme_jax.training.train import TrainRequest, train

    recipe = TrainSettings(given.steps, given.batch, given.learning_rate, seed=given.seed)
    train(
        TrainRequest(
            model=given.model,
            data=tuple(given.data),
            out=given.out,
            recipe=recipe,
            frames=given.frames,
            objective=given.objective,
            root=given.root,
            labels=given.label and tuple(given.label),
            frame_order=given.frame_order,
            max_text=given.max_text,
        )
    )
    print(f"checkpoint: {given.out}")
    return 0


def _run_score(given: argparse.Namespace) -> int:
    from vidsme_jax.runs.score import ScoreSettings, score
    from vidsme_jax.runs.status import count_text

    settings = ScoreSettings(
        model=given.model,
        data=tuple(given.data),
        out=given.out,
        frames=given.frames,
        slices=given.slices,
        root=given.root,
        labels=given.label and tuple(given.label),
        system=given.system,
        published_prompt=given.published_prompt,
        definitions=given.definition,
        perturbation=given.perturbation,
        dtype=given.dtype,
        parallel=given.parallel,
        batch=given.batch,
        calibration=None if given.calibration == "run" else Path(given.calibration),
        beta1=given.beta1,
        beta2=given.beta2,
        max_text=given.max_text,
        keep_tokens=given.keep == "tokens",
        **_reading(given),
    )
    table = score(settings, given.profile)
    if table is None:
        return 0  # one of several processes: the first one reports
    counts = count_text(table["status"].to_pylist())
    print(f"{given.out}: {table.num_rows} rows ({counts})")
    return 0


def _reading(given: argparse.Namespace) -> dict[str, Any]:
    """Return the settings of how clips are read."""
    from vidsme_jax.data.clips import Decoding
    from vidsme_jax.records.shards import read_shard

    decoding = Decoding(seconds=float(given.clip_timeout))
    if given.workers:
        decoding = replace(decoding, workers=given.workers)
    return {
        "reader": given.reader,
        "decoding": decoding,
        "shard": None if given.shards is None else read_shard(given.shards),
    }


def _run_prepare(given: argparse.Namespace) -> int:
    from vidsme_jax.runs.prepare import PrepareSettings, prepare
    from vidsme_jax.runs.status import count_text

    store = prepare(
        PrepareSettings(
            model=given.model,
            data=tuple(given.data),
            out=given.out,
            frames=given.frames,
            root=given.root,
            labels=given.label and tuple(given.label),
            **_reading(given),
        )
    )
    counts = count_text([facts["status"] for facts in store.facts])
    print(f"{given.out}: {len(store.facts)} clips ({counts})")
    return 0


def _run_merge(given: argparse.Namespace) -> int:
    from vidsme_jax.runs.merge import merge

    print(merge(given.parts, given.out or given.parts[0]))
    return 0


def _run_status(given: argparse.Namespace) -> int:
    from vidsme_jax.runs.status import status

    print(status(given.run))
    return 0


def _run_verify(given: argparse.Namespace) -> int:
    from vidsme_jax.runs.verify import verify

    print(verify(given.run))
    return 0


def _run_evaluate(given: argparse.Namespace) -> int:
    from vidsme_jax.evaluation.evaluate import evaluate
    from vidsme_jax.evaluation.settings import EvaluationSettings
    from vidsme_jax.records.files import check_folder
    from vidsme_jax.report.terminal import terminal_table
    from vidsme_jax.report.write import write_report

    settings = EvaluationSettings(
        seed=given.seed,
        bootstrap=given.bootstrap,
        rule=given.fpr_rule,
        published=given.metrics == "ours+published",
        score=given.score,
        by=tuple(given.by),
    )
    check_folder("out", given.out)  # before hours of work
    result = evaluate(given.runs, given.control, settings, given.reference)
    write_report(result, given.out)
    print(terminal_table(result))
    print(f"report: {given.out / 'report.html'}")
    return 0


def _run_sweep(given: argparse.Namespace) -> int:
    from vidsme_jax.sweeps.grid import read_grid
    from vidsme_jax.sweeps.sweep import sweep

    grid = read_grid(given.grid, given.out)
    table = sweep(grid)
    figures = grid.out / "figures"
    drawn = f"; figures in {figures}" if any(figures.glob("*.svg")) else ""
    print(f"{grid.out}/sweep.csv: {table.num_rows} cells of this grid{drawn}")
    return 0


def _run_plan(given: argparse.Namespace) -> int:
    from vidsme_jax.bench import tpu

    if given.topology is not None:
        tpu.prepare_environment()
    from vidsme_jax.bench.plan import PlanSettings, plan

    print(
        plan(
            PlanSettings(
                model=given.model,
                topology=given.topology,
                frames=given.frames,
                parallel=given.parallel,
                dtype=given.dtype,
                batch=given.batch,
                text=given.text,
                clips=given.clips,
                utilisation=given.utilisation,
            )
        )
    )
    return 0


def _run_bench(given: argparse.Namespace) -> int:
    # Two frameworks share a device: JAX must not take most of its memory at once.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    from vidsme_jax.bench.bench import BenchSettings, bench

    settings = BenchSettings(
        size=given.size,
        frames=given.frames,
        clips=given.clips,
        batch=given.batch or min(2, given.clips),
        rounds=given.rounds,
        dtype=given.dtype,
        out=given.out,
    )
    print(bench(settings))
    return 0


def _run_models(given: argparse.Namespace) -> int:
    from vidsme_jax.cli.models import models_table

    print(models_table())
    return 0


def _run_scores(given: argparse.Namespace) -> int:
    from vidsme_jax.cli.scores import scores_table

    print(scores_table())
    return 0


RUN: dict[str, Callable[[argparse.Namespace], int]] = {
    "demo": _run_demo,
    "train": _run_train,
    "prepare": _run_prepare,
    "score": _run_score,
    "merge": _run_merge,
    "status": _run_status,
    "verify": _run_verify,
    "evaluate": _run_evaluate,
    "sweep": _run_sweep,
    "plan": _run_plan,
    "bench": _run_bench,
    "models": _run_models,
    "scores": _run_scores,
}
