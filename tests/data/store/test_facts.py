"""The JSON of a store: the same text as ever, and read back without loss."""

import json

import pytest

from vidsme_jax.data.prepared import ClipFacts, ClipSpec, FileFacts, FrameFacts
from vidsme_jax.data.preprocess import FrameGeometry
from vidsme_jax.data.store.facts import (
    facts_from_json,
    facts_to_json,
    spec_from_settings,
    spec_to_settings,
)

# As version 0.3.0 wrote them; a change of these texts makes old stores unreadable.
GOOD = (
    '{"status": "ok", "error": null, "reader": "decord", "fallback": null,'
    ' "container": "mp4", "codec": "fmp4", "frames_total": 16, "fps": 8.0,'
    ' "duration": 2.0, "width": 80, "height": 64, "appearance": [0.25, 1e-05],'
    ' "2": {"frame_indices": [0, 15], "frame_hash": "00ff", "motion": 0.5,'
    ' "illumination": 1.5}, "16": {"frame_indices": [0, 7], "frame_hash": "11ee",'
    ' "motion": 0.0, "illumination": NaN}, "file_bytes": 4321}'
)
BAD = '{"status": "decode_error", "error": "the file is empty"}'
EXAMPLE = GOOD.replace(', "file_bytes": 4321', "").replace('"fmp4"', "null")


@pytest.mark.parametrize("text", [GOOD, BAD, EXAMPLE])
def test_text_and_facts_are_the_same_thing(text):
    assert facts_to_json(facts_from_json(text)) == text


def test_facts_are_read_by_name():
    facts = facts_from_json(GOOD)
    assert facts.is_ok and facts.error is None and facts.reader == "decord"
    assert facts.file == FileFacts("mp4", "fmp4", 16, 8.0, 2.0, 80, 64, 4321)
    assert facts.appearance == (0.25, 1e-05) and list(facts.at) == [2, 16]
    assert facts.at[2] == FrameFacts((0, 15), "00ff", 0.5, 1.5)
    assert facts_from_json(BAD) == ClipFacts("decode_error", "the file is empty")
    assert facts_from_json(EXAMPLE).file.file_bytes is None


@pytest.mark.parametrize(
    "text",
    ["", "[]", "1", "{}", '{"status": "ok", "2": {}}', '{"status": "ok", "2": 3}'],
)
def test_damage_is_an_error_that_open_store_expects(text):
    with pytest.raises((KeyError, TypeError, ValueError)):
        facts_from_json(text)


def test_settings_tell_how_clips_were_made():
    spec = ClipSpec((2, 16), FrameGeometry(None, 24), "pyav")
    settings = spec_to_settings(spec)
    assert json.loads(json.dumps(settings)) == {
        "frames": [2, 16],
        "preprocessing": {"resize": None, "crop": 24},
        "reader": "pyav",
    }
    assert spec_from_settings(settings) == spec
