"""What the card of a dataset may say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, StringConstraints, model_serializer, model_validator

from healthfm.cards.schema.common import Card, Checked, Facts, Slug, Template, Text, Url
from healthfm.cards.schema.evaluation import Evaluation

IN_HOUSE = frozenset({"credentialed", "registration", "own"})  # access to data of named people: whatever the flags say
OR = " | "  # between the places of a file


class Link(Facts):
    """A tie between two datasets. ``what`` names the shared part, ``key`` the column or id that joins them."""

    dataset: Slug
    what: Text
    splits: tuple[str, ...] = ()
    key: Text | None = None
    source: Text
    checked: Checked = "unverified"


class OfficialFile(Facts):
    """Official files of one role. ``path`` may use ``{split}`` (the owner's word, see [splits]) and ``*``.

    Behind " | " in ``path`` stand the places where copies in common use have the same file; the first that is there is read.
    """

    role: Text
    path: Text
    variant: Text | None = None
    splits: tuple[str, ...] = ()
    format: Text
    optional: bool = False
    note: Text | None = None

    @property
    def places(self) -> tuple[str, ...]:
        """Where the file may stand: as the owner has it, then as copies do."""
        return tuple(self.path.split(OR))


class Download(Facts):
    """Where files may be had by everybody: one file at ``url``, or those that an ``index`` lists. It says nothing of what they hold.

    ``index``: "hub" (``url`` is the page of a Hugging Face repository, ``revision`` its branch, tag or commit), "zenodo" (a record of its
    API), "sums" (a folder with SHA256SUMS.txt, as PhysioNet's), "s3" (a bucket that can be listed, below the path of ``url``). ``path``: where
    the file goes below the root (None: the last part of ``url``); of an index, the folder that its files go to. ``files``: patterns of
    those of the index that are wanted. ``digest``: ``sha256:``, ``md5:``, ``sha1:`` or ``git:`` (a blob's id) and hexadecimal digits.
    """

    url: Url
    index: Literal["hub", "zenodo", "sums", "s3"] | None = None
    revision: Text | None = None
    path: Text | None = None
    files: tuple[str, ...] = ()
    variant: Text | None = None
    size: int | None = Field(default=None, ge=0)
    digest: Annotated[str, StringConstraints(pattern=r"^(sha256|md5|sha1|git):[0-9a-f]{32,64}$")] | None = None
    checked: Checked = "unverified"
    source: Text | None = None

    @model_validator(mode="after")
    def _of_a_file_or_of_an_index(self) -> Download:
        if self.index is None and (self.files or self.revision):
            raise ValueError("downloads: files and revision are those of an index")
        if self.index is not None and (self.size is not None or self.digest):
            raise ValueError("downloads: an index tells size and digest itself")
        return self


class Labels(Facts):
    """A label space: ``classes`` in the owner's order, each with its raw code where the files use one.

    ``missing``: raw values that mean there is none, beside an empty one; ``uncertain``: those by which the owner leaves it open.
    ``variant``: the one whose files hold it (None: the one that the space is named after, else all). ``positive``: the class whose
    risk a clinical report is of, where that is plain. ``groups``: what a published evaluation counts as one class, by its name for it;
    classes in none of them are not evaluated. ``negative``: classes (or groups) that state that there is nothing, over which no F1 is computed.
    """

    name: Text
    kind: Literal["binary", "multi-class", "multi-label", "ordinal", "number", "text", "mask", "boxes"]
    classes: tuple[str, ...] = ()
    codes: Mapping[str, str] = Field(default_factory=dict)
    missing: tuple[str, ...] = ()
    uncertain: tuple[str, ...] = ()
    variant: Text | None = None
    positive: Text | None = None
    groups: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
    negative: tuple[str, ...] = ()
    note: Text | None = None

    @model_validator(mode="after")
    def _classes_are_told_apart(self) -> Labels:
        if self.kind == "binary" and len(self.classes) not in (0, 2):
            raise ValueError(f"labels: '{self.name}' is binary and names {len(self.classes)} classes")
        if strange := sorted(set(self.codes) - set(self.classes)):
            raise ValueError(f"labels: '{self.name}' has codes for what is none of its classes: {', '.join(strange)}")
        grouped = [one for held in self.groups.values() for one in held]
        if strange := sorted({*grouped, *self.negative} - {*self.classes, *self.groups}):
            raise ValueError(f"labels: '{self.name}' groups what is none of its classes: {', '.join(strange)}")
        if len(set(grouped)) < len(grouped):
            raise ValueError(f"labels: '{self.name}' has a class in two groups")
        if len(set(self.codes.values())) < len(self.codes):
            raise ValueError(f"labels: '{self.name}' gives two classes the same code")
        if self.positive is not None and self.positive not in self.classes:
            raise ValueError(
                f"labels: '{self.name}' calls a class positive that is none of its classes: {self.positive}"
            )
        return self

    @model_serializer(mode="wrap")
    def _as_before(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out the later fields where they say nothing, so that the digest of a card without them stays."""
        later = ("missing", "uncertain", "variant", "positive", "groups", "negative")
        return {name: one for name, one in plain(self).items() if one or name not in later}


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


class Naming(Facts):
    """What sentences call the classes of a label space, for models that tell classes by their names (``--task zero-shot``).

    ``name``: the word behind @ that asks for it (None: what is asked without one). ``names``: by class, what it is called, first what is used
    where one is; a class that is left out is called as it is. ``sentences``: the set of ``prompts.toml`` whose templates go with them.
    ``classes``: those that are told apart (none: all). ``single``: a sample is taken where it has one of the whole space's findings and no
    other (``besides`` may stand with it), which is then its class; ``each``: that many samples a class at most, a seeded draw; ``where``: what their meta says.
    """

    label: Text
    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]*$")] | None = None
    names: Mapping[str, Annotated[tuple[Text, ...], Field(min_length=1)]] = Field(default_factory=dict)
    sentences: Text | None = None
    classes: tuple[Text, ...] = ()
    single: bool = False
    besides: tuple[Text, ...] = ()
    each: int | None = Field(default=None, ge=1)
    where: Mapping[str, str] = Field(default_factory=dict)
    source: Text
    checked: Checked = "unverified"


class DatasetCard(Card):
    """A healthcare dataset or database. ``caution``: what whoever uses its records must be told, a notice of every reading.

    ``split_rule``: how an evaluation divides records that come without splits (a name of ``datasets.splits``), unless another is asked for.
    """

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
    downloads: tuple[Download, ...] = Field(
        default=(), exclude=True
    )  # where files are to be had changes no run: not in a card's digest
    splits: Mapping[str, str] = Field(default_factory=dict)
    counts: Mapping[str, Mapping[str, int]] = Field(default_factory=dict)
    labels: tuple[Labels, ...] = ()
    zero_shot: tuple[Naming, ...] = Field(
        default=(), exclude=True
    )  # of no other task: the texts that are asked stand in a run's plan
    layout_source: tuple[Text, ...] = ()
    layout_checked: Checked = "unverified"
    contains: tuple[Link, ...] = ()
    overlaps: tuple[Link, ...] = ()
    derived_from: tuple[Link, ...] = ()
    check_against: tuple[Text, ...] = ()
    reader: Annotated[str, StringConstraints(pattern=r"^[a-z_]+$")] | None = None
    default_protocol: str | None = None
    protocols: Mapping[str, Protocol] = Field(default_factory=dict)
    caution: Text | None = None
    evaluation: Evaluation | None = None
    split_rule: Text | None = None

    @model_serializer(mode="wrap")
    def _as_before(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out a later field where it says nothing, so that the digest of a card without it stays."""
        return {
            name: one for name, one in plain(self).items() if one or name not in ("caution", "evaluation", "split_rule")
        }

    @property
    def has_runner(self) -> bool:
        """Whether healthfm has a reader for the official layout, of its own or of the rows that its parts are."""
        return self.reader is not None or any(one.row for one in self.variants.values())

    @property
    def stays_in_house(self) -> bool:
        """Whether no record may be sent to another machine, unless the user names the host: its access or its flag says so."""
        return self.access in IN_HOUSE or not self.remote_ok

    @property
    def may_show_inputs(self) -> bool:
        """Whether a report may show the records unasked: its access and its flag both let it."""
        return self.access not in IN_HOUSE and self.shareable_inputs

    def of_variant(self, variant: str | None) -> DatasetCard:
        """Return the card with the label spaces that one variant's files hold."""
        whose = [one.variant or (one.name if one.name in self.variants else None) for one in self.labels]
        held = tuple(space for space, its in zip(self.labels, whose, strict=True) if its in (None, variant))
        return self.model_copy(update={"labels": held})

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
        for one in self.downloads:
            if one.variant is not None and one.variant not in self.variants:
                raise ValueError(f"downloads: variant '{one.variant}' is not among [variants]")
        for space in self.labels:
            if space.variant is not None and space.variant not in self.variants:
                raise ValueError(f"labels: variant '{space.variant}' is not among [variants]")
        self._namings_fit()
        if self.protocols and self.default_protocol not in self.protocols:
            raise ValueError("a card with [protocols] names its default_protocol among them")
        if self.access in IN_HOUSE and self.remote_ok:
            raise ValueError("remote_ok must be false: credentialed, registration-only and own data stay in the house")
        return self

    def _namings_fit(self) -> None:
        """Raise ``ValueError`` where a naming speaks of no label space or class of the card, or two are asked for alike."""
        spaces, seen = {space.name: set(space.classes) for space in self.labels}, set()
        for one in self.zero_shot:
            if one.label not in spaces:
                raise ValueError(f"zero_shot: no label space '{one.label}'")
            if strange := sorted({*one.names, *one.classes, *one.besides} - spaces[one.label]):
                raise ValueError(f"zero_shot: '{one.label}' has no class {', '.join(strange)}")
            if (one.label, one.name) in seen:
                raise ValueError(f"zero_shot: '{one.label}' is named twice; tell them apart by name")
            seen.add((one.label, one.name))
