"""What owners' indexes list, asked of a real server in the forms that the hub, Zenodo, PhysioNet and S3 use."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

import pytest

from healthfm.errors import FetchError
from healthfm.fetch.listing import chosen, listed
from healthfm.fetch.web import Manners
from tests.fetch.server import Server, serving

COMMIT = "0123456789abcdef0123456789abcdef01234567"
QUICK = Manners(timeout=5, tries=2, pause=0.001)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    with serving() as made:
        yield made


def repository(server: Server, name: str, files: dict[str, bytes], kind: str = "models") -> str:
    """Serve a repository as the hub does; return its page."""
    bare = name.removeprefix("datasets/")
    server.files[f"/api/{kind}/{bare}/revision/main"] = json.dumps({"sha": COMMIT}).encode()
    told = []
    for path, data in files.items():
        one = {
            "type": "file",
            "path": path,
            "size": len(data),
            "oid": hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest(),
        }
        if len(data) > 100:
            one["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
        told.append(one)
        server.files[f"/{name}/resolve/{COMMIT}/{path}"] = data
    told.append({"type": "directory", "path": "x", "size": 0, "oid": "0"})
    server.files[f"/api/{kind}/{bare}/tree/{COMMIT}?recursive=true"] = json.dumps(told).encode()
    return f"{server.url}/{name}"


def test_the_hub_lists_a_repository_at_one_commit_with_digests(server: Server) -> None:
    page = repository(server, "datasets/o/n", {"data/a.jsonl": b"{}", "b.bin": b"x" * 200}, "datasets")
    found, revision = listed(page, "hub", None, QUICK)
    assert revision == COMMIT
    assert [(one.path, one.size, str(one.digest)[:7]) for one in found] == [
        ("data/a.jsonl", 2, "git:9e2"),
        ("b.bin", 200, "sha256:"),
    ]
    assert found[0].url == f"{server.url}/datasets/o/n/resolve/{COMMIT}/data/a.jsonl"
    assert [one.path for one in chosen(found, ["data/*"])] == ["data/a.jsonl"] and chosen(found, []) == found


def test_the_hub_goes_on_on_further_pages_of_its_own(server: Server) -> None:
    page = repository(server, "o/n", {"a": b"1"})
    first = f"/api/models/o/n/tree/{COMMIT}?recursive=true"
    for onward, says in ((f"{server.url}/more", None), (f"{server.elsewhere}/more", "at another host")):
        server.tricks[first] = [
            lambda h, onward=onward: h.give(h.server.files[first], headers=(("Link", f'<{onward}>; rel="next"'),))
        ]
        server.files["/more"] = json.dumps([{"type": "file", "path": "b", "size": 1, "oid": "0" * 40}]).encode()
        if says is None:
            assert [one.path for one in listed(page, "hub", None, QUICK)[0]] == ["a", "b"]
        else:
            with pytest.raises(FetchError, match=says):
                listed(page, "hub", None, QUICK)


def test_zenodo_lists_a_record(server: Server) -> None:
    told = {
        "files": [
            {"key": "a.zip", "size": 3, "checksum": "md5:" + "0" * 32, "links": {"self": f"{server.url}/a/content"}}
        ]
    }
    server.files["/api/records/1"] = json.dumps(told).encode()
    [found], revision = listed(f"{server.url}/api/records/1", "zenodo", None, QUICK)
    assert (found.path, found.url, found.size, found.digest, revision) == (
        "a.zip",
        f"{server.url}/a/content",
        3,
        "md5:" + "0" * 32,
        None,
    )


def test_physionet_lists_digests(server: Server) -> None:
    server.files["/files/demo/1.0/SHA256SUMS.txt"] = f"{'a' * 64} hosp/a.csv.gz\n{'B' * 64}  RE ADME\n".encode()
    found, _ = listed(f"{server.url}/files/demo/1.0", "sums", None, QUICK)
    assert [(one.path, one.digest) for one in found] == [
        ("hosp/a.csv.gz", f"sha256:{'a' * 64}"),
        ("RE ADME", f"sha256:{'b' * 64}"),
    ]
    assert found[1].url == f"{server.url}/files/demo/1.0/RE%20ADME"
    server.files["/files/demo/1.0/SHA256SUMS.txt"] = b"<html>busy</html>"
    with pytest.raises(FetchError, match="a line is no digest and path"):
        listed(f"{server.url}/files/demo/1.0", "sums", None, QUICK)


def test_a_bucket_lists_its_keys_page_by_page(server: Server) -> None:
    def page(keys: dict[str, int], onward: str = "") -> bytes:
        told = "".join(f"<Contents><Key>{key}</Key><Size>{size}</Size></Contents>" for key, size in keys.items())
        more = f"<NextContinuationToken>{onward}</NextContinuationToken>" if onward else ""
        return f'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{told}{more}</ListBucketResult>'.encode()

    server.files["/?list-type=2&prefix=set%2F"] = page({"set/": 0, "set/a b.txt": 4}, "t1")
    server.files["/?list-type=2&prefix=set%2F&continuation-token=t1"] = page({"set/c.txt": 5})
    found, _ = listed(f"{server.url}/set/", "s3", None, QUICK)
    assert [(one.path, one.size, one.url) for one in found] == [
        ("a b.txt", 4, f"{server.url}/set/a%20b.txt"), ("c.txt", 5, f"{server.url}/set/c.txt"),
    ]  # fmt: skip


@pytest.mark.parametrize("index", ["hub", "zenodo", "s3", "sums"])
@pytest.mark.parametrize("junk", [b"", b"<html>", b"[1]", b"{}\xff", b'{"sha": "x"}'])
def test_what_is_no_index_is_one_line(server: Server, index: str, junk: bytes) -> None:
    for path in ("/i", "/i/SHA256SUMS.txt", "/?list-type=2&prefix=i", "/api/models/i/revision/main"):
        server.files[path] = junk
    try:
        assert listed(f"{server.url}/i", index, None, QUICK) == ([], None)
    except FetchError as error:
        assert "\n" not in str(error)
