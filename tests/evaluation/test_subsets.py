import numpy as np
import pyarrow as pa
import pytest
from studies import labelled_rows

from vidsme_jax.errors import InputError
from vidsme_jax.evaluation.facts import Facts
from vidsme_jax.evaluation.settings import EvaluationSettings
from vidsme_jax.evaluation.subsets import evaluate_subsets, split
from vidsme_jax.evaluation.values import ClassCounts
from vidsme_jax.stats.metrics import auc


def sizes(parts):
    return {name: int(inside.sum()) for name, inside in parts.items()}


def test_thirds_of_numbers_and_values_of_the_rest():
    motion = [*map(float, range(30)), None]
    kind = [*("ab"[k % 2] for k in range(30)), None]
    assert sizes(split("motion", motion)) == {
        "up to 9.667": 10, "9.667 to 19.33": 10, "above 19.33": 10, "unknown": 1
    }  # fmt: skip
    assert sizes(split("kind", kind)) == {"a": 15, "b": 15, "unknown": 1}
    assert split("duration", [None] * 31) == {}
    assert Facts(31, {"motion": motion}).of("duration") == [None] * 31


def test_few_numbers_are_values_and_rare_ones_are_taken_together():
    years, good = [2020 + k % 3 for k in range(30)], [k < 2 for k in range(30)]
    assert sizes(split("year", years)) == {"2020": 10, "2021": 10, "2022": 10}
    assert sizes(split("good", good)) == {"False": 28, "True": 2}
    subsets = sizes(split("id", [f"x{k}" for k in range(30)]))
    assert len(subsets) == 12 and subsets["19 others"] == 19
    with pytest.raises(InputError, match="by=list holds lists"):
        split("list", [[1]])


def test_members_are_compared_with_the_same_part(rng):
    label = np.arange(60) % 2
    kind = np.array(["day", "night"])[np.arange(60) // 2 % 2]
    values = rng.normal(size=60) - 3 * label * (kind == "day")
    ids = [f"clip-{k}" for k in range(60)]
    table = pa.table({"id": ids, "label": label, "video.sme.mean": values})
    facts = Facts(60, {"kind": kind.tolist()})
    settings = EvaluationSettings(bootstrap=100, by=("kind",))
    metrics_of = evaluate_subsets(labelled_rows(table), facts, "video.sme.mean", settings)
    assert list(metrics_of) == ["kind"]
    for name, metrics in metrics_of["kind"].items():
        inside = kind == name
        assert metrics.auc.value == auc(-values[inside], label[inside] == 1)
        assert metrics.counts == ClassCounts(15, 15)
        assert metrics.auc.low <= metrics.auc.value <= metrics.auc.high
    assert metrics_of["kind"]["day"].auc.value > 0.9 > metrics_of["kind"]["night"].auc.value
