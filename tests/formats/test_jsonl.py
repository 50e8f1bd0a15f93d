"""JSON lines and JSON files."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import pytest

from healthfm.errors import DatasetError
from healthfm.formats import jsonl
from healthfm.formats.source import Problems, Source

SECRET = "Jane Roe"


def write(folder: Path, content: str | bytes, name: str = "a.jsonl") -> Source:
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return Source(folder / name)


def test_rows_are_numbered_by_their_line_and_empty_lines_are_passed_over(tmp_path: Path) -> None:
    rows = list(jsonl.rows(write(tmp_path, '{"a": 1}\n\n   \r\n{"a": "ü\u2028"}')))
    assert [(row.number, dict(row)) for row in rows] == [(1, {"a": 1}), (4, {"a": "ü\u2028"})]


def test_a_last_line_that_was_cut_short_is_an_error_that_names_it(tmp_path: Path) -> None:
    source = write(tmp_path, f'{{"a": 1}}\n{{"a": 2}}\n{{"a": "{SECRET}')
    rows = jsonl.rows(source)
    assert [next(rows)["a"], next(rows)["a"]] == [1, 2]
    with pytest.raises(DatasetError, match=r"a\.jsonl, line 3: not valid JSON .* cut short") as caught:
        next(rows)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(("line", "kind"), [("[1, 2]", "list"), ('"Jane Roe"', "str"), ("null", "NoneType")])
def test_a_line_that_is_no_object_is_an_error(tmp_path: Path, line: str, kind: str) -> None:
    with pytest.raises(DatasetError, match=f"line 1: a JSON object was expected, not a {kind}") as caught:
        list(jsonl.rows(write(tmp_path, line)))
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("line", ["[" * 200_000, '{"a": ' + "9" * 5000 + "}"], ids=["too deep", "too long a number"])
def test_json_beyond_what_python_reads_is_an_error_of_its_line(tmp_path: Path, line: str) -> None:
    with pytest.raises(DatasetError, match="line 2: not JSON that can be read"):
        list(jsonl.rows(write(tmp_path, '{"a": 1}\n' + line)))


def test_collecting_lists_every_bad_line_and_keeps_every_good_one(tmp_path: Path) -> None:
    content = b'{"a": 1}\n{"a": \n[]\n{"a": 2}\n{"a": "\xff"}\n' + b"[" * 200_000 + b'\n{"a": 3}\n{"a'
    source = write(tmp_path, content)
    problems = Problems("collect")
    assert [row["a"] for row in jsonl.rows(Source(source.path, problems=problems))] == [1, 2, 3]
    assert [str(error).partition(", line ")[2].partition(":")[0] for error in problems.found] == [
        "2",
        "3",
        "5",
        "6",
        "8",
    ]


def test_an_empty_file_holds_no_rows(tmp_path: Path) -> None:
    assert list(jsonl.rows(write(tmp_path, ""))) == []


def test_a_mapping_gives_rows_by_key_and_a_list_rows_by_position(tmp_path: Path) -> None:
    mapping = jsonl.items(write(tmp_path, '{"007": {"a": 1}, "x": {"a": 2}}', "m.json"))
    listed = jsonl.items(write(tmp_path, '[{"a": 1}, {"a": 2}]', "l.json"))
    assert [(row.number, row["a"]) for row in mapping] == [("007", 1), ("x", 2)]
    assert [(row.number, row["a"]) for row in listed] == [(1, 1), (2, 2)]


def test_a_mark_of_byte_order_is_no_part_of_a_json_file(tmp_path: Path) -> None:
    marked = write(tmp_path, '\ufeff[{"a": 1}]', "m.json")
    assert [dict(row) for row in jsonl.items(marked)] == [{"a": 1}]


def test_a_key_that_stands_twice_is_an_error_and_hides_no_row(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"m\.json: one JSON object holds 1 key\(s\) twice"):
        list(jsonl.items(write(tmp_path, '{"1": {"a": 1}, "1": {"a": 2}}', "m.json")))


def test_an_item_that_is_no_object_is_collected(tmp_path: Path) -> None:
    source = write(tmp_path, '{"1": {"a": 1}, "2": "Jane Roe", "3": {"a": 3}}', "m.json")
    problems = Problems("collect")
    assert [row.number for row in jsonl.items(Source(source.path, problems=problems))] == ["1", "3"]
    assert [str(e) for e in problems.found] == [f"{source}, row 2: a JSON object was expected, not a str"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"1": {"a": 1}, "2"', "not valid JSON at line 1"),
        (b"", "not valid JSON"),
        (b'{"1": "\xff"}', "not UTF-8"),
        (b"7", "a list or a mapping of objects was expected, not a int"),
        (b"[" * 200_000, "RecursionError"),
    ],
)
def test_a_damaged_json_file_is_an_error_that_names_it(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(DatasetError, match=message) as caught:
        list(jsonl.items(write(tmp_path, content, "m.json")))
    assert "m.json" in str(caught.value)


@pytest.mark.parametrize(
    "text", ['[{"a": 1}, {"a": 2}]', '\n [\n{"a": 1},\n{"a": 2}]', '{"a": 1}\n{"a": 2}\n', '\n{"a": 1}\n\n{"a": 2}']
)
def test_objects_of_a_list_or_of_lines_whichever_the_file_holds(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    assert [row["a"] for row in jsonl.objects(Source(path))] == [1, 2]
    path.write_text("")
    assert list(jsonl.objects(Source(path))) == []


ODD = [
    '{"a": 1, "a" : 2}', '{"a": 1, "b": {"c": 1, "c"\t:2}}', '{"a": [{"b": 1}, {"b": 1, "b": 2}]}', '{"a": "say \\"x\\": y"}', '{"a": "b :c", "d": {}}',
    '{"a": NaN, "b": -Infinity}', '{"a": 12345678901234567890123, "b": -0, "c": -0.0, "d": 1e400}', '{"a": "\\ud800"}', '{"\\u0061": 1, "a": 2}', '{"a": 01}',
    '{"a": "x\ty"}', '{"a": 1} ', '{"a": 1} x', '\u00a0', '\u00a0{"a": 1}', '\ufeff{"a": 1}', '{"a": [[{"b": {"c": [1, {"d": ":"}]}}]]}', "{}", "[]", '{"a": 0.1, "b": 1e-7}',
]  # fmt: skip


@pytest.mark.parametrize("line", ODD)
def test_what_is_read_quickly_is_what_the_json_module_reads(tmp_path: Path, line: str) -> None:
    source = Source(write(tmp_path, '{"a": 1}\n' + line).path, problems=Problems("collect"))
    found = list(jsonl.rows(source))
    pairs: list[list[str]] = []

    def each(some: list[tuple[str, object]]) -> dict[str, object]:
        pairs.append([key for key, _ in some])
        return dict(some)

    try:
        wanted = json.loads(line, object_pairs_hook=each)
    except ValueError:
        wanted = None
    whole = isinstance(wanted, dict) and all(len(set(keys)) == len(keys) for keys in pairs)
    assert [repr(dict(row)) for row in found[1:]] == ([repr(wanted)] if whole else [])
    assert len(source.problems.found) == (0 if whole or not line.strip() else 1)


def test_rows_before_the_damage_are_given(tmp_path: Path) -> None:
    lines = "".join(f'{{"a": {n}, "b": "{random.Random(n).random()}"}}\n' for n in range(9000))
    source = write(tmp_path, gzip.compress(lines.encode())[:-20_000], "a.jsonl.gz")
    found = []
    with pytest.raises(DatasetError, match=r"after line \d+: the file is damaged or cut short"):
        for row in jsonl.rows(source):
            found.append(row["a"])
    assert len(found) > 5000 and found == list(range(len(found)))


LINES = (
    '{"a": 1}', '{"a": 1, "b": {"c": [1, 2]}}', '{"a": 1, "a": 2}', '{"b": {"c": 1, "c": 2}}', '{"t": "he said \\"no\\": x : y"}', '{"a" : 1}',
    '{"a"\t:1, "a":2}', '{"a": 1} {"b": 2}', '{"a":', "1}", "[1]", '{"a": NaN}', "{}", "", " ", '{"x": ["y: ", {"z": 1, "z": 2}]}', "}\n{",
)  # fmt: skip


def test_lines_that_are_read_at_once_are_what_each_is_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = random.Random(0)
    texts = [
        "\n".join(draw.choices(LINES, [draw.random() ** 6 for _ in LINES], k=draw.randrange(1, 9))) + draw.choice(("", "\n"))
        for _ in range(300)
    ] + ["\r\n".join(LINES[:2] * 3)]  # fmt: skip

    def found(text: str) -> tuple[list[tuple[object, dict[str, object]]], list[str]]:
        (tmp_path / "a.jsonl").write_bytes(text.encode())
        problems = Problems("collect")
        rows = [(row.number, dict(row)) for row in jsonl.rows(Source(tmp_path / "a.jsonl", problems=problems))]
        return rows, list(map(str, problems.found))

    quick = list(map(found, texts))
    assert sum(len(rows) for rows, _ in quick) > 200 and sum(len(problems) for _, problems in quick) > 200
    monkeypatch.setattr(jsonl, "_objects", lambda held: [None] * len(held))
    assert str(quick) == str(list(map(found, texts)))  # as text, since NaN is not itself


def test_keys_of_a_whole_file_are_counted_whatever_its_strings_hold(tmp_path: Path) -> None:
    """A string may begin with a colon, hold a quote and a colon, or end in a backslash; a key that stands twice is found beside it."""
    odd = [": a", '"', '":', "\\", '\\"', '\\":', "a\\\\", "", " : ", '{"a": 1}', "\u2028"]
    value = {"rows": [{one: one, "list": [one, {one: [one]}]} for one in odd], ": ": odd}
    for text in (json.dumps(value), json.dumps(value, indent=1, separators=(" , ", " : ")), json.dumps(odd)):
        assert jsonl._written(text.encode()) == jsonl._keys(json.loads(text))
        assert jsonl._whole(text.encode()) == json.loads(text)
    assert jsonl._whole(b'{"a": ": b", "a": 2}') is None
