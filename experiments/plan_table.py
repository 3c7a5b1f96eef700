"""Print what scoring takes on TPUs: a line a model, topology and frame count, as Markdown.

    pip install '.[tpu]'
    python experiments/plan_table.py --configs tests/configs/LongVA-7B.json

No TPU is needed; the compiler runs on the host, minutes a line.
"""

import argparse
from pathlib import Path

from vidsme_jax.cli.environment import compile_for_absent_chips

_TOPOLOGIES = ("v4:2x2x1", "v5e:2x4", "v5p:2x2x1", "v6e:2x4")
_GIB = 2**30


def main() -> None:
    """Print the table, each line as soon as it is computed."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--configs", type=Path, nargs="+", required=True, help="config.json of each model")
    add("--topologies", nargs="+", default=_TOPOLOGIES)
    add("--frames", type=int, nargs="+", default=(16, 32, 128))
    add("--batch", type=int, help="clips a replica and step (the most that fit)")
    options = parser.parse_args()
    compile_for_absent_chips()
    print("| model | topology | placement | frames | clips a replica | arguments, GiB"
          " | temporaries, GiB | of | collectives | compiled / necessary | TFLOP a clip"
          " | clips/s at 40 % |")  # fmt: skip
    print("| --- " * 12 + "|")
    for config in options.configs:
        for topology in options.topologies:
            for frames in options.frames:
                print(line(config, topology, frames, options.batch), flush=True)


def line(config: Path, topology: str, frames: int, batch: int | None) -> str:
    """Return the line of a plan in the table."""
    from vidsme_jax.bench.plan import (
        PlanSettings,
        clip_rate,
        make_placement,
        make_plan,
        make_task,
    )
    from vidsme_jax.models import read_graph

    graph = read_graph(config)
    settings = PlanSettings(str(config), topology, (frames,), batch=batch)
    placement, memory = make_placement(settings, graph)
    plan = make_plan(settings, make_task(settings, graph, placement, frames), memory)
    split = placement.parallel
    if split == "partitioned":
        split = f"over {placement.devices_per_model}"
    start = f"| {config.stem} | {topology} | {split} | {frames} |"
    if plan.compiled is None:
        return f"{start} does not fit: {plan.shortage} |" + " |" * 7
    compiled, clips = plan.compiled, plan.batch * placement.replicas
    necessary = plan.necessary.total
    speed = clip_rate(settings, necessary, len(placement.devices))
    kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(compiled.collectives.items()))
    ratio = "" if plan.flops is None else f"{plan.flops / clips / necessary:.3f}"
    return (
        f"{start} {plan.batch} | {compiled.arguments / _GIB:.2f} |"
        f" {compiled.temporaries / _GIB:.2f} | {memory / _GIB:.0f} | {kinds or 'none'} |"
        f" {ratio} | {necessary / 1e12:.1f} | {speed:.2f} |"
    )


if __name__ == "__main__":
    main()
