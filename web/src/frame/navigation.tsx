/** @file The list of pages: a rail on wide screens, a strip to swipe on narrow ones. */
import { type Page, pageGroups, pages } from '../pages/registry.ts';
import { hrefOf } from '../router.ts';

export function Navigation({ current }: { current: Page | null }) {
  return (
    <nav class="navigation" aria-label="Pages">
      {pageGroups.map((group) => {
        const own = pages.filter((page) => page.group === group && page.isInNavigation);
        if (own.length === 0) return null;
        return (
          <div class="navigation-group" key={group}>
            <h2 class="navigation-title">{group}</h2>
            <ul>
              {own.map((page) => (
                <li key={page.path}>
                  <a href={hrefOf(page.path)} aria-current={isCurrent(page, current) ? 'page' : undefined}>
                    {page.title}
                  </a>
                </li>
              ))}
            </ul>
          </div>
        );
      })}
    </nav>
  );
}

/** A page that is not in the navigation lights the page that it hangs below: `miners/:hotkey` below `miners`. */
const isCurrent = (page: Page, current: Page | null): boolean =>
  current !== null && (page === current || (!current.isInNavigation && current.path.split('/')[0] === page.path));
