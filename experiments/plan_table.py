"""What scoring takes on TPUs: one line a model, topology and frame count, as Markdown.

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
    """Print the table, a line as soon as it is known."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--configs", type=Path, nargs="+", required=True, help="config.json of each model")
    add("--topologies", nargs="+", default=_TOPOLOGIES)
    add("--frames", type=int, nargs="+", default=(16, 32, 128))
    add("--batch", type=int, help="clips a replica and step (the most that fit)")
    given = parser.parse_args()
    compile_for_absent_chips()
    print("| model | topology | placement | frames | clips a replica | arguments, GiB"
          " | temporaries, GiB | of | collectives | compiled / necessary | TFLOP a clip"
          " | clips/s at 40 % |")  # fmt: skip
    print("| --- " * 12 + "|")
    for config in given.configs:
        for topology in given.topologies:
            for frames in given.frames:
                print(line(config, topology, frames, given.batch), flush=True)


def line(config: Path, topology: str, frames: int, batch: int | None) -> str:
    """Return one plan as a line of the table."""
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
    one = make_plan(settings, make_task(settings, graph, placement, frames), memory)
    split = placement.parallel
    if split == "partitioned":
        split = f"over {placement.devices_per_model}"
    start = f"| {config.stem} | {topology} | {split} | {frames} |"
    if one.compiled is None:
        return f"{start} does not fit: {one.shortage} |" + " |" * 7
    found, clips = one.compiled, one.batch * placement.replicas
    speed = clip_rate(settings, one.necessary.total, len(placement.devices))
    kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(found.collectives.items()))
    ratio = "" if one.flops is None else f"{one.flops / clips / one.necessary.total:.3f}"
    return (
        f"{start} {one.batch} | {found.arguments / _GIB:.2f} |"
        f" {found.temporaries / _GIB:.2f} | {memory / _GIB:.0f} | {kinds or 'none'} |"
        f" {ratio} | {one.necessary.total / 1e12:.1f} | {speed:.2f} |"
    )


if __name__ == "__main__":
    main()
