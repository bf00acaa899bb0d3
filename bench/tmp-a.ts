import { measureAudits } from './audits.bench.ts';
for (const row of await measureAudits({ preset: 'tiny', segments: 24, attacked: 2, stateFormat: 'rounded' })) console.log(row.what, '|', row.value, '|', row.detail);
process.exit(0);
