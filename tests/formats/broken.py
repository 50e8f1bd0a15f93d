"""Small good files of every format, the ways in which files are spoilt, and what reads each: for the tests that break them."""

from __future__ import annotations

import bz2
import gzip
import io
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st
from PIL import Image

from healthfm.errors import DatasetError
from healthfm.formats import (
    archive,
    batches,
    bigwig,
    bioc,
    cells,
    conll,
    delimited,
    edf,
    fasta,
    flatfile,
    gct,
    image,
    intervals,
    jsonl,
    loom,
    molecules,
    nifti,
    pickled,
    pubtator,
    run_lengths,
    spreadsheet,
    structure,
    table,
    tf_variables,
    tiff_picture,
    twobit,
    vcf,
    vcf_columns,
    video,
    volume,
    xml,
)
from healthfm.formats.dicom import file as dicom_file
from healthfm.formats.dicom import index as dicom_index
from healthfm.formats.dicom import picture as dicom_picture
from healthfm.formats.dicom import pixel_shape
from healthfm.formats.dicom import series as dicom_series
from healthfm.formats.gguf import GGUF
from healthfm.formats.npz import Arrays
from healthfm.formats.slide import files as slide_files
from healthfm.formats.slide import tile_files
from healthfm.formats.slide.pyramid import SlideFile
from healthfm.formats.source import DAMAGE, Problems, Source, lines
from healthfm.formats.tf_checkpoint import TensorBundle
from tests.formats.genomes import big_wig, indexed_vcf, two_bit
from tests.real_files import DATA, PYDICOM

PICTURE = np.random.default_rng(0).integers(0, 255, (24, 20, 3), dtype=np.uint8)
ROWS = [{"id": str(n), "text": f"Fieber – „hoch“ {n}", "n": n} for n in range(6)]
JSON = '{"a": {"text": "x", "n": [1, 2]}, "b": {"text": "y – z", "n": null}}'
PUBTATOR = "1|t|A drug for flu.\n1|a|It is aspirin.\n1\t11\t14\tflu\tDisease\tD001\n1\tCID\tD002\tD001\n\n2|t|B\n2|a|C d\n2\t2\t3\tC\tChemical\t-\n"
CONLL = "-DOCSTART- (7) O\n\nAspirin\tB-Chemical\nhelps\tO\n\nGrippe B-Disease\nx O\n"
XML = '<?xml version="1.0"?><set><doc id="1"><q>Was – wann?</q><a>x &amp; y</a></doc><doc id="2"><q>z</q></doc></set>'
FASTA = ">sp|P1|A_B x\nMKV\nLL\n>sp|P2|C_D\nACDEF\n"
GTF = 'chr1\tHAVANA\tgene\t11\t20\t.\t+\t.\tgene_id "G1"; tag "a; b";\nchr2\tH\texon\t1\t9\t.\t-\t0\tgene_id "G2";\n'
BED = "chr1\t0\t9\tp1\t1000\t.\t31.5\t-1\t4.2\t7\nchr2\t5\t6\tp2\t3\t+\t1\t2\t3\t0\n"
VCF = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tS1\tS2\n1\t10\trs1\tA\tC,<CN0>\t5\tPASS\tAF=0.1;DB\tGT:DP\t0|1:3\t./2:1\n"
GCT = "#1.3\n2\t2\t1\t1\nid\tname\tS1\tS2\ndose\tna\t1\t-666\ng1\tA\t1.5\t2\ng2\tB\tNA\t3e4\n"
SDF = "962\n x\n\n  1  0  0     0  0  0  0  0  0999 V2000\n    0.0000    0.0000    0.0000 O   0  0\nM  END\n> <ID>\n7\n\n$$$$\n"
CIF = (
    "data_X\n_entry.id X\nloop_\n_atom_site.group_PDB\n_atom_site.id\n_atom_site.type_symbol\n_atom_site.label_atom_id\n_atom_site.label_alt_id\n"
    "_atom_site.label_comp_id\n_atom_site.label_asym_id\n_atom_site.label_entity_id\n_atom_site.label_seq_id\n_atom_site.Cartn_x\n_atom_site.Cartn_y\n"
    "_atom_site.Cartn_z\n_atom_site.occupancy\n_atom_site.B_iso_or_equiv\n_atom_site.auth_seq_id\n_atom_site.auth_asym_id\n"
    "ATOM 1 C CA . ALA A 1 1 1.0 2.0 3.0 1.0 90.5 1 A\nATOM 2 C CA . GLY A 1 2 2.0 2.0 3.0 1.0 80.5 2 A\n"
)
SWISS = (
    "ID   A_B                     Reviewed;           6 AA.\nAC   P1;\nDE   RecName: Full=X;\nFT   SIGNAL          1..3\n"
    "SQ   SEQUENCE   6 AA;  700 MW;  0000000000000000 CRC64;\n     MKVLLA\n//\n"
)
BIOC = (
    '<?xml version="1.0"?><collection><source>s</source><date>d</date><key>k</key><document><id>1</id><passage><offset>0</offset><text>A drug.</text>'
    '<annotation id="a"><infon key="type">Chemical</infon><location offset="2" length="4"/><text>drug</text></annotation></passage></document></collection>'
)


