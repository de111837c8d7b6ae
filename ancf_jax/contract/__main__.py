"""Pytest on this folder: conftest.py must be there when the command line is read, for which --pyargs is too late."""

import sys
from pathlib import Path

import pytest

sys.exit(pytest.main([str(Path(__file__).parent), "-p", "no:cacheprovider", *sys.argv[1:]]))
