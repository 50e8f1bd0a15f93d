"""Files from a real server that breaks connections, lies and misbehaves: they come whole, or not at all and the reason is told."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from healthfm.errors import FetchError
from healthfm.fetch.item import ROOM, Item, place
from healthfm.fetch.run import fetch, noted
from healthfm.fetch.web import Manners
from tests.fetch.server import Handler, Server, cut, serving, status

DATA = random.Random(0).randbytes(300_000)
SHA = f"sha256:{hashlib.sha256(DATA).hexdigest()}"
QUICK = Manners(timeout=5, tries=3, pause=0.001, part=50_000, connections=3)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    with serving() as made:
        made.files["/a.bin"] = DATA
        yield made


def item(server: Server, path: str = "a.bin", **known: object) -> Item:
    return Item(path, f"{server.url}/{path.rpartition('/')[2]}", **known)  # type: ignore[arg-type]


def nothing_left(folder: Path) -> bool:
    """Whether no draft lies in the folder."""
    return not [one for one in (folder / ROOM).iterdir() if one.suffix in (".part", ".new")]


# What comes -----------------------------------------------------------------------------------------------------------


def test_a_file_comes_in_parts_and_is_noted(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    wanted = item(server, "data/a.bin", size=len(DATA), digest=SHA)
    assert fetch([wanted], tmp_path, QUICK, lambda done, total: seen.append((done, total))) == [
        tmp_path / "data" / "a.bin"
    ]
    assert (tmp_path / "data" / "a.bin").read_bytes() == DATA and nothing_left(tmp_path)
    assert sorted(server.ranges_of("/a.bin")) == sorted(f"bytes={n}-{n + 49_999}" for n in range(0, 300_000, 50_000))
    assert noted(tmp_path) == {"data/a.bin": {"url": wanted.url, "size": len(DATA), "digest": SHA}}
    assert max(seen) == (len(DATA), len(DATA))


def test_what_is_here_is_not_asked_for_again(server: Server, tmp_path: Path) -> None:
    for known in ({"size": len(DATA), "digest": SHA}, {}):
        fetch([item(server, **known)], tmp_path, QUICK)
        asked = len(server.asked)
        assert fetch([item(server, **known)], tmp_path, QUICK) == [] and len(server.asked) == asked


@pytest.mark.parametrize("known", [{"size": 5}, {"digest": SHA}, {}])
def test_another_file_in_its_place_is_never_overwritten(
    server: Server, tmp_path: Path, known: dict[str, object]
) -> None:
    (tmp_path / "a.bin").write_bytes(b"mine!!")
    with pytest.raises(FetchError, match=r"not the file that would be fetched .*it is not overwritten"):
        fetch([item(server, **known)], tmp_path, QUICK)
    assert (tmp_path / "a.bin").read_bytes() == b"mine!!" and not server.asked


@pytest.mark.parametrize("size", [0, 1, 49_999, 50_000, 50_001])
@pytest.mark.parametrize("ranges", [True, False])
def test_files_of_every_size_come_whole(server: Server, tmp_path: Path, size: int, ranges: bool) -> None:
    server.ranges, server.files["/a.bin"] = ranges, DATA[:size]
    fetch([item(server)], tmp_path, QUICK)
    assert (tmp_path / "a.bin").read_bytes() == DATA[:size]


def test_many_small_files_come_beside_large_ones(server: Server, tmp_path: Path) -> None:
    for number in range(12):
        server.files[f"/{number}.txt"] = f"file {number}".encode()
    wanted = [item(server, f"many/{n}.txt", size=len(f"file {n}")) for n in range(12)] + [item(server, digest=SHA)]
    assert len(fetch(wanted, tmp_path, QUICK)) == 13
    assert [(tmp_path / f"many/{n}.txt").read_text() for n in range(12)] == [f"file {n}" for n in range(12)]


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "git"])
def test_every_kind_of_digest_is_held(server: Server, tmp_path: Path, algorithm: str) -> None:
    right = hashlib.sha1(b"blob 300000\0" + DATA) if algorithm == "git" else hashlib.new(algorithm, DATA)
    fetch([item(server, digest=f"{algorithm}:{right.hexdigest()}")], tmp_path, QUICK)
    with pytest.raises(FetchError, match=f"its {algorithm} digest is not the published one"):
        fetch([item(server, digest=f"{algorithm}:{'0' * len(right.hexdigest())}")], tmp_path / "b", QUICK)
    assert not (tmp_path / "b" / "a.bin").exists() and nothing_left(tmp_path / "b")


# Servers that misbehave -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ranges", [True, False])
def test_connections_that_break_are_taken_up_again(server: Server, tmp_path: Path, ranges: bool) -> None:
    server.ranges = ranges
    server.tricks["/a.bin"] = [cut(20_000), cut(1)] + ([cut(30_000)] * 6 if ranges else [])
    fetch([item(server, digest=SHA)], tmp_path, QUICK)
    assert (tmp_path / "a.bin").read_bytes() == DATA
    if ranges:  # what came before a break is not asked for again
        assert any(one and int(one[6:].split("-")[0]) % 50_000 for one in server.ranges_of("/a.bin"))


def test_a_server_that_brings_nothing_is_given_up_and_what_came_is_kept(server: Server, tmp_path: Path) -> None:
    server.tricks["/a.bin"] = [lambda h: h.give(DATA), *[cut(0)] * 40]
    with pytest.raises(FetchError, match="3 times; what came is kept, run it again to go on"):
        fetch([item(server, digest=SHA)], tmp_path, QUICK)
    assert not (tmp_path / "a.bin").exists()
    server.tricks.clear()
    server.asked.clear()
    fetch([item(server, digest=SHA)], tmp_path, QUICK)
    assert "bytes=0-49999" not in server.ranges_of("/a.bin") and (tmp_path / "a.bin").read_bytes() == DATA


@pytest.mark.parametrize("ranges", [True, False])
def test_wrong_bytes_are_thrown_away(server: Server, tmp_path: Path, ranges: bool) -> None:
    server.ranges, server.files["/a.bin"] = ranges, DATA[:-1] + bytes([DATA[-1] ^ 1])
    with pytest.raises(FetchError, match=r"not the published file .*nothing of it is kept"):
        fetch([item(server, size=len(DATA), digest=SHA)], tmp_path, QUICK)
    assert not (tmp_path / "a.bin").exists() and nothing_left(tmp_path)


@pytest.mark.parametrize("known", [{}, {"size": len(DATA)}, {"digest": SHA}])
@pytest.mark.parametrize("told", [len(DATA) - 7, len(DATA) + 7])
def test_a_length_that_is_a_lie_is_found_out(
    server: Server, tmp_path: Path, told: int, known: dict[str, object]
) -> None:
    server.ranges = False
    server.tricks["/a.bin"] = [lambda h: h.give(DATA, length=told), ...]
    with pytest.raises(FetchError, match=r"promised|published|bytes"):
        fetch([item(server, **known)], tmp_path, QUICK)
    assert not (tmp_path / "a.bin").exists()


def test_another_size_than_published_is_refused_before_it_comes(server: Server, tmp_path: Path) -> None:
    with pytest.raises(
        FetchError, match="the server has 300,000 bytes where the published file has 299,999; nothing is fetched"
    ):
        fetch([item(server, size=299_999)], tmp_path, QUICK)
    assert len(server.asked) == 1


def wrong_part(handler: Handler) -> None:
    """Answer with bytes from another place than was asked for."""
    handler.send_response(206)
    handler.send_header("Content-Range", f"bytes 7-50006/{len(DATA)}")
    handler.send_header("Content-Length", "50000")
    handler.end_headers()
    handler.wfile.write(DATA[7:50_007])


def test_a_part_that_is_another_is_not_taken(server: Server, tmp_path: Path) -> None:
    server.tricks["/a.bin"] = [wrong_part, lambda h: h.give(DATA), wrong_part, wrong_part]
    fetch([item(server)], tmp_path, QUICK)
    assert (tmp_path / "a.bin").read_bytes() == DATA


def test_a_file_that_changes_between_attempts_is_never_mixed(server: Server, tmp_path: Path) -> None:
    server.tricks["/a.bin"] = [lambda h: h.give(DATA), *[cut(0)] * 20]
    with pytest.raises(FetchError):
        fetch([item(server)], tmp_path, QUICK)
    server.tricks.clear()
    server.files["/a.bin"] = other = random.Random(1).randbytes(300_000)
    fetch([item(server)], tmp_path, QUICK)
    assert (tmp_path / "a.bin").read_bytes() == other


@pytest.mark.parametrize("conditions", [True, False])
def test_a_file_that_changes_all_the_time_is_given_up(server: Server, tmp_path: Path, conditions: bool) -> None:
    server.conditions = conditions  # whether the server heeds If-Range

    def changed(handler: Handler) -> None:
        handler.server.version += "x"
        handler.give(DATA)

    server.tricks["/a.bin"] = [changed, ...]
    with pytest.raises(FetchError, match="changes while it is fetched"):
        fetch([item(server)], tmp_path, QUICK)
    assert not (tmp_path / "a.bin").exists()


@pytest.mark.parametrize(
    ("code", "said"),
    [(403, "to those it knows only"), (401, "to those it knows only"), (404, "it is not there"), (400, "HTTP 400")],
)
def test_a_no_is_a_no(server: Server, tmp_path: Path, code: int, said: str) -> None:
    server.tricks["/a.bin"] = [status(code), ...]
    with pytest.raises(FetchError, match=said):
        fetch([item(server)], tmp_path, QUICK)
    assert len(server.asked) == 1


def test_a_busy_server_is_asked_again_when_it_says(server: Server, tmp_path: Path) -> None:
    server.tricks["/a.bin"] = [
        status(429, Retry_After="0"),
        status(503),
        lambda h: h.give(DATA),
        status(429, Retry_After="0"),
    ]
    fetch([item(server)], tmp_path, QUICK)
    assert (tmp_path / "a.bin").read_bytes() == DATA
    server.tricks["/b.bin"] = [status(429, Retry_After="3600"), ...]
    with pytest.raises(FetchError, match="asks to wait 3600 seconds"):
        fetch([item(server, "b.bin")], tmp_path, QUICK)
    assert len(server.ranges_of("/b.bin")) == 1


def test_a_length_that_nobody_knows_is_refused_and_one_in_chunks_is_not(server: Server, tmp_path: Path) -> None:
    def unsized(handler: Handler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(DATA)
        handler.close_connection = True

    def chunked(*chunks: bytes) -> object:
        def trick(handler: Handler) -> None:
            handler.protocol_version = "HTTP/1.1"
            handler.send_response(200)
            handler.send_header("Transfer-Encoding", "chunked")
            handler.end_headers()
            handler.wfile.write(b"".join(b"%x\r\n%s\r\n" % (len(one), one) for one in chunks))
            handler.close_connection = True

        return trick

    server.tricks["/a.bin"] = [unsized, ...]
    with pytest.raises(FetchError, match="whole and cut look alike"):
        fetch([item(server)], tmp_path, QUICK)
    fetch([item(server, digest=SHA)], tmp_path, QUICK)
    server.tricks["/b.bin"] = [chunked(DATA), chunked(DATA[:9], DATA[9:], b"")]  # the first without its end
    fetch([item(server, "b.bin")], tmp_path, QUICK)
    assert (tmp_path / "b.bin").read_bytes() == DATA


# Where it leads -------------------------------------------------------------------------------------------------------


def test_redirects_are_followed_only_where_the_bytes_stay_as_sure(server: Server, tmp_path: Path) -> None:
    server.tricks["/here"] = [status(302, Location="/a.bin"), ...]
    fetch([Item("one", f"{server.url}/here")], tmp_path, QUICK)
    assert (tmp_path / "one").read_bytes() == DATA
    server.tricks["/there"] = [status(302, Location=f"{server.elsewhere}/a.bin"), ...]
    with pytest.raises(FetchError, match=r"redirected to another host \(localhost\), and no digest"):
        fetch([Item("two", f"{server.url}/there")], tmp_path, QUICK)
    fetch([Item("two", f"{server.url}/there", digest=SHA)], tmp_path, QUICK)
    assert (tmp_path / "two").read_bytes() == DATA
    for address in ("file:///etc/passwd", "ftp://127.0.0.1/a", "gopher://x", "/round"):
        server.tricks["/round"] = [status(302, Location=address), ...]
        with pytest.raises(FetchError, match="refused"):
            fetch([Item("three", f"{server.url}/round", digest=SHA)], tmp_path, QUICK)
    assert not (tmp_path / "three").exists()


@pytest.mark.parametrize("address", ["file:///etc/hostname", "ftp://127.0.0.1/x", "data:,x"])
def test_an_address_that_is_not_of_the_web_is_refused(tmp_path: Path, address: str) -> None:
    with pytest.raises(FetchError, match="refused"):
        fetch([Item("x", address)], tmp_path, QUICK)


def test_a_token_goes_to_its_own_server_only(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    fetch([item(server)], tmp_path, QUICK)
    assert "secret" not in str(server.asked)


@pytest.mark.parametrize("path", ["../a", "/etc/x", "a/../../b", "a\\..\\b", "", "c:/x", ".healthfm/lock", "x\0y"])
def test_a_name_that_leaves_the_folder_is_refused(server: Server, tmp_path: Path, path: str) -> None:
    with pytest.raises(FetchError, match="leads out of the folder"):
        fetch([Item(path, f"{server.url}/a.bin")], tmp_path / "in", QUICK)
    assert not server.asked


def test_a_link_in_the_folder_leads_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "sub").symlink_to(tmp_path / "out")
    with pytest.raises(FetchError, match="leads out of the folder"):
        place(tmp_path / "in", "sub/a")


def test_two_files_of_one_name_are_refused(server: Server, tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="two of the files to fetch have this name"):
        fetch([item(server, "x/a.bin"), item(server, "X/a.bin")], tmp_path, QUICK)


def test_a_disk_that_is_too_small_is_told_first(server: Server, tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="are free there; choose another folder"):
        fetch([item(server, size=10**18)], tmp_path, QUICK)
    assert not server.asked


def test_a_place_that_cannot_be_written_is_one_line(server: Server, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file of mine")
    with pytest.raises(FetchError, match=r"data.a\.bin: cannot be written"):
        fetch([item(server, "data/a.bin")], tmp_path, QUICK)
    with pytest.raises(FetchError, match="cannot write there"):
        fetch([item(server)], tmp_path / "data", QUICK)


# Killed at any moment -------------------------------------------------------------------------------------------------

KILLED = """
import sys
from pathlib import Path
from healthfm.fetch.item import Item
from healthfm.fetch.run import fetch
from healthfm.fetch.web import Manners
fetch([Item("a.bin", sys.argv[1])], Path(sys.argv[2]), Manners(part=20_000, connections=2))
"""


def test_a_download_that_is_killed_goes_on_where_it_was(server: Server, tmp_path: Path) -> None:
    server.delay = lambda: time.sleep(0.02)
    words = [sys.executable, "-c", KILLED, f"{server.url}/a.bin", str(tmp_path)]
    for after in (3, 6):
        before = len(server.asked)
        going = subprocess.Popen(words, env={**os.environ, "no_proxy": "*"})
        while len(server.asked) - before < after and going.poll() is None:
            time.sleep(0.002)
        going.send_signal(signal.SIGKILL)
        going.wait()
        assert not (tmp_path / "a.bin").exists()
    server.delay = lambda: None
    before = len(server.asked)
    fetch([Item("a.bin", f"{server.url}/a.bin")], tmp_path, Manners(part=20_000))
    assert (tmp_path / "a.bin").read_bytes() == DATA and 0 < len(server.asked) - before < 13
    assert not {"bytes=0-19999"} & set(server.ranges_of("/a.bin")[before:])


def test_two_processes_do_not_fetch_into_one_folder(server: Server, tmp_path: Path) -> None:
    import fcntl

    (tmp_path / ROOM).mkdir()
    with (tmp_path / ROOM / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(FetchError, match="another process fetches into it"):
            fetch([item(server)], tmp_path, QUICK)


# Cards ----------------------------------------------------------------------------------------------------------------


def test_what_cards_say_is_to_be_had_is_what_their_readers_look_for() -> None:
    from fnmatch import fnmatchcase

    from healthfm.cards import catalog
    from healthfm.fetch.plan import of_dataset
    from healthfm.formats.source import plain_name

    named = 0
    for card in catalog.all_cards("dataset"):
        single = [one for one in card.downloads if one.index is None]  # type: ignore[union-attr]
        for one in single:
            variant = one.variant or card.default_variant
            plan = of_dataset(card.model_copy(update={"downloads": (one,)}), variant, Path("x"))  # type: ignore[arg-type]
            assert plan is not None
            path = plan.items[0].path
            words = {word for file in card.files for word in card.splits.values()} | {""}  # type: ignore[union-attr]
            patterns = {
                each.replace("{split}", word)
                for f in card.files
                for each in f.places
                for word in words
                if f.variant in (None, variant)
            }  # type: ignore[union-attr]
            if not path.endswith((".zip", ".tar", ".tgz", ".rar")):
                assert any(fnmatchcase(p, each) for p in (path, plain_name(path)) for each in patterns), (
                    card.slug,
                    path,
                )
            named += 1
    assert named > 100


def test_the_library_fetches_plans_and_refuses_as_the_command_does(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import healthfm as hfm
    from tests.cli.test_fetch_command import CARD

    (tmp_path / "cards" / "datasets").mkdir(parents=True)
    (tmp_path / "cards" / "datasets" / "wardquiz.toml").write_text(CARD.format(url=server.url))
    monkeypatch.setenv("HEALTHFM_CARDS", str(tmp_path / "cards"))
    server.files["/train.jsonl"] = b"abc"
    plan = hfm.fetch_dataset("wardquiz", tmp_path / "root", dry_run=True)
    assert (plan.size, plan.unsized, plan.licences) == (3, 0, ("CC BY 4.0 (data, unverified)",)) and not server.asked
    hfm.fetch_dataset("wardquiz", tmp_path / "root")
    assert (tmp_path / "root" / "data" / "train.jsonl").read_bytes() == b"abc"
    for name, said in (("wardquiz:large", "not on its card yet"), ("mimic-cxr", "credentialed users")):
        with pytest.raises(FetchError, match=said):
            hfm.fetch_dataset(name, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_gated_file_says_how_to_get_in(monkeypatch: pytest.MonkeyPatch) -> None:
    import email.message
    import urllib.error

    from healthfm.fetch import web

    error = urllib.error.HTTPError("https://huggingface.co/x", 401, "no", email.message.Message(), None)
    assert "HF_TOKEN" in str(web._refusal("https://huggingface.co/x", error))
    assert "HF_TOKEN" not in str(web._refusal("https://elsewhere.org/x", error))
    monkeypatch.setenv("HF_TOKEN", "secret")
    assert web._headers("https://huggingface.co/x", None, None)["Authorization"] == "Bearer secret"
    for url in ("http://huggingface.co/x", "https://huggingface.co.evil.org/x", "https://cdn.hf.co/x"):
        assert "Authorization" not in web._headers(url, None, None)


def test_https_is_never_left_and_a_token_never_handed_on() -> None:
    import email.message
    import urllib.request

    from healthfm.fetch.web import _Redirects

    headers = email.message.Message()
    asked = urllib.request.Request("https://huggingface.co/x", headers={"Authorization": "Bearer secret"})
    for url in ("http://huggingface.co/x", "https://evil.org/x", "https://evilhf.co/x", "https://hf.co.evil.org/x"):
        with pytest.raises(FetchError, match="refused"):
            _Redirects(False).redirect_request(asked, None, 302, "", headers, url)
    onward = _Redirects(False).redirect_request(asked, None, 302, "", headers, "https://cdn-lfs.hf.co/x")
    assert onward.full_url == "https://cdn-lfs.hf.co/x" and not any(
        "secret" in str(one) for one in onward.headers.values()
    )
    same = _Redirects(False).redirect_request(asked, None, 302, "", headers, "https://huggingface.co/y")
    assert "Bearer secret" in same.headers.values()
    with pytest.raises(FetchError, match="refused"):
        _Redirects(True).redirect_request(asked, None, 302, "", headers, "http://cdn-lfs.hf.co/x")


def test_a_server_that_is_not_there_is_one_line_and_a_bad_certificate_is_never_accepted(
    server: Server, tmp_path: Path
) -> None:
    with pytest.raises(FetchError, match=r"no connection .*3 times"):
        fetch([Item("x", "http://127.0.0.1:9/x")], tmp_path, QUICK)
    with pytest.raises(FetchError, match=r"no connection|refused"):
        fetch([Item("x", server.url.replace("http:", "https:") + "/a.bin")], tmp_path, QUICK)
