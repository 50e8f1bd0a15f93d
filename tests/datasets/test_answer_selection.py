"""cMedQA2, webMedQA and CMD: miniatures in the owners' layouts, each with what its files are mistaken for."""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path

import pytest

from healthfm import open_dataset
from healthfm.errors import BadValue, DatasetError
from healthfm.records import KINDS, MISSING, Pair, Ranking

# The noun --------------------------------------------------------------------------------------------------------------


def ranking(**changes: object) -> Ranking:
    given = {"id": "1", "query": "q", "candidates": ("a", "b"), "relevance": (1, 0), **changes}
    return Ranking(**given)  # type: ignore[arg-type]


def test_a_ranking_is_its_query_and_its_digest_its_query_and_candidates() -> None:
    assert KINDS["Ranking"] is Ranking and Ranking.noun == "query"
    assert ranking().as_text == "q"
    assert ranking().digest() == ranking(id="2", relevance=None).digest()
    changed = [ranking(query="Q"), ranking(candidates=("b", "a")), ranking(candidates=("a", "c"))]
    assert len({one.digest() for one in [ranking(), *changed]}) == 4


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"candidates": ("a",), "relevance": (1,)}, "1 candidate"),
        ({"relevance": (1,)}, "2 candidates, the relevance of 1"),
        ({"relevance": (1, -1)}, "below 0"),
        ({"candidates": ("a", None)}, "not text"),
        ({"query": 3}, "not text"),
    ],
)
def test_a_ranking_that_does_not_add_up_is_refused(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(BadValue, match=reason):
        ranking(**changes)


# cMedQA2 ---------------------------------------------------------------------------------------------------------------

QUESTIONS = {"11": "头痛，怎么办？", "12": "发烧吗？", "7": "咳嗽"}
ANSWERS = {"1": ("11", "休息"), "02": ("12", "多喝水,\n多休息"), "3": ("7", "看医生"), "4": ("7", "吃药")}
TRAIN = [("11", "1", "02"), ("11", "1", "3"), ("11", "4", "3"), ("12", "02", "1")]
DEV = [("11", "1", "0", "1"), ("11", "3", "1", "0"), ("11", "3", "2", "0"), ("7", "3", "0", "1"), ("7", "02", "1", "0")]


def as_csv(header: str, rows: list[tuple[str, ...]], mark: bool = True) -> bytes:
    held = io.StringIO(newline="")
    writer = csv.writer(held)
    writer.writerow(header.split(","))
    writer.writerows(rows)
    return held.getvalue().encode("utf-8-sig" if mark else "utf-8")


def cmedqa2_files(dev: list[tuple[str, ...]] = DEV, train: list[tuple[str, ...]] = TRAIN) -> dict[str, bytes]:
    judged = as_csv("question_id,ans_id,cnt,label", dev, mark=False)
    return {
        "question.csv": as_csv("question_id,content", list(QUESTIONS.items())),
        "answer.csv": as_csv("ans_id,question_id,content", [(key, *rest) for key, rest in ANSWERS.items()]),
        "train_candidates.txt": as_csv("question_id,pos_ans_id,neg_ans_id", train, mark=False),
        "dev_candidates.txt": judged, "test_candidates.txt": judged,
    }  # fmt: skip


def write_cmedqa2(root: Path, packed: bool = False, **rows: list[tuple[str, ...]]) -> Path:
    for name, content in cmedqa2_files(**rows).items():
        if packed:
            with zipfile.ZipFile(root / f"{name.rsplit('.', 1)[0]}.zip", "w") as pack:
                pack.writestr(name, content)
        else:
            (root / name).write_bytes(content)
    return root


@pytest.mark.evidence("cmedqa2", "layout")
@pytest.mark.parametrize("packed", [False, True])
def test_cmedqa2_gathers_the_candidates_of_a_question_with_their_texts(tmp_path: Path, packed: bool) -> None:
    dataset = open_dataset("cmedqa2", root=write_cmedqa2(tmp_path, packed))
    assert dataset.splits == ("train", "validation", "test")
    for split in ("validation", "test"):
        first, second = dataset[split]
        assert (first.id, first.split, first.query) == ("11", split, "头痛，怎么办？")
        assert (first.candidates, first.relevance) == (
            ("休息", "看医生", "看医生"),
            (1, 0, 0),
        )  # named twice, kept twice
        assert (second.id, second.candidates, second.relevance) == ("7", ("看医生", "多喝水,\n多休息"), (1, 0))
        assert second.meta["candidates"] == ("3", "02")  # ids stay text
    first, second = dataset["train"]  # triples: each answer once, the right ones first
    assert (first.candidates, first.relevance) == (("休息", "吃药", "多喝水,\n多休息", "看医生"), (1, 1, 0, 0))
    assert (second.candidates, second.relevance) == (("多喝水,\n多休息", "休息"), (1, 0))


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ({"dev": [("11", "1", "0", "1"), ("11", "99", "1", "0")]}, "the answer that it names is in no row of the answers' file"),
        ({"dev": [("99", "1", "0", "1"), ("99", "3", "1", "0")]}, "the question that it names is in no row of the questions' file"),
        ({"dev": [("11", "1", "0", "2"), ("11", "3", "1", "0")]}, "'label' has a value that the card does not know"),
        ({"dev": [("11", "1", "0", ""), ("11", "3", "1", "0")]}, "no label"),
        ({"dev": [("11", "1", "0", "1")]}, "1 candidate"),
        ({"train": [("11", "1", "3"), ("11", "3", "02")]}, "an answer is called right and wrong of one question"),
    ],
)  # fmt: skip
def test_a_damaged_cmedqa2_question_names_file_row_and_reason(
    tmp_path: Path, rows: dict[str, list[tuple[str, ...]]], reason: str
) -> None:
    good = [("7", "3", "02")] if "train" in rows else [("7", "3", "0", "1"), ("7", "02", "1", "0")]
    root = write_cmedqa2(tmp_path, **{name: [*some, *good] for name, some in rows.items()})
    split, word = ("train", "train") if "train" in rows else ("validation", "dev")
    with pytest.raises(DatasetError, match=rf"{word}_candidates\.txt, row 2: .*{reason}"):
        list(open_dataset("cmedqa2", root=root, split=split))
    collected = open_dataset("cmedqa2", root=root, split=split, on_error="collect")
    assert ([one.id for one in collected], len(collected.errors)) == (["7"], 1)


