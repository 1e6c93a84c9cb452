"""What can be told of a `.pth` file before torch reads it, without running anything in it."""

from __future__ import annotations

import pickletools
import re
import struct
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import IO, NoReturn

from ensembles.errors import CheckpointCorruptError, CheckpointUnsafeError

MAX_ENTRIES = 10_000
#: Some 400 bytes for each of the entries allowed; zipfile holds the whole directory in memory.
_MAX_DIRECTORY_BYTES = 400 * MAX_ENTRIES

_ZIP_MAGIC = b"PK\x03\x04"
_END_RECORD = b"PK\x05\x06"
_END_RECORD_64 = b"PK\x06\x06"
#: Both end records, the locator between them and the longest comment.
_LONGEST_TAIL = 22 + 65535 + 20 + 56

#: Everything a state dict needs; any other name in a pickle means that it holds more.
_WEIGHT_GLOBALS = re.compile(r"collections\.OrderedDict|torch\.\w*Storage|torch\.Size|torch\._utils\._rebuild_\w+")
#: A file in the format before torch 1.6 starts with a magic number, a version and system information.
_LEGACY_PICKLES = 4
_LISTED = 5


def is_zip(path: Path) -> bool:
    """Whether torch will read the file as a zip archive; otherwise it is in the older format, or nothing."""
    with path.open("rb") as file:
        return file.read(4) == _ZIP_MAGIC


def check_zip(path: Path) -> None:
    """Refuse an archive that is broken, could expand beyond its own size, or holds code.

    Raises:
        CheckpointCorruptError: torch.save writes no such archive.
        CheckpointUnsafeError: it is a TorchScript program.
    """

    def corrupt(reason: str) -> NoReturn:
        raise CheckpointCorruptError(str(path), reason)

    size = path.stat().st_size
    with path.open("rb") as file:
        if _directory_bytes(file, size) > _MAX_DIRECTORY_BYTES:
            corrupt(f"the zip directory is larger than {_MAX_DIRECTORY_BYTES} bytes")
        try:
            with zipfile.ZipFile(file) as archive:
                entries = archive.infolist()
        except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error) as error:
            raise CheckpointCorruptError(str(path), f"broken or truncated zip archive ({error})") from error
    names = [entry.filename.partition("/")[2] for entry in entries]
    if len(entries) > MAX_ENTRIES:
        corrupt(f"the zip archive has {len(entries)} entries, more than {MAX_ENTRIES}")
    # By this entry torch, too, tells a program from weights.
    if "constants.pkl" in names:
        raise CheckpointUnsafeError(str(path), "it is a TorchScript program; save its state_dict() instead")
    # Torch stores tensors as they are; a compressed entry could grow a thousandfold.
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        corrupt("the zip archive has compressed entries")
    if sum(entry.file_size for entry in entries) > size:
        corrupt("the zip archive claims more bytes than the file has")
    if "data.pkl" not in names:
        corrupt("a zip archive, but not one that torch.save wrote")


def foreign_globals(path: Path) -> list[str]:
    """Names of functions and classes in the file's pickles that no state dict needs, read without unpickling.

    Only names are looked at, for the message and for the choice between "unsafe" and "corrupt"; what may be loaded is
    decided by torch's weights-only unpickler.
    """
    if not is_zip(path):
        with path.open("rb") as file:
            return _foreign_names(file, _LEGACY_PICKLES)
    with zipfile.ZipFile(path) as archive:
        [name, *_] = [name for name in archive.namelist() if name.partition("/")[2] == "data.pkl"]
        with archive.open(name) as file:
            return _foreign_names(file, 1)


def _foreign_names(file: IO[bytes], pickles: int) -> list[str]:
    names: list[str] = []
    # Hostile bytes can fail in any way; the pickles that were complete until then count.
    with suppress(Exception):
        for _ in range(pickles):
            names += _globals_of_next_pickle(file)
    return [name for name in dict.fromkeys(names) if not _WEIGHT_GLOBALS.fullmatch(name)][:_LISTED]


def _globals_of_next_pickle(file: IO[bytes]) -> list[str]:
    names: list[str] = []
    strings: list[str] = []
    for opcode, argument, _ in pickletools.genops(file):
        if opcode.name in ("GLOBAL", "INST"):
            names.append(str(argument).replace(" ", "."))
        elif opcode.name == "STACK_GLOBAL":
            names.append(".".join(strings[-2:]))
        elif isinstance(argument, str):
            strings.append(argument)
    return names


def _directory_bytes(file: IO[bytes], size: int) -> int:
    """Size of the zip's central directory as its end records claim, the larger where there are two."""
    file.seek(max(0, size - _LONGEST_TAIL))
    tail = file.read()
    file.seek(0)
    claims = [0]
    for signature, layout, offset in ((_END_RECORD, "<L", 12), (_END_RECORD_64, "<Q", 40)):
        at = tail.rfind(signature)
        if at >= 0 and len(tail) >= at + offset + struct.calcsize(layout):
            [claim] = struct.unpack_from(layout, tail, at + offset)
            claims.append(0 if claim == 0xFFFFFFFF else claim)
    return max(claims)
