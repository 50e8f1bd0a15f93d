"""Templates of cards are filled in one sandbox, and what goes wrong is told in words of the template alone."""

from __future__ import annotations

import pytest

from healthfm.cards import template
from healthfm.errors import RunError

VALUES = {"question": "Anna Berg, 61", "options": {"A": "one"}, "context": ""}


def test_a_template_is_filled_as_it_stands() -> None:
    text = "{% if context %}{{ context }}\n{% endif %}Q: {{ question }}\n{% for k, o in options.items() %}{{ k }}. <{{ o }}>\n{% endfor %}"
    assert template.fill("it", text, VALUES) == "Q: Anna Berg, 61\nA. <one>\n"
    assert template.slots("it", "{% for i in range(2) %}{{ i }}{{ question }}{% endfor %}") == {"question"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{{ options[question] }}", "UndefinedError"), ("{{ options|map(question)|list }}", "TemplateRuntimeError"),
        ("{% include question %}", "TypeError"), ("{{ question|attr('__class__') }}", "SecurityError"),
        ("{{ ('%(' + question + ')s') % {} }}", "KeyError"), ("{{ question|int(question) + 1 }}", "TypeError"),
        ("{{ options.update({'B': question}) }}", "SecurityError"), ("{{ question.encode('ascii').decode(question) }}", "LookupError"),
        ("{{ options[question].x }}", "UndefinedError"), ("{{ question.__class__ }}", "SecurityError"),
    ],
)  # fmt: skip
def test_no_error_repeats_what_a_template_was_given(text: str, why: str) -> None:
    with pytest.raises(RunError, match=f"^the prompt cannot be filled: {why}") as caught:
        template.fill("the prompt", text, VALUES)
    assert "Anna" not in str(caught.value) and caught.value.__cause__ is None and caught.value.__context__ is None


def test_an_undefined_slot_is_named_and_a_mistake_in_the_template_has_its_line() -> None:
    with pytest.raises(
        RunError, match=r"^it cannot be filled: UndefinedError: 'age', 'site' are undefined \(its slots: age, site\)$"
    ):
        template.fill("it", "{{ age }} {{ site }}", VALUES)
    for wrong in (template.slots, lambda what, text: template.fill(what, text, VALUES)):
        with pytest.raises(RunError, match=r"^it cannot be filled: TemplateSyntaxError in line 2: "):
            wrong("it", "{{ question }}\n{% for %}")
