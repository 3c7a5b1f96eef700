import pytest

from vidsme_jax.errors import InputError
from vidsme_jax.models.checkpoints import hub


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of the hub; no test reaches the network."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def keep(cache, files):
    """Put a repository's files where a download would have left them."""
    folder = cache / "models--owner--name"
    snapshot = folder / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("0" * 40)
    for name in files:
        (snapshot / name).write_text("{}")
    return snapshot


def test_a_directory_is_taken_as_it_is(tmp_path):
    assert hub.find_checkpoint(str(tmp_path)) == tmp_path


WRONG = ("nowhere", "a/b/c", "../nowhere", "", "a//b", "owner/na me")


@pytest.mark.parametrize("model", WRONG)
def test_what_is_neither_directory_nor_id(model):
    with pytest.raises(InputError, match="does not exist, expected a checkpoint's dir"):
        hub.find_checkpoint(model)


def test_a_file_is_no_checkpoint(tmp_path):
    (tmp_path / "x").write_text("")
    with pytest.raises(InputError, match="is no directory, expected a checkpoint's"):
        hub.find_checkpoint(str(tmp_path / "x"))


def test_without_network_and_cache_one_line_says_what_to_do(cache):
    with pytest.raises(InputError, match="pass the directory of a downloaded") as caught:
        hub.find_checkpoint("owner/name")
    assert "\n" not in str(caught.value)


def test_without_network_the_cache_serves(cache, capsys):
    snapshot = keep(cache, ["config.json", "model.safetensors"])
    assert hub.find_checkpoint("owner/name") == snapshot
    assert "from the cache" in capsys.readouterr().err


def test_a_download_pins_the_revision_and_takes_no_code(cache, monkeypatch):
    request = {}

    class Info:
        sha = "1" * 40

    def download(model, **options):
        request.update(options, model=model)
        return str(cache)

    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda *_, **__: Info)
    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert hub.find_checkpoint("owner/name") == cache
    assert request["revision"] == Info.sha and request["model"] == "owner/name"
    patterns = request["allow_patterns"]
    assert "*.safetensors" in patterns and not {"*.bin", "*.py"} & set(patterns)
