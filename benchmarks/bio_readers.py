"""Readers of biology's formats against the packages that people use for them: alternating, the same records, one thread.

Every case makes its file (mmCIF and WFDB: a folder of some, as sets of them are), reads it once with both and holds what they found against one another, then lets the two take turns. A turn is a pass
in a process of its own, so that its peak memory is its own; time is processor time without imports. Memory is flat where the peak of the large file
is that of one half its size (cases that stream). What the peers are: Biopython (FASTA, mmCIF), cyvcf2 (VCF into lists of columns), rdkit's older
functions (fingerprints as lists), MNE (EDF), anndata's backed mode (random minibatches), cmapPy (GCTX), wfdb-python.

    python benchmarks/bio_readers.py [--scale 1] [--rounds 5] [--cases fasta vcf ...] [--reference VENV/lib/python3.11/site-packages]

``--reference``: where MNE, anndata and cmapPy are installed, if not here; its path is put behind this environment's. ``--scale 0.05`` is a look.
"""

from __future__ import annotations

import os

os.environ["POLARS_MAX_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from memory import peak_mib

RESULT = Path(__file__).parent / "results" / "bio_readers.json"
TARGETS = {
    "fasta": 4,
    "vcf": 2.5,
    "sites": 5,
    "mmcif": 20,
    "morgan": 20,
    "edf": 2.5,
    "h5ad": 2,
    "h5ad blocks": 50,
    "gctx": 1,
    "wfdb": 1,
}
STREAMED = ("fasta", "vcf", "sites")
BATCH, BATCHES = 64, 50


def digest(*parts: Any) -> str:
    """Return a fingerprint of arrays and texts, so that two processes can be compared."""
    found = hashlib.sha256()
    for one in parts:
        found.update(np.ascontiguousarray(one).tobytes() if isinstance(one, np.ndarray) else repr(one).encode())
    return found.hexdigest()[:16]


# Files ----------------------------------------------------------------------------------------------------------------


def make_fasta(path: Path, scale: float) -> None:
    """Proteins, transcripts and a chromosome, 60 letters a line: 200 MB."""
    draw = np.random.default_rng(0)
    with path.open("wb") as out:
        for kind, count, length, letters in (
            ("sp|P", 150_000, 360, b"ACDEFGHIKLMNPQRSTVWY"),
            ("ENST", 35_000, 1800, b"ACGT"),
            ("chr", 2, 30_000_000, b"ACGTacgtN"),
        ):
            for n in range(max(1, round(count * (scale if kind != "chr" else 1)))):
                size = max(1, int(draw.gamma(2, length / 2) if kind != "chr" else length * scale))
                text = np.frombuffer(letters, np.uint8)[draw.integers(0, len(letters), size)]
                full = size // 60 * 60
                lines = np.full((full // 60, 61), 10, np.uint8)
                lines[:, :60] = text[:full].reshape(-1, 60)
                rest = text[full:].tobytes() + b"\n" if full < size else b""
                out.write(
                    b">%s%07d a description of it OS=Homo sapiens OX=9606\n" % (kind.encode(), n)
                    + lines.tobytes()
                    + rest
                )


def make_vcf(path: Path, lines: int, samples: int) -> None:
    """Single bases and short deletions of a chromosome, some with two alternatives; samples are diploid and phased."""
    draw = np.random.default_rng(0)
    head = '##fileformat=VCFv4.2\n##contig=<ID=1,length=249250621>\n##FILTER=<ID=PASS,Description="x">\n##FORMAT=<ID=GT,Number=1,Type=String,Description="x">\n'
    head += "".join(
        f'##INFO=<ID={name},Number={n},Type={kind},Description="x">\n'
        for name, n, kind in (
            ("AC", "A", "Integer"),
            ("AF", "A", "Float"),
            ("AN", "1", "Integer"),
            ("VT", ".", "String"),
        )
    )
    with path.open("w") as out:
        out.write(
            head
            + "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"
            + ("\tFORMAT\t" + "\t".join(f"S{n}" for n in range(samples)) if samples else "")
            + "\n"
        )
        position = 10_000 + np.cumsum(draw.integers(1, 200, lines))
        for n in range(lines):
            ref, alt = ("A", "C,G") if n % 20 == 0 else ("ACG", "A") if n % 11 == 0 else ("GT"[n % 2], "CA"[n % 2])
            share = draw.random() ** 3
            called = (
                "\tGT\t" + "\t".join(f"{a}|{b}" for a, b in (draw.random((samples, 2)) < share).astype(int))
                if samples
                else ""
            )
            out.write(
                f"1\t{position[n]}\t{'.' if n % 7 == 0 else f'rs{n}'}\t{ref}\t{alt}\t{'.' if n % 5 == 0 else 100}\tPASS\tAC={n};AF={share:.5f};AN={2 * samples};VT=SNP{called}\n"
            )


def make_entries(path: Path, count: int) -> None:
    """A folder of entries of 10,000 atoms, as sets of structures are."""
    path.mkdir()
    for n in range(count):
        make_mmcif(path / f"{n}.cif", 10_000)


def make_mmcif(path: Path, atoms: int) -> None:
    """A protein of one chain as the wwPDB writes it, 21 columns an atom."""
    names = ["group_PDB", "id", "type_symbol", "label_atom_id", "label_alt_id", "label_comp_id", "label_asym_id", "label_entity_id", "label_seq_id", "pdbx_PDB_ins_code", "Cartn_x", "Cartn_y", "Cartn_z", "occupancy", "B_iso_or_equiv", "pdbx_formal_charge", "auth_seq_id", "auth_comp_id", "auth_asym_id", "auth_atom_id", "pdbx_PDB_model_num"]  # fmt: skip
    draw = np.random.default_rng(0)
    with path.open("w") as out:
        out.write("data_X\n_entry.id X\nloop_\n" + "".join(f"_atom_site.{one}\n" for one in names))
        for n in range(atoms):
            x, y, z = draw.normal(0, 30, 3)
            name, residue, number, chain = (
                ("N", "CA", "C", "O", "CB")[n % 5],
                ("ALA", "SER", "LEU")[n // 5 % 3],
                n // 5 % 2000 + 1,
                "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[n // 10_000 % 26],
            )
            out.write(
                f"ATOM {n + 1} {name[0]} {name} . {residue} {chain} 1 {number} ? {x:.3f} {y:.3f} {z:.3f} 1.00 {50 + z / 10:.2f} ? {number} {residue} {chain} {name} 1\n"
            )
        out.write("#\n")


def make_molecules(path: Path, count: int) -> None:
    """Molecules put together from pieces, one SMILES a line."""
    draw = np.random.default_rng(0)
    pieces = [
        "c1ccccc1",
        "C(=O)N",
        "CCO",
        "N1CCNCC1",
        "c1ccncc1",
        "S(=O)(=O)",
        "C(F)(F)F",
        "CC(C)C",
        "c1ccc2[nH]ccc2c1",
        "OC(=O)",
    ]
    caps = ["C", "N", "O", "Cl", "F"]
    with path.open("w") as out:
        for _ in range(count):
            ring = draw.choice(["c1ccc({})cc1", "c1cc({})ccc1", "C1CCN({})CC1", "c1cnc({})nc1"])
            out.write(
                str(draw.choice(caps[:3]))
                + ring.format("C(=O)N" + str(draw.choice([p for p in pieces if "(=O)(=O)" not in p])))
                + "\n"
            )


def make_edf(path: Path, seconds: int) -> None:
    """32 channels of 512 samples a second in records of a second."""
    count, rate, draw = 32, 512, np.random.default_rng(0)

    def cells(values: list[object], width: int) -> bytes:
        return b"".join(f"{one:<{width}}".encode()[:width] for one in values)

    head = (
        cells([0], 8)
        + cells(["X", "X"], 80)
        + cells(["01.01.20", "10.00.00", 256 * (count + 1)], 8)
        + cells([""], 44)
        + cells([seconds, 1], 8)
        + cells([count], 4)
    )
    for values, width in (([f"EEG {n}" for n in range(count)], 16), ([""] * count, 80), (["uV"] * count, 8), ([-3276.8] * count, 8), ([3276.7] * count, 8),
                          ([-32768] * count, 8), ([32767] * count, 8), ([""] * count, 80), ([rate] * count, 8), ([""] * count, 32)):  # fmt: skip
        head += cells(list(values), width)
    with path.open("wb") as out:
        out.write(head)
        for _ in range(seconds):
            out.write(draw.integers(-3000, 3000, (count, rate)).astype("<i2").tobytes())


def make_h5ad(path: Path, count: int) -> None:
    """Cells by 20,000 genes, 5 of 100 values not zero, packed by gzip as published files are (anndata's on-disk format)."""
    import h5py
    import scipy.sparse

    genes = 20_000
    with h5py.File(path, "w") as file:
        file.attrs["encoding-type"], file.attrs["encoding-version"] = "anndata", "0.1.0"
        held = scipy.sparse.random(count, genes, 0.05, "csr", np.float32, random_state=0)
        group = file.create_group("X")
        group.attrs["encoding-type"], group.attrs["encoding-version"], group.attrs["shape"] = (
            "csr_matrix",
            "0.1.0",
            (count, genes),
        )
        for name, values in (("data", np.ceil(held.data * 9)), ("indices", held.indices), ("indptr", held.indptr)):
            group.create_dataset(name, data=values, compression="gzip")
        for place, size in (("obs", count), ("var", genes)):
            table = file.create_group(place)
            table.attrs.update(
                {
                    "encoding-type": "dataframe",
                    "encoding-version": "0.2.0",
                    "_index": "_index",
                    "column-order": np.array([], h5py.string_dtype()),
                }
            )
            column = table.create_dataset(
                "_index", data=[f"{place}{n}" for n in range(size)], dtype=h5py.string_dtype()
            )
            column.attrs["encoding-type"], column.attrs["encoding-version"] = "string-array", "0.2.0"
        for place in ("layers", "obsm", "obsp", "uns", "varm", "varp"):
            file.create_group(place).attrs.update({"encoding-type": "dict", "encoding-version": "0.1.0"})


def make_gctx(path: Path, signatures: int) -> None:
    """Signatures of 12,328 genes, as LINCS' level 5 is: a signature a stored row."""
    import h5py

    with h5py.File(path, "w") as file:
        file.attrs["version"] = "GCTX1.0"
        file.create_dataset(
            "0/DATA/0/matrix",
            data=np.random.default_rng(0).normal(0, 1, (signatures, 12_328)).astype(np.float32),
            chunks=(1, 12_328),
        )
        file["0/META/ROW/id"] = np.array([b"%d" % n for n in range(12_328)])
        file["0/META/COL/id"] = np.array([b"S%d" % n for n in range(signatures)])


def make_wfdb(path: Path, count: int) -> None:
    """A folder of recordings as PTB-XL's at 500 samples a second: 12 leads, ten seconds, format 16."""
    path.mkdir()
    leads, draw = ["I", "II", "III", "AVR", "AVL", "AVF", "V1", "V2", "V3", "V4", "V5", "V6"], np.random.default_rng(0)
    for n in range(count):
        held = draw.integers(-1000, 1000, (5000, 12)).astype("<i2")
        held.tofile(path / f"{n}.dat")
        lines = [
            f"{n} 12 500 5000",
            *(
                f"{n}.dat 16 1000.0(0)/mV 16 0 {held[0, k]} {held[:, k].sum() & 65535} 0 {lead}"
                for k, lead in enumerate(leads)
            ),
        ]
        (path / f"{n}.hea").write_text("\n".join(lines) + "\n")


# Passes: each returns a fingerprint of what it read -------------------------------------------------------------------


def fasta_ours(path: Path) -> Iterator[Any]:
    """Header and letters of every entry."""
    from healthfm.formats import fasta
    from healthfm.formats.source import Source

    yield
    count = size = 0
    for _, header, letters in fasta.pairs(Source(path)):
        count, size = count + len(header), size + len(letters)
    yield digest(count, size)


def fasta_theirs(path: Path) -> Iterator[Any]:
    """The same by ``Bio.SeqIO.parse``."""
    from Bio import SeqIO

    yield
    count = size = 0
    for one in SeqIO.parse(path, "fasta"):
        count, size = count + len(one.description), size + len(one.seq)
    yield digest(count, size)


def vcf_ours(path: Path) -> Iterator[Any]:
    """Columns of the fixed fields, and the alleles of all samples where there are samples."""
    from healthfm.formats.source import Source
    from healthfm.formats.vcf_columns import columns

    yield
    found: list[Any] = []
    for one in columns(Source(path)):
        frame = one.frame
        found += [
            len(frame),
            int(frame["position"].sum()),
            float(frame["quality"].sum()),
            int(frame["ids"].null_count()),
            int(frame["alts"].str.len_bytes().sum()),
        ]
        if one.header.samples:
            found.append(int((one.genotypes > 0).sum()))
    each = 6 if len(found) and one.header.samples else 5
    yield digest([sum(found[n::each]) for n in range(each)])


def vcf_theirs(path: Path) -> Iterator[Any]:
    """The same by cyvcf2, into lists."""
    import cyvcf2

    yield
    held, opened = [list[Any]() for _ in range(7)], cyvcf2.VCF(str(path))
    called, named = 0, bool(opened.samples)
    for one in opened:
        for column, value in zip(
            held, (one.CHROM, one.start, one.ID, one.REF, one.ALT, one.QUAL, one.FILTER), strict=True
        ):
            column.append(value)
        if named:
            called += int((one.genotype.array()[:, :2] > 0).sum())
    found = [
        len(held[0]),
        sum(held[1]),
        float(sum(q for q in held[5] if q is not None)),
        sum(i is None for i in held[2]),
        sum(len(",".join(a)) for a in held[4]),
    ]
    yield digest([*found, called] if named else found)


def mmcif_ours(path: Path) -> Iterator[Any]:
    """Atoms and the letters of the chains, of every entry of a folder."""
    import gemmi  # noqa: F401  # imports are not measured

    from healthfm.datasets.readers.structures import load
    from healthfm.formats.source import Source

    yield
    found: list[Any] = []
    for one in sorted(path.glob("*.cif")):
        atoms, _ = load(Source(one))
        found += [
            np.round(atoms.positions.sum(0, dtype=float), 1),
            len(atoms.names),
            len(set(zip(atoms.chains, atoms.residues, strict=True))),
        ]
    yield digest(*found)


def mmcif_theirs(path: Path) -> Iterator[Any]:
    """The same by ``Bio.PDB.MMCIFParser``."""
    from Bio.PDB.MMCIFParser import MMCIFParser

    yield
    found: list[Any] = []
    for one in sorted(path.glob("*.cif")):
        model = next(iter(MMCIFParser(QUIET=True).get_structure("x", str(one))))
        places = np.array([atom.coord for atom in model.get_atoms()])
        found += [np.round(places.sum(0, dtype=float), 1), len(places), sum(1 for _ in model.get_residues())]
    yield digest(*found)


def morgan_ours(path: Path) -> Iterator[Any]:
    """Fingerprints of parsed SMILES as one array."""
    from rdkit import Chem

    from healthfm.formats import molecules

    parsed = [Chem.MolFromSmiles(one) for one in path.read_text().split()]
    yield
    yield digest(molecules.morgan(parsed, len(parsed)))


def morgan_theirs(path: Path) -> Iterator[Any]:
    """The same by ``AllChem.GetMorganFingerprintAsBitVect`` and ``list``."""
    from rdkit import Chem, RDLogger
    from rdkit.Chem import AllChem

    RDLogger.DisableLog("rdApp.*")
    parsed = [Chem.MolFromSmiles(one) for one in path.read_text().split()]
    yield
    yield digest(
        np.array([list(AllChem.GetMorganFingerprintAsBitVect(one, 2, nBits=2048)) for one in parsed], np.uint8)
    )


def edf_ours(path: Path) -> Iterator[Any]:
    """All channels in their units."""
    from healthfm.formats import edf
    from healthfm.formats.source import Source

    yield
    found = edf.samples(Source(path))
    yield digest(found.shape, np.round(found[:, ::997].astype(float), 2).sum(1).round(1))


def edf_theirs(path: Path) -> Iterator[Any]:
    """The same by MNE, which gives volts."""
    import mne

    yield
    found = mne.io.read_raw_edf(path, preload=True, verbose="ERROR").get_data()
    yield digest(found.shape, np.round(found[:, ::997] * 1e6, 2).sum(1).round(1))


def _batches(count: int) -> list[np.ndarray]:
    draw = np.random.default_rng(1)
    return [np.sort(draw.choice(count, BATCH, replace=False)) for _ in range(BATCHES)]


def h5ad_ours(path: Path) -> Iterator[Any]:
    """Minibatches of cells drawn one by one."""
    from healthfm.formats import cells
    from healthfm.formats.source import Source

    matrix = cells.h5ad(Source(path))
    assert matrix.scattered is not None
    yield
    yield digest([float(matrix.scattered(one).sum()) for one in _batches(matrix.cells)])


def h5ad_theirs(path: Path) -> Iterator[Any]:
    """The same from anndata's backed mode."""
    import anndata

    held = anndata.read_h5ad(path, backed="r")
    yield
    yield digest([float(held.X[one].toarray().sum()) for one in _batches(held.n_obs)])


def blocks_ours(path: Path) -> Iterator[Any]:
    """As many minibatches that are blocks of neighbours, in drawn order."""
    from healthfm.formats import cells
    from healthfm.formats.source import Source

    matrix = cells.h5ad(Source(path))
    order = np.random.default_rng(1).permutation(matrix.cells // BATCH)
    yield
    sums = [matrix.rows(n * BATCH, (n + 1) * BATCH).shape for n in np.resize(order, BATCHES).tolist()]
    yield digest(len(sums))


def blocks_theirs(path: Path) -> Iterator[Any]:
    """anndata's minibatches drawn one by one, which the blocks take the place of."""
    import anndata

    held = anndata.read_h5ad(path, backed="r")
    yield
    yield digest(len([held.X[one].toarray().shape for one in _batches(held.n_obs)]))


def _signatures(count: int) -> list[int]:
    return np.sort(np.random.default_rng(1).choice(count, min(500, count // 2), replace=False)).tolist()


def gctx_ours(path: Path) -> Iterator[Any]:
    """Some hundred signatures of a matrix."""
    from healthfm.formats import gct
    from healthfm.formats.source import Source

    yield
    matrix = gct.gctx(Source(path))
    yield digest(np.stack([matrix.column(n) for n in _signatures(len(matrix.samples))]))


def gctx_theirs(path: Path) -> Iterator[Any]:
    """The same by ``cmapPy.pandasGEXpress.parse``."""
    import h5py
    from cmapPy.pandasGEXpress import parse_gctx

    with h5py.File(path) as file:
        count = len(file["0/META/COL/id"])
    yield
    found = parse_gctx.parse(str(path), cidx=_signatures(count)).data_df
    yield digest(found.to_numpy().T.astype(np.float32))


def wfdb_ours(path: Path) -> Iterator[Any]:
    """Header and samples of every recording of a folder."""
    from healthfm.formats import wfdb_record
    from healthfm.formats.source import Source

    yield
    yield digest(
        [
            (one.stem, float(wfdb_record.samples(Source(one)).sum(dtype=float).round(1)))
            for one in sorted(path.glob("*.hea"))
        ]
    )


def wfdb_theirs(path: Path) -> Iterator[Any]:
    """The same by ``wfdb.rdrecord``."""
    import wfdb

    yield
    yield digest(
        [
            (one.stem, float(wfdb.rdrecord(str(one.with_suffix(""))).p_signal.sum().round(1)))
            for one in sorted(path.glob("*.hea"))
        ]
    )


Pass = Callable[[Path], Iterator[Any]]
CASES: dict[str, tuple[Callable[[Path, float], None], Pass, Pass]] = {
    "fasta": (make_fasta, fasta_ours, fasta_theirs),
    "vcf": (lambda path, scale: make_vcf(path, round(200_000 * scale), 100), vcf_ours, vcf_theirs),
    "sites": (lambda path, scale: make_vcf(path, round(2_000_000 * scale), 0), vcf_ours, vcf_theirs),
    "mmcif": (lambda path, scale: make_entries(path, max(1, round(20 * scale))), mmcif_ours, mmcif_theirs),
    "morgan": (lambda path, scale: make_molecules(path, round(20_000 * scale)), morgan_ours, morgan_theirs),
    "edf": (lambda path, scale: make_edf(path, round(3_600 * scale)), edf_ours, edf_theirs),
    "h5ad": (lambda path, scale: make_h5ad(path, round(40_000 * scale)), h5ad_ours, h5ad_theirs),
    "h5ad blocks": (lambda path, scale: make_h5ad(path, round(40_000 * scale)), blocks_ours, blocks_theirs),
    "gctx": (lambda path, scale: make_gctx(path, round(10_000 * scale)), gctx_ours, gctx_theirs),
    "wfdb": (lambda path, scale: make_wfdb(path, round(500 * scale)), wfdb_ours, wfdb_theirs),
}  # fmt: skip
ENDS = {
    "fasta": "x.fasta",
    "vcf": "x.vcf",
    "sites": "x.vcf",
    "mmcif": "entries",
    "morgan": "x.smi",
    "edf": "x.edf",
    "gctx": "x.gctx",
    "wfdb": "records",
}


def one_pass(case: str, way: str, path: Path) -> None:
    """Run a pass in this process and print what it took."""
    warnings.simplefilter("ignore")
    steps = CASES[case][1 if way == "ours" else 2](path)
    next(steps)
    before, start = peak_mib(), time.process_time()
    found = next(steps)
    print(
        json.dumps(
            {"found": found, "seconds": time.process_time() - start, "peak_mib": peak_mib(), "before_mib": before}
        )
    )


def timed(case: str, way: str, path: Path, reference: Path | None) -> dict[str, Any]:
    """Run a pass in a process of its own."""
    more = ["--reference", str(reference)] if reference else []
    done = subprocess.run(
        [sys.executable, __file__, "--one", case, way, str(path), *more], check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def raced(case: str, scale: float, rounds: int, reference: Path | None) -> dict[str, Any]:
    """Make a case's file, let the two take turns, hold what they found against one another."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ENDS.get(case, "x.h5ad")
        CASES[case][0](path, scale)
        best: dict[str, dict[str, Any]] = {}
        for turn in range(rounds):
            for way in ("ours", "theirs") if turn % 2 == 0 else ("theirs", "ours"):
                found = timed(case, way, path, reference)
                if best.setdefault(way, found)["seconds"] > found["seconds"]:
                    best[way] = found
        if best["ours"]["found"] != best["theirs"]["found"]:
            raise SystemExit(f"{case}: the two did not find the same")
        result = {
            "megabytes": round(sum(one.stat().st_size for one in ([path] if path.is_file() else path.iterdir())) / 1e6, 1), "target": TARGETS[case],
            "ratio": round(best["theirs"]["seconds"] / best["ours"]["seconds"], 2), **{way: {k: round(v, 4) for k, v in one.items() if k != "found"} for way, one in best.items()},
        }  # fmt: skip
    if case in STREAMED:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / ENDS[case]
            CASES[case][0](path, scale / 2)
            result["peak_mib_at_half"] = round(timed(case, "ours", path, reference)["peak_mib"], 1)
    return result


def main() -> None:
    """Run the cases and store the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--reference", type=Path)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.reference:
        sys.path.append(str(arguments.reference))
    if arguments.one:
        one_pass(arguments.one[0], arguments.one[1], Path(arguments.one[2]))
        return
    result: dict[str, Any] = {
        "target ratios": TARGETS,
        "scale": arguments.scale,
        "rounds": arguments.rounds,
        "cases": {},
    }
    for case in arguments.cases:
        found = result["cases"][case] = raced(case, arguments.scale, arguments.rounds, arguments.reference)
        print(f"{case:12} {found['ratio']:7.2f} x (wanted {found['target']})  ours {found['ours']['seconds']:.3f} s  theirs {found['theirs']['seconds']:.3f} s  "
              f"peak {found['ours']['peak_mib']:,.0f} MiB against {found['theirs']['peak_mib']:,.0f}", flush=True)  # fmt: skip
    output = arguments.output or (RESULT if arguments.scale == 1 and len(arguments.cases) == len(CASES) else None)
    if output:
        output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
