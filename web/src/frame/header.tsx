/** @file Name of the run, its health in a word, the connection, and the theme. */
import { useAnswer } from '../api/answers.ts';
import { Badge, healthTone } from '../parts/badge.tsx';
import { hrefOf } from '../router.ts';
import { nextTheme, setTheme, theme } from '../theme.ts';
import { ConnectionWord } from './connection-banner.tsx';

export function Header() {
  const run = useAnswer('run', { everyMs: 60_000 }).data;
  const overview = useAnswer('overview', { everyMs: 2_000 }).data;
  return (
    <header class="header">
      <a class="brand" href={hrefOf('')} aria-label="Accrete, overview">
        <img src="./icon.svg" alt="" width="24" height="24" />
        <span>Accrete</span>
      </a>
      <div class="header-run">
        {run !== null && (
          <>
            <strong>{run.name}</strong>
            <span class="faint header-id">{run.id.slice(0, 12)}</span>
          </>
        )}
      </div>
      {overview !== null && (
        <Badge tone={healthTone(overview.health.word)} title={overview.health.reason}>
          {overview.health.word}
        </Badge>
      )}
      <ConnectionWord />
      <button
        type="button"
        class="button quiet"
        onClick={() => setTheme(nextTheme())}
        title={`Switch to ${nextTheme()}`}
      >
        <span class="theme-glyph" aria-hidden="true" data-theme-now={theme.value} />
        <span class="visually-hidden">Theme: </span>
        {theme.value}
      </button>
    </header>
  );
}
