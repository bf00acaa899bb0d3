/** @file What one check of `accrete doctor` found. */
export interface Finding {
  readonly name: string;
  readonly state: 'ok' | 'warning' | 'missing';
  readonly found: string;
  /** What to type or do; empty when all is well. */
  readonly advice: string;
}
