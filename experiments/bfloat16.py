"""What bfloat16 does to the scores, against float32 of the same checkpoint.

    python experiments/bfloat16.py --demo vidsme-demo

scores the demo's members and non-members under its trained target, and the same clips
under a LongVA of about a hundred million random parameters, with both types, and prints,
for the mean of each family over each slice: Spearman's rank correlation of the two, the
largest change in units of the float32 scores' standard deviation, and both AUCs.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score
from tokenizers import Tokenizer

from vidsme_jax import scores
from vidsme_jax.commands.demo import FRAMES
from vidsme_jax.commands.score import ScoreSettings, score
from vidsme_jax.models.toy import write_toy

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
    """Return the score tables in float32 and bfloat16."""
    return tuple(
        score(ScoreSettings(model, data, folder / dtype, (FRAMES,), dtype=dtype))
        for dtype in ("float32", "bfloat16")
    )


def compare(wide, narrow) -> list[str]:
    """Return a line per slice and family."""
    labels = np.array(wide["label"].to_pylist())
    lines = [
        f"{'score':32} {'rank corr.':>10} {'largest/sd':>10} {'AUC f32':>8} {'bf16':>6}"
    ]
    for part in scores.SLICES:
        for family in scores.families(part):
            name = f"{part}.{family}.mean"
            a, b = (t[name].to_numpy().astype(np.float64) for t in (wide, narrow))
            rank = spearmanr(a, b).statistic
            change = np.abs(a - b).max() / a.std()
            sign = 1 if scores.higher_is_member(name) else -1
            aucs = [roc_auc_score(labels, sign * x) for x in (a, b)]
            lines.append(
                f"{name:32} {rank:10.4f} {change:10.3f} {aucs[0]:8.3f} {aucs[1]:6.3f}"
            )
    return lines


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
            print(f"\n{name}")
            print("\n".join(compare(*both(model, data, out / f"runs-{name}"))))


if __name__ == "__main__":
    main()
