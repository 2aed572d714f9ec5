import { randomBytes } from 'node:crypto';
import type { HttpReply } from '../receivers/http-listener.ts';
import { type ReceivedSlackMessage, startSlackReceiver } from '../receivers/slack-receiver.ts';
import { type ReceivedMail, startSmtpReceiver } from '../receivers/smtp-receiver.ts';
import { type ReceivedWebhook, startWebhookReceiver } from '../receivers/webhook-receiver.ts';

/** Everybody the shop tells something: real servers on free loopback ports. */
export interface ShopReceivers {
  /** What observers.example.yaml takes from the environment. */
  readonly environment: Readonly<Record<string, string>>;
  /** While true, billing answers 503 to everything. */
  billingIsDown: boolean;
  close(): Promise<void>;
}

/** How long the receivers take to answer, so that the figures look like a network. Milliseconds. */
const thinkingMs = { least: 2, most: 25 };
/** Entries a ledger may hold before it is emptied: the demo may run for days. */
const ledgerCapacity = 500;

/**
 * @param onArrival told of everything a receiver *accepted*, in the words of expectation.ts
 */
export async function startReceivers(onArrival: (arrival: string) => void): Promise<ShopReceivers> {
  const state = { billingIsDown: false };
  const accept = (arrival: string): HttpReply => {
    onArrival(arrival);
    return { status: 200, delayMs: thinkingMs.least + Math.random() * (thinkingMs.most - thinkingMs.least) };
  };
  const billing = await startWebhookReceiver({
    capacity: ledgerCapacity,
    respond: (request) =>
      state.billingIsDown ? { status: 503, body: 'billing is being repaired' } : accept(billingArrival(request)),
  });
  const ops = await startWebhookReceiver({
    capacity: ledgerCapacity,
    respond: (request) => accept(opsArrival(request)),
  });
  const mail = await startSmtpReceiver();
  mail.received.onArrival((received) => {
    onArrival(mailArrival(received));
    if (mail.received.total >= ledgerCapacity) mail.received.clear();
  });
  const slack = await startSlackReceiver();
  slack.received.onArrival((received) => {
    onArrival(slackArrival(received));
    if (slack.received.total >= ledgerCapacity) slack.received.clear();
  });
  return {
    environment: {
      BILLING_URL: `${billing.url}/billing`,
      BILLING_WEBHOOK_SECRET: `whsec_${randomBytes(32).toString('base64')}`,
      OPS_URL: `${ops.url}/shop`,
      SMTP_URL: mail.url,
      SLACK_BOT_TOKEN: `xoxb-demo-${randomBytes(12).toString('hex')}`,
      SLACK_API_URL: slack.apiUrl,
    },
    get billingIsDown() {
      return state.billingIsDown;
    },
    set billingIsDown(down) {
      state.billingIsDown = down;
    },
    close: async () => {
      await Promise.all([billing, ops, mail, slack].map((receiver) => receiver.close()));
    },
  };
}

/** Read off the text: JSON.parse would make 1200.50 of the order 1200.5, and the demo shows that digits are kept. */
function billingArrival({ body }: ReceivedWebhook): string {
  const field = (name: string) => new RegExp(`"${name}":\\s*([\\d.]+)`).exec(body)?.[1];
  return `billing: order ${field('order')} total ${field('total')}`;
}

interface Envelope {
  readonly type?: string;
  readonly key?: string | null;
  readonly data?: { readonly payload?: { readonly payment?: number } };
}

function opsArrival({ body, headers }: ReceivedWebhook): string {
  const { type, key, data } = JSON.parse(body) as Envelope;
  return headers['x-channel'] === 'payments' ? `ops: payment ${data?.payload?.payment}` : `ops: ${type} ${key}`;
}

const mailArrival = ({ envelope, subject }: ReceivedMail) => `mail: ${envelope.to.join()} ${subject}`;
const slackArrival = ({ channel, text }: ReceivedSlackMessage) => `slack: ${channel} ${text}`;
