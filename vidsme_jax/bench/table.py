"""Write the measurements of `vidsme bench` as text."""

from typing import Any

import numpy as np

_GIB = 2**30
_UNSTEADY = 1.5  # the slowest round's time over the fastest's
_NAMES = {
    "ours": "ours",
    "as_called": "PyTorch as called",
    "at_best": "PyTorch at its best",
    "published": "published algorithm",
    "ours_one": "ours",
    "at_best_one": "PyTorch at its best",
}
_BOTH, _ONE = ("ours", "as_called", "at_best", "published"), ("ours_one", "at_best_one")


def describe(facts: dict[str, Any]) -> str:
    """Return the table of a bench.json."""
    agreed = agrees(facts)
    lines = [*_head(facts), *_agreement(facts, agreed), "", _titles(agreed)]
    for title, names in (("natural and reversed", _BOTH), ("one direction", _ONE)):
        lines += [title, *(_row(facts, name, names[0], agreed) for name in names)]
    lines += [*_unsteady(facts), "", *_notes(facts), *_products(facts)]
    return "\n".join([*lines, *_statistics(facts, agreed), *_our_costs(facts)])


def agrees(facts: dict[str, Any]) -> bool:
    """Return whether all contestants computed the same; always True in bfloat16."""
    limit = facts["tolerance"]
    return limit is None or _worst(facts)[0] <= limit


def _worst(facts: dict[str, Any]) -> tuple[float, str, str]:
    """Return the largest difference, its family and its contestant; NaN counts as inf."""
    return max(
        (np.inf if np.isnan(value) else value, family, name)
        for name, by_family in facts["differences"].items()
        for family, value in by_family.items()
    )


def _head(facts: dict[str, Any]) -> list[str]:
    """Return the lines about sizes, rounds, versions and device."""
    s, v = facts["settings"], facts["versions"]
    return [
        f"{s['size']}: {facts['parameters'] / 1e6:.0f}M parameters, random;"
        f" {s['dtype']}; {s['frames']} frames, {facts['video_tokens']} video tokens,"
        f" {facts['positions']} positions, {facts['vocab']} logits",
        f"{s['clips']} clips a round, ours in batches of {s['batch']}; {s['rounds']} rounds"
        " in alternation",
        f"jax {v['jax']} and torch {v['torch']} with transformers {v['transformers']} on"
        f" {facts['device']}, {facts['cores']} cores, {facts['torch_threads']} threads",
    ]


def _agreement(facts: dict[str, Any], agreed: bool) -> list[str]:
    """Return the lines about how far the contestants' values are apart."""
    worst, family, name = _worst(facts)
    sme = max(by_family["sme_nat"] for by_family in facts["differences"].values())
    line = (
        f"largest difference from ours: {sme:.1e} in sme, {worst:.1e} in {family} ({name})"
    )
    if agreed:
        return [line]
    return [line, f"above {facts['tolerance']:g}: not the same computation, so no ratios"]


def _titles(agreed: bool) -> str:
    """Return the titles of the table's columns."""
    ratio = f"{'times ours, least..most':>27}{'over products':>15}" if agreed else ""
    return f"{'':24}{'s/clip':>9}{'clips/s':>10}{'tokens/s':>10}{'of peak':>9}{ratio}"


def _row(facts: dict[str, Any], name: str, base: str, agreed: bool) -> str:
    """Return the line of a contestant: its median time, and its ratio to our time."""
    seconds = np.array(facts["seconds_a_clip"][name])
    middle = float(np.median(seconds))
    line = f"  {_NAMES[name]:22}{middle:9.3f}{1 / middle:10.3f}"
    share = _utilisation(facts, name, middle)
    line += f"{facts['video_tokens'] / middle:10.0f}{share:>9}"
    if name == base or not agreed:
        return line
    ratios = seconds / np.array(facts["seconds_a_clip"][base])
    ratio, product = float(np.median(ratios)), product_ratio(facts)
    spread = f"{ratio:.2f}"
    if len(ratios) > 1:
        spread += f" ({ratios.min():.2f}..{ratios.max():.2f})"
    return line + f"{spread:>27}{ratio / product:15.2f}"


