import time

import pytest

from vidsme_jax.errors import InputError
from vidsme_jax.models.prompts import bounded
from vidsme_jax.models.prompts.bounded import TemplateRenderer, tokenizer_trial

MESSAGES = [{"role": "user", "content": [{"type": "text", "text": "a\nb <'&"}]}]


@pytest.fixture
def renderer(tmp_path):
    out = TemplateRenderer(tmp_path / "model", {"bos_token": "<s>"})
    yield out
    out.close()


def test_a_process_renders_all(renderer):
    source = "{{ bos_token }}{% for m in messages %}{{ m.content|tojson }}{% endfor %}"
    source += "{% if add_generation_prompt %}!{% endif %}"
    text = '<s>[{"type": "text", "text": "a\\nb <\'&"}]'
    assert renderer(source, MESSAGES) == text + "!"
    process = renderer._process
    assert renderer(source, MESSAGES, prompt=False) == text
    assert renderer("{% generation %}{{ 1 }}{% endgeneration %}", MESSAGES) == "1"
    assert renderer._process is process


@pytest.mark.parametrize(
    "source", ["{% if %}", "{{ raise_exception('no') }}", "{{ ''.__class__ }}{{ 1 / 0 }}"]
)
def test_a_template_that_fails_is_none(renderer, source):
    assert renderer(source, MESSAGES) is None


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{ 'A' * 10**9 }}", "more than 512 MB"),
        ("{% set n = 2 * 10**9 %}{{ 'x'.center(n) }}", "more than 512 MB"),
        ("{{ 'A' * 10**7 }}", "a text of 10,000,000 characters"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "calls itself without end"),
    ],
)
def test_a_template_that_needs_too_much(renderer, source, message):
    with pytest.raises(InputError, match=message):
        renderer(source, MESSAGES)


def test_a_template_without_end_is_killed(renderer, monkeypatch):
    monkeypatch.setitem(bounded._SECONDS, "render", 0.3)
    assert renderer("{{ 1 }}", MESSAGES) == "1"
    loops = "{% for i in range(99999) %}{% for j in range(99999) %}"
    start = time.monotonic()
    with pytest.raises(InputError, match="takes more than 0.3 s"):
        renderer(f"{loops}{{% endfor %}}{{% endfor %}}", MESSAGES)
    renderer.close()
    assert time.monotonic() - start < 5
    assert renderer._process._process.poll() is not None


def test_a_tokenizer_is_tried(tmp_path):
    (tmp_path / "tokenizer.json").write_text('{"model": {"type": "Other"}}')
    with (
        pytest.raises(InputError, match="no tokenizer that can be used"),
        tokenizer_trial(tmp_path),
    ):
        pass
    with tokenizer_trial(tmp_path / "none"):  # other kinds of tokenizers have no such file
        pass
