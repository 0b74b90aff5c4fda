"""Samples in an .npz file, read batch by batch: nothing else of the file is held in memory."""

import contextlib
import zipfile

import numpy as np
from numpy.lib import format as npy


class Member:
    """One array of an .npz file, from its first sample on."""

    def __init__(self, archive, name):
        self.stream = archive.open(f"{name}.npy")
        version = npy.read_magic(self.stream)
        read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        self.shape, fortran, self.dtype = read_header(self.stream)
        if fortran:
            raise ValueError(f"`{name}` is in Fortran order")

    def read(self, count):
        shape = (count, *self.shape[1:])
        return np.frombuffer(self.stream.read(int(np.prod(shape)) * self.dtype.itemsize), self.dtype).reshape(shape)


class Samples:
    """The arrays `names` of `path`: how many samples, and iteration over batches of `size` (dicts)."""

    def __init__(self, path, names, size, limit=None):
        self.path, self.names, self.size = path, names, size
        with zipfile.ZipFile(path) as archive:
            count = Member(archive, names[0]).shape[0]
        self.count = min(count, limit or count)

    def __len__(self):
        return self.count

    def __iter__(self):
        with contextlib.closing(zipfile.ZipFile(self.path)) as archive:
            members = {name: Member(archive, name) for name in self.names}
            for start in range(0, self.count, self.size):
                count = min(self.size, self.count - start)
                yield {name: member.read(count) for name, member in members.items()}


def labels(path, name="label"):
    """The labels in `path`, or None."""
    with np.load(path) as arrays:
        return arrays[name] if name in arrays.files else None
