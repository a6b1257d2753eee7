# Two commands do all the set-up: `make serve` and `make test`.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
BENCH  := bench
RESULTS := benchmarks/results

.PHONY: serve install test slow faults lint types imports check contracts page bench bench-engine bench-model bench-check load clean

serve: install            ## run the relay on an own PostgreSQL and Valkey
	$(BIN)/relay serve $(ARGS)

install: $(VENV)/.installed  ## make .venv with `relay` in it

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed: make PYTHON=python3.12 ..." if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable .
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/pip install --quiet --editable '.[test]'
	touch $@

test: $(VENV)/.installed-test  ## the default test suite (needs Node.js for the real clients)
	$(BIN)/python -m pytest $(ARGS)

slow: $(VENV)/.installed-test  ## the slow tests
	$(BIN)/python -m pytest -m slow $(ARGS)

faults: $(VENV)/.installed-test  ## the long form of the fault tests
	RELAY_TWO_HOSTS_CLIENTS=2000 $(BIN)/python -m pytest tests/faults tests/fuzz -m "" -s --timeout 2400 $(ARGS)

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-test
	$(BIN)/mypy

imports: $(VENV)/.installed-test
	$(BIN)/lint-imports

check: lint types imports

contracts: $(VENV)/.installed-test  ## generate what comes from the .proto files
	$(BIN)/python -m relay.contracts.generate $(ARGS)
	$(BIN)/python -m relay.contracts.reference > contrib/events.md
	$(BIN)/python -m relay.contracts.asyncapi > contrib/asyncapi.json

$(VENV)/.installed-bench: $(VENV)/.installed
	$(BIN)/pip install --quiet --editable '.[bench]'
	touch $@

bench: $(VENV)/.installed-bench  ## beside the peers: table, plots and JSON in benchmarks/results; under 20 minutes
	$(BIN)/python -m benchmarks.compare --out $(RESULTS) $(ARGS)

bench-check: $(VENV)/.installed-bench  ## has an edit become dearer, against a peer in the same run? five minutes
	$(BIN)/python -m benchmarks.compare.check $(ARGS)

bench-engine: $(VENV)/.installed-bench  ## what things cost inside: about six minutes; JSON in bench/ (or BENCH=...)
	mkdir -p $(BENCH)
	$(BIN)/python benchmarks/edit_path.py
	$(BIN)/python benchmarks/edit_path.py --members 50
	$(BIN)/python benchmarks/edit_path.py --members 50 --senders 10 --batch 4 --edits 4000
	$(BIN)/python -m benchmarks.connect --json $(BENCH)/connect.json
	$(BIN)/python benchmarks/cold_start.py --json $(BENCH)/cold_start.json
	$(BIN)/python benchmarks/keystroke.py --json $(BENCH)/keystroke.json
	$(BIN)/python benchmarks/open.py --json $(BENCH)/open.json
	$(BIN)/python benchmarks/idle_rooms.py --json $(BENCH)/idle_rooms.json
	$(BIN)/python benchmarks/workers.py --json $(BENCH)/workers.json

bench-model: $(VENV)/.installed-bench  ## stages, floor, flame graphs, cost model, and contrib/performance.md; 20 minutes
	$(BIN)/python -m benchmarks.model
	$(BIN)/python -m benchmarks.stages
	$(BIN)/python -m benchmarks.floor
	$(BIN)/python -m benchmarks.flame
	$(BIN)/python -m benchmarks.performance > contrib/performance.md

$(VENV)/.installed-load: $(VENV)/.installed
	$(BIN)/pip install --quiet --editable '.[load]'
	touch $@

load: $(VENV)/.installed-load  ## 100 users for a minute; ARGS="--users 1000 --run-time 5m", or RELAY_URL=...
	$(BIN)/python -m loadtests $(ARGS)

page:                     ## build the page served at / again (needs npm)
	cd contrib/canvas && npm ci --no-audit --no-fund && npm run build

clean:
	rm -rf $(VENV) .relay
