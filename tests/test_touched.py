"""``make test-fast`` runs the tests of what was touched."""

from __future__ import annotations

from pathlib import Path

from tests.touched import chosen


def test_a_changed_file_is_tested_by_its_name_by_its_room_or_by_itself(tmp_path: Path) -> None:
    for name in (
        "cards/test_catalog.py",
        "formats/test_dicom.py",
        "formats/test_dicom_lut.py",
        "models/test_heads.py",
        "models/towers.py",
    ):
        file = tmp_path / "tests" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()

    def of(*paths: str) -> list[str]:
        return chosen(paths, tmp_path)

    assert of("src/healthfm/cards/catalog.py") == ["tests/cards/test_catalog.py"]
    assert of("src/healthfm/formats/dicom.py") == ["tests/formats/test_dicom.py", "tests/formats/test_dicom_lut.py"]
    assert of("src/healthfm/models/vision/vit.py", "tests/models/test_heads.py") == [
        "tests/models"
    ]  # no test has its name
    assert of("tests/models/towers.py") == ["tests/models"]
    assert of("tests/models/test_heads.py") == ["tests/models/test_heads.py"]
    assert (
        of("tests/models/test_gone.py", "README.md", "src/healthfm/cards/models/vision/uni.toml", "tests/conftest.py")
        == []
    )
