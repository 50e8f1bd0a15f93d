"""VCF as columns: the same lines, values and problems as line by line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from healthfm.errors import DatasetError
from healthfm.formats import vcf, vcf_columns
from healthfm.formats.source import Problems, Source

HEAD = '##fileformat=VCFv4.2\n##INFO=<ID=AF,Number=A,Type=Float,Description="x">\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO'
PLAIN = "1\t{}\trs1;rs2\tA\tC,<DEL>\t50.5\tPASS\tAF=0.1,0.2;DB\tGT:DP\t0|1:3\t2/.\n"
DOTS = "2\t8\t.\tAC\t.\t.\t.\t.\tGT\t0/0\t.|0\n"
LINES = [
    PLAIN.format(100), "2\t7\t.\tAC\tA\t.\t.\t.\tGT\t.\t1\n", "2\t8\t.\tAC\t.\t.\tq10;s50\t.\tGT\t0/0\t.|0\r\n", "\n", "X\tx\t.\tA\tC\t.\t.\t.\tGT\t0\t0\n",
    "X\t9\t.\tA1\tC\t.\t.\t.\tGT\t0\t0\n", "X\t10\t.\tA\tC\t.\t.\t.\tGT\t0\n", "X\t11\t.\tA\tC\tbad\t.\t.\tGT\t0\t0\n", "X\t12\t.\tA\tC\t1e2\t.\t.\tGT\t1|1|0\t0\n", PLAIN.format(200),
]  # fmt: skip


@pytest.mark.parametrize("block", [1 << 20, 150, 40])
@pytest.mark.parametrize("lines", [[PLAIN.format(n) for n in range(1, 9)], LINES, LINES[:3], [DOTS, DOTS]])
def test_columns_hold_what_rows_hold_and_name_the_same_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: list[str], block: int
) -> None:
    monkeypatch.setattr(vcf_columns, "BLOCK", block)
    path = tmp_path / "x.vcf"
    path.write_text(HEAD + "\tFORMAT\tS1\tS2\n" + "".join(lines), newline="")
    said, told = Problems("collect"), Problems("collect")
    rows = [row for _, row in vcf.rows(Source(path, None, said))]
    found = list(vcf_columns.columns(Source(path, None, told)))
    assert [str(one) for one in said.found] == [str(one) for one in told.found]
    frames = [one.frame.to_dicts() for one in found]
    assert [n for one in found for n in one.numbers] == [row.number for row in rows]
    for row, one in zip(rows, (each for frame in frames for each in frame), strict=True):
        assert {key: row[key] for key in ("contig", "position", "ref", "quality", "format")} == {
            key: one[key] for key in ("contig", "position", "ref", "quality", "format")
        }
        for key, mark in (("ids", ";"), ("alts", ","), ("filters", ";")):
            assert mark.join(row[key]) == (one[key] or "")
    called = [[[a for a in sample if a != -2] for sample in line] for one in found for line in one.genotypes.tolist()]
    assert called == [[[a for a in s if a != -2] for s in vcf.genotypes(row, 2).tolist()] for row in rows]


def test_sound_lines_are_never_judged_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vcf_columns, "_judged", lambda *_: pytest.fail("a sound block was taken apart line by line"))
    path = tmp_path / "x.vcf"
    path.write_text(HEAD + "\tFORMAT\tS1\tS2\n" + PLAIN.format(3) + DOTS)
    (found,) = vcf_columns.columns(Source(path))
    missing = {name: found.frame[name].to_list() for name in ("ids", "alts", "quality", "filters", "info")}
    assert missing == {
        "ids": ["rs1;rs2", None], "alts": ["C,<DEL>", None], "quality": [50.5, None], "filters": ["PASS", None], "info": ["AF=0.1,0.2;DB", "."],
    }  # fmt: skip


def test_an_allele_that_a_line_lacks_is_named_with_its_line_and_sites_have_no_genotypes(tmp_path: Path) -> None:
    path = tmp_path / "x.vcf"
    path.write_text(HEAD + "\tFORMAT\tS1\tS2\n" + PLAIN.format(5) + PLAIN.format(6).replace("2/.", "3/."))
    (found,) = vcf_columns.columns(Source(path))
    with pytest.raises(DatasetError, match="row 5: a genotype names allele 3, the line has 2"):
        _ = found.genotypes
    path.write_text(HEAD + "\n" + PLAIN.format(5).split("\tGT")[0] + "\n")
    (found,) = vcf_columns.columns(Source(path))
    assert found.frame["alts"].to_list() == ["C,<DEL>"] and "format" not in found.frame
    with pytest.raises(DatasetError, match="sites alone"):
        _ = found.genotypes
    path.write_text("1\t1\t.\tA\tC\t.\t.\t.\n")
    with pytest.raises(DatasetError, match="not VCF"):
        list(vcf_columns.columns(Source(path)))


def test_haploid_calls_alone_are_one_allele_a_sample(tmp_path: Path) -> None:
    path = tmp_path / "x.vcf"
    path.write_text(HEAD + "\tFORMAT\tS1\tS2\n" + "MT\t5\t.\tA\tC\t.\t.\t.\tGT\t0\t1\n")
    (found,) = vcf_columns.columns(Source(path))
    assert np.array_equal(found.genotypes, [[[0], [1]]])
