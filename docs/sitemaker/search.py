"""The theme's search, with an error of lunr repaired that ends some searches.

lunr merges nodes of its tree of words that have the same string: of each edge the letter and the number of the node it
leads to, in a row. Where letters are digits, nodes that differ may have the same: 1 to 2 and 3 to 4 reads as 1 to 234.
The tree then has words that the index has not, and a search that meets one finds nothing. A comma behind each edge
keeps them apart.
"""

from pathlib import Path

_EDGES, _REPAIRED = "e=e+s+o.id}return e},t.TokenSet", 'e=e+s+o.id+","}return e},t.TokenSet'


def repair(site: Path) -> None:
    """Repair the script of a built site. Raises `ValueError` where the theme's script is another than the one known."""
    scripts = sorted((site / "assets" / "javascripts" / "workers").glob("search.*.min.js"))
    if len(scripts) != 1 or scripts[0].read_text().count(_EDGES) != 1:
        raise ValueError(f"sitemaker/search.py knows another script than {[path.name for path in scripts]}")
    scripts[0].write_text(scripts[0].read_text().replace(_EDGES, _REPAIRED))
