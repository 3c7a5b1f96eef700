"""Measure what bfloat16 does to the scores, against float32 of the same checkpoint.

    python experiments/bfloat16.py --demo vidsme-demo

scores the demo's members and non-members with both types, under its trained target and
under a LongVA of about a hundred million random parameters. For each family it prints three
figures of the mean over a slice, each the worst of all slices: Spearman's rank correlation
of both types, the largest change in standard deviations of the float32 scores, and the
change of AUC.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score
from tokenizers import Tokenizer

from vidsme_jax.models.toy import write_toy
from vidsme_jax.runs.score import ScoreSettings, score
from vidsme_jax.scores import catalogue
from vidsme_jax.training.trial import FRAMES

MIDDLE = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_attention_heads": 12,
    "num_hidden_layers": 10,
    "num_key_value_heads": 4,
    "vocab_size": 16384,
}


def middle_model(folder: Path, texts: list[str]) -> Path:
    """Write the mid-size model: the toy with a larger decoder, random weights."""
    write_toy(folder, texts, 0, decoder=MIDDLE)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    missing = MIDDLE["vocab_size"] - tokenizer.get_vocab_size()
    tokenizer.add_special_tokens([f"<|extra_{n}|>" for n in range(missing)])
    tokenizer.save(str(folder / "tokenizer.json"))  # all rows take part in the softmax
    return folder


def both(model: Path, data: tuple[Path, ...], folder: Path):
    """Score in float32 and in bfloat16; return both score tables."""
    return tuple(
        score(ScoreSettings(model, data, folder / dtype, (FRAMES,), dtype=dtype))
        for dtype in ("float32", "bfloat16")
    )


def compare(wide, narrow) -> dict[str, tuple[float, float, float]]:
    """Return the worst slice's rank correlation, change and shift of AUC, by family."""
    labels = np.array(wide["label"].to_pylist())
    worst: dict[str, tuple[float, float, float]] = {}
    for slice_name in catalogue.SLICES:
        for family in catalogue.families(slice_name):
            name = f"{slice_name}.{family}.mean"
            a, b = (t[name].to_numpy().astype(np.float64) for t in (wide, narrow))
            rank = float(spearmanr(a, b).statistic)
            change = float(np.abs(a - b).max() / a.std())
            aucs = [roc_auc_score(labels, x) for x in (a, b)]
            shift = float(abs(aucs[0] - aucs[1]))
            before = worst.get(family, (1.0, 0.0, 0.0))
            figures = (min(before[0], rank), max(before[1], change), max(before[2], shift))
            worst[family] = figures
    return worst


def main() -> None:
    """Score and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--demo", type=Path, required=True, help="a finished vidsme demo")
    demo = parser.parse_args().demo
    data = (demo / "A.json", demo / "B.json")
    rows = [row for path in data for row in json.loads(path.read_text())]
    texts = [f"{row['question']}\n{row['answer']}" for row in rows]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        random = middle_model(out / "middle", texts)
        for name, model in (("trained", demo / "target"), ("random", random)):
            print(f"\n{name:20} {'rank corr.':>10} {'largest/sd':>10} {'AUC':>6}")
            for family, figures in compare(*both(model, data, out / name)).items():
                print("{:20} {:10.4f} {:10.3f} {:6.3f}".format(family, *figures))


if __name__ == "__main__":
    main()
