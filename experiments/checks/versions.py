"""Check that the lowest and the newest versions of the libraries run the demo.

    python experiments/checks/versions.py --out versions

makes two environments: with the lowest versions that setup.cfg allows, and with those that
pip chooses. In each it runs `vidsme demo`, reads a clip by PyAV, and prints the results.
`--python` names another interpreter.
"""

import argparse
import configparser
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_SHOWN = ("video.sme.mean", "response.logp.mean")  # rows of the demo's table
_CLIP = """
import sys
from vidsme_jax.data.readers.policy import read_clip
clip = read_clip(next(__import__("pathlib").Path(sys.argv[1]).glob("*.mp4")), (8,), "pyav")
print("pyav:", clip.frames.shape, clip.frames_total, "frames")
"""


def lowest() -> list[str]:
    """Return name==version for every lower bound of the package."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    lines = parser["options"]["install_requires"]
    pattern = re.compile(r"^([\w.-]+)>=([\w.]+)", re.MULTILINE)
    return [f"{name}=={version}" for name, version in pattern.findall(lines)]


def run(python: str, out: Path, constraints: list[str]) -> bool:
    """Install into a new environment and run the demo; return whether all went well."""
    out.mkdir(parents=True)
    (out / "constraints.txt").write_text("\n".join(constraints) + "\n")
    subprocess.run([python, "-m", "venv", out / "venv"], check=True)
    bin = out / "venv" / "bin"
    install = [bin / "pip", "install", "--quiet", str(ROOT)]
    steps = (
        [*install, "--constraint", out / "constraints.txt"],
        [bin / "vidsme", "demo", "--out", out / "demo"],
        [bin / "python", "-c", _CLIP, out / "demo" / "clips"],
    )
    for step in steps:
        done = subprocess.run(step, cwd=out, capture_output=True, text=True)
        if done.returncode:
            print(f"{out.name}: {step[0].name} ended with {done.returncode}")
            print(done.stderr[-2000:])
            return False
        for line in done.stdout.splitlines():
            if line.startswith((*_SHOWN, "pyav")):
                print(f"{out.name}: {line}")
    return True


def main() -> None:
    """Try the lowest and the newest versions; end with 1 where either fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--python", default=sys.executable)
    options = parser.parse_args()
    out = options.out.resolve()
    good = [
        run(options.python, out / name, constraints)
        for name, constraints in (("lowest", lowest()), ("newest", []))
    ]
    sys.exit(not all(good))


if __name__ == "__main__":
    main()
