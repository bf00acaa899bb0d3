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

/** A character has at most four bytes; what is open longer is not UTF-8. */
const mostOpen = 16;

export class TextStream {
  readonly #options: TextStreamOptions;
  /** Ids whose text may still change: the last character is not whole. */
  #open: number[] = [];
  /** Text of the ids before them. */
  #settled = '';
  #text = '';
  /** No stop string begins before here. */
  #searched = 0;
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
    this.#open.push(id);
    const tail = this.#options.decode(this.#open);
    this.#text = this.#settled + tail;
    // Text of byte-level tokens is the text of their bytes: it can be cut wherever a character ends.
    if (!tail.endsWith('\uFFFD') || this.#open.length >= mostOpen) {
      this.#settled = this.#text;
      this.#open = [];
    }
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
    const { stops } = this.#options;
    const places = stops.map((stop) => this.#text.indexOf(stop, this.#searched)).filter((at) => at >= 0);
    const longest = stops.reduce((most, stop) => Math.max(most, stop.length), 0);
    this.#searched = Math.max(0, this.#settled.length - longest);
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
