"""One outer step of a fragment as a merge computes it, in PyTorch on one thread. Prints times as JSON."""
import json
import sys
import time

import torch

torch.set_num_threads(1)
elements, learners = int(sys.argv[1]), int(sys.argv[2])
torch.manual_seed(0)
deltas = [(torch.rand(elements) - 0.5) * 1e-2 for _ in range(learners)]
theta, momentum = torch.rand(elements), torch.zeros(elements)
weights = [1.0 / learners] * learners


def merge():
    norms = [float(torch.linalg.vector_norm(delta, dtype=torch.float64)) for delta in deltas]
    bound = 4 * sorted(norms)[learners // 2]
    total = torch.zeros(elements, dtype=torch.float64)
    for delta, weight, norm in zip(deltas, weights, norms):
        total.add_(delta, alpha=weight * min(1.0, bound / norm))
    delta = total.float()
    momentum.mul_(0.5).add_(delta)
    theta.sub_(0.8 * (delta + 0.5 * momentum))


times = []
for run in range(14):
    start = time.perf_counter()
    merge()
    if run >= 3:
        times.append((time.perf_counter() - start) * 1000)
times.sort()
at = lambda share: times[min(len(times) - 1, int(share * len(times)))]
print(json.dumps({"medianMs": at(0.5), "lowMs": at(0.1), "highMs": at(0.9), "version": torch.__version__}))
