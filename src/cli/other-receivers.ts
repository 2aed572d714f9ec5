import { type ReceivedSlackMessage, startSlackReceiver } from '../receivers/slack-receiver.ts';
import { type ReceivedMail, startSmtpReceiver } from '../receivers/smtp-receiver.ts';
import { printable } from './received-request.ts';

export interface OtherOptions {
  readonly host: string;
  readonly smtp?: true;
  /** 400 … 599: what every mail is refused with. */
  readonly smtpReply?: number;
  readonly slack?: true;
  /** The code that every message is refused with. */
  readonly slackError?: string;
}

interface OtherReceiver {
  close(): Promise<void>;
}

/** Prints `text`, or the object as a line of JSON. */
export type Say = (text: string, json: object) => void;

/** The mail server and the Slack that were asked for, each at a free port. */
export async function startOthers(options: OtherOptions, say: Say): Promise<OtherReceiver[]> {
  return [
    ...(options.smtp || options.smtpReply !== undefined ? [await startSmtp(options, say)] : []),
    ...(options.slack || options.slackError !== undefined ? [await startSlack(options, say)] : []),
  ];
}

async function startSmtp({ host, smtpReply }: OtherOptions, say: Say): Promise<OtherReceiver> {
  let number = 0;
  const take = (mail: ReceivedMail) => {
    number += 1;
    const answer = smtpReply === undefined ? '250' : String(smtpReply);
    const { envelope, messageId, subject, text } = mail;
    const lines = [
      `mail #${number} to ${envelope.to.join(', ')}  → ${answer}`,
      ...[`from: ${envelope.from}`, `message-id: ${messageId}`, `subject: ${subject}`].map((line) => `  ${line}`),
      ...(text ?? '')
        .trimEnd()
        .split('\n')
        .map((line) => `  ${line}`),
    ];
    say(lines.map(printable).join('\n'), {
      mail: { number, ...envelope, message_id: messageId, subject, text, answer },
    });
    return smtpReply === undefined ? undefined : { code: smtpReply, message: 'as asked for' };
  };
  const receiver = await startSmtpReceiver({
    host,
    respond: (stage) => (stage.stage === 'message' ? take(stage.mail) : undefined),
  });
  say(`mail at ${receiver.url}`, { smtp: receiver.url });
  return receiver;
}

async function startSlack({ host, slackError }: OtherOptions, say: Say): Promise<OtherReceiver> {
  const take = ({ number, method, channel, text, threadTs, blocks }: ReceivedSlackMessage) => {
    const answer = slackError ?? 'ok';
    const heading = `slack #${number} ${method ?? 'incoming webhook'} ${channel ?? ''}`.trimEnd();
    const thread = threadTs === null ? [] : [`  in the thread of ${threadTs}`];
    const lines = [`${heading}  → ${answer}`, ...thread, ...(text ?? '').split('\n').map((line) => `  ${line}`)];
    say(lines.map(printable).join('\n'), {
      slack: { number, method, channel, thread_ts: threadTs, text, blocks, answer },
    });
  };
  const receiver = await startSlackReceiver({
    host,
    respond: (message) => {
      take(message);
      return slackError === undefined ? { ok: true } : { error: slackError };
    },
  });
  say(`slack at ${receiver.apiUrl}, incoming webhooks at ${receiver.incomingUrl}`, {
    slack_api: receiver.apiUrl,
    slack_incoming: receiver.incomingUrl,
  });
  return receiver;
}
