// A custom action: triggers a PagerDuty incident (Events API v2).
//
//   destinations:
//     pager:
//       module: ./actions/pagerduty.mjs
//       with: { routing_key: "${PAGERDUTY_KEY}" }
//   observers:
//     payment-failed:
//       source: payments
//       actions:
//         - module: pager
//           input: { summary: "Payment ${{ new.id }} failed", severity: error }

/** @type {import('pg-observers').CustomAction<{ routing_key: string, url?: string }, { summary: string, severity?: string, details?: unknown }>} */
export default {
  open({ routing_key, url = 'https://events.pagerduty.com/v2/enqueue' }) {
    if (typeof routing_key !== 'string') throw new Error('`with` has no `routing_key`');
    return {
      // What can't be sent at all is found out here: a dead letter at once, without an attempt.
      render({ summary, severity = 'warning', details }, { id, event }) {
        if (typeof summary !== 'string' || summary === '') throw new Error('`input` has no `summary`');
        const payload = { summary, severity, source: event.source, custom_details: details };
        // The same for every repeat: PagerDuty makes one incident of them.
        return { event_action: 'trigger', dedup_key: id, payload };
      },

      async send(request, { signal }) {
        const answer = await fetch(url, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({ routing_key, ...request }),
          redirect: 'error',
          signal,
        });
        const { status } = answer;
        const response = await answer.text();
        if (answer.ok) return { outcome: 'delivered', status, response };
        const failure = { message: `PagerDuty answered ${status}`, errorClass: `http_${status}`, status, response };
        if (status !== 429 && status < 500) return { outcome: 'rejected', ...failure };
        const seconds = Number(answer.headers.get('retry-after'));
        return { outcome: 'retry', ...failure, ...(seconds > 0 && { retryAfterMs: seconds * 1_000 }) };
      },
    };
  },
};
