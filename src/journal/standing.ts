/** @file The standing of a hotkey in the fold. */
import type { Hotkey } from '../protocol/names.ts';
import { manifestOf } from './queries.ts';
import type { HotkeyState, RunState } from './state.ts';

/** The standing of a hotkey, made on first use. */
export function hotkeyState(state: RunState, hotkey: Hotkey): HotkeyState {
  const found = state.hotkeys.get(hotkey);
  if (found !== undefined) return found;
  const fresh: HotkeyState = {
    hotkey,
    claims: 0,
    testAllBelow: manifestOf(state).evaluation.gainFirstClaims,
    tempoCellTokens: 0,
    heldCellTokens: 0,
    tempoVerdicts: 0,
    tempoAuditsDrawn: 0,
    tempoAuditsPassed: 0,
    tempoAppealsLost: 0,
    unsharedAccusations: 0,
    drawnStakeRao: 0,
    openAudits: 0,
    suspicions: [],
    forfeits: [],
    probationFromMs: null,
    gainSum: 0,
    gainVariance: 0,
    gainTests: 0,
    machineClass: null,
    servedAtMs: -1,
    barred: null,
    score: 0,
    verdictScore: 0,
    settledVerdicts: 0,
    overruledVerdicts: 0,
  };
  state.hotkeys.set(hotkey, fresh);
  return fresh;
}
