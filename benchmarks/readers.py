"""Rows of text files against the modules that people read them with, and two sets against the scripts and packages that read them.

Rows, in one alternating run on one thread, on made-up files: JSON lines against ``json``, CSV rows and columns against ``csv.DictReader``, GB18030
against ``csv.reader``, XML against lxml's own ``iterparse`` with entities off. Every row must be equal. (``jsonl nested`` and ``csv rows of prose``, whose cells are quoted, have no target: there
msgspec and the csv module, which do the work, are less than twice as fast as the peer.) Ratios are of processor time, the best of some
rounds. (A row of ours is a mapping that knows its file and line: of a plain row of eight cells half the time goes into cutting it, a quarter into the
mapping and a quarter into file and line. Where bare mappings are 2.3 to 2.5 times as fast as the peer, rows cannot be; the csv module's own lists, without names, are
3.1 times as fast. Of GB18030 half is decoding, which the peer does too. PubMedQA: decoding the file once takes half of what BigBio's script takes, and
a record that is checked and cannot be changed costs more than the script's dictionary.) Then each of ours reads a file and one of ten times its rows, each in a process of its own: the peak memory must be the same.

Records, from their owners' files (``--data``, a folder with bc5cdr and pubmedqa below it): ``open_dataset`` against BigBio's scripts (``--bigbio``,
a checkout of bigscience-workshop/biomedical; the package ``bioc`` is needed) and against Hugging Face ``datasets``, which makes a table of what the
script yields and reads the rows from there (``datasets`` 3 did so when it ran a script; ``again``: reading alone, when the table stands).

    python benchmarks/readers.py --data ../shared/data --bigbio ../biomedical
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from lxml import etree
from memory import peak_mib

from healthfm.formats import batches, delimited, jsonl, xml
from healthfm.formats.source import Source

TARGETS = {
    "jsonl": 2.6,
    "jsonl nested": None,
    "csv rows": 2.7,
    "csv rows of prose": None,
    "csv columns": 6,
    "gb18030": 1.5,
    "xml": 0.95,
    "pubmedqa": 1,
    "bc5cdr": 1,
}
ROUNDS = 7
FLAT_MIB = 24  # how much more memory ten times the rows may take: what the allocator keeps
KNOWN = {
    "bc5cdr": 2
}  # 6415512: a place one letter before its text, which we mend; 8638876: "-1" beside a concept, which we do not take for one
EVENTS = ["subject_id", "hadm_id", "itemid", "charttime", "value", "valuenum", "unit", "flag"]
HEADER = ["id", "question", "a", "b", "c", "d", "answer", "ward"]
SAID = "A patient of 46 years has had headache and fever for three days, with a stiff neck; which test comes first?"
ASKED = "头痛，发热三天，伴有咳嗽、咳痰，请问需要做哪些检查？"


def made(kind: str, path: Path, rows: int) -> Path:
    """Write a file of some rows."""
    if kind == "jsonl":
        with path.open("w", encoding="utf-8") as out:
            for n in range(rows):
                out.write(
                    json.dumps(
                        {
                            "id": n,
                            "question": f"{n}: {SAID}",
                            "answer": f"Lumbar puncture {n % 7}",
                            "label": n % 4,
                            "weight": 0.5,
                        }
                    )
                    + "\n"
                )
    elif kind == "jsonl nested":
        with path.open("w", encoding="utf-8") as out:
            for n in range(rows):
                row = {"question": f"{n}: {SAID}", "answer": f"Lumbar puncture {n % 7}", "options": dict(zip("ABCD", ("CT", "MRI", "EEG", f"{n}"), strict=True)),
                       "meta_info": "step2&3", "answer_idx": "ABCD"[n % 4], "score": n / 4, "tags": ["neuro", "acute"]}  # fmt: skip
                out.write(json.dumps(row, ensure_ascii=False) + "\n")
    elif kind == "gb18030":
        with path.open("w", encoding="gb18030", newline="") as out:
            csv.writer(out).writerows(
                [
                    ["department", "title", "ask", "answer"],
                    *([f"内科{n % 9}", ASKED[:10], ASKED * 2, ASKED * 5] for n in range(rows)),
                ]
            )
    elif kind == "xml":
        with path.open("w", encoding="utf-8") as out:
            out.write('<?xml version="1.0"?>\n<PubmedArticleSet>\n')
            for n in range(rows):
                out.write(f"<PubmedArticle><MedlineCitation><PMID>{n}</PMID><Article><ArticleTitle>On {n} &amp; more</ArticleTitle><Abstract><AbstractText Label='AIM'>"
                          f"{SAID}</AbstractText><AbstractText>{SAID}</AbstractText></Abstract></Article></MedlineCitation></PubmedArticle>\n")  # fmt: skip
            out.write("</PubmedArticleSet>\n")
    elif kind == "csv rows":
        with path.open("w", encoding="utf-8", newline="") as out:
            csv.writer(out).writerows(
                [
                    EVENTS,
                    *(
                        [n // 10, n // 7, n % 300, "2150-01-01 00:00:00", n % 100, n % 100, "mg/dL", ""]
                        for n in range(rows)
                    ),
                ]
            )
    else:
        with path.open("w", encoding="utf-8", newline="") as out:
            csv.writer(out).writerows(
                [HEADER, *([n, f"{n} {SAID}", "CT", "MRI", "EEG", n % 11, "ABCD"[n % 4], "icu"] for n in range(rows))]
            )
    return path


def cell(element: Any) -> tuple[str, str]:
    """Return what is read of an article."""
    return element.findtext(".//PMID"), element.findtext(".//ArticleTitle")


def parsed(path: Path) -> Iterator[tuple[str, str]]:
    """Read articles as lxml's own documentation does it: an element is emptied after use."""
    for _, element in etree.iterparse(
        str(path), tag="PubmedArticle", resolve_entities=False, no_network=True, load_dtd=False
    ):
        yield cell(element)
        element.clear()
        while element.getprevious() is not None:
            del element.getparent()[0]


