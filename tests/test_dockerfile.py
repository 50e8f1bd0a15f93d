"""The Dockerfile, read as Docker reads it: what it copies is there, what it starts is ours, and it names no host."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
KNOWN = {"FROM", "ARG", "RUN", "COPY", "USER", "ENV", "WORKDIR", "ENTRYPOINT", "CMD"}


def instructions() -> list[tuple[str, str]]:
    """Return (word, rest) of each instruction, continued lines joined and comments left out."""
    text = re.sub(
        r"\\\n",
        " ",
        "\n".join(one for one in (ROOT / "Dockerfile").read_text().splitlines() if not one.startswith("#")),
    )
    return [
        (word.upper(), rest.strip())
        for word, _, rest in (one.partition(" ") for one in text.splitlines() if one.strip())
    ]


def test_every_instruction_is_known_and_nothing_runs_as_root_at_the_end() -> None:
    found = instructions()
    assert {word for word, _ in found} <= KNOWN and found[0][0] == "FROM"
    assert [rest for word, rest in found if word == "USER"][-1] not in ("root", "0")
    assert json.loads(dict(found)["ENTRYPOINT"])[0] in PROJECT["scripts"] and json.loads(dict(found)["CMD"]) == [
        "--help"
    ]


def test_what_is_copied_is_there_and_sent_to_docker() -> None:
    ignored = [one for one in (ROOT / ".dockerignore").read_text().split() if one]
    for word, rest in instructions():
        if word == "COPY":
            *sources, _ = rest.split()
            for one in sources:
                assert (ROOT / one).exists() and f"!{one}" in ignored, one
    built = {str(PROJECT["readme"]), *PROJECT["license-files"], "pyproject.toml"}  # what the build of the package reads
    assert all(any(fnmatch(one, kept.removeprefix("!")) for kept in ignored if kept[0] == "!") for one in built)


def test_the_base_and_the_extras_are_ones_that_the_project_has() -> None:
    found = dict(instructions())
    version = re.fullmatch(r"python:(\d+)\.(\d+)-slim", found["FROM"])
    assert version is not None
    least = re.fullmatch(r">=(\d+)\.(\d+)", PROJECT["requires-python"])
    assert least is not None and tuple(map(int, version.groups())) >= tuple(map(int, least.groups()))
    extras = [rest.partition("=")[2] for word, rest in instructions() if rest.startswith("EXTRAS=")]
    assert extras and set(extras) <= set(PROJECT["optional-dependencies"])


def test_no_host_is_named() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert "://" not in text and not re.search(r"\b[a-z0-9-]+\.(?:io|org|com|net|dev|co)\b", text)


def test_docker_itself_finds_nothing_wrong() -> None:
    if (
        shutil.which("docker") is None
        or subprocess.run(["docker", "buildx", "version"], capture_output=True).returncode
    ):
        pytest.skip("docker, or what it builds with, is not here")
    subprocess.run(["docker", "build", "--check", str(ROOT)], check=True, capture_output=True)
