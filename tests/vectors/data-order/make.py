"""Writes order.json: the data order computed apart from src/data, from its definition alone (Python's own hashlib, fractions
and a schedule by exhaustive search of deadlines). Run: python3 make.py > order.json"""
import json
from fractions import Fraction
from hashlib import sha256
from math import ceil, log2


def permute(key, size, x):
    if size == 1:
        return 0
    bits = ceil(log2(size))
    low_size, high_size = 2 ** (bits // 2), 2 ** (bits - bits // 2)
    while True:
        high, low = divmod(x, low_size)
        for i in range(6):
            half = low if i % 2 == 0 else high
            f = int.from_bytes(sha256(key + i.to_bytes(4, "little") + half.to_bytes(4, "little")).digest()[:4], "little")
            if i % 2 == 0:
                high = (high + f) % high_size
            else:
                low = (low + f) % low_size
        x = high * low_size + low
        if x < size:
            return x


def draws(mixture, count):
    """Each place serves the open window with the earliest deadline; ties go to the first name."""
    total = sum(mixture.values())
    done = {name: 0 for name in mixture}
    for place in range(count):
        is_open = [n for n in sorted(mixture) if Fraction(done[n] * total, mixture[n]) < place + 1]
        name = min(is_open, key=lambda n: (Fraction((done[n] + 1) * total, mixture[n]), n))
        yield name, done[name]
        done[name] += 1


def order(seed, mixture, sizes, count):
    for name, draw in draws(mixture, count):
        data_pass, index = divmod(draw, sizes[name])
        parts = ["accrete data order 1", seed, name, str(data_pass)]
        key = sha256(b"".join(sha256(p.encode()).digest() for p in parts)).digest()
        yield [name, permute(key, sizes[name], index), data_pass]


cases = []
for seed, mixture, sizes in [
    ("00" * 32, {"a": 1, "b": 2}, {"a": 7, "b": 50}),
    ("5e" * 32, {"sotu": 50, "moby-dick": 10, "wordnet": 20, "factbook": 20}, {"sotu": 22000, "moby-dick": 3, "wordnet": 31000, "factbook": 1}),
    ("ff" * 32, {"only": 3}, {"only": 2**33 + 5}),
]:
    cases.append({"seed": seed, "mixture": mixture, "sequences": sizes, "order": list(order(seed, mixture, sizes, 40))})
print(json.dumps(cases))
