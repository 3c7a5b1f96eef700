"""The widths beta1 and beta2 of the ranges of q and r, exact and as published.

    python experiments/betas.py --out lab

beta1 = beta2 = 0 is q = r = 1, where the published code computes nothing (its first branch
divides rounding by 1e-10). AUC of the mean difference under the target (95 % interval) for
each seed, its mean, and the mean under the control. The sweeps below --out have figures.

It printed (seeds 0 1 2):

  definition  beta1  beta2  seed 0       seed 1       seed 2       mean  control
  exact       0.0    0.0    .91 .86-.96  .91 .85-.95  .95 .90-.98  .92   .46
  exact       0.0    0.05   .91 .86-.96  .91 .85-.95  .95 .91-.98  .92   .46
  exact       0.0    0.1    .91 .86-.96  .91 .85-.95  .95 .91-.98  .92   .46
  exact       0.0    0.2    .91 .86-.96  .91 .86-.95  .95 .91-.98  .93   .46
  exact       0.0    0.5    .92 .87-.96  .92 .86-.96  .96 .91-.99  .93   .46
  exact       0.25   0.0    .91 .86-.96  .91 .85-.95  .95 .91-.98  .92   .46
  exact       0.25   0.05   .91 .86-.96  .91 .86-.95  .95 .91-.98  .93   .46
  exact       0.25   0.1    .91 .86-.96  .91 .86-.95  .95 .91-.98  .93   .46
  exact       0.25   0.2    .91 .86-.96  .91 .86-.95  .96 .92-.98  .93   .46
  exact       0.25   0.5    .92 .87-.96  .92 .87-.96  .96 .92-.99  .93   .46
  exact       0.5    0.0    .91 .86-.96  .91 .86-.96  .96 .92-.98  .93   .46
  exact       0.5    0.05   .91 .86-.96  .91 .86-.96  .96 .92-.98  .93   .46
  exact       0.5    0.1    .91 .86-.96  .91 .86-.96  .96 .92-.98  .93   .46
  exact       0.5    0.2    .92 .87-.96  .91 .86-.96  .96 .92-.98  .93   .46
  exact       0.5    0.5    .92 .87-.96  .92 .87-.96  .96 .93-.99  .93   .46
  exact       0.75   0.0    .92 .87-.96  .91 .86-.96  .96 .92-.98  .93   .46
  exact       0.75   0.05   .91 .86-.96  .91 .86-.96  .96 .92-.98  .93   .46
  exact       0.75   0.1    .92 .87-.96  .91 .86-.96  .96 .92-.98  .93   .46
  exact       0.75   0.2    .92 .87-.96  .91 .86-.96  .96 .92-.99  .93   .46
  exact       0.75   0.5    .92 .87-.96  .92 .87-.96  .97 .93-.99  .93   .46
  exact       1.0    0.0    .92 .87-.96  .91 .86-.96  .96 .93-.98  .93   .46
  exact       1.0    0.05   .92 .87-.96  .92 .86-.96  .96 .93-.99  .93   .46
  exact       1.0    0.1    .92 .87-.96  .92 .86-.96  .96 .93-.99  .93   .46
  exact       1.0    0.2    .92 .87-.96  .92 .86-.96  .96 .93-.99  .93   .46
  exact       1.0    0.5    .92 .87-.96  .92 .87-.96  .97 .94-.99  .93   .46
  published   0.0    0.0    .50          .50          .50          .50   .50
  published   0.0    0.05   .50          .50          .50          .50   .50
  published   0.0    0.1    .50          .50          .50          .50   .50
  published   0.0    0.2    .50          .50          .50          .50   .50
  published   0.0    0.5    .50          .50          .50          .50   .50
  published   0.25   0.0    .90 .85-.95  .90 .84-.95  .94 .90-.98  .92   .46
  published   0.25   0.05   .90 .85-.95  .90 .84-.95  .95 .90-.98  .92   .46
  published   0.25   0.1    .91 .85-.95  .90 .84-.95  .95 .90-.98  .92   .46
  published   0.25   0.2    .91 .85-.95  .90 .85-.95  .95 .91-.98  .92   .46
  published   0.25   0.5    .91 .86-.95  .91 .86-.95  .95 .91-.98  .92   .46
  published   0.5    0.0    .91 .85-.95  .90 .85-.95  .95 .91-.98  .92   .46
  published   0.5    0.05   .91 .85-.95  .90 .85-.95  .95 .91-.98  .92   .46
  published   0.5    0.1    .91 .85-.95  .90 .85-.95  .95 .91-.98  .92   .46
  published   0.5    0.2    .91 .86-.95  .91 .85-.95  .95 .91-.98  .92   .46
  published   0.5    0.5    .91 .85-.95  .91 .86-.95  .95 .92-.98  .92   .46
  published   0.75   0.0    .91 .85-.95  .91 .85-.95  .95 .91-.98  .92   .46
  published   0.75   0.05   .91 .85-.95  .91 .85-.95  .95 .91-.98  .92   .46
  published   0.75   0.1    .91 .85-.95  .91 .85-.95  .95 .91-.98  .92   .46
  published   0.75   0.2    .91 .86-.95  .91 .85-.95  .95 .91-.98  .92   .46
  published   0.75   0.5    .91 .86-.95  .91 .86-.95  .96 .92-.98  .93   .46
  published   1.0    0.0    .91 .85-.95  .91 .85-.95  .95 .92-.98  .92   .46
  published   1.0    0.05   .91 .85-.95  .91 .85-.95  .95 .92-.98  .92   .46
  published   1.0    0.1    .91 .86-.95  .91 .85-.95  .95 .92-.98  .92   .46
  published   1.0    0.2    .91 .86-.95  .91 .85-.95  .96 .92-.98  .92   .46
  published   1.0    0.5    .91 .86-.95  .91 .86-.95  .96 .92-.99  .93   .46

Found: it hardly matters: every cell of the exact definition lies between .92 and .93. As
published the same, but for beta1 = 0: there q = 1 for all clips, and all scores are equal.
"""

from lab import compare, lab_from_arguments

AXES = {
    "beta1": (0.0, 0.25, 0.5, 0.75, 1.0),
    "beta2": (0.0, 0.05, 0.1, 0.2, 0.5),
    "definitions": ("exact", "published"),
}

if __name__ == "__main__":
    lab = lab_from_arguments(__doc__)
    by = ("definition", "beta1", "beta2")
    print("\n".join(compare(lab, "betas", by, **AXES)))
