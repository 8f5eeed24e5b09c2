"""What checks types while tests run. An int is a float and a float complex, as PEP 484 has it and static checkers do."""

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
