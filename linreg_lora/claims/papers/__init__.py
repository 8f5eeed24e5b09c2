"""One folder a paper: what its claims predict, and the claims of all but the two seed papers."""
