/** @file What stands where there is nothing to show yet, or no more: each says what is going on and what comes next. */
import type { ComponentChildren } from 'preact';
import type { Answer } from '../api/answers.ts';

export function LoadingState({ lines = 3 }: { lines?: number }) {
  return (
    <div class="loading" role="status">
      <span class="visually-hidden">Loading</span>
      {Array.from({ length: lines }, (_, i) => (
        <span key={i} class="loading-line" aria-hidden="true" />
      ))}
    </div>
  );
}

interface StateProps {
  readonly title: string;
  readonly children?: ComponentChildren;
  /** True where it is the whole page. */
  readonly heading?: boolean;
}

export function EmptyState({ title, children, heading }: StateProps) {
  return (
    <div class="state">
      {heading ? <h1 class="state-title">{title}</h1> : <p class="state-title">{title}</p>}
      {children !== undefined && <p class="state-text">{children}</p>}
    </div>
  );
}

export function FaultState({ title, children }: StateProps) {
  return (
    <div class="state state-fault" role="alert">
      <p class="state-title">{title}</p>
      <p class="state-text">{children}</p>
    </div>
  );
}

/** Draws an answer once it is there; before, that it loads; without one, why. Old data stays when a later question fails. */
export function Show<T>({
  of,
  children,
  lines,
}: {
  of: Answer<T>;
  children: (data: T) => ComponentChildren;
  lines?: number;
}) {
  if (of.data !== null) return <>{children(of.data)}</>;
  if (of.fault === null) return <LoadingState {...(lines !== undefined && { lines })} />;
  if (of.fault.code === 'NO_RUN')
    return (
      <EmptyState title="There is no run here yet">
        {of.fault.message}. This page fills itself once it has begun.
      </EmptyState>
    );
  if (of.fault.code === 'NOT_FOUND')
    return <EmptyState title="There is nothing under this name">{of.fault.message}</EmptyState>;
  return <FaultState title="No answer">{of.fault.message}. It is asked for again by itself.</FaultState>;
}
