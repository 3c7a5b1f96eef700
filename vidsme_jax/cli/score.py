"""`vidsme score`: ask a model about every clip of a manifest."""

import argparse
from pathlib import Path

from vidsme_jax.cli.options import (
    add_data,
    add_decoding,
    add_max_text,
    add_model,
    add_placement,
    settings_from,
)
from vidsme_jax.cli.values import (
    calibration_file,
    definition_names,
    frame_counts,
    positive,
    rate,
    slice_names,
)

EXAMPLES = """\
examples:
  vidsme score --model CHECKPOINT --data clips.json --frames 16 --out runs/target
  vidsme score --model CHECKPOINT --data stores/clips --frames 8,16 --slices video \\
      --definition published,top_5 --out runs/target
order: prepare (optional), then score the model and a control, then evaluate both
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `vidsme score`."""
    add_model(parser)
    add_data(parser, "; or one store of vidsme prepare")
    _add_inputs(parser)
    _add_scores(parser)
    group = parser.add_argument_group("how it runs")
    add_placement(group, "global")
    group.add_argument(
        "--batch",
        type=positive,
        default="8",
        metavar="N",
        help="clips of a step, on each replica of the model (default: %(default)s)",
    )
    group.add_argument(
        "--profile",
        type=Path,
        metavar="DIR",
        help="folder for a trace of where the time goes (default: none is written)",
    )
    add_decoding(parser)


def _add_inputs(parser: argparse.ArgumentParser) -> None:
    """Add the options for frames and prompt."""
    group = parser.add_argument_group("what the model sees")
    group.add_argument(
        "--frames",
        type=frame_counts,
        default="16",
        metavar="N[,N]",
        help="frames sampled from a clip; several counts give a row of the table each"
        " (default: %(default)s)",
    )
    group.add_argument(
        "--perturbation",
        choices=("reverse", "shuffle", "repeat"),
        default="reverse",
        help="what the natural order of the frames is compared with: the frames reversed,"
        " in random order, or the middle one all the time (default: %(default)s)",
    )
    prompt = group.add_mutually_exclusive_group()
    prompt.add_argument(
        "--system",
        metavar="TEXT",
        help="system message (default: that of the model's template)",
    )
    prompt.add_argument(
        "--published-prompt",
        choices=("cinepile", "nextqa", "caption"),
        help="a prompt of the published Vid-SME code (default: the model's template)",
    )
    add_max_text(group, "is a row with status too_long")


def _add_scores(parser: argparse.ArgumentParser) -> None:
    """Add the options for what is computed from the model's predictions."""
    add = parser.add_argument_group("what is computed").add_argument
    add(
        "--slices",
        type=slice_names,
        default="video,instruction,response",
        metavar="NAME[,NAME]",
        help="positions that are scored: video, instruction, response"
        " (default: %(default)s)",
    )
    add(
        "--definition",
        dest="definitions",
        type=definition_names,
        default="exact",
        metavar="NAME[,NAME]",
        help="besides exact, from the same pass, each in a table of its own: published"
        " (the published code's numbers); top_1, top_5, top_20 (a black box that shows the"
        " 1, 5 or 20 largest log-probabilities) (default: %(default)s)",
    )
    add(
        "--calibration",
        type=calibration_file,
        default="run",
        metavar="run|FILE",
        help="the entropy orders q and r are set by the ranges of motion and brightness of"
        " this run's clips, or by those in an earlier calibration.json"
        " (default: %(default)s)",
    )
    add(
        "--beta1",
        type=rate,
        default="1.0",
        metavar="WIDTH",
        help="width of the range of q (default: %(default)s)",
    )
    add(
        "--beta2",
        type=rate,
        default="0.1",
        metavar="WIDTH",
        help="width of the range of r (default: %(default)s)",
    )
    add(
        "--keep-tokens",
        action="store_true",
        help="keep the value at every position of every family, in curves.parquet"
        " (default: of sme on the video alone)",
    )


def run(options: argparse.Namespace) -> None:
    """Score, and print the number of rows; of several processes the first prints it."""
    from vidsme_jax.data.clips import Decoding
    from vidsme_jax.data.manifest import ManifestSettings
    from vidsme_jax.runs.score import ScoreSettings, score
    from vidsme_jax.runs.status import count_text

    settings = settings_from(
        options,
        ScoreSettings,
        decoding=settings_from(options, Decoding),
        manifests=settings_from(options, ManifestSettings),
    )
    table = score(settings, options.profile)
    if table is not None:
        counts = count_text(table["status"].to_pylist())
        print(f"{options.out}: {table.num_rows} rows ({counts})")