@dataclass(frozen=True)
class Format:
    """A module of formats, the name that such a file has, a good file's bytes, and what reads all of one."""

    module: str
    name: str
    good: Callable[[], bytes]
    read: Callable[[Path], Any]
    examples: int = 15


def collected(rows: Callable[[Source], Any]) -> Callable[[Path], Any]:
    """Read with every problem collected: what is not read must be told."""

    def read(path: Path) -> tuple[list[Any], list[Any]]:
        problems = Problems("collect")
        return list(rows(Source(path, problems=problems))), problems.found

    return read


def csv(delimiter: str) -> bytes:
    return "".join(
        delimiter.join(map(str, one)) + "\n" for one in [("id", "text", "n"), *(one.values() for one in ROWS)]
    ).encode()


def parquet() -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS), out)
    return out.getvalue()


def npz() -> bytes:
    out = io.BytesIO()
    np.savez(out, x=PICTURE, y=np.arange(5.0))
    return out.getvalue()


def picture(kind: str, array: Any = PICTURE, **how: Any) -> Callable[[], bytes]:
    def made() -> bytes:
        out = io.BytesIO()
        Image.fromarray(array).save(out, kind, **how)
        return out.getvalue()

    return made


def volume_file(name: str) -> Callable[[], bytes]:
    def made() -> bytes:
        import tempfile

        import SimpleITK as sitk  # noqa: N813

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            if ".nii" in name:
                nib.save(nib.Nifti1Image(PICTURE[..., 0].astype(np.int16).reshape(4, 6, 20), np.eye(4)), path)
            else:
                sitk.WriteImage(sitk.GetImageFromArray(PICTURE[..., 0].reshape(4, 6, 20)), str(path))
            return path.read_bytes()

    return made


def film() -> bytes:
    import av

    out = io.BytesIO()
    with av.open(out, "w", format="matroska") as container:
        stream = container.add_stream("ffv1", rate=5)
        stream.width, stream.height, stream.pix_fmt = 20, 24, "bgr0"
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(PICTURE, "rgb24")))
        container.mux(stream.encode())
    return out.getvalue()


