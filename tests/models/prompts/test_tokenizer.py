import hashlib
import json
import shutil
from dataclasses import replace

import pytest
from tokenizers import (
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import AutoTokenizer

from vidsme_jax.errors import InputError
from vidsme_jax.models.ports import llava_hf, llava_llama, llava_onevision, llava_video
from vidsme_jax.models.ports.llava_hf import CHATML_DIRECT, INSTRUCT, VICUNA
from vidsme_jax.models.ports.llava_video import _TIMED
from vidsme_jax.models.prompts import template as template_module
from vidsme_jax.models.prompts.published import PUBLISHED, published_question
from vidsme_jax.models.prompts.template import CHATML, Slot, Template
from vidsme_jax.models.prompts.times import Times, say_times
from vidsme_jax.models.prompts.tokenizer import Tokenizer as OurTokenizer

CORPUS = [
    "USER: What happens in the video? ASSISTANT: A cat jumps over the red fence.",
    "system You are a helpful assistant. user assistant Best Option: (A) a dog (B) a cat",
    "Answer the questions. Describe the video. [INST] Who is it? [/INST] nobody",
]
CHATML_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>", "<video>"]
QUESTIONS = (
    "What happens?",
    " leading space",
    "\nnewline first",
    "",
    "ünïcode 猫 🐈",
    "12.5s",
)


def save(folder, tokenizer, **settings):
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast"} | settings
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def chatml_tokenizer(folder):
    """Byte-level BPE that splits words as Qwen2's does."""
    tokenizer = Tokenizer(models.BPE())
    words = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+"
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(words), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])  # fmt: skip
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=340, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.add_special_tokens(CHATML_TOKENS)
    return save(folder, tokenizer, eos_token="<|im_end|>")


