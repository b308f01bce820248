PYTHON ?= python

.PHONY: check test golden

# What must hold before a commit: style, types, and the rules of the house.
check:
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m pyright
	$(PYTHON) -m pytest tests/test_architecture.py

test:
	$(PYTHON) -m pytest

# Rewrites the golden numbers. Only for a change that means to change them; say so in the commit.
golden:
	$(PYTHON) tests/goldens/make.py
