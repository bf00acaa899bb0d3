/** @file Bounds of the bus on NATS. */

/** NATS servers take 1 MiB by default, headers included; bulk goes through the store. */
export const natsPayloadBytes = 1_000_000;
/** Kept requests of one sender that may wait. */
export const maxWaitingPerSender = 256;
export const maxWaiting = 100_000;
/** Kept requests in work at once. */
export const maxInFlight = 64;
/** A kept request that nobody says he works on is given out again. */
export const ackWaitMs = 5_000;
/** An answer can be fetched, and a request sent again without being done twice, for so long. */
export const answerKeepMs = 600_000;
/** Requests that are answered at once; more are refused with `BUSY`. */
export const maxRequestsInWork = 1_024;
