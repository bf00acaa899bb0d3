/** @file How turns are marked in the project's chat template (data/tokenizer-files.ts), for programs with templates of their own. */

export const CHAT_TEMPLATE_MARKS = { open: '<role>', close: '</role>', assistant: 'ASSISTANT' } as const;

/** Whether a chat template marks turns so. */
export const hasChatMarks = (template: string): boolean =>
  [CHAT_TEMPLATE_MARKS.open, CHAT_TEMPLATE_MARKS.close, CHAT_TEMPLATE_MARKS.assistant].every((mark) =>
    template.includes(mark),
  );
