"""Writes merge.json: merges of one fragment computed in plain Python (float is IEEE float64; f32 rounds once).

Independent of the TypeScript and WASM code: follows docs of merge order, shares, clipping, mean, rda and Nesterov.
Run: python3 make.py > merge.json
"""
import base64, json, math, random, struct

random.seed(20261122)
N, E, EMBEDDING = 448, 4, 63  # params, selection biases; params [0, 63) are the embedding


def f32(x):
    return struct.unpack("<f", struct.pack("<f", x))[0]


def numbers(count, scale):
    return [f32(random.gauss(0, 1) * scale) for _ in range(count)]


def encode(values):
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()


def squares(values):
    """16 lanes, then the lanes in order (one piece: N is below 4 MiB)."""
    lanes = [0.0] * 16
    for i, value in enumerate(values):
        lanes[i % 16] += value * value
    total = 0.0
    for lane in lanes:
        total += lane
    return 0.0 + total


def median(pool):
    pool = sorted(pool)
    half = sum(tokens for _, tokens in pool) / 2
    reached = 0
    for norm, tokens in pool:
        reached += tokens
        if reached >= half:
            return norm


def weighted(coefficients, claims, key, i):
    total = 0.0
    for c, claim in zip(coefficients, claims):
        total += c * claim[key][i]
    return total


def merge(case):
    claims = sorted(case["claims"], key=lambda c: (c["hotkey"], c["learner"], -c["staleness"], c["id"]))
    norms = [math.sqrt(squares(c["delta"])) for c in claims]
    per_step = [(n / math.sqrt(c["innerSteps"]), c["tokens"]) for n, c in zip(norms, claims)]
    pool = per_step + (case["recent"][-8:] if len(claims) < case["smallCohort"] else [])
    bound = case["multiple"] * median(pool)
    clips = [bound / n if n > bound else 1 for n, _ in per_step]
    weights = [c["tokens"] / (1 + c["staleness"]) for c in claims]
    total = 0.0
    for w in weights:
        total += w
    shares = [w / total for w in weights]
    means = [s * c for s, c in zip(shares, clips)]
    directed = means
    if case["rule"] == "rda":
        parts = [math.sqrt(squares(c["delta"][EMBEDDING:])) for c in claims]
        mean_norm = 0.0
        for s, c, n in zip(shares, clips, parts):
            mean_norm += s * c * n
        units = [s / n if n > 0 else 0 for s, n in zip(shares, parts)]
        combined = [weighted(units, claims, "delta", i) for i in range(EMBEDDING, N)]
        length = math.sqrt(squares(combined))
        directed = [u * (mean_norm / length) for u in units]
    theta, momentum = [], []
    for i in range(N):
        delta = f32(weighted(means if i < EMBEDDING else directed, claims, "delta", i))
        v = f32(case["mu"] * case["momentum"][i] + delta)
        momentum.append(v)
        theta.append(f32(case["theta"][i] - case["eta"] * (delta + case["mu"] * v)))
    bias = [f32(case["bias"][i] - weighted(shares, claims, "bias", i)) for i in range(E)]
    return {
        "order": [c["id"] for c in claims],
        "shares": shares,
        "clippedNorms": [n * c for n, c in zip(norms, clips)],
        "theta": encode(theta),
        "momentum": encode(momentum),
        "bias": encode(bias),
    }


def make_claim(index):
    return {
        "id": f"claim-{index}",
        "hotkey": f"5{random.choice('ABC')}",
        "learner": f"{random.choice('xyz')}",
        "tokens": random.randrange(1, 100_000),
        "staleness": random.randrange(3),
        "innerSteps": random.randrange(1, 30),
        "delta": numbers(N, 10 ** random.uniform(-4, -1)),
        "bias": numbers(E, 0.01),
    }


cases = []
for rule in ("mean", "rda"):
    for count in (1, 2, 3, 9):
        case = {
            "rule": rule,
            "eta": 0.7,
            "mu": 0.9,
            "multiple": 1.5,
            "smallCohort": 3,
            "recent": [(random.uniform(0.001, 0.1), random.randrange(1, 100_000)) for _ in range(10)],
            "theta": numbers(N, 1),
            "momentum": numbers(N, 0.1),
            "bias": numbers(E, 1),
            "claims": [make_claim(i) for i in range(count)],
        }
        expected = merge(case)
        for part in [case, *case["claims"]]:
            for key in ("theta", "momentum", "bias", "delta"):
                if key in part:
                    part[key] = encode(part[key])
        cases.append({**case, "expected": expected})
print(json.dumps(cases))
