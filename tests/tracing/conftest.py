"""Spans for the tests of traces."""

from .traces import spans

__all__ = ["spans"]
