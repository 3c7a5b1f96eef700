import hashlib
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vidsme_jax.data.manifest import ManifestSettings, read_manifests
from vidsme_jax.data.rows import DEFAULT_QUESTION
from vidsme_jax.errors import InputError

RECORDS = [
    {"video": "a.mp4", "question": "Why?", "answer": "So.", "label": 1, "source": "x"},
    {"video": "b.mp4", "label": 0, "source": "y"},
]


def write(folder, records, name="m.json"):
    path = folder / name
    path.write_text(json.dumps(records))
    return path


def test_all_formats_read_alike(tmp_path):
    write(tmp_path, RECORDS)
    lines = "\n".join(json.dumps(r) for r in RECORDS)
    (tmp_path / "m.jsonl").write_text(lines + "\n\n")
    (tmp_path / "m.csv").write_text(
        "video,question,answer,label,source\na.mp4,Why?,So.,1,x\nb.mp4,,,0,y\n"
    )
    pq.write_table(pa.Table.from_pylist(RECORDS), tmp_path / "m.parquet")
    want = read_manifests([tmp_path / "m.json"])
    for name in ("m.jsonl", "m.csv"):
        assert read_manifests([tmp_path / name]) == want, name
    rows = read_manifests([tmp_path / "m.parquet"])
    assert [(r.video, r.label, r.question, r.other) for r in rows] == [
        (r.video, r.label, r.question, r.other) for r in want
    ]
    assert want[0].path == tmp_path / "a.mp4" and want[0].group == "a.mp4"
    assert want[1].question == DEFAULT_QUESTION and want[1].answer == ""
    assert want[0].other == {"source": "x"}


def test_default_ids(tmp_path):
    same = {"video": "a.mp4", "question": "Why?"}
    rows = read_manifests([write(tmp_path, [same, same, {"video": "b.mp4"}, same])])
    fields = json.dumps(["a.mp4", "Why?", None, None])
    first = hashlib.sha256(fields.encode()).hexdigest()[:16]
    assert [r.id for r in rows][:2] == [first, f"{first}-2"]
    assert rows[3].id == f"{first}-3" and rows[2].id not in {r.id for r in rows[:2]}


def test_explicit_ids_are_kept_and_must_be_unique(tmp_path):
    rows = read_manifests([write(tmp_path, [{"video": "a", "id": 7}, {"video": "a"}])])
    assert rows[0].id == "7"
    twice = [{"video": "a", "id": "x"}, {"video": "b", "id": "x"}]
    with pytest.raises(InputError, match="id='x' stands for 2 videos"):
        read_manifests([write(tmp_path, twice)])


def test_candidates_and_answer_are_lettered(tmp_path):
    record = {
        "video": "a.mp4",
        "question": "Which?",
        "candidates": ["red", "blue"],
        "answer": "blue",
        "question_type": "TR",
    }
    (row,) = read_manifests([write(tmp_path, [record])])
    assert row.question == "Which?\n(A) red\n(B) blue"
    assert row.answer == "(B) blue"
    assert row.other == {"question_type": "TR"}


def test_labels_of_lists_without_any(tmp_path):
    first = write(tmp_path, [{"video": "a"}], "one.json")
    second = write(tmp_path, [{"video": "b"}, {"video": "c"}], "two.json")
    rows = read_manifests([first, second], ManifestSettings(labels=(1, 0)))
    assert [r.label for r in rows] == [1, 0, 0]
    assert [r.label for r in read_manifests([first, second])] == [None] * 3
    with pytest.raises(InputError, match="2 manifests"):
        read_manifests([first, second], ManifestSettings(labels=(1,)))
    other = write(tmp_path, [{"video": "b", "label": 0}], "three.json")
    with pytest.raises(InputError, match="label=0, but --label 1"):
        read_manifests([other], ManifestSettings(labels=(1,)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "is empty"),
        ("{", "cannot be read as .json"),
        ('{"video": "a"}', "holds no list of objects"),
        ('["a.mp4"]', "holds no list of objects"),
        ('[{"clip": "a.mp4"}]', "none of 1 rows has one video .*; there are clip"),
        ('[{"video": ""}]', r"none of 1 rows has one video \(no video\)"),
        ('[{"video": "a", "label": 2}]', r"label=2, expected 1 or true \(member\), 0"),
        ('[{"video": "a", "label": "yes"}]', "label='yes'"),
        ('[{"video": "../a"}]', "lies outside root"),
        ('[{"video": "/etc/passwd"}]', "lies outside root"),
        ('[{"video": "a", "candidates": "A or B"}]', "candidates is not a list"),
        ('[{"video": [["a"]]}]', "video=.*expected text"),
    ],
)
def test_bad_content_is_one_line(tmp_path, content, message):
    path = tmp_path / "m.json"
    path.write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        read_manifests([path])
    assert "\n" not in str(caught.value) and "m.json" in str(caught.value)


def test_several_faults_come_together(tmp_path):
    path = write(tmp_path, [{"video": "a", "label": n} for n in range(6)])
    with pytest.raises(InputError, match=r"row 3.*row 4.*row 5.*and 1 more"):
        read_manifests([path])


def test_files_that_are_not_manifests(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_manifests([tmp_path / "none.json"])
    with pytest.raises(InputError, match="is a directory"):
        read_manifests([tmp_path])
    (tmp_path / "m.txt").write_text("x")
    with pytest.raises(InputError, match="ends in '.txt'"):
        read_manifests([tmp_path / "m.txt"])
    (tmp_path / "m.csv").write_text("video,label\na.mp4\n")
    with pytest.raises(InputError, match="line 2 has another number of cells"):
        read_manifests([tmp_path / "m.csv"])
    (tmp_path / "m.parquet").write_text("not parquet")
    with pytest.raises(InputError, match="cannot be read as .parquet"):
        read_manifests([tmp_path / "m.parquet"])


def test_root_widens_the_place(tmp_path):
    path = write(tmp_path, [{"video": "/videos/a.mp4"}])
    (row,) = read_manifests([path], ManifestSettings(root=Path("/")))
    assert str(row.path) == "/videos/a.mp4"
