"""setuptools needs this file only for old front ends; everything is said in setup.cfg."""

from setuptools import setup

setup()
