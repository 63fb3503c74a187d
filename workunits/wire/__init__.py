"""Frozen messages for every wire, each with a strict ``parse`` and an ``encode``."""
