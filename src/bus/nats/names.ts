/**
 * @file Subjects, streams and buckets of one run on a NATS account, and what a participant may do with them. The second token of
 * everything that a participant sends is his own name, so that the server can hold him to it.
 */
import { BusError } from '../errors.ts';
import { checkTopic } from '../limits.ts';

/** `scope`: the run, so that runs share an account. `self`: who sends; a session key's hex. Both are one token. */
export class NatsNames {
  readonly scope: string;
  readonly self: string;
  readonly #prefix: string;

  constructor(scope: string, self: string) {
    for (const token of [scope, self])
      if (!/^[A-Za-z0-9]{1,64}$/.test(token))
        throw new BusError('BAD_TOPIC', 'expected a name of 1-64 letters and digits');
    this.scope = scope;
    this.self = self;
    this.#prefix = `accrete.${scope}`;
  }

  /** Replies come here; nobody else may listen. */
  get inboxPrefix(): string {
    return `_INBOX.${this.self}`;
  }

  published(topic: string, sender = this.self): string {
    return `${this.#prefix}.pub.${sender}.${subjectOf(topic)}`;
  }
  request(topic: string, sender = this.self): string {
    return `${this.#prefix}.req.${sender}.${subjectOf(topic)}`;
  }
  work(topic: string, sender = this.self): string {
    return `${this.#prefix}.work.${sender}.${subjectOf(topic)}`;
  }
  /** Where the answer to one kept request lies. */
  answer(id: string, sender = this.self): string {
    return `${this.#prefix}.answer.${sender}.${id}`;
  }
  log(topic: string): string {
    return `${this.#prefix}.log.${subjectOf(topic)}`;
  }
  /** Answers as long as that process is connected. */
  alive(instance: string): string {
    return `${this.#prefix}.alive.${instance}`;
  }

  get workSubjects(): string {
    return `${this.#prefix}.work.*.>`;
  }
  get answerSubjects(): string {
    return `${this.#prefix}.answer.*.*`;
  }

  get workStream(): string {
    return `ACCRETE_${this.scope}_WORK`;
  }
  get answerStream(): string {
    return `ACCRETE_${this.scope}_ANSWERS`;
  }
  logStream(topic: string): string {
    return `ACCRETE_${this.scope}_LOG_${topic.replaceAll(/[^A-Za-z0-9]/g, '_')}`;
  }
  /** Of the topic's first part. */
  latestBucket(topic: string): string {
    return `accrete_${this.scope}_${topic.split('.')[0]!.replaceAll(/[^A-Za-z0-9]/g, '_')}`;
  }
  latestKey(topic: string, sender = this.self): string {
    return `${subjectOf(topic)}.${sender}`;
  }
  latest(topic: string): string {
    return `$KV.${this.latestBucket(topic)}.${this.latestKey(topic)}`;
  }
  get responderBucket(): string {
    return `accrete_${this.scope}_responders`;
  }

  /** Of a subject of one of the forms above. */
  senderOf(subject: string): string {
    return subject.split('.')[3] ?? '';
  }
}

/** A topic's parts are a subject's tokens. @throws BusError BAD_TOPIC */
export function subjectOf(topic: string): string {
  checkTopic(topic);
  if (topic.split('.').every((part) => part !== '')) return topic;
  throw new BusError('BAD_TOPIC', 'a topic on NATS has no empty part');
}

export interface NatsRights {
  readonly publish: readonly string[];
  readonly subscribe: readonly string[];
}

/** What a participant needs, topic by topic; everything else is refused by the server. */
export interface ParticipantTopics {
  readonly requests: readonly string[];
  /** First parts of requests of two parts. Each right is some 100 bytes of a JWT, and a server reads 4,096 bytes of a connection's greeting. */
  readonly families: readonly string[];
  readonly work: readonly string[];
  readonly latest: readonly string[];
  readonly logs: readonly string[];
}

export function rightsOf(names: NatsNames, topics: ParticipantTopics): NatsRights {
  return {
    publish: [
      ...topics.requests.map((topic) => names.request(topic)),
      ...topics.families.map((family) => `${names.request(family)}.*`),
      ...topics.work.map((topic) => names.work(topic)),
      ...topics.latest.map((topic) => names.latest(topic)),
      ...topics.logs.map((topic) => `$JS.API.DIRECT.GET.${names.logStream(topic)}`),
      `$JS.API.DIRECT.GET.${names.answerStream}.${names.answer('*')}`,
    ],
    subscribe: [`${names.inboxPrefix}.>`, names.answer('*'), ...topics.logs.map((topic) => names.log(topic))],
  };
}
