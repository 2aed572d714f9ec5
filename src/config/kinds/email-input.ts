/** Mail destinations and actions as plain objects, see ../input.ts. */

export interface EmailInput {
  /** smtp:// or smtps:// URL, credentials inside, or its parts. */
  readonly smtp: string | SmtpInput;
  /** `Orders <orders@example.com>` */
  readonly from: string;
  /** Signs each mail. `domain`: default, the one of `from`; `private_key`: RSA, PEM. */
  readonly dkim?: { readonly domain?: string; readonly selector: string; readonly private_key: string };
  /** Mails that one connection carries. Default: 100. */
  readonly max_messages?: number;
}

/** Several deliveries to the same recipients in one mail. */
export interface DigestInput {
  /** So long the oldest waits for others, 1s to 1d. */
  readonly every: string;
  /** Deliveries in one mail, 1 to 1000. Default: 500. */
  readonly max?: number;
  /** Size of one mail, attachments included. Default: 5242880. */
  readonly max_bytes?: number;
}

export interface SmtpInput {
  readonly host: string;
  /** Default: 587, with `secure` 465. */
  readonly port?: number;
  /** TLS from the first byte. Default: false. */
  readonly secure?: boolean;
  /** Default: `required` with a login, save on the loopback, else `offered`. */
  readonly starttls?: 'required' | 'offered' | 'off';
  readonly auth?: { readonly user: string; readonly pass: string; readonly method?: 'PLAIN' | 'LOGIN' | 'CRAM-MD5' };
  /** Certificates and keys: PEM. */
  readonly tls?: {
    readonly ca?: string;
    readonly cert?: string;
    readonly key?: string;
    readonly server_name?: string;
    readonly reject_unauthorized?: boolean;
  };
  /** What this side calls itself. */
  readonly name?: string;
}

/** `text` or `html`, or both. */
export interface OwnEmailActionInput {
  /** Name of an email destination. */
  readonly email: string;
  readonly to: string | readonly string[];
  readonly cc?: string | readonly string[];
  readonly bcc?: string | readonly string[];
  readonly reply_to?: string | readonly string[];
  readonly subject: string;
  readonly text?: string;
  /** Inserted values are escaped. Without `text` it gets a text part made of it. */
  readonly html?: string;
  /** 10 MiB together. */
  readonly attachments?: readonly AttachmentInput[];
  readonly headers?: Readonly<Record<string, string>>;
  /** Default: normal. */
  readonly priority?: 'high' | 'normal' | 'low';
  /** Mails with the same value are one conversation. */
  readonly thread_key?: string;
  /** List-Unsubscribe; `one_click`: a POST to the URL unsubscribes (default: true). */
  readonly unsubscribe?: { readonly url?: string; readonly mailto?: string; readonly one_click?: boolean };
  /** At a destination with `digest`: only mails with the same `key` become one; `intro` stands before them. */
  readonly digest?: { readonly key?: string; readonly intro?: string };
}

export interface AttachmentInput {
  readonly filename: string;
  /** A text as it is, anything else as JSON; null: left out. */
  readonly content: unknown;
  /** Default: by the name. */
  readonly content_type?: string;
  /** How a text holds the content. Default: text. */
  readonly encoding?: 'text' | 'base64' | 'hex';
}
