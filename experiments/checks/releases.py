"""What releases of transformers write into a config.json, and how they spell the keys.

    python experiments/checks/releases.py FOLDER…

Each folder holds a release, with a tokenizers and a huggingface_hub that it takes:

    pip install --no-deps --target FOLDER transformers==4.46.3 tokenizers==0.20.* \
        'huggingface_hub<1'

PyTorch and the rest are those of the environment. Every release makes the tiny checkpoints
of `CASES` and saves them. Their configs and keys go to tests/releases/RELEASE.json, which
tests/models/ports/test_releases.py reads. The fields of all config classes are compared
with the lists in models/checkpoints/fields.py and the names in models/ports; those that
neither has are printed.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
RELEASES = ROOT / "tests" / "releases"
CASES = ("next-llama-gqa", "onevision-siglip", "video-llava")
CLASSES = (
    "PretrainedConfig LlamaConfig MistralConfig Qwen2Config CLIPVisionConfig"
    " SiglipVisionConfig LlavaNextVideoConfig LlavaOnevisionConfig VideoLlavaConfig"
).split()


def write_release(out: Path) -> None:
    """Write what the imported release of transformers saves; needs a process of its own."""
    sys.path.insert(0, str(ROOT / "tests"))
    import transformers
    from safetensors import safe_open
    from twins import TWIN, config_of

    saved: dict[str, Any] = {"release": transformers.__version__}
    for case in CASES:
        config = config_of(TWIN[case])
        name, _ = config.pop("architectures")[0], config.pop("model_type")
        cls = getattr(transformers, name, None)
        if cls is None:  # the release does not have it yet
            continue
        model = cls(cls.config_class(**config))
        with tempfile.TemporaryDirectory() as folder:
            model.save_pretrained(folder)
            fields = json.loads((Path(folder) / "config.json").read_text())
            with safe_open(Path(folder) / "model.safetensors", "np") as file:
                saved[case] = {"config": fields, "keys": sorted(file.keys())}
    classes = [getattr(transformers, name, None) for name in CLASSES]
    saved["defaults"] = {cls.__name__: cls().to_dict() for cls in classes if cls}
    out.write_text(json.dumps(saved))


def main(folders: list[Path]) -> None:
    """Run every release, store what it saves, and print the fields that no list has."""
    from vidsme_jax.models.checkpoints import fields

    listed = fields.GENERATION | fields.BOOKKEEPING | fields.TRAINING | set(fields.DEFAULTS)
    for path in (ROOT / "models" / "ports").glob("*.py"):
        listed |= set(re.findall(r"\w+", path.read_text()))
    names: dict[str, set[str]] = {}
    for folder in folders:
        out = Path(tempfile.mkdtemp()) / "saved.json"
        environment = os.environ | {"PYTHONPATH": str(folder)}
        command = [sys.executable, "-W", "ignore", __file__, "--write", str(out)]
        subprocess.run(command, env=environment, check=True)
        saved = json.loads(out.read_text())
        for name, values in saved.pop("defaults").items():
            for field in set(values) - listed:
                names.setdefault(field, set()).add(name)
        if set(CASES) <= set(saved):
            text = json.dumps(saved, separators=(",", ":"), sort_keys=True)
            (RELEASES / f"{saved['release']}.json").write_text(text + "\n")
        print(saved["release"], {c: len(saved[c]["keys"]) for c in CASES if c in saved})
    print(f"fields that are unknown: {len(names)}")
    for field, classes in sorted(names.items()):
        print(f"  {field}: {', '.join(sorted(classes))}")


if __name__ == "__main__":
    if sys.argv[1] == "--write":
        write_release(Path(sys.argv[2]))
    else:
        main([Path(folder) for folder in sys.argv[1:]])
