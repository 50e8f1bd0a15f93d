"""Small files of genomes, written by their owners' descriptions: UCSC's 2bit and bigWig, in either order of bytes, and samtools' tabix index."""

from __future__ import annotations

import functools
import gzip
import io
import re
import struct
import zlib
from collections import defaultdict
from collections.abc import Mapping

GENOME = {"chr1": "NNNNacgtACGTNNnnACGTTTT", "chr2": "acgtA"}


def two_bit(order: str = "<", version: int = 0, genome: Mapping[str, str] = GENOME) -> bytes:
    """A genome as 2bit."""
    offset = "Q" if version else "I"
    begin = 16 + sum(1 + len(name) + struct.calcsize(offset) for name in genome)
    index, held = b"", b""
    for name, letters in genome.items():
        index += struct.pack(f"{order}B{len(name)}s", len(name), name.encode()) + struct.pack(
            order + offset, begin + len(held)
        )
        held += struct.pack(order + "I", len(letters))
        for kind in ("[nN]+", "[a-z]+"):
            found = [match.span() for match in re.finditer(kind, letters)]
            numbers = [len(found), *(i for i, _ in found), *(j - i for i, j in found)]
            held += struct.pack(f"{order}{len(numbers)}I", *numbers)
        held += struct.pack(order + "I", 0)
        codes = ["TCAG".find(one) % 4 for one in letters.upper()] + [0] * (-len(letters) % 4)
        held += bytes(a << 6 | b << 4 | c << 2 | d for a, b, c, d in zip(*[iter(codes)] * 4, strict=True))
    return struct.pack(order + "4I", 0x1A412743, version, len(genome), 0) + index + held


def big_wig(order: str = "<", packed: bool = True) -> bytes:
    """A track of two contigs, 1,000 and 500 bases, with a block of each kind on the first; both trees have a node above their leaves."""
    sections = [  # contig, kind, step, span, items
        (0, 1, 0, 0, [(0, 5, 1.5), (10, 20, 2.5), (30, 40, -1.0)]),
        (0, 3, 2, 1, [(7.0,), (8.0,), (9.0,)]),  # from 100
        (0, 2, 0, 4, [(200, 3.0), (210, 4.0)]),
        (1, 1, 0, 0, [(0, 500, 6.0)]),
    ]
    reach = [(0, 40), (100, 105), (200, 214), (0, 500)]
    names = struct.pack(order + "4I2Q", 0x78CA8C91, 1, 4, 8, 2, 0)
    at = 64 + len(names)
    names += struct.pack(order + "2BH4sQ4sQ", 0, 0, 2, b"chr1", at + 28, b"chr2", at + 28 + 16)
    names += b"".join(
        struct.pack(order + "2BH4s2I", 1, 0, 1, b"chr%d" % (n + 1), n, size) for n, size in enumerate((1000, 500))
    )
    blocks, data, begin = [], b"", 64 + len(names) + 8
    for (contig, kind, step, span, items), (low, high) in zip(sections, reach, strict=True):
        raw = struct.pack(order + "5I2BH", contig, low, high, step, span, kind, 0, len(items))
        raw += b"".join(struct.pack(order + {1: "2If", 2: "If", 3: "f"}[kind], *one) for one in items)
        raw = zlib.compress(raw) if packed else raw
        blocks.append(((contig, low, contig, high), begin + len(data), len(raw)))
        data += raw
    tree = begin + len(data)
    index = struct.pack(order + "2IQ4IQ2I", 0x2468ACE0, 2, 4, 0, 0, 1, 500, tree, 1, 0)
    first = tree + len(index) + 4 + 2 * 24
    index += struct.pack(order + "2BH4IQ4IQ", 0, 0, 2, 0, 0, 0, 105, first, 0, 200, 1, 500, first + 4 + 2 * 32)
    for pair in (blocks[:2], blocks[2:]):
        index += struct.pack(order + "2BH", 1, 0, 2) + b"".join(
            struct.pack(order + "4I2Q", *reach, *place) for reach, *place in pair
        )
    head = struct.pack(
        order + "I2H3Q2H2QIQ", 0x888FFC26, 4, 0, 64, begin - 8, tree, 0, 0, 0, 0, 4096 if packed else 0, 0
    )
    return head + names + struct.pack(order + "Q", len(sections)) + data + index


@functools.cache
def indexed_vcf() -> tuple[bytes, bytes]:
    """Variants of two contigs in bgzip's blocks of 40 lines, and their index: some reach over its bins, one by its END alone."""
    from Bio import bgzf

    out = io.BytesIO()
    writer = bgzf.BgzfWriter(fileobj=out)
    writer.write(
        "##fileformat=VCFv4.2\n##contig=<ID=chr1>\n##contig=<ID=chr2>\n##INFO=<ID=END,Number=1,Type=Integer,Description=x>\n"
    )
    writer.write("#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n")
    places: dict[str, list[tuple[int, int, int, int]]] = defaultdict(list)
    for n in range(400):
        contig, at, ref = f"chr{1 + n // 300}", 1 + n % 300 * 5000, "ACGT" * 5 if n % 7 == 0 else "A"
        info = "END=900000" if n == 3 else "."
        if n % 40 == 0:
            writer.flush()
        begin = writer.tell()
        writer.write(f"{contig}\t{at}\t.\t{ref}\t{'<DEL>' if n == 3 else 'C'}\t.\t.\t{info}\n")
        places[contig].append((at - 1, 900_000 if n == 3 else at - 1 + len(ref), begin, writer.tell()))
    writer.flush()
    raw = struct.pack("<4s8i", b"TBI\1", 2, 2, 1, 2, 0, ord("#"), 0, 10) + b"chr1\0chr2\0"
    for lines in places.values():
        bins, windows = defaultdict(list), dict[int, int]()
        for start, end, begin, last in lines:
            levels = [(bits, ((1 << 29 - bits) - 1) // 7) for bits in (14, 17, 20, 23, 26, 29)]
            number = next(first + (start >> bits) for bits, first in levels if start >> bits == end - 1 >> bits)
            bins[number].append((begin, last))
            for window in range(start >> 14, (end - 1 >> 14) + 1):
                windows.setdefault(window, begin)
        raw += struct.pack("<i", len(bins))
        for number, chunks in bins.items():
            raw += struct.pack("<Ii", number, len(chunks)) + b"".join(struct.pack("<2Q", *one) for one in chunks)
        size = max(windows) + 1
        raw += struct.pack("<i", size) + struct.pack(f"<{size}Q", *(windows.get(n, 0) for n in range(size)))
    return out.getvalue() + bgzf._bgzf_eof, gzip.compress(raw)
