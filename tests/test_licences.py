"""No GPL or AGPL package at run time: every package that the extras bring in, as installed here."""

from __future__ import annotations

import re
from importlib import metadata

from packaging.requirements import Requirement

RUN_TIME = ("models", "imaging", "pathology", "bio", "cpu", "curate", "search", "serve", "ray")


def requirements(name: str, extras: tuple[str, ...] = ()) -> list[Requirement]:
    found = [Requirement(text) for text in metadata.requires(name) or ()]
    return [r for r in found if r.marker is None or any(r.marker.evaluate({"extra": e}) for e in (*extras, ""))]


def installed_run_time() -> set[str]:
    waiting, seen = [("healthfm", RUN_TIME)], set()
    while waiting:
        name, extras = waiting.pop()
        try:
            below = requirements(name, extras)
        except metadata.PackageNotFoundError:
            continue
        for requirement in below:
            key = re.sub(r"[-_.]+", "-", requirement.name).lower()
            if key not in seen:
                seen.add(key)
                waiting.append((requirement.name, tuple(requirement.extras)))
    return seen


def licence(name: str) -> str:
    facts = metadata.metadata(name)
    classifiers = [c for c in facts.get_all("Classifier") or () if c.startswith("License")]
    return " ".join([facts.get("License-Expression") or "", (facts.get("License") or "")[:120], *classifiers])


def is_strong_copyleft(text: str) -> bool:
    plain = re.sub(r"LGPL|Lesser General Public|GCC-exception|GCC exception|Library or Lesser", "", text)
    plain = re.sub(r"\(([^()]* OR [^()]*)\)", lambda m: min(m[1].split(" OR "), key=lambda one: "GPL" in one), plain)
    return bool(re.search(r"\bA?GPL|GNU (Affero )?General Public", plain))


def test_run_time_dependencies_are_neither_gpl_nor_agpl() -> None:
    names = installed_run_time()
    assert {"numpy", "torch", "transformers", "typer", "pydantic"} <= names
    found = {}
    for name in names:
        try:
            found[name] = licence(name)
        except metadata.PackageNotFoundError:
            continue
    assert len(found) > 40
    assert {name: text for name, text in found.items() if is_strong_copyleft(text)} == {}


def test_the_check_would_see_a_gpl_package() -> None:
    assert is_strong_copyleft("GPL-3.0-or-later")
    assert is_strong_copyleft("License :: OSI Approved :: GNU Affero General Public License v3")
    assert not is_strong_copyleft("License :: OSI Approved :: GNU Lesser General Public License v3 (LGPLv3)")


def test_a_choice_that_offers_another_licence_is_no_gpl() -> None:
    assert not is_strong_copyleft("MIT AND (BSD-3-Clause OR GPL-2.0-only)")
    assert not is_strong_copyleft("MIT AND (GPL-2.0-only OR BSD-3-Clause)")
    assert is_strong_copyleft("MIT AND (AGPL-3.0-only OR GPL-2.0-only)")
    assert is_strong_copyleft("GPL-2.0-only AND (MIT OR BSD-3-Clause)")
