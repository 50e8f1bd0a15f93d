"""What the cards of models and of datasets have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    StringConstraints,
    ValidationError,
    model_serializer,
    model_validator,
)

from healthfm import notebook

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]*$")]
Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
Template = Annotated[str, StringConstraints(min_length=1)]  # white space counts
Url = Annotated[str, StringConstraints(pattern=r"^https?://\S+$")]
Checked = Literal["read", "run", "unverified"]
Modality = Literal[
    "text", "image", "volume", "slide", "video", "signal", "sequence", "structure", "molecule",
    "region", "variant", "cells", "profile", "timeline", "trial", "study", "table", "graph",
]  # fmt: skip


class Facts(BaseModel):
    """Base of every part of a card: unknown fields are errors, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def in_a_line(error: ValidationError) -> str:
    """Return what is wrong, field by field, in one line."""
    return "; ".join(
        f"{'.'.join(map(str, e['loc'])) or 'card'}: {e['msg'].removeprefix('Value error, ')}"
        for e in error.errors(include_url=False, include_input=False)
    )


class Listing(Facts):
    """One appearance of the row in a survey list: ``list`` is he-2024 or zhang-2024, ``entry`` its spelling there."""

    list: Literal["he-2024", "zhang-2024"]
    entry: Text
    section: Text
    subfield: Text | None = None


class Paper(Facts):
    """A publication, or the release page where there is none."""

    title: Text
    url: Url | None = None
    year: int | None = None


class Licence(Facts):
    """A licence in SPDX words where one fits; ``covers`` says of what (weights, data, code, a named part)."""

    name: Text
    covers: Text
    checked: Checked = "unverified"
    source: Text | None = None


class Variant(Facts):
    """A named member of a row: a size, a part, a language. ``[config]`` on a model's variant overrides single numbers of ``[run.config]``.

    ``architecture``: where it is not ``[run]``'s; the variant's ``[config]`` then stands alone. ``[run]`` on a model's variant
    overrides the card's own fields of ``[run]``, and single fields of its parts (see ``Runner.under``).
    Of a suite's part, ``reads`` says how it is read: its owners' real ``files`` were, the ``layout`` they describe, ``restricted`` (so, from a copy that
    the owners must grant), or ``no``; ``row`` is the row that it is, opened in its stead.
    """

    summary: Text
    parameters: int | None = None
    records: int | None = None
    architecture: Text | None = None
    config: Mapping[str, Any] = Field(default_factory=dict)
    run: Mapping[str, Any] = Field(default_factory=dict)
    reads: Literal["files", "layout", "restricted", "no"] | None = None
    row: Text | None = None

    @model_serializer(mode="wrap")
    def _as_before(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out the later fields where they say nothing, so that the digest of a card without them stays."""
        return {name: one for name, one in plain(self).items() if one is not None or name not in ("reads", "row")}


class Card(Facts):
    """What models and datasets have in common."""

    slug: Slug
    name: Text
    aliases: tuple[str, ...] = ()
    summary: Text
    group: Text
    lists: tuple[Listing, ...] = ()
    modalities: tuple[Modality, ...]
    tasks: tuple[Text, ...] = ()
    languages: tuple[str, ...] = ()
    papers: tuple[Paper, ...] = ()
    homepage: Url | None = None
    code: Url | None = None
    licences: tuple[Licence, ...] = ()
    default_variant: str | None = None
    variants: Mapping[str, Variant] = Field(default_factory=dict)
    corrections: tuple[Text, ...] = ()
    obstacles: tuple[Text, ...] = ()
    unverified: tuple[Text, ...] = ()

    def _repr_html_(self) -> str:
        return notebook.facts(self.name, [
            ("slug", self.slug), ("what", self.summary), ("modalities", ", ".join(self.modalities)), ("access", getattr(self, "access", None)),
            ("licences", ", ".join(f"{one.name} ({one.covers}{', unverified' if one.checked == 'unverified' else ''})" for one in self.licences)),
            ("variants", ", ".join(self.variants)), ("paper", self.papers[0].title if self.papers else None), ("code", self.code),
        ])  # fmt: skip

    @property
    def listed(self) -> bool:
        """Whether the row stands in one of the two survey lists."""
        return bool(self.lists)

    @model_validator(mode="after")
    def _default_variant_exists(self) -> Card:
        if self.default_variant is not None and self.default_variant not in self.variants:
            raise ValueError(f"default_variant '{self.default_variant}' is not among [variants]")
        if self.variants and self.default_variant is None:
            raise ValueError("a card with [variants] names its default_variant")
        return self
