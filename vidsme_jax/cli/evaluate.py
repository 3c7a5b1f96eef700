"""`vidsme evaluate`: turn score tables into metrics, verdicts and a report."""

import argparse
from pathlib import Path

from vidsme_jax.cli.options import settings_from
from vidsme_jax.cli.values import natural, published_metrics, rate, resamples

EXAMPLES = """\
examples:
  vidsme evaluate runs/target --control runs/control --out report
  vidsme evaluate scores.csv --by dataset --bootstrap 10000 --out report
order: score the model and a control, then evaluate, then open report/report.html
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `vidsme evaluate`."""
    add = parser.add_argument
    add(
        "runs",
        nargs="+",
        type=Path,
        metavar="RUN",
        help="folders of vidsme score, or tables with the columns id, label and score",
    )
    add(
        "--control",
        type=Path,
        metavar="RUN",
        help="the same clips under a model that saw none of them (default: no control)",
    )
    add(
        "--reference",
        type=Path,
        metavar="RUN",
        help="clips known to be outside, from the same source, against which the others are"
        " judged: its rows with label 0, or all if it has no labels (default: the rows"
        " with label 0 of each run)",
    )
    add("--out", required=True, type=Path, metavar="DIR", help="folder for the report")
    add(
        "--score",
        metavar="NAME",
        help="the primary score, chosen before looking (default: video.sme.mean)",
    )
    add(
        "--by",
        action="append",
        default=[],
        metavar="COLUMN",
        help="evaluate the primary score for each value of a column too; may be repeated"
        " (default: no column)",
    )
    _add_resampling(parser)


def _add_resampling(parser: argparse.ArgumentParser) -> None:
    """Add how metrics and intervals are computed."""
    add = parser.add_argument_group("how it is measured").add_argument
    add(
        "--seed",
        type=natural,
        default="0",
        metavar="N",
        help="of resampling and permutation (default: %(default)s)",
    )
    add(
        "--bootstrap",
        type=resamples,
        default="2000",
        metavar="N",
        help="resamples behind every interval, at least 100 (default: %(default)s)",
    )
    add(
        "--delta",
        type=rate,
        default="1e-5",
        metavar="D",
        help="probability with which privacy may fail, for the bounds on epsilon"
        " (default: %(default)s)",
    )
    add(
        "--fpr-rule",
        dest="rule",
        choices=("<=", "<"),
        default="<=",
        help="whether the TPR at 5 %% FPR allows an FPR of 5 %% itself (<=), or less only"
        " (<), as published (default: %(default)s)",
    )
    add(
        "--metrics",
        dest="published",
        type=published_metrics,
        default="ours",
        metavar="{ours,ours+published}",
        help="ours+published: also by the published code's rules, in columns of their own"
        " (default: %(default)s)",
    )


def run(options: argparse.Namespace) -> None:
    """Evaluate, and print the table and the report's path."""
    from vidsme_jax.evaluation.evaluate import evaluate
    from vidsme_jax.evaluation.settings import EvaluationSettings
    from vidsme_jax.progress import phase
    from vidsme_jax.report.terminal import terminal_table
    from vidsme_jax.report.write import check_report_folder, write_report

    settings = settings_from(options, EvaluationSettings)
    check_report_folder(options.out)  # before hours of work
    result = evaluate(options.runs, options.control, settings, options.reference)
    phase("evaluate", "write the report")
    write_report(result, options.out)
    print(terminal_table(result))
    print(f"report: {options.out / 'report.html'}")
