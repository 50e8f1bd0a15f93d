"""What an owner's index lists: the files of a Hugging Face repository, a Zenodo record, a folder with SHA256SUMS.txt, or an S3 bucket.

Specifications: the hub's API as ``huggingface_hub`` asks it (``hf_api.list_repo_tree``, ``HfApi.repo_info``); Zenodo's REST API, Records;
PhysioNet's SHA256SUMS.txt (one ``DIGEST PATH`` a line, as sha256sum writes it); Amazon S3, ListObjectsV2.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from urllib.parse import quote, urlencode, urljoin, urlsplit

from healthfm.errors import FetchError
from healthfm.fetch.item import Item
from healthfm.fetch.web import HUB, Manners, text

REVISION = re.compile(r"[0-9a-f]{40}")
NEXT = re.compile(r'<([^>]+)>;\s*rel="next"')
MOST_PAGES = 10_000


def listed(url: str, index: str, revision: str | None, manners: Manners) -> tuple[list[Item], str | None]:
    """Return the files that an index lists, by the paths it gives them, and the revision they are of (None: it has none)."""
    if index == "hub":
        return hub(url, revision, manners)
    return list({"zenodo": _zenodo, "sums": _sums, "s3": _s3}[index](url, manners)), None


def chosen(items: Iterable[Item], patterns: Sequence[str]) -> list[Item]:
    """Return the files whose paths one of the patterns means; all of them where there is no pattern."""
    return [one for one in items if not patterns or any(fnmatch.fnmatchcase(one.path, each) for each in patterns)]


def hub(url: str, revision: str | None, manners: Manners) -> tuple[list[Item], str]:
    """Return the files of a repository of the hub at one commit, and that commit. ``url``: its page, ``revision``: branch, tag or commit."""
    base = _endpoint() if url.startswith(f"{_endpoint()}/") else "{0.scheme}://{0.netloc}".format(urlsplit(url))
    name = url.removeprefix(base).strip("/")
    kind, bare = ("datasets", name.removeprefix("datasets/")) if name.startswith("datasets/") else ("models", name)
    commit = str(
        _json(f"{base}/api/{kind}/{bare}/revision/{quote(revision or 'main', safe='')}", manners).get("sha", "")
    )
    if not REVISION.fullmatch(commit):
        raise FetchError(f"{url}: the hub names no commit")
    items = []
    for one in _pages(f"{base}/api/{kind}/{bare}/tree/{commit}?recursive=true", manners):
        if one.get("type") == "file":
            large = one.get("lfs") or {}
            digest = f"sha256:{large['oid']}" if large.get("oid") else f"git:{one['oid']}"
            items.append(
                Item(
                    str(one["path"]),
                    f"{base}/{name}/resolve/{commit}/{quote(str(one['path']))}",
                    int(one["size"]),
                    digest,
                )
            )
    return items, commit


def hub_page(repository: str) -> str:
    """Return the page of a repository of models, at the hub or at the mirror that HF_ENDPOINT names."""
    return f"{_endpoint()}/{repository}"


def _endpoint() -> str:
    """Return the hub's address, or its mirror's, which may have a path. Raises ``FetchError``: HF_ENDPOINT is none."""
    told = (os.environ.get("HF_ENDPOINT") or f"https://{HUB}").rstrip("/")
    if not re.fullmatch(r"https?://[^/?#\s]+(/[^?#\s]*)?", told):
        raise FetchError("HF_ENDPOINT is no address; a mirror of the hub is http(s)://HOST[:PORT][/PATH]")
    return told


def _pages(url: str, manners: Manners) -> Iterator[dict[str, Any]]:
    for _ in range(MOST_PAGES):
        found, headers = text(url, manners)
        yield from _objects(found, url)
        onward = NEXT.search(headers.get("Link") or "")
        if onward is None:
            return
        following = urljoin(url, onward[1])
        if urlsplit(following).netloc != urlsplit(url).netloc:
            raise FetchError(f"{url}: its list goes on at another host; refused")
        url = following
    raise FetchError(f"{url}: a list without end")


def _zenodo(url: str, manners: Manners) -> Iterator[Item]:
    for one in _json(url, manners).get("files", []):
        try:
            yield Item(str(one["key"]), str(one["links"]["self"]), int(one["size"]), str(one["checksum"]))
        except (KeyError, TypeError, ValueError):
            raise FetchError(f"{url}: not a list of files as Zenodo gives it") from None


def _sums(url: str, manners: Manners) -> Iterator[Item]:
    base = url if url.endswith("/") else f"{url}/"
    found, _ = text(f"{base}SHA256SUMS.txt", manners)
    for line in found.decode("utf-8", errors="replace").splitlines():
        told = re.fullmatch(r"([0-9a-fA-F]{64}) [ *]?(?:\./)?(.+?)\s*", line)
        if told is not None:
            yield Item(told[2], base + quote(told[2]), None, f"sha256:{told[1].lower()}")
        elif line.strip():
            raise FetchError(f"{base}SHA256SUMS.txt: a line is no digest and path")


def _s3(url: str, manners: Manners) -> Iterator[Item]:
    """List a bucket below the path of ``url``; paths are without it. S3 gives sizes, and no digest that can be relied on."""
    from lxml import etree

    parts = urlsplit(url)
    base, prefix, token = f"{parts.scheme}://{parts.netloc}/", parts.path.lstrip("/"), None
    for _ in range(MOST_PAGES):
        asked = {"list-type": "2", "prefix": prefix, **({"continuation-token": token} if token else {})}
        found, _headers = text(f"{base}?{urlencode(asked)}", manners)
        try:
            root = etree.fromstring(found, etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False))
            for one in root.iterfind("{*}Contents"):
                key, size = str(one.findtext("{*}Key")), int(str(one.findtext("{*}Size")))
                if not key.endswith("/"):
                    yield Item(key.removeprefix(prefix).lstrip("/"), base + quote(key), size)
        except (etree.XMLSyntaxError, ValueError):
            raise FetchError(f"{base}: not a list of files as S3 gives it") from None
        token = root.findtext("{*}NextContinuationToken")
        if not token:
            return
    raise FetchError(f"{base}: a list without end")


def _json(url: str, manners: Manners) -> dict[str, Any]:
    found, _ = text(url, manners)
    try:
        told = json.loads(found)
    except ValueError:
        told = None
    if not isinstance(told, dict):
        raise FetchError(f"{url}: not the index that was expected")
    return told


def _objects(found: bytes, url: str) -> list[dict[str, Any]]:
    try:
        told = json.loads(found)
        if isinstance(told, list) and all(isinstance(one, dict) for one in told):
            return told
    except ValueError:
        pass
    raise FetchError(f"{url}: not the index that was expected")
