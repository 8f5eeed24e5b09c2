"""Files as data: YAML read strictly, problems written down, outputs that are never half written."""
