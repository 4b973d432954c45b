#!/usr/bin/env bash
# Builds kshot whole with the feature `cuda` on a machine that has neither GPU nor CUDA: compiler and headers from pip, stand-ins for
# what only a driver brings. What comes of it is linked, and does not start without a driver.
#
# usage: tests/cuda/build_without_gpu.sh [DIR]    (default target/cuda; about 3 GB)
set -euo pipefail
cd "$(dirname "$0")/../.."
dir="${1:-$PWD/target/cuda}"
mkdir -p "$dir/bin" "$dir/lib"

# All of one release: nvcc, its back end, and the headers it includes; cuBLAS and NVRTC to link with.
release=13.0
[ -x "$dir/python/bin/python" ] || python3 -m venv "$dir/python"
packages=()
for package in nvidia-cuda-nvcc nvidia-nvvm nvidia-cuda-crt nvidia-cuda-runtime nvidia-cuda-cccl nvidia-cuda-nvrtc nvidia-cublas; do
    packages+=("$package>=$release,<14")
done
"$dir/python/bin/pip" install --quiet "${packages[@]}"
toolkit="$(echo "$dir"/python/lib/python3*/site-packages/nvidia/cu13)"

# dfdx's build asks which architecture to compile for.
printf '#!/bin/sh\necho compute_cap\necho 9.0\n' >"$dir/bin/nvidia-smi"
chmod +x "$dir/bin/nvidia-smi"

# The linker wants the libraries under their plain names, and the driver's, which is only on machines with a GPU.
for library in cublas cublasLt nvrtc; do
    ln -sf "$(find "$toolkit" -name "lib$library.so.*" | head -n 1)" "$dir/lib/lib$library.so"
done
echo "" | cc -shared -x c - -o "$dir/lib/libcuda.so" -Wl,-soname,libcuda.so.1

export CUDA_PATH="$toolkit" CUDA_ROOT="$toolkit" PATH="$toolkit/bin:$dir/bin:$PATH" CARGO_TARGET_DIR="$dir/target"
export RUSTFLAGS="-L native=$dir/lib -C link-arg=-Wl,--unresolved-symbols=ignore-all"
cargo build --release --locked --features cuda
ls -l "$dir/target/release/kshot"
