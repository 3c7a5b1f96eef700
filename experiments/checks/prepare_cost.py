"""Measure what `prepare` costs: memory over many clips, and speed beside plain loops.

    python experiments/checks/prepare_cost.py --out checks/cost --clips 1000 --large 24

Memory: of the command and its decoding processes together, over time, for many small clips.
Speed: clips per second and core of `prepare`, of a loop over decord, and of a loop over
OpenCV, on the same files and in turn; for the small clips, and for a few of 1280 x 720. The
loops decode 32 frames, bring them to the model's size with Pillow and compute the optical
flow, as one would write it down first; one runs on each core, and they keep nothing.

Found: memory does not grow with the number of clips. On large clips `prepare` is nearly as
fast as the plain loops (0.89 and 0.97 times), on small ones less so (0.64 and 0.94).
"""

import json
import multiprocessing
import os
import subprocess
import threading
import time
from collections.abc import Generator, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import psutil
from bench import Bench, arguments, make_bench, publish

from vidsme_jax.data.motion import flow_variance, illumination
from vidsme_jax.data.opencv import cv2
from vidsme_jax.data.preprocess import FrameGeometry, geometry_of, preprocess
from vidsme_jax.data.readers.decoded import sample_indices
from vidsme_jax.data.synthetic.shapes import write_mp4
from vidsme_jax.models import open_port

COUNT = 32


def by_decord(path: Path) -> np.ndarray:
    """Decode the frames of a clip with decord, as a plain script would."""
    import decord

    reader = decord.VideoReader(str(path), num_threads=1)
    return reader.get_batch(sample_indices(len(reader), COUNT)).asnumpy()


def by_opencv(path: Path) -> np.ndarray:
    """Decode the frames of a clip with OpenCV, as a plain script would."""
    capture = cv2.VideoCapture(str(path))
    total = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    frames = []
    for n in sample_indices(total, COUNT):
        capture.set(cv2.CAP_PROP_POS_FRAMES, int(n))
        frames.append(cv2.cvtColor(capture.read()[1], cv2.COLOR_BGR2RGB))
    capture.release()
    return np.stack(frames)


def loop(read, paths: list[Path], geometry: FrameGeometry) -> None:
    """Do the work of a plain loop on one core."""
    cv2.setNumThreads(1)
    for path in paths:
        frames = read(path)
        preprocess(frames, geometry)
        flow_variance(frames), illumination(frames)


def on_all_cores(read, paths: list[Path], processor, cores: int) -> float:
    """Return the clips per second and core of one loop on each core."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(cores, context) as pool:
        # Their interpreters first: what is timed is the loop.
        geometries = [geometry_of(processor)] * cores
        list(pool.map(loop, [read] * cores, [[]] * cores, geometries))
        start = time.monotonic()
        shares = [paths[n::cores] for n in range(cores)]
        list(pool.map(loop, [read] * cores, shares, geometries))
        return len(paths) / (time.monotonic() - start) / cores


def enlarge(bench: Bench, count: int) -> Bench:
    """Write the first clips again at 1280 x 720, three times as long."""
    folder = bench.folder / "large"
    manifest = folder / "clips.json"
    if not manifest.exists():
        (folder / "clips").mkdir(parents=True, exist_ok=True)
        for row in bench.rows[:count]:
            frames = np.stack(
                [cv2.resize(f, (1280, 720)) for f in by_decord(bench.folder / row["video"])]
            )
            write_mp4(folder / row["video"], np.concatenate([frames] * 3), 24.0)
        manifest.write_text(json.dumps(bench.rows[:count]))
    return Large(folder, bench.rows[:count])


class Large(Bench):
    """Clips in a folder below that of the model."""

    @property
    def model(self) -> Path:
        """Return the path of the checkpoint."""
        return self.folder.parent / "model"


def watched(line: list[str]) -> tuple[float, list[float]]:
    """Run a command line; return its seconds, and its memory in MB every half second."""
    sizes: list[float] = []
    start = time.monotonic()
    process = subprocess.Popen(line, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    family = psutil.Process(process.pid)

    def watch() -> None:
        while process.poll() is None:
            total = 0
            for member in [family, *family.children(recursive=True)]:
                try:
                    total += member.memory_info().rss
                except psutil.NoSuchProcess:
                    pass
            sizes.append(total / 1e6)
            time.sleep(0.5)

    watcher = threading.Thread(target=watch)
    watcher.start()
    assert process.wait() == 0
    watcher.join()
    return time.monotonic() - start, sizes


def measure(bench: Bench, out: Path, looped: int) -> Generator[str, None, list[float]]:
    """Yield the speeds on a set of clips; return the memory of `prepare` over time.

    Args:
        bench: clips and model.
        out: the store.
        looped: number of clips for the plain loops.
    """
    processor = open_port(bench.model).processor
    paths = [bench.folder / row["video"] for row in bench.rows]
    cores = len(os.sched_getaffinity(0))
    words = bench.prepare(out)
    words[words.index("--frames") + 1] = str(COUNT)
    seconds, sizes = watched(words)
    ours = len(paths) / seconds / cores
    yield f"prepare: {ours:.3g} clips a second and core ({cores} cores)"
    for name, read in (("decord", by_decord), ("OpenCV, seeking", by_opencv)):
        plain = on_all_cores(read, paths[:looped], processor, cores)
        yield f"plain loop, {name}: {plain:.3g}; prepare {ours / plain:.2f} times that"
    return sizes


def main() -> None:
    """Run the check, print what came out and write it down."""
    options = arguments(__doc__, clips=1000, large=24)
    publish(__file__, check(make_bench(options.out, options.clips), options.large))


def check(bench: Bench, large: int) -> Iterator[str]:
    """Yield speeds and memory on the small clips, then on some large ones."""
    yield "80 x 64 pixels, 16 frames"
    sizes = yield from measure(bench, bench.folder / "store", 200)
    quarter = max(1, len(sizes) // 4)
    peaks = [max(sizes[n : n + quarter]) for n in range(0, len(sizes), quarter)][:4]
    yield f"memory, peak of each quarter of the run, MB: {[round(p) for p in peaks]}"
    yield "1280 x 720 pixels, 96 frames"
    sizes = yield from measure(enlarge(bench, large), bench.folder / "store-large", 8)
    yield f"memory, peak, MB: {max(sizes):.0f}"


if __name__ == "__main__":
    main()
