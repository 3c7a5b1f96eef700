import numpy as np
import pyarrow as pa
import pytest

from vidsme_jax.errors import InputError
from vidsme_jax.evaluation.samples import samples
from vidsme_jax.evaluation.settings import EvaluationSettings
from vidsme_jax.evaluation.subsets import evaluate_subsets, split
from vidsme_jax.stats.metrics import auc


def sizes(parts):
    return {name: int(inside.sum()) for name, inside in parts.items()}


def test_thirds_of_numbers_and_values_of_the_rest():
    rows = [{"motion": float(k), "kind": "ab"[k % 2]} for k in range(30)]
    rows += [{"kind": None}]
    assert sizes(split(rows, "motion")) == {
        "up to 9.667": 10, "9.667 to 19.33": 10, "above 19.33": 10, "unknown": 1
    }  # fmt: skip
    assert sizes(split(rows, "kind")) == {"a": 15, "b": 15, "unknown": 1}
    assert split(rows, "duration") == {}


def test_few_numbers_are_values_and_rare_ones_are_taken_together():
    rows = [{"year": 2020 + k % 3, "id": f"x{k}", "good": k < 2} for k in range(30)]
    assert sizes(split(rows, "year")) == {"2020": 10, "2021": 10, "2022": 10}
    assert sizes(split(rows, "good")) == {"False": 28, "True": 2}
    found = sizes(split(rows, "id"))
    assert len(found) == 12 and found["19 others"] == 19
    with pytest.raises(InputError, match="by=list holds lists"):
        split([{"list": [1]}], "list")


def test_members_are_compared_with_the_same_part(rng):
    label = np.arange(60) % 2
    kind = np.array(["day", "night"])[np.arange(60) // 2 % 2]
    values = rng.normal(size=60) - 3 * label * (kind == "day")
    ids = [f"clip-{k}" for k in range(60)]
    table = pa.table({"id": ids, "label": label, "video.sme.mean": values})
    rows = [{"kind": name} for name in kind]
    settings = EvaluationSettings(bootstrap=100, by=("kind",))
    (sample,) = samples(table)
    found = evaluate_subsets(sample, rows, "video.sme.mean", settings)
    assert list(found) == ["kind"]
    for name, one in found["kind"].items():
        inside = kind == name
        assert one["auc"] == auc(-values[inside], label[inside] == 1)
        assert (one["members"], one["non_members"]) == (15, 15)
        low, high = one["auc_interval"]
        assert low <= one["auc"] <= high
    assert found["kind"]["day"]["auc"] > 0.9 > found["kind"]["night"]["auc"]
