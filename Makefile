# One command for each thing; each sets itself up. PYTHON picks the interpreter (3.11 or later).
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
TWO := -n 2 --dist loadfile  # so that what a file's tests share is made once

.PHONY: demo test test-postgres proof lint audit soak soak-small bench bench-small bench-ledger bench-learning bench-serve api browser duckdb1 reference clean

demo: $(VENV)/.ready            ## a synthetic bank, the whole job, one client explained
	$(BIN)/nextbest demo

test: $(VENV)/.ready-dev        ## every test; the shared cases are used where they are there
	$(BIN)/python -m pytest $(TWO)

test-postgres: $(VENV)/.ready-dev  ## the workspace's tests on PostgreSQL too, on a server of their own (Debian: apt-get install postgresql)
	tests/with_postgres $(BIN)/python -m pytest $(TWO) tests/store

proof: $(VENV)/.ready-dev       ## the promises in full, on SQLite and PostgreSQL: 200 kills, 1,000 forgeries, 8 processes (half an hour)
	NEXTBEST_PROOF=full tests/with_postgres $(BIN)/python -m pytest -n 2 -s tests/store/test_proof.py tests/generative/test_decisions_agree.py \
	  tests/generative/test_online_engines_agree.py tests/spec/test_rows_engine.py

lint: $(VENV)/.ready-dev        ## style, types, and that every test file can be read
	$(BIN)/ruff check src tests bench docs
	$(BIN)/ruff format --check src tests bench docs
	$(BIN)/mypy
	$(BIN)/python -m pytest --collect-only -qq

audit:                          ## the locked libraries against what is known of their vulnerabilities
	PYTHON=$(PYTHON) .ci/audit

bench: $(VENV)/.ready           ## 20M rows, 1M customers, beside the bare query
	$(BIN)/python bench/decide.py --customers 1000000

bench-small: $(VENV)/.ready     ## the same with 20,000 customers
	$(BIN)/python bench/decide.py --customers 20000

bench-ledger: $(VENV)/.ready    ## what a workspace adds to a run of 1M customers
	$(BIN)/python bench/ledger.py --customers 1000000

bench-learning: $(VENV)/.ready-dev  ## how good it is on the shared cases: the figures of docs/explanation/how-good.md (an hour)
	$(BIN)/python bench/learning.py

bench-serve: $(VENV)/.ready-dev ## a server beside the bare framework (Debian: apt-get install wrk curl)
	$(BIN)/python bench/serve.py

soak: $(VENV)/.ready-dev        ## ten minutes of mixed load on a server that is killed all the while: nothing accepted is lost
	$(BIN)/python bench/soak.py --minutes 10

soak-small: $(VENV)/.ready-dev  ## the same for half a minute
	$(BIN)/python bench/soak.py --minutes 0.5

api: $(VENV)/.ready-dev         ## schemathesis over the whole API: no server error, no reply beside its schema
	$(BIN)/python -m pytest tests/web/test_schema.py

browser: $(VENV)/.ready-dev     ## the console in a real browser, and pictures of it and of the report (Debian: apt-get install chromium)
	$(BIN)/python -m pytest tests/browser
	$(BIN)/python bench/pictures.py build/pictures
	$(BIN)/nextbest demo --out build/demo
	bench/screenshots build/demo/out/report.html build/pictures

duckdb1: $(VENV)1/.ready-dev    ## the tests of what SQL says, on DuckDB 1; what stands above the engine is the same
	$(VENV)1/bin/python -m pytest $(TWO) tests/generative tests/playbooks tests/store/test_contact_policy.py -k "not rows_record" \
	  $(addprefix tests/spec/test_,export.py messy_currencies.py messy_files.py messy_values.py repeated_engine.py rows_engine.py rules.py union.py windows.py)

reference: $(VENV)/.ready       ## docs/reference from the schema, and the JSON schemas
	$(BIN)/python docs/make_reference.py

$(VENV)/.ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	touch $@

$(VENV)/.ready-dev: $(VENV)/.ready requirements-server.lock requirements-console.lock requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-server.lock -r requirements-console.lock -r requirements-dev.lock
	touch $@

$(VENV)1/.ready-dev: requirements.lock requirements-server.lock requirements-console.lock requirements-dev.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)1
	$(VENV)1/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.lock -r requirements-server.lock -r requirements-console.lock -r requirements-dev.lock
	$(VENV)1/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	$(VENV)1/bin/python -m pip install --quiet --disable-pip-version-check "duckdb==1.5.6"
	touch $@

clean:
	rm -rf $(VENV) $(VENV)1 build demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