def weights() -> bytes:
    import tempfile

    import gguf

    with tempfile.TemporaryDirectory() as folder:
        writer = gguf.GGUFWriter(Path(folder) / "m.gguf", "llama")
        writer.add_name("small")
        writer.add_tensor("x.weight", np.ones((4, 32), np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return (Path(folder) / "m.gguf").read_bytes()


def pyramid() -> bytes:
    import tifffile

    out = io.BytesIO()
    big = np.tile(PICTURE, (12, 14, 1))[:256, :256]
    with tifffile.TiffWriter(out) as tiff:
        tiff.write(big, tile=(64, 64), photometric="rgb", resolution=(20000, 20000), resolutionunit="CENTIMETER")
        tiff.write(big[::2, ::2], tile=(64, 64), photometric="rgb", subfiletype=1)
    return out.getvalue()


def features() -> bytes:
    import h5py

    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        file["features"], file["coords"] = np.ones((3, 4), np.float32), np.arange(6).reshape(3, 2)
        file["coords"].attrs.update({"patch_size": 64, "patch_level": 0})
    return out.getvalue()


def zipped() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("a/b.txt", "eins\nzwei\n" * 20)
        packed.writestr("c.jsonl.gz", gzip.compress(b'{"a": 1}\n'))
    return out.getvalue()


def tarred(mode: str) -> Callable[[], bytes]:
    def made() -> bytes:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode=mode) as tar:
            entry = tarfile.TarInfo("a/b.txt")
            entry.size = 200
            tar.addfile(entry, io.BytesIO(b"eins\nzwei\n" * 20))
        return out.getvalue()

    return made


def zst(data: bytes) -> bytes:
    out = pa.BufferOutputStream()
    with pa.CompressedOutputStream(out, "zstd") as packed:
        packed.write(data)
    return out.getvalue().to_pybytes()


def read_members(path: Path) -> Any:
    found = []
    for name in archive.members(path):
        try:
            with Source(path, name).open() as handle:
                found.append(handle.read())
        except DAMAGE as error:  # as every reader of members does
            raise DatasetError(f"{path}!{name}: {type(error).__name__}") from None
    return found


def read_pubtator(source: Source) -> Any:
    for row in pubtator.documents(source):
        with row:
            yield pubtator.marked(row)


def read_conll(source: Source) -> Any:
    for row in conll.sentences(source):
        with row:
            yield conll.spans(row["tokens"], row["tags"])


def read_xml(source: Source) -> Any:
    for row, element in xml.elements(source, "doc"):
        with row:
            yield xml.attribute(element, ".", "id"), xml.text(element, "q")


def read_slide(path: Path) -> Any:
    slide_files.is_slide_tiff(path)
    with SlideFile(path) as slide:
        return [slide.read(level, 0, 0, 32, 32) for level, _ in enumerate(slide.levels)], slide.size, slide.mpp


def read_dicom(path: Path) -> Any:
    source = Source(path)
    dicom_file.is_dicom(path)
    return dicom_picture.picture(source), dicom_index.read(path), pixel_shape.aspect(source), dicom_series.affine(path)


def read_video(path: Path) -> Any:
    source = Source(path)
    return list(video.frames(source)), video.track(source), video.aspect(source)


def of_data(path: str) -> Callable[[], bytes]:
    return lambda: (DATA / path).read_bytes()


def read_bundle(path: Path) -> Any:
    shard = path.with_suffix(".data-00000-of-00001")
    shard.write_bytes((DATA / "tf1_bert" / "model.ckpt-10.data-00000-of-00001").read_bytes())
    bundle = TensorBundle(path)
    return {name: bundle[name] for name in bundle}


def dicom(name: str) -> Callable[[], bytes]:
    return lambda: (PYDICOM / name).read_bytes()


def all_lines(path: Path) -> Any:
    return list(lines(Source(path)))


def sheet() -> bytes:
    import openpyxl

    out = io.BytesIO()
    book = openpyxl.Workbook()
    for row in (["id", "text"], [1, "ä"], [2.5, None]):
        book.active.append(row)
    book.save(out)
    return out.getvalue()


def annotated(packed: bool = False) -> bytes:
    """An h5ad file: a dense matrix, or (``packed``) a compressed one whose chunks are packed by deflate."""
    import h5py

    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        if packed:
            group = file.create_group("X")
            group.attrs["encoding-type"], group.attrs["shape"] = "csr_matrix", (2, 3)
            group["indptr"] = np.array([0, 2, 5], np.int64)
            for name, held in (("data", np.ones(5, np.float32)), ("indices", np.array([0, 2, 0, 1, 2], np.int32))):
                group.create_dataset(name, data=held, chunks=(2,), compression="gzip", shuffle=True)
        else:
            file["X"] = np.ones((2, 3), np.float32)
        for place, names in (("obs", [b"c1", b"c2"]), ("var", [b"a", b"b", b"c"])):
            file.create_group(place).attrs["_index"] = "_index"
            file[place]["_index"] = np.array(names)
    return out.getvalue()


def loomed() -> bytes:
    import h5py

    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        file["matrix"], file["layers/counts"] = np.ones((3, 2), np.float32), np.ones((3, 2), np.int32)
        file["row_attrs/Gene"], file["col_attrs/CellID"] = [b"a", b"b", b"c"], ["c1", "c2"]
    return out.getvalue()


def read_loom(path: Path) -> Any:
    held = loom.matrix(Source(path))
    return (
        held.rows(0, 2),
        [one(0, 2) for one in held.layers.values()],
        [*map(held.obs, held.obs_names)],
        [*map(held.var, held.var_names)],
    )


def read_region(path: Path, other: bytes, beside: Path) -> Any:
    beside.write_bytes(other)
    return collected(lambda s: vcf.region(s, "chr1", 20_000, 900_000))(path if path.suffix == ".gz" else beside)


def read_2bit(path: Path) -> Any:
    held = twobit.Indexed(Source(path))
    return [held.letters(name, 0, 30) for name in held.lengths]


def read_big_wig(path: Path) -> Any:
    held = bigwig.Track(Source(path))
    return [held.runs(name, 0, 1000) for name in held.lengths]


def read_h5ad(path: Path) -> Any:
    held = cells.h5ad(Source(path))
    return (
        held.rows(0, held.cells),
        [held.obs(name) for name in held.obs_names],
        [held.var(name) for name in held.var_names],
    )


def read_gct(path: Path) -> Any:
    held = gct.gct(Source(path))
    return [held.column(j) for j in range(len(held.samples))]


def read_vcf(source: Source) -> Any:
    for header, row in vcf.rows(source):
        with row:
            yield vcf.genotypes(row, len(header.samples))


def recording() -> bytes:
    """A channel of four samples a record, two records (EDF; Kemp 1992)."""
    cells = [
        ("0", 8),
        ("X", 160),
        ("01.01.20", 8),
        ("10.00.00", 8),
        ("512", 8),
        ("", 44),
        ("2", 8),
        ("0.5", 8),
        ("1", 4),
    ]
    cells += [
        ("EEG", 16),
        ("", 80),
        ("uV", 8),
        ("-100", 8),
        ("100", 8),
        ("-2000", 8),
        ("2000", 8),
        ("", 80),
        ("4", 8),
        ("", 32),
    ]
    return "".join(text.ljust(width) for text, width in cells).encode() + np.arange(8, dtype="<i2").tobytes()


def read_structure(path: Path) -> Any:
    found = structure.parse(Source(path))
    return structure.atoms(found), structure.sequences(found), structure.facts(found)


def read_runs(path: Path) -> Any:
    for row in delimited.rows(Source(path, problems=Problems("collect")), ","):
        with row:
            run_lengths.mask(row["pixels"], 4, 5)


FORMATS = [
    Format("jsonl", "a.jsonl", lambda: "".join(f'{{"id": {n}, "text": "ä{n}"}}\n' for n in range(6)).encode(), collected(jsonl.rows)),
    Format("jsonl", "a.json", JSON.encode, collected(jsonl.objects)),
    Format("delimited", "a.csv", lambda: csv(","), collected(lambda s: delimited.rows(s, ","))),
    Format("delimited", "b.csv", lambda: csv(",").decode().encode("gb18030"), collected(lambda s: delimited.rows(s, ",", encoding="gb18030"))),
    Format("table", "a.tsv", lambda: csv("\t"), collected(table.rows)),
    Format("table", "a.parquet", parquet, collected(table.rows)),
    Format("pubtator", "a.txt", PUBTATOR.encode, collected(read_pubtator)),
    Format("conll", "a.conll", CONLL.encode, collected(read_conll)),
    Format("xml", "a.xml", XML.encode, collected(read_xml)),
    Format("source", "a.txt.gz", lambda: gzip.compress(CONLL.encode() * 30), all_lines),
    Format("source", "a.txt.zst", lambda: zst(CONLL.encode() * 30), all_lines),
    Format("source", "a.txt.bz2", lambda: bz2.compress(CONLL.encode() * 30), all_lines),
    Format("archive", "a.zip", zipped, read_members),
    Format("archive", "a.tar", tarred("w"), read_members),
    Format("archive", "a.tar.gz", tarred("w:gz"), read_members),
    Format("npz", "a.npz", npz, lambda p: dict(Arrays(Source(p)))),
    Format("image", "a.png", picture("PNG"), lambda p: image.pixels(Source(p))),
    Format("image", "a.jpg", picture("JPEG"), lambda p: image.pixels(Source(p))),
    Format("image", "a.bmp", picture("BMP"), lambda p: image.pixels(Source(p))),
    Format("tiff_picture", "a.tif", picture("TIFF", compression="tiff_lzw"), lambda p: (image.pixels(Source(p)), tiff_picture.page(p.open("rb")))),
    Format("nifti", "a.nii", volume_file("a.nii"), lambda p: (nifti.voxels(Source(p)), nifti.affine(Source(p)))),
    Format("nifti", "a.nii.gz", volume_file("a.nii.gz"), lambda p: (nifti.voxels(Source(p)), nifti.affine(Source(p)))),
    Format("volume", "a.mha", volume_file("a.mha"), lambda p: (volume.voxels(Source(p)), volume.affine(Source(p)))),
    Format("volume", "a.nrrd", volume_file("a.nrrd"), lambda p: (volume.voxels(Source(p)), volume.affine(Source(p)))),
    Format("video", "a.mkv", film, read_video, 8),
    Format("gguf", "m.gguf", weights, lambda p: dict(GGUF(p))),
    Format("tf_checkpoint", "model.ckpt-10.index", of_data("tf1_bert/model.ckpt-10.index"), read_bundle),
    Format("tf_variables", "w.npz", npz, lambda p: tf_variables.npz(p)),
    Format("dicom", "CT_small.dcm", dicom("CT_small.dcm"), read_dicom),
    Format("dicom", "MR_small_RLE.dcm", dicom("MR_small_RLE.dcm"), read_dicom),
    Format("slide", "a.tif", pyramid, read_slide, 8),
    Format("bioc", "a.xml", BIOC.encode, collected(bioc.documents)),
    Format("batches", "a.csv.gz", lambda: gzip.compress(csv(",")), lambda p: list(batches.batches(Source(p)))),
    Format("cells", "a.h5ad", annotated, read_h5ad),
    Format("stretches", "a.h5ad", lambda: annotated(packed=True), read_h5ad),
    Format("loom", "a.loom", loomed, read_loom),
    Format("tabix", "a.vcf.gz.tbi", lambda: indexed_vcf()[1], lambda p: read_region(p, indexed_vcf()[0], p.with_suffix(""))),
    Format("tabix", "a.vcf.gz", lambda: indexed_vcf()[0], lambda p: read_region(p, indexed_vcf()[1], p.with_name(p.name + ".tbi"))),
    Format("twobit", "a.2bit", two_bit, read_2bit),
    Format("bigwig", "a.bw", big_wig, read_big_wig),
    Format("fasta", "a.fa.gz", lambda: gzip.compress(FASTA.encode() * 9), collected(fasta.entries)),
    Format("flatfile", "a.dat", SWISS.encode, collected(lambda s: flatfile.entries(s, "swiss"))),
    Format("gct", "a.gct", GCT.encode, read_gct),
    Format("intervals", "a.gtf", GTF.encode, collected(intervals.gtf)),
    Format("intervals", "a.bed", BED.encode, collected(lambda s: intervals.bed(s, intervals.NARROW_PEAK))),
    Format("molecules", "a.sdf", SDF.encode, collected(molecules.sdf)),
    Format("pickled", "a.pkl", lambda: pickle.dumps([{"a": (1, "ä"), "b": {2.5}}]), lambda p: pickled.load(Source(p))),
    Format("run_lengths", "a.csv", lambda: b"img,pixels\n1,1 3 10 2\n2,\n", read_runs),
    Format("spreadsheet", "a.xlsx", sheet, collected(spreadsheet.rows)),
    Format("structure", "a.cif", CIF.encode, read_structure),
    Format("vcf", "a.vcf.gz", lambda: gzip.compress(VCF.encode()), collected(read_vcf)),
    Format("vcf_columns", "b.vcf", VCF.encode, collected(lambda s: (one.genotypes for one in vcf_columns.columns(s)))),
    Format("edf", "a.edf", recording, lambda p: (edf.header(Source(p)), edf.samples(Source(p)))),
    Format("slide", "a.h5", features, lambda p: tile_files.read_features(p)),
]  # fmt: skip


@cache
def good(number: int) -> bytes:
    """The bytes of the good file of a format, made once."""
    return FORMATS[number].good()


SPOIL = st.lists(
    st.tuples(st.sampled_from(("flip", "flip", "cut", "drop", "huge", "again", "zeros", "latin")), st.floats(0, 1), st.integers(1, 255)),
    min_size=1, max_size=4,
)  # fmt: skip


def spoilt(data: bytes, changes: list[tuple[str, float, int]]) -> bytes:
    """Bytes flipped, cut off, left out, written twice, or replaced by absurd numbers, zeros, or characters of another encoding."""
    for what, where, value in changes:
        at = int(where * max(0, len(data) - 1))
        if what == "cut":
            data = data[:at]
        elif what == "drop":
            data = data[:at] + data[at + value :]
        elif what == "again":
            data = data[:at] + data[at : at + value] * 2 + data[at + value :]
        else:
            new = {
                "flip": bytes([(data[at] if data else 0) ^ value]),
                "huge": b"\xff" * 8,
                "zeros": b"\0" * 9,
                "latin": "é".encode("latin-1"),
            }[what]
            data = data[:at] + new + data[at + len(new) :]
    return data
