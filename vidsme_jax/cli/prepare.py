"""`vidsme prepare`: decode every clip once, into a store that score reads."""

import argparse
from pathlib import Path

from vidsme_jax.cli.options import add_decoding, add_folders, add_model, settings_from
from vidsme_jax.cli.values import frame_counts

EXAMPLES = """\
examples:
  vidsme prepare clips.json --model CHECKPOINT --frames 8,16 --out stores/clips
  vidsme prepare clips.json --model CHECKPOINT --shards 0/16 --out stores/clips
order: prepare (optional), then score --data STORE once for each model, then evaluate
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `vidsme prepare`."""
    parser.add_argument(
        "data",
        nargs="+",
        type=Path,
        metavar="MANIFEST",
        help=".json, .jsonl, .csv, .tsv or .parquet; several are taken as one set",
    )
    add_model(parser)
    add_folders(parser)
    parser.add_argument(
        "--frames",
        type=frame_counts,
        default="2,4,8,16,32",
        metavar="N[,N]",
        help="frames of a clip, for each of which it can be scored (default: %(default)s)",
    )
    add_decoding(parser)


def run(options: argparse.Namespace) -> None:
    """Fill the store, and print how many clips could be read."""
    from vidsme_jax.data.clips import Decoding
    from vidsme_jax.data.manifest import ManifestSettings
    from vidsme_jax.runs.prepare import PrepareSettings, prepare
    from vidsme_jax.runs.status import count_text

    settings = settings_from(
        options,
        PrepareSettings,
        decoding=settings_from(options, Decoding),
        manifests=settings_from(options, ManifestSettings),
    )
    store = prepare(settings)
    counts = count_text([facts.status for facts in store.facts])
    print(f"{options.out}: {len(store.facts)} clips ({counts})")
