"""Kim, Kim and Park 2025, arXiv 2510.15337: interpolating a target from the interpolator of a source."""
