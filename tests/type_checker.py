"""What checks types while tests run: an int is a float, and a float complex, as PEP 484 and static checkers have it."""

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