def _unsteady(facts: dict[str, Any]) -> list[str]:
    """Return a line on the contestant whose rounds differ too much for a fair ratio."""
    spread = {k: max(v) / min(v) for k, v in facts["seconds_a_clip"].items()}
    name = max(spread, key=spread.__getitem__)
    if spread[name] < _UNSTEADY:
        return []
    return [
        f"the rounds of {_NAMES[name]} differ by {spread[name]:.1f} times: the machine was"
        " busy, or the work is too little to be timed"
    ]


def _utilisation(facts: dict[str, Any], name: str, seconds: float) -> str:
    """Return the share of its framework's bare product that a contestant reaches."""
    framework = "ours" if name in ("ours", "ours_one") else "torch"
    rate = float(np.median(facts["product"]["flops_a_second"][framework]))
    needed = facts["necessary_flops"]["one" if name in _ONE else "both"]
    return f"{needed / seconds / rate:.0%}"


def product_ratio(facts: dict[str, Any]) -> float:
    """Return how many times as fast the bare product is in JAX as in PyTorch."""
    rates = {k: np.array(v) for k, v in facts["product"]["flops_a_second"].items()}
    return float(np.median(rates["ours"] / rates["torch"]))


def _notes(facts: dict[str, Any]) -> list[str]:
    """Return the lines that explain the columns and the contestants."""
    best, s = facts["at_best"], facts["settings"]
    generate, count = facts["generate_seconds"], facts["generated_tokens"]
    return [
        "s/clip is the median of the rounds; tokens are the video's, each counted once;"
        " of peak: necessary",
        "operations over those of the framework's own bare product; over products: the"
        " ratio without the library's part",
        f"at its best: batch {best['clips']}, the better of 1 and {s['batch']}; head and"
        f" statistics {best['chunk']} rows at a time",
        "published: video rows only, the first clip only; its answer comes on top,"
        f" {generate:.2f} s for {count} tokens",
    ]


def _products(facts: dict[str, Any]) -> list[str]:
    """Return the lines about the bare product."""
    rows, inner, outer = facts["product"]["shape"]
    rates = {k: np.median(v) / 1e9 for k, v in facts["product"]["flops_a_second"].items()}
    return [
        "",
        f"bare product         [{rows} x {inner}] x [{inner} x {outer}]:"
        f" {rates['ours']:.0f} GFLOP/s here, {rates['torch']:.0f} in PyTorch,"
        f" {product_ratio(facts):.2f} times",
    ]


def _statistics(facts: dict[str, Any], agreed: bool) -> list[str]:
    """Return the line about the statistics alone."""
    times = facts["statistics"]
    rows = {name: f"{seconds * 1e3:.3f} ms" for name, seconds in times.items()}
    line = (
        f"statistics alone     a row: ours {rows['ours']}, PyTorch {rows['torch']},"
        f" published loop {rows['published']}"
    )
    if not agreed:
        return [line]
    ratios = (times[name] / times["ours"] for name in ("torch", "published"))
    return [line + "; {:.1f} and {:.1f} times ours".format(*ratios)]


def _our_costs(facts: dict[str, Any]) -> list[str]:
    """Return the lines about where our time and memory go."""
    compiled, peak = facts["compile_seconds"], facts["peak_bytes"]
    stages = facts["parts_seconds_a_clip"]
    memory = f"{peak['compiled'] / _GIB:.2f} GiB by the compiler's count"
    measured = {"ours": peak["ours"], "PyTorch": peak["torch"]}
    memory += "".join(
        f", {name} {size / _GIB:.2f} measured" for name, size in measured.items() if size
    )
    split = ", ".join(f"{name} {seconds:.3f}" for name, seconds in stages.items())
    return [
        f"compiling            {compiled['ours']:.1f} s, one direction"
        f" {compiled['ours_one']:.1f} s",
        f"peak memory          {memory}",
        f"seconds a clip       {split}",
        "                     (each timed apart; decode and flow by one process, beside"
        " the device)",
    ]
