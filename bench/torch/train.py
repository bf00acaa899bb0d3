"""One side of the training benchmark: reads a job folder, then trains on request.

Job folder: job.json {config, batch, time, steps, threads, recipe, trained: [{name, decay}], biases: [name]},
model.safetensors, batches.bin (int64: for each step ids, positions, labels of batch × time).
Each line on stdin {"from": step, "count": n} is answered by one line
{"losses": [..], "gradNorms": [..], "ms": [..], "cpuMs": n, "peakRssBytes": n}.
"""

import json
import os
import resource
import struct
import sys
import time

import torch

from quasar_long import QuasarLong


def read_safetensors(path):
    """Name → float32 tensor that shares the file's bytes in memory."""
    with open(path, "rb") as file:
        data = bytearray(file.read())
    (length,) = struct.unpack("<Q", data[:8])
    tensors = {}
    for name, info in json.loads(data[8 : 8 + length]).items():
        if name == "__metadata__":
            continue
        assert info["dtype"] == "F32", f"{name}: {info['dtype']}"
        start, end = info["data_offsets"]
        flat = torch.frombuffer(data, dtype=torch.float32, count=(end - start) // 4, offset=8 + length + start)
        tensors[name] = flat.view(info["shape"]).clone()
    return tensors


class Trainer:
    def __init__(self, folder, options):
        with open(os.path.join(folder, "job.json"), encoding="utf8") as file:
            self.job = job = json.load(file)
        torch.set_num_threads(job["threads"])
        tensors = read_safetensors(os.path.join(folder, "model.safetensors"))
        self.batches = torch.from_file(
            os.path.join(folder, "batches.bin"), size=job["steps"] * 3 * job["batch"] * job["time"], dtype=torch.int64
        ).view(job["steps"], 3, job["batch"], job["time"])
        self.trained = [tensors[spec["name"]].requires_grad_() for spec in job["trained"]]
        self.model = QuasarLong(
            job["config"], tensors, job["batch"], job["time"], options["chunked_gla"], options["attention_blocks"]
        )
        recipe = self.recipe = job["recipe"]
        decayed = [p for p, spec in zip(self.trained, job["trained"]) if spec["decay"]]
        plain = [p for p, spec in zip(self.trained, job["trained"]) if not spec["decay"]]
        self.optimizer = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": recipe["weightDecay"]}, {"params": plain, "weight_decay": 0.0}],
            lr=recipe["learningRate"],
            betas=(recipe["beta1"], recipe["beta2"]),
            eps=recipe["epsilon"],
            foreach=options["foreach"],
        )
        self.biases = {name: tensors[name] for name in job["biases"]}

    def step(self, index):
        """Loss before the update, and the gradient's norm before clipping."""
        ids, positions, labels = self.batches[index]
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.model.loss(ids, positions, labels)
        loss.backward()
        grads = [p.grad for p in self.trained if p.grad is not None]
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)))
        limit = self.recipe["clipNorm"]
        if limit > 0 and norm > limit:
            torch._foreach_mul_(grads, (limit / norm).item())
        self.optimizer.step()
        for name, bias in self.biases.items():
            load = self.model.loads[name].float()
            bias.add_(torch.sign(load.mean() - load), alpha=self.recipe["selectionBiasRate"])
        return loss.item(), norm.item()


def main():
    options = {"foreach": False, "chunked_gla": True, "attention_blocks": 1, **json.loads(sys.argv[2])}
    trainer = Trainer(sys.argv[1], options)
    print(json.dumps({"version": torch.__version__, "threads": torch.get_num_threads()}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        losses, norms, times = [], [], []
        cpu = time.process_time()
        for index in range(request["from"], request["from"] + request["count"]):
            started = time.perf_counter()
            loss, norm = trainer.step(index)
            times.append((time.perf_counter() - started) * 1000)
            losses.append(loss)
            norms.append(norm)
        answer = {
            "losses": losses,
            "gradNorms": norms,
            "ms": times,
            "cpuMs": (time.process_time() - cpu) * 1000,
            "peakRssBytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
