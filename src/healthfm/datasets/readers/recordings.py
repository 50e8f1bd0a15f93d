"""Recordings of electrodes with a table about them."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterable, Iterator, Mapping
from functools import partial

from healthfm.datasets.locate import Files
from healthfm.datasets.reader import dataset
from healthfm.errors import BadValue, DatasetError
from healthfm.formats import delimited, wfdb_record
from healthfm.records import MISSING, Signal

FOLDS = {"train": range(1, 9), "validation": range(9, 10), "test": range(10, 11)}
CLASSES = {"diagnostic_superclass": "diagnostic_class", "diagnostic_subclass": "diagnostic_subclass"}
TOO_OLD = 300  # the owners' word for an age above 89


@dataset("ptb-xl", record=Signal)
def ptb_xl(files: Files, split: str) -> Iterator[Signal]:
    """Folds 1 to 8 train, 9 validation, 10 test: no patient is in two. Every statement counts, whatever its likelihood; a set without any is missing."""
    statements = {
        row[""] if "" in row else next(iter(row.values())): row for row in delimited.rows(files["statements"], ",")
    }
    headers = {"/".join(str(one.path).replace("\\", "/").split("/")[-3:]): one for one in files.all("headers")}
    for row in delimited.rows(files["records"], ","):
        with row:
            if int(float(row["strat_fold"])) not in FOLDS[split]:
                if not 1 <= int(float(row["strat_fold"])) <= 10:
                    raise BadValue("its strat_fold is none of 1 to 10")
                continue
            name = row["filename_hr" if files.variant == "records500" else "filename_lr"] + ".hea"
            if name not in headers:
                raise DatasetError(f"{files['records']}, row {row.number}: {name} is not here")
            codes = _codes(row["scp_codes"])
            head = wfdb_record.header(headers[name])
            age = float(row["age"]) if row["age"] else math.nan
            yield Signal(
                id=row["ecg_id"], split=split, patient=str(int(float(row["patient_id"]))), site=row.get("site") or None,
                rate=head.rate, channels=head.channels, load=partial(wfdb_record.samples, headers[name]),
                labels={name: files.label(name, sorted(found)) if found else MISSING for name, found in _sets(codes, statements).items()},
                meta={**row, "scp_codes": codes, "units": head.units, "age": None if age == TOO_OLD or math.isnan(age) else age, "age_above_89": age == TOO_OLD},
            )  # fmt: skip


def _sets(codes: Iterable[str], statements: Mapping[str, Mapping[str, str]]) -> dict[str, set[str]]:
    """Return a record's statements by the sets that the owners evaluate: their classes, or the statements of a kind themselves."""
    said = {code: statements[code] for code in codes if code in statements}
    of_kind = {
        kind: {code for code, row in said.items() if row[kind] in ("1", "1.0")}
        for kind in ("diagnostic", "form", "rhythm")
    }
    classes = {name: {said[code][column] for code in of_kind["diagnostic"]} for name, column in CLASSES.items()}
    return {**classes, **of_kind, "scp_codes": set(codes)}


def _codes(text: str) -> dict[str, float]:
    """Return statements with their likelihood from a dictionary written as Python text, which is read, never run."""
    try:
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        raise BadValue("its scp_codes are no dictionary of statements") from None
    if not isinstance(found, dict) or not all(isinstance(one, int | float) for one in found.values()):
        raise BadValue("its scp_codes are no dictionary of statements")
    return {str(code): float(one) for code, one in found.items()}
