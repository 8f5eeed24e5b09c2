"""Judgements for readers: tables, pages of claims, errata."""
