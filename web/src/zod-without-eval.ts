/** @file Schemas are run as they are, never compiled by `new Function`: the page's content policy forbids that. Imported first. */
import { z } from 'zod';

z.config({ jitless: true });