def columns(path: Path) -> Iterator[dict[str, str]]:
    """Read the columns of a CSV file as rows, to hold them against others'."""
    for batch in batches.batches(Source(path)):
        yield from batch.to_pylist()


def by_json(path: Path) -> Iterator[Any]:
    """Read JSON lines with ``json``."""
    with path.open(encoding="utf-8") as handle:
        yield from map(json.loads, handle)


def by_dict_reader(path: Path) -> Iterator[dict[str, str]]:
    """Read CSV with ``csv.DictReader``."""
    with path.open(newline="", encoding="utf-8") as handle:
        yield from csv.DictReader(handle)


def by_csv(path: Path) -> Iterator[list[str]]:
    """Read GB18030 with ``csv.reader``, the header away."""
    with path.open(newline="", encoding="gb18030") as handle:
        rows = csv.reader(handle)
        next(rows)
        yield from rows


def all_of(read: Callable[[Path], Iterable[Any]]) -> Callable[[Path], None]:
    """Return a pass over every row."""

    def run(path: Path) -> None:
        for _ in read(path):
            pass

    return run


OURS: dict[str, Callable[[Path], Iterable[Any]]] = {
    "jsonl": lambda path: jsonl.rows(Source(path)),
    "jsonl nested": lambda path: jsonl.rows(Source(path)),
    "csv rows of prose": lambda path: delimited.rows(Source(path), ","),
    "csv rows": lambda path: delimited.rows(Source(path), ","),
    "csv columns": lambda path: batches.batches(Source(path)),
    "gb18030": lambda path: delimited.rows(Source(path), ",", encoding="gb18030"),
    "xml": lambda path: (cell(element) for _, element in xml.stream(Source(path), "PubmedArticle")),
}
PEERS: dict[str, tuple[str, Callable[[Path], Iterable[Any]]]] = {
    "jsonl": ("json", by_json),
    "jsonl nested": ("json", by_json),
    "csv rows": ("csv.DictReader", by_dict_reader),
    "csv rows of prose": ("csv.DictReader", by_dict_reader),
    "csv columns": ("csv.DictReader", by_dict_reader),
    "gb18030": ("csv.reader", by_csv),
    "xml": ("lxml.iterparse", parsed),
}


def alternate(calls: dict[str, Callable[[], object]], rounds: int = ROUNDS) -> dict[str, float]:
    """Return the best processor seconds of each call, the calls taking turns."""
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.process_time()
            call()
            best[name] = min(best[name], time.process_time() - start)
    return best


def equal(kind: str, path: Path) -> int:
    """Return how many rows both read, which must be equal."""
    peer, count = iter(PEERS[kind][1](path)), 0
    for row in columns(path) if kind == "csv columns" else OURS[kind](path):
        theirs = next(peer)
        assert (list(row.values()) if kind == "gb18030" else row) == theirs, f"{kind}: row {count + 1} differs"
        count += 1
    assert next(peer, None) is None
    return count


def rows_case(kind: str, folder: Path, rows: int) -> dict[str, object]:
    """Time a format's rows, and measure its memory at ten times the size."""
    path, large = (made(kind, folder / f"{kind}-{n}", n) for n in (rows, 10 * rows))
    count, peer = equal(kind, path), PEERS[kind][0]
    seconds = alternate(
        {"healthfm": lambda: all_of(OURS[kind])(path), peer: lambda: all_of(PEERS[kind][1])(path)},
    )
    peaks = [
        int(
            subprocess.run(
                [sys.executable, __file__, "--one", kind, str(file)], check=True, capture_output=True, text=True
            ).stdout
        )
        for file in (path, large)
    ]
    large.unlink()
    return {
        "rows": count, "megabytes": round(path.stat().st_size / 1e6, 1), "microseconds a row": {name: round(1e6 * s / count, 2) for name, s in seconds.items()},
        "ratio": round(seconds[peer] / seconds["healthfm"], 2), "peak MiB": peaks[0], "peak MiB at ten times": peaks[1], "flat": peaks[1] - peaks[0] <= FLAT_MIB,
    }  # fmt: skip


