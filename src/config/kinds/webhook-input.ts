import type { WebhookFormat, WebhookMethod } from '../../domain/webhook.ts';

/** A webhook destination as a plain object, see ../input.ts. */
export interface WebhookInput extends WebhookRequestInput {
  /** http:// or https:// URL; may hold `${{ }}`. */
  readonly url: string;
  /** `whsec_` or `whsk_` and base64; a list signs with each (rotation, newest first). */
  readonly secret?: string | readonly string[];
  readonly headers?: Readonly<Record<string, string>>;
  readonly auth?: { readonly bearer: string } | { readonly basic: BasicInput } | { readonly oauth2: OAuth2Input };
  readonly tls?: TlsInput;
}

export interface WebhookRequestInput {
  /** Default: POST. */
  readonly method?: WebhookMethod;
  /** Default: json. */
  readonly format?: WebhookFormat;
  /** Parameters of the URL's query; texts may hold `${{ }}`, a list gives its name several times. */
  readonly query?: Readonly<Record<string, unknown>>;
}

/** Several deliveries of one action in one request. */
export interface BatchInput {
  /** Items in one request, 1 to 1000. Default: 100. */
  readonly max?: number;
  /** So long the oldest waits for others, 10ms to 1h. Default: 1s. */
  readonly wait?: string;
  /** Size of one request. Default: 1048576. */
  readonly max_bytes?: number;
  /** The answer may name items that failed. Default: false. */
  readonly items?: boolean;
}

export interface BasicInput {
  readonly username: string;
  readonly password: string;
}

/** OAuth 2.0 client credentials. */
export interface OAuth2Input {
  readonly token_url: string;
  readonly client_id: string;
  readonly client_secret: string;
  readonly scope?: string | readonly string[];
  readonly audience?: string;
  /** Where id and secret stand in the request for a token. Default: basic. */
  readonly client_auth?: 'basic' | 'post';
}

/** PEM texts. */
export interface TlsInput {
  /** Trusted instead of the system's authorities. */
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly passphrase?: string;
  /** Whose certificate is asked for and checked. Default: the URL's host. */
  readonly server_name?: string;
}

/** Host names, `*.example.com`, addresses and CIDR ranges. */
export interface AddressesInput {
  /** Default: auto, which is on where the host of the URL comes from the event. */
  readonly guard?: 'auto' | 'on' | 'off';
  readonly allow?: string | readonly string[];
  /** Wins over `allow`. */
  readonly deny?: string | readonly string[];
}
