/** @file What a page is handed. Apart from the registry, which imports all pages. */
export interface PageProps {
  /** Of the pattern: `miners/:hotkey` gives `hotkey`. */
  readonly params: Readonly<Record<string, string>>;
}
