/** @file The frame around every page: skip link, header, navigation, the state of the connection, and where a page stands. */
import { signal, useSignal } from '@preact/signals';
import { Component, type ComponentChildren, type ComponentType } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { sourceKind } from './api/source-kind.ts';
import { ConnectionBanner } from './frame/connection-banner.tsx';
import { Header } from './frame/header.tsx';
import { Navigation } from './frame/navigation.tsx';
import type { PageProps } from './pages/page.ts';
import { type Page, pages } from './pages/registry.ts';
import { EmptyState, FaultState, LoadingState } from './parts/states.tsx';
import { hrefOf, matchPath, path, startRouter } from './router.ts';

/** Counts navigations: the page's heading takes the focus then, so that a screen reader hears where it is. */
const navigations = signal(0);

export function App() {
  useEffect(() => startRouter(() => navigations.value++), []);
  const found = findPage(path.value);
  useEffect(() => {
    document.title = found === null ? 'Not found · Accrete' : `${found.page.title} · Accrete`;
  }, [found?.page]);
  return (
    <>
      {/* biome-ignore lint/a11y/useValidAnchor: a skip link is a link; its address would be taken for a page's. */}
      <a class="skip-link" href="#main" onClick={focusMain}>
        Skip to the page
      </a>
      <Header />
      <Navigation current={found?.page ?? null} />
      <div class="stage">
        <ConnectionBanner />
        <main id="main" tabIndex={-1}>
          {found === null ? <NoSuchPage /> : <Loaded key={path.value} page={found.page} params={found.params} />}
        </main>
        <footer class="footer">
          {found?.page.path === 'results'
            ? 'What a file shows here is of a model; what the other pages show follows from the run’s journal. '
            : "Every number here follows from the run's journal. "}
          <a href={hrefOf('record')}>Check it in this browser</a>
          {sourceKind.value === 'live' && (
            <>
              , or read <a href="./api">the API</a>
            </>
          )}
          .
        </footer>
      </div>
    </>
  );
}

/** The address is the page's own (`#/…`), so the link cannot be a plain anchor. */
function focusMain(event: Event): void {
  event.preventDefault();
  document.getElementById('main')?.focus();
}

function findPage(actual: string): { page: Page; params: PageProps['params'] } | null {
  for (const page of pages) {
    const params = matchPath(page.path, actual);
    if (params !== null) return { page, params };
  }
  return null;
}

const NoSuchPage = () => (
  <EmptyState title="There is no page at this address" heading>
    The navigation names all that there are. <a href={hrefOf('')}>Go to the overview</a>
  </EmptyState>
);

function Loaded({ page, params }: { page: Page; params: PageProps['params'] }) {
  const body = useSignal<ComponentType<PageProps> | null>(null);
  const fault = useSignal<string | null>(null);
  const place = useRef<HTMLDivElement>(null);
  useEffect(() => {
    page
      .load()
      .then((module) => (body.value = module.default))
      .catch((error: unknown) => (fault.value = String(error)));
  }, [page]);
  useEffect(() => {
    if (navigations.value === 0 || body.value === null) return;
    scrollTo(0, 0);
    const heading = place.current?.querySelector('h1');
    heading?.setAttribute('tabindex', '-1');
    heading?.focus({ preventScroll: true });
  }, [body.value]);
  if (fault.value !== null)
    return (
      <FaultState title="The page's code could not be loaded">
        {fault.value}. The server may be away, or may have a newer dashboard: reload the page.
      </FaultState>
    );
  const Body = body.value;
  return (
    <div ref={place} class="page">
      <Boundary>{Body === null ? <LoadingState /> : <Body params={params} />}</Boundary>
    </div>
  );
}

/** A bug in one page leaves the frame and the other pages. */
class Boundary extends Component<{ children: ComponentChildren }, { message: string | null }> {
  override state = { message: null };
  static override getDerivedStateFromError(error: unknown) {
    return { message: error instanceof Error ? error.message : String(error) };
  }
  override render() {
    if (this.state.message === null) return this.props.children;
    return <FaultState title="This page has a bug">{this.state.message}. The other pages still work.</FaultState>;
  }
}
