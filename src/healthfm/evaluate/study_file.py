"""What a study asks, as its TOML file says it: the models, the datasets, and how each dataset is asked."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from healthfm.cards.schema.common import Facts, Text
from healthfm.errors import RunError

Count = Annotated[int, Field(strict=True, ge=0)]
Some = Annotated[int, Field(strict=True, ge=1)]


class Asked(Facts):
    """How every dataset of a study is asked; a dataset may say otherwise. The words are those of ``evaluate``."""

    tasks: tuple[Text, ...] = ()
    seeds: Annotated[tuple[Count, ...], Field(min_length=1)] = (0,)
    split: Text = "test"
    shots: Count | None = None
    shots_from: Text = "train"
    shots_order: Literal["first", "random"] = "first"
    limit: Some | None = None
    subgroups: tuple[Text, ...] = ()
    window: tuple[float, float] | None = None
    judge: Text | None = None
    baseline: bool = True


class Asker(Facts):
    """A model of a study: a name, or a table with where its weights are or which server runs it."""

    name: Text
    weights: Text | None = None
    endpoint: Text | None = None
    requests_per_minute: Some | None = None
    device: Text = "auto"
    dtype: Text = "auto"

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value


class Data(Asked):
    """A dataset of a study: a name, or a table with the folder of its official files; own data by its ``path``."""

    name: Text | None = None
    path: Text | None = None
    root: Text | None = None

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_of_both(self) -> Data:
        if (self.name is None) == (self.path is None):
            raise ValueError("give name (a row of the catalogue) or path (own data), one of the two")
        if self.name is not None and ("/" in self.name or self.name.startswith(".")):
            raise ValueError("own data is given by path, not by name")
        return self

    @property
    def called(self) -> str:
        """The name, or the path as it was written."""
        return str(self.name or self.path)


class Study(Asked):
    """What a study asks: every model on every dataset, by every task and seed."""

    models: Annotated[tuple[Asker, ...], Field(min_length=1)]
    datasets: Annotated[tuple[Data, ...], Field(min_length=1)]
    allow_remote: tuple[Text, ...] = ()

    def asked(self, data: Data) -> Asked:
        """Return how a dataset is asked: what it says itself, else what the study says."""
        own = data.model_dump(exclude_unset=True, exclude={"name", "path", "root"})
        return Asked(**{**self.model_dump(exclude_unset=True, include=set(Asked.model_fields)), **own})


def read_study(path: Path | str) -> Study:
    """Read a study from a TOML file. Raises ``RunError`` that names the file and the key: unknown, missing, or of the wrong type."""
    path = Path(path)
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RunError(f"{path}: not valid TOML: {error}") from None
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror})") from None
    try:
        return Study(**found)
    except ValidationError as error:
        raise RunError(f"{path}: {'; '.join(_problem(one) for one in error.errors(include_url=False))}") from None


def _problem(error: Mapping[str, Any]) -> str:
    """Say what is wrong with a key of a study, without its value."""
    top, *rest = error["loc"] or ("study",)
    owners: Mapping[str, type[Facts]] = {"models": Asker, "datasets": Data}
    owner = owners.get(str(top), Study) if rest else Study
    place = f"[[{top}]] {rest[0] + 1}" if rest and isinstance(rest[0], int) and owner is not Study else str(top)
    key = ".".join(map(str, rest[1:] if owner is not Study else rest))
    if error["type"] == "extra_forbidden":
        return f"{place}{f': {key}' if key else ''}: no such key (keys: {', '.join(owner.model_fields)})"
    return f"{place}{f': {key}' if key else ''}: {error['msg'].removeprefix('Value error, ')}"
