/** @file Starts the dashboard: styles, where the data comes from, the page that the address names. */
import './zod-without-eval.ts';
import './styles/tokens.css';
import './styles/base.css';
import './styles/layout.css';
import './styles/parts.css';
import './styles/pages.css';
import './styles/proof.css';
import { render } from 'preact';
import { startSource } from './api/source.ts';
import { App } from './app.tsx';

// What index.html shows until here is the first paint of a slow connection.
const place = document.getElementById('app')!;
place.replaceChildren();
render(<App />, place);
startSource();