def test_a_question_whose_rows_do_not_stand_together_is_no_second_question(tmp_path: Path) -> None:
    root = write_cmedqa2(tmp_path, dev=[*DEV, ("11", "02", "3", "0"), ("11", "4", "4", "0")])
    with pytest.raises(DatasetError, match=r"row 7: .*do not stand together"):
        list(open_dataset("cmedqa2", root=root, split="validation"))


def test_an_answers_file_without_its_mark_of_byte_order_reads_the_same(tmp_path: Path) -> None:
    root = write_cmedqa2(tmp_path)
    expected = list(open_dataset("cmedqa2", root=root, split="test"))
    for name in ("question.csv", "answer.csv"):
        (root / name).write_bytes((root / name).read_bytes().removeprefix(b"\xef\xbb\xbf"))
    assert list(open_dataset("cmedqa2", root=root, split="test")) == expected


# webMedQA --------------------------------------------------------------------------------------------------------------


def webmedqa_lines(number: str, question: str, answers: list[str], right: int) -> list[list[str]]:
    return [[number, str(int(place == right)), "内科", question, one] for place, one in enumerate(answers)]


FIRST = webmedqa_lines("21166878", '"头痛', ["休息", '"多喝水', '看"医生"', "吃药,饭", "不知道"], 0)
SECOND = webmedqa_lines("0099", "发烧?", ["a", "b", "c", "d", "e"], 3)


def write_webmedqa(root: Path, rows: list[list[str]], packed: bool = False) -> Path:
    content = "".join("\t".join(row) + "\n" for row in rows)
    for word in ("train", "valid", "test"):
        if packed:
            with zipfile.ZipFile(root / f"{word}.zip", "w") as pack:
                pack.writestr(f"medQA.{word}.txt", content)
        else:
            (root / f"medQA.{word}.txt").write_text(content, encoding="utf-8")
    return root


@pytest.mark.evidence("webmedqa", "layout")
@pytest.mark.parametrize("order", ["id first", "department first"])
@pytest.mark.parametrize("packed", [False, True])
def test_webmedqa_gathers_five_answers_a_question_without_a_header(tmp_path: Path, order: str, packed: bool) -> None:
    rows = [*FIRST, *SECOND]
    turned = rows if order == "id first" else [[r[2], r[1], r[0], *r[3:]] for r in rows]
    dataset = open_dataset("webmedqa", root=write_webmedqa(tmp_path, turned, packed))
    assert dataset.splits == ("train", "validation", "test")
    for split in dataset.splits:
        first, second = dataset[split]
        assert (first.id, first.query, first.labels) == ("21166878", '"头痛', {"department": "内科"})
        assert (first.candidates, first.relevance) == (tuple(row[4] for row in FIRST), (1, 0, 0, 0, 0))
        assert (second.id, second.relevance) == ("0099", (0, 0, 0, 1, 0))


def test_a_csv_reader_joins_webmedqas_lines_at_a_quote(tmp_path: Path) -> None:
    text = write_webmedqa(tmp_path, [*FIRST, *SECOND]).joinpath("medQA.test.txt").read_text(encoding="utf-8")
    assert len(list(csv.reader(io.StringIO(text), delimiter="\t"))) < 10
    assert sum(len(one.candidates) for one in open_dataset("webmedqa", root=tmp_path, split="test")) == 10


