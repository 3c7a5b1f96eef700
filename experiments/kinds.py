"""Train on one kind of clip, audit on another: shapes against full-frame textures.

    python experiments/kinds.py --out lab --seeds 0 1

own: members against non-members of the kind that the model was trained on, split at random.
own, foreign q and r: the same with the ranges of motion and light of the other kind.
other non-members: members against clips of the other kind, which nothing but their looks
may tell apart: the control shows how much that is.
other kind: two random halves of the other kind, of which neither is a member.
AUC under the target (95 % interval) for each seed, its mean, and the mean under the
control.

Found: within a kind, where the split is fair, the audit works on both (.92 and .98). It
does not matter whether the ranges that fix q and r come from that kind or the other. Where
the non-members are another kind of clip, the log-likelihood looks better still. But the
control, which saw neither set, gives .68 and .81 for the same clips: much of that score
tells the kind, not the membership. The difference of the entropies is moved far less (.51
and .58). On clips of the kind that the model never saw there is nothing to find, and
nothing is found.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from lab import (
    FRAMES,
    Lab,
    Trial,
    aligned,
    cell_text,
    lab_from_arguments,
    mean_text,
    name_of,
    publish,
    trained,
)

from vidsme_jax.sweeps.grid import Grid
from vidsme_jax.sweeps.sweep import sweep

KINDS = ("shapes", "textures")
FAMILIES = ("sme", "logp")


def audits(lab: Lab, trial: Trial) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of each audit of a trial's two models."""
    (other_kind,) = set(KINDS) - {trial.kind}
    here, there = trained(lab, trial), trained(lab, replace(trial, kind=other_kind))
    out = lab.out / "kinds" / name_of(trial)

    def audit(name: str, data: tuple[Path, ...], **shared: Any) -> list[dict[str, Any]]:
        grid = Grid(
            here.models, data, out / name, (FRAMES,), families=FAMILIES, shared=shared
        )
        return sweep(grid).to_pylist()

    other = audit("other", there.data)
    (ranges,) = (out / "other" / "runs").glob("target-*/calibration.json")
    foreign = audit("foreign", here.data, calibration=ranges)
    return {
        "own": audit("own", here.data),
        "own, foreign q and r": foreign,
        "other non-members": audit("mixed", (here.data[0], there.data[1])),
        "other kind": other,
    }


def run(lab: Lab) -> list[str]:
    """Return the lines of the table."""
    lines = [["trained on", "audited", "score", *(f"seed {s}" for s in lab.seeds)]]
    lines[0] += ["mean", "control"]
    for kind in KINDS:
        tables = [audits(lab, Trial(seed, kind=kind)) for seed in lab.seeds]
        for name in tables[0]:
            for family in FAMILIES:
                rows = [
                    {r["model"]: r for r in t[name] if r["family"] == family}
                    for t in tables
                ]
                cells = [cell_text(r["target"], "auc") for r in rows]
                means = [mean_text([r[m]["auc"] for r in rows]) for m in rows[0]]
                lines.append([kind, name, f"{family}.mean", *cells, *means])
    return aligned(lines)


if __name__ == "__main__":
    publish(__file__, run(lab_from_arguments(__doc__)))
