"""What the card of a dataset may say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from healthfm.cards.schema.common import Card, Checked, Facts, Slug, Template, Text


class Link(Facts):
    """A tie between two datasets. ``what`` names the shared part, ``key`` the column or id that joins them."""

    dataset: Slug
    what: Text
    splits: tuple[str, ...] = ()
    key: Text | None = None
    source: Text
    checked: Checked = "unverified"


class OfficialFile(Facts):
    """Official files of one role. ``path`` may use ``{split}`` (the owner's word, see [splits]) and ``*``."""

    role: Text
    path: Text
    variant: Text | None = None
    splits: tuple[str, ...] = ()
    format: Text
    optional: bool = False
    note: Text | None = None


class Labels(Facts):
    """A label space: ``classes`` in the owner's order, each with its raw code where the files use one."""

    name: Text
    kind: Literal["binary", "multi-class", "multi-label", "ordinal", "number", "text", "mask", "boxes"]
    classes: tuple[str, ...] = ()
    codes: Mapping[str, str] = Field(default_factory=dict)
    note: Text | None = None

    @model_validator(mode="after")
    def _two_are_binary(self) -> Labels:
        if self.kind == "binary" and len(self.classes) not in (0, 2):
            raise ValueError(f"labels: '{self.name}' is binary and names {len(self.classes)} classes")
        return self


class Protocol(Facts):
    """A published way to ask the dataset's questions, or healthfm's own where ``follows`` says so. ``task``: a prompted one (``score.tasks``).

    ``options``: what is scored for each option (its letter or key, or its text), behind ``delimiter``. Generated answers: ``parser``
    names the rule that reads them, ``stop`` and ``max_new_tokens`` end them. Classification: ``label`` names the label
    space (None: the card's first), ``words`` the classes where the prompt calls them otherwise.
    """

    summary: Text
    task: Text
    template: Template
    options: Literal["letters", "keys", "text"] = "keys"
    delimiter: str = " "
    shots: int = 0
    context: Literal["as-read", "long-answer"] = "as-read"
    parser: Text = "stated-answer"
    stop: tuple[str, ...] = ()
    max_new_tokens: int = Field(default=256, ge=1)
    label: Text | None = None
    words: Mapping[str, str] = Field(default_factory=dict)
    follows: Text
    variants: tuple[str, ...] = ()


class DatasetCard(Card):
    """A healthcare dataset or database."""

    kind: Literal["dataset"] = "dataset"
    group: Literal[
        "text", "imaging", "pathology", "signal", "genomics", "drug", "omics", "multi-modal", "ehr", "trial", "own"
    ]
    record: Text
    owner: Text
    access: Literal["open", "registration", "credentialed", "ids-only", "recipe-only", "unclear", "closed", "own"]
    shareable_inputs: bool
    shareable_outputs: bool
    remote_ok: bool
    size: Text | None = None
    files: tuple[OfficialFile, ...] = ()
    splits: Mapping[str, str] = Field(default_factory=dict)
    counts: Mapping[str, Mapping[str, int]] = Field(default_factory=dict)
    labels: tuple[Labels, ...] = ()
    layout_source: tuple[Text, ...] = ()
    layout_checked: Checked = "unverified"
    contains: tuple[Link, ...] = ()
    overlaps: tuple[Link, ...] = ()
    derived_from: tuple[Link, ...] = ()
    check_against: tuple[Text, ...] = ()
    reader: Annotated[str, StringConstraints(pattern=r"^[a-z_]+$")] | None = None
    default_protocol: str | None = None
    protocols: Mapping[str, Protocol] = Field(default_factory=dict)

    @property
    def has_runner(self) -> bool:
        """Whether healthfm has a reader for the official layout."""
        return self.reader is not None

    @model_validator(mode="after")
    def _names_agree(self) -> DatasetCard:
        known = set(self.variants) | {"default"}
        for variant in self.counts:
            if variant not in known:
                raise ValueError(f"counts.{variant}: not among [variants] (use 'default' where there are none)")
        for file in self.files:
            if file.variant is not None and file.variant not in self.variants:
                raise ValueError(f"files: variant '{file.variant}' is not among [variants]")
            unknown = set(file.splits) - set(self.splits)
            if unknown:
                raise ValueError(f"files: {file.path}: splits {sorted(unknown)} are not in [splits]")
        if self.protocols and self.default_protocol not in self.protocols:
            raise ValueError("a card with [protocols] names its default_protocol among them")
        if self.access in {"credentialed", "registration", "own"} and self.remote_ok:
            raise ValueError("remote_ok must be false: credentialed, registration-only and own data stay in the house")
        return self
