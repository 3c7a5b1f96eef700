import csv

import pyarrow.parquet as pq
import pytest

from vidsme_jax.records.csv_tables import defused, write_csv


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\tx", "\rx", "\nx", "＝1", "-", "--1", "-0.5a"],
)
def test_a_formula_is_defused(text):
    assert defused(text) == "'" + text


@pytest.mark.parametrize(
    "cell", [-0.5, -3, "-0.5", "+7", "-1e-5", "-.5", "a=1", "", None, True, "1-2", " =1"]
)
def test_numbers_and_other_texts_stay(cell):
    assert defused(cell) is cell


def test_the_parquet_beside_it_keeps_the_value(tmp_path):
    rows = [
        {"id": "=cmd|' /C calc'!A0", "auc": -0.5, "n": 1},
        {"id": 'b,"\n', "n": 2.5, "@x": "c\ud800"},
    ]
    write_csv(tmp_path / "t.csv", rows)
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8") as file:
        header, *cells = csv.reader(file)
    assert header == ["id", "auc", "n", "'@x"]
    assert cells == [["'=cmd|' /C calc'!A0", "-0.5", "1", ""], ['b,"\n', "", "2.5", "c?"]]
    table = pq.read_table(tmp_path / "t.parquet").to_pydict()
    assert table["id"] == [row["id"] for row in rows]
    assert table == {
        "id": table["id"],
        "auc": [-0.5, None],
        "n": [1, 2.5],
        "@x": [None, "c?"],
    }


def test_no_rows(tmp_path):
    write_csv(tmp_path / "t.csv", [])
    assert pq.read_table(tmp_path / "t.parquet").num_rows == 0
