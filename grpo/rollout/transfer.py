"""Weights from the trainer to an engine process, through a file without a name.

The bytes of all tensors lie end to end in a file that no folder lists, so nothing is left of it once both
processes have let go, however they end. Its table of contents travels beside it. Tensors are written as they
come, so no second copy of the model is held.
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from grpo.rollout.memory import free_memory

if TYPE_CHECKING:
    from torch import Tensor

ALIGN = 64  # bytes; offset of each tensor in the file
MEMORY_SHARE = 0.8  # of free memory that a parcel may take before it moves to disk


class Entry(NamedTuple):
    """One tensor of a parcel."""

    name: str
    dtype: str  # torch's name, without the prefix: "bfloat16"
    shape: tuple[int, ...]
    offset: int  # bytes from the start of the file


class Parcel:
    """Weights written to an anonymous file, and what is in it."""

    def __init__(self, file: IO[bytes], entries: list[Entry], checksums: dict[str, str]) -> None:
        self.file, self.entries, self.checksums = file, entries, checksums

    def __enter__(self) -> Parcel:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()


def checksum(tensor: Tensor) -> str:
    """Hash of a tensor's type, shape and bytes (xxh3, 64 bits, hexadecimal). tensor: [N, …], of any type."""
    return _digest(tensor, _bytes(tensor))


def pack(weights: Iterable[tuple[str, Tensor]], scratch: Path, room: int | None = None) -> Parcel:
    """Writes named tensors into an anonymous file: in memory while they fit, else on the disk of `scratch`.

    Args:
        weights: name and tensor, on any device.
        scratch: folder whose disk takes the file when memory has no room; it must exist.
        room: bytes that may be held in memory; `MEMORY_SHARE` of what is free when left out.
    """
    room = int(MEMORY_SHARE * free_memory()) if room is None else room
    file: IO[bytes] = os.fdopen(os.memfd_create("weights"), "w+b")
    in_memory = True
    entries, checksums = [], {}
    for name, tensor in weights:
        data = _bytes(tensor)
        offset = -(-file.tell() // ALIGN) * ALIGN
        if in_memory and offset + data.nbytes > room:
            file, in_memory = _to_disk(file, scratch), False
        file.seek(offset)
        file.write(data)
        entries.append(Entry(name, str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape), offset))
        checksums[name] = _digest(tensor, data)
    file.truncate(-(-file.tell() // ALIGN) * ALIGN)  # an empty last tensor must lie inside the file
    file.flush()
    return Parcel(file, entries, checksums)


def unpack(path: str, entries: Iterable[Entry]) -> Iterator[tuple[str, Tensor]]:
    """Yields the tensors of a parcel as views of the file: nothing is read before it is used.

    Args:
        path: the open file, as `/proc/<pid>/fd/<n>`.
        entries: its table of contents.
    """
    import torch

    size = os.stat(path).st_size
    whole = torch.from_file(path, shared=False, size=size, dtype=torch.uint8) if size else None
    for entry in entries:
        assert whole is not None
        dtype: torch.dtype = getattr(torch, entry.dtype)
        length = math.prod(entry.shape) * dtype.itemsize
        yield entry.name, whole[entry.offset : entry.offset + length].view(dtype).view(entry.shape)


def _bytes(tensor: Tensor) -> memoryview:
    import torch

    flat = tensor.detach().cpu().contiguous().reshape(-1)
    data: Any = flat.view(torch.uint8).numpy()
    return memoryview(data)


def _digest(tensor: Tensor, data: memoryview) -> str:
    import xxhash

    state = xxhash.xxh3_64(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
    state.update(data)
    return state.hexdigest()


def _to_disk(file: IO[bytes], scratch: Path) -> IO[bytes]:
    disk: IO[bytes] = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115 the parcel closes it
    file.seek(0)
    shutil.copyfileobj(file, disk, 1 << 24)
    file.close()
    return disk
