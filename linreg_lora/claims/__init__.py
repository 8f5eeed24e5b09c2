"""The claims file, the experiments that test it, and the verdicts."""
