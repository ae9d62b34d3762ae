"""The kernel benchmark's native side: a product of matrices in PyTorch, whose BLAS on Debian is OpenBLAS.

    matmul_peer.py MxKxN --threads N [--start FILE]

Writes {"ready": ...} or {"skip": ...}, then for every line read {"ms": ..., "cpu_ms": ...} of one product.
"""
import argparse
import json
import sys
import time

try:
    import torch
except ImportError as error:
    print(json.dumps({"skip": f"PyTorch cannot be imported ({error})"}), flush=True)
    sys.exit(0)

parser = argparse.ArgumentParser()
parser.add_argument("shape")
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--start")
options = parser.parse_args()
torch.set_num_threads(options.threads)
rows, depth, columns = (int(n) for n in options.shape.split("x"))
a, b = torch.rand(rows, depth), torch.rand(depth, columns)
out = torch.empty(rows, columns)
ready = {"peer": f"PyTorch {torch.__version__}", "threads": options.threads, "batch": 1}
print(json.dumps({"ready": ready}), flush=True)
for _ in sys.stdin:
    cpu, start = time.process_time(), time.perf_counter()
    torch.mm(a, b, out=out)
    ms = (time.perf_counter() - start) * 1e3
    print(json.dumps({"ms": ms, "cpu_ms": (time.process_time() - cpu) * 1e3}), flush=True)
