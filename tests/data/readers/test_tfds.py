"""Existing data sets of tensorflow-datasets as clips: `--data tfds:NAME/SPLIT`."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from tools import make_project

from vidsme_jax import cli
from vidsme_jax.data.manifest import ManifestSettings, read_manifests
from vidsme_jax.data.prepare_clip import prepare_clip
from vidsme_jax.data.prepared import ClipSpec
from vidsme_jax.data.preprocess import FrameGeometry, preprocess
from vidsme_jax.data.readers.policy import read_clip
from vidsme_jax.errors import InputError
from vidsme_jax.runs.score import ScoreSettings, score

pytestmark = [pytest.mark.slow(60), pytest.mark.least_compiled]

KINDS = tfds.features


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tfds")
    rows, _, model = make_project(folder, count=6)
    clips = [read_clip(folder / row["video"], [100]).frames for row in rows]
    return folder, rows, model, clips


def build(folder, name, features, examples, file_format="array_record"):
    """Write a data set as its authors would."""

    def info(self):
        return tfds.core.DatasetInfo(builder=self, features=KINDS.FeaturesDict(features))

    members = {
        "VERSION": tfds.core.Version("1.0.0"),
        "pkg_dir_path": folder,
        "_info": info,
        "_split_generators": lambda self, manager: {"test": self._generate_examples()},
        "_generate_examples": lambda self: enumerate(examples),
    }
    words = "".join(word.capitalize() for word in name.split("_"))
    kind = type(words, (tfds.core.GeneratorBasedBuilder,), members)
    kind(data_dir=folder, file_format=file_format).download_and_prepare()


@pytest.fixture(scope="module")
def made(project):
    folder, rows, _, clips = project
    features = {
        "video": KINDS.Tensor(shape=(None, *clips[0].shape[1:]), dtype=np.uint8),
        "question": KINDS.Text(),
        "answer": KINDS.Text(),
        "label": KINDS.ClassLabel(names=["walk", "run"]),
        "speed": KINDS.Scalar(np.float32),
    }
    examples = [
        {
            "video": clip,
            "question": row["question"],
            "answer": row["answer"],
            "label": n % 2,
            "speed": n / 2,
        }
        for n, (row, clip) in enumerate(zip(rows, clips, strict=True))
    ]
    build(folder, "moving_shapes", features, examples)
    return "tfds:moving_shapes/test"


def test_rows_are_the_examples(project, made):
    folder, rows, _, clips = project
    read = read_manifests([Path(made)], ManifestSettings(folder, (1,)))
    assert len(read) == 6 and {row.label for row in read} == {1}
    pairs = {(row["question"], row["answer"]) for row in rows}
    assert {(row.asked, row.answer) for row in read} == pairs
    # What a clip shows is not whether it was trained on.
    assert {row.other["class"] for row in read} == {"walk", "run"}
    assert {row.other["speed"] for row in read} == {n / 2 for n in range(6)}
    for row in read:
        n = int(row.other["speed"] * 2)
        square = FrameGeometry(24, 24)
        ready = prepare_clip(row.path, ClipSpec((4,), square))
        sampled = clips[n][np.linspace(0, len(clips[n]) - 1, 4, dtype=int)]
        assert ready.facts.reader == "tfds"
        assert ready.facts.file.frames_total == len(clips[n])
        np.testing.assert_array_equal(ready.sample(4), preprocess(sampled, square))
    assert read[0].video.startswith("moving_shapes/test#")


def test_it_is_scored_from_the_command_line(project, made, tmp_path, capsys):
    folder, _, model, _ = project
    words = ["score", "--model", str(model), "--data", made, "--root", str(folder)]
    assert cli.main([*words, "--frames", "4", "--out", str(tmp_path / "run")]) == 0
    assert "6 rows (6 ok)" in capsys.readouterr().out


def test_its_scores_are_those_of_the_same_frames_in_files(project, made, tmp_path):
    folder, rows, model, _ = project
    from_set = score(
        ScoreSettings(
            model,
            (Path(made),),
            tmp_path / "a",
            (4,),
            ("video",),
            ManifestSettings(folder),
            batch=1,
        )
    )
    manifest = folder / "manifest.json"
    manifest.write_text(json.dumps(rows))
    from_files = score(
        ScoreSettings(model, (manifest,), tmp_path / "b", (4,), ("video",), batch=1)
    )
    a, b = (sorted(t["video.sme.mean"].to_pylist()) for t in (from_set, from_files))
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    a, b = (sorted(t["frame_hash"].to_pylist()) for t in (from_set, from_files))
    assert a == b


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("tfds:moving_shapes/train", "there are splits test"),
        ("tfds:moving_shapes", "expected tfds:NAME/SPLIT"),
        ("tfds:no_such_set/test", "no data set of that name in .*--root names the folder"),
    ],
)
def test_what_is_no_data_set(project, made, data, message):
    with pytest.raises(InputError, match=message) as caught:
        read_manifests([Path(data)], ManifestSettings(project[0]))
    assert "\n" not in str(caught.value)


def test_features_without_frames(project):
    folder = project[0]
    build(folder, "no_frames", {"text": KINDS.Text()}, [{"text": "a"}])
    with pytest.raises(InputError, match="has features text Text; expected one Tensor"):
        read_manifests([Path("tfds:no_frames/test")], ManifestSettings(folder))


def test_videos_of_tensorflow_datasets_need_tensorflow(project, made):
    """The feature is there in the files, and its class cannot be made."""
    folder = project[0]
    path = folder / "moving_shapes" / "1.0.0"
    copy = folder / "with_video" / "1.0.0"
    copy.mkdir(parents=True)
    for file in path.iterdir():
        text = file.read_bytes().replace(b"moving_shapes", b"with_video")
        (copy / file.name.replace("moving_shapes", "with_video")).write_bytes(text)
    features = json.loads((copy / "features.json").read_text())
    feature = features["featuresDict"]["features"]["video"]
    feature["pythonClassName"] = "tensorflow_datasets.core.features.video_feature.Video"
    feature["video"] = {"shape": {"dimensions": ["-1", "24", "24", "3"]}, "dtype": "uint8"}
    feature.pop("tensor")
    (copy / "features.json").write_text(json.dumps(features))
    with pytest.raises(InputError, match="cannot be read without TensorFlow"):
        read_manifests([Path("tfds:with_video/test")], ManifestSettings(folder))
