"""What the declaration of a cohort may say: which stays are asked about, when, what is to be foretold, and who is held out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from healthfm.cards.schema.common import Checked, Facts, Text

DURATION = re.compile(r"(\d+)(h|d)")


def duration(text: str) -> timedelta:
    """Return what "48h" or "30d" says. Raises ``ValueError``."""
    found = DURATION.fullmatch(text)
    if found is None:
        raise ValueError(f"'{text}' is no duration: write 48h or 30d")
    return timedelta(hours=int(found[1]) * (24 if found[2] == "d" else 1))


def _edge(text: str) -> str:
    if text not in ("start", "end"):
        duration(text)
    return text


Duration = Annotated[Text, AfterValidator(lambda text: (duration(text), text)[1])]
Edge = Annotated[Text, AfterValidator(_edge)]


class Outcome(Facts):
    """What is foretold of a stay. "death": in the hospital stay; "length": longer than ``longer_than``; "return": a hospital stay begins
    ``within`` so much time of its end; "codes": which of ``groups`` (a class and the beginnings of its codes) stand in the hospital stay,
    behind ``vocabulary``. A beginning that ends in "$" is a whole code.
    """

    of: Literal["death", "length", "return", "codes"]
    classes: tuple[Text, ...] = ()
    longer_than: Duration | None = None
    within: Duration | None = None
    vocabulary: str = ""
    groups: Mapping[str, tuple[Text, ...]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _says_what_it_needs(self) -> Outcome:
        if (self.of == "length") != (self.longer_than is not None) or (self.of == "return") != (
            self.within is not None
        ):
            raise ValueError("longer_than is for length, within for return")
        if (self.of == "codes") != bool(self.groups) or (self.of != "codes" and len(self.classes) != 2):
            raise ValueError("codes have groups; everything else has two classes, the one that is foretold second")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """The classes."""
        return tuple(self.groups) if self.of == "codes" else self.classes


class Split(Facts):
    """Who is held out: a ``share`` of the patients, drawn; or those whose fact ``by`` is among ``on``, fitted on those among ``fit``."""

    by: Text
    share: float | None = Field(default=None, gt=0, lt=1)
    fit: tuple[str, ...] = ()
    on: tuple[str, ...] = ()


class Published(Facts):
    """What the owner of a definition counted: samples, and the share of the foretold class."""

    samples: int
    share: float | None = None
    source: Text
    checked: Checked = "unverified"


class Cohort(Facts):
    """A cohort. ``index``: the moment of foretelling, so long after the stay's start, or its "end"; nothing later is shown.

    ``lasting``: shorter stays are left out; so are patients younger than ``age_at_least``, all but the ``first_only`` of a hospital stay,
    all of a hospital stay with more than ``one_unit_stay``, and stays in which the two facts named ``same`` differ.
    ``windows``: parts of what is shown, by the stay's start ("start": the timeline's). ``without``: beginnings of codes never shown.
    """

    summary: Text
    follows: Text
    stay: Literal["unit", "hospital"]
    index: Edge
    lasting: Duration | None = None
    age_at_least: int | None = None
    first_only: bool = False
    one_unit_stay: bool = False
    same: tuple[Text, Text] | None = None
    also_same: tuple[Text, Text] | None = None
    label: Outcome
    windows: Mapping[str, tuple[Edge, Edge]]
    without: tuple[Text, ...] = ()
    splits: Mapping[str, Split]
    published: Published | None = None
