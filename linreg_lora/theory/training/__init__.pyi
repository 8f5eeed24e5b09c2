"""Training in closed form: a problem or its matrices in, numbers against time out."""

__all__ = []
