#!/usr/bin/env bash
# On a machine with an NVIDIA GPU: the oracle tests on it, a comparison of the learners, the times of the hot paths; and all of it as a
# section for docs/cuda.md, in FILE.
#
# usage: tests/cuda/on_gpu.sh [FILE]    (default cuda-measured.md)
set -euo pipefail
cd "$(dirname "$0")/../.."
out="$(realpath "${1:-cuda-measured.md}")"
nvidia-smi >/dev/null || { echo "there is no GPU that nvidia-smi knows: nothing to measure" >&2; exit 2; }
command -v nvcc >/dev/null || { echo "there is no nvcc on the PATH: docs/cuda.md says what a build needs" >&2; exit 2; }
build=(--release --locked --features kshot-cli/cuda -p kshot-cli)

cargo build "${build[@]}"
kshot="$PWD/target/release/kshot"
section="$(mktemp)"
trap 'rm -f "$section" "$section.tests"' EXIT
{
    echo "## Measured"
    echo
    echo "$("$kshot" doctor --device cuda | sed -n 's/^device *//p'), commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown)."
    echo
    echo "Oracle tests (\`tests/oracle\`):"
    echo
    echo '```'
    # The outcome counts, and is printed either way.
    if cargo test "${build[@]}" --test oracle 2>&1 | tee "$section.tests" | grep -E "^test |^test result"; then true; fi
    echo '```'
    echo
    echo "\`kshot bench --steps 50 --episodes 100\`:"
    echo
    echo '```'
    "$kshot" bench --device cuda --steps 50 --episodes 100 2>/dev/null || echo "failed: run it to see why"
    echo '```'
    echo
    echo "\`kshot perf\`, a JSON line a row:"
    echo
    echo '```'
    "$kshot" perf --device cuda --reps 5 2>/dev/null || echo "failed: run it to see why"
    echo '```'
} >"$section"
mv "$section" "$out"
echo "$out"
grep -q "^test result: ok" "$section.tests" || { echo "oracle tests failed" >&2; exit 1; }
