/** @file A titled region. `wide` takes the whole row of a `.cards` grid; `aside` stands at the end of the title's line. */
import type { ComponentChildren } from 'preact';
import { useId } from 'preact/hooks';

export interface CardProps {
  readonly title: string;
  readonly aside?: ComponentChildren;
  readonly wide?: boolean;
  readonly class?: string;
  readonly children: ComponentChildren;
}

export function Card({ title, aside, wide, class: extra, children }: CardProps) {
  const id = useId();
  return (
    <section class={`card${wide ? ' card-wide' : ''}${extra ? ` ${extra}` : ''}`} aria-labelledby={id}>
      <div class="card-head">
        <h2 id={id}>{title}</h2>
        {aside !== undefined && <div class="card-aside">{aside}</div>}
      </div>
      {children}
    </section>
  );
}

/** A number with its name: `dl.facts` around several. `note` is a second, fainter line. */
export function Fact({
  name,
  children,
  note,
}: {
  name: string;
  children: ComponentChildren;
  note?: ComponentChildren;
}) {
  return (
    <div class="fact">
      <dt>{name}</dt>
      <dd>
        <span class="fact-value">{children}</span>
        {note !== undefined && note !== null && <span class="fact-note">{note}</span>}
      </dd>
    </div>
  );
}

/** Heading of a page with a sentence on what it shows. */
export function PageHead({
  title,
  children,
  aside,
}: {
  title: ComponentChildren;
  children?: ComponentChildren;
  aside?: ComponentChildren;
}) {
  return (
    <div class="page-head">
      <div>
        <h1>{title}</h1>
        {children !== undefined && <p class="lede">{children}</p>}
      </div>
      {aside}
    </div>
  );
}