def test_webmedqas_questions_are_told_by_their_id_and_not_by_where_their_lines_stand(tmp_path: Path) -> None:
    mixed = [row for pair in zip(FIRST, SECOND, strict=True) for row in pair]
    together = list(open_dataset("webmedqa", root=write_webmedqa(tmp_path, [*FIRST, *SECOND]), split="test"))
    assert list(open_dataset("webmedqa", root=write_webmedqa(tmp_path, mixed), split="test")) == together


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (["内科", "1", "外科", "?", "!"], "no id, which is a number"),
        (["0099", "1", "内科", "?", "!"], "its id is that of another question"),
        (["0099", "2", "内科", "发烧?", "!"], "'label' has a value that the card does not know"),
        (["0099", "1", "内科", "发烧?"], "4 cells, 5 were expected"),
        (["5", "1", "内科", "?", "!"], "1 candidate"),
    ],
)
def test_a_damaged_webmedqa_line_names_file_line_and_reason(tmp_path: Path, row: list[str], reason: str) -> None:
    root = write_webmedqa(tmp_path, [*FIRST, *SECOND, row])
    with pytest.raises(DatasetError, match=rf"medQA\.test\.txt, row \d+: .*{reason}") as caught:
        list(open_dataset("webmedqa", root=root, split="test"))
    assert "发烧" not in str(caught.value)
    collected = open_dataset("webmedqa", root=root, split="test", on_error="collect")
    assert "21166878" in [one.id for one in collected] and len(collected.errors) == 1


def test_webmedqas_pointer_to_its_train_file_is_not_taken_for_it(tmp_path: Path) -> None:
    write_webmedqa(tmp_path, [*FIRST, *SECOND], packed=True)
    (tmp_path / "train.zip").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(DatasetError, match=r"train\.zip"):
        open_dataset("webmedqa", root=tmp_path)


# CMD -------------------------------------------------------------------------------------------------------------------

HEADER = "department,title,ask,answer\n"
INSIDE = HEADER + "心血管科,能吃党参吗？,我有高血压,可以。\n消化科,胃反流,无,\n神经科,头痛,\"他说\"\"痛\"\"，\n两天\",休息, 喝水\n".replace("休息, 喝水", '"休息, 喝水"')  # fmt: skip
CMD_FILES = {"IM_内科/内科5000-33000.csv": INSIDE, "Surgical_外科/外科5-14000.csv": HEADER + ",㙓肿,怎么办?,开刀\n"}


def write_cmd(root: Path, encoding: str = "gb18030", files: dict[str, str] = CMD_FILES) -> Path:
    for name, text in files.items():
        place = root / "Data_数据" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(text.encode(encoding))
    (root / "Data_数据" / "IM_内科").mkdir(parents=True, exist_ok=True)
    (root / "Data_数据" / "IM_内科" / "内科.txt").write_text("not a table", encoding="utf-8")
    return root


@pytest.mark.evidence("cmd", "layout")
@pytest.mark.parametrize("packed", [False, True])
def test_cmd_reads_gb18030_from_a_folder_a_department(tmp_path: Path, packed: bool) -> None:
    root = write_cmd(tmp_path)
    if packed:
        with zipfile.ZipFile(tmp_path / "Chinese-medical-dialogue-data-master.zip", "w") as pack:
            for name, text in CMD_FILES.items():
                pack.writestr(f"Chinese-medical-dialogue-data-master/Data_数据/{name}", text.encode("gb18030"))
        root = tmp_path / "only"
        root.mkdir()
        (tmp_path / "Chinese-medical-dialogue-data-master.zip").rename(root / "data.zip")
    records = list(open_dataset("cmd", root=root))
    assert [(r.question, r.answers) for r in records] == [
        ("能吃党参吗？\n我有高血压", ("可以。",)), ("胃反流", ()), ('头痛\n他说"痛"，\n两天', ("休息, 喝水",)), ("㙓肿\n怎么办?", ("开刀",)),
    ]  # fmt: skip
    assert [r.labels["department"] for r in records] == ["心血管科", "消化科", "神经科", MISSING]
    assert records[0].id == "IM_内科/内科5000-33000/2" and len({r.id for r in records}) == 4
    assert {r.meta["bad_bytes"] for r in records} == {0}


def test_cmd_read_as_utf8_or_as_gbk_is_not_what_it_says(tmp_path: Path) -> None:
    raw = (write_cmd(tmp_path) / "Data_数据" / "Surgical_外科" / "外科5-14000.csv").read_bytes()
    for wrong in ("utf-8", "gbk"):  # GBK lacks the four-byte characters of GB18030
        with pytest.raises(UnicodeDecodeError):
            raw.decode(wrong)