# Two sets, against BigBio's scripts ------------------------------------------------------------------------------------


def script(checkout: Path, name: str, schema: str) -> Any:
    """Return a builder of BigBio's, whose ``_generate_examples`` is asked directly."""
    import datasets

    folder = checkout / "bigbio" / "hub" / "hub_repos" / name
    spec = importlib.util.spec_from_file_location(
        f"bigbio_{name}", folder / f"{name}.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[f"bigbio_{name}"] = module
    spec.loader.exec_module(module)
    kind = next(
        one
        for one in vars(module).values()
        if isinstance(one, type)
        and issubclass(one, datasets.GeneratorBasedBuilder)
        and one.__module__ == module.__name__
    )
    builder = kind.__new__(kind)
    builder.config = SimpleNamespace(schema=schema, subset_id=name)
    return builder


def records_case(
    name: str,
    root: Path,
    files: list[Path],
    builder: Any,
    key: Callable[[Any], object],
    theirs: Callable[[Any], object],
) -> dict[str, object]:
    """Time a set; ``key`` and ``theirs`` make the same of a record of ours and of BigBio's."""
    import datasets

    from healthfm.datasets.open import open_dataset

    def yielded() -> Iterator[Any]:
        for file in files:
            extra = {"split": "test"} if name == "bc5cdr" else {}
            yield from (row for _, row in builder._generate_examples(file, **extra))

    slug = {"bc5cdr": "bigbio:bc5cdr"}.get(name, name)
    ours, peer = sorted(map(key, open_dataset(slug, root)), key=str), sorted(map(theirs, yielded()), key=str)
    differ = sum(one != other for one, other in zip(ours, peer, strict=True))
    assert differ <= KNOWN.get(name, 0), f"{name}: {differ} records differ"
    with tempfile.TemporaryDirectory() as cache:
        table = datasets.Dataset.from_generator(yielded, cache_dir=cache)
        turn = [0]

        def anew() -> None:
            turn[0] += 1
            all_of(lambda _: datasets.Dataset.from_generator(yielded, cache_dir=f"{cache}/{turn[0]}"))(root)

        seconds = alternate(
            {
                "healthfm": lambda: all_of(lambda path: open_dataset(slug, path))(root), "bigbio": lambda: all_of(lambda _: yielded())(root),
                "datasets": anew, "datasets again": lambda: all_of(lambda _: table)(root),
            },
            rounds=3,
        )  # fmt: skip
    return {
        "records": len(ours), "records that differ": differ, "milliseconds": {one: round(1000 * s, 1) for one, s in seconds.items()},
        "ratio": round(min(seconds["bigbio"], seconds["datasets"]) / seconds["healthfm"], 2),
        "ratio to datasets again": round(seconds["datasets again"] / seconds["healthfm"], 2),
    }  # fmt: skip


def mentions(record: Any) -> object:
    """Return a document's mentions: where, what, which concepts."""
    return record.id, sorted(
        (tuple(span.parts or ((span.start, span.end),)), span.type, tuple(sorted(span.concepts)))
        for span in record.spans
    )


def sets(data: Path, checkout: Path) -> dict[str, object]:
    """Time both sets."""
    found: dict[str, object] = {}
    root = data / "pubmedqa"
    found["pubmedqa"] = records_case(
        "pubmedqa", root, [next(root.rglob("ori_pqal.json"))], script(checkout, "pubmed_qa", "bigbio_qa"),
        lambda one: (one.id, one.question, one.context.replace("\n", " "), one.answer), lambda one: (one["id"], one["question"], one["context"], one["answer"][0]),
    )  # fmt: skip
    root = data / "bc5cdr"
    found["bc5cdr"] = records_case(
        "bc5cdr", root, sorted(root.rglob("CDR_*Set.BioC.xml")), script(checkout, "bc5cdr", "bigbio_kb"), mentions,
        lambda one: (one["document_id"], sorted((tuple(map(tuple, e["offsets"])), e["type"].lower(), tuple(sorted(n["db_id"] for n in e["normalized"]))) for e in one["entities"])),
    )  # fmt: skip
    return found


def main() -> None:
    """Run the cases and store the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=40_000)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--bigbio", type=Path)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "readers.json")
    arguments = parser.parse_args()
    if arguments.one:
        all_of(OURS[arguments.one[0]])(Path(arguments.one[1]))
        print(peak_mib())
        return
    with tempfile.TemporaryDirectory() as folder:
        cases: dict[str, object] = {kind: rows_case(kind, Path(folder), arguments.rows) for kind in OURS}
    if arguments.data and arguments.bigbio:
        cases |= sets(arguments.data, arguments.bigbio)
    result = {"target ratios": TARGETS, "rounds": ROUNDS, "cases": cases}
    arguments.output.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
