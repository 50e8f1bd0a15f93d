"""The errors a user can meet. Each says what is wrong, where, and what to do; none carries patient data."""

from __future__ import annotations


class HealthfmError(Exception):
    """Base of every error healthfm raises on purpose; the command line prints it as one line and exits 2."""


class CardError(HealthfmError):
    """A card is missing, misspelt, or says something its schema does not allow."""


class DatasetError(HealthfmError):
    """Official files are absent, ambiguous or damaged, or a row cannot be read."""


class NotAnnotated(DatasetError):
    """A class that nobody looked for in this case, in a set whose labels are partial: its absence is not known."""


class CheckpointError(HealthfmError):
    """Weights are absent, damaged, unsafe to load, or do not fit the network."""


class FetchError(HealthfmError):
    """A file cannot be had from its owner's server, or is not the file that was published."""


class CapabilityError(HealthfmError):
    """The model cannot do what was asked of it."""


class RunError(HealthfmError):
    """An evaluation cannot start, go on, or be scored."""


class MissingExtra(HealthfmError):
    """An optional dependency is not installed."""

    def __init__(self, extra: str, package: str) -> None:
        super().__init__(f"this needs {package}: pip install 'healthfm[{extra}]'")
        self.extra = extra


class BadValue(ValueError):
    """A value that a reader refuses; the message must not repeat it where it could be patient data."""
