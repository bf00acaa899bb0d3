/** @file Answers of one route that are good until the journal goes on: the newest few, within a bound of characters. */
const maxCharacters = 8 * 1024 * 1024;
const maxAnswers = 128;

export class AnswerCache {
  readonly #answers = new Map<string, { readonly tag: string; readonly body: string }>();
  #characters = 0;

  async get(url: string, tag: string, make: () => Promise<string>): Promise<string> {
    const known = this.#answers.get(url);
    if (known?.tag === tag) return known.body;
    const body = await make();
    this.#drop(url);
    this.#answers.set(url, { tag, body });
    this.#characters += body.length;
    while (this.#answers.size > maxAnswers || this.#characters > maxCharacters) {
      const [oldest] = this.#answers.keys();
      if (oldest === undefined) break;
      this.#drop(oldest);
    }
    return body;
  }

  #drop(url: string): void {
    this.#characters -= this.#answers.get(url)?.body.length ?? 0;
    this.#answers.delete(url);
  }
}
