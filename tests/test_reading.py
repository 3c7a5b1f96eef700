import os
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vidsme_jax import reading
from vidsme_jax.records import parquet
from vidsme_jax.records.parquet import read_parquet


def refusal(call, *arguments):
    with pytest.raises((ValueError, OSError)) as caught:
        call(*arguments)
    return str(caught.value)


def test_only_regular_files_below_a_size_are_read(tmp_path):
    path = tmp_path / "a"
    os.mkfifo(path)
    start = time.monotonic()
    assert "a pipe or a device" in refusal(reading.read_bytes, path, 9)
    path.unlink()
    path.symlink_to("/dev/zero")
    assert "a pipe or a device" in refusal(reading.read_bytes, path, 9)
    assert "a folder" in refusal(reading.read_bytes, tmp_path, 9)
    path.unlink()
    path.write_bytes(b"0123456789")
    assert reading.read_bytes(path, 10) == b"0123456789"
    assert "expected up to 9e-06" in refusal(reading.read_bytes, path, 9)
    assert time.monotonic() - start < 5


def test_a_file_without_a_size_ends_at_the_limit():
    """Those of the kernel say that they have none."""
    path = reading.Path("/proc/self/status")
    assert path.stat().st_size == 0
    assert "expected up to" in refusal(reading.read_bytes, path, 20)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "nested deeper than 100"),
        ("[" * 101 + "]" * 101, "nested deeper than 100"),
        ('{"a": {"b": 1, "b": 2}}', "the key 'b' stands twice"),
        ("9" * 301, "a number of 301 digits"),
        ("[1", "Expecting"),
    ],
)
def test_json_within_limits(text, message):
    assert message in refusal(reading.parse_json, text)


def test_json_that_is_read(tmp_path):
    assert reading.parse_json("[" * 100 + "]" * 100)
    path = tmp_path / "a.json"
    path.write_bytes(b'\xef\xbb\xbf{"a": [1, NaN],\r\n "b": "\\ud83d\\ude42"}')
    value = reading.read_json(path)
    assert value["b"] == "🙂" and value["a"][0] == 1 and np.isnan(value["a"][1])


def test_many_values_are_refused_before_they_are_made(monkeypatch):
    monkeypatch.setattr(reading, "VALUES", 10)
    assert reading.parse_json("[1,2,3,4,5,6,7,8,9]")
    assert "expected up to 10" in refusal(reading.parse_json, "[1,2,3,4,5,6,7,8,9,10,11]")


def test_a_link_out_of_a_folder(tmp_path):
    folder, outside = tmp_path / "model", tmp_path / "secret.json"
    folder.mkdir()
    outside.write_text("{}")
    (folder / "inside.json").write_text("{}")
    (folder / "near.json").symlink_to("inside.json")
    reading.check_inside(folder / "near.json", folder)
    (folder / "far.json").symlink_to("../secret.json")
    assert "outside its folder" in refusal(
        reading.check_inside, folder / "far.json", folder
    )
    blobs = tmp_path / "models--a--b" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / "hash").write_text("{}")
    (folder / "config.json").symlink_to(blobs / "hash")
    reading.check_inside(folder / "config.json", folder)


def write(path, **columns):
    pq.write_table(pa.table(columns), path)
    return path


def test_parquet_that_expands_is_refused(tmp_path):
    texts = pa.DictionaryArray.from_arrays(
        pa.array(np.zeros(20_000, np.int32)), pa.array(["x" * 10**6])
    )
    path = write(tmp_path / "texts", a=texts)
    assert path.stat().st_size < 200_000  # and 20 GB in memory
    assert "MB or more in memory" in refusal(read_parquet, path)
    path = write(tmp_path / "numbers", a=np.zeros(1000), b=np.zeros(1000))
    assert "expected up to 999" in refusal(read_parquet, path, None, 999)
    assert len(read_parquet(path, None, 1000)) == 1000


def test_columns_are_counted_and_only_those_asked_for_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "COLUMNS", 3)
    path = write(tmp_path / "t", **{c: [1] for c in "abcd"})
    assert "4 columns" in refusal(read_parquet, path)
    assert read_parquet(path, ["d", "a", "z"]).column_names == ["d", "a"]


def test_a_table_read_in_pieces_is_the_same(tmp_path, monkeypatch):
    rows = {"id": [f"clip {n}" * 9 for n in range(500)], "x": list(range(500))}
    rows["list"] = [["a"] * (n % 4) for n in range(500)]
    path = write(tmp_path / "t", **rows)
    whole = read_parquet(path)
    monkeypatch.setattr(parquet, "_SMALL", 10**6)
    monkeypatch.setattr(parquet, "_PIECE", 10**5)
    pieces = read_parquet(path)
    assert pieces.equals(whole) and pieces["id"].num_chunks > 1
    assert pieces.to_pydict() == rows
    monkeypatch.setattr(parquet, "_SMALL", 10**4)
    monkeypatch.setattr(parquet, "_RATIO", 1)
    assert "in memory" in refusal(read_parquet, path)
