/**
 * @file Text of token ids as they come: a character that is spread over several tokens is held back until it is whole,
 * and so is text that may be the beginning of a stop string.
 */

export interface TextStreamOptions {
  /** Text of ids, as a tokenizer decodes them. */
  readonly decode: (ids: readonly number[]) => string;
  /** The text ends before the first of these. */
  readonly stops: readonly string[];
}

export class TextStream {
  readonly #options: TextStreamOptions;
  readonly #ids: number[] = [];
  #text = '';
  #given = 0;
  #isStopped = false;

  constructor(options: TextStreamOptions) {
    this.#options = options;
  }

  /** Whether a stop string has come; nothing more is taken then. */
  get isStopped(): boolean {
    return this.#isStopped;
  }

  /** All text so far, what is held back included; without the stop string. */
  get text(): string {
    return this.#text;
  }

  /** Takes one id in and gives the text that can no longer change. */
  push(id: number): string {
    if (this.#isStopped) return '';
    this.#ids.push(id);
    this.#text = this.#options.decode(this.#ids);
    const at = this.#firstStop();
    if (at >= 0) {
      this.#text = this.#text.slice(0, at);
      this.#isStopped = true;
      return this.#give(at);
    }
    const whole = this.#text.replace(/\uFFFD+$/, '');
    return this.#give(whole.length - this.#heldBack(whole));
  }

  /** What was held back, once no more comes. */
  end(): string {
    return this.#give(this.#text.length);
  }

  #give(until: number): string {
    const text = this.#text.slice(this.#given, Math.max(this.#given, until));
    this.#given += text.length;
    return text;
  }

  #firstStop(): number {
    const places = this.#options.stops.map((stop) => this.#text.indexOf(stop)).filter((at) => at >= 0);
    return places.length === 0 ? -1 : Math.min(...places);
  }

  /** Length of the longest end of the text with which a stop string begins. */
  #heldBack(text: string): number {
    let most = 0;
    for (const stop of this.#options.stops)
      for (let n = Math.min(stop.length - 1, text.length); n > most; n--) if (text.endsWith(stop.slice(0, n))) most = n;
    return most;
  }
}
