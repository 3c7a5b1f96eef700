"""Lists as people have them: training lists, synonyms, segments, mixed and nearly right."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vidsme_jax.data.columns import KNOWN, SYNONYMS, match_manifest
from vidsme_jax.data.manifest import ManifestSettings, read_manifests
from vidsme_jax.data.readers.source import VideoFile
from vidsme_jax.errors import InputError

ASK, SAY = "what happens in the video", "a b c"


def write(folder, records, name="m.json"):
    path = folder / name
    path.write_text(json.dumps(records))
    return path


def read(folder, *records, **settings):
    return read_manifests([write(folder, list(records))], ManifestSettings(**settings))


def human(*texts):
    roles = ("human", "gpt")
    return [{"from": roles[n % 2], "value": text} for n, text in enumerate(texts)]


def user(*contents):
    roles = ("user", "assistant")
    return [{"role": roles[n % 2], "content": c} for n, c in enumerate(contents)]


PLAIN = {"video": "n.mp4", "question": ASK, "answer": SAY, "id": "r"}
SHOWN = [{"type": "video", "video": "n.mp4"}, {"type": "text", "text": ASK}]


@pytest.mark.parametrize(
    "record",
    [
        {"video": "n.mp4", "conversations": human(f"<video>\n{ASK}", SAY)},
        {"video": "n.mp4", "conversations": human(f"<image>\n{ASK}", SAY)},
        {"video": "n.mp4", "conversations": json.dumps(human(ASK, SAY))},
        {"videos": ["n.mp4"], "messages": user(f"<video>{ASK}", SAY)},
        {"video": "n.mp4", "videos": ["n.mp4"], "messages": user(ASK, SAY)},
        {"messages": user(SHOWN, [{"type": "text", "text": SAY}])},
        {"messages": user([SHOWN[0] | {"video": "file://n.mp4"}, SHOWN[1]], SAY)},
        {"messages": json.dumps(user(SHOWN, SAY))},
        {"video": ["n.mp4"], "question": ASK, "answer": SAY},
        {"video": "n.mp4", "question": f"<video>\n{ASK}", "answer": SAY},
        {"video": "n.mp4", "prompt": ASK, "response": SAY},
        {"Video": "n.mp4", "Question": ASK, " answer": SAY},
        {"video_path": "n.mp4", "q": ASK, "caption": SAY},
        {"video": "n.mp4", "answer": SAY, "conversations": None, "question": ASK},
    ],
)
def test_one_row_however_it_is_written(tmp_path, record):
    (row,) = read(tmp_path, {"id": "r"} | record)
    (plain,) = read(tmp_path, PLAIN)
    assert vars(row) == vars(plain)


def test_turns_are_rows_with_the_turns_before(tmp_path, capsys):
    dialogue = human("<video>\na", "b", "c", "d", "e")
    record = {"id": "v", "video": "n.mp4", "conversations": dialogue, "label": 1}
    first, second, third = read(tmp_path, record)
    assert [(r.id, r.asked, r.answer) for r in (first, second, third)] == [
        ("v", "a", "b"),
        ("v-2", "c", "d"),
        ("v-3", "e", ""),
    ]
    assert first.history == () and second.history == (("a", "b"),)
    assert third.history == (("a", "b"), ("c", "d"))
    assert {r.group for r in (first, second, third)} == {"n.mp4"} and third.label == 1
    assert read(tmp_path, record, turns="first") == [first]
    assert read(tmp_path, record, turns="last") == [third]
    note = "m.json: a leading placeholder taken off 1 question"
    assert note in capsys.readouterr().err
    own = {"id": "v-3", "video": "n.mp4", "question": "e", "history": third.history}
    assert read(tmp_path, own | {"label": 1}) == [third]
    with pytest.raises(InputError, match="turns='all', there are each, first, last"):
        ManifestSettings(turns="all")


def test_system_messages_are_the_rows(tmp_path):
    told = [{"from": "system", "value": "Be brief."}, *human(ASK, SAY)]
    (row,) = read(tmp_path, {"video": "n.mp4", "conversations": told, "id": "r"})
    (column,) = read(tmp_path, PLAIN | {"system": "Be brief."})
    assert row == column and row.system == "Be brief."


def test_an_id_may_stand_for_several_questions_of_one_video(tmp_path):
    records = [PLAIN, PLAIN | {"question": "who"}, PLAIN | {"start": 1}]
    assert [r.id for r in read(tmp_path, *records)] == ["r", "r-2", "r-3"]
    clash = PLAIN | {"id": "r-2", "question": "why"}
    with pytest.raises(InputError, match="id='r-2' stands twice"):
        read(tmp_path, *records, clash)


def test_rows_without_a_video_are_skipped_and_counted(tmp_path, capsys):
    rows = read(
        tmp_path,
        PLAIN,
        {"id": "i", "image": "x.jpg", "conversations": human("<image>\na", "b")},
        {"id": "t", "conversations": human("a", "b")},
        {"id": "s", "videos": ["a", "b"], "conversations": human("a", "b")},
    )
    assert [r.id for r in rows] == ["r"]
    line = "skipped 2 rows with no video; skipped 1 row with several videos"
    assert line in capsys.readouterr().err


def test_placeholders_elsewhere_stay_text_and_are_counted(tmp_path, capsys):
    rows = read(
        tmp_path,
        PLAIN | {"question": "<video><video>\nwhat"},
        PLAIN | {"question": "what\n<video>"},
        PLAIN | {"question": "<video>"},
    )
    assert [r.asked for r in rows] == [
        "<video>\nwhat",
        "what\n<video>",
        "Describe the video.",
    ]
    line = "taken off 2 questions; left as text in questions: 2 further placeholders"
    assert line in capsys.readouterr().err


@pytest.mark.parametrize(
    "times",
    [
        {"start": 1, "end": 3.5},
        {"start": "1", "end": "3.5"},
        {"video_start": 1, "video_end": 3.5},
        {"start_time": 1, "end_time": 3.5},
        {"clip": [1, 3.5]},
        {"timestamps": "[1, 3.5]"},
        {"timestamps": [1, 3.5], "start": 1, "end": 3.5},
    ],
)
def test_segments(tmp_path, times):
    (row,) = read(tmp_path, PLAIN | times)
    assert row.path == VideoFile(tmp_path / "n.mp4", 1.0, 3.5)
    assert row.video == "n.mp4#t=1,3.5" and row.group == "n.mp4" and row.other == {}
    part = {"type": "video", "video": "n.mp4", "video_start": 1, "video_end": 3.5}
    (shown,) = read(tmp_path, {"id": "r", "messages": user([part, SHOWN[1]], SAY)})
    assert shown == row


def test_open_segments_and_names_of_clips(tmp_path):
    rows = read(
        tmp_path, PLAIN | {"start": 2}, PLAIN | {"end": 2}, PLAIN | {"clip": "c-001"}
    )
    assert [r.video for r in rows] == ["n.mp4#t=2", "n.mp4#t=,2", "n.mp4"]
    assert rows[2].other == {"clip": "c-001"}


def test_rates_of_folders(tmp_path):
    (tmp_path / "frames").mkdir()
    folder = {"video": "frames", "id": "f"}
    (row,) = read(tmp_path, folder | {"fps": "2"})
    assert row.path == VideoFile(tmp_path / "frames", fps=2.0)
    assert read(tmp_path, folder, fps=2.0) == [row] and row.video == "frames#fps=2"
    (film,) = read(tmp_path, PLAIN | {"fps": 29.97}, fps=2.0)
    assert film.path == tmp_path / "n.mp4" and film.other == {"fps": 29.97}


@pytest.mark.parametrize(
    ("key", "answer"),
    [
        *(("b", "(B) b"), ("C", "(C) c"), (" (a)", "(A) a"), ("b.", "(B) b")),
        *((2, "(C) c"), ("0", "(A) a"), (1.0, "(B) b")),
    ],
)
def test_answer_keys(tmp_path, key, answer):
    record = {"video": "n.mp4", "question": ASK, "choices": ["a", "b", "c"]}
    (row,) = read(tmp_path, record | {"answer_key": key})
    assert row.candidates == ("a", "b", "c") and row.answer == answer
    lettered = {"A": "a", "C": "c", "B": "b"}
    (same,) = read(tmp_path, record | {"choices": lettered, "answer_key": key})
    assert same.candidates == row.candidates and same.answer == answer


def test_what_is_read_under_another_name_is_said(tmp_path, capsys):
    record = {"video": "n.mp4", "prompt": ASK, "choices": ["a"], "answer_key": "a"}
    read(tmp_path, record, {"video": "n.mp4", "question": ASK, "prompt": "other"})
    line = "column prompt as question, choices as candidates, answer_key as answer"
    kept = "not read beside the column they could be: prompt as question"
    error = capsys.readouterr().err
    assert line in error and kept in error and error.count("\n") == 1
    read(tmp_path, PLAIN)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("column", "likely"),
    [
        ("qestion", "question"),
        ("lable", "label"),
        ("questions", "question"),
        ("anwser", "answer"),
        ("captions", "caption"),
        ("candidatse", "candidates"),
        ("conversatons", "conversations"),
        ("Grup", "group"),
        ("qest\nion", "question"),
    ],
)
def test_slips_of_the_pen_are_refused_where_the_column_is_missing(tmp_path, column, likely):
    shown = column.replace("\n", " ")
    with pytest.raises(InputError, match=f"column {shown} is not known, {likely} may be"):
        read(tmp_path, {"video": "n.mp4", column: "a"})
    if likely != "caption":
        read(tmp_path, {"video": "n.mp4", column: "a", likely: None})


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"start_frame": 3}, "column start_frame: expected start and end, in seconds"),
        ({"startMs": 3}, "column startMs: expected start and end, in seconds"),
        ({"frame_indices": [3]}, "column frame_indices: expected start and end"),
        ({"option_a": "x"}, "column option_a: expected all options in candidates"),
        ({"start": 1, "duration": 2}, "start with duration, expected start and end"),
        ({"clip": "(0, 1)"}, "segment is not a list, .*clip is read as segment"),
        ({"clip": "0-1"}, "segment is not a list"),
        ({"note": "\ud800"}, "note=.* is not valid Unicode"),
        ({"options": {"B": "x", "C": "y"}}, "candidates has the keys B, C, expected"),
        ({"options": ["a", None]}, "candidates has an empty option"),
        ({"options": [["a"]]}, "candidates=.*expected text"),
        ({"Answer": "a"}, "there are columns answer and Answer, expected only one"),
        (
            {"prompt": "a", "query": "b", "question": ""},
            "prompt and query both are question",
        ),
        ({"video": "https://a.b/n.mp4"}, "is an address, expected a path"),
        ({"start": "soon"}, "row 1: start='soon', expected a number of seconds"),
        ({"start": True}, "start='True', expected a number of seconds"),
        ({"clip": [1]}, r"segment=\[1\], .*\(clip is read as segment\)"),
        ({"timestamps": [[1, 2]]}, "expected .start, end. in seconds"),
        ({"timestamps": "1-2"}, "segment is not a list"),
        ({"clip": [1, 2], "start": 0}, "segment=.1, 2., but start=0.0"),
        ({"label": "yes"}, "label='yes', expected 1 or true"),
        ({"conversations": human("a", "b")}, "has both conversations and question"),
        ({"question": "", "answer": "", "messages": [{"role": "tool"}]}, "is from 'tool'"),
        (
            {"question": "", "answer": "", "messages": user("a", None)},
            "message 2 .* no text",
        ),
        (
            {"question": "", "answer": "", "conversations": human("a", "b")[1:]},
            "has the roles answer, expected questions and answers in turn",
        ),
        (
            {"question": "", "answer": "", "messages": user([{"type": "audio"}], "b")},
            "has a part .*audio.*, expected text and video",
        ),
        ({"candidates": ["a"], "answer": "1"}, "answer='1' is no candidate"),
        (
            {"candidates": ["a"], "answer": "", "answer_key": "E"},
            "answer_key='E', expected",
        ),
        ({"history": [["a"]]}, "history has .*, expected pairs"),
    ],
)
def test_nearly_right_is_one_line(tmp_path, record, message):
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path, PLAIN | record)
    assert "\n" not in str(caught.value) and "m.json" in str(caught.value)


def test_usual_further_columns_are_no_slips():
    further = (
        *("question_id", "question_type", "video_id", "video_size", "answer_type", "idx"),
        *("source", "data_source", "position", "section", "duration", "width", "ends_at"),
        *("task", "category", "group_id", "labels_source", "metadata", "split", "url"),
    )
    assert match_manifest(further).renamed == {}
    assert match_manifest([*KNOWN, *further]).renamed == {}
    for name, others in SYNONYMS.items():
        assert match_manifest(others).renamed == dict.fromkeys(others, name)


def test_truth_and_tabs(tmp_path):
    (tmp_path / "b.csv").write_text("video,label\nn.mp4,True\nm.mp4,False\n")
    (tmp_path / "b.tsv").write_text("video\tlabel\nn.mp4\ttrue\nm.mp4\t0\n")
    for name in ("b.csv", "b.tsv"):
        rows = read_manifests([tmp_path / name])
        assert [(r.video, r.label) for r in rows] == [("n.mp4", 1), ("m.mp4", 0)]
    (tmp_path / "twice.csv").write_text("video,label,label\nn.mp4,1,0\n")
    with pytest.raises(InputError, match="column label stands twice"):
        read_manifests([tmp_path / "twice.csv"])


def test_dialogues_in_parquet(tmp_path):
    records = [
        {"id": "a", "video": "n.mp4", "conversations": human(ASK, SAY), "start": None},
        {"id": "b", "video": None, "conversations": human("x", "y"), "start": 1.0},
    ]
    pq.write_table(pa.Table.from_pylist(records), tmp_path / "m.parquet")
    (row,) = read_manifests([tmp_path / "m.parquet"])
    (plain,) = read(tmp_path, PLAIN | {"id": "a"})
    assert row == plain


def test_keys_of_options_are_theirs(tmp_path):
    record = {"video": "n.mp4", "question": ASK}
    numbers = {str(n): f"o{n}" for n in range(1, 12)}
    (row,) = read(tmp_path, record | {"options": numbers, "answer_key": "2"})
    assert row.answer == "(B) o2" and row.candidates[9:] == ("o10", "o11")
    from_zero = {str(n): f"o{n}" for n in (0, 2, 1)}
    (row,) = read(tmp_path, record | {"options": from_zero, "answer_key": 2})
    assert row.answer == "(C) o2" and row.candidates == ("o0", "o1", "o2")
    table = [{"A": "x", "B": "y"}, {"A": "x", "B": "y", "C": "z"}]
    rows = [record | {"id": str(n), "options": o} for n, o in enumerate(table)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "m.parquet")
    read_rows = read_manifests([tmp_path / "m.parquet"])
    assert [r.candidates for r in read_rows] == [("x", "y"), ("x", "y", "z")]


def test_segments_in_messages(tmp_path, capsys):
    def show(**times):
        return {"type": "video", "video": "n.mp4", **times}

    two = [show(video_start=0, video_end=1), show(video_start=2, video_end=3), SHOWN[1]]
    plain = PLAIN | {"id": "p"}
    (row,) = read(tmp_path, plain, {"id": "r", "messages": user(two, SAY)})
    assert row.id == "p" and "1 row with several videos" in capsys.readouterr().err
    for times in ({"start": 1, "end": 2}, {"startTime": 1, "endTime": 2}):
        (row,) = read(tmp_path, {"id": "r", "messages": user([show(**times)], SAY)})
        assert row.video == "n.mp4#t=1,2"
    clash = {"messages": user([show(video_start=0)], SAY), "start": 2, "end": 3}
    with pytest.raises(InputError, match="start=2.0 and end=3.0, but its messages show"):
        read(tmp_path, clash)
    (row,) = read(tmp_path, {"video": "n.mp4", "startTime": 1, "stop": 2})
    assert row.video == "n.mp4#t=1,2"


def test_faults_of_rows_that_are_skipped_do_not_matter(tmp_path, capsys):
    image = [{"type": "image"}, {"type": "text", "text": "what"}]
    rows = read(
        tmp_path,
        PLAIN,
        {"id": "i", "messages": user(image, "a")},
        {"id": "t", "messages": [{"role": "tool", "content": "x"}]},
    )
    assert [r.id for r in rows] == ["r"]
    assert "skipped 2 rows with no video" in capsys.readouterr().err
    with pytest.raises(InputError, match="has a part .*image"):
        read(tmp_path, {"video": "n.mp4", "messages": user(image, "a")})


def test_what_is_not_asked_is_said(tmp_path, capsys):
    read(tmp_path, {"video": "n.mp4", "description": "a", "source": "b"})
    line = (
        "1 row asked 'Describe the video.', 1 row without an answer; columns kept and not"
    )
    assert line in capsys.readouterr().err
    read(tmp_path, {"video": "n.mp4"}, {"video": "m.mp4"})
    assert capsys.readouterr().err == ""
    read(tmp_path, PLAIN | {"choices": ["x", "y"], "answer": "B"})
    assert "1 answer of a letter alone stay as they are" in capsys.readouterr().err


def test_line_ends_of_unicode_are_text(tmp_path):
    text = "a\u2028b\u0085c"
    lines = [json.dumps(PLAIN | {"question": text}, ensure_ascii=False), '{"video": 1']
    path = tmp_path / "m.jsonl"
    path.write_text(lines[0] + "\r\n")
    (row,) = read_manifests([path])
    assert row.asked == text
    path.write_text("\n".join(lines))
    with pytest.raises(InputError, match="cannot be read as .jsonl: line 2: "):
        read_manifests([path])
    deep = tmp_path / "m.json"
    deep.write_text("[" * 100_000)
    with pytest.raises(InputError, match="cannot be read as .json: "):
        read_manifests([deep])
