/**
 * @file Users of a NATS account in operator mode: who holds one of the account's signing keys says who may connect and what he may do, by a
 * signed JWT, and the server is told nothing. The key of a user is his session key; its secret stays with him.
 */
import { encodeUser } from '@nats-io/jwt';
import { fromPublic, fromSeed, type KeyPair } from '@nats-io/nkeys';
import type { SessionSigner } from '../../protocol/keys.ts';
import { fromHex } from '../../util/bytes.ts';
import type { Log } from '../../util/clock.ts';
import { BusError } from '../errors.ts';
import type { NatsUser } from './connection.ts';
import type { NatsRights } from './names.ts';
import { userNkey } from './nkey.ts';

/** What a session key may do on the bus, until when. */
export interface NatsGrant {
  readonly jwt: string;
  readonly expiresAtMs: number;
}

export interface UserOrder {
  readonly sessionKey: string;
  /** Shown in the server's lists. */
  readonly label: string;
  /** Null: all that the account may; of the run's owner. */
  readonly rights: NatsRights | null;
  readonly expiresAtMs: number;
}

/** A learner's subscriptions: its inbox, answers, the journal, and some to spare. */
const maxSubscriptions = 32;
const maxMessageBytes = 1_048_576;

export class AccountSigner {
  readonly #account: string;
  readonly #signer: KeyPair;

  /** @throws BusError FORBIDDEN for what are no keys of an account */
  constructor(account: string, signingSeed: string) {
    try {
      if (!account.startsWith('A') || !signingSeed.startsWith('SA')) throw new Error('not of an account');
      this.#account = fromPublic(account).getPublicKey();
      this.#signer = fromSeed(new TextEncoder().encode(signingSeed));
    } catch {
      // The cause could quote the seed.
      throw new BusError('FORBIDDEN', 'expected an account (A…) and the seed of one of its signing keys (SA…)');
    }
  }

  async issue({ sessionKey, label, rights, expiresAtMs }: UserOrder): Promise<NatsGrant> {
    const user =
      rights === null
        ? {}
        : {
            pub: { allow: [...rights.publish] },
            sub: { allow: [...rights.subscribe] },
            ...{ subs: maxSubscriptions, payload: maxMessageBytes, data: -1 },
          };
    const exp = Math.floor(expiresAtMs / 1_000);
    const jwt = await encodeUser(label, userNkey(fromHex(sessionKey)!), this.#account, user, {
      ...{ exp, signer: this.#signer },
    });
    return { jwt, expiresAtMs: exp * 1_000 };
  }
}

export interface RenewingOptions {
  readonly session: SessionSigner;
  readonly fetch: () => Promise<NatsGrant>;
  readonly nowMs: () => number;
  readonly log: Log;
}

const retryMs = 2_000;
const maxTimerMs = 2 ** 31 - 1;

/** A user whose JWT is fetched anew at half its time, and when the server says that it is over. */
export class RenewingUser implements NatsUser {
  readonly nkey: string;
  readonly sign: (bytes: Uint8Array) => Uint8Array;
  readonly #options: RenewingOptions;
  #grant: NatsGrant;
  #timer: NodeJS.Timeout | null = null;
  #fetching: Promise<void> | null = null;
  #isClosed = false;

  private constructor(options: RenewingOptions, grant: NatsGrant) {
    const { session } = options;
    this.nkey = userNkey(fromHex(session.sessionKey)!);
    this.sign = (bytes) => session.sign(bytes);
    this.#options = options;
    this.#grant = grant;
    this.#plan();
  }

  /** @throws what the first fetch throws */
  static async open(options: RenewingOptions): Promise<RenewingUser> {
    return new RenewingUser(options, await options.fetch());
  }

  readonly jwt = (): string => this.#grant.jwt;

  readonly onExpired = (): void => void this.#renew();

  close(): void {
    this.#isClosed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  #plan(waitMs = (this.#grant.expiresAtMs - this.#options.nowMs()) / 2): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    if (this.#isClosed) return;
    this.#timer = setTimeout(() => void this.#renew(), Math.min(Math.max(waitMs, retryMs / 4), maxTimerMs));
    this.#timer.unref();
  }

  #renew(): Promise<void> {
    this.#fetching ??= (async () => {
      try {
        this.#grant = await this.#options.fetch();
        this.#plan();
      } catch (error) {
        this.#options.log.warn('no new credentials of the bus yet', { error: String(error) });
        this.#plan(retryMs);
      } finally {
        this.#fetching = null;
      }
    })();
    return this.#fetching;
  }
}
