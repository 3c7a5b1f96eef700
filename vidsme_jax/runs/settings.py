"""The settings of a score run."""

from dataclasses import dataclass
from pathlib import Path

from vidsme_jax.data.batches import PERTURBATIONS
from vidsme_jax.data.clips import Decoding
from vidsme_jax.data.manifest import ManifestSettings
from vidsme_jax.errors import check_counts, check_names, check_rates
from vidsme_jax.records.shards import Shard
from vidsme_jax.scores import catalogue
from vidsme_jax.scores.orders import EntropyOrders


@dataclass(frozen=True)
class ScoreSettings:
    """What `vidsme score` does; see its --help.

    Attributes:
        model: checkpoint directory or hub id.
        data: manifests, scored as one set, or one store of `vidsme prepare`.
        out: directory of the run.
        frames: frame counts; the table has a row per manifest row and frame count.
        slices: positions that are scored, of `catalogue.SLICES`.
        manifests: how the manifests are read.
        system: system message; None takes the template's.
        published_prompt: cinepile, nextqa or caption, instead of the port's template.
        definitions: of `catalogue.DEFINITIONS`; exact is always among them.
        variants: further ways to choose q and r, scored in the same pass.
        perturbation: frame order that the natural order is compared with, of
            `batches.PERTURBATIONS`.
        dtype: float32, bfloat16, or auto: float32 on CPU, else bfloat16.
        parallel: auto, replicas, partitioned, or global: over all processes' devices.
        batch: clips of a step, on each replica of the model.
        calibration: path of a calibration.json; None calibrates over this run.
        beta1: width of the range of q.
        beta2: width of the range of r.
        max_text: tokens of question and answer beyond which a row is too long.
        keep_tokens: whether every per-token curve is kept, not that of `sme` alone.
        reader: how files are decoded, of `policy.POLICIES`.
        decoding: with how many processes, and how long a clip may take.
        shard: the shard whose rows are scored; None scores all.
        adapter: folder of a LoRA adapter of PEFT to merge into the model.
        ignore_fields: fields of the model's configs that are ignored where the port lacks
            them.
    """

    model: str | Path
    data: tuple[Path, ...]
    out: Path
    frames: tuple[int, ...] = (16,)
    slices: tuple[str, ...] = catalogue.SLICES
    manifests: ManifestSettings = ManifestSettings()
    system: str | None = None
    published_prompt: str | None = None
    definitions: tuple[str, ...] = ("exact",)
    variants: tuple[EntropyOrders, ...] = ()
    perturbation: str = "reverse"
    dtype: str = "auto"
    parallel: str = "auto"
    batch: int = 8
    calibration: Path | None = None
    beta1: float = 1.0
    beta2: float = 0.1
    max_text: int = 2048
    keep_tokens: bool = False
    reader: str = "auto"
    decoding: Decoding = Decoding()
    shard: Shard | None = None
    adapter: Path | None = None
    ignore_fields: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse values that no run can have."""
        check_counts(self, "frames", "batch", "max_text")
        check_rates(self, "beta1", "beta2")
        check_names(self, slices=catalogue.SLICES, perturbation=PERTURBATIONS)
