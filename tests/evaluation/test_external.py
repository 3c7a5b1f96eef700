"""`vidsme evaluate` on scores from elsewhere, good and bad."""

import csv
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from studies import labelled_rows

from vidsme_jax.cli.main import main
from vidsme_jax.errors import InputError
from vidsme_jax.evaluation.external import read_scores
from vidsme_jax.stats.metrics import auc

ROWS = [
    {
        "id": f"00{n}",
        "label": n % 2,
        "score": 0.1 * n + 0.5 * (n % 2),
        "group": f"g{n // 4}",
    }
    for n in range(40)
]


def write(path, rows):
    if path.suffix in (".csv", ".tsv"):
        with path.open("w", newline="") as file:
            delimiter = "\t" if path.suffix == ".tsv" else ","
            writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
            writer.writeheader()
            writer.writerows(rows)
    elif path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, rows)) + "\n")
    else:
        path.write_text(json.dumps(rows))
    return path


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet", ".json", ".jsonl"])
def test_every_kind_of_table_holds_the_same(tmp_path, suffix):
    path = write(tmp_path / f"mine{suffix}", ROWS)
    run = read_scores(path)
    assert run.table["id"].to_pylist() == [row["id"] for row in ROWS]  # with its zeros
    assert run.table["score"].to_pylist() == pytest.approx([row["score"] for row in ROWS])
    assert run.table["group"].to_pylist() == [row["group"] for row in ROWS]
    assert run.path == path


def test_the_command_gives_the_whole_report(tmp_path, capsys):
    unknown = {"id": "x", "label": "", "score": 1.0, "group": "g"}
    table = write(tmp_path / "mine.csv", [*ROWS, unknown])
    base = [{**row, "score": -row["score"]} for row in ROWS]
    control = write(tmp_path / "base.json", base)
    out = tmp_path / "report"
    words = ["evaluate", str(table), "--control", str(control), "--bootstrap", "200"]
    assert main([*words, "--out", str(out)]) == 0
    assert capsys.readouterr().out.startswith("The score ")
    frame = json.loads((out / "metrics.json").read_text())["runs"][0]["frames"][0]
    values, labels = (np.array([row[k] for row in ROWS]) for k in ("score", "label"))
    metrics = frame["scores"]["score"]
    assert metrics["auc"] == pytest.approx(auc(values, labels))
    assert metrics["control"]["difference"] == pytest.approx(2 * metrics["auc"] - 1)
    assert frame["counts"]["unlabelled"] == 1
    page = (out / "report.html").read_text()
    assert "0 frames" not in page and "The primary score in full" in page


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", "id", "expected a run's directory, or a table of scores as .csv"),
        (
            "a.csv",
            "id,label\n1,1\n",
            "no column score, expected label, score and",
        ),
        ("a.csv", "id,label,score\n", "has no rows"),
        ("a.csv", "id,label,score\n1,1,2\n1,0,3\n", "id='1' more than once"),
        ("a.csv", "id,label,score,score\n1,1,2,3\n", "the column score more than once"),
        ("a.csv", "id,label,score\na,1,2\nb,0,x\n", "score='x' in row 2, expected num"),
        ("a.csv", "id,label,score\na,1,2\nb,0,inf\n", "score=inf of id='b', expected fin"),
        ("a.csv", "id,label,score\na,1,2\n,0,1\n", "id='' in row 2, expected one"),
        (
            "a.csv",
            "id,label,score\n1,1,high\n2,0,3\n",
            "score='high' in row 1, expected numbers",
        ),
        (
            "a.csv",
            "id,label,score\n1,yes,1\n2,no,3\n",
            "label='yes' in row 1, expected 1 or true, 0 or false",
        ),
        ("a.csv", "id,label,score\n1,1,nan\n2,0,\n", "a.csv: no row has a score"),
        ("a.csv", "id,label,score\n1,1\n", "cannot be read as .csv"),
        ("a.csv", "id,lable,score\n1,1,2\n", "column lable is not known, label may be"),
        ("a.csv", "id,label,scores\n1,1,2\n", "column scores .*, score may be meant"),
        ("a.csv", "id,label,Label,score\n1,1,0,2\n", "columns label and Label"),
        ("a.json", "[]", "a.json has no rows"),
        ("a.json", "{", "cannot be read as .json"),
        ("a.json", "{}", "expected a list of objects"),
        ("a.parquet", "PAR1", "cannot be read as .parquet"),
    ],
)
def test_bad_tables_are_one_line(tmp_path, name, text, message):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        read_scores(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".csv", ".json", ".jsonl"])
def test_a_byte_order_mark_is_no_part_of_the_table(tmp_path, suffix):
    path = write(tmp_path / f"mine{suffix}", ROWS)
    path.write_text(path.read_text(), encoding="utf-8-sig")
    assert read_scores(path).table["id"].to_pylist() == [row["id"] for row in ROWS]


@pytest.mark.parametrize("label", [2, -1])
def test_other_labels_are_said_by_the_command(tmp_path, capsys, label):
    path = tmp_path / "a.csv"
    path.write_text(f"id,label,score\n1,{label},1\n2,0,3\n3,1,2\n")
    assert main(["evaluate", str(path), "--out", str(tmp_path / "out")]) == 2
    phase, said = capsys.readouterr().err.splitlines()
    assert (
        phase.startswith("evaluate, 1 of ") and f"{path}: label={label}, expected" in said
    )


def test_columns_named_as_our_scores_are_left_out(tmp_path):
    ours = {"video.sme.mean": 1.0, "published: ppl": 3.0}
    rows = [{**row, **ours, "motion": 2.0} for row in ROWS]
    run = read_scores(write(tmp_path / "mine.csv", rows))
    assert "motion" in run.table.column_names
    assert list(labelled_rows(run.table).scores) == ["score"]


@pytest.mark.parametrize("suffix", [".csv", ".json"])
def test_other_names_and_truths_are_read_and_said(tmp_path, capsys, suffix):
    rows = [
        {"ID": r["id"], "Member": bool(r["label"]), "Score": r["score"], "score2": 1}
        for r in ROWS
    ]
    table = read_scores(write(tmp_path / f"mine{suffix}", rows)).table
    for name in ("id", "label", "score"):
        assert table[name].to_pylist() == pytest.approx([row[name] for row in ROWS])
    assert "score2" in table.column_names
    line = "ID is read as id; column Member is read as label; column Score is read as"
    assert line in capsys.readouterr().err


def test_rows_without_ids_are_numbered(tmp_path, capsys):
    rows = [{"label": row["label"], "score": row["score"]} for row in ROWS]
    run = read_scores(write(tmp_path / "mine.csv", rows))
    assert run.table["id"].to_pylist() == [str(n + 1) for n in range(len(ROWS))]
    assert "no column id, so rows are numbered from 1" in capsys.readouterr().err
