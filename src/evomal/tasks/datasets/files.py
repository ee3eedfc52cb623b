"""Files of published data sets: where they are looked for, and how they are downloaded."""

import gzip
import os
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evomal.foundation.errors import DataError, StorageError, one_line

FOLDER_VARIABLE = "EVOMAL_DATA"
CHUNK = 1 << 16
TIMEOUT = 30  # seconds without a byte


@dataclass(frozen=True)
class Published:
    """The files of a data set, as its authors publish them.

    They are looked for in the folder that is asked for, in the one that the environment variable ``EVOMAL_DATA``
    names, in a folder with the data set's name inside of each (first), where Linux distributions put them, and in the
    user's cache; what is nowhere is downloaded into the first of these that is named.

    Args:
        name: The data set's registered name.
        home: Address that file names are added to.
        files: The name of every file, with its SHA-256.
        also: Other names under which a file is as good, such as an unpacked one; by the name of the file.
        addresses: Whole addresses of files that are elsewhere, by name.
        installed: A folder where a package may have put them.
        advice: What else a user may do, for messages.
    """

    name: str
    home: str
    files: Mapping[str, str]
    also: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    addresses: Mapping[str, str] = field(default_factory=dict)
    installed: Path | None = None
    advice: str = ""

    def folder(self, data_dir: Path | None = None) -> Path:
        """The folder that holds all files; downloaded if there is none.

        Raises:
            DataError: Files are missing and cannot be had.
            StorageError: There is no room for them, or the folder cannot be written.
        """
        found = self.found(data_dir)
        return self.download(self.download_folder(data_dir)) if found is None else found

    def found(self, data_dir: Path | None = None) -> Path | None:
        """The first folder that holds all files, or None."""
        folders = (folder for folder in self._folders(data_dir))
        return next((folder for folder in folders if all(self.path(folder, name) for name in self.files)), None)

    def path(self, folder: Path, name: str) -> Path | None:
        """A file in a folder, under one of its names."""
        candidates = (folder / known for known in (name, *self.also.get(name, ())))
        return next((path for path in candidates if path.exists()), None)

    def download_folder(self, data_dir: Path | None) -> Path:
        """Where downloads go."""
        named = data_dir or os.environ.get(FOLDER_VARIABLE)
        return Path(named).expanduser() / self.name if named else cache() / self.name

    def download(self, folder: Path, home: str | None = None) -> Path:
        """Download what is not in `folder` yet; checksums are compared, and a download that broke off goes on.

        Args:
            folder: Where the files go.
            home: Another address of the same files.

        Returns:
            `folder`.

        Raises:
            DataError: There is no connection, or a file is not the published one.
            StorageError: There is no room, or the folder cannot be written.
        """
        import pooch
        import requests

        pooch.get_logger().setLevel("WARNING")
        for name, digest in self.files.items():
            address = f"{home}{name}" if home else self.addresses.get(name, f"{self.home}{name}")
            try:
                pooch.retrieve(address, f"sha256:{digest}", name, folder, downloader=resuming(folder / f"{name}.part"))
            except ValueError as error:  # another checksum
                raise self._unavailable(name, "is not the published file", folder) from error
            except requests.exceptions.RequestException as error:
                raise self._unavailable(name, f"cannot be downloaded ({type(error).__name__})", folder) from error
            except OSError as error:
                raise StorageError(
                    f"data set '{self.name}': {name} cannot be written into {folder} ({error.strerror}); make room, or "
                    f"name another folder in {FOLDER_VARIABLE}"
                ) from error
        return folder

    def _unavailable(self, name: str, what: str, folder: Path) -> DataError:
        listed = ", ".join(self.files)
        return DataError(
            f"data set '{self.name}': {name} {what}; put {listed} from {self.home} into {folder}, or name their folder "
            f"in {FOLDER_VARIABLE}{self.advice}"
        )

    def _folders(self, data_dir: Path | None) -> Iterator[Path]:
        for named in (data_dir, os.environ.get(FOLDER_VARIABLE)):
            if named:
                yield from (Path(named).expanduser() / self.name, Path(named).expanduser())
        if self.installed is not None:
            yield self.installed
        yield cache() / self.name


def cache() -> Path:
    """The user's cache folder, as the operating system has it."""
    import pooch

    return Path(pooch.os_cache("evomal"))


def resuming(part: Path) -> Callable[[str, Any, Any], None]:
    """A downloader for pooch that keeps what it has in `part` and asks for the rest the next time.

    A part that turns out complete is handed over and removed; whether it is the right file is for pooch to say.
    """

    def download(url: str, output: Any, _: Any) -> None:
        import requests

        have = part.stat().st_size if part.exists() else 0
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
            if answer.status_code == requests.codes.requested_range_not_satisfiable:
                part.unlink()  # longer than the file: it is of another one
                return download(url, output, _)
            answer.raise_for_status()
            goes_on = answer.status_code == requests.codes.partial_content
            with part.open("ab" if goes_on else "wb") as file:
                for piece in answer.iter_content(CHUNK):
                    file.write(piece)
        part.replace(output)

    return download


def archived(path: Path, names: Sequence[str]) -> dict[str, bytes]:
    """Files of a ``.tar.gz`` by their last names; it is read, and not unpacked.

    It is read to its end, where the checksum stands that tells damaged bytes: the archive in it ends before.

    Raises:
        DataError: It is damaged, or lacks one of them.
    """
    found = {}
    try:
        with gzip.open(path) as content, tarfile.open(fileobj=content, mode="r:") as archive:
            for member in archive:
                file = archive.extractfile(member) if member.isfile() else None
                if file is not None and Path(member.name).name in names:
                    found[Path(member.name).name] = file.read()
            while content.read(CHUNK):
                pass
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise cannot_read(path, error) from None
    missing = [name for name in names if name not in found]
    if missing:
        raise DataError(f"{path} lacks {', '.join(missing)}; get it anew")
    return found


def cannot_read(path: Path, error: BaseException) -> DataError:
    """The error for a file that is there and cannot be read."""
    return DataError(f"{path} cannot be read ({one_line(error)}); get it anew")
