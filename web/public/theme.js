// Before the first paint, so that a chosen theme never flashes the other one. `theme.ts` writes what is read here.
try {
  const theme = localStorage.getItem('accrete-theme');
  if (theme === 'dark' || theme === 'light') document.documentElement.dataset.theme = theme;
} catch {
  // A browser may refuse storage; the system's theme is used then.
}
