#!/bin/sh
# Made with zstd 1.5.4: one frame with a checksum; two frames (levels 1 and 19, the second with --long and without a
# checksum) around a skippable frame. plain.jsonl is what both unpack to.
set -e
python3 - <<'PY'
import json, random
random.seed(5)
words = "the quick brown fox jumps over a lazy dog while seven wizards box quietly in žluťoučký 漢字".split()
with open("plain.jsonl", "w") as out:
    for i in range(60):
        out.write(json.dumps({"text": " ".join(random.choice(words) for _ in range(random.randint(5, 60)))}) + "\n")
PY
zstd -q -f -6 --check plain.jsonl -o one.jsonl.zst
head -n 25 plain.jsonl | zstd -q -1 --check > frames.jsonl.zst
printf '\120\052\115\030\005\000\000\000skip!' >> frames.jsonl.zst
tail -n +26 plain.jsonl | zstd -q -19 --long=24 --no-check >> frames.jsonl.zst
