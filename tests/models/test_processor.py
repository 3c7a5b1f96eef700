import json

import numpy as np
import pytest
from PIL import Image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from vidsme_jax.data.preprocess import geometry_of, preprocess
from vidsme_jax.errors import InputError
from vidsme_jax.models.processor import (
    CLIP_MEAN,
    CLIP_STD,
    HALF,
    Processor,
    find_processor,
    parse_processor,
    pixel_levels,
)

SHAPES = ((64, 64), (97, 133), (133, 97), (240, 426), (31, 500), (501, 33), (1, 7))


def assert_equal_to(theirs, processor, rng, shapes=SHAPES):
    """Our geometry and table give, bit for bit, the pixels of a Pil image processor."""
    table = pixel_levels(processor.mean, processor.std)
    for shape in shapes:
        frame = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
        want = theirs(images=[Image.fromarray(frame)], return_tensors="np")["pixel_values"]
        got = preprocess(frame[None], geometry_of(processor))[0]
        got = np.stack([table[c][got[..., c]] for c in range(3)])
        np.testing.assert_array_equal(got, np.asarray(want)[0], err_msg=str(shape))


@pytest.mark.parametrize("size, crop", [(24, 24), (336, 336), (30, 36), (40, 33)])
def test_pixels_are_bit_equal_to_clips_processor(rng, size, crop):
    theirs = CLIPImageProcessorPil(
        size={"shortest_edge": size}, crop_size={"height": crop, "width": crop}
    )
    assert_equal_to(theirs, Processor(size, crop), rng, SHAPES[:-1])


@pytest.mark.parametrize("resample", ["bicubic", "bilinear"])
@pytest.mark.parametrize("side", [24, 37, 384])
def test_pixels_are_bit_equal_to_siglips_processor(rng, side, resample):
    """The hub's files of SigLIP 2 ask for bilinear resizing."""
    number = {"bicubic": 3, "bilinear": 2}[resample]
    size = {"height": side, "width": side}
    theirs = SiglipImageProcessorPil(size=size, resample=number)
    ours = parse_processor(SIGLIP_FILE | {"size": size, "resample": number}, "SigLIP")
    assert ours == Processor(None, side, HALF, HALF, resample)
    assert_equal_to(theirs, ours, rng)


def test_pixels_of_clip_resized_bilinearly(rng):
    theirs = CLIPImageProcessorPil(
        size={"shortest_edge": 30}, crop_size={"height": 24, "width": 24}, resample=2
    )
    assert_equal_to(theirs, Processor(30, 24, resample="bilinear"), rng, SHAPES[:-1])


def test_squeezing_with_other_means(rng):
    """LLaVA-OneVision's hub files differ in what they normalise with."""
    theirs = SiglipImageProcessorPil(
        size={"height": 30, "width": 30}, image_mean=CLIP_MEAN, image_std=CLIP_STD
    )
    assert_equal_to(theirs, Processor(None, 30), rng)


CLIP_FILE = {
    "crop_size": {"height": 336, "width": 336},
    "do_center_crop": True,
    "do_resize": True,
    "image_mean": list(CLIP_MEAN),
    "resample": 3,
    "rescale_factor": 0.00392156862745098,
    "size": {"shortest_edge": 336},
}
SIGLIP_FILE = {
    "do_center_crop": None,
    "crop_size": None,
    "image_mean": list(HALF),
    "image_std": list(HALF),
    "size": {"height": 384, "width": 384},
}


@pytest.mark.parametrize(
    ("files", "want"),
    [
        ({"preprocessor_config.json": CLIP_FILE}, Processor(336, 336)),
        ({"preprocessor_config.json": {"size": 224}}, Processor(224, 224)),
        (
            {
                "preprocessor_config.json": CLIP_FILE,
                "video_preprocessor_config.json": SIGLIP_FILE,
            },
            Processor(None, 384, HALF, HALF),
        ),
        (
            {
                "preprocessor_config.json": SIGLIP_FILE,
                "processor_config.json": {"video_processor": CLIP_FILE},
            },
            Processor(336, 336),
        ),
        (
            {
                "preprocessor_config.json": CLIP_FILE,
                "processor_config.json": {"processor_class": "LlavaNextVideoProcessor"},
            },
            Processor(336, 336),
        ),
    ],
)
def test_processors_of_hub_files(tmp_path, files, want):
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content))
    assert find_processor(tmp_path) == want


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"do_resize": False}, "switches off"),
        ({"resample": 1}, r"resample=1, expected 2 \(bilinear\) or 3 \(bicubic\)"),
        ({"rescale_factor": 1.0}, "rescale_factor=1.0, expected 1/255"),
        ({"rescale_factor": None}, "not the config of a CLIP or SigLIP"),
        ({"do_normalize": 0}, "switches off"),
        ({"crop_size": {"height": 28, "width": 56}}, "expected a square"),
        ({"image_std": [0, 0, 0]}, "std above 0"),
        ({"image_mean": [0.5, float("nan"), 0.5]}, "three channels"),
        ({"rescale_factor": 10**400}, "a number of 401 digits"),
        ({"size": {"shortest_edge": float("inf")}}, "not the config of a CLIP"),
        ({"size": {"shortest_edge": 0}}, "size 0, expected a number from 1 to"),
        ({"do_center_crop": False}, "no centre crop"),
        ({"size": {"height": 3, "width": 4}}, "expected a square"),
        ({"size": {"longest_edge": 3}}, "shortest_edge"),
        ({"image_mean": [0.5]}, "three channels"),
    ],
)
def test_processors_that_do_something_else(tmp_path, change, message):
    path = tmp_path / "preprocessor_config.json"
    path.write_text(json.dumps(CLIP_FILE | change))
    with pytest.raises(InputError, match=message):
        find_processor(tmp_path)


def test_a_checkpoint_without_processor(tmp_path):
    with pytest.raises(InputError, match="no preprocessor_config.json"):
        find_processor(tmp_path)
