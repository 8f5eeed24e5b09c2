"""Files that are never half written."""

from .atomic import atomic_path, write_atomically, write_dataset

__all__ = ["atomic_path", "write_atomically", "write_dataset"]
