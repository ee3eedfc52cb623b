"""`evomal show --as`: a loss in another format, on standard output or in a file."""

import sys
from pathlib import Path

from evomal.cli.output import print_json
from evomal.foundation.errors import SettingError


def show_as(name: str, form: str, out: Path | None, force: bool, as_json: bool) -> int:
    """Print a loss in another format, or write it.

    Args:
        name: A loss file, a run folder, or a name.
        form: The format.
        out: The file; a folder means a file of the loss's own in it. None prints.
        force: Replace a file that is there.
        as_json: Print a JSON document instead of the text.

    Raises:
        SettingError: The format cannot express the loss, or is no text and has no file to go to.
    """
    from evomal.losses.exports import FORMATS, export
    from evomal.losses.loading import loss_by_name

    content = export(loss_by_name(name), form)
    if out is not None:
        file = _written(content, out, force)
        print_json({"format": form, "file": str(file)}) if as_json else print(f"written to {file}")
        return 0
    if isinstance(content, bytes):
        raise SettingError(f"{form} is no text; say where it shall go, such as --out loss{FORMATS[form].file}")
    if as_json:
        print_json({"format": form, "text": content})
    else:
        sys.stdout.write(content)
    return 0


def _written(content: str | bytes, out: Path, force: bool) -> Path:
    """The file, complete or not there at all.

    Raises:
        SettingError: It is there and `force` is not set, or it cannot be written.
    """
    from evomal.foundation.atomic import write_atomically

    if out.exists() and not force:
        raise SettingError(f"'{out}' exists; give another --out, or --force to replace it")
    try:
        write_atomically(out, content)
    except OSError as error:
        raise SettingError(f"'{out}' cannot be written ({error.strerror}); give another --out") from None
    return out
