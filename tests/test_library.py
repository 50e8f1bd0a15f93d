"""What ``healthfm`` gives to Python: each name is what help() says of it, whatever was imported before, and the verbs take the same as the commands."""

from __future__ import annotations

import inspect
import pydoc
from typing import Any

import pytest

import healthfm as hfm
from tests.forked import Server

ORDERS = (
    "import healthfm.evaluate.runner as runner; import healthfm as hfm",
    "import healthfm as hfm; import healthfm.evaluate",
    "import healthfm.evaluate.protocols, healthfm.evaluate.contamination; import healthfm as hfm",
    "import healthfm.evaluate as evaluate; import healthfm as hfm; assert evaluate is hfm.evaluate",
    "from healthfm import evaluate; import healthfm.evaluate.job; import healthfm as hfm; assert evaluate is hfm.evaluate",
)


def test_evaluate_is_the_verb_in_whatever_order_things_are_imported(forked: Server) -> None:
    """And the room's modules are where dotted names look for them."""
    tests = ";".join(
        f"[sys.modules.pop(one) for one in [*sys.modules] if one.partition('.')[0] == 'healthfm']; {order}; "
        "import inspect, healthfm.evaluate.protocols as room; assert inspect.isfunction(hfm.evaluate) and hfm.evaluate.__name__ == 'evaluate'; "
        "assert hfm.evaluate.protocols is room and room.choose_protocol and callable(hfm.contamination)"
        for order in ORDERS
    )
    assert forked.fork((), 1, 2, f"import sys; {tests}").wait() == 0


@pytest.mark.parametrize("name", [one for one in hfm.__all__ if one[0].islower()])
def test_help_shows_the_function_with_its_arguments(name: str) -> None:
    verb = getattr(hfm, name)
    shown = pydoc.plain(pydoc.render_doc(verb))
    assert inspect.isfunction(verb) and f"function {name} in module" in shown.splitlines()[0] and inspect.getdoc(verb)


LIBRARY: dict[str, tuple[str, dict[str, str]]] = {  # a command, its function, and the options that the function calls otherwise
    "evaluate": ("evaluate", {"subgroup": "subgroups", "requests_per_minute": "endpoint", "columns": "dataset", "show_inputs": "", "json": ""}),
    "compare": ("compare", {}),
}  # fmt: skip


def test_what_the_command_line_takes_the_library_takes() -> None:
    from healthfm.cli import app

    commands: dict[str, Any] = {one.callback.__name__: one.callback for one in app.registered_commands if one.callback}
    verb, other = LIBRARY["evaluate"]
    taken = inspect.signature(getattr(hfm, verb)).parameters
    for option in inspect.signature(commands["evaluate"]).parameters:
        name = other.get(option, option)
        assert not name or name in taken, f"evaluate takes {option} on the command line alone"


def test_own_data_may_be_named_as_on_the_command_line(tmp_path: Any) -> None:
    (tmp_path / "q.csv").write_text("id,question,A,B,answer,ward\n0,q,x,y,A,one\n1,q,x,y,B,two\n")
    model = hfm.load_model(lambda p, o: [[0.0] * len(one) for one in o], verb="score", card={"slug": "m", "name": "M"})
    run = hfm.evaluate(model, str(tmp_path / "q.csv"), subgroups="ward", output=tmp_path / "run")
    assert run.predictions["subgroup.ward"].to_pylist() == ["one", "two"]
    assert [one.id for one in hfm.open_dataset(str(tmp_path / "q.csv"))] == ["0", "1"]
