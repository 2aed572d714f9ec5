import type { FirstMessage, SlackRequest } from './request.ts';
import type { SlackCall } from './web-api.ts';

/**
 * The call that a request comes to.
 *
 * @param first the first message of its key; null: this one is it
 */
export function toCall(request: SlackRequest, first: FirstMessage | null): SlackCall {
  return first !== null && request.follows?.as === 'edit' ? edit(request, first) : post(request, first);
}

function post(request: SlackRequest, first: FirstMessage | null): SlackCall {
  const { channel, text, blocks, attachments, options, replyBroadcast } = request;
  return {
    method: 'chat.postMessage',
    arguments: {
      channel: first?.channel ?? channel,
      ...(text !== null && { text }),
      ...(blocks !== null && { blocks }),
      ...(attachments !== null && { attachments }),
      ...options,
      ...(first !== null && { thread_ts: first.ts, ...(replyBroadcast && { reply_broadcast: true }) }),
      metadata: metadataOf(request),
    },
  };
}

function edit(request: SlackRequest, { channel, ts }: FirstMessage): SlackCall {
  const { text, blocks, attachments } = request;
  return {
    method: 'chat.update',
    arguments: {
      channel,
      ts,
      // Said each time: what is left out stays as the message before had it.
      text: text ?? '',
      blocks: blocks ?? '[]',
      attachments: attachments ?? '[]',
      // Unlike chat.postMessage, this method looks for `@channel` and the like by itself.
      parse: 'none',
      link_names: false,
      metadata: metadataOf(request),
    },
  };
}

/** Slack drops no repeats itself; an app that reads metadata can. */
function metadataOf({ messageId, eventUid }: SlackRequest) {
  return {
    event_type: 'pg_observers_delivery',
    event_payload: { message_id: messageId, event_id: eventUid },
  };
}
