# Works with GNU make 3.81 and any Python 3.11 or newer: `make PYTHON=python3.12 …` chooses one.
PYTHON ?= python3
ENV := .venv/bin
RUN := $(ENV)/python

.DEFAULT_GOAL := help
.PHONY: help env dev demo test test-all check format lock docs-reference servers sabotage clean

help:
	@sed -n 's/^\([a-z-]*\):.*## /  make \1|/p' Makefile | awk -F'|' '{ printf "%-24s%s\n", $$1, $$2 }'
	@echo '  make prove-NAME       one drill at full length; QUICK=1 for its short form'

env:
	@$(PYTHON) scripts/environment.py

dev: env  ## one locked environment in .venv, ready to work in
	@echo 'ready: .venv/bin/fivenines --help, make check, make test'

# The demo tells how long it took from here to the first answer.
demo:  ## a generated service as three replicas: one is killed under load, nothing is lost
	@started=`date +%s`; $(PYTHON) scripts/environment.py && DEMO_STARTED=$$started $(RUN) -m fivenines.lab.demo

test: servers  ## every suite and every quick drill, in ten minutes at most
	@$(RUN) scripts/suites.py quick

test-all: servers  ## the rest: full drills, sabotages, a clone tested as an ordinary user
	@$(RUN) scripts/suites.py full

check: env  ## format, lint, types, layers, documentation
	@$(ENV)/ruff format --check .
	@$(ENV)/ruff check .
	@$(ENV)/mypy
	@$(ENV)/basedpyright
	@$(RUN) -m pytest -q -p no:cacheprovider tests/architecture tests/docs

format: env  ## let ruff rewrite what it can
	@$(ENV)/ruff format .
	@$(ENV)/ruff check --fix .

servers: env
	@$(RUN) scripts/servers.py

lock: env  ## remake requirements.lock from pyproject.toml
	@$(RUN) scripts/lock.py

docs-reference: env  ## remake what docs/reference is generated from: public names, settings
	@$(RUN) scripts/reference.py

sabotage: env  ## break the code on purpose and see the drills notice; NAME=lane for one drill
	@$(RUN) drills/sabotage.py $(NAME)

prove-%: env
	@$(RUN) drills/$(subst -,_,$*).py

clean:  ## remove what make made
	rm -rf .venv build .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage*
