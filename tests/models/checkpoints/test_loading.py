import json
import pickle
from dataclasses import replace

import jax
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tools import COLLECTIVES, here, make_project

from vidsme_jax.errors import InputError
from vidsme_jax.models import open_port
from vidsme_jax.models.checkpoints import files, loading
from vidsme_jax.models.checkpoints.loading import load_params, read_unused, save_params
from vidsme_jax.models.checkpoints.rules import EVERYWHERE, Names
from vidsme_jax.models.checkpoints.trees import flatten, unflatten
from vidsme_jax.sharding import partitioned, replicated

pytestmark = [pytest.mark.slow(65), pytest.mark.least_compiled]

GATE = "model.layers.2.mlp.gate_proj.weight"


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    return open_port(make_project(tmp_path_factory.mktemp("toy"), count=2)[2])


def load(port, directory, dtype=np.float32):
    return load_params(directory, port.rules, port.names, port.abstract, dtype, here)


def tensors_of(port):
    return load_file(port.directory / "model.safetensors")


def write_shards(folder, tensors):
    """Write two files, and the index that says which tensor is where."""
    names, where = sorted(tensors), {}
    for name, keys in (("a.safetensors", names[::2]), ("b.safetensors", names[1::2])):
        save_file({k: tensors[k] for k in keys}, folder / name)
        where |= dict.fromkeys(keys, name)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": where}))
    return index


def test_every_tensor_arrives_in_its_place(port):
    tensors, leaves = tensors_of(port), flatten(load(port, port.directory))
    gate = leaves["decoder.layers.mlp.gate.kernel"]
    assert gate.shape == (4, 128, 384)
    np.testing.assert_array_equal(gate[2], tensors[GATE].T)
    patch = next(v for k, v in tensors.items() if k.endswith("patch_embedding.weight"))
    kernel = leaves["tower.patches.kernel"]
    np.testing.assert_array_equal(kernel, patch.reshape(64, -1).T)
    taken = sum(leaf.size for leaf in leaves.values())
    unused, _ = read_unused(port.directory, port.rules, port.names, port.abstract)
    dead = sum(v.size for v in unused.values())
    assert dead > 0 and taken + dead == sum(v.size for v in tensors.values())


def test_saving_gives_the_same_file_back(port, tmp_path):
    unused, keys = read_unused(port.directory, port.rules, port.names, port.abstract)
    params = load(port, port.directory)
    save_params(tmp_path / "model.safetensors", params, port.rules, unused, keys)
    ours, theirs = load_file(tmp_path / "model.safetensors"), tensors_of(port)
    assert set(ours) == set(theirs)
    for key, value in theirs.items():
        np.testing.assert_array_equal(ours[key], value, err_msg=key)


def test_half_precision_files_and_parameters(port, tmp_path):
    half = {k: v.astype(ml_dtypes.bfloat16) for k, v in tensors_of(port).items()}
    save_file(half, tmp_path / "model.safetensors")
    wide = flatten(load(port, tmp_path))
    narrow = flatten(load(port, tmp_path, ml_dtypes.bfloat16))
    path = "decoder.layers.mlp.gate.kernel"
    assert wide[path].dtype == np.float32 and narrow[path].dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(wide[path], np.asarray(narrow[path], np.float32))


def test_shards_by_index(port, tmp_path):
    tensors = tensors_of(port)
    index = write_shards(tmp_path, tensors)
    got, want = flatten(load(port, tmp_path)), flatten(load(port, port.directory))
    for path in want:
        np.testing.assert_array_equal(got[path], want[path], err_msg=path)
    single = {k: v + 1 for k, v in tensors.items()}
    save_file(single, tmp_path / "model.safetensors")  # transformers takes it first
    norm = flatten(load(port, tmp_path))["decoder.norm.scale"]
    np.testing.assert_array_equal(norm, want["decoder.norm.scale"] + 1)
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "b.safetensors").unlink()
    with pytest.raises(InputError, match=r"names \['b.safetensors'\], expected files"):
        load(port, tmp_path)
    index.write_text(json.dumps({"weight_map": {"x": "../../etc/passwd"}}))
    with pytest.raises(InputError, match="expected files beside it"):
        load(port, tmp_path)


def test_all_faults_come_in_one_error(port, tmp_path):
    tensors = tensors_of(port)
    del tensors[GATE]
    tensors["model.norm.weight"] = np.ones(7, np.float32)
    tensors["lm_head.weight"] = tensors["lm_head.weight"].astype(np.int32)
    tensors["model.layers.9.mlp.gate_proj.weight"] = np.ones(3, np.float32)
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(InputError) as caught:
        load(port, tmp_path)
    text = str(caught.value)
    assert f"missing {GATE}" in text
    assert "unknown model.layers.9.mlp.gate_proj.weight" in text
    assert "model.norm.weight has shape (7,), expected (128,)" in text
    assert "lm_head.weight has dtype I32" in text
    assert "\n" not in text


