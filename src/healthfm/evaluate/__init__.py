"""Tasks, scoring, metrics, statistics, contamination, and the runner that puts them on one road.

``healthfm.evaluate`` names this room and is also the library's main verb: calling it is calling ``runner.evaluate``.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _Verb(ModuleType):
    """A module that can be called: importing the room must not hide the verb of the same name."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        from healthfm.evaluate.runner import evaluate

        return evaluate(*args, **options)


sys.modules[__name__].__class__ = _Verb
