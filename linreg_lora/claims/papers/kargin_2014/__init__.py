"""Kargin 2014, arXiv 1409.6779: singular values of a regression with many outputs and inputs."""
