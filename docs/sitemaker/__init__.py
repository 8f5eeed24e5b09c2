"""The site's pages, made from the documents, docstrings, commands, schemas and notebooks of the repository.

`docs/site_hooks.py` hands them to MkDocs; nothing here needs it. `contents.pages` is where to begin.
"""

from pathlib import Path

ROOT = Path(__file__).parents[2]
