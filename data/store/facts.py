"""Convert the facts of clips, and the request that decides them, to JSON and back.

The facts of a good clip are a flat object. Those of the clip and of its file stand under
their names, those of a frame count under the count as text. A bad clip has `status`,
`error` and `stamp` alone.
"""

import json
from dataclasses import asdict, fields
from typing import Any

from vidsme_jax import reading
from vidsme_jax.data.prepared import ClipFacts, ClipSpec, FileFacts, FrameFacts, Stamp
from vidsme_jax.data.preprocess import FrameGeometry


def facts_to_json(facts: ClipFacts) -> str:
    """Return the facts of a clip as the JSON text that a store keeps."""
    record: dict[str, Any] = {"status": facts.status, "error": facts.error}
    if facts.stamp is not None:
        record["stamp"] = asdict(facts.stamp)
    if not facts.is_ok:
        return json.dumps(record)
    file = asdict(facts.file)
    file_bytes = file.pop("file_bytes")
    record |= {"reader": facts.reader, "fallback": facts.fallback, **file}
    record["appearance"] = facts.appearance
    record |= {str(count): asdict(frames) for count, frames in facts.at.items()}
    if file_bytes is not None:
        record["file_bytes"] = file_bytes
    return json.dumps(record)


def facts_from_json(text: str) -> ClipFacts:
    """Return the facts of a clip from the JSON text of a store.

    Raises:
        KeyError, TypeError, ValueError: the text is not what `facts_to_json` writes.
    """
    record = reading.parse_json(text)
    status, appearance = record["status"], record.get("appearance")
    return ClipFacts(
        status=status,
        error=record.get("error"),
        reader=record.get("reader"),
        fallback=record.get("fallback"),
        file=FileFacts(**{f.name: record.get(f.name) for f in fields(FileFacts)}),
        appearance=None if appearance is None else tuple(appearance),
        stamp=Stamp(**record["stamp"]) if "stamp" in record else None,
        at={int(key): _frame_facts(record[key]) for key in record if key.isdecimal()},
    )


def _frame_facts(record: dict[str, Any]) -> FrameFacts:
    values = {f.name: record[f.name] for f in fields(FrameFacts)}
    return FrameFacts(**values | {"frame_indices": tuple(values["frame_indices"])})


def spec_to_settings(spec: ClipSpec) -> dict[str, Any]:
    """Return the request for a store's clips as settings of its store.json.

    Bicubic resizing is not written, as in stores from before there was another.
    """
    preprocessing = asdict(spec.geometry)
    if spec.geometry.resample == FrameGeometry.resample:
        del preprocessing["resample"]
    return {
        "frames": list(spec.counts),
        "preprocessing": preprocessing,
        "reader": spec.reader,
    }


def spec_from_settings(settings: dict[str, Any]) -> ClipSpec:
    """Return the request for a store's clips from the settings of its store.json.

    Raises:
        KeyError, TypeError: the settings lack a value of the request.
    """
    counts, sizes = tuple(settings["frames"]), settings["preprocessing"]
    resample = sizes.get("resample", FrameGeometry.resample)
    geometry = FrameGeometry(sizes["resize"], sizes["crop"], resample)
    return ClipSpec(counts, geometry, settings["reader"])
