#!/usr/bin/env bash
# Builds the release binary and measures it as a whole: CPU, memory, bytes and latencies beside their budgets.
# Arguments go to the benchmark: benches/whole.sh --scale 4 --json figures.json; --help lists them.
set -euo pipefail
cd "$(dirname "$0")/.."
target="${CARGO_TARGET_DIR:-target}"
cargo build --release -p trackway
cargo run --release -q -p trackway-loadgen --example whole -- --binary "$target/release/trackway" "$@"
