// Loaded before the conformance suite, which knows no credentials: each request gets the one of the environment.
// The suite's names for fixtures have underscores, the hub's slugs have hyphens.
import http from 'node:http';
import { Agent, setGlobalDispatcher } from 'undici';

const FIXTURES = /\b(greet|slow_compute|failing_job|test_simple_text|test_error_handling|test_tool_with_progress)\b/g;
const hyphens = text => text.replace(FIXTURES, name => name.replaceAll('_', '-'));

function authorized(dispatch) {
  return (options, handler) => {
    const headers = new Headers(Array.isArray(options.headers) ? pairs(options.headers) : options.headers ?? {});
    headers.set('authorization', `Bearer ${process.env.JOYFULL_API_KEY}`);
    if (headers.has('mcp-name')) headers.set('mcp-name', hyphens(headers.get('mcp-name')));
    return dispatch({ ...options, headers: [...headers].flat() }, handler);
  };
}

const pairs = flat => Array.from({ length: flat.length / 2 }, (_, at) => flat.slice(2 * at, 2 * at + 2));

setGlobalDispatcher(new Agent().compose(authorized));

const plain = globalThis.fetch;
globalThis.fetch = (url, options = {}) =>
  plain(url, typeof options.body === 'string' ? { ...options, body: hyphens(options.body) } : options);

const ask = http.request;
http.request = (options, ...rest) =>
  ask({ ...options, headers: { ...options.headers, Authorization: `Bearer ${process.env.JOYFULL_API_KEY}` } }, ...rest);
