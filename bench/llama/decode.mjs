/**
 * @file llama.cpp's side of benchmarks and tests: MODULE FILE THREADS CONTEXT; a process that on request decodes, scores, cuts
 * text or a chat's turns into tokens, or answers in a chat.
 */
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const [module, modelPath, threads, contextSize] = process.argv.slice(2);
const { getLlama, LlamaChatSession, LlamaLogLevel, resolveChatWrapper } = await import(pathToFileURL(module).href);
const llama = await getLlama({
  ...{ gpu: false, build: 'never', skipDownload: true },
  ...{ maxThreads: Number(threads), logLevel: LlamaLogLevel.error },
});
const model = await llama.loadModel({ modelPath });
const context = await model.createContext({
  contextSize: Number(contextSize),
  batchSize: 512,
  // Its flash attention rounds inside to 16 bits: 4e-4 of a log-probability off instead of 1e-6.
  flashAttention: false,
  threads: Number(threads),
  // As exact as ours; the default of 16 bits changes logits by 1e-2.
  experimentalKvCacheKeyType: 'F32',
  experimentalKvCacheValueType: 'F32',
});
const sequence = context.getSequence();
console.log(JSON.stringify({ ready: true }));
for await (const line of createInterface({ input: process.stdin })) {
  await sequence.clearHistory();
  console.log(JSON.stringify(await answer(JSON.parse(line))));
}
process.exit(0);

async function answer({ prompt, count, logits = false, lines, chat, say }) {
  if (lines) return lines.map((text) => model.tokenize(text));
  if (chat) return renderChat(chat);
  if (say) return await reply(say, count);
  return logits ? await readLogits(prompt, logits === 'full') : await decode(prompt, count);
}

/** Tokens of turns by user and model in turn, and of the model's next one, as the file's chat template has them. */
function renderChat(texts) {
  const turns = texts.map((text, i) => (i % 2 === 0 ? { type: 'user', text } : { type: 'model', response: [text] }));
  const chatHistory = [...turns, { type: 'model', response: [''] }];
  return resolveChatWrapper(model).generateContextState({ chatHistory }).contextText.tokenize(model.tokenizer);
}

async function reply(text, maxTokens) {
  const session = new LlamaChatSession({ contextSequence: sequence, autoDisposeSequence: false });
  const { chatWrapper } = session;
  const words = await session.prompt(text, { maxTokens, temperature: 0 });
  session.dispose();
  return { wrapper: chatWrapper.wrapperName, text: words };
}

/** Greedy. */
async function decode(prompt, count) {
  const ids = [];
  const ms = [];
  let before = performance.now();
  for await (const id of sequence.evaluate(prompt, { temperature: 0, yieldEogToken: true })) {
    const now = performance.now();
    ms.push(now - before);
    before = now;
    ids.push(id);
    if (ids.length === count) break;
  }
  return { ids, ms };
}

/** Log-probabilities of each next token of the prompt, and the most likely one; `full`: of the whole vocabulary. */
async function readLogits(prompt, full) {
  const options = { generateNext: { logits: true, options: { temperature: 0 } } };
  const outputs = await sequence.controlledEvaluate(prompt.slice(0, -1).map((id) => [id, options]));
  return outputs.map(({ next }, i) => {
    const values = [...next.logits].sort(([a], [b]) => a - b).map(([, logit]) => logit);
    const top = Math.max(...values);
    const total = values.reduce((sum, value) => sum + Math.exp(value - top), 0);
    const shift = top + Math.log(total);
    const all = full ? { all: values.map((value) => value - shift) } : {};
    return { greedy: values.indexOf(top), next: values[prompt[i + 1]] - shift, ...all };
  });
}
