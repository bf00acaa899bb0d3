/** @file Needle recall with models whose answer is known: one that looks the word up, one that knows nothing. */
import { describe, expect, it } from 'vitest';
import { type NeedleModel, needleRecall } from './needle.ts';

/** Words, spaces and signs as tokens, numbered as they come. */
function wordTokenizer() {
  const ids = new Map<string, number>();
  const encode = (text: string) =>
    (text.match(/ ?\w+|\s|[^\w\s]/g) ?? []).map((piece) => {
      const id = ids.get(piece) ?? ids.size;
      ids.set(piece, id);
      return id;
    });
  return { encode, ids };
}

/** Finds the last earlier place of the prompt's last tokens, within `reach` tokens, and repeats what followed it. */
function lookup(reach: number): NeedleModel {
  const { encode } = wordTokenizer();
  return {
    encode,
    async score(ids) {
      const logits = new Float32Array(1000);
      const [a, b] = ids.slice(-2);
      for (let i = Math.max(1, ids.length - reach); i < ids.length - 1; i++)
        if (ids[i - 1] === a && ids[i] === b) logits[ids[i + 1]!] = 9;
      return logits;
    },
  };
}

const options = { lengths: [64, 300], depths: [0, 0.5, 1], samples: 5, seed: 1 };

describe('needleRecall', () => {
  it('is 1 for a model that looks the word up, and 0 where it does not see that far', async () => {
    const all = await needleRecall(options, lookup(1000));
    expect(all.cells.map(({ recall, exact }) => [recall, exact])).toEqual(new Array(6).fill([1, 1]));
    const near = await needleRecall(options, lookup(100));
    const recallAt = (length: number, depth: number) =>
      near.cells.find((cell) => cell.length === length && cell.depth === depth)!.recall;
    expect([recallAt(64, 0), recallAt(300, 0), recallAt(300, 0.5), recallAt(300, 1)]).toEqual([1, 0, 0, 1]);
  });

  it('is 0 for a model that scores all words alike', async () => {
    const { encode } = wordTokenizer();
    const flat = await needleRecall(options, { encode, score: async () => new Float32Array(1000) });
    expect(flat.cells.every(({ recall }) => recall === 0)).toBe(true);
    expect(flat.chance).toBeCloseTo(1 / flat.candidates, 12);
  });

  it('asks prompts of exactly the length, the same for the same seed', async () => {
    const prompts = async (seed: number) => {
      const { encode } = wordTokenizer();
      const seen: string[] = [];
      const score = async (ids: readonly number[]) => {
        seen.push(ids.join(' '));
        return new Float32Array(1000);
      };
      await needleRecall({ ...options, seed }, { encode, score });
      return seen;
    };
    const [first, again, other] = [await prompts(1), await prompts(1), await prompts(2)];
    expect(first.map((ids) => ids.split(' ').length)).toEqual([...new Array(15).fill(64), ...new Array(15).fill(300)]);
    expect(again).toEqual(first);
    expect(other).not.toEqual(first);
  });

  it('tells words apart by their first tokens where the tokenizer has too few of them whole', async () => {
    // Tokens of two letters: river and ring would be one candidate.
    const { encode: encodeWords, ids } = wordTokenizer();
    const encode = (text: string) => (text.match(/ ?\w{1,2}|\s|[^\w\s]/g) ?? []).flatMap((piece) => encodeWords(piece));
    const report = await needleRecall(options, { ...lookup(1000), encode });
    expect(report.byFirstToken).toBe(true);
    expect(report.candidates).toBeGreaterThan(20);
    expect(report.candidates).toBeLessThan(42);
    expect(report.cells.every(({ recall }) => recall === 1)).toBe(true);
    expect(ids.has(' ri') && ids.has('ve')).toBe(true);
  });

  it('refuses a length without room and a tokenizer without the words', async () => {
    await expect(needleRecall({ ...options, lengths: [8] }, lookup(10))).rejects.toMatchObject({
      code: 'NEEDLE_IMPOSSIBLE',
    });
    const bytes: NeedleModel = {
      encode: (text) => [...new TextEncoder().encode(text)],
      score: async () => new Float32Array(256),
    };
    await expect(needleRecall(options, bytes)).rejects.toMatchObject({ code: 'NEEDLE_IMPOSSIBLE' });
  });
});