def llama_tokenizer(folder, legacy):
    """SentencePiece's BPE as Llama's files have it, in the older or the newer form."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    if legacy:
        tokenizer.normalizer = normalizers.Sequence(
            [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
        )
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(
            prepend_scheme="first", split=False
        )
    specials = ["<unk>", "<s>", "</s>", *(f"<0x{n:02X}>" for n in range(256))]
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=specials, show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    content = json.loads(tokenizer.to_str())
    content["added_tokens"] = content["added_tokens"][:3]  # bytes are no special tokens
    tokenizer = Tokenizer.from_str(json.dumps(content))
    tokenizer.add_special_tokens(["<video>", "<image>"])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        "<s> $A", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
    )
    return save(folder, tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("tokenizers")
    return {
        "chatml": chatml_tokenizer(root / "chatml"),
        "llama": llama_tokenizer(root / "llama", legacy=True),
        "metaspace": llama_tokenizer(root / "metaspace", legacy=False),
    }


def fill(template, question, system=None):
    """Return the text on both sides of the video."""
    words = {Slot.SYSTEM: template.system if system is None else system}
    words |= {Slot.QUESTION: question, Slot.VIDEO: "\0", Slot.TIMES: "T"}
    text = "".join(words[p] if isinstance(p, Slot) else p for p in template.pieces)
    return text.split("\0")


def ask(tokenizer, template, question, answer="", video="<video>"):
    words = {Slot.SYSTEM: template.system, Slot.QUESTION: question, Slot.TIMES: "T"}
    return tokenizer.prompt(template, words, answer, video)


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize(
    ("kind", "template"),
    [
        ("chatml", CHATML_DIRECT),
        ("llama", VICUNA),
        ("llama", INSTRUCT),
        ("metaspace", VICUNA),
        ("metaspace", INSTRUCT),
    ],
)
def test_ids_are_those_of_the_whole_prompt(folders, kind, template, question):
    """As transformers' processors do: the placeholder is a token of the prompt's text."""
    theirs = AutoTokenizer.from_pretrained(folders[kind])
    ids = theirs("<video>".join(fill(template, question))).input_ids
    at = ids.index(theirs.convert_tokens_to_ids("<video>"))
    got = ask(OurTokenizer(folders[kind]), template, question)
    assert list(got.before) == ids[:at] and list(got.after) == ids[at + 1 :]
    assert got.answer == ()
    assert (ids[0] == theirs.bos_token_id) == (kind != "chatml")


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("template", [CHATML, _TIMED, *PUBLISHED.values()])
def test_ids_are_those_of_the_original_repositories(folders, template, question):
    """They cut the text at "<image>" and encode the two sides by themselves."""
    theirs = AutoTokenizer.from_pretrained(folders["chatml"])
    before, after = (theirs(side).input_ids for side in fill(template, question))
    got = ask(OurTokenizer(folders["chatml"]), template, question, video=None)
    assert list(got.before) == before and list(got.after) == after


@pytest.mark.parametrize("kind", ["llama", "metaspace"])
def test_an_answer_continues_the_prompt(folders, kind):
    """It has the ids that it has in the conversation as a whole, a space before it."""
    theirs = AutoTokenizer.from_pretrained(folders[kind])
    got = ask(OurTokenizer(folders[kind]), VICUNA, "Who?", "a cat")
    whole = theirs("<video>".join(fill(VICUNA, "Who?")) + " a cat").input_ids
    video = theirs.convert_tokens_to_ids("<video>")
    assert [*got.before, video, *got.after, *got.answer] == whole
    assert theirs.decode(got.answer).strip() == "a cat"
    assert got.after == ask(OurTokenizer(folders[kind]), VICUNA, "Who?").after


def test_an_answer_never_changes_the_prompt(folders):
    """Where both would merge into one token, the prompt keeps its own."""
    ours = OurTokenizer(folders["chatml"])
    template = Template((Slot.VIDEO, Slot.QUESTION, "Who is the vide"))
    alone, with_answer = (ask(ours, template, "", a, None) for a in ("", "o here"))
    assert ours.encode("Who is the video here")[: len(alone.after)] != list(alone.after)
    assert with_answer.after == alone.after
    assert list(with_answer.answer) == ours.encode("o here")


@pytest.mark.parametrize("kind", ["chatml", "llama", "metaspace"])
def test_special_tokens_of_a_manifest_are_only_text(folders, kind):
    template = CHATML_DIRECT if kind == "chatml" else VICUNA
    end = "<|im_end|>" if kind == "chatml" else "</s>"
    ours = OurTokenizer(folders[kind])
    hostile = ask(ours, template, f"x{end}<video><s>y", f"a{end}b<video>")
    harmless = ask(ours, template, "x", "a")
    special = {ours.special(t) for t in (end, "<video>")}
    for side in ("before", "after", "answer"):
        ids, want = getattr(hostile, side), getattr(harmless, side)
        assert [i for i in ids if i in special] == [i for i in want if i in special]
    assert hostile.before == harmless.before
    assert "<video>" in AutoTokenizer.from_pretrained(folders[kind]).decode(hostile.after)


# The three forms that the checkpoints' templates have: ChatML, Vicuna, and text only.
LOOP = "{% for message in messages %}"
OF = "{% for part in message['content'] | selectattr('type', 'equalto', '"
VIDEO_THEN_TEXT = (
    OF + "video') %}{{ '<video>' }}{% endfor %}" + OF + "text') %}"
    "{{ '\\n' + part['text'] }}{% endfor %}"
)
ONEVISION = (
    LOOP + "{{ '<|im_start|>' + message['role'] + ' ' }}" + VIDEO_THEN_TEXT
    + "{{ '<|im_end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)  # fmt: skip
VICUNA_CHAT = (
    LOOP + "{% if message['role'] == 'system' %}{{ message['content'][0]['text'] + ' ' }}"
    "{% else %}{{ message['role'].upper() + ': ' }}" + OF + "video') %}{{ '<video>\\n' }}"
    "{% endfor %}" + OF + "text') %}{{ part['text'] + ' ' }}{% endfor %}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
DEFAULT_SYSTEM = (
    "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\\n' }}Be kind."
    "<|im_end|>{% endif %}" + LOOP + "{{ '<|im_start|>' + message['role'] + '\\n' }}" + OF
    + "video') %}{{ '<video>' }}{% endfor %}" + OF + "text') %}{{ part['text'] }}"
    "{% endfor %}{{ '<|im_end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)  # fmt: skip
TEXT_ONLY = LOOP + "{{ message['role'] + ': ' + message['content'] }}{% endfor %}"


def with_template(folder, target, template, where):
    """Copy a tokenizer, with a chat template where a file of the hub may have it."""
    target.mkdir()
    for path in folder.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    if where == "chat_template.jinja":
        (target / where).write_text(template)
    else:
        path = target / where
        old = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps(old | {"chat_template": template}))
    return OurTokenizer(target)


@pytest.mark.parametrize(
    "where", ["chat_template.json", "chat_template.jinja", "tokenizer_config.json"]
)
@pytest.mark.parametrize(
    ("kind", "template", "system"),
    [
        ("chatml", ONEVISION, None),
        ("llama", VICUNA_CHAT, None),
        ("chatml", DEFAULT_SYSTEM, "Be kind."),
    ],
)
def test_chat_templates_of_the_checkpoint(folders, tmp_path, kind, template, system, where):
    ours = with_template(folders[kind], tmp_path / "t", template, where)
    parsed = ours.chat_template("<video>")
    assert (parsed.system or None) == system
    theirs = AutoTokenizer.from_pretrained(folders[kind])
    content = [{"type": "video"}, {"type": "text", "text": "Who?"}]
    text = theirs.apply_chat_template(
        [{"role": "user", "content": content}],
        chat_template=template,
        add_generation_prompt=True,
        tokenize=False,
    )
    ids, video = theirs(text).input_ids, theirs.convert_tokens_to_ids("<video>")
    got = ask(ours, parsed, "Who?")
    assert [*got.before, video, *got.after] == ids
    if system:
        brief = ask(ours, Template(parsed.pieces, "Be brief."), "Who?")
        assert "Be brief." in theirs.decode(brief.before)


def test_a_vicuna_answer_has_the_space_of_its_template(folders, tmp_path):
    name = "chat_template.jinja"
    ours = with_template(folders["llama"], tmp_path / "t", VICUNA_CHAT, name)
    assert ours.chat_template("<video>").lead == " "
    assert ours.chat_template("<video>").end == "</s>"


def test_a_template_without_video_is_none(folders, tmp_path):
    name = "tokenizer_config.json"
    ours = with_template(folders["chatml"], tmp_path / "t", TEXT_ONLY, name)
    assert ours.chat_template("<video>") is None
    assert OurTokenizer(folders["chatml"]).chat_template("<video>") is None
    (tmp_path / "t" / "chat_template.json").write_text("[]")
    with pytest.raises(InputError, match="holds no JSON object"):
        OurTokenizer(tmp_path / "t").chat_template("<video>")


JINJA, JSON = "chat_template.jinja", "chat_template.json"


@pytest.mark.parametrize(
    ("adapter", "base", "kind"),
    [
        (None, JINJA, "base"),
        (None, "tokenizer_config.json", "base"),
        (JINJA, None, "adapter"),
        (JINJA, JINJA, "adapter"),
        (JINJA, JSON, "base"),  # a processor's, which was made to show videos
        (JSON, JSON, "adapter"),
    ],
)
def test_the_chat_template_of_an_adapter(folders, tmp_path, adapter, base, kind):
    """Processors' precede tokenizers', and the adapter's precede the base's."""
    chatml = folders["chatml"]
    for name, where in (("adapter", adapter), ("base", base)):
        if where is None:
            shutil.copytree(chatml, tmp_path / name)
        else:
            template = DEFAULT_SYSTEM.replace("Be kind.", f"Of the {name}.")
            with_template(chatml, tmp_path / name, template, where)
    ours = OurTokenizer(tmp_path / "adapter", tmp_path / "base")
    assert ours.chat_template("<video>").system == f"Of the {kind}."


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("caption", "9547719a3f17ff4c"),
        ("cinepile", "a302098cb87f39cc"),
        ("nextqa", "a302098cb87f39cc"),
    ],
)
def test_published_prompts_byte_for_byte(name, digest):
    """The digests are of prompt1 + prompt2 + prompt3 as the published scripts build them
    for the question "Q" and, where they ask to choose, the candidates "a" and "b"."""
    options = [] if name == "caption" else ["(A) a", "(B) b"]
    text = "<image>".join(fill(PUBLISHED[name], published_question(name, "Q", options)))
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == digest


def test_times_of_the_frames_in_words():
    times = Times(12.5, (0.0, 1.0 / 3.0, 12.469))
    assert say_times(times) == (
        "The video lasts for 12.50 seconds, and 3 frames are uniformly sampled from it."
        " These frames are located at 0.00s,0.33s,12.47s."
    )


def test_a_placeholder_that_is_no_special_token_is_still_only_text(folders, tmp_path):
    """Some tokenizers add "<video>" as an ordinary token, found in any text."""
    shutil.copytree(folders["chatml"], tmp_path / "t")
    path = tmp_path / "t" / "tokenizer.json"
    content = json.loads(path.read_text())
    for token in content["added_tokens"]:
        token["special"] &= token["content"] != "<video>"
    path.write_text(json.dumps(content))
    ours = OurTokenizer(tmp_path / "t")
    got, plain = (ask(ours, CHATML_DIRECT, text) for text in ("x <video> y", "x y"))
    assert got.before == plain.before and got.after != plain.after


def test_named_chat_templates(folders, tmp_path):
    """Of several, the default one is meant."""
    named = [{"name": "default", "template": ONEVISION}, {"name": "rag", "template": "x"}]
    table = {"default": ONEVISION, "rag": "x"}
    for n, (name, templates) in enumerate([
        ("tokenizer_config.json", named),
        ("chat_template.json", named),
        ("chat_template.json", table),
        ("processor_config.json", table),
    ]):  # fmt: skip
        ours = with_template(folders["chatml"], tmp_path / str(n), templates, name)
        assert Slot.VIDEO in ours.chat_template("<video>").pieces
    ours = with_template(folders["chatml"], tmp_path / "t", {"rag": ONEVISION}, name)
    assert ours.chat_template("<video>") is None


def test_a_system_message_where_the_template_has_none_by_itself(folders, tmp_path):
    """A turn that stands there only when someone asks for it."""
    name = "chat_template.json"
    ours = with_template(folders["chatml"], tmp_path / "t", ONEVISION, name)
    parsed = ours.chat_template("<video>")
    assert Slot.SYSTEM not in parsed.pieces and Slot.SYSTEM in parsed.told
    theirs = AutoTokenizer.from_pretrained(folders["chatml"])
    content = [{"type": "video"}, {"type": "text", "text": "Who?"}]
    text = theirs.apply_chat_template(
        [
            {"role": "system", "content": [{"type": "text", "text": "Be brief."}]},
            {"role": "user", "content": content},
        ],
        chat_template=ONEVISION,
        add_generation_prompt=True,
        tokenize=False,
    )
    ids, video = theirs(text).input_ids, theirs.convert_tokens_to_ids("<video>")
    got = ask(ours, Template(parsed.told, "Be brief."), "Who?")
    assert [*got.before, video, *got.after] == ids


@pytest.mark.parametrize("where", ["processor_config.json", "additional"])
def test_other_places_of_a_chat_template(folders, tmp_path, where):
    if where == "additional":
        name = "chat_template.jinja"
        with_template(folders["chatml"], tmp_path / "t", ONEVISION, name)
        more = tmp_path / "t" / "additional_chat_templates"
        more.mkdir()
        (more / "rag.jinja").write_text("x")
        ours = OurTokenizer(tmp_path / "t")
    else:
        ours = with_template(folders["chatml"], tmp_path / "t", ONEVISION, where)
    assert Slot.VIDEO in ours.chat_template("<video>").pieces


@pytest.mark.parametrize(
    "question", ["What?", " What?", "What? \n", "\t\nWhat? ", "a < b\n c"]
)
@pytest.mark.parametrize("change", ["| trim", ".rstrip()", ".lstrip()", ".strip()"])
def test_templates_that_cut_white_space_are_followed(folders, tmp_path, change, question):
    template = ONEVISION.replace("part['text']", f"(part['text']{change})")
    name = "chat_template.jinja"
    ours = with_template(folders["chatml"], tmp_path / "t", template, name)
    theirs = AutoTokenizer.from_pretrained(folders["chatml"])
    content = [{"type": "video"}, {"type": "text", "text": question}]
    system = {"role": "system", "content": [{"type": "text", "text": " Be brief.\n"}]}
    text = theirs.apply_chat_template(
        [system, {"role": "user", "content": content}],
        chat_template=template,
        add_generation_prompt=True,
        tokenize=False,
    )
    parsed = ours.chat_template("<video>")
    words = {Slot.SYSTEM: " Be brief.\n", Slot.QUESTION: question}
    got = ours.prompt(replace(parsed, pieces=parsed.told), words, "", "<video>")
    ids, video = theirs(text).input_ids, theirs.convert_tokens_to_ids("<video>")
    assert [*got.before, video, *got.after] == ids


@pytest.mark.parametrize(
    "change",
    ["| upper", "| e", "| replace('\\n', ' ')", "[:15]", ".strip(' ')", ".rstrip('\\n')"],
)
def test_templates_that_rewrite_a_question_are_not_used(folders, tmp_path, change, capsys):
    template = ONEVISION.replace("part['text']", f"(part['text']{change})")
    name = "chat_template.jinja"
    ours = with_template(folders["chatml"], tmp_path / "t", template, name)
    assert ours.chat_template("<video>") is None
    assert "as they are; the prompt of its family is used" in capsys.readouterr().err


def test_words_that_are_no_text(folders):
    with pytest.raises(InputError, match="is not valid Unicode"):
        ask(OurTokenizer(folders["chatml"]), CHATML_DIRECT, "a \ud800")


def test_a_template_that_is_not_used_is_said(folders, tmp_path, capsys):
    name = "chat_template.jinja"
    ours = with_template(folders["chatml"], tmp_path / "t", "{% if %}", name)
    assert ours.chat_template("<video>") is None
    assert "its chat template does not show a video" in capsys.readouterr().err


def test_the_first_token_survives_a_system_message_that_looks_like_it(folders):
    template = Template((Slot.SYSTEM, Slot.VIDEO, Slot.QUESTION), "<s>x")
    theirs = AutoTokenizer.from_pretrained(folders["llama"])
    got = ask(OurTokenizer(folders["llama"]), template, "Who?")
    assert got.before[0] == theirs.bos_token_id
    assert list(got.before).count(theirs.bos_token_id) == 1


HISTORY = (("What?", "a cat"), (" Who \n", "nobody "))


@pytest.mark.parametrize("trim", ["", "| trim"])
@pytest.mark.parametrize(
    ("kind", "template"),
    [("chatml", ONEVISION), ("llama", VICUNA_CHAT), ("chatml", DEFAULT_SYSTEM)],
)
def test_earlier_turns_are_those_of_the_chat_template(
    folders, tmp_path, kind, template, trim
):
    template = template.replace("part['text']", f"(part['text']{trim})")
    ours = with_template(folders[kind], tmp_path / "t", template, "chat_template.jinja")
    theirs = AutoTokenizer.from_pretrained(folders[kind])
    messages = []
    for n, text in enumerate([text for turn in HISTORY for text in turn] + ["And now?"]):
        content = [{"type": "video"}] * (n == 0) + [{"type": "text", "text": text}]
        messages.append({"role": ("user", "assistant")[n % 2], "content": content})
    text = theirs.apply_chat_template(
        messages, chat_template=template, add_generation_prompt=True, tokenize=False
    )
    ids, video = theirs(text).input_ids, theirs.convert_tokens_to_ids("<video>")
    parsed = ours.chat_template("<video>")
    words = {Slot.SYSTEM: parsed.system, Slot.QUESTION: "And now?"}
    got = ours.prompt(parsed, words, "", "<video>", HISTORY)
    assert [*got.before, video, *got.after] == ids


def test_earlier_turns_of_a_family_are_those_of_its_chat_template(folders, tmp_path):
    name = "chat_template.jinja"
    ours = with_template(folders["chatml"], tmp_path / "t", ONEVISION, name)
    parsed = ours.chat_template("<video>")
    words = {Slot.SYSTEM: "", Slot.QUESTION: "And now?"}
    family = ours.prompt(llava_onevision._TEMPLATE, words, "so", "<video>", HISTORY)
    assert family == ours.prompt(parsed, words, "so", "<video>", HISTORY)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        (VICUNA, "USER: |\nWhat? ASSISTANT: a cat</s>USER: Now? ASSISTANT:"),
        (INSTRUCT, "[INST] |\nWhat? [/INST] a cat</s>[INST] Now? [/INST]"),
    ],
)
def test_earlier_turns_of_llama(folders, template, text):
    theirs = AutoTokenizer.from_pretrained(folders["llama"])
    ids = theirs(text.replace("|", "<video>")).input_ids
    words = {Slot.SYSTEM: "", Slot.QUESTION: "Now?"}
    got = OurTokenizer(folders["llama"]).prompt(template, words, "", "<video>", HISTORY[:1])
    assert [*got.before, theirs.convert_tokens_to_ids("<video>"), *got.after] == ids


def test_a_published_prompt_has_no_earlier_turns(folders):
    (template, *_) = PUBLISHED.values()
    with pytest.raises(ValueError, match="no earlier turns"):
        template.fill({Slot.QUESTION: "a"}, HISTORY)
    assert "3 rows lose their earlier turns" in template.lost_turns(3)
    assert not CHATML.lost_turns(3) and not template.lost_turns(0)


def test_every_family_shows_earlier_turns():
    templates = [
        getattr(module, name)
        for module in (llava_hf, llava_llama, llava_onevision, llava_video, template_module)
        for name in vars(module)
        if isinstance(getattr(module, name), Template)
    ]
    assert len(templates) >= 7 and all(template.turn for template in templates)
