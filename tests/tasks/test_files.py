"""Files of published data sets: looked for, downloaded, gone on with; and every way in which that fails."""

import errno
import hashlib
import http.server
import threading
from contextlib import contextmanager

import pytest

from evomal.foundation.errors import DataError, StorageError
from evomal.tasks import DATASETS, load_dataset
from evomal.tasks.datasets import files
from evomal.tasks.datasets.files import Published, resuming

CONTENT = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class _Handler(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT at any address; breaks off after `limit` bytes, and knows ranges unless told otherwise."""

    limit, ranges, asked = None, True, ()

    def do_GET(self):
        wanted = self.headers.get("Range")
        type(self).asked = (*self.asked, wanted)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.ranges else 0
        if start >= len(CONTENT):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        self.wfile.write(CONTENT[start : self.limit])

    def log_message(self, *args):
        pass


@contextmanager
def _served(**options):
    handler = type("Handler", (_Handler,), options)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", handler
        server.shutdown()


@pytest.fixture(autouse=True)
def nowhere(monkeypatch, tmp_path):
    monkeypatch.delenv("EVOMAL_DATA", raising=False)
    monkeypatch.setattr(files, "cache", lambda: tmp_path / "cache")


def published(home="http://127.0.0.1:9/", digest=SHA256):
    return Published("small", home, {"small.bin": digest})


def test_what_is_nowhere_is_downloaded_into_the_cache(tmp_path):
    with _served() as (home, handler):
        folder = published(home).folder()
        assert folder == tmp_path / "cache" / "small"
        assert (folder / "small.bin").read_bytes() == CONTENT
        assert published(home).folder() == folder
    assert handler.asked == (None,)  # once
    assert [path.name for path in folder.iterdir()] == ["small.bin"]


def test_the_folder_is_a_setting(tmp_path, monkeypatch):
    monkeypatch.setenv("EVOMAL_DATA", str(tmp_path / "mine"))
    assert published().download_folder(None) == tmp_path / "mine" / "small"
    assert published().download_folder(tmp_path / "given") == tmp_path / "given" / "small"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "small.bin").write_bytes(b"at hand")
    assert published().folder() == tmp_path / "mine"


def test_a_download_that_broke_off_goes_on(tmp_path):
    with _served(limit=300_000) as (home, _), pytest.raises(DataError, match=r"cannot be downloaded \(\w+Error\)"):
        published(home).folder()
    part = tmp_path / "cache" / "small" / "small.bin.part"
    had = part.stat().st_size
    assert 0 < had <= 300_000
    with _served() as (home, handler):
        folder = published(home).folder()
    assert handler.asked == (f"bytes={had}-",)
    assert (folder / "small.bin").read_bytes() == CONTENT
    assert not part.exists()


@pytest.mark.parametrize("had", [b"odd", CONTENT + b"more"])
def test_a_server_without_ranges_or_a_part_of_something_else_begin_anew(tmp_path, had):
    part = tmp_path / "x.part"
    part.write_bytes(had)
    with _served(ranges=len(had) > 3) as (home, _):
        resuming(part)(f"{home}x", str(tmp_path / "x"), None)
    assert (tmp_path / "x").read_bytes() == CONTENT


def test_another_checksum_is_refused_and_leaves_nothing(tmp_path):
    with _served() as (home, _), pytest.raises(DataError) as caught:
        published(home, digest="0" * 64).folder()
    folder = tmp_path / "cache" / "small"
    assert str(caught.value) == (
        f"data set 'small': small.bin is not the published file; put small.bin from {home} into {folder}, or name "
        "their folder in EVOMAL_DATA"
    )
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("name", sorted(name for name, source in DATASETS.items() if source.published))
def test_offline_one_line_says_which_files_go_where(name, tmp_path, monkeypatch):
    source = DATASETS[name].published
    monkeypatch.setitem(source.__dict__, "installed", None)
    monkeypatch.setitem(source.__dict__, "home", "http://127.0.0.1:9/")
    monkeypatch.setitem(source.__dict__, "addresses", {})
    with pytest.raises(DataError) as caught:
        load_dataset(name, tmp_path)
    listed, first = ", ".join(source.files), next(iter(source.files))
    assert str(caught.value) == (
        f"data set '{name}': {first} cannot be downloaded (ConnectionError); put {listed} from http://127.0.0.1:9/ "
        f"into {tmp_path / name}, or name their folder in EVOMAL_DATA{source.advice}"
    )


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_no_room_is_one_line_and_keeps_the_part(tmp_path, monkeypatch, code):
    def full(part):
        def download(url, output, _):
            part.write_bytes(b"begun")
            raise OSError(code, "what the system says")

        return download

    monkeypatch.setattr(files, "resuming", full)
    with pytest.raises(StorageError) as caught:
        published().folder()
    folder = tmp_path / "cache" / "small"
    assert str(caught.value) == (
        f"data set 'small': small.bin cannot be written into {folder} (what the system says); make room, or name "
        "another folder in EVOMAL_DATA"
    )
    assert (folder / "small.bin.part").read_bytes() == b"begun"


def test_a_folder_that_cannot_be_is_no_matter_of_the_connection(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(
        StorageError, match=r"small\.bin cannot be written into .*file/small \(.*\); make room, or name"
    ):
        published().download(tmp_path / "file" / "small")


def test_checksums_are_sha256_and_names_are_the_registered_ones():
    for name, source in DATASETS.items():
        if source.published is not None:
            assert source.published.name == name
            assert all(len(bytes.fromhex(digest)) == 32 for digest in source.published.files.values())
