"""What `prepare` costs: its memory over many clips, its speed beside plain loops.

    python experiments/checks/prepare_cost.py --out checks/cost --clips 1000

Memory: of the command and its decoding processes together, over time. Speed: clips per
second and core of `prepare`, of a loop over decord, and of a loop over OpenCV, on the same
files and in turn. The loops decode 32 frames, bring them to the model's size with Pillow
and compute the optical flow, as one would write it down first; they keep nothing.

It printed, on two cores, for clips of 80 x 64 pixels, where a process pays for more than
the decoding:

  memory, peak of each quarter of the run, MB: [739, 764, 764, 757]
  prepare: 12.4 clips a second and core (2 cores)
  plain loop, decord: 21.1; prepare 0.59 times that
  plain loop, OpenCV, seeking: 10.9; prepare 1.14 times that
"""

import os
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import psutil
from bench import arguments, make_bench

from vidsme_jax.data.decoded import sample_indices
from vidsme_jax.data.preprocess import preprocess
from vidsme_jax.models import open_port
from vidsme_jax.motion import flow_variance, illumination
from vidsme_jax.opencv import cv2

COUNT = 32


def by_decord(path: Path) -> np.ndarray:
    """Decode the frames of a clip, the plain way."""
    import decord

    reader = decord.VideoReader(str(path), num_threads=1)
    return reader.get_batch(sample_indices(len(reader), COUNT)).asnumpy()


def by_opencv(path: Path) -> np.ndarray:
    """Decode the frames of a clip, the plain way."""
    capture = cv2.VideoCapture(str(path))
    total = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    frames = []
    for n in sample_indices(total, COUNT):
        capture.set(cv2.CAP_PROP_POS_FRAMES, int(n))
        frames.append(cv2.cvtColor(capture.read()[1], cv2.COLOR_BGR2RGB))
    capture.release()
    return np.stack(frames)


def loop(read, paths: list[Path], resize: int | None, crop: int) -> float:
    """Return the clips per second of a plain loop on one core."""
    start = time.monotonic()
    for path in paths:
        frames = read(path)
        preprocess(frames, resize, crop)
        flow_variance(frames), illumination(frames)
    return len(paths) / (time.monotonic() - start)


def watched(line: list[str]) -> tuple[float, list[float]]:
    """Run a line; return its seconds, and its memory every half second, in MB."""
    sizes: list[float] = []
    start = time.monotonic()
    process = subprocess.Popen(line, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    family = psutil.Process(process.pid)

    def watch() -> None:
        while process.poll() is None:
            total = 0
            for one in [family, *family.children(recursive=True)]:
                try:
                    total += one.memory_info().rss
                except psutil.NoSuchProcess:
                    pass
            sizes.append(total / 1e6)
            time.sleep(0.5)

    watcher = threading.Thread(target=watch)
    watcher.start()
    assert process.wait() == 0
    watcher.join()
    return time.monotonic() - start, sizes


def main() -> None:
    """Run the check and print what came out."""
    given = arguments(__doc__, clips=1000)
    bench = make_bench(given.out, given.clips)
    processor = open_port(bench.model).processor
    paths = [bench.folder / row["video"] for row in bench.rows]
    cores = len(os.sched_getaffinity(0))
    words = bench.prepare(given.out / "store")
    words[words.index("--frames") + 1] = str(COUNT)
    seconds, sizes = watched(words)
    quarter = max(1, len(sizes) // 4)
    peaks = [max(sizes[n : n + quarter]) for n in range(0, len(sizes), quarter)][:4]
    print("memory, peak of each quarter of the run, MB:", [round(p) for p in peaks])
    ours = len(paths) / seconds / cores
    print(f"prepare: {ours:.1f} clips a second and core ({cores} cores)")
    some = paths[: max(50, len(paths) // 5)]
    for name, read in (("decord", by_decord), ("OpenCV, seeking", by_opencv)):
        plain = loop(read, some, processor.resize, processor.crop)
        print(f"plain loop, {name}: {plain:.1f}; prepare {ours / plain:.2f} times that")


if __name__ == "__main__":
    main()
