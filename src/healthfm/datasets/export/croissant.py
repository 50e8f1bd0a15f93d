"""Records as a Croissant folder: Parquet files by split, croissant.json that describes and loads them, and a data card, README.md.

Specifications: Croissant 1.0 (docs.mlcommons.org/croissant/docs/croissant-spec.html) and its RAI vocabulary 1.0
(docs.mlcommons.org/croissant/docs/croissant-rai-spec.html). It is a way to write records rather than to show a card, because Croissant
wants files with digests and columns that can be loaded: those of the folder, whatever layout the owner has. RAI fields are filled from
the card and what was counted; what is not known is left out, not guessed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from healthfm.cards.schema import DatasetCard
from healthfm.datasets.dataset import Dataset
from healthfm.datasets.export.data_card import data_card, overlaps, privacy
from healthfm.datasets.export.files import empty_folder, parquet, published
from healthfm.datasets.summary import Tally
from healthfm.fetch.item import digest

CONTEXT: dict[str, Any] = {
    "@language": "en", "@vocab": "https://schema.org/", "citeAs": "cr:citeAs", "column": "cr:column", "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/", "rai": "http://mlcommons.org/croissant/RAI/", "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"}, "dct": "http://purl.org/dc/terms/", "equivalentProperty": "cr:equivalentProperty", "samplingRate": "cr:samplingRate", "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract", "field": "cr:field", "fileProperty": "cr:fileProperty", "fileObject": "cr:fileObject", "fileSet": "cr:fileSet",
    "format": "cr:format", "includes": "cr:includes", "isLiveDataset": "cr:isLiveDataset", "jsonPath": "cr:jsonPath", "key": "cr:key", "md5": "cr:md5",
    "parentField": "cr:parentField", "path": "cr:path", "recordSet": "cr:recordSet", "references": "cr:references", "regex": "cr:regex",
    "repeated": "cr:repeated", "replace": "cr:replace", "sc": "https://schema.org/", "separator": "cr:separator", "source": "cr:source",
    "subField": "cr:subField", "transform": "cr:transform",
}  # fmt: skip
TYPES = ((pa.types.is_boolean, "sc:Boolean"), (pa.types.is_integer, "sc:Integer"), (pa.types.is_floating, "sc:Float"))
COLUMNS = {
    "id": "The record's id.", "split": "The split it belongs to.", "patient": "Whom it is of: the unit that must not straddle splits.",
    "labels": "The labels by name, as JSON.", "meta": "The owner's raw values, as JSON.",
}  # fmt: skip


def croissant(dataset: Dataset, path: Path) -> Path:
    """Write the folder and return it. Raises ``DatasetError``: no records, or the folder holds something already."""
    empty_folder(path)
    tally, files = Tally(), []
    for split in dataset.selected:
        files.append((split, parquet(dataset[split], path / f"{split}.parquet")))
    summary = dataset.summary(seen=(tally,))
    told = metadata(dataset, files, summary)
    for name, text in (
        ("croissant.json", json.dumps(told, indent=1, ensure_ascii=False) + "\n"),
        ("README.md", data_card(dataset.card, summary)),
    ):
        with published(path / name) as draft:
            draft.write_text(text, encoding="utf-8")
    return path


def metadata(dataset: Dataset, files: list[tuple[str, Path]], summary: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON-LD of Parquet files by split."""
    card = dataset.card
    told: dict[str, Any] = {
        "@context": CONTEXT, "@type": "sc:Dataset", "name": dataset.name.replace(":", "-"), "description": card.summary,
        "conformsTo": ["http://mlcommons.org/croissant/1.0", "http://mlcommons.org/croissant/RAI/1.0"],
        "url": card.homepage or card.code, "creator": {"@type": "sc:Organization", "name": card.owner},
        "license": [f"{one.name} ({one.covers}{'' if one.checked in ('read', 'run') else ', unverified'})" for one in card.licences],
        "keywords": [*card.modalities, *card.tasks], "inLanguage": list(card.languages), "citeAs": "; ".join(p.title for p in card.papers),
        "datePublished": next((str(p.year) for p in card.papers if p.year), None), "version": "1.0.0",
        **rai(card, summary),
        "distribution": [
            {
                "@type": "cr:FileObject", "@id": file.name, "name": file.name, "contentUrl": file.name, "contentSize": f"{file.stat().st_size} B",
                "encodingFormat": "application/x-parquet", "sha256": digest(file, "sha256").partition(":")[2],
            }
            for _, file in files
        ],
        "recordSet": [_records(split, file) for split, file in files],
    }  # fmt: skip
    return {name: value for name, value in told.items() if value not in (None, [], "")}


def rai(card: DatasetCard, summary: dict[str, Any]) -> dict[str, Any]:
    """Return the RAI fields that the card and the counts fill."""
    total = sum(one["records"] for one in summary["splits"].values())
    missing = [f"{name}: missing in {n:,} records" for name, n in summary["missing"].items() if n < total]
    found = {
        "rai:dataUseCases": list(card.tasks), "rai:personalSensitiveInformation": [privacy(card)],
        "rai:dataLimitations": [*card.obstacles, *card.corrections, *(f"unverified: {one}" for one in card.unverified), *summary["notices"], *missing],
        "rai:dataCollectionMissingData": "; ".join(missing),
        "rai:dataBiases": [
            f"{name}: " + ", ".join(f"{label} {n:,}" for label, n in counts.items()) for name, counts in summary["labels"].items() if len(counts) <= 50
        ],
        "rai:dataSocialImpact": "Research use only; records and models made of them are no medical device.",
        "rai:dataReleaseMaintenancePlan": f"The owner's: {card.owner}." if card.access != "own" else "",
        "rai:dataPreprocessingProtocol": ["Read from the official files into records by healthfm; nothing was dropped or changed."],
    }  # fmt: skip
    shared = overlaps(card)
    if shared:
        found["rai:dataLimitations"] = [*found["rai:dataLimitations"], *shared]
    return {name: value for name, value in found.items() if value}


def _records(split: str, file: Path) -> dict[str, Any]:
    schema = pq.read_schema(file)
    return {
        "@type": "cr:RecordSet", "@id": split, "name": split, "key": {"@id": f"{split}/id"}, "field": [
            {
                "@type": "cr:Field", "@id": f"{split}/{one.name}", "name": one.name, "description": COLUMNS.get(one.name, ""),
                "dataType": next((name for fits, name in TYPES if fits(one.type)), "sc:Text"),
                "source": {"fileObject": {"@id": file.name}, "extract": {"column": one.name}},
            }
            for one in schema
        ],
    }  # fmt: skip