def test_a_bad_byte_of_cmd_costs_a_character_and_is_counted(tmp_path: Path) -> None:
    root = write_cmd(tmp_path)
    place = root / "Data_数据" / "Surgical_外科" / "外科5-14000.csv"
    good = "外科,标题,问题,答案\n".encode("gb18030")
    place.write_bytes(HEADER.encode() + good + good.replace(b",", b"\xff,", 1) + good)
    first, second, third = list(open_dataset("cmd", root=root))[3:]
    assert (second.labels["department"], second.meta["bad_bytes"]) == ("外科\ufffd", 1)
    assert (first.question, second.question) == ("标题\n问题", "标题\n问题")
    assert (first.meta["bad_bytes"], third.meta["bad_bytes"]) == (0, 0)


@pytest.mark.parametrize(("row", "reason"), [("外科,a,b\n", "3 cells"), ("外科,,无,c\n", "neither a title nor a question")])  # fmt: skip
def test_a_damaged_cmd_row_names_file_and_place(tmp_path: Path, row: str, reason: str) -> None:
    root = write_cmd(tmp_path, files={"IM_内科/内科1.csv": f"{HEADER}外科,a,b,c\n{row}外科,d,e,f\n"})
    with pytest.raises(DatasetError, match=rf"内科1\.csv, (row|line) 3: .*{reason}"):
        list(open_dataset("cmd", root=root))
    collected = open_dataset("cmd", root=root, on_error="collect")
    assert ([r.answers[0] for r in collected], len(collected.errors)) == (["c", "f"], 1)


def mediqa_question(number: int, *answers: tuple[int, str]) -> str:
    """A question as MEDIQA_Task3_QA's files have it."""
    inside = "".join(
        f'<Answer AID="{number}_Answer{n}" SystemRank="{n}" ReferenceRank="1" ReferenceScore="{score}"><AnswerURL>https://example.org/{n}</AnswerURL>'
        f"<AnswerText>{text}</AnswerText></Answer>"
        for n, (score, text) in enumerate(answers, 1)
    )
    return f'<Question QID="{number}"><QuestionText>What is flu?</QuestionText><AnswerList>{inside}</AnswerList></Question>'


@pytest.mark.evidence("mediqa", "layout")
def test_mediqas_right_answers_are_those_judged_3_and_4(tmp_path: Path) -> None:
    folder = tmp_path / "MEDIQA_Task3_QA"
    folder.mkdir()
    text = mediqa_question(1, (1, "a"), (2, "b"), (3, "c"), (4, "d"))
    for name in ("TrainingSet1-LiveQAMed", "TrainingSet2-Alexa"):
        (folder / f"MEDIQA2019-Task3-QA-{name}.xml").write_text(
            f"<MEDIQA2019-Task3-QA-{name}>{text}</MEDIQA2019-Task3-QA-{name}>"
        )
    first, second = open_dataset("mediqa", tmp_path, "train")
    assert (first.id, second.id) == ("TrainingSet1-LiveQAMed/1", "TrainingSet2-Alexa/1")  # both files count from 1
    assert isinstance(first, Ranking) and first.candidates == ("a", "b", "c", "d") and first.relevance == (0, 0, 1, 2)
    assert first.meta["answers"][3] == {
        "AID": "1_Answer4", "SystemRank": "4", "ReferenceRank": "1", "ReferenceScore": "4", "url": "https://example.org/4",
    }  # fmt: skip
    bare = mediqa_question(1, (1, "a"), (2, "b")).replace(' ReferenceScore="2"', "")
    (folder / "MEDIQA2019-Task3-QA-TestSet-wLabels.xml").write_text(f"<x>{bare}</x>")
    with pytest.raises(DatasetError, match="row 1: cannot be read: no label, which no split withholds"):
        list(open_dataset("mediqa", tmp_path, "test"))


@pytest.mark.evidence("mediqa", "layout")
def test_mediqas_pairs_entail_or_do_not(tmp_path: Path) -> None:
    folder = tmp_path / "MEDIQA_Task2_RQE"
    folder.mkdir()
    pair = '<pair pid="1" type="originalQ-shortQ" value="true">\n<chq>\n How?\n</chq><faq>Why?</faq></pair><pair pid="2" value="maybe"><chq>a</chq><faq>b</faq></pair>'
    (folder / "MEDIQA2019-Task2-RQE-ValidationSet-AMIA2016.xml").write_text(f"<x>{pair}</x>")
    dataset = open_dataset("mediqa:rqe", tmp_path, "validation", on_error="collect")
    assert [(r.id, r.a, r.b, r.labels) for r in dataset if isinstance(r, Pair)] == [
        ("validation-1", "How?", "Why?", {"entailment": "true"})
    ]
    assert "row 2: cannot be read: 'entailment' has a value that the card" in str(dataset.errors[0])
