/**
 * @file Requests of OpenAI's completions and chat completions as far as they are done here. What is known but not done
 * (tools, images, JSON schemas) is an unknown field, and refused by its name: nothing is silently left out.
 */
import { z } from 'zod';

const maxChoices = 16;
const maxMessages = 4_096;
const text = z.string().max(1 << 24);
const penalty = z.number().min(-2).max(2).nullish();
const tokenId = z
  .int()
  .min(0)
  .max(1 << 24);

/** Fields that tell the server something of the caller; they change nothing. */
const ignored = {
  user: z.string().max(1_024).nullish(),
  metadata: z.record(z.string(), z.string()).nullish(),
  store: z.literal(false).nullish(),
  service_tier: z.string().max(64).nullish(),
  safety_identifier: z.string().max(1_024).nullish(),
  prompt_cache_key: z.string().max(1_024).nullish(),
};

const common = {
  model: z.string().min(1).max(256),
  n: z.int().min(1).max(maxChoices).nullish(),
  stream: z.boolean().nullish(),
  stream_options: z
    .strictObject({ include_usage: z.boolean().optional(), include_obfuscation: z.literal(false).optional() })
    .nullish(),
  temperature: z.number().min(0).max(2).nullish(),
  top_p: z.number().min(0).max(1).nullish(),
  /** Not OpenAI's, but of most servers that speak its protocol. */
  top_k: z
    .int()
    .min(0)
    .max(1 << 20)
    .nullish(),
  repetition_penalty: z.number().min(0.01).max(100).nullish(),
  frequency_penalty: penalty,
  presence_penalty: penalty,
  logit_bias: z
    .record(z.string().regex(/^\d{1,8}$/, 'expected token ids'), z.number().min(-100).max(100))
    .refine((bias) => Object.keys(bias).length <= 1_024, 'at most 1024 tokens')
    .nullish(),
  seed: z.int().nullish(),
  stop: z.union([z.string().min(1).max(1_000), z.array(z.string().min(1).max(1_000)).max(16)]).nullish(),
  ...ignored,
};

export const completionSchema = z.strictObject({
  ...common,
  prompt: z.union([
    text,
    z.array(tokenId).min(1),
    z.array(text).min(1).max(maxChoices),
    z.array(z.array(tokenId).min(1)).min(1).max(maxChoices),
  ]),
  max_tokens: z
    .int()
    .min(1)
    .max(1 << 24)
    .nullish(),
  logprobs: z.int().min(0).max(5).nullish(),
  best_of: z.literal(1, 'only 1 is supported').nullish(),
  echo: z.literal(false, 'only false is supported').nullish(),
});
export type CompletionBody = z.infer<typeof completionSchema>;

const contentSchema = z.union([
  text,
  z.array(z.strictObject({ type: z.literal('text', 'only text is supported'), text })).max(256),
]);

export const chatSchema = z.strictObject({
  ...common,
  messages: z
    .array(
      z.strictObject({
        role: z.enum(['system', 'developer', 'user', 'assistant']),
        content: contentSchema,
        name: z.string().max(256).optional(),
      }),
    )
    .min(1)
    .max(maxMessages),
  max_tokens: z
    .int()
    .min(1)
    .max(1 << 24)
    .nullish(),
  max_completion_tokens: z
    .int()
    .min(1)
    .max(1 << 24)
    .nullish(),
  logprobs: z.boolean().nullish(),
  top_logprobs: z.int().min(0).max(20).nullish(),
  response_format: z.strictObject({ type: z.literal('text', 'only text is supported') }).nullish(),
});
export type ChatBody = z.infer<typeof chatSchema>;

/** What both have. */
export type CommonBody = Omit<CompletionBody, 'prompt' | 'logprobs' | 'best_of' | 'echo' | 'max_tokens'>;