def test_files_that_hold_no_weights(port, tmp_path):
    with pytest.raises(InputError, match="no model.safetensors and no index"):
        load(port, tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(InputError, match="pytorch_model.bin is a pickle"):
        load(port, tmp_path)
    whole = (port.directory / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="not a whole safetensors file"):
        load(port, tmp_path)


def test_flatten_and_back():
    tree = {"a": {"b": 1, "c": {"d": 2}}, "e": 3}
    assert flatten(tree) == {"a.b": 1, "a.c.d": 2, "e": 3}
    assert unflatten(flatten(tree)) == tree


@pytest.mark.parametrize("kind", [np.float16, np.float64, ml_dtypes.bfloat16])
@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
@pytest.mark.parametrize("small", [0, 2**30])
def test_every_float_type_is_read(port, tmp_path, monkeypatch, kind, dtype, small):
    """Put together on the device and on the host alike."""
    monkeypatch.setattr(loading, "_SMALL_BYTES", small)
    tensors = {k: v.astype(kind) for k, v in tensors_of(port).items()}
    save_file(tensors, tmp_path / "model.safetensors")
    leaf = flatten(load(port, tmp_path, dtype))["decoder.layers.mlp.gate.kernel"]
    want = tensors[GATE].astype(np.float32).astype(dtype).T
    np.testing.assert_array_equal(np.asarray(leaf[2]), want)


@pytest.mark.parametrize("place", ["single", "replicas", "partitioned"])
def test_pieces_arrive_where_whole_tensors_do(port, monkeypatch, place):
    """A tensor too large for one piece is cut along an axis that is not split."""
    devices = tuple(jax.devices())
    programs = {
        "single": here,
        "replicas": replicated(lambda x: x, devices).place,
        "partitioned": partitioned(lambda x: x, devices, 2).place,
    }
    where = programs[place]

    def read():
        rules, names = port.rules, port.names
        return flatten(
            load_params(port.directory, rules, names, port.abstract, np.float32, where)
        )

    whole = read()
    monkeypatch.setattr(files, "_PIECE_BYTES", 5000)
    monkeypatch.setattr(loading, "_SMALL_BYTES", 0)
    cut = read()
    for rule in port.rules:
        ours, want = cut[rule.path], whole[rule.path]
        assert ours.sharding == want.sharding == where(rule.spec, want.shape)
        np.testing.assert_array_equal(ours, want, err_msg=rule.path)
    kernel = cut["decoder.layers.mlp.gate.kernel"]
    split = 2 if place == "partitioned" else 1
    assert kernel.addressable_shards[0].data.nbytes == kernel.nbytes // split


def test_writing_a_piece_moves_nothing_between_devices(port):
    place = partitioned(lambda x: x, tuple(jax.devices()), 8).place
    rule = next(r for r in port.rules if r.path == "decoder.layers.mlp.gate.kernel")
    leaf = jax.ShapeDtypeStruct(
        (4, 128, 384), np.float32, sharding=place(rule.spec, (4, 128, 384))
    )
    spec = loading._file_spec(rule)
    piece = jax.ShapeDtypeStruct((384, 64), np.float16, sharding=place(spec, (384, 64)))
    number = jax.ShapeDtypeStruct((), np.int32, sharding=place(EVERYWHERE, ()))
    made = loading._write_piece.lower(
        leaf, piece, (number, number), transform=rule.transform, axis=1
    ).compile()
    assert not [word for word in COLLECTIVES if word in made.as_text()]
    assert "input_output_alias" in made.as_text()  # in place, not a second copy


def test_keys_that_mean_one_tensor_twice(port, tmp_path):
    """Two spellings of a key may stand in different shards."""
    names = Names(((r"model\.", ""),), port.names.ignored)
    rules = tuple(replace(r, key=r.key.removeprefix("model.")) for r in port.rules)
    tensors = tensors_of(port)
    save_file(
        tensors | {"norm.weight": np.ones(128, np.float32)}, tmp_path / "model.safetensors"
    )
    with pytest.raises(InputError, match=r"norm.weight stands 2 times"):
        load_params(tmp_path, rules, names, port.abstract, np.float32, here)


def test_a_broken_shard_is_named_with_the_other_faults(port, tmp_path):
    """What the broken shard holds is not called missing on top."""
    tensors = tensors_of(port)
    write_shards(tmp_path, {k: v for k, v in tensors.items() if k != GATE})
    whole = (tmp_path / "b.safetensors").read_bytes()
    (tmp_path / "b.safetensors").write_bytes(whole[:-100])
    with pytest.raises(InputError) as caught:
        load(port, tmp_path)
    text = str(caught.value)
    assert "b.safetensors is not a whole safetensors file" in text
    assert text.count("missing") == 1 and f"missing {GATE}" in text
    with pytest.raises(InputError, match="b.safetensors is not a whole"):
        port_in(port, tmp_path).check_weights()


def port_in(port, directory):
    return replace(port, path=directory / "config.json")
